//! Calls: a module's instances at work on a grid.
//!
//! Each worker of a call has a store and an instance of its own, over the same slots. Maps hand out
//! chunks to whoever is free; collectives cut the range the same way at every run and combine the
//! chunks' results in order.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crossover_kernels::error::{Failure, RunError};
use crossover_kernels::eval;
use crossover_kernels::exec::{
    Arg, Call, Deadline, Executor, Grid, Measurement, Version, check_args, length,
};
use crossover_kernels::ir::{Collective, CollectiveKind, Const, Kernel, SiteId, Type};
use crossover_memory::Slot;
use wasmtime::{Engine, Func, Instance, Module, Store, UpdateDeadline, Val};

use crate::chunk::{Chunks, Pace, cuboids, fixed_chunks, points};
use crate::emit::{GLOBALS, emit, is_repeatable};
use crate::engine::{Engines, instantiate};
use crate::pool::{Pool, Work};
use crate::private::{Copies, Merge};
use crate::schedule::Schedule;

/// How errors name this back end.
const DEVICE: &str = "wasm";

/// Runs kernels as SIMD WebAssembly on the CPU. Clones and the versions it compiles share one
/// engine and one pool of threads, which end with the last of them.
#[derive(Clone, Debug)]
pub struct WasmExecutor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    engines: Engines,
    pool: Pool,
}

impl WasmExecutor {
    /// An executor without threads: they start when calls ask for them.
    ///
    /// # Errors
    /// [`RunError::Device`] where the machine has not what wasmtime needs.
    pub fn new() -> Result<WasmExecutor, RunError> {
        let engines = Engines::new().map_err(|error| device("", &error))?;
        Ok(WasmExecutor { shared: Arc::new(Shared { engines, pool: Pool::default() }) })
    }

    /// Compiles a kernel laid out in a given way; see [`Executor::compile`].
    ///
    /// # Errors
    /// Those of [`Executor::compile`].
    pub fn compile_scheduled(
        &self,
        kernel: &Arc<Kernel>,
        schedule: Schedule,
    ) -> Result<Arc<dyn Version>, RunError> {
        let name = &kernel.entry.name;
        let start = Instant::now();
        let emitted = emit(kernel, schedule).map_err(|error| RunError::Unsupported {
            kernel: name.clone(),
            device: DEVICE.to_owned(),
            what: error.to_string(),
        })?;
        let compiled = self.shared.engines.get(emitted.unbounded).and_then(|engine| {
            let module = Module::new(&engine, &emitted.bytes)?;
            Ok((engine, module))
        });
        let (engine, module) = compiled.map_err(|error| device(name, &error))?;
        tracing::debug!(kernel = %name, bytes = emitted.bytes.len(), time = ?start.elapsed());
        Ok(Arc::new(WasmVersion {
            shared: self.shared.clone(),
            program: Arc::new(Program {
                kernel: kernel.clone(),
                engine,
                module,
                scratch_bytes: emitted.scratch_bytes,
                unbounded: emitted.unbounded,
                rows: emitted.rows,
                workgroup: emitted.workgroup,
                privates: buffer_privates(kernel, &emitted.privates),
            }),
        }))
    }
}

impl Executor for WasmExecutor {
    fn name(&self) -> &str {
        DEVICE
    }

    fn compile(&self, kernel: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        self.compile_scheduled(kernel, Schedule::default_for(kernel))
    }
}

/// A compiled kernel.
struct Program {
    kernel: Arc<Kernel>,
    engine: Engine,
    module: Module,
    scratch_bytes: usize,
    unbounded: bool,
    /// Rows of the grid that are computed together.
    rows: u32,
    /// The size of workgroups, where the module counts these and not invocations.
    workgroup: Option<[u32; 3]>,
    /// For each buffer, how workers' copies of it are merged.
    privates: Vec<Option<Merge>>,
}

impl Program {
    /// What the module walks over: invocations, or workgroups.
    fn grid(&self, grid: Grid) -> Grid {
        let whole = self.kernel.whole_groups(grid);
        let size = self.workgroup.unwrap_or([1; 3]);
        std::array::from_fn(|axis| whole[axis] / size[axis])
    }
}

/// The entries of buffers, without those of scalars.
fn buffer_privates(kernel: &Kernel, privates: &[Option<Merge>]) -> Vec<Option<Merge>> {
    kernel.entry.buffers().map(|(param, ..)| privates[param.index()]).collect()
}

struct WasmVersion {
    shared: Arc<Shared>,
    program: Arc<Program>,
}

impl Version for WasmVersion {
    fn run(&self, call: &mut Call<'_>) -> Result<Measurement, RunError> {
        let kernel = &*self.program.kernel;
        check_args(kernel, call.args, call.grid)?;
        self.settle(call)?;
        let start = Instant::now();
        let alarm = match call.deadline {
            Some(deadline) if self.program.unbounded => Some(Alarm::set(&self.program, deadline)?),
            Some(_) | None => None,
        };
        let asked = call.grid;
        call.grid = self.program.grid(asked);
        let outcome = match kernel.collective.zip(kernel.contribution()) {
            None => self.map(call),
            Some((collective, ty)) => self.collect(call, collective, ty),
        };
        drop(alarm);
        call.grid = asked;
        outcome.map(|()| Measurement { kernel: start.elapsed(), ..Measurement::default() })
    }
}

impl WasmVersion {
    /// Waits until the buffers are this call's, and fetches bytes that are elsewhere.
    fn settle(&self, call: &Call<'_>) -> Result<(), RunError> {
        call.claim.wait();
        for arg in call.args {
            if let Arg::Buffer { slot, .. } = arg {
                let name = &self.program.kernel.entry.name;
                slot.settle(call.claim).map_err(|error| device(name, &error))?;
            }
        }
        Ok(())
    }

    fn map(&self, call: &mut Call<'_>) -> Result<(), RunError> {
        let threads = self.map_threads(call);
        let pieces = threads > 1 || call.deadline.is_some();
        let chunks = Chunks::of(call.grid, self.program.rows, threads);
        let copies = (threads > 1).then(Mutex::default);
        let share = Share::Map { chunks, pieces, copies };
        let task = self.share_out(call, "run", threads, share)?;
        let Share::Map { copies: Some(copies), .. } = &task.share else { return Ok(()) };
        for (buffer, merge, copy) in lock(copies).drain(..).flatten() {
            let into = call.claim.slice_mut::<u32>(&task.slots[buffer]);
            merge.apply(into, &copy.read::<u32>());
        }
        Ok(())
    }

    /// The threads that were asked for; one where copies for all would cost more than they save.
    fn map_threads(&self, call: &Call<'_>) -> usize {
        let threads = call.threads.max(1);
        let buffers = call.args.iter().filter_map(|arg| match arg {
            Arg::Buffer { len, .. } => Some(u64::from(*len)),
            Arg::Scalar(_) => None,
        });
        let copied: u64 = buffers
            .zip(&self.program.privates)
            .filter_map(|(len, merge)| merge.map(|_| len * threads as u64))
            .sum();
        if copied > points(call.grid) / 2 { 1 } else { threads }
    }

    fn collect(
        &self,
        call: &mut Call<'_>,
        collective: Collective,
        ty: Type,
    ) -> Result<(), RunError> {
        let threads = call.threads.max(1);
        let chunks = fixed_chunks(u64::from(call.grid[0]), threads);
        let identity = collective.op.identity(ty);
        let combine = |a: Const, b: &Const| eval::combine(collective.op, a, *b);
        match collective.kind {
            CollectiveKind::Reduce => {
                let partials = self.chunk_results(call, "run", threads, chunks, Vec::new())?;
                let total = partials.iter().fold(identity, combine);
                store_result(call, total);
                Ok(())
            }
            CollectiveKind::Scan => {
                let parallel = threads > 1 && is_repeatable(&self.program.kernel.entry);
                if !parallel || chunks.len() <= 1 {
                    return self.scan_in_order(call, chunks, identity);
                }
                let partials =
                    self.chunk_results(call, "run", threads, chunks.clone(), Vec::new())?;
                let mut running = identity;
                let carries = partials
                    .iter()
                    .map(|partial| {
                        let next = combine(running, partial);
                        std::mem::replace(&mut running, next)
                    })
                    .collect();
                self.chunk_results(call, "scan", threads, chunks, carries).map(|_| ())
            }
        }
    }

    /// One chunk after the other, each with the carry that the one before leaves.
    fn scan_in_order(
        &self,
        call: &Call<'_>,
        chunks: Vec<Range<u64>>,
        identity: Const,
    ) -> Result<(), RunError> {
        let mut carry = identity;
        let task = Task::new(&self.program, call, "scan", Share::None);
        let mut worker = Worker::new(&task)?;
        for chunk in chunks {
            task.check_deadline()?;
            worker.run(chunk, Some(carry))?;
            carry = worker.partial(identity.ty);
        }
        Ok(())
    }

    /// What each chunk leaves in `partial`, in order. `carries` may be empty.
    fn chunk_results(
        &self,
        call: &Call<'_>,
        entry: &'static str,
        threads: usize,
        chunks: Vec<Range<u64>>,
        carries: Vec<Const>,
    ) -> Result<Vec<Const>, RunError> {
        let threads = threads.min(chunks.len());
        let results = Mutex::new(vec![None; chunks.len()]);
        let share = Share::Fixed { next: AtomicUsize::new(0), chunks, carries, results };
        let task = self.share_out(call, entry, threads, share)?;
        let Share::Fixed { results, .. } = &task.share else { return Ok(Vec::new()) };
        Ok(lock(results).iter().flatten().copied().collect())
    }

    /// Runs a task on the threads, to its end or first error.
    fn share_out(
        &self,
        call: &Call<'_>,
        entry: &'static str,
        threads: usize,
        share: Share,
    ) -> Result<Arc<Task>, RunError> {
        let task = Arc::new(Task::new(&self.program, call, entry, share));
        let work: Arc<dyn Work> = task.clone();
        self.shared.pool.run(threads, &work);
        drop(work);
        let error = lock(&task.error).take();
        error.map_or(Ok(task), Err)
    }
}

/// Writes element 0 of the last argument.
fn store_result(call: &mut Call<'_>, total: Const) {
    let Some(Arg::Buffer { slot, .. }) = call.args.last() else { return };
    if total.ty.is_wide() {
        call.claim.slice_mut::<u64>(slot)[0] = total.bits;
    } else {
        call.claim.slice_mut::<u32>(slot)[0] = total.bits as u32;
    }
}

/// How the work of a task is divided.
enum Share {
    /// It is not.
    None,
    /// Chunks for whoever is free; `pieces` when there is a reason for more than one.
    /// `copies` are those of workers that are done, where there are several.
    Map { chunks: Chunks, pieces: bool, copies: Option<Mutex<Vec<Copies>>> },
    /// The same chunks at every run, with their carries and their results.
    Fixed {
        next: AtomicUsize,
        chunks: Vec<Range<u64>>,
        carries: Vec<Const>,
        results: Mutex<Vec<Option<Const>>>,
    },
}

/// One passage over the grid by one or more workers.
struct Task {
    program: Arc<Program>,
    entry: &'static str,
    slots: Vec<Arc<Slot>>,
    /// The kernel's own arguments: scalars, and lengths of buffers.
    params: Vec<Val>,
    lengths: Vec<u32>,
    grid: Grid,
    deadline: Option<Deadline>,
    share: Share,
    /// Set by the first error: nothing new is begun.
    stopped: AtomicBool,
    error: Mutex<Option<RunError>>,
}

impl Work for Task {
    fn work(&self) {
        if let Err(error) = self.take_part() {
            self.stopped.store(true, Ordering::Relaxed);
            let mut held = lock(&self.error);
            if held.as_ref().is_none_or(|old| precedes(&error, old)) {
                *held = Some(error);
            }
        }
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

impl Task {
    fn new(program: &Arc<Program>, call: &Call<'_>, entry: &'static str, share: Share) -> Task {
        let slots = call.args.iter().filter_map(|arg| match arg {
            Arg::Buffer { slot, .. } => Some(slot.clone()),
            Arg::Scalar(_) => None,
        });
        let params = call.args.iter().map(|arg| match arg {
            Arg::Buffer { len, .. } => Val::I32(len.cast_signed()),
            Arg::Scalar(c) => to_val(*c),
        });
        let arguments = (0..call.args.len())
            .map(|at| length(call.args, crossover_kernels::ir::Param(at as u32)));
        let lengths = arguments.chain(program.kernel.entry.shared().map(|(_, _, length)| length));
        Task {
            program: program.clone(),
            entry,
            slots: slots.collect(),
            params: params.collect(),
            lengths: lengths.collect(),
            grid: call.grid,
            deadline: call.deadline,
            share,
            stopped: AtomicBool::new(false),
            error: Mutex::new(None),
        }
    }

    fn name(&self) -> &str {
        &self.program.kernel.entry.name
    }

    /// Copies of buffers for one worker of several.
    fn copies(&self) -> Result<Copies, RunError> {
        let Share::Map { copies: Some(_), .. } = &self.share else { return Ok(Vec::new()) };
        let privates = self.program.privates.iter().enumerate();
        privates
            .filter_map(|(buffer, merge)| Some((buffer, (*merge)?)))
            .map(|(buffer, merge)| {
                let copy = Slot::zeroed(self.slots[buffer].bytes());
                let copy = copy.map_err(|error| device(self.name(), &error))?;
                Ok((buffer, merge, Arc::new(copy)))
            })
            .collect()
    }

    fn take_part(&self) -> Result<(), RunError> {
        match &self.share {
            Share::None => Ok(()),
            Share::Map { chunks, pieces, copies } => {
                self.map_chunks(chunks, *pieces, copies.as_ref())
            }
            Share::Fixed { next, chunks, carries, results } => {
                let mut worker = None;
                while let Some(at) = self.claim(next, chunks.len()) {
                    self.check_deadline()?;
                    let worker = self.worker(&mut worker)?;
                    worker.run(chunks[at].clone(), carries.get(at).copied())?;
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
        chunks: &Chunks,
        pieces: bool,
        copies: Option<&Mutex<Vec<Copies>>>,
    ) -> Result<(), RunError> {
        let mut pace = Pace::new(pieces);
        let mut worker = None;
        while !self.stopped.load(Ordering::Relaxed)
            && let Some(chunk) = chunks.take(pace.size())
        {
            self.check_deadline()?;
            let worker = self.worker(&mut worker)?;
            let (start, points) = (Instant::now(), chunk.end - chunk.start);
            worker.run(chunk, None)?;
            pace.note(points, start.elapsed());
        }
        if let (Some(worker), Some(copies)) = (worker, copies) {
            lock(copies).push(worker.copies);
        }
        Ok(())
    }

    /// The worker of this thread, made when there is work for it.
    fn worker<'a, 'b>(
        &'a self,
        held: &'b mut Option<Worker<'a>>,
    ) -> Result<&'b mut Worker<'a>, RunError> {
        match held {
            Some(worker) => Ok(worker),
            None => Ok(held.insert(Worker::new(self)?)),
        }
    }

    fn claim(&self, next: &AtomicUsize, count: usize) -> Option<usize> {
        let at = next.fetch_add(1, Ordering::Relaxed);
        (at < count && !self.stopped.load(Ordering::Relaxed)).then_some(at)
    }

    fn check_deadline(&self) -> Result<(), RunError> {
        match self.deadline {
            Some(deadline) if deadline.has_passed() => {
                Err(RunError::Deadline { kernel: self.name().to_owned(), limit: deadline.limit })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// An instance of the program, for one thread.
struct Worker<'a> {
    task: &'a Task,
    store: Store<()>,
    instance: Instance,
    entry: Func,
    /// The ranges, the kernel's arguments and the carry.
    params: Vec<Val>,
    /// Memory of its own in place of buffers.
    copies: Copies,
}

impl<'a> Worker<'a> {
    fn new(task: &'a Task) -> Result<Worker<'a>, RunError> {
        let program = &*task.program;
        let mut slots = task.slots.clone();
        let copies = task.copies()?;
        for (buffer, _, copy) in &copies {
            slots[*buffer] = copy.clone();
        }
        if program.scratch_bytes > 0 {
            let scratch = Slot::zeroed(program.scratch_bytes);
            slots.push(Arc::new(scratch.map_err(|error| device(task.name(), &error))?));
        }
        let mut store = Store::new(&program.engine, ());
        if program.unbounded {
            let deadline = task.deadline;
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(move |_| match deadline {
                Some(deadline) if deadline.has_passed() => {
                    Err(wasmtime::format_err!("the deadline has passed"))
                }
                // The epoch of another call.
                Some(_) | None => Ok(UpdateDeadline::Continue(1)),
            });
        }
        let instance = instantiate(&mut store, &program.module, &slots)
            .map_err(|error| device(task.name(), &error))?;
        let entry = instance
            .get_func(&mut store, task.entry)
            .expect("every emitted module exports its entries");
        let mut params = vec![Val::I32(0); 6];
        params.extend_from_slice(&task.params);
        Ok(Worker { task, store, instance, entry, params, copies })
    }

    fn run(&mut self, chunk: Range<u64>, carry: Option<Const>) -> Result<(), RunError> {
        let own = 6 + self.task.params.len();
        self.params.truncate(own);
        self.params.extend(carry.map(to_val));
        for cuboid in cuboids(chunk, self.task.grid) {
            for (axis, range) in cuboid.iter().enumerate() {
                self.params[2 * axis] = Val::I32(range.start.cast_signed());
                self.params[2 * axis + 1] = Val::I32(range.end.cast_signed());
            }
            self.call()?;
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), RunError> {
        let mut result = [Val::I32(0)];
        match self.entry.call(&mut self.store, &self.params, &mut result) {
            Ok(()) if result[0].i32() == Some(0) => Ok(()),
            Ok(()) => Err(RunError::Failed(self.failure())),
            Err(error) => {
                self.task.check_deadline()?;
                Err(device(self.task.name(), &error))
            }
        }
    }

    fn failure(&mut self) -> Failure {
        let [site, index, x, y, z] = GLOBALS.map(|name| self.global(name) as u32);
        let lengths = &self.task.lengths;
        let length = |param: crossover_kernels::ir::Param| u64::from(lengths[param.index()]);
        let kernel = &self.task.program.kernel;
        Failure::at(kernel, SiteId(site), [x, y, z], u64::from(index), length)
    }

    /// What the last run combined.
    fn partial(&mut self, ty: Type) -> Const {
        Const::new(ty, self.global("partial"))
    }

    /// The bits of an exported global.
    fn global(&mut self, name: &str) -> u64 {
        let global = self
            .instance
            .get_global(&mut self.store, name)
            .expect("every emitted module exports its globals");
        match global.get(&mut self.store) {
            Val::I64(bits) => bits.cast_unsigned(),
            Val::F32(bits) => u64::from(bits),
            Val::F64(bits) => bits,
            Val::I32(bits) => u64::from(bits.cast_unsigned()),
            _ => unreachable!("the globals of an emitted module are numbers"),
        }
    }
}

fn to_val(c: Const) -> Val {
    match c.ty {
        Type::Bool | Type::I32 | Type::U32 => Val::I32((c.bits as u32).cast_signed()),
        Type::F32 => Val::F32(c.bits as u32),
        Type::I64 | Type::U64 => Val::I64(c.bits.cast_signed()),
        Type::F64 => Val::F64(c.bits),
    }
}

/// A thread that advances the engine's epoch when the deadline comes, so that loops without bound
/// look at the clock.
struct Alarm {
    done: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Alarm {
    fn set(program: &Program, deadline: Deadline) -> Result<Alarm, RunError> {
        let done = Arc::new((Mutex::new(false), Condvar::new()));
        let (engine, shared) = (program.engine.clone(), done.clone());
        let thread = std::thread::Builder::new()
            .name("crossover-alarm".to_owned())
            .spawn(move || {
                let (done, changed) = &*shared;
                let mut ended = lock(done);
                while !*ended {
                    let now = Instant::now();
                    if now >= deadline.at {
                        return engine.increment_epoch();
                    }
                    let waited = changed.wait_timeout(ended, deadline.at - now);
                    ended = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            })
            .map_err(|error| device(&program.kernel.entry.name, &error))?;
        Ok(Alarm { done, thread: Some(thread) })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        *lock(&self.done.0) = true;
        self.done.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // It cannot panic: there is nothing to report.
            let _ended = thread.join();
        }
    }
}

fn device(kernel: &str, error: &dyn std::fmt::Display) -> RunError {
    RunError::Device {
        kernel: kernel.to_owned(),
        device: DEVICE.to_owned(),
        message: format!("{error:#}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
