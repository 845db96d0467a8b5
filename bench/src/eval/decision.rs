//! What a decision takes, warm, on one thread: from a call that is known by its kernel and shape to the
//! device; and with the call's time taken and what it took learned.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover::kernels::error::RunError;
use crossover::kernels::exec::{self, Clock, Executor, Measurement, Version};
use crossover::kernels::ir::Kernel;
use crossover::ml::rng::Rng;
use crossover::{Device, Id, Runtime, kernel};

use super::world::{Caller, World, asked};
use super::{CONTENDERS, Decision};

/// Decisions that are timed.
const DECISIONS: usize = 200_000;

/// What calls take on each device. Of calls that are over at once one in eight is learned from; of others
/// every one, so that each decision is made from something new.
const FLEETING_S: [f64; 2] = [3e-6, 6e-6];
const LONG_S: [f64; 2] = [1e-3, 2e-3];

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

pub(crate) fn measure() -> anyhow::Result<Decision> {
    let [p50, p999, with_record_p50] = offline(FLEETING_S)?;
    let [long_p50, _, long_with_record_p50] = offline(LONG_S)?;
    let runtime_p50 = runtime()?;
    Ok(Decision { p50, p999, with_record_p50, long_p50, long_with_record_p50, runtime_p50 })
}

/// Half of the decisions, all but one in a thousand, and half of the decisions with two looks at the clock and the
/// lesson take no longer than so many nanoseconds.
fn offline(true_s: [f64; 2]) -> anyhow::Result<[f64; 3]> {
    let mut world = World { true_s, spikes: 0.0, rng: Rng::new(1) };
    let prior = world.prior();
    let mut caller = Caller::new(&CONTENDERS[0], prior)?;
    for _ in 0..1000 {
        caller.call(&mut world);
    }
    let asked = asked(&prior, false);
    let runs: Vec<[f64; 2]> =
        (0..DECISIONS).map(|_| Device::ALL.map(|device| world.run_s(device))).collect();
    let mut recorded = Vec::new();
    for run_s in &runs {
        let start = Instant::now();
        let placed = black_box(caller.offline.place(black_box(&asked)));
        let (began, ended) = (Instant::now(), Instant::now());
        black_box(ended - began);
        let run_s = run_s[placed.device as usize];
        caller.offline.observe(&asked, &placed, run_s, run_s, false);
        recorded.push(start.elapsed().as_secs_f64());
    }
    let (mut bare, mut decided) = (Vec::new(), Vec::new());
    for run_s in &runs {
        let start = Instant::now();
        bare.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let placed = black_box(caller.offline.place(black_box(&asked)));
        decided.push(start.elapsed().as_secs_f64());
        let run_s = run_s[placed.device as usize];
        caller.offline.observe(&asked, &placed, run_s, run_s, false);
    }
    // Looking at the clock is in every sample.
    let clock_s = quantile(&mut bare, 0.5);
    let ns = |values: &mut [f64], share| ((quantile(values, share) - clock_s) * 1e9).max(0.0);
    Ok([ns(&mut decided, 0.5), ns(&mut decided, 0.999), ns(&mut recorded, 0.5)])
}

/// Nanoseconds of half of the decisions in a runtime of two devices, for a call that repeats one before, as in a loop:
/// its arguments compared, its place looked up, or decided anew where something was learned.
fn runtime() -> anyhow::Result<f64> {
    let [cpu, gpu] = FLEETING_S.map(|s| Arc::new(Given(Duration::from_secs_f64(s))));
    let rt = Runtime::builder()
        .with(|settings| settings.learn = false)
        .executor(Device::Cpu, cpu)
        .executor(Device::Gpu, gpu)
        .build()?;
    let (x, mut y) = (rt.buffer_from(&[1.0; 64])?, rt.buffer_from(&[1.0; 64])?);
    axpy::on(&rt).args(2.0, &x, &mut y).compile()?;
    for _ in 0..1000 {
        axpy::on(&rt).args(2.0, &x, &mut y).run()?;
    }
    let (mut bare, mut decided) = (Vec::new(), Vec::new());
    for _ in 0..DECISIONS {
        let call = axpy::on(&rt).args(2.0, &x, &mut y);
        let start = Instant::now();
        bare.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        black_box(call.place()?);
        decided.push(start.elapsed().as_secs_f64());
        // Decisions are learned from between.
        call.run()?;
    }
    Ok((quantile(&mut decided, 0.5) - quantile(&mut bare, 0.5)) * 1e9)
}

/// A device that does nothing, for so long.
struct Given(Duration);

impl Executor for Given {
    fn name(&self) -> &str {
        "given"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(Given(self.0)))
    }
}

impl Version for Given {
    fn run(&self, _: &mut exec::Call<'_, '_>) -> Result<Measurement, RunError> {
        Ok(Measurement { clock: Clock::Own, kernel: self.0, ..Measurement::default() })
    }
}

/// The value that such a share of all is not above; NaN of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (share * values.len() as f64) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
