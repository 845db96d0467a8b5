//! One passage over a grid, and the workers that share it.
//!
//! Each worker has an instance of its own, over the same slots. Maps hand out chunks to whoever is
//! free; collectives cut the range the same way at every run.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossover_kernels::error::RunError;
use crossover_kernels::ir::Const;
use crossover_memory::Slot;

use crate::chunk::{Chunks, FixedChunks, Pace};
use crate::pool::Work;
use crate::private::Copies;
use crate::run::{device, slots};
use crate::worker::{Passage, Worker};

/// How the work of a task is divided.
pub(crate) enum Share {
    /// Chunks for whoever is free, at a pace when there is a reason for more than one.
    /// `copies` are those of workers that are done, where there are several.
    Map { chunks: Chunks, paced: bool, copies: Option<Mutex<Vec<Copies>>> },
    /// The same chunks at every run, with their carries and their results.
    Fixed {
        next: AtomicUsize,
        chunks: FixedChunks,
        carries: Vec<Const>,
        results: Mutex<Vec<Option<Const>>>,
    },
}

/// One passage over the grid by one or more workers. Those on other threads need arguments that the
/// task owns.
pub(crate) struct Task<'a> {
    passage: Passage<'a>,
    pub(crate) share: Share,
    /// Set by an error: nothing new is begun.
    stopped: AtomicBool,
    /// Where the first chunk begins in which an invocation has failed. Those before are still run: the
    /// failure that is reported is the first in the grid.
    failed_from: AtomicU64,
    error: Mutex<Option<RunError>>,
}

impl Work for Task<'static> {
    fn work(&self, seat: usize) {
        self.take_part(seat);
    }
}

/// Whether the first error is the one to report: of two failures, that of the invocation that
/// comes first in the grid.
fn precedes(new: &RunError, old: &RunError) -> bool {
    let place = |error: &RunError| match error {
        RunError::Failed(failure) => {
            let [x, y, z] = failure.invocation;
            Some([z, y, x])
        }
        RunError::Arguments { .. }
        | RunError::Deadline { .. }
        | RunError::Unsupported { .. }
        | RunError::Memory { .. }
        | RunError::Device { .. } => None,
    };
    match (place(new), place(old)) {
        (Some(new), Some(old)) => new < old,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

impl<'a> Task<'a> {
    pub(crate) fn new(passage: Passage<'a>, share: Share) -> Task<'a> {
        Task {
            passage,
            share,
            stopped: AtomicBool::new(false),
            failed_from: AtomicU64::new(u64::MAX),
            error: Mutex::new(None),
        }
    }

    /// The error to report, after the work.
    pub(crate) fn error(&self) -> Option<RunError> {
        lock(&self.error).take()
    }

    /// Works until nothing is left or something has failed.
    pub(crate) fn take_part(&self, seat: usize) {
        let _span = self.passage.span(seat).entered();
        if let Err(error) = self.take_chunks(seat) {
            self.stopped.store(true, Ordering::Relaxed);
            self.note(error);
        }
    }

    fn note(&self, error: RunError) {
        let mut held = lock(&self.error);
        if held.as_ref().is_none_or(|old| precedes(&error, old)) {
            *held = Some(error);
        }
    }

    fn take_chunks(&self, seat: usize) -> Result<(), RunError> {
        match &self.share {
            Share::Map { chunks, paced, copies } => {
                let pace = paced.then_some(&self.passage.program.pace);
                self.map_chunks(seat, chunks, pace, copies.as_ref())
            }
            Share::Fixed { next, chunks, carries, results } => {
                let mut worker = None;
                while let Some(at) = self.claim(next, chunks.count()) {
                    let worker = self.worker(&mut worker)?;
                    self.passage.check_deadline()?;
                    worker.run(chunks.get(at), carries.get(at).copied())?;
                    if let Some(ty) = self.passage.program.kernel.contribution() {
                        lock(results)[at] = Some(worker.partial(ty));
                    }
                }
                Ok(())
            }
        }
    }

    fn map_chunks(
        &self,
        seat: usize,
        chunks: &Chunks,
        pace: Option<&Pace>,
        copies: Option<&Mutex<Vec<Copies>>>,
    ) -> Result<(), RunError> {
        let mut worker = None;
        while !self.stopped.load(Ordering::Relaxed)
            && let Some(chunk) = chunks.take(seat, pace)
        {
            if chunk.start > self.failed_from.load(Ordering::Relaxed) {
                continue;
            }
            let worker = self.worker(&mut worker)?;
            self.passage.check_deadline()?;
            let (start, points, from) = (Instant::now(), chunk.end - chunk.start, chunk.start);
            match worker.run(chunk, None) {
                Err(error @ RunError::Failed(_)) => {
                    self.failed_from.fetch_min(from, Ordering::Relaxed);
                    self.note(error);
                }
                other => other?,
            }
            if let Some(pace) = pace {
                pace.note(points, start.elapsed());
            }
        }
        if let (Some(worker), Some(copies)) = (worker, copies) {
            lock(copies).push(worker.into_copies());
        }
        Ok(())
    }

    /// The worker of this thread, made when there is work for it.
    fn worker<'t, 'w>(
        &'t self,
        held: &'w mut Option<Worker<'t, 'a>>,
    ) -> Result<&'w mut Worker<'t, 'a>, RunError> {
        match held {
            Some(worker) => Ok(worker),
            None => Ok(held.insert(Worker::new(&self.passage, self.copies()?)?)),
        }
    }

    fn claim(&self, next: &AtomicUsize, count: usize) -> Option<usize> {
        let at = next.fetch_add(1, Ordering::Relaxed);
        (at < count && !self.stopped.load(Ordering::Relaxed)).then_some(at)
    }

    /// Copies of buffers for one worker of several.
    fn copies(&self) -> Result<Copies, RunError> {
        let Share::Map { copies: Some(_), .. } = &self.share else { return Ok(Vec::new()) };
        slots(&self.passage.args)
            .zip(&self.passage.program.privates)
            .enumerate()
            .filter_map(|(buffer, (slot, merge))| Some((buffer, slot, (*merge)?)))
            .map(|(buffer, slot, merge)| {
                let copy = Slot::zeroed(slot.bytes());
                let copy = copy.map_err(|error| device(self.passage.name(), &error))?;
                Ok((buffer, merge, Arc::new(copy)))
            })
            .collect()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
