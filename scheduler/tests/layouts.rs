//! Layouts of the CPU's code: on executors whose durations are given the faster one is found and kept, a slower one
//! dropped, and spikes do not decide; on the real back end results stay the same, bit for bit, whatever is in use.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Call, Clock, Executor, Measurement, Version};
use crossover::kernels::ir::Kernel;
use crossover::{Device, GpuUse, Id, Layouts, Runtime, kernel};
use crossover_ml::rng::Rng;

/// Several layouts make sense for it.
#[kernel]
fn poly(id: Id, n: usize, x: &[f32], y: &mut [f32]) {
    let mut sum = 0.0f32;
    for k in 0..n {
        sum = sum * x[id.x] + k as f32;
    }
    y[id.x] = sum;
}

/// A call takes a millisecond; with another layout than the default so many times as long. Some take five times as
/// long by accident.
#[derive(Clone)]
struct Timed {
    factor: f64,
    spikes: f64,
    seed: Arc<AtomicU64>,
    /// The layouts that were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

struct Runs {
    factor: f64,
    of: Timed,
}

impl Timed {
    fn new(factor: f64, spikes: f64, seed: u64) -> Timed {
        let seed = Arc::new(AtomicU64::new(seed << 32));
        Timed { factor, spikes, seed, asked: Arc::default() }
    }
}

impl Executor for Timed {
    fn name(&self) -> &str {
        "timed"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(Runs { factor: 1.0, of: self.clone() }))
    }

    fn compile_laid_out(
        &self,
        _: &Arc<Kernel>,
        layout: &str,
    ) -> Result<Arc<dyn Version>, RunError> {
        self.asked.lock().expect("nobody panics").push(layout.to_owned());
        Ok(Arc::new(Runs { factor: self.factor, of: self.clone() }))
    }
}

impl Version for Runs {
    fn run(&self, _: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        let mut rng = Rng::new(self.of.seed.fetch_add(1, Ordering::Relaxed));
        let spike = if rng.uniform() < self.of.spikes { 5.0 } else { 1.0 };
        let kernel =
            Duration::from_secs_f64(1e-3 * self.factor * spike * (0.05 * rng.normal()).exp2());
        Ok(Measurement { clock: Clock::Own, kernel, ..Measurement::default() })
    }
}

fn runtime(executor: &Timed) -> Runtime {
    let builder = Runtime::builder().settings(common::quiet());
    let builder = builder.with(|settings| (settings.gpu, settings.threads) = (GpuUse::Off, 1));
    builder.executor(Device::Cpu, Arc::new(executor.clone())).build().expect("an executor")
}

/// Calls, and the layout that the rows of the last hundred say, if all say the same; the calls of all that tried
/// one; and the last explanation.
fn calls(rt: &Runtime, count: usize) -> (Option<String>, usize, String) {
    let (x, mut y) = (rt.alloc(1 << 12).expect("memory"), rt.alloc(1 << 12).expect("memory"));
    for call in 0..count {
        poly::on(rt).args(16, &x, &mut y).run().expect("it runs");
        // These calls take no time, what is done in the background does.
        if call % 4 == 0 && call < 600 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let rows = rt.ledger().rows();
    let last = rows[rows.len() - 1].layout.clone();
    let tried = rows.iter().filter(|row| row.layout.is_some()).count();
    assert!(rows[rows.len() - 100..].iter().all(|row| row.layout == last), "it has settled");
    let explained = poly::on(rt).args(16, &x, &mut y).explain().expect("priced");
    (last, tried, explained.to_string())
}

#[test]
fn a_faster_layout_is_found_and_kept() {
    let _turn = common::turn();
    let executor = Timed::new(1.0 / 1.3, 0.0, 1);
    let rt = runtime(&executor);
    let (last, _, explained) = calls(&rt, 1500);
    let last = last.expect("another than the default");
    assert_eq!(
        executor.asked.lock().expect("nobody panics")[0],
        last,
        "the first, all being equal"
    );
    assert!(explained.contains(&format!("depth): {last}, usually ")), "{explained}");
    assert!(
        explained.contains("measured 1.3") || explained.contains("measured 1.2"),
        "{explained}"
    );
    // What the CPU takes is what it takes now.
    let estimate = rt.ledger().last().expect("a row").estimates[0].run_s;
    assert!((estimate / (1e-3 / 1.3) - 1.0).abs() < 0.1, "{estimate}");
}

#[test]
fn a_slower_layout_is_dropped_after_few_calls_and_the_estimate_stays() {
    let _turn = common::turn();
    let executor = Timed::new(1.5, 0.0, 2);
    let rt = runtime(&executor);
    let (last, tried, _) = calls(&rt, 3000);
    let asked = executor.asked.lock().expect("nobody panics").len();
    assert_eq!(last, None);
    assert!((1..=3).contains(&asked), "{asked} layouts");
    assert!(tried <= 6 * asked, "{tried} calls with {asked} layouts");
    for row in rt.ledger().rows().iter().skip(10) {
        let estimate = row.estimates[0].run_s;
        assert!((estimate / 1e-3 - 1.0).abs() < 0.1, "{estimate}: {row:?}");
    }
}

#[test]
fn spikes_do_not_lock_in_the_slower_one() {
    let _turn = common::turn();
    let (mut wrong, mut missed) = (0, 0);
    for seed in 0..12 {
        let executor = Timed::new(1.3, 0.2, seed);
        wrong += u32::from(calls(&runtime(&executor), 1500).0.is_some());
        let executor = Timed::new(1.0 / 1.3, 0.2, seed + 100);
        missed += u32::from(calls(&runtime(&executor), 1500).0.is_none());
    }
    assert!(wrong == 0 && missed <= 1, "{wrong} wrong, {missed} missed of 12");
}

#[test]
fn nothing_is_tried_where_the_rule_decides() {
    let _turn = common::turn();
    let executor = Timed::new(0.5, 0.0, 3);
    let builder = Runtime::builder().settings(common::quiet());
    let builder = builder.with(|settings| {
        (settings.gpu, settings.threads) = (GpuUse::Off, 1);
        settings.layouts = Layouts::Rule;
    });
    let rt = builder.executor(Device::Cpu, Arc::new(executor.clone())).build().expect("a runtime");
    let (last, tried, explained) = calls(&rt, 400);
    assert_eq!((last, tried), (None, 0));
    assert!(!explained.contains("layout"), "{explained}");
}

/// Real code: while layouts are tried, taken and dropped, on two sizes and from two threads, every result is that of
/// the first call.
#[test]
fn results_stay_the_same_bit_for_bit() {
    let _turn = common::turn();
    let builder = Runtime::builder().with(|settings| settings.gpu = GpuUse::Off);
    let rt = builder.build().expect("the CPU side needs nothing");
    let of_size = |len: usize| {
        let values: Vec<f32> = (0..len).map(|i| 1.0 + (i * i % 97) as f32 * 1e-3).collect();
        let x = rt.buffer_from(&values).expect("memory");
        let (mut y, mut first) = (rt.alloc(len).expect("memory"), None);
        let (start, mut races) = (Instant::now(), 0);
        while start.elapsed() < Duration::from_secs(3) {
            poly::on(&rt).args(40, &x, &mut y).device(Device::Cpu).run().expect("it runs");
            let bits: Vec<u32> =
                y.to_vec().expect("readable").into_iter().map(f32::to_bits).collect();
            assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "another result");
            let explained = poly::on(&rt).args(40, &x, &mut y).explain().expect("priced");
            let laid = explained.layouts.expect("layouts are learned");
            races = laid.others.iter().filter(|other| other.measured.is_some()).count();
            if races > 1 {
                break;
            }
        }
        races
    };
    let races = std::thread::scope(|scope| {
        let threads = [1000, 70_001].map(|len| scope.spawn(move || of_size(len)));
        threads.map(|thread| thread.join().expect("no result differs"))
    });
    assert!(races.iter().sum::<usize>() > 0, "some layout was raced: {races:?}");
}
