//! One passage over a grid, and the workers that share it.
//!
//! Each worker has an instance of its own, over the same slots. Maps hand out chunks to whoever is
//! free; collectives cut the range the same way at every run.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crossover_kernels::error::{Failure, RunError};
use crossover_kernels::exec::{Arg, Call, Deadline, Grid, length};
use crossover_kernels::ir::{Const, Param, ParamKind, SiteId, Type};
use crossover_memory::{Lent, Slot};
use wasmtime::ValRaw;

use crate::chunk::{Chunks, FixedChunks, Pace, cuboids};
use crate::emit::GLOBALS;
use crate::engine::Entry;
use crate::pool::Work;
use crate::private::Copies;
use crate::program::{Program, Seat};
use crate::run::{device, slots};

/// Parameters of an entry before the kernel's own: the ranges of x, y and z.
const RANGES: usize = 6;

const USABLE: &str = "nobody uses a worker that has trapped";

/// How the work of a task is divided.
pub(crate) enum Share {
    /// It is not.
    None,
    /// One worker does all of these points, which is soon over.
    Whole(Range<u64>),
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
    program: Lent<'a, Program>,
    entry: Entry,
    args: Cow<'a, [Arg<'a>]>,
    grid: Grid,
    deadline: Option<Deadline>,
    /// When the call began.
    start: Instant,
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
    pub(crate) fn new(
        program: Lent<'a, Program>,
        call: &Call<'_, '_>,
        args: Cow<'a, [Arg<'a>]>,
        start: Instant,
        entry: Entry,
        share: Share,
    ) -> Task<'a> {
        Task {
            program,
            entry,
            args,
            grid: call.grid,
            deadline: call.deadline,
            start,
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
        let kernel = self.program.kernel.entry.name.as_str();
        let _span = tracing::trace_span!("work", kernel, seat).entered();
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
            Share::None => Ok(()),
            Share::Whole(range) => {
                self.check_deadline_at_start()?;
                Worker::new(self)?.run(range.clone(), None)
            }
            Share::Map { chunks, paced, copies } => {
                let pace = paced.then_some(&self.program.pace);
                self.map_chunks(seat, chunks, pace, copies.as_ref())
            }
            Share::Fixed { next, chunks, carries, results } => {
                let mut worker = None;
                while let Some(at) = self.claim(next, chunks.count()) {
                    let worker = self.worker(&mut worker)?;
                    self.check_deadline()?;
                    worker.run(chunks.get(at), carries.get(at).copied())?;
                    if let Some(ty) = self.program.kernel.contribution() {
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
            self.check_deadline()?;
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
            None => Ok(held.insert(Worker::new(self)?)),
        }
    }

    fn claim(&self, next: &AtomicUsize, count: usize) -> Option<usize> {
        let at = next.fetch_add(1, Ordering::Relaxed);
        (at < count && !self.stopped.load(Ordering::Relaxed)).then_some(at)
    }

    fn name(&self) -> &str {
        &self.program.kernel.entry.name
    }

    /// Copies of buffers for one worker of several.
    fn copies(&self) -> Result<Copies, RunError> {
        let Share::Map { copies: Some(_), .. } = &self.share else { return Ok(Vec::new()) };
        slots(&self.args)
            .zip(&self.program.privates)
            .enumerate()
            .filter_map(|(buffer, (slot, merge))| Some((buffer, slot, (*merge)?)))
            .map(|(buffer, slot, merge)| {
                let copy = Slot::zeroed(slot.bytes());
                let copy = copy.map_err(|error| device(self.name(), &error))?;
                Ok((buffer, merge, Arc::new(copy)))
            })
            .collect()
    }

    pub(crate) fn check_deadline(&self) -> Result<(), RunError> {
        match self.deadline {
            Some(_) => self.check_deadline_at(Instant::now()),
            None => Ok(()),
        }
    }

    /// The same of a call that has just begun: a small one looks at no clock.
    pub(crate) fn check_deadline_at_start(&self) -> Result<(), RunError> {
        self.check_deadline_at(self.start)
    }

    fn check_deadline_at(&self, now: Instant) -> Result<(), RunError> {
        match self.deadline {
            Some(deadline) if now >= deadline.at => {
                Err(RunError::Deadline { kernel: self.name().to_owned(), limit: deadline.limit })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// An instance of the program, for one thread.
pub(crate) struct Worker<'t, 'a> {
    task: &'t Task<'a>,
    /// `None` once the instance has trapped.
    seat: Option<Box<Seat>>,
    /// Parameters before a carry.
    arguments: usize,
    /// Memory of its own in place of buffers.
    copies: Copies,
}

impl<'t, 'a> Worker<'t, 'a> {
    pub(crate) fn new(task: &'t Task<'a>) -> Result<Worker<'t, 'a>, RunError> {
        let copies = task.copies()?;
        let mut seat = task.program.seat(memories(task, &copies), task.deadline)?;
        seat.params.clear();
        seat.params.resize(RANGES, ValRaw::i32(0));
        seat.params.extend(task.args.iter().map(|arg| match arg {
            Arg::Buffer { len, .. } => ValRaw::u32(*len),
            Arg::Scalar(c) => to_raw(*c),
        }));
        if task.program.has_extents {
            let size = task.program.workgroup.unwrap_or([1; 3]);
            let extents = std::iter::zip(task.grid, size).map(|(count, each)| count * each);
            seat.params.extend(extents.map(ValRaw::u32));
        }
        let arguments = seat.params.len();
        Ok(Worker { task, seat: Some(seat), arguments, copies })
    }

    /// Runs a chunk. After an error other than a failing check the worker is of no more use.
    pub(crate) fn run(&mut self, chunk: Range<u64>, carry: Option<Const>) -> Result<(), RunError> {
        let (task, arguments) = (self.task, self.arguments);
        let seat = self.seat();
        seat.params.truncate(arguments);
        seat.params.extend(carry.map(to_raw));
        for cuboid in cuboids(chunk, task.grid) {
            let params = &mut self.seat().params;
            for (axis, range) in cuboid.iter().enumerate() {
                params[2 * axis] = ValRaw::u32(range.start);
                params[2 * axis + 1] = ValRaw::u32(range.end);
            }
            self.call()?;
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), RunError> {
        let Worker { task, seat, copies, .. } = self;
        let Seat { instance, params, scratch } = seat.as_deref_mut().expect(USABLE);
        match instance.call(memories(task, copies).chain(&*scratch), task.entry, params) {
            Ok(0) => Ok(()),
            Ok(_) => Err(RunError::Failed(self.failure())),
            Err(error) => {
                self.seat = None;
                self.task.check_deadline()?;
                Err(device(self.task.name(), &error))
            }
        }
    }

    fn seat(&mut self) -> &mut Seat {
        self.seat.as_mut().expect(USABLE)
    }

    fn failure(&mut self) -> Failure {
        let task = self.task;
        let instance = &mut self.seat().instance;
        let [site, index, x, y, z] = GLOBALS.map(|name| instance.global(name) as u32);
        let kernel = &task.program.kernel;
        let length = |param: Param| match kernel.entry.params[param.index()].kind {
            ParamKind::Shared { len, .. } => u64::from(len),
            ParamKind::Scalar(_) | ParamKind::Buffer { .. } => u64::from(length(&task.args, param)),
        };
        Failure::at(kernel, SiteId(site), [x, y, z], u64::from(index), length)
    }

    /// What the last run combined.
    pub(crate) fn partial(&mut self, ty: Type) -> Const {
        let bits = self.seat().instance.partial();
        Const::new(ty, bits.expect("a module that combines exports what it has combined"))
    }

    fn into_copies(mut self) -> Copies {
        std::mem::take(&mut self.copies)
    }
}

impl Drop for Worker<'_, '_> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.task.program.keep(seat);
        }
    }
}

/// What the buffers' memories lie over.
fn memories<'t>(task: &'t Task<'_>, copies: &'t Copies) -> impl Iterator<Item = &'t Slot> {
    let own = |buffer: usize| copies.iter().find(|(copied, ..)| *copied == buffer);
    slots(&task.args).enumerate().map(move |(buffer, slot)| match own(buffer) {
        Some((.., copy)) => &**copy,
        None => slot,
    })
}

fn to_raw(c: Const) -> ValRaw {
    match c.ty {
        Type::Bool | Type::I32 | Type::U32 => ValRaw::u32(c.bits as u32),
        Type::F32 => ValRaw::f32(c.bits as u32),
        Type::I64 | Type::U64 => ValRaw::u64(c.bits),
        Type::F64 => ValRaw::f64(c.bits),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
