//! A GPU with memory of its own: what it works on across the bus, and what on copies. The adapter of the
//! tests is taken for one, with a bus as slow as a test says.

mod common;

use std::path::PathBuf;

use common::{quiet, without_gpu};
use crossover::kernels::random::Random;
use crossover::shaders::{Gpu, GpuOptions, Sharing};
use crossover::{Buffer, Calibration, Device, Id, Reason, Residency, Runtime, Settings, kernel};

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

#[kernel]
fn copy(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x];
}

/// Every invocation loads all of `x`, one another element than the other.
#[kernel]
fn all_pairs(id: Id, x: &[f32], y: &mut [f32]) {
    let mut sum = 0.0;
    // As many as there are, which some drivers want to know.
    for k in 0..x.len().min(32_768) {
        sum += x[(id.x + k) % x.len()];
    }
    y[id.x] = sum;
}

fn card() -> impl Fn() -> Result<std::sync::Arc<Gpu>, crossover::shaders::GpuError> {
    || Gpu::open(&GpuOptions { own_memory: Some(true), ..GpuOptions::default() })
}

/// A runtime whose GPU is taken for a card, on a bus of so many bytes a second; `None`, with the reason said,
/// where there is none that works on host memory.
fn with_card(name: &str, bus_bandwidth: f64) -> Option<Runtime> {
    let opened = match card()() {
        Ok(gpu) => gpu,
        Err(error) => {
            without_gpu(error);
            return None;
        }
    };
    if opened.sharing() != Sharing::Imported {
        eprintln!("skipped: {}", opened.info().sharing_why);
        return None;
    }
    let file = file(name);
    let settings = Settings { calibration: Some(file.clone()), threads: 2, ..quiet() };
    let mut known = Calibration::assumed(2, Some(&opened.info().name), false);
    known.gpu.bus_bandwidth = bus_bandwidth;
    known.save(&file).expect("a writable folder");
    let rt = Runtime::builder().settings(settings).gpu(card()).calibrated().build();
    std::fs::remove_file(&file).expect("our own file");
    Some(rt.expect("the runtime starts"))
}

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("crossover-bus-{name}-{}.json", std::process::id()))
}

fn uploaded(rt: &Runtime) -> u64 {
    rt.copied(Reason::Upload).bytes
}

fn read_back(rt: &Runtime) -> u64 {
    rt.copied(Reason::HostRead).bytes
}

#[test]
fn the_caller_can_say_how() {
    let Some(rt) = with_card("says", 1e10) else { return };
    let n = 1000;
    let x = rt.buffer_from(&vec![1.0; n]).expect("memory");
    let mut y = rt.buffer_from(&vec![0.0; n]).expect("memory");
    let run = |y: &mut Buffer<f32>, in_place| {
        axpy::on(&rt).args(1.0, &x, y).device(Device::Gpu).in_place(in_place).run().expect("runs");
    };
    run(&mut y, true);
    assert_eq!((uploaded(&rt), y.residency()), (0, Residency::Host));
    assert_eq!(y.read().expect("content")[n - 1], 1.0);
    assert_eq!(read_back(&rt), 0, "the host has it at once");
    run(&mut y, false);
    assert_eq!((uploaded(&rt), y.residency()), (8 * n as u64, Residency::Gpu));
    // What is on the copy alone comes back before the other way is gone.
    run(&mut y, true);
    assert_eq!((uploaded(&rt), read_back(&rt)), (8 * n as u64, 4 * n as u64));
    // And the copy has aged, but only that which was written.
    run(&mut y, false);
    assert_eq!(uploaded(&rt), 12 * n as u64);
    assert_eq!(y.to_vec().expect("content"), vec![4.0; n]);
    let adapter = rt.adapter().expect("the card");
    assert!(!adapter.in_place && adapter.memory.contains("across the bus"), "{adapter:?}");
}

#[test]
fn what_is_used_once_goes_across_and_what_is_used_again_is_copied() {
    let Some(rt) = with_card("once", 8e9) else { return };
    let n = 1 << 16;
    let mut x = rt.buffer_from(&vec![1.0; n]).expect("memory");
    let mut y = rt.alloc::<f32>(n).expect("memory");
    let bytes = 4 * n as u64;
    let run = |x: &Buffer<f32>, y: &mut Buffer<f32>| {
        copy::on(&rt).args(x, y).device(Device::Gpu).run().expect("runs");
    };
    let explained = copy::on(&rt).args(&x, &mut y).device(Device::Gpu).explain().expect("a kernel");
    assert_eq!(explained.across, ["x", "y"]);
    assert!(explained.to_string().contains("x, y across the bus"), "{explained}");
    run(&x, &mut y);
    assert_eq!(uploaded(&rt), 0, "a copy would take as long as reading it where it is");
    run(&x, &mut y);
    assert_eq!(uploaded(&rt), bytes, "what is read again is worth a copy");
    run(&x, &mut y);
    assert_eq!(uploaded(&rt), bytes);
    // New content is a new beginning.
    x.write().expect("content").fill(2.0);
    run(&x, &mut y);
    assert_eq!(uploaded(&rt), bytes);
    assert_eq!(y.to_vec().expect("content"), vec![2.0; n]);
    // A kernel that reads everything again and again does not do that across a bus.
    let x = rt.buffer_from(&vec![1.0; 256]).expect("memory");
    let mut sums = rt.alloc::<f32>(256).expect("memory");
    all_pairs::on(&rt).args(&x, &mut sums).device(Device::Gpu).run().expect("runs");
    assert_eq!(uploaded(&rt), bytes + 1024);
    assert_eq!(sums.to_vec().expect("content"), vec![256.0; 256]);
}

#[test]
fn a_chain_stays_on_the_gpu() {
    let Some(rt) = with_card("chain", 8e9) else { return };
    let n = 1 << 18;
    let x = rt.buffer_from(&vec![1.0; n]).expect("memory");
    let mut stages: Vec<_> = (0..8).map(|_| rt.alloc::<f32>(n).expect("memory")).collect();
    for turn in 0..3 {
        for at in 0..stages.len() {
            let (before, behind) = stages.split_at_mut(at);
            let from = before.last().unwrap_or(&x);
            copy::on(&rt).args(from, &mut behind[0]).device(Device::Gpu).run().expect("runs");
        }
        assert!(uploaded(&rt) <= 4 * n as u64, "turn {turn}");
    }
    assert_eq!(read_back(&rt), 0);
    assert_eq!(stages[7].to_vec().expect("content"), vec![1.0; n]);
}

/// Random calls on either side, either way, some submitted, with the host between: the content is what the
/// same on plain vectors gives.
#[test]
fn content_is_right_whichever_way_it_goes() {
    let Some(rt) = with_card("random", 8e9) else { return };
    for seed in 0..12 {
        let mut rng = Random::new(seed);
        let n = [1, 3, 64, 1000, 4097][rng.below(5)];
        let mut plain: Vec<Vec<f32>> =
            (0..4).map(|at| (0..n).map(|i| ((i + at) % 5) as f32).collect()).collect();
        let mut held: Vec<Buffer<f32>> =
            plain.iter().map(|v| rt.buffer_from(v).expect("memory")).collect();
        let mut tickets = Vec::new();
        for _ in 0..60 {
            let (from, to) = (rng.below(4), rng.below(4));
            match rng.below(6) {
                0 => assert_eq!(held[to].to_vec().expect("content"), plain[to], "seed {seed}"),
                1 => {
                    let at = rng.below(n);
                    held[to].write_range(at..n).expect("within").fill(2.0);
                    plain[to][at..].fill(2.0);
                }
                _ if from == to => {}
                choice => {
                    let [x, y] = held.get_disjoint_mut([from, to]).expect("two buffers");
                    let is_copy = choice == 2;
                    let call = match is_copy {
                        true => copy::on(&rt).args(x, y),
                        false => axpy::on(&rt).args(0.5, x, y),
                    };
                    let call = match rng.below(4) {
                        0 => call.device(Device::Cpu),
                        1 => call.device(Device::Gpu).in_place(true),
                        2 => call.device(Device::Gpu).in_place(false),
                        _ => call.device(Device::Gpu),
                    };
                    match rng.below(2) {
                        0 => drop(call.run().expect("runs")),
                        _ => tickets.push(call.submit()),
                    }
                    let [x, y] = plain.get_disjoint_mut([from, to]).expect("two vectors");
                    for (y, x) in y.iter_mut().zip(x.iter()) {
                        *y = if is_copy { *x } else { *y + 0.5 * x };
                    }
                }
            }
        }
        for (held, plain) in held.iter().zip(&plain) {
            assert_eq!(&held.to_vec().expect("content"), plain, "seed {seed}");
        }
        for ticket in tickets {
            ticket.wait().expect("runs");
        }
    }
}
