//! The loop is closed: placements follow what was measured, in both directions.

mod common;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use common::{Controlled, Delayed, Knob, quiet};
use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Call, Executor, Measurement, Version};
use crossover::kernels::ir::Kernel;
use crossover::ml::TrainOptions;
use crossover::ml::learner::{Event, LearnerOptions};
use crossover::{Device, Id, Runtime, Why, kernel};

const MS: Duration = Duration::from_millis(1);

#[kernel]
fn scale(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = a * x[id.x];
}

/// Runs up to `limit` calls, until the last ten were all placed on the device.
fn settles(rt: &Runtime, device: Device, limit: usize) -> bool {
    let x = rt.buffer_from(&[1.0; 1000]).expect("memory");
    let mut y = rt.alloc(1000).expect("memory");
    let mut run = 0;
    for _ in 0..limit {
        let outcome = scale::on(rt).args(2.0, &x, &mut y).run().expect("the call runs");
        run = if outcome.device == device { run + 1 } else { 0 };
        if run == 10 {
            return true;
        }
    }
    false
}

fn compiled(rt: &Runtime) {
    let x = rt.alloc(4).expect("memory");
    let mut y = rt.alloc(4).expect("memory");
    scale::on(rt).args(2.0, &x, &mut y).compile().expect("compiles");
}

#[test]
fn placements_follow_controlled_durations_in_both_directions() {
    let _turn = common::turn();
    let (cpu, gpu) = (Knob::new(2 * MS), Knob::new(MS / 2));
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, Arc::new(Controlled(cpu.clone())))
        .executor(Device::Gpu, Arc::new(Controlled(gpu.clone())))
        .build()
        .expect("two executors");
    compiled(&rt);
    assert!(settles(&rt, Device::Gpu, 300), "the GPU is four times faster");
    // The device in use becomes slower: seen at once.
    gpu.set(6 * MS);
    assert!(settles(&rt, Device::Cpu, 300), "the GPU has become three times slower than the CPU");
    // The device that is not in use becomes faster: found by trials within their budget.
    gpu.set(MS / 2);
    assert!(settles(&rt, Device::Gpu, 2000), "the GPU is fast again");
    // The same the other way round.
    cpu.set(MS / 10);
    assert!(settles(&rt, Device::Cpu, 2000), "the CPU has become faster than the GPU");
    cpu.set(3 * MS);
    assert!(settles(&rt, Device::Gpu, 300), "the CPU is slow again");
}

#[test]
fn a_single_spike_does_not_move_a_placement() {
    let _turn = common::turn();
    let (cpu, gpu) = (Knob::new(2 * MS), Knob::new(MS));
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, Arc::new(Controlled(cpu)))
        .executor(Device::Gpu, Arc::new(Controlled(gpu.clone())))
        .build()
        .expect("two executors");
    compiled(&rt);
    assert!(settles(&rt, Device::Gpu, 300));
    let x = rt.alloc(1000).expect("memory");
    let mut y = rt.alloc(1000).expect("memory");
    gpu.set(5 * MS);
    scale::on(&rt).args(2.0, &x, &mut y).device(Device::Gpu).run().expect("runs");
    gpu.set(MS);
    let next = scale::on(&rt).args(2.0, &x, &mut y).explain().expect("predicted");
    assert!(next.estimates[1].total_s() < next.estimates[0].total_s(), "{next}");
}

#[test]
fn placements_follow_a_delay_injected_into_real_kernels() {
    let _turn = common::turn();
    let wasm = || crossover::wasm::WasmExecutor::new().expect("wasmtime starts");
    // What the kernels themselves take is real: delays are beyond what a busy machine adds to it.
    let (cpu, gpu) = (Knob::default(), Knob::new(1000 * MS));
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, Arc::new(Delayed(wasm(), cpu.clone())))
        .executor(Device::Gpu, Arc::new(Delayed(wasm(), gpu.clone())))
        .build()
        .expect("two executors");
    compiled(&rt);
    assert!(settles(&rt, Device::Cpu, 300), "the other side is delayed");
    cpu.set(5000 * MS);
    assert!(settles(&rt, Device::Gpu, 300), "this side is delayed more");
    cpu.set(Duration::ZERO);
    assert!(settles(&rt, Device::Cpu, 600), "the delay is gone");
}

#[test]
fn a_delay_on_the_cpu_sends_real_kernels_to_the_gpu() {
    let _turn = common::turn();
    if common::with_gpu().is_none() {
        return;
    }
    let delay = Knob::default();
    let wasm = crossover::wasm::WasmExecutor::new().expect("wasmtime starts");
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, Arc::new(Delayed(wasm, delay.clone())))
        .build()
        .expect("a CPU executor and the GPU");
    compiled(&rt);
    assert!(settles(&rt, Device::Cpu, 100), "a thousand elements are for the CPU");
    delay.set(30 * MS);
    assert!(settles(&rt, Device::Gpu, 300), "the CPU is delayed by 30 ms a call");
    delay.set(Duration::ZERO);
    // A trial that is expected to take 30 ms is paid by a second of calls, and those are real.
    assert!(settles(&rt, Device::Cpu, 100_000), "the delay is gone");
}

#[test]
fn every_call_is_a_row_with_its_reasons() {
    let _turn = common::turn();
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, Arc::new(Controlled(Knob::new(MS))))
        .executor(Device::Gpu, Arc::new(Controlled(Knob::new(MS))))
        .build()
        .expect("two executors");
    compiled(&rt);
    let x = rt.alloc(64).expect("memory");
    let mut y = rt.alloc(64).expect("memory");
    let forced = scale::on(&rt).args(2.0, &x, &mut y).device(Device::Gpu).run().expect("runs");
    let row = rt.ledger().last().expect("a row");
    assert_eq!((row.call, row.chosen, row.why), (forced.call, Device::Gpu, Why::Forced));
    assert_eq!((&*row.kernel, row.grid), ("scale", [64, 1, 1]));
    let devices: Vec<Device> = row.estimates.iter().map(|e| e.device).collect();
    assert_eq!(devices[..2], Device::ALL);
    let measured = row.measured.expect("it ran");
    assert_eq!((measured.run_s, measured.total_s), (1e-3, 1e-3), "by the executor's clock");
    let json = serde_json::to_string(&rt.ledger().rows()).expect("serialises");
    assert!(json.contains("\"chosen\":\"gpu\""), "{json}");
}

#[test]
fn retraining_in_the_background_swaps_the_network_in() {
    let _turn = common::turn();
    #[kernel]
    fn heavy(id: Id, n: u32, x: &[f32], y: &mut [f32]) {
        let mut v = x[id.x];
        for _ in 0..n {
            v = v * 0.5 + 1.0;
        }
        y[id.x] = v;
    }
    #[kernel]
    fn light(id: Id, x: &[f32], y: &mut [f32]) {
        y[id.x] = x[id.x] + 1.0;
    }
    #[kernel]
    fn roots(id: Id, x: &[f32], y: &mut [f32]) {
        y[id.x] = x[id.x].sqrt() / (x[id.x] + 1.0);
    }
    #[kernel]
    fn waves(id: Id, x: &[f32], y: &mut [f32]) {
        y[id.x] = x[id.x].sin() + x[id.x].exp();
    }
    let train = TrainOptions { epochs: 40, ..TrainOptions::default() };
    let options =
        LearnerOptions { rows_min: 32, members: 2, train, duty: 1.0, ..LearnerOptions::default() };
    let rt = Runtime::builder()
        .with(|settings| settings.gpu = crossover::GpuUse::Off)
        .model(Vec::new())
        .learner(options)
        .build()
        .expect("starts");
    let before = rt.model().1;
    for size in [100, 1_000, 5_000, 20_000, 80_000] {
        let x = rt.buffer_from(&vec![0.5; size]).expect("memory");
        let mut y = rt.alloc(size).expect("memory");
        for _ in 0..4 {
            for n in [1, 30, 300] {
                heavy::on(&rt).args(n, &x, &mut y).run().expect("runs");
            }
            light::on(&rt).args(&x, &mut y).run().expect("runs");
            roots::on(&rt).args(&x, &mut y).run().expect("runs");
            waves::on(&rt).args(&x, &mut y).run().expect("runs");
        }
    }
    let learner = rt.learner().expect("learning is on");
    learner.retrain_now();
    let events = learner.events();
    assert!(
        events.iter().any(|e| matches!(e, Event::Promoted(_))),
        "a network that has seen this machine beats none: {events:?}"
    );
    assert!(rt.model().1 > before, "the new network predicts");
}

/// Takes as long as a knob says, once a gate is no longer held.
struct Gated(Arc<RwLock<()>>, Knob);

impl Executor for Gated {
    fn name(&self) -> &str {
        "gated"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(Gated(self.0.clone(), self.1.clone())))
    }
}

impl Version for Gated {
    fn run(&self, _: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        drop(self.0.read());
        Ok(self.1.measurement())
    }
}

#[test]
fn a_batch_of_submitted_calls_does_not_try_a_device_once_for_each() {
    let _turn = common::turn();
    let gate = Arc::default();
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, Arc::new(Gated(Arc::clone(&gate), Knob::new(MS / 2))))
        .executor(Device::Gpu, Arc::new(Gated(Arc::clone(&gate), Knob::new(2 * MS))))
        .build()
        .expect("two executors");
    compiled(&rt);
    let x = rt.alloc(1000).expect("memory");
    let mut y = rt.alloc(1000).expect("memory");
    // All are sent before anything is measured.
    let held = gate.write().expect("nobody has panicked");
    let tickets: Vec<_> = (0..64).map(|_| scale::on(&rt).args(2.0, &x, &mut y).submit()).collect();
    drop(held);
    for ticket in tickets {
        ticket.wait().expect("runs");
    }
    let tried = rt.ledger().rows().iter().filter(|row| row.why == Why::Explore).count();
    // The GPU comes closer as the CPU's queue grows, and a try cheaper.
    assert!(tried <= 16, "{tried} of 64 calls were trials");
}

/// Takes as long as a knob says for one thread, another for two, and another for more.
struct Crowded([Knob; 3]);

impl Executor for Crowded {
    fn name(&self) -> &str {
        "crowded"
    }

    fn compile(&self, _: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(Crowded(self.0.clone())))
    }
}

impl Version for Crowded {
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        Ok(self.0[call.threads.min(3) - 1].measurement())
    }
}

#[test]
fn the_number_of_threads_follows_what_they_have_taken() {
    let _turn = common::turn();
    let knobs = [MS, MS / 2, MS / 4].map(Knob::new);
    let rt = Runtime::builder()
        .with(|settings| {
            settings.gpu = crossover::GpuUse::Off;
            settings.learn = false;
            settings.threads = 4;
        })
        .executor(Device::Cpu, Arc::new(Crowded(knobs.clone())))
        .build()
        .expect("an executor");
    let x = rt.alloc(1000).expect("memory");
    let mut y = rt.alloc(1000).expect("memory");
    let mut settles = |threads: usize, limit: u32| {
        let mut run = 0;
        for _ in 0..limit {
            scale::on(&rt).args(2.0, &x, &mut y).run().expect("runs");
            let row = rt.ledger().last().expect("a row");
            run = if row.threads == threads { run + 1 } else { 0 };
            let counts: Vec<usize> = row.estimates.iter().map(|e| e.threads).collect();
            assert!(counts[0] != counts[1] && counts.iter().all(|n| [1, 2, 4].contains(n)));
            assert_eq!(counts[0], row.threads, "the chosen one comes first");
            if run == 20 {
                return true;
            }
        }
        false
    };
    assert!(settles(4, 400), "four are four times faster");
    knobs[0].set(MS / 8);
    assert!(settles(1, 2000), "one has become faster");
    knobs[0].set(2 * MS);
    assert!(settles(4, 400), "one has become slower");
    knobs[1].set(MS / 8);
    assert!(settles(2, 2000), "two have become faster");
    let text = scale::on(&rt).args(2.0, &x, &mut y).explain().expect("predicted").to_string();
    // Two numbers of threads, each in both tables.
    assert!(text.contains("cpu × 2") && text.matches("cpu × ").count() == 4, "{text}");
}
