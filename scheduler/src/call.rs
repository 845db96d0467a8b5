//! A call: what `KERNEL::on(&runtime).args(…)` gives, and how it runs.

mod repeat;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover_kernels::Args;
use crossover_kernels::error::RunError;
use crossover_kernels::exec::{self, Arg, Deadline, Grid, Version};
use crossover_kernels::ir::{Const, Param};
use crossover_memory::{Claim, Lent};
use crossover_shaders::GpuVersion;

use crate::aside::{self, Looked};
use crate::buffer::Storage;
use crate::device::Device;
use crate::error::Error;
use crate::explain::Explanation;
use crate::gpus::GpuSide;
use crate::layouts::Turn;
use crate::learned::{Seen, Trial};
use crate::ledger::{Measured, Why};
use crate::parts::Cutting;
use crate::place::{self, Asked, Decision, Placing};
use crate::route::FLEETING_S;
use crate::run::{self, Flight, Portion, Ran, Times};
use crate::runtime::{Inner, Load, Runtime};
use crate::shadow::{self, Before};
use crate::ticket::{Promise, Ticket, ticket};
use crate::version::{Code, GpuCode, Prepared};

pub(crate) use repeat::Repeats;

/// A bound argument.
#[derive(Clone, Debug)]
pub struct Bound<'b>(pub(crate) BoundArg<'b>);

#[derive(Clone, Debug)]
pub(crate) enum BoundArg<'b> {
    Scalar(Const),
    Buffer(Lent<'b, Storage>, u32),
    /// The value does not fit the kernel language, and why.
    Unfit(Box<str>),
}

impl<'b> BoundArg<'b> {
    /// As back ends take it, or why it is unfit.
    #[inline]
    fn plain(&self) -> Result<Arg<'b>, &str> {
        match self {
            BoundArg::Scalar(c) => Ok(Arg::Scalar(*c)),
            BoundArg::Buffer(storage, len) => {
                Ok(Arg::Buffer { slot: storage.part(|storage| &storage.slot), len: *len })
            }
            BoundArg::Unfit(message) => Err(message),
        }
    }

    fn share(&self) -> BoundArg<'static> {
        match self {
            BoundArg::Scalar(c) => BoundArg::Scalar(*c),
            BoundArg::Buffer(storage, len) => BoundArg::Buffer(storage.share(), *len),
            BoundArg::Unfit(why) => BoundArg::Unfit(why.clone()),
        }
    }
}

/// A call whose arguments are bound. [`Call::run`] runs it now, [`Call::submit`] in the background.
#[must_use = "a call does nothing until it is run or submitted"]
pub struct Call<'b> {
    runtime: &'b Runtime,
    prepared: Result<Lent<'b, Prepared>, Error>,
    args: Args<Bound<'b>>,
    grid: Option<Grid>,
    device: Option<Device>,
    adapter: Option<usize>,
    in_place: Option<bool>,
    threads: Option<usize>,
    deadline: Option<Duration>,
    shadow: Option<f64>,
}

/// What running a call gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Where it ran.
    pub device: Device,
    /// What it took.
    pub measured: Measured,
    /// The number of its row in the ledger.
    pub call: u64,
}

/// Where a call runs.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// On the calling thread.
    Here,
    /// Behind others, on the thread of its device.
    Lane,
}

/// Everything that running needs. Shared ([`Job::share`]), on whatever thread.
pub(crate) struct Job<'c> {
    pub(crate) inner: Lent<'c, Inner>,
    pub(crate) prepared: Lent<'c, Prepared>,
    pub(crate) args: Args<Bound<'c>>,
    /// The same arguments as back ends take them.
    pub(crate) plain: Args<Arg<'c>>,
    pub(crate) grid: Grid,
    pub(crate) deadline: Duration,
    pub(crate) decision: Arc<Decision>,
    pub(crate) call: u64,
    pub(crate) shadow: Option<f64>,
    /// Count the call as under way from its decision to its end.
    load: Load<'c>,
    trial: Option<Trial>,
    /// Its part in a race of layouts, if it has one.
    pub(crate) turn: Option<Turn>,
    /// Seconds that looking at it before has taken.
    looked_s: f64,
}

/// How far a call has come.
enum Begun<'k> {
    /// It is over.
    Over(Result<Outcome, Error>),
    /// The GPU has it.
    Underway(Box<Waiting<'k>>),
}

/// What the GPU has been given, and since when.
struct Waiting<'k> {
    flight: Flight<'k>,
    start: Instant,
}

impl<'b> Call<'b> {
    pub(crate) fn new(
        runtime: &'b Runtime,
        prepared: Result<Lent<'b, Prepared>, Error>,
        args: Args<Bound<'b>>,
    ) -> Call<'b> {
        Call {
            runtime,
            prepared,
            args,
            grid: None,
            device: None,
            adapter: None,
            in_place: None,
            threads: None,
            deadline: None,
            shadow: None,
        }
    }

    /// Runs on this device, whatever the prediction.
    ///
    /// ```
    /// # use crossover::{Device, kernels::library::saxpy::saxpy};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let outcome = saxpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).run()?;
    /// assert_eq!(outcome.device, Device::Cpu);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn device(mut self, device: Device) -> Self {
        self.device = Some(device);
        self
    }

    /// Runs on this one of [`Runtime::adapters`], whatever the prediction. [`Call::device`] leaves the choice
    /// among several.
    ///
    /// ```
    /// # use crossover::{Device, kernels::library::saxpy::saxpy};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let call = saxpy::on(&rt).args(2.0, &x, &mut y).adapter(0);
    /// match rt.adapters().first() {
    ///     Some(_) => assert_eq!(call.run()?.device, Device::Gpu),
    ///     None => assert!(call.run().is_err(), "there is no GPU"),
    /// }
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn adapter(mut self, adapter: usize) -> Self {
        (self.device, self.adapter) = (Some(Device::Gpu), Some(adapter));
        self
    }

    /// On a GPU with memory of its own, works on the buffers where the host has them, across the bus, or on
    /// copies, whatever the prediction. Other GPUs have one way to host memory ([`Adapter::memory`]).
    ///
    /// [`Adapter::memory`]: crate::Adapter::memory
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// // Where the bytes are changes nothing but the time.
    /// for in_place in [true, false] {
    ///     saxpy::on(&rt).args(2.0, &x, &mut y).in_place(in_place).run()?;
    /// }
    /// assert_eq!(y.to_vec()?, [4.0, 8.0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn in_place(mut self, in_place: bool) -> Self {
        self.in_place = Some(in_place);
        self
    }

    /// Runs over this grid instead of the kernel's own; unused axes are 1.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// let (x, mut y) = (rt.buffer_from(&[1.0; 3])?, rt.alloc(3)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).grid([2, 1, 1]).run()?;
    /// assert_eq!(y.to_vec()?, [2.0, 2.0, 0.0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn grid(mut self, grid: [u32; 3]) -> Self {
        self.grid = Some(grid);
        self
    }

    /// Uses this many threads on the CPU; the default is what the prediction says.
    ///
    /// ```
    /// # use crossover::{Device, kernels::library::saxpy::saxpy};
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).threads(1).run()?;
    /// assert_eq!(rt.ledger().last().map(|row| row.threads), Some(1));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// Gives the call up after this time.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use crossover::{Device, Error, Id, kernel, kernels::error::RunError};
    /// #[kernel]
    /// fn spin(id: Id, passages: u32, y: &mut [f32]) {
    ///     for _ in 0..passages {
    ///         y[id.x] = y[id.x] * 0.5 + 1.0;
    ///     }
    /// }
    /// # let rt = crossover::Runtime::new()?;
    /// # let mut y = rt.alloc(1 << 16)?;
    /// let minutes = spin::on(&rt).args(1 << 24, &mut y).device(Device::Cpu);
    /// let error = minutes.deadline(Duration::from_millis(2)).run().expect_err("given up");
    /// assert!(matches!(error, Error::Run(RunError::Deadline { .. })));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Also runs the call on the other device, on copies, and compares: the results may differ by
    /// this share of the larger one. A difference is [`Error::Mismatch`]; the buffers then hold what
    /// the chosen device gave.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let call = saxpy::on(&rt).args(0.1, &x, &mut y).shadow(1e-6);
    /// call.run()?; // They agree to a millionth.
    /// assert_eq!(y.to_vec()?, [0.1, 0.2]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn shadow(mut self, tolerance: f64) -> Self {
        self.shadow = Some(tolerance);
        self
    }

    /// Runs the call to its end on the calling thread.
    ///
    /// # Errors
    /// [`Error`]: the kernel, its arguments, or the call itself.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.buffer_from(&[10.0, 20.0])?);
    /// let outcome = saxpy::on(&rt).args(3.0, &x, &mut y).run()?;
    /// assert!(outcome.measured.run_s <= outcome.measured.total_s);
    /// assert_eq!(y.to_vec()?, [13.0, 26.0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn run(self) -> Result<Outcome, Error> {
        match self.repeated() {
            Some(repeat) => self.run_again(repeat),
            None => self.run_anew(),
        }
    }

    fn run_anew(self) -> Result<Outcome, Error> {
        let is_plain = self.is_plain();
        let mut job = self.prepare(Way::Here)?;
        job.look();
        if job.decision.device == Device::Gpu
            && let Some(cutting) = job.cutting()
        {
            let _span = job.span();
            return cutting.run(exec::claim_args(&job.prepared.kernel, &job.plain));
        }
        // Nobody waits for this call in a lane, so that its claims need no place in a lane's order.
        let claim = job.claim();
        let outcome = job.run(claim)?;
        if is_plain {
            job.remember(&outcome);
        }
        Ok(outcome)
    }

    /// Runs the call in the background, after those submitted before that use its buffers. Whoever
    /// looks at the buffers waits for it.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let first = saxpy::on(&rt).args(1.0, &x, &mut y).submit();
    /// let second = saxpy::on(&rt).args(2.0, &x, &mut y).submit(); // Finds what the first leaves.
    /// assert!(first.wait()?.call < second.wait()?.call);
    /// assert_eq!(y.to_vec()?, [3.0, 6.0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn submit(self) -> Ticket {
        let name = match &self.prepared {
            Ok(prepared) => prepared.name.clone(),
            Err(_) => "?".into(),
        };
        let (ticket, promise) = ticket(name);
        let runtime = self.runtime;
        match self.prepare(Way::Lane) {
            Err(error) => promise.keep(Err(error)),
            Ok(job) => {
                let seat = job.decision.seat();
                let (lane, ends) = (runtime.lane(seat), runtime.ends(seat).cloned());
                let job = job.share();
                // Claims and the lane's queue are in one order: no job waits for one behind it.
                let _order = runtime.inner().order();
                let claim = job.claim();
                // Whoever waits for the answer finds that the call no longer counts as under way.
                let keep = |promise: Promise, job: Job<'_>, answer| {
                    drop(job);
                    promise.keep(answer);
                };
                lane.push(move || match job.begin(claim) {
                    Begun::Over(answer) => keep(promise, job, answer),
                    Begun::Underway(waiting) => {
                        let end = move || {
                            let answer = job.finish(*waiting);
                            keep(promise, job, answer);
                        };
                        match ends {
                            Some(ends) => ends.push(end),
                            None => end(),
                        }
                    }
                });
            }
        }
        ticket
    }

    /// The device that the call would run on now: [`Call::explain`] without the reasons, which costs next to
    /// nothing for a call whose like has been seen.
    ///
    /// # Errors
    /// [`Error`]: the kernel or its arguments.
    ///
    /// ```
    /// # use crossover::{Device, GpuUse, Id, Runtime, kernel};
    /// #[kernel]
    /// fn double(id: Id, x: &mut [f32]) {
    ///     x[id.x] *= 2.0;
    /// }
    ///
    /// let rt = Runtime::builder().with(|settings| settings.gpu = GpuUse::Off).build()?;
    /// let mut x = rt.buffer_from(&[1.0; 100])?;
    /// assert_eq!(double::on(&rt).args(&mut x).place()?, Device::Cpu);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn place(&self) -> Result<Device, Error> {
        if let Some(device) = self.placed_again() {
            return Ok(device);
        }
        let (prepared, plain, grid) = self.resolve()?;
        Ok(self.decide(prepared, &plain, grid, Way::Here)?.device)
    }

    /// Predicts the call without running it.
    ///
    /// # Errors
    /// [`Error`]: the kernel or its arguments.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// let explained = saxpy::on(&rt).args(2.0, &x, &mut y).explain()?;
    /// let chosen = explained.estimates.iter().find(|e| e.device == explained.chosen);
    /// assert!(chosen.is_some_and(|estimate| estimate.total_s() > 0.0));
    /// assert_eq!(y.to_vec()?, [0.0, 0.0], "nothing has run");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn explain(self) -> Result<Explanation, Error> {
        let (prepared, plain, grid) = self.resolve()?;
        let decision = self.decide(prepared, &plain, grid, Way::Here)?;
        Ok(Explanation::new(self.runtime.inner(), prepared, &decision))
    }

    /// Compiles the call's kernel for every device that can run it, now.
    ///
    /// # Errors
    /// [`Error`]: the kernel is wrong. A device that cannot run it is no error.
    ///
    /// ```
    /// # use crossover::kernels::library::saxpy::saxpy;
    /// # let rt = crossover::Runtime::new()?;
    /// # let (x, mut y) = (rt.buffer_from(&[1.0, 2.0])?, rt.alloc(2)?);
    /// saxpy::on(&rt).args(2.0, &x, &mut y).compile()?;
    /// let explained = saxpy::on(&rt).args(2.0, &x, &mut y).explain()?;
    /// assert!(explained.terms.iter().all(|terms| terms.is_compiled));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn compile(&self) -> Result<(), Error> {
        let prepared = self.prepared.as_ref().map_err(Error::clone)?;
        let inner = self.runtime.inner();
        // Arguments that do not fit are no reason not to compile.
        let decision = self
            .resolve()
            .and_then(|(p, plain, grid)| self.decide(p, &plain, grid, Way::Here))
            .ok();
        inner.cpu_code(prepared, decision.as_deref())?;
        for gpu in &inner.gpus {
            gpu.compile_now(prepared);
        }
        Ok(())
    }

    /// The kernel, the arguments as back ends take them, and the grid; checked.
    fn resolve(&self) -> Result<(&Lent<'b, Prepared>, Args<Arg<'b>>, Grid), Error> {
        let prepared = self.prepared.as_ref().map_err(Error::clone)?;
        let plain = plain_args(prepared, &self.args)?;
        let grid = self.grid.unwrap_or_else(|| exec::default_grid(&prepared.kernel, &plain));
        exec::check_args(&prepared.kernel, &plain, grid)?;
        Ok((prepared, plain, grid))
    }

    fn decide(
        &self,
        prepared: &Prepared,
        plain: &[Arg],
        grid: Grid,
        way: Way,
    ) -> Result<Arc<Decision>, Error> {
        let inner = self.runtime.inner();
        place::decide(Placing { inner, prepared, args: &self.args, plain, grid }, self.asked(way))
    }

    /// What it leaves no choice of.
    fn asked(&self, way: Way) -> Asked {
        let Call { device, adapter, in_place, threads, .. } = *self;
        // What is recorded is told of whole calls, and so is what is compared.
        let whole = self.shadow.is_some() || self.runtime.inner().recorder.get().is_some();
        let queued = matches!(way, Way::Lane);
        Asked { device, adapter, in_place, threads, whole, queued }
    }

    fn prepare(self, way: Way) -> Result<Job<'b>, Error> {
        let (prepared, plain, grid) = self.resolve()?;
        let inner = self.runtime.inner();
        let decision = self.decide(prepared, &plain, grid, way)?;
        if let Some(crew) = decision.tried_crew() {
            prepared.learned(decision.adapter).begin_crews_trial(decision.prior.log2_work, crew);
        }
        if decision.lacks_gpu_code {
            for gpu in &inner.gpus {
                self.runtime.compile_gpu_soon(gpu, prepared.arc());
            }
        }
        if decision.device == Device::Cpu && prepared.outlives_its_choice() {
            self.runtime.optimise_soon(prepared.arc());
        }
        let turn = self.turn(prepared, &decision);
        let call = inner.ledger.open(&decision);
        if let Some(turn) = turn.filter(|turn| turn.is_trial()) {
            inner.ledger.laid_out(call, prepared.lays.name(turn.number()));
        }
        let deadline = self.deadline.unwrap_or(inner.deadline);
        let shadow = self.shadow;
        let inner = Lent::Lent(inner);
        let predicted_s = match way {
            // It is over before anybody could wait for it.
            Way::Here if decision.predicted_s() < FLEETING_S => 0.0,
            Way::Here | Way::Lane => decision.predicted_s(),
        };
        let load = Load::count(inner.clone(), decision.seat(), predicted_s);
        let trial = decision.is_trial().then(|| Trial::begin(prepared.arc(), &decision));
        let (prepared, args) = (self.prepared?, self.args);
        Ok(Job {
            inner,
            prepared,
            args,
            plain,
            grid,
            deadline,
            decision,
            call,
            shadow,
            load,
            trial,
            turn,
            looked_s: 0.0,
        })
    }

    /// The part of a call in a race of layouts; has done in the background what these want.
    fn turn(&self, prepared: &Lent<'_, Prepared>, decision: &Decision) -> Option<Turn> {
        if decision.device != Device::Cpu {
            return None;
        }
        if prepared.lays.is_wanted() {
            self.runtime.lay_out_soon(prepared.arc());
        }
        let is_usual = self.shadow.is_none() && decision.tried_crew().is_none();
        let turn = || prepared.lays.turn(decision.prior.log2_work, decision.threads);
        is_usual.then(turn).flatten()
    }
}

fn plain_args<'b>(prepared: &Prepared, args: &[Bound<'b>]) -> Result<Args<Arg<'b>>, Error> {
    let mut plain = Args::new();
    for (at, Bound(arg)) in args.iter().enumerate() {
        plain.push(arg.plain().map_err(|message| {
            let entry = &prepared.kernel.entry;
            let name = entry.params.get(at).map_or("?", |p| p.name.as_str());
            let message = format!("`{name}` {message}");
            RunError::Arguments { kernel: entry.name.clone(), message }
        })?);
    }
    Ok(plain)
}

impl<'c> Job<'c> {
    /// The same for another thread.
    fn share(self) -> Job<'static> {
        Job {
            inner: self.inner.share(),
            prepared: self.prepared.share(),
            args: self.args.iter().map(|Bound(arg)| Bound(arg.share())).collect(),
            plain: self.plain.iter().map(Arg::share).collect(),
            grid: self.grid,
            deadline: self.deadline,
            decision: self.decision,
            call: self.call,
            shadow: self.shadow,
            load: self.load.share(),
            trial: self.trial,
            turn: self.turn,
            looked_s: self.looked_s,
        }
    }

    /// Looks at the devices before, if that is of use, and goes where that leads.
    fn look(&mut self) {
        if self.turn.is_some() {
            return;
        }
        let Some(Looked { decision, parts, took_s }) = aside::look(self) else { return };
        self.inner.ledger.looked(self.call, &decision, parts);
        self.looked_s = took_s;
        self.deadline = self.deadline.saturating_sub(Duration::from_secs_f64(took_s));
        self.load = Load::count(self.inner.clone(), decision.seat(), decision.predicted_s());
        let prepared = self.prepared.arc();
        self.trial = decision.is_trial().then(|| Trial::begin(prepared, &decision));
        self.decision = Arc::new(decision);
    }

    /// Some points of the call with other buffers, of so many elements: not a call of anybody's.
    pub(crate) fn on_copies(
        &self,
        grid: Grid,
        copies: &[(Param, Arc<Storage>, u32)],
    ) -> Result<Job<'c>, Error> {
        let mut args = self.args.clone();
        for (param, storage, len) in copies {
            args[param.index()] = Bound(BoundArg::Buffer(storage.clone().into(), *len));
        }
        let plain = plain_args(&self.prepared, &args)?;
        Ok(Job {
            inner: self.inner.clone(),
            prepared: self.prepared.clone(),
            args,
            plain,
            grid,
            deadline: self.deadline,
            decision: self.decision.clone(),
            call: self.call,
            shadow: None,
            load: Load::count(self.inner.clone(), self.decision.seat(), 0.0),
            trial: None,
            turn: None,
            looked_s: 0.0,
        })
    }

    /// The arguments that are buffers, in order.
    pub(crate) fn storages(&self) -> impl Iterator<Item = &Arc<Storage>> {
        self.args.iter().filter_map(|Bound(arg)| match arg {
            BoundArg::Buffer(storage, _) => Some(storage.arc()),
            BoundArg::Scalar(_) | BoundArg::Unfit(_) => None,
        })
    }

    pub(crate) fn storage(&self, param: Param) -> Option<&Arc<Storage>> {
        match &self.args.get(param.index())?.0 {
            BoundArg::Buffer(storage, _) => Some(storage.arc()),
            BoundArg::Scalar(_) | BoundArg::Unfit(_) => None,
        }
    }

    /// The CPU's code, with the layout that is in use or tried.
    pub(crate) fn cpu_code(&self) -> Result<&Arc<dyn Version>, RunError> {
        let number = self.turn.map_or_else(|| self.decision.layout(), Turn::number);
        match self.prepared.lays.version(number) {
            Some(version) => Ok(version),
            None => self.inner.cpu_code(&self.prepared, Some(&self.decision)),
        }
    }

    /// Who runs the call on a device, if that is the CPU.
    pub(crate) fn seen(&self, device: Device) -> Option<Seen> {
        let tries_layout = self.turn.is_some_and(Turn::is_trial) && device == Device::Cpu;
        if tries_layout { Some(Seen::LAYOUT) } else { self.decision.crew(device) }
    }

    /// The call, as it is decided.
    pub(crate) fn placing(&self) -> Placing<'_> {
        let (inner, prepared) = (self.inner.arc(), &*self.prepared);
        Placing { inner, prepared, args: &self.args, plain: &self.plain, grid: self.grid }
    }

    /// Seconds that beginning a part of it takes on a device.
    pub(crate) fn start_s(&self, device: Device) -> f64 {
        self.inner.start_s(self.decision.adapter)[device as usize]
    }

    /// The GPU that the call goes to, or was compared with.
    ///
    /// # Panics
    /// When the runtime has none: then no call goes there.
    pub(crate) fn gpu(&self) -> &Arc<GpuSide> {
        &self.inner.gpus[self.decision.adapter]
    }

    /// Sees to it that the kernel's code for that GPU is ready or refused; [`GpuCode::Unasked`] without one.
    pub(crate) fn compile_gpu(&self) -> GpuCode {
        let gpu = self.inner.gpus.get(self.decision.adapter);
        gpu.map_or(GpuCode::Unasked, |gpu| gpu.compile_now(&self.prepared))
    }

    /// The claim on its buffers.
    fn claim(&self) -> Claim<'c> {
        let stream = match self.decision.device {
            Device::Cpu => None,
            Device::Gpu => self.gpu().gpu().map(|gpu| gpu.stream()),
        };
        exec::claim_args_in(stream, &self.prepared.kernel, &self.plain)
    }

    /// Runs to the end.
    fn run(&self, claim: Claim<'_>) -> Result<Outcome, Error> {
        match self.begin(claim) {
            Begun::Over(answer) => answer,
            Begun::Underway(waiting) => self.finish(*waiting),
        }
    }

    /// Waits for what the GPU has been given.
    fn finish(&self, Waiting { flight, start }: Waiting<'_>) -> Result<Outcome, Error> {
        let (ran, claim) = flight.finish(self);
        self.end(start, ran, claim, None)
    }

    /// How it is to be cut, if it is.
    fn cutting(&self) -> Option<Cutting<'_, 'c>> {
        // Parts say little of a layout.
        let may_be_cut = self.decision.may_be_cut && self.turn.is_none();
        may_be_cut.then(|| Cutting::plan(self)).flatten()
    }

    /// Runs to the end, or to where the GPU has been given the work.
    fn begin<'k>(&self, claim: Claim<'k>) -> Begun<'k> {
        let _span = self.span();
        // One that was sent to the GPU in the background is a step of what the GPU has been given: it is not cut.
        if self.decision.device == Device::Cpu
            && let Some(cutting) = self.cutting()
        {
            return Begun::Over(cutting.run(claim));
        }
        if let Some(version) = self.code_of_gpu() {
            run::wait_for(&version, &claim);
            let start = Instant::now();
            let deadline = Some(Deadline::from(start, self.deadline));
            let whole = Portion::whole(self);
            return match run::issue(self, whole, &version, claim, deadline) {
                Ok(flight) => Begun::Underway(Box::new(Waiting { flight, start })),
                Err(stopped) => {
                    let (error, claim) = *stopped;
                    Begun::Over(self.end(start, Err(error), claim, None))
                }
            };
        }
        claim.wait();
        let start = Instant::now();
        let before = match self.shadow.map(|_| shadow::snapshot(self, &claim)).transpose() {
            Ok(before) => before,
            Err(error) => return Begun::Over(Err(error)),
        };
        let deadline = Some(Deadline::from(start, self.deadline));
        let times = Times { start, is_late: before.is_some(), deadline };
        let whole = Portion::whole(self);
        let (ran, claim) = run::run(self, whole, self.decision.device, claim, times);
        Begun::Over(self.end(start, ran, claim, before))
    }

    /// The call, for whoever traces: from when it may look at its buffers, or waits for them, to its end, or to
    /// where the GPU has been given the work.
    fn span(&self) -> tracing::span::EnteredSpan {
        let Decision { device, adapter, threads, .. } = *self.decision;
        let (kernel, call) = (&*self.prepared.name, self.call);
        let (device, predicted_s) = (device.name(), self.decision.predicted_s());
        tracing::debug_span!("call", kernel, call, device, adapter, threads, predicted_s).entered()
    }

    /// The code that works on the GPU, for a call that goes there and is not compared with another run.
    fn code_of_gpu(&self) -> Option<Arc<GpuVersion>> {
        if self.decision.device != Device::Gpu || self.shadow.is_some() {
            return None;
        }
        match self.compile_gpu() {
            GpuCode::Ready(Code::Gpu(version)) => Some(version),
            _ => None,
        }
    }

    /// What comes after the run: the other device, if this one failed; the ledger, the lesson, the
    /// comparison.
    fn end(
        &self,
        start: Instant,
        ran: Result<Ran, Error>,
        mut claim: Claim<'_>,
        before: Option<Before>,
    ) -> Result<Outcome, Error> {
        let (device, ran) = match ran {
            Err(Error::Run(error)) if self.may_fall_back(self.decision.device, &error) => {
                self.note_fall_back(&error);
                claim.wait();
                let deadline = Some(Deadline::from(start, self.deadline));
                let times = Times { start, is_late: true, deadline };
                let whole = Portion::whole(self);
                let (ran, back) = run::run(self, whole, Device::Cpu, claim, times);
                claim = back;
                (Device::Cpu, ran)
            }
            other => (self.decision.device, other),
        };
        let measured = match ran {
            Ok((measured, end)) => {
                let total_s = self.looked_s + (end - start).as_secs_f64();
                Measured { total_s, ..measured }
            }
            Err(error) => {
                let message = error.to_string();
                self.inner.ledger.fail(self.call, message);
                return Err(error);
            }
        };
        self.inner.ledger.close(self.call, measured);
        crate::feedback::learn(self, device, &measured);
        if let (Some(tolerance), Some(before)) = (self.shadow, before) {
            shadow::compare(self, device, &mut claim, before, tolerance)?;
        }
        Ok(Outcome { device, measured, call: self.call })
    }

    /// Only the GPU falls back, and not where the caller asked for it or is to blame.
    pub(crate) fn may_fall_back(&self, device: Device, error: &RunError) -> bool {
        let devices_fault = match error {
            RunError::Device { .. } | RunError::Memory { .. } | RunError::Unsupported { .. } => {
                true
            }
            RunError::Failed(_) | RunError::Arguments { .. } | RunError::Deadline { .. } => false,
        };
        devices_fault && device == Device::Gpu && !matches!(self.decision.why, Why::Forced)
    }

    pub(crate) fn note_fall_back(&self, error: &RunError) {
        tracing::warn!(kernel = %self.prepared.name, %error, "the GPU failed, the CPU runs the call");
        let why = Why::FellBack(error.to_string().into());
        self.inner.ledger.fall_back(self.call, why);
        if matches!(error, RunError::Device { .. }) {
            self.gpu().rest();
        }
    }
}
