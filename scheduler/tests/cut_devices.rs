//! Calls in parts on real devices: what the parts of the CPU and of the GPU leave is what one device alone leaves,
//! with host memory in place and with copies, and where the GPU fails amid them.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::quiet;
use crossover::route::{Policy, Question, Slice};
use crossover::shaders::{Fault, Gpu, GpuOptions, Sharing};
use crossover::{Buffer, Device, Error, Id, Outcome, Row, Runtime, Why, kernel};

/// Slices that go to the GPU and the CPU in turns, and the rest to one of them.
struct Turns {
    slices: AtomicUsize,
    rest: Device,
}

impl Policy for Turns {
    fn name(&self) -> &str {
        "turns"
    }

    fn choose(&self, _: &Question<'_>) -> (Device, Why) {
        (self.rest, Why::Policy("turns".into()))
    }

    fn slice(&self, _: &Question<'_>) -> Option<Slice> {
        // Asked once more before the first has run, and after the last.
        let at = self.slices.fetch_add(1, Ordering::Relaxed);
        let device = if at.is_multiple_of(2) { Device::Gpu } else { Device::Cpu };
        Some(Slice { device, share: 1.0 / 16.0 })
    }
}

/// Rows and columns of what is worked on.
const ROWS: usize = 500;
const COLUMNS: usize = 333;
const POINTS: usize = ROWS * COLUMNS;

/// Passages of loops that make calls long enough to be cut; kernels say that they are few, for drivers that end long
/// ones in silence.
const PASSAGES: u32 = 400;

#[kernel]
fn fill(id: Id, n: u32, x: &[u32], y: &mut [u32]) {
    let mut v = x[id.x];
    for k in 0..n.min(1000) {
        v = v * 1664525 + k;
    }
    y[id.x] = v;
}

#[kernel]
fn add(id: Id, n: u32, x: &[u32], y: &mut [u32]) {
    let mut v = x[x.len() - 1 - id.x];
    for k in 0..n.min(1000) {
        v = v * 1664525 + k;
    }
    y[id.x] += v;
}

#[kernel]
fn some(id: Id, n: u32, x: &[u32], y: &mut [u32]) {
    let mut v = x[id.x];
    for k in 0..n.min(1000) {
        v = v * 1664525 + k;
    }
    if v > 0x8000_0000 {
        y[id.x] = v;
    }
}

#[kernel(grid = (w, h))]
fn around(id: Id, n: u32, w: usize, h: usize, x: &[u32], y: &mut [u32]) {
    let at = id.y * w + id.x;
    let mut v = x[at];
    if id.y > 0 && id.y + 1 < h {
        v += x[at - w] + 2 * x[at + w];
    }
    for k in 0..n.min(1000) {
        v = v * 1664525 + k;
    }
    y[at] = v;
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Fill,
    Add,
    Some,
    Around,
}

const CASES: [Case; 4] = [Case::Fill, Case::Add, Case::Some, Case::Around];

fn call(
    rt: &Runtime,
    case: Case,
    device: Option<Device>,
    x: &Buffer<u32>,
    y: &mut Buffer<u32>,
) -> Result<Outcome, Error> {
    let call = match case {
        Case::Fill => fill::on(rt).args(PASSAGES, x, y),
        Case::Add => add::on(rt).args(PASSAGES, x, y),
        Case::Some => some::on(rt).args(PASSAGES, x, y),
        Case::Around => around::on(rt).args(PASSAGES, COLUMNS, ROWS, x, y),
    };
    call.compile()?;
    match device {
        Some(device) => call.device(device).run(),
        None => call.run(),
    }
}

fn inputs(rt: &Runtime) -> (Buffer<u32>, Buffer<u32>) {
    let numbers = |seed: u32| -> Vec<u32> {
        (0..POINTS as u32).map(|at| (at ^ seed).wrapping_mul(2_654_435_761)).collect()
    };
    let x = rt.buffer_from(&numbers(1)).expect("memory");
    (x, rt.buffer_from(&numbers(2)).expect("memory"))
}

/// What the CPU alone leaves.
fn expected(case: Case) -> Vec<u32> {
    let rt = common::cpu_only();
    let (x, mut y) = inputs(&rt);
    call(&rt, case, Some(Device::Cpu), &x, &mut y).expect("runs");
    y.to_vec().expect("held")
}

/// A runtime whose GPU has a fault when it is first opened, if any; `None` without a GPU.
fn runtime(rest: Device, fault: Option<Fault>, sharing: Sharing) -> Option<Runtime> {
    common::with_gpu()?;
    let opened = AtomicUsize::new(0);
    let open = move || {
        let is_first = opened.fetch_add(1, Ordering::Relaxed) == 0;
        let (fault, sharing) = (fault.filter(|_| is_first), Some(sharing));
        Gpu::open(&GpuOptions { fault, sharing, ..GpuOptions::default() })
    };
    let policy = Arc::new(Turns { slices: AtomicUsize::new(0), rest });
    let rt = Runtime::builder().settings(quiet()).gpu(open).policy(policy).build();
    Some(rt.expect("starts"))
}

fn last(rt: &Runtime) -> Row {
    rt.ledger().last().expect("a row")
}

#[test]
fn parts_of_both_devices_leave_what_one_leaves() {
    let _turn = common::turn();
    for sharing in [Sharing::Imported, Sharing::Mapped, Sharing::Staged] {
        for (case, rest) in CASES.into_iter().zip([Device::Gpu, Device::Cpu].into_iter().cycle()) {
            for rest in [rest, rest.other()] {
                let Some(rt) = runtime(rest, None, sharing) else { return };
                let (x, mut y) = inputs(&rt);
                call(&rt, case, None, &x, &mut y).expect("runs");
                let row = last(&rt);
                let said = crossover::show_parts(&row.parts);
                // How many slices are worth their price depends on what they take.
                assert!(row.parts.len() >= 2, "{case:?}: {said}");
                assert_eq!(row.parts[0].device, Device::Gpu, "{said}");
                assert_eq!(row.chosen, rest, "{said}");
                assert!(y.to_vec().expect("held") == expected(case), "{case:?} {sharing}: {said}");
                // Once more, from what parts have left on both sides.
                if case == Case::Fill {
                    let mut z = rt.alloc(POINTS).expect("memory");
                    call(&rt, case, None, &y, &mut z).expect("runs");
                    let alone = common::cpu_only();
                    let again = alone.buffer_from(&expected(case)).expect("memory");
                    let mut right = alone.alloc(POINTS).expect("memory");
                    call(&alone, case, None, &again, &mut right).expect("runs");
                    assert!(z.to_vec().expect("held") == right.to_vec().expect("held"));
                }
            }
        }
    }
}

#[test]
fn of_what_parts_touch_only_that_is_moved() {
    let _turn = common::turn();
    let Some(rt) = runtime(Device::Cpu, None, Sharing::Staged) else { return };
    let (x, mut y) = inputs(&rt);
    call(&rt, Case::Fill, None, &x, &mut y).expect("runs");
    let row = last(&rt);
    let on_gpu: f64 =
        row.parts.iter().filter(|part| part.device == Device::Gpu).map(|part| part.share).sum();
    assert!(on_gpu > 0.0 && on_gpu < 0.3, "{on_gpu}");
    let touched = on_gpu * (4 * POINTS) as f64;
    assert!(
        (row.upload_bytes as f64 / touched - 1.0).abs() < 0.01,
        "{} {touched}",
        row.upload_bytes
    );
    let moved = row.readback_bytes as f64 / touched;
    assert!((moved - 1.0).abs() < 0.01, "{} {touched}", row.readback_bytes);
}

#[test]
fn a_gpu_that_fails_amid_the_parts_costs_no_call() {
    let _turn = common::turn();
    let mut falls = 0;
    for sharing in [Sharing::Imported, Sharing::Staged] {
        for case in CASES {
            for fault in [
                Fault::LostBefore(1),
                Fault::LostBefore(2),
                Fault::LostAfter(1),
                Fault::LostAfter(2),
                Fault::Invalid(2),
            ] {
                let Some(rt) = runtime(Device::Gpu, Some(fault), sharing) else { return };
                let (x, mut y) = inputs(&rt);
                let ran = call(&rt, case, None, &x, &mut y);
                // What was changed in place by a device whose work nobody knows is lost, as after whole calls; and
                // so is what was left on it and made of what is gone.
                let is_lost = matches!(case, Case::Add | Case::Some);
                match ran {
                    Ok(outcome) => {
                        assert!(y.to_vec().expect("held") == expected(case), "{case:?} {fault:?}");
                        let row = last(&rt);
                        let fell_back = matches!(row.why, Why::FellBack(_));
                        // The GPU may have had too few parts for the later faults.
                        let is_late = !matches!(fault, Fault::LostBefore(1) | Fault::LostAfter(1));
                        assert!(fell_back || is_late, "{case:?} {fault:?} {sharing}: {}", row.why);
                        falls += usize::from(fell_back);
                        let chosen = if fell_back { Device::Cpu } else { Device::Gpu };
                        assert_eq!((outcome.device, row.chosen), (chosen, chosen));
                    }
                    Err(error) => {
                        assert!(is_lost, "{case:?} {fault:?} {sharing}: {error}");
                        assert!(y.to_vec().is_err(), "{case:?} {fault:?}: it is said to be lost");
                    }
                }
            }
        }
    }
    assert!(falls >= 12, "{falls} calls fell back");
}
