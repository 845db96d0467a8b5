//! Calls that are cut: a part of the call tells where the rest belongs.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Knob, Paced, quiet};
use crossover::kernels::exec::Parts;
use crossover::{Buffer, Device, Explanation, Id, Outcome, Row, Runtime, Settings, kernel};

/// What beginning a run takes on the CPU and on the GPU.
const STARTS: [Duration; 2] = [Duration::from_micros(5), Duration::from_micros(50)];

#[kernel]
fn heavy(id: Id, n: u32, x: &[f32], y: &mut [f32]) {
    let mut v = x[id.x];
    for _ in 0..n {
        v = v * 0.5 + 1.0;
    }
    y[id.x] = v;
}

/// Points of a call; with the passages of its loop they are predicted to take some tens of milliseconds.
const POINTS: usize = 1 << 16;

/// A runtime on devices that take what knobs say.
struct World {
    rt: Runtime,
    knobs: [Knob; 2],
    x: Buffer<f32>,
    y: Buffer<f32>,
    n: u32,
}

impl World {
    /// With so many threads, which decides how far from the GPU the CPU is predicted to be.
    fn new(threads: usize, n: u32, cut: bool, on_gpu: Parts) -> World {
        let knobs: [Knob; 2] = Default::default();
        let [on_cpu, on_gpu] = [(0, Parts::alike(64)), (1, on_gpu)].map(|(at, parts)| {
            Arc::new(Paced { whole: knobs[at].clone(), start: STARTS[at], parts })
        });
        let rt = Runtime::builder()
            .settings(Settings { threads, cut, ..quiet() })
            .executor(Device::Cpu, on_cpu)
            .executor(Device::Gpu, on_gpu)
            .build()
            .expect("two executors");
        let (x, y) = (rt.alloc(POINTS).expect("memory"), rt.alloc(POINTS).expect("memory"));
        let mut world = World { rt, knobs, x, y, n };
        let World { rt, x, y, .. } = &mut world;
        heavy::on(rt).args(n, x, y).compile().expect("compiles");
        world
    }

    fn explain(&mut self) -> Explanation {
        let World { rt, x, y, n, .. } = self;
        heavy::on(rt).args(*n, x, y).explain().expect("predicted")
    }

    fn call(&mut self) -> (Outcome, Row) {
        let World { rt, x, y, n, .. } = self;
        let outcome = heavy::on(rt).args(*n, x, y).run().expect("runs");
        (outcome, rt.ledger().last().expect("a row"))
    }

    fn set(&self, seconds: [f64; 2]) {
        for (knob, s) in self.knobs.iter().zip(seconds) {
            knob.set(Duration::from_secs_f64(s));
        }
    }
}

fn show(row: &Row) -> String {
    format!("{} ({}): {}", row.chosen, row.why, crossover::show_parts(&row.parts))
}

fn whole(row: &Row) -> f64 {
    row.parts.iter().map(|part| part.share).sum()
}

#[test]
fn a_first_call_that_is_predicted_wrongly_is_corrected_within_itself() {
    let _turn = common::turn();
    for (threads, n, alike) in [
        (512, 1_000_000, true),
        (512, 10_000_000, true),
        (128, 1_000_000, true),
        (128, 10_000_000, true),
        (512, 1_000_000, false),
        (128, 1_000_000, false),
    ] {
        let on_gpu = Parts { step: 1024, is_whole_faster: !alike };
        let mut world = World::new(threads, n, true, on_gpu);
        let first = world.explain();
        let chosen = first.chosen as usize;
        // What is predicted to be the faster takes ten times as long, the other what it should.
        let mut seconds = [0, 1].map(|at| first.estimates[at].run_s);
        seconds[chosen] *= 10.0;
        world.set(seconds);
        let best_s = seconds[0].min(seconds[1]);
        let (outcome, row) = world.call();
        let ratio = outcome.measured.total_s / best_s;
        eprintln!("{threads} {n}: {seconds:?}, {ratio:.2} × the best: {}", show(&row));
        assert!(ratio <= 1.3, "{ratio}: {}", show(&row));
        assert_eq!(outcome.device, first.chosen.other());
        assert!(row.parts.len() > 1 && whole(&row) >= 1.0 - 1e-6, "{}", show(&row));
        // The next calls know, but for looking once more whether the first has been slow by accident.
        let next: Vec<(Outcome, Row)> = (0..8).map(|_| world.call()).collect();
        let took_s: f64 = next.iter().map(|(outcome, _)| outcome.measured.total_s).sum();
        let ratio = took_s / 8.0 / best_s;
        let said: Vec<String> = next.iter().map(|(_, row)| show(row)).collect();
        eprintln!("  then {ratio:.2}");
        // Where whole calls run other code on the GPU, only whole ones tell.
        assert!(ratio <= 1.15 || !alike, "{ratio}: {said:?}");
    }
}

/// Times that a hundred calls take, as multiples of what the better device would take.
fn hundred(threads: usize, cut: bool, on_gpu: Parts) -> (f64, f64) {
    let mut world = World::new(threads, 1_000_000, cut, on_gpu);
    let first = world.explain();
    let seconds = [0, 1].map(|at| first.estimates[at].run_s);
    world.set(seconds);
    let best_s = seconds[0].min(seconds[1]);
    let ratios: Vec<f64> = (0..100).map(|_| world.call().0.measured.total_s / best_s).collect();
    (ratios.iter().sum::<f64>() / 100.0, ratios.iter().copied().fold(0.0, f64::max))
}

#[test]
fn long_calls_that_are_predicted_rightly_are_cut_at_a_small_price() {
    let _turn = common::turn();
    for (threads, is_whole_faster) in [(128, false), (512, false), (128, true)] {
        let on_gpu = Parts { step: 1024, is_whole_faster };
        let (mean, worst) = hundred(threads, true, on_gpu);
        let (uncut, worst_uncut) = hundred(threads, false, on_gpu);
        eprintln!("{threads}: {mean:.4}, at most {worst:.2}; whole {uncut:.4}, {worst_uncut:.2}");
        assert!(mean <= 1.03 && worst <= 1.5, "{mean} {worst}");
        assert!(mean <= uncut, "{mean}, but whole calls {uncut}");
    }
}

#[test]
fn what_is_cut_is_said() {
    let _turn = common::turn();
    let mut world = World::new(512, 1_000_000, true, Parts::alike(1024));
    let said = world.explain().to_string();
    assert!(said.contains("it may be cut along x"), "{said}");
    let said = World::new(512, 1, true, Parts::alike(1024)).explain();
    assert_eq!(said.cut, None, "it is over at once: {said}");
    // What is forced, or switched off, is run as a whole.
    let World { rt, x, y, n, .. } = &mut world;
    heavy::on(rt).args(*n, &*x, &mut *y).device(Device::Cpu).run().expect("runs");
    assert!(rt.ledger().last().expect("a row").parts.is_empty());
    world.set([0.5, 0.05]);
    // Submitted, it is cut where it begins on the CPU.
    let World { rt, x, y, n, .. } = &mut world;
    let outcome = heavy::on(rt).args(*n, &*x, &mut *y).submit().wait().expect("runs");
    let row = rt.ledger().last().expect("a row");
    assert_eq!(outcome.device, row.chosen);
    let json = serde_json::to_string(&row).expect("serialises");
    assert_eq!(json.contains("\"parts\""), !row.parts.is_empty(), "{json}");
    let parts: Row = serde_json::from_str(&json).expect("a row");
    assert_eq!(parts, row);
    let mut off = World::new(512, 1_000_000, false, Parts::alike(1024));
    off.set([0.5, 0.05]);
    assert!(off.call().1.parts.is_empty());
}

#[test]
fn a_device_that_becomes_slow_in_a_call_is_left() {
    let _turn = common::turn();
    let mut world = World::new(512, 1_000_000, true, Parts::alike(1024));
    world.set([2.0, 8.0]);
    for _ in 0..20 {
        world.call();
    }
    world.set([20.0, 8.0]);
    let (outcome, row) = world.call();
    assert!(outcome.measured.total_s < 12.0, "{}: {}", outcome.measured.total_s, show(&row));
}

#[test]
fn a_trial_that_nobody_would_put_up_with_is_given_up() {
    let _turn = common::turn();
    // How long calls are predicted to take on the better device, how wrong that is of the other, and in what steps the
    // GPU can be given parts: those of 1024 points are a sixty-fourth of the call.
    for (n, wrong, step) in [
        (20_000, 20.0, 1024),
        (20_000, 100.0, 1024),
        (20_000, 100.0, 64),
        (200_000, 10.0, 64),
        (2_000_000, 10.0, 1024),
    ] {
        let mut world = World::new(512, n, true, Parts::alike(step));
        let first = world.explain();
        let mut seconds = [0, 1].map(|at| first.estimates[at].run_s);
        let slow = if seconds[0] < seconds[1] { Device::Gpu } else { Device::Cpu };
        let best_s = seconds[slow.other() as usize];
        seconds[slow as usize] = wrong * best_s;
        world.set(seconds);
        let mut most_s: f64 = 0.0;
        let mut tried = 0;
        for _ in 0..400 {
            let (outcome, row) = world.call();
            let total_s = outcome.measured.total_s;
            tried +=
                u32::from(row.parts.iter().any(|part| part.device == slow) || row.chosen == slow);
            if total_s > most_s {
                eprintln!("{n} ×{wrong}, {best_s:.1e} s: {total_s:.1e} s {}", show(&row));
            }
            most_s = most_s.max(total_s);
        }
        eprintln!("{n} ×{wrong}: tried {tried} times, {most_s:.1e} of {best_s:.1e} s");
        assert!(tried > 0, "{n}");
        assert!(most_s <= 2.0 * best_s + 1e-3, "{n} ×{wrong}: {most_s} of {best_s} s");
    }
}
