//! The executor: kernels compiled, and calls of them.
//!
//! A map is one task; what its workers counted apart is merged at the end. A collective combines the
//! results of its chunks in order, a parallel scan passes over its range twice.

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crossover_kernels::error::RunError;
use crossover_kernels::eval;
use crossover_kernels::exec::{
    Arg, Call, Executor, Grid, Measurement, Part, Parts, Rerun, Version, check_args, outer_axis,
};
use crossover_kernels::ir::{Collective, CollectiveKind, CollectiveOp, Const, Kernel, Stmt, Type};
use crossover_memory::{Lent, Slot};
use wasmtime::Module;

use crate::alarm::Alarms;
use crate::cache::Modules;
use crate::chunk::{ALIGNMENT, Chunks, FixedChunks, Grain, Pace, Points, points};
use crate::emit::{emit, is_repeatable};
use crate::engine::{Engines, Entry};
use crate::pool::{Pool, THREADS_MAX, Work, Workers};
use crate::private::{Copies, Merge};
use crate::program::{Idle, Program};
use crate::rerun::Again;
use crate::schedule::Schedule;
use crate::task::{Share, Task, lock};
use crate::worker::{Passage, Worker};

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
    alarms: Alarms,
    cache: Option<Modules>,
}

/// What an executor may be told.
#[derive(Clone, Default)]
pub struct WasmOptions {
    /// A folder that keeps compiled kernels from process to process; without one, every process
    /// compiles its own. It should be the user's own: entries that others could have written are not
    /// used.
    pub cache: Option<PathBuf>,
    /// Threads that take part in calls, in place of the executor's own.
    pub workers: Option<Arc<dyn Workers>>,
}

impl std::fmt::Debug for WasmOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let workers = self.workers.as_ref().map(|_| "given");
        f.debug_struct("WasmOptions")
            .field("cache", &self.cache)
            .field("workers", &workers)
            .finish()
    }
}

impl WasmExecutor {
    /// An executor without threads: they start when calls ask for them.
    ///
    /// # Errors
    /// [`RunError::Device`] where the machine has not what wasmtime needs.
    ///
    /// ```
    /// use crossover_kernels::exec::Executor;
    /// use crossover_kernels::{front, library::saxpy::saxpy, passes};
    /// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[]).expect("it is right"));
    /// let version = crossover_wasm::WasmExecutor::new()?.compile(&kernel.into())?;
    /// assert!(version.parts([1000, 1, 1]).is_some(), "it runs parts of a call");
    /// # Ok::<(), crossover_kernels::error::RunError>(())
    /// ```
    pub fn new() -> Result<WasmExecutor, RunError> {
        WasmExecutor::with(WasmOptions::default())
    }

    /// An executor with these options.
    ///
    /// # Errors
    /// As [`WasmExecutor::new`].
    ///
    /// ```
    /// use crossover_kernels::exec::Executor;
    /// use crossover_wasm::{WasmExecutor, WasmOptions};
    /// let cache = std::env::temp_dir().join("crossover-kernels");
    /// let options = WasmOptions { cache: Some(cache), ..WasmOptions::default() };
    /// assert_eq!(WasmExecutor::with(options)?.name(), "wasm");
    /// # Ok::<(), crossover_kernels::error::RunError>(())
    /// ```
    pub fn with(options: WasmOptions) -> Result<WasmExecutor, RunError> {
        let engines = Engines::new().map_err(|error| device("", &error))?;
        let (pool, alarms) =
            (options.workers.map_or_else(Pool::default, Pool::of), Alarms::default());
        let cache = options.cache.map(Modules::new);
        Ok(WasmExecutor { shared: Arc::new(Shared { engines, pool, alarms, cache }) })
    }

    /// Compiles a kernel laid out in a given way; see [`Executor::compile`].
    ///
    /// # Errors
    /// Those of [`Executor::compile`].
    ///
    /// ```
    /// use crossover_kernels::{front, library::saxpy::saxpy, passes};
    /// use crossover_wasm::{Schedule, WasmExecutor};
    /// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[]).expect("it is right"));
    /// let (kernel, executor) = (std::sync::Arc::new(kernel), WasmExecutor::new()?);
    /// for schedule in Schedule::space(&kernel) {
    ///     executor.compile_scheduled(&kernel, schedule)?;
    /// }
    /// # Ok::<(), crossover_kernels::error::RunError>(())
    /// ```
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
        let engine = self.shared.engines.get(emitted.unbounded);
        let module = engine.and_then(|engine| match &self.shared.cache {
            Some(cache) => cache.module(&engine, &emitted.bytes),
            None => Module::new(&engine, &emitted.bytes),
        });
        let module = module.map_err(|error| device(name, &error))?;
        tracing::debug!(kernel = %name, bytes = emitted.bytes.len(), time = ?start.elapsed());
        Ok(Arc::new(WasmVersion {
            shared: self.shared.clone(),
            program: Arc::new(Program {
                kernel: kernel.clone(),
                module,
                scratch_bytes: emitted.scratch_bytes,
                unbounded: emitted.unbounded,
                has_loops: has_loops(kernel),
                rows: emitted.rows,
                workgroup: emitted.workgroup,
                has_extents: emitted.has_extents,
                privates: buffer_privates(kernel, &emitted.privates),
                pace: Pace::default(),
                idle: Idle::default(),
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

    fn runs_parts(&self) -> bool {
        true
    }
}

/// The entries of buffers, without those of scalars.
fn buffer_privates(kernel: &Kernel, privates: &[Option<Merge>]) -> Vec<Option<Merge>> {
    kernel.entry.buffers().map(|(param, ..)| privates[param.index()]).collect()
}

/// Whether what a point costs is not in sight.
fn has_loops(kernel: &Kernel) -> bool {
    let mut found = false;
    kernel.entry.walk(&mut |stmt| found |= matches!(stmt, Stmt::For { .. } | Stmt::Loop(_)));
    found
}

struct WasmVersion {
    shared: Arc<Shared>,
    program: Arc<Program>,
}

/// How a collective is run.
#[derive(Clone, Copy)]
struct Combining {
    start: Instant,
    /// Those that take part, of the threads asked for.
    threads: usize,
    chunks: FixedChunks,
    op: CollectiveOp,
    ty: Type,
}

impl Combining {
    fn identity(self) -> Const {
        self.op.identity(self.ty)
    }
}

impl Version for WasmVersion {
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        self.run_part(call, Part::all(call.grid))
    }

    fn parts(&self, grid: Grid) -> Option<Parts> {
        let (axis, program) = (outer_axis(grid), &self.program);
        Some(Parts::alike(match (program.workgroup, axis) {
            (Some(size), _) => size[axis],
            (None, 0) => ALIGNMENT as u32,
            (None, 1) => program.rows,
            (None, _) => 1,
        }))
    }

    fn run_part(&self, call: &mut Call<'_, '_>, part: Part) -> Result<Measurement, RunError> {
        check_args(&self.program.kernel, call.args, call.grid)?;
        self.settle(call)?;
        self.run_ready(call, part)
    }

    fn run_ready(&self, call: &mut Call<'_, '_>, part: Part) -> Result<Measurement, RunError> {
        let kernel = &*self.program.kernel;
        let start = call.start.unwrap_or_else(Instant::now);
        let alarm = match call.deadline {
            Some(deadline) if self.program.unbounded => {
                let engine = self.program.module.engine();
                let alarm = self.shared.alarms.set(engine, deadline);
                Some(alarm.map_err(|error| device(&kernel.entry.name, &error))?)
            }
            Some(_) | None => None,
        };
        let asked = call.grid;
        call.grid = self.program.grid(asked);
        let outcome = match kernel.collective.zip(kernel.contribution()) {
            None => self.map(call, self.program.range(asked, part), start),
            Some((collective, ty)) => self.collect(call, start, collective, ty),
        };
        drop(alarm);
        call.grid = asked;
        outcome?;
        let end = Instant::now();
        Ok(Measurement { kernel: end - start, end: Some(end), ..Measurement::default() })
    }

    fn rerun(&self, args: &[Arg<'_>], grid: Grid, threads: usize) -> Option<Box<dyn Rerun>> {
        if !self.is_at_once(grid, threads) {
            return None;
        }
        let kernel = &self.program.kernel;
        let collective = kernel.collective.zip(kernel.contribution());
        let again = Again::new(&self.program, args, grid, collective).ok()?;
        Some(Box::new(again))
    }
}

impl WasmVersion {
    /// Whether a call over this grid is one piece, for one of so many threads, at the end of which no deadline has
    /// passed: what its points cost is in sight, and they are few.
    fn is_at_once(&self, grid: Grid, threads: usize) -> bool {
        let Program { kernel, pace, has_loops, unbounded, .. } = &*self.program;
        let points = points(self.program.grid(grid));
        let is_short = match kernel.collective {
            None => threads == 1 && points <= pace.points(),
            Some(_) => FixedChunks::of(points, threads, Grain::Coarse).count() == 1,
        };
        is_short && points > 0 && !has_loops && !unbounded
    }

    /// Waits until the buffers are this call's, and fetches bytes that are elsewhere.
    fn settle(&self, call: &Call<'_, '_>) -> Result<(), RunError> {
        call.claim.wait();
        for arg in call.args {
            if let Arg::Buffer { slot, .. } = arg {
                let name = &self.program.kernel.entry.name;
                slot.settle(call.claim).map_err(|error| device(name, &error))?;
            }
        }
        Ok(())
    }

    fn map(
        &self,
        call: &mut Call<'_, '_>,
        range: Range<u64>,
        start: Instant,
    ) -> Result<(), RunError> {
        let threads = self.map_threads(call);
        let fits = range.end - range.start <= self.program.pace.points();
        if threads == 1 && fits && !self.program.has_loops {
            let passage = self.passage(call, start, Entry::Run);
            let _span = passage.span(0).entered();
            passage.check_deadline_at_start()?;
            return Worker::new(&passage, Copies::new())?.run(range, None);
        }
        // A single thread without a deadline has no need for pieces.
        let paced = threads > 1 || call.deadline.is_some();
        let what = match self.program.workgroup {
            None => Points::Invocations,
            Some(_) => Points::Workgroups,
        };
        let chunks = Chunks::of(call.grid, range, self.program.rows, what, threads);
        let copies = (threads > 1).then(Mutex::default);
        let share = Share::Map { chunks, paced, copies };
        let mut merged = Vec::new();
        self.share_out(call, start, Entry::Run, threads, share, |task| {
            if let Share::Map { copies: Some(copies), .. } = &task.share {
                merged.append(&mut lock(copies));
            }
        })?;
        let args = call.args;
        let slots: Vec<_> = if merged.is_empty() { Vec::new() } else { slots(args).collect() };
        for (buffer, merge, copy) in merged.into_iter().flatten() {
            let into = call.claim.slice_mut::<u32>(slots[buffer]);
            merge.apply(into, &copy.read::<u32>());
        }
        Ok(())
    }

    /// The threads that were asked for; one where copies for all would cost more than they save.
    fn map_threads(&self, call: &Call<'_, '_>) -> usize {
        let threads = call.threads.clamp(1, THREADS_MAX);
        if threads == 1 {
            return 1;
        }
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
        call: &mut Call<'_, '_>,
        start: Instant,
        collective: Collective,
        ty: Type,
    ) -> Result<(), RunError> {
        let threads = call.threads.clamp(1, THREADS_MAX);
        let grain = if self.program.has_loops { Grain::Fine } else { Grain::Coarse };
        let chunks = FixedChunks::of(u64::from(call.grid[0]), threads, grain);
        let threads = threads.min(chunks.count());
        let combining = Combining { start, threads, chunks, op: collective.op, ty };
        match collective.kind {
            CollectiveKind::Reduce => {
                let total = self.reduce(call, combining)?;
                store_result(call, total);
                Ok(())
            }
            CollectiveKind::Scan => self.scan(call, combining),
        }
    }

    /// What the chunks contribute, combined in their order.
    fn reduce(&self, call: &Call<'_, '_>, combining: Combining) -> Result<Const, RunError> {
        let Combining { threads, op, ty, .. } = combining;
        if threads <= 1 {
            return self.in_order(call, combining, Entry::Run, |worker, chunk, total| {
                worker.run(chunk, None)?;
                Ok(eval::combine(op, total, worker.partial(ty)))
            });
        }
        let partials = self.chunk_results(call, combining, Entry::Run, Vec::new())?;
        let add = |total, partial: &Const| eval::combine(op, total, *partial);
        Ok(partials.iter().fold(combining.identity(), add))
    }

    /// Passes over the chunks twice, where that gives the same: first for what each contributes.
    fn scan(&self, call: &Call<'_, '_>, combining: Combining) -> Result<(), RunError> {
        let Combining { threads, op, ty, .. } = combining;
        if threads <= 1 || !is_repeatable(&self.program.kernel.entry) {
            let last = self.in_order(call, combining, Entry::Scan, |worker, chunk, carry| {
                worker.run(chunk, Some(carry))?;
                Ok(worker.partial(ty))
            });
            return last.map(|_| ());
        }
        let partials = self.chunk_results(call, combining, Entry::Run, Vec::new())?;
        let mut carry = combining.identity();
        let carries = partials.iter().map(|partial| {
            let next = eval::combine(op, carry, *partial);
            std::mem::replace(&mut carry, next)
        });
        let carries = carries.collect();
        self.chunk_results(call, combining, Entry::Scan, carries).map(|_| ())
    }

    /// One chunk after the other on the calling thread: `run` is given what it made of those before.
    fn in_order(
        &self,
        call: &Call<'_, '_>,
        combining: Combining,
        entry: Entry,
        run: impl Fn(&mut Worker<'_, '_>, Range<u64>, Const) -> Result<Const, RunError>,
    ) -> Result<Const, RunError> {
        let Combining { start, chunks, .. } = combining;
        let passage = self.passage(call, start, entry);
        let mut worker = Worker::new(&passage, Copies::new())?;
        let mut held = combining.identity();
        for at in 0..chunks.count() {
            match at {
                0 => passage.check_deadline_at_start()?,
                _ => passage.check_deadline()?,
            }
            held = run(&mut worker, chunks.get(at), held)?;
        }
        Ok(held)
    }

    /// What each chunk leaves in `partial`, in order. `carries` may be empty.
    fn chunk_results(
        &self,
        call: &Call<'_, '_>,
        Combining { start, threads, chunks, .. }: Combining,
        entry: Entry,
        carries: Vec<Const>,
    ) -> Result<Vec<Const>, RunError> {
        let results = Mutex::new(vec![None; chunks.count()]);
        let share = Share::Fixed { next: AtomicUsize::new(0), chunks, carries, results };
        self.share_out(call, start, entry, threads, share, |task| match &task.share {
            Share::Fixed { results, .. } => lock(results).iter().flatten().copied().collect(),
            Share::Map { .. } => Vec::new(),
        })
    }

    /// What a worker on the calling thread runs.
    fn passage<'c>(&'c self, call: &'c Call<'_, '_>, start: Instant, entry: Entry) -> Passage<'c> {
        let (program, args) = (Lent::Lent(&self.program), Cow::Borrowed(call.args));
        Passage::new(program, call, args, start, entry)
    }

    /// Runs a task on the threads, to its end or first error, and looks at what it leaves.
    fn share_out<R>(
        &self,
        call: &Call<'_, '_>,
        start: Instant,
        entry: Entry,
        threads: usize,
        share: Share,
        look: impl FnOnce(&Task<'_>) -> R,
    ) -> Result<R, RunError> {
        if threads <= 1 {
            let task = Task::new(self.passage(call, start, entry), share);
            task.take_part(0);
            return task.error().map_or_else(|| Ok(look(&task)), Err);
        }
        let args = Cow::Owned(call.args.iter().map(Arg::share).collect());
        let program = Lent::Shared(self.program.clone());
        let passage = Passage::new(program, call, args, start, entry);
        let task = Arc::new(Task::new(passage, share));
        let work: Arc<dyn Work> = task.clone();
        self.shared.pool.run(threads, &work);
        task.error().map_or_else(|| Ok(look(&task)), Err)
    }
}

/// The memory of each buffer, in order.
pub(crate) fn slots<'s>(args: &'s [Arg<'_>]) -> impl Iterator<Item = &'s Slot> {
    args.iter().filter_map(|arg| match arg {
        Arg::Buffer { slot, .. } => Some(&**slot),
        Arg::Scalar(_) => None,
    })
}

/// Writes element 0 of the last argument.
fn store_result(call: &mut Call<'_, '_>, total: Const) {
    let Some(Arg::Buffer { slot, .. }) = call.args.last() else { return };
    if total.ty.is_wide() {
        call.claim.slice_mut::<u64>(slot)[0] = total.bits;
    } else {
        call.claim.slice_mut::<u32>(slot)[0] = total.bits as u32;
    }
}

pub(crate) fn device(kernel: &str, error: &dyn std::fmt::Display) -> RunError {
    RunError::Device {
        kernel: kernel.to_owned(),
        device: DEVICE.to_owned(),
        message: format!("{error:#}"),
    }
}
