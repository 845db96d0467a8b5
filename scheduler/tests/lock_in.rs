//! Real calls on executors whose time is drawn: whoever has tried the wrong device first, in a run in which
//! something else got in the way, must not stay there.
//!
//! `crossover eval` has ten thousand such trials on made-up devices; these go through all of a runtime.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::quiet;
use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Call, Clock, Executor, Measurement, Version};
use crossover::kernels::ir::Kernel;
use crossover::{Device, Id, Runtime, Why, kernel};
use crossover_ml::rng::Rng;

const TRIALS: u64 = 500;
const CALLS: usize = 120;

/// Calls of a trial that was on the slower device then.
const CALLS_MAX: usize = 2000;

/// Calls in which the policy may still be learning.
const LEARNING: usize = 20;

/// The share of spikes goes from none to this, trial by trial.
const SPIKES_MAX: f64 = 0.4;

#[kernel]
fn scale(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = a * x[id.x];
}

/// Takes a time with noise, and now and then five times as long.
#[derive(Clone)]
struct Noisy {
    median_s: f64,
    spikes: f64,
    seed: Arc<AtomicU64>,
}

impl Noisy {
    fn new(median_s: f64, spikes: f64, seed: u64) -> Noisy {
        Noisy { median_s, spikes, seed: Arc::new(AtomicU64::new(seed)) }
    }
}

impl Executor for Noisy {
    fn name(&self) -> &str {
        "noisy"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(self.clone()))
    }
}

impl Version for Noisy {
    fn run(&self, _: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        let mut rng = Rng::new(self.seed.fetch_add(1, Ordering::Relaxed));
        let noise = (0.1 * rng.normal()).exp2();
        let spike = if rng.uniform() < self.spikes { 5.0 } else { 1.0 };
        let kernel = Duration::from_secs_f64(self.median_s * noise * spike);
        Ok(Measurement { clock: Clock::Own, kernel, ..Measurement::default() })
    }
}

/// Calls after the first few that went to the slower device, not to try it, and whether no call after the
/// first ninety went to the faster.
fn trial(at: u64) -> (usize, bool) {
    let mut rng = Rng::new(at);
    let fast_s = 10f64.powf(-4.5 + 2.0 * rng.uniform());
    let slower = if at.is_multiple_of(2) { Device::Cpu } else { Device::Gpu };
    let spikes = SPIKES_MAX * at as f64 / TRIALS as f64;
    let noisy = |device: Device| {
        let median_s = if device == slower { 2.0 * fast_s } else { fast_s };
        Arc::new(Noisy::new(median_s, spikes, (at << 20) ^ ((device as u64) << 60)))
    };
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, noisy(Device::Cpu))
        .executor(Device::Gpu, noisy(Device::Gpu))
        .build()
        .expect("two executors");
    // The network takes the GPU to be five times as slow, or as fast as the CPU.
    let len = if at % 4 < 2 { 1 << 16 } else { 1 << 20 };
    let (x, mut y) = (rt.alloc(len).expect("memory"), rt.alloc(len).expect("memory"));
    scale::on(&rt).args(2.0, &x, &mut y).compile().expect("compiles");
    let (mut wrong, mut is_locked) = (0, true);
    for call in 0..CALLS_MAX {
        // Whoever is right by then is not locked in.
        if call >= CALLS && !is_locked {
            break;
        }
        let explained = scale::on(&rt).args(2.0, &x, &mut y).explain().expect("is known");
        let outcome = scale::on(&rt).args(2.0, &x, &mut y).run().expect("runs");
        assert_eq!(outcome.device, explained.chosen, "asking changes nothing");
        let is_wrong = outcome.device == slower && explained.why != Why::Explore;
        wrong += usize::from(is_wrong && (LEARNING..CALLS).contains(&call));
        is_locked &= call < CALLS * 3 / 4 || outcome.device == slower;
    }
    (wrong, is_locked)
}

#[test]
fn nobody_stays_with_the_slower_device_for_a_spike() {
    let _turn = common::turn();
    let (mut wrong, mut locked) = (0, Vec::new());
    for at in 0..TRIALS {
        let (calls, is_locked) = trial(at);
        wrong += calls;
        locked.extend(is_locked.then_some(at));
    }
    let share = wrong as f64 / (TRIALS as usize * (CALLS - LEARNING)) as f64;
    assert!(locked.is_empty() && share <= 0.01, "locked {locked:?}, wrong {:.2} %", 100.0 * share);
}
