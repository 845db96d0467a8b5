//! Calls that repeat one before.
//!
//! A call that is over at once pays more for what is around it than for its work. One that is like a call before, with
//! the same buffers and the same wishes, has arguments that have been checked, and a decision that holds as long as
//! nothing is learned and nothing else is under way. Such a call takes its buffers, runs, and is written down. What
//! may have changed otherwise (a GPU's code that is ready, another layout) is seen by the next call that teaches:
//! fleeting calls do so every eighth time, later one in 32, then one in 128.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_utils::atomic::AtomicCell;
use crossover_kernels::Args;
use crossover_kernels::exec::{self, Arg, Deadline, Grid, Part, Rerun, Version};
use crossover_kernels::ir::{Const, Type};
use crossover_memory::{Lent, Want, hold};

use super::{Bound, BoundArg, Call, Job, Outcome, Way};
use crate::buffer::Storage;
use crate::device::{Device, Seat};
use crate::error::Error;
use crate::feedback;
use crate::learned::Hold;
use crate::ledger::Measured;
use crate::place::{self, Asked, Decision};
use crate::run;
use crate::runtime::Load;
use crate::version::Prepared;

/// Calls of a kernel that are remembered: enough for two buffers that change places.
const PLACES: usize = 4;

/// The newest calls of a kernel that may be repeated.
#[derive(Default)]
pub(crate) struct Repeats([Place; PLACES]);

type Place = AtomicCell<Option<Box<Repeat>>>;

/// A call that may be repeated. Who repeats it has it alone: others at the same time go the long way.
pub(super) struct Repeat {
    /// Its place.
    at: usize,
    /// Whose call it was: a kernel can be handed to another runtime.
    runtime: u64,
    asked: Asked,
    args: Args<Same>,
    grid: Grid,
    /// The buffers, each once.
    wants: Args<(usize, Want)>,
    decision: Arc<Decision>,
    version: Arc<dyn Version>,
    again: Again,
    hold: Hold,
}

/// Whether the version makes the call again without looking at it.
enum Again {
    /// Nobody has asked it: most calls are not repeated.
    Unasked,
    None,
    At(Box<dyn Rerun>),
}

/// What is to be done after a call that was repeated.
enum Next {
    Over(Outcome),
    /// It is to be decided again, after it has taught what it has, unless that is nothing.
    Learn(Box<Repeat>, Outcome, bool),
    Fail(Box<Repeat>, Instant, Error),
    /// It has not run: the long way.
    Anew,
}

/// What an argument has to be like.
enum Same {
    /// Of any value: how much work there is does not depend on it.
    Float(Type),
    Scalar(Const),
    Buffer {
        number: u64,
        len: u32,
    },
    /// None that has run has one.
    Unfit,
}

impl Same {
    #[inline]
    fn is(&self, Bound(arg): &Bound<'_>) -> bool {
        match (self, arg) {
            (Same::Float(ty), BoundArg::Scalar(c)) => c.ty == *ty,
            (Same::Scalar(known), BoundArg::Scalar(c)) => c == known,
            (Same::Buffer { number, len: known }, BoundArg::Buffer(storage, len)) => {
                storage.number == *number && len == known
            }
            (_, _) => false,
        }
    }

    fn of(Bound(arg): &Bound<'_>) -> Same {
        match arg {
            BoundArg::Scalar(c) if c.ty.is_float() => Same::Float(c.ty),
            BoundArg::Scalar(c) => Same::Scalar(*c),
            BoundArg::Buffer(storage, len) => Same::Buffer { number: storage.number, len: *len },
            BoundArg::Unfit(_) => Same::Unfit,
        }
    }
}

impl Repeats {
    /// Which place is for a call.
    #[inline]
    fn place(args: &[Bound<'_>]) -> usize {
        let place = args.iter().fold(0, |place: u64, Bound(arg)| match arg {
            BoundArg::Buffer(storage, _) => place.rotate_left(1) ^ storage.number,
            BoundArg::Scalar(_) | BoundArg::Unfit(_) => place,
        });
        place as usize % PLACES
    }
}

/// The buffers of a call.
fn storages<'a>(args: &'a [Bound<'_>]) -> impl Iterator<Item = &'a Storage> {
    args.iter().filter_map(|Bound(arg)| match arg {
        BoundArg::Buffer(storage, _) => Some(&**storage),
        BoundArg::Scalar(_) | BoundArg::Unfit(_) => None,
    })
}

/// Whether the host has the newest content of all buffers.
fn are_here(args: &[Bound<'_>]) -> bool {
    storages(args).all(|storage| !storage.slot.is_pending())
}

impl<'b> Call<'b> {
    /// Whether it is a call such as can be repeated: its wishes are few, and nobody looks at each call.
    pub(super) fn is_plain(&self) -> bool {
        let Call { grid, deadline, shadow, runtime, .. } = self;
        let inner = runtime.inner();
        (grid.is_none() && deadline.is_none() && shadow.is_none())
            && inner.recorder.get().is_none()
            && inner.gpus.len() < 2
            && !inner.policy.takes_notes()
            && !tracing::enabled!(tracing::Level::DEBUG)
    }

    /// What it repeats, if it may.
    pub(super) fn repeated(&self) -> Option<Box<Repeat>> {
        let (prepared, inner) = (self.prepared.as_ref().ok()?, self.runtime.inner());
        let place = &prepared.repeats.0[Repeats::place(&self.args)];
        let repeat = place.take()?;
        let is_like = repeat.runtime == inner.number
            && repeat.asked == self.asked(Way::Here)
            && repeat.args.len() == self.args.len()
            && repeat.args.iter().zip(&self.args).all(|(same, arg)| same.is(arg))
            && self.is_plain()
            && repeat.decision.prior.generation == inner.generation()
            && prepared.lays.is_idle()
            && !inner.is_busy();
        if !is_like {
            place.store(Some(repeat));
            return None;
        }
        Some(repeat)
    }

    /// Where it would run, if it repeats one.
    pub(super) fn placed_again(&self) -> Option<Device> {
        let (prepared, repeat) = (self.prepared.as_ref().ok()?, self.repeated()?);
        let device = repeat.decision.device;
        prepared.repeats.0[repeat.at].store(Some(repeat));
        are_here(&self.args).then_some(device)
    }

    /// Runs as the call that it repeats.
    pub(super) fn run_again(self, repeat: Box<Repeat>) -> Result<Outcome, Error> {
        let prepared = self.prepared.as_ref().map_err(Error::clone)?;
        let next = match repeat.again {
            Again::At(_) => self.run_at_once(prepared, repeat),
            Again::Unasked | Again::None => self.run_claimed(prepared, repeat),
        };
        match next {
            Next::Over(outcome) => Ok(outcome),
            Next::Learn(repeat, outcome, is_passed) => self.learn(repeat, outcome, is_passed),
            Next::Fail(repeat, start, error) => self.fail(&repeat, start, error),
            Next::Anew => self.run_anew(),
        }
    }

    /// Runs as a call of which nothing has to be looked at.
    fn run_at_once(&self, prepared: &Prepared, mut repeat: Box<Repeat>) -> Next {
        let Repeat { wants, again, .. } = &mut *repeat;
        let slot = |&(at, want): &(usize, Want)| match &self.args[at].0 {
            BoundArg::Buffer(storage, _) => Some((&*storage.slot, want)),
            BoundArg::Scalar(_) | BoundArg::Unfit(_) => None,
        };
        let (Some(mut held), Again::At(again)) = (hold(wants.iter().filter_map(slot)), again)
        else {
            // Others have a buffer, or it is elsewhere.
            return Next::Anew;
        };
        self.takes(wants);
        let float = |at: usize| match &self.args[at].0 {
            BoundArg::Scalar(c) => *c,
            BoundArg::Buffer(..) | BoundArg::Unfit(_) => Const::zero(Type::F32),
        };
        let ran = again.rerun(&float, &mut held);
        drop(held);
        match ran {
            Ok(run_s) => {
                let (device_s, total_s) = (Some(run_s), run_s);
                let measured = Measured { run_s, device_s, transfer_s: 0.0, total_s };
                self.write_down(prepared, repeat, measured)
            }
            Err(error) => Next::Fail(repeat, Instant::now(), error.into()),
        }
    }

    /// Runs as a call that has its own claim.
    #[inline(never)]
    fn run_claimed(&self, prepared: &Prepared, mut repeat: Box<Repeat>) -> Next {
        let plain = self.plain();
        let mut claim = exec::claim_wanted(None, repeat.wants.iter().copied(), &plain);
        claim.wait();
        if !are_here(&self.args) {
            return Next::Anew;
        }
        if let Again::Unasked = repeat.again {
            let again = repeat.version.rerun(&plain, repeat.grid, repeat.decision.threads);
            repeat.again = again.map_or(Again::None, Again::At);
        }
        self.takes(&repeat.wants);
        let start = Instant::now();
        let Repeat { grid, decision, version, .. } = &*repeat;
        let deadline = Some(Deadline::from(start, self.runtime.inner().deadline));
        let (args, claimed, grid) = (&plain[..], &mut claim, *grid);
        let threads = decision.threads;
        let mut call =
            exec::Call { args, grid, threads, deadline, start: Some(start), claim: claimed };
        let ran = version.run_ready(&mut call, Part::all(grid));
        drop(claim);
        match ran {
            Ok(measured) => {
                let (measured, end) = run::timed(&measured, start, start);
                let total_s = (end - start).as_secs_f64();
                self.write_down(prepared, repeat, Measured { total_s, ..measured })
            }
            Err(error) => Next::Fail(repeat, start, error.into()),
        }
    }

    /// What becomes of the buffers of a call on the host.
    #[inline]
    fn takes(&self, wants: &[(usize, Want)]) {
        for &(at, want) in wants {
            if let BoundArg::Buffer(storage, _) = &self.args[at].0 {
                storage.looks.look();
                if want == Want::Write {
                    storage.host_changes();
                }
            }
        }
    }

    /// Writes down what it took, and keeps it for the next one.
    #[inline]
    fn write_down(&self, prepared: &Prepared, repeat: Box<Repeat>, measured: Measured) -> Next {
        let Repeat { decision, hold, at, .. } = &*repeat;
        let (device, Measured { run_s, total_s, .. }) = (Device::Cpu, measured);
        let call = self.runtime.inner().ledger.add(decision, measured);
        let outcome = Outcome { device, measured, call };
        let mut learned = prepared.learned(decision.adapter);
        let is_passed = learned.pass_over(device, decision.run_s(device), run_s, total_s);
        let holds = is_passed && learned.holds(hold);
        drop(learned);
        if !holds {
            return Next::Learn(repeat, outcome, is_passed);
        }
        prepared.repeats.0[*at].store(Some(repeat));
        Next::Over(outcome)
    }

    /// Learns from it, unless nothing is to be learned, and decides again.
    #[cold]
    fn learn(
        self,
        repeat: Box<Repeat>,
        outcome: Outcome,
        is_passed: bool,
    ) -> Result<Outcome, Error> {
        let plain = self.plain();
        let job = self.into_job(plain, &repeat, outcome.call)?;
        if !is_passed {
            feedback::learn(&job, outcome.device, &outcome.measured);
        }
        job.renew(repeat);
        Ok(outcome)
    }

    /// Says of a call that was repeated what is said of all that fail.
    #[cold]
    fn fail(self, repeat: &Repeat, start: Instant, error: Error) -> Result<Outcome, Error> {
        let number = self.runtime.inner().ledger.open(&repeat.decision);
        let plain = self.plain();
        let claim = exec::claim_wanted(None, repeat.wants.iter().copied(), &plain);
        claim.wait();
        self.into_job(plain, repeat, number)?.end(start, Err(error), claim, None)
    }

    /// The arguments as back ends take them.
    fn plain(&self) -> Args<Arg<'b>> {
        self.args.iter().filter_map(|Bound(arg)| arg.plain().ok()).collect()
    }

    /// The call, for those who are told of it after all.
    fn into_job(
        self,
        plain: Args<Arg<'b>>,
        Repeat { grid, decision, .. }: &Repeat,
        call: u64,
    ) -> Result<Job<'b>, Error> {
        let inner = Lent::Lent(self.runtime.inner());
        Ok(Job {
            load: Load::count(inner.clone(), Seat::Cpu, 0.0),
            deadline: inner.deadline,
            inner,
            prepared: self.prepared?,
            args: self.args,
            plain,
            grid: *grid,
            decision: decision.clone(),
            call,
            shadow: None,
            trial: None,
            turn: None,
            looked_s: 0.0,
        })
    }
}

impl Job<'_> {
    /// Remembers a call that has run, if it may be repeated as it was.
    pub(super) fn remember(&self, outcome: &Outcome) {
        let Job { prepared, decision, grid, .. } = self;
        if outcome.device != Device::Cpu || !are_here(&self.args) {
            return;
        }
        let (Some(hold), Ok(version)) = (self.hold(decision), self.cpu_code()) else { return };
        let at = Repeats::place(&self.args);
        let repeat = Repeat {
            at,
            runtime: self.inner.number,
            asked: decision.asked(),
            args: self.args.iter().map(Same::of).collect(),
            grid: *grid,
            wants: exec::wants(&prepared.kernel, &self.plain).collect(),
            decision: decision.clone(),
            version: version.clone(),
            again: Again::Unasked,
            hold,
        };
        prepared.repeats.0[at].store(Some(Box::new(repeat)));
    }

    /// Remembers a call again after something was learned, as it is decided now, if the same code runs it.
    fn renew(&self, repeat: Box<Repeat>) {
        let Ok(decision) = place::decide(self.placing(), repeat.asked) else { return };
        let code = |decision: &Decision| (decision.layout(), decision.threads);
        if code(&decision) != code(&repeat.decision) {
            return;
        }
        if let Some(hold) = self.hold(&decision) {
            let at = repeat.at;
            let renewed = Repeat { hold, decision, ..*repeat };
            self.prepared.repeats.0[at].store(Some(Box::new(renewed)));
        }
    }

    /// How long calls may be repeated by a decision, if they may.
    fn hold(&self, decision: &Arc<Decision>) -> Option<Hold> {
        let Job { prepared, grid, turn, .. } = self;
        // Code that is missing is asked for, and a trial of a number of threads counted, by calls that go the long way.
        let is_trial = decision.is_trial() || decision.tried_crew().is_some() || turn.is_some();
        let is_usual = decision.device == Device::Cpu
            && !(is_trial || decision.lacks_gpu_code || place::items(*grid) == 0)
            && prepared.has_settled();
        let shape = decision.prior.shape;
        is_usual.then(|| prepared.learned(decision.adapter).hold(shape, decision)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use crossover_kernels::error::{Cause, RunError};
    use crossover_kernels::interp::Interpreter;
    use crossover_kernels::{Id, kernel};

    use crate::call::{Call, Way};
    use crate::config::{GpuMemory, GpuUse, Settings};
    use crate::device::Device;
    use crate::dynamic::DynArg;
    use crate::error::Error;
    use crate::learned::Seen;
    use crate::runtime::Runtime;
    use crate::threads::Crew;
    use crate::version::GpuCode;

    #[kernel]
    fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
        y[id.x] += a * x[id.x];
    }

    #[kernel(reduce = add)]
    fn total(id: Id, x: &[f32]) -> f32 {
        x[id.x]
    }

    #[kernel]
    fn add(id: Id, n: u32, y: &mut [u32]) {
        y[id.x] += n;
    }

    #[kernel]
    fn pick(id: Id, at: &[u32], x: &[f32], y: &mut [f32]) {
        y[id.x] = x[at[id.x] as usize];
    }

    /// As long as the data says.
    #[kernel]
    fn count(id: Id, n: &[u32], y: &mut [u32]) {
        let mut seen = 0;
        for k in 0..n[0] {
            seen = seen * 3 + k;
        }
        y[id.x] = seen;
    }

    fn runtime() -> Runtime {
        let settings = Settings { gpu: GpuUse::Off, threads: 2, ..Settings::default() };
        Runtime::builder().settings(settings).build().expect("a CPU is enough")
    }

    /// Makes a call until it can be repeated; gives how many it took. On a busy machine some are not over at once.
    fn until_repeated(mut made: impl FnMut(Option<&mut bool>)) -> u64 {
        let start = Instant::now();
        for calls in 1.. {
            made(None);
            let mut is_repeated = false;
            made(Some(&mut is_repeated));
            if is_repeated {
                return calls;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "after {calls} calls");
        }
        unreachable!("there are calls enough")
    }

    /// Runs a call, or says whether it would repeat one.
    fn run_or_ask(call: Call<'_>, ask: Option<&mut bool>) {
        match ask {
            None => {
                call.run().expect("it runs");
            }
            Some(answer) => *answer = call.repeated().is_some(),
        }
    }

    #[test]
    fn each_repeated_call_has_its_effect_and_its_row() {
        let rt = runtime();
        let x = rt.buffer_from(&[1.0; 100]).expect("memory");
        let mut y = rt.alloc(100).expect("memory");
        let before = until_repeated(|ask| run_or_ask(axpy::on(&rt).args(1.0, &x, &mut y), ask));
        let mut sum = rt.alloc(1).expect("memory");
        for call in 0..1000u64 {
            // What is asked is taken: as many calls find nothing to repeat.
            let outcome = axpy::on(&rt).args(2.0, &x, &mut y).run().expect("it runs");
            assert_eq!((outcome.call, outcome.device), (before + 2 * call, Device::Cpu));
            assert!(outcome.measured.run_s <= outcome.measured.total_s);
            total::on(&rt).args(&y, &mut sum).run().expect("it runs");
            let expected = 100.0 * (before + 2 * (call + 1)) as f32;
            assert_eq!(sum.to_vec().expect("content"), [expected]);
        }
        let rows = rt.ledger().rows();
        assert_eq!(rows.len() as u64, before + 2000);
        for row in rows {
            let measured = row.measured.expect("all have ended");
            assert!(measured.run_s > 0.0 && measured.run_s <= measured.total_s, "{measured:?}");
            assert_eq!((row.chosen, row.threads), (Device::Cpu, 1));
        }
        let kernel = rt.inner().prepared(axpy::DEF, &[], &[]).expect("it is right");
        assert_eq!(kernel.learned(0).experience.visits, [before + 1000, 0]);
    }

    #[test]
    fn what_is_otherwise_is_no_repetition() {
        let rt = runtime();
        let mut y = rt.alloc(64).expect("memory");
        let mut other = rt.alloc(64).expect("memory");
        until_repeated(|ask| {
            let Some(answer) = ask else {
                add::on(&rt).args(1, &mut y).run().expect("it runs");
                return;
            };
            assert!(add::on(&rt).args(2, &mut y).repeated().is_none(), "another number");
            assert!(add::on(&rt).args(1, &mut other).repeated().is_none(), "another buffer");
            let wishes: [fn(Call<'_>) -> Call<'_>; 5] = [
                |call| call.device(Device::Cpu),
                |call| call.threads(1),
                |call| call.grid([3, 1, 1]),
                |call| call.deadline(Duration::from_secs(1)),
                |call| call.shadow(0.0),
            ];
            for (at, wish) in wishes.into_iter().enumerate() {
                let call = wish(add::on(&rt).args(1, &mut y));
                assert!(call.repeated().is_none(), "wish {at}");
            }
            // What was not repeated is still there for the call that repeats it.
            *answer = add::on(&rt).args(1, &mut y).repeated().is_some();
        });
        // The same numbers for buffers that are gone and come anew.
        for round in 0..400u32 {
            let mut fresh = rt.alloc(3 + round as usize % 3).expect("memory");
            add::on(&rt).args(round, &mut fresh).run().expect("it runs");
            assert!(fresh.read().expect("content").iter().all(|&v| v == round));
        }
    }

    #[test]
    fn a_kernel_that_two_runtimes_share_is_repeated_by_the_one_that_ran_it() {
        let [one, other] = [runtime(), runtime()];
        let kernel = crossover_kernels::front::kernel(axpy::DEF, &[], &[]).expect("it is right");
        let handle = one.adopt(kernel, "shared");
        let buffers = || [1.0, 2.0].map(|v| one.buffer_from(&[v; 10]).expect("memory"));
        let mut args = {
            let [x, y] = buffers();
            [DynArg::Scalar(1f32.into()), DynArg::F32(x), DynArg::F32(y)]
        };
        until_repeated(|ask| {
            let Some(answer) = ask else {
                one.call_handle(&handle, &mut args).run().expect("it runs");
                return;
            };
            assert!(other.call_handle(&handle, &mut args).repeated().is_none());
            *answer = one.call_handle(&handle, &mut args).repeated().is_some();
        });
        // Nor does it keep the runtime.
        drop(one);
        other.call_handle(&handle, &mut args).run().expect("it runs");
    }

    #[test]
    fn two_buffers_that_change_places_are_both_remembered() {
        let rt = runtime();
        let mut pair = [1.0, 0.0].map(|v| rt.buffer_from(&[v; 50]).expect("memory"));
        let calls = until_repeated(|ask| {
            let is_asked = ask.is_some();
            let [a, b] = &mut pair;
            run_or_ask(axpy::on(&rt).args(1.0, a, b), ask);
            if !is_asked {
                axpy::on(&rt).args(-1.0, b, a).run().expect("it runs");
            }
        });
        let [a, b] = &mut pair;
        assert!(axpy::on(&rt).args(1.0, b, a).repeated().is_some(), "after {calls}");
    }

    #[test]
    fn a_repeated_call_that_fails_says_so_and_the_next_one_works() {
        let rt = runtime();
        let mut at = rt.buffer_from(&[0u32, 2, 1]).expect("memory");
        let x = rt.buffer_from(&[5.0, 6.0, 7.0]).expect("memory");
        let mut y = rt.alloc(3).expect("memory");
        for _ in 0..3 {
            at.write().expect("content")[1] = 2;
            until_repeated(|ask| run_or_ask(pick::on(&rt).args(&at, &x, &mut y), ask));
            pick::on(&rt).args(&at, &x, &mut y).run().expect("it runs");
            assert_eq!(y.to_vec().expect("content"), [5.0, 7.0, 6.0]);
            at.write().expect("content")[1] = 3;
            let error = pick::on(&rt).args(&at, &x, &mut y).run().expect_err("beyond the end");
            let Error::Run(RunError::Failed(failure)) = error else { panic!("{error}") };
            assert_eq!(failure.invocation, [1, 0, 0]);
            assert!(matches!(failure.cause, Cause::OutOfBounds { .. }), "{failure:?}");
            let row = rt.ledger().last().expect("it is written down");
            assert!(row.measured.is_none() && row.error.is_some());
        }
    }

    #[test]
    fn what_becomes_slow_is_learned_at_once() {
        let rt = runtime();
        let mut n = rt.buffer_from(&[10u32]).expect("memory");
        let mut y = rt.alloc(8).expect("memory");
        until_repeated(|ask| run_or_ask(count::on(&rt).args(&n, &mut y), ask));
        count::on(&rt).args(&n, &mut y).run().expect("it runs");
        n.write().expect("content")[0] = 2_000_000;
        let mut taken_s = f64::INFINITY;
        for _ in 0..10 {
            let ran = count::on(&rt).args(&n, &mut y).run().expect("it runs");
            taken_s = taken_s.min(ran.measured.run_s);
        }
        let explained = count::on(&rt).args(&n, &mut y).explain().expect("it is right");
        let said_s = explained.estimates[0].run_s;
        assert!(said_s > taken_s / 3.0, "{said_s} for {taken_s}");
    }

    #[test]
    fn what_a_gpu_has_left_is_fetched_before_a_call_is_repeated() {
        for memory in [GpuMemory::Staged, GpuMemory::Mapped, GpuMemory::Imported] {
            let settings = Settings { gpu_memory: memory, threads: 2, ..Settings::default() };
            let rt = Runtime::builder().settings(settings).build().expect("a CPU is enough");
            let x = rt.buffer_from(&[1.0; 100]).expect("memory");
            let mut y = rt.alloc(100).expect("memory");
            let mut calls = 0;
            for _ in 0..3 {
                for _ in 0..300 {
                    let call = axpy::on(&rt).args(1.0, &x, &mut y);
                    call.device(Device::Cpu).run().expect("it runs");
                }
                calls += 300;
                match axpy::on(&rt).args(1.0, &x, &mut y).device(Device::Gpu).run() {
                    Ok(_) => calls += 1,
                    Err(error) => assert!(matches!(error, Error::NoGpu { .. }), "{error}"),
                }
                axpy::on(&rt).args(1.0, &x, &mut y).device(Device::Cpu).run().expect("it runs");
                calls += 1;
                let found = y.read().expect("content");
                assert!(found.iter().all(|&v| v == calls as f32), "{memory:?}: {}", found[0]);
            }
        }
    }

    /// Who is given a call.
    type Taker<'t> = &'t mut dyn FnMut(Call<'_>);

    /// Whether a call is repeated still if something happens and it teaches. `call` makes it for somebody.
    fn is_renewed(call: &dyn Fn(Taker<'_>), happens: impl FnOnce()) -> bool {
        let mut repeat = None;
        until_repeated(|ask| {
            let is_asked = ask.is_some();
            call(&mut |call: Call<'_>| {
                if is_asked {
                    repeat = call.repeated();
                } else {
                    call.run().expect("it runs");
                }
            });
            ask.into_iter().for_each(|answer| *answer = repeat.is_some());
        });
        happens();
        let mut is_renewed = false;
        call(&mut |call: Call<'_>| {
            let repeat = repeat.take().expect("it was repeated");
            let plain = call.plain();
            call.into_job(plain, &repeat, 0).expect("it is right").renew(repeat);
        });
        call(&mut |call: Call<'_>| is_renewed = call.placed_again().is_some());
        is_renewed
    }

    /// As when a GPU was lost and is opened anew: calls that are repeated ask nobody for code.
    #[test]
    fn a_call_that_lacks_code_is_not_repeated() {
        let rt = Runtime::builder()
            .settings(Settings { threads: 2, learn: false, ..Settings::default() })
            .executor(Device::Gpu, Arc::new(Interpreter))
            .build()
            .expect("it starts");
        let x = rt.buffer_from(&[1.0; 100]).expect("memory");
        let y = RefCell::new(rt.alloc(100).expect("memory"));
        axpy::on(&rt).args(1.0, &x, &mut y.borrow_mut()).compile().expect("compiles");
        let prepared = rt.inner().prepared(axpy::DEF, &[], &[]).expect("it is right");
        let call = |with: Taker<'_>| {
            with(axpy::on(&rt).args(1.0, &x, &mut y.borrow_mut()));
        };
        let is_there = || matches!(&*prepared.gpu_code(0), GpuCode::Ready(_));
        assert!(is_there() && (0..100).any(|_| is_renewed(&call, || ())));
        for _ in 0..10 {
            let is_renewed = is_renewed(&call, || prepared.set_gpu_code(0, GpuCode::Unasked));
            assert!(!is_renewed, "nobody would compile");
            let start = Instant::now();
            while !is_there() {
                call(&mut |call| assert!(call.run().is_ok()));
                assert!(start.elapsed() < Duration::from_secs(60), "nobody compiles");
            }
        }
    }

    /// Trials of a number of threads are counted by calls that go the long way.
    #[test]
    fn a_call_that_tries_a_number_of_threads_is_not_repeated() {
        let rt = runtime();
        let x = rt.buffer_from(&[1.0; 100]).expect("memory");
        let y = RefCell::new(rt.alloc(100).expect("memory"));
        let call = |with: Taker<'_>| {
            with(axpy::on(&rt).args(1.0, &x, &mut y.borrow_mut()));
        };
        let prepared = rt.inner().prepared(axpy::DEF, &[], &[]).expect("it is right");
        let decided = || {
            let mut decision = None;
            call(&mut |call| {
                let (prepared, plain, grid) = call.resolve().expect("it is right");
                decision = call.decide(prepared, &plain, grid, Way::Here).ok();
            });
            decision.expect("it is right")
        };
        let mut tried = 0;
        for _ in 0..10 {
            let is_renewed = is_renewed(&call, || {
                // Two threads turn out to be a little quicker, until one is to be tried again.
                for at in 0..200_000 {
                    let decision = decided();
                    if decision.tried_crew() == Some(Crew::ONE) {
                        tried += 1;
                        break;
                    }
                    let (threads, run_s) = if at < 20_000 { (1, 1e-6) } else { (2, 0.9e-6) };
                    let seen = Seen { crew: Crew::of(threads, 2), is_trial: false };
                    let prior = &decision.prior;
                    let mut learned = prepared.learned(0);
                    learned.observe(prior, Device::Cpu, Some(seen), Some(run_s), run_s, run_s);
                }
            });
            assert!(!is_renewed, "nobody would count it");
        }
        assert!(tried > 0, "nothing was tried");
    }

    #[test]
    fn threads_that_repeat_the_same_kernel_do_not_meet() {
        let rt = runtime();
        let x = rt.buffer_from(&[1.0; 200]).expect("memory");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut y = rt.alloc(200).expect("memory");
                    for _ in 0..2000 {
                        axpy::on(&rt).args(1.0, &x, &mut y).run().expect("it runs");
                    }
                    assert!(y.read().expect("content").iter().all(|&v| v == 2000.0));
                });
            }
        });
        let rows = rt.ledger().rows();
        assert_eq!(rows.len(), 8000);
        assert!(rows.iter().all(|row| row.measured.is_some()));
    }
}
