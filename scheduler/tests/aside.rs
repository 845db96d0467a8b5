//! Calls that cannot be cut: parts of them, run on copies, tell where the call belongs.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Knob, quiet};
use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Call, Clock, Executor, Grid, Measurement, Parts, Version};
use crossover::kernels::ir::Kernel;
use crossover::kernels::library::{histogram::histogram, prefix_sum::prefix_sum, sum::sum};
use crossover::{Atomic, Buffer, Device, Id, Row, Runtime, Settings, kernel, show_parts};
use crossover_ml::rng::Rng;

/// What beginning a run takes on the CPU and on the GPU.
const STARTS: [Duration; 2] = [Duration::from_micros(5), Duration::from_micros(50)];

/// Points of a call: they fill a GPU many times.
const POINTS: usize = 1 << 24;

#[kernel]
fn tally(id: Id, n: u32, x: &[f32], bins: &[Atomic<u32>]) {
    let mut v = x[id.x];
    for _ in 0..n {
        v = v * 0.5 + 1.0;
    }
    bins[(v as u32 & 255) as usize].fetch_add(1);
}

/// The second half becomes something of the first, in one buffer.
#[kernel]
fn halves(id: Id, n: u32, half: usize, x: &mut [u32]) {
    let mut v = x[id.x];
    for _ in 0..n {
        v = v * 3 + 1;
    }
    x[id.x + half] += v;
}

/// Does nothing but take the time that a knob says for all points, for some their share of it.
#[derive(Clone)]
struct Paced {
    whole: Knob,
    start: Duration,
}

impl Executor for Paced {
    fn name(&self) -> &str {
        "paced"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(self.clone()))
    }

    fn runs_parts(&self) -> bool {
        true
    }
}

impl Version for Paced {
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        let points: f64 = call.grid.iter().map(|&n| f64::from(n)).product();
        let kernel = self.whole.time().mul_f64(points / POINTS as f64) + self.start;
        Ok(Measurement { clock: Clock::Own, kernel, ..Measurement::default() })
    }

    fn parts(&self, _: Grid) -> Option<Parts> {
        Some(Parts::alike(1))
    }
}

/// A runtime on devices that take what knobs say.
struct World {
    rt: Runtime,
    knobs: [Knob; 2],
    x: Buffer<f32>,
    bins: Buffer<u32>,
    n: u32,
}

impl World {
    fn new(n: u32, cut: bool) -> World {
        let knobs: [Knob; 2] = Default::default();
        let [on_cpu, on_gpu] = [0, 1].map(|at| {
            let whole: Knob = knobs[at].clone();
            Arc::new(Paced { whole, start: STARTS[at] })
        });
        let rt = Runtime::builder()
            .settings(Settings { threads: 512, cut, ..quiet() })
            .executor(Device::Cpu, on_cpu)
            .executor(Device::Gpu, on_gpu)
            .build()
            .expect("two executors");
        let (x, bins) = (rt.alloc(POINTS).expect("memory"), rt.alloc(256).expect("memory"));
        let mut world = World { rt, knobs, x, bins, n };
        let World { rt, x, bins, .. } = &mut world;
        tally::on(rt).args(n, x, bins).compile().expect("compiles");
        world
    }

    /// What each device is predicted to take before the first call, in seconds.
    fn predicted_s(&mut self) -> [f64; 2] {
        let World { rt, x, bins, n, .. } = self;
        let said = tally::on(rt).args(*n, x, bins).explain().expect("predicted");
        [0, 1].map(|at| said.estimates[at].run_s)
    }

    fn set(&self, seconds: [f64; 2]) {
        for (knob, s) in self.knobs.iter().zip(seconds) {
            knob.set(Duration::from_secs_f64(s));
        }
    }

    /// Seconds that a call takes in all, and its row.
    fn call(&mut self) -> (f64, Row) {
        let World { rt, x, bins, n, .. } = self;
        let outcome = tally::on(rt).args(*n, x, bins).run().expect("runs");
        (outcome.measured.total_s, rt.ledger().last().expect("a row"))
    }
}

fn show(row: &Row) -> String {
    format!("{} ({}), looked: {}", row.chosen, row.why, show_parts(&row.looks))
}

#[test]
fn no_call_is_a_blunder_however_wrong_the_prediction() {
    let _turn = common::turn();
    // How long calls are, and how many times longer than the other a device takes.
    for (n, wrong) in [(80, 3.0), (80, 20.0), (80, 100.0), (800, 10.0), (8_000, 30.0)] {
        for slow in Device::ALL {
            let mut world = World::new(n, true);
            let predicted_s = world.predicted_s();
            let best_s = predicted_s[slow.other() as usize];
            let mut seconds = [best_s; 2];
            seconds[slow as usize] = wrong * best_s;
            world.set(seconds);
            let (mut most_s, mut sum_s, mut looks) = (0.0f64, 0.0, 0);
            for _ in 0..200 {
                let (total_s, row) = world.call();
                if total_s > most_s {
                    eprintln!(
                        "{n} {slow} ×{wrong}: {total_s:.1e} of {best_s:.1e} s, {}",
                        show(&row)
                    );
                }
                (most_s, sum_s) = (most_s.max(total_s), sum_s + total_s);
                looks += u32::from(!row.looks.is_empty());
            }
            let mean = sum_s / 200.0 / best_s;
            eprintln!("{n} {slow} ×{wrong}: looked before {looks} calls, mean {mean:.3}");
            assert!(most_s <= 2.0 * best_s + 1e-3, "{n} {slow} ×{wrong}: {most_s} of {best_s} s");
            assert!(mean <= 1.06, "{n} {slow} ×{wrong}: {mean}");
            assert_eq!(world.call().1.chosen, slow.other());
        }
    }
}

#[test]
fn what_is_looked_at_is_said_and_can_be_switched_off() {
    let _turn = common::turn();
    let mut world = World::new(8_000, true);
    let predicted_s = world.predicted_s();
    let fast = if predicted_s[0] < predicted_s[1] { Device::Cpu } else { Device::Gpu };
    // What is predicted to be the faster takes twenty times as long as the other.
    let mut seconds = [0.05; 2];
    seconds[fast as usize] = 1.0;
    world.set(seconds);
    let (total_s, row) = world.call();
    assert!(!row.looks.is_empty() && row.parts.is_empty(), "{}", show(&row));
    assert_eq!(row.chosen, fast.other(), "{}", show(&row));
    let looked_s: f64 = row.looks.iter().map(|part| part.run_s).sum();
    let run_s = row.measured.expect("it has run").run_s;
    assert!((run_s - 0.05).abs() < 1e-3 && total_s >= run_s + looked_s, "{total_s} {run_s}");
    let json = serde_json::to_string(&row).expect("serialises");
    assert_eq!(serde_json::from_str::<Row>(&json).expect("a row"), row);
    let World { rt, x, bins, n, .. } = &mut world;
    let said = tally::on(rt).args(*n, &*x, &mut *bins).explain().expect("predicted").to_string();
    assert!(said.contains("it has atomic operations"), "{said}");
    assert!(said.contains("on copies"), "{said}");
    // What is forced, submitted or switched off is not looked at.
    let forced = tally::on(rt).args(*n, &*x, &mut *bins).device(fast);
    forced.run().expect("runs");
    assert!(rt.ledger().last().expect("a row").looks.is_empty());
    let mut off = World::new(8_000, false);
    off.set(seconds);
    assert!(off.call().1.looks.is_empty());
    let World { rt, x, bins, n, .. } = &mut World::new(8_000, true);
    tally::on(rt).args(*n, &*x, &mut *bins).submit().wait().expect("runs");
    assert!(rt.ledger().last().expect("a row").looks.is_empty());
}

#[test]
fn a_look_that_fails_leaves_the_call_to_say_why() {
    struct Fails;
    impl Executor for Fails {
        fn name(&self) -> &str {
            "fails"
        }
        fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
            Ok(Arc::new(Fails))
        }
    }
    impl Version for Fails {
        fn run(&self, _: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
            let (kernel, device) = ("tally".to_owned(), "a card".to_owned());
            Err(RunError::Device { kernel, device, message: "gone".to_owned() })
        }
    }
    let _turn = common::turn();
    let whole = Knob::new(Duration::from_millis(50));
    let rt = Runtime::builder()
        .settings(Settings { policy: "history-slice".into(), ..quiet() })
        .executor(Device::Cpu, Arc::new(Paced { whole, start: STARTS[0] }))
        .executor(Device::Gpu, Arc::new(Fails))
        .build()
        .expect("two executors");
    let (x, mut bins) = (rt.alloc(POINTS).expect("memory"), rt.alloc(256).expect("memory"));
    tally::on(&rt).args(8_000, &x, &mut bins).compile().expect("compiles");
    for _ in 0..4 {
        let outcome = tally::on(&rt).args(8_000, &x, &mut bins).run().expect("the CPU runs it");
        assert_eq!(outcome.device, Device::Cpu);
    }
    let rows = rt.ledger().rows();
    assert!(rows.iter().all(|row| row.error.is_none() && row.looks.is_empty()), "{rows:?}");
}

/// On the real devices, with a policy that looks at both before the first call of each shape.
#[test]
fn looks_change_nothing_that_a_call_leaves() {
    let _turn = common::turn();
    let settings = Settings { policy: "history-slice".into(), ..quiet() };
    let rt = Runtime::builder().settings(settings).build().expect("the CPU side starts");
    if let Some(why) = rt.why_no_gpu() {
        return common::without_gpu(why);
    }
    let mut rng = Rng::new(7);
    let looked = |kernel: &str| {
        let row = rt.ledger().last().expect("a row");
        assert_eq!(&*row.kernel, kernel);
        eprintln!("{kernel}: {}", show(&row));
        for device in Device::ALL {
            assert!(row.looks.iter().any(|part| part.device == device), "{kernel}: {}", show(&row));
        }
    };
    let n = 3_000_001;
    let values: Vec<u32> = (0..n).map(|_| rng.next_u64() as u32).collect();
    let x = rt.buffer_from(&values).expect("memory");

    // Atomics, over counts that are not 0.
    let before: Vec<u32> = (0..256).map(|_| (rng.next_u64() as u32) >> 8).collect();
    let mut bins = rt.buffer_from(&before).expect("memory");
    histogram::on(&rt).args(&x, &mut bins).compile().expect("compiles");
    histogram::on(&rt).args(&x, &mut bins).run().expect("runs");
    looked("histogram");
    let mut counts = before.clone();
    values.iter().for_each(|&x| counts[(x & 255) as usize] += 1);
    assert_eq!(bins.to_vec().expect("content"), counts);

    // A scan, into a buffer that holds something.
    let mut sums = rt.buffer_from(&vec![0xdead_beef_u32; n]).expect("memory");
    prefix_sum::on(&rt).args(&x, &mut sums).compile().expect("compiles");
    prefix_sum::on(&rt).args(&x, &mut sums).run().expect("runs");
    looked("prefix_sum");
    let mut total = 0u32;
    let expected = values.iter().map(|x| {
        total = total.wrapping_add(*x);
        total
    });
    assert!(sums.to_vec().expect("content").into_iter().eq(expected));

    // A reduction.
    let floats: Vec<f32> = (0..n).map(|at| (at % 7) as f32).collect();
    let (floats, mut out) =
        (rt.buffer_from(&floats).expect("memory"), rt.alloc(1).expect("memory"));
    sum::on(&rt).args(&floats, &mut out).compile().expect("compiles");
    sum::on(&rt).args(&floats, &mut out).run().expect("runs");
    looked("sum");
    let found = f64::from(out.to_vec().expect("content")[0]);
    let expected: f64 = (0..n).map(|at| (at % 7) as f64).sum();
    assert!((found / expected - 1.0).abs() < 1e-4, "{found} {expected}");

    // What is changed in place, once.
    let (half, mut own) = (n / 2, rt.buffer_from(&values).expect("memory"));
    let grid = [half as u32, 1, 1];
    halves::on(&rt).args(2_000, half, &mut own).grid(grid).compile().expect("compiles");
    halves::on(&rt).args(2_000, half, &mut own).grid(grid).run().expect("runs");
    looked("halves");
    let mut expected = values.clone();
    for at in 0..half {
        let added = (0..2_000).fold(values[at], |v, _| v.wrapping_mul(3).wrapping_add(1));
        expected[at + half] = expected[at + half].wrapping_add(added);
    }
    assert!(own.to_vec().expect("content") == expected);
}
