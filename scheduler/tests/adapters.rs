//! Several GPUs at once: each is a candidate of its own, and all see each other's results. Where the machine
//! has but one adapter it is opened twice: two devices that share nothing.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Controlled, Knob, quiet};
use crossover::kernels::random::Random;
use crossover::shaders::{self, Gpu, GpuOptions, Sharing};
use crossover::{Device, Error, Id, Reason, Residency, Runtime, Settings, Why, kernel};

const MS: Duration = Duration::from_millis(1);

#[kernel]
fn scale(id: Id, a: u32, y: &mut [u32]) {
    y[id.x] *= a;
}

#[kernel]
fn shift(id: Id, b: u32, x: &[u32], y: &mut [u32]) {
    y[id.x] = x[id.x] + b;
}

#[kernel(grid = n)]
fn bump(id: Id, n: usize, y: &mut [u32]) {
    y[id.x] += 1;
}

/// Two adapters of this machine, or one of them twice; `None` where there is none.
fn names() -> Option<[String; 2]> {
    let mut names = shaders::adapters().into_iter().map(|adapter| adapter.name);
    let Some(first) = names.next() else {
        common::without_gpu("no adapter");
        return None;
    };
    let second = names.next().unwrap_or_else(|| first.clone());
    Some([first, second])
}

/// A runtime on two GPUs, each of which shares host memory in no better way than this.
fn with_two(sharing: [Sharing; 2]) -> Option<Runtime> {
    let mut builder = Runtime::builder().settings(quiet());
    for (name, sharing) in std::iter::zip(names()?, sharing) {
        let (adapter, sharing) = (Some(name), Some(sharing));
        let options = GpuOptions { adapter, sharing, ..GpuOptions::default() };
        builder = builder.gpu(move || Gpu::open(&options));
    }
    let rt = builder.build().expect("both adapters open");
    assert_eq!(rt.adapters().len(), 2);
    Some(rt)
}

const SHARINGS: [[Sharing; 2]; 4] = [
    [Sharing::Imported, Sharing::Imported],
    [Sharing::Imported, Sharing::Staged],
    [Sharing::Staged, Sharing::Mapped],
    [Sharing::Staged, Sharing::Staged],
];

#[test]
fn adapters_are_opened_by_name_and_wrong_numbers_are_errors() {
    let Some([first, second]) = names() else { return };
    let settings = Settings { adapter: Some(format!("{first}; {second}")), ..quiet() };
    let rt = Runtime::builder().settings(settings).build().expect("both open");
    let opened: Vec<_> = rt.adapters().into_iter().map(|adapter| adapter.name).collect();
    assert_eq!(opened, [first.clone(), second]);
    assert_eq!(rt.adapter().map(|adapter| adapter.name), Some(first.clone()));
    let mut y = rt.buffer_from(&[1, 2, 3]).expect("memory");
    for at in [0, 1] {
        let outcome = scale::on(&rt).args(2, &mut y).adapter(at).run().expect("it runs");
        assert_eq!(outcome.device, Device::Gpu);
        assert_eq!(rt.ledger().last().expect("a row").adapter, at);
    }
    assert_eq!(y.to_vec().expect("content"), [4, 8, 12]);
    let error = scale::on(&rt).args(2, &mut y).adapter(2).run().expect_err("there are two");
    assert!(matches!(&error, Error::NoGpu { why, .. } if why.contains("no adapter 2")), "{error}");
    // One that is not there does not keep the others away.
    let settings = Settings { adapter: Some(format!("no such card;{first}")), ..quiet() };
    let rt = Runtime::builder().settings(settings).build().expect("one opens");
    assert_eq!(rt.adapters().len(), 1);
    let settings = Settings { adapter: Some(crossover::ALL_ADAPTERS.into()), ..quiet() };
    let rt = Runtime::builder().settings(settings).build().expect("all open");
    assert_eq!(rt.adapters().len(), shaders::adapters().len().min(crossover::ADAPTERS_MAX));
}

/// Random calls on the CPU and both GPUs, submitted at once, against the same on plain numbers.
#[test]
fn all_devices_see_each_others_results() {
    for sharing in SHARINGS {
        let Some(rt) = with_two(sharing) else { return };
        let mut rng = Random::new(4321);
        for round in 0..10 {
            let mut buffers = [1, 2, 3].map(|v| rt.buffer_from(&vec![v; 3000]).expect("memory"));
            let mut expected = [1u32, 2, 3].map(|v| vec![v; 3000]);
            let mut tickets = Vec::new();
            for _ in 0..40 {
                let (from, to) = (rng.below(3), rng.below(3));
                let (by, part) = (rng.below(9) as u32 + 1, rng.below(3001));
                let place = rng.below(5);
                let at = |call: crossover::Call<'_>| match place {
                    0 => call.device(Device::Cpu).submit(),
                    place => call.adapter(place % 2).submit(),
                };
                tickets.push(if from != to {
                    let [x, y] = buffers.get_disjoint_mut([from, to]).expect("two buffers");
                    expected[to] = expected[from].iter().map(|v| v.wrapping_add(by)).collect();
                    at(shift::on(&rt).args(by, &*x, y))
                } else if by % 2 == 0 {
                    expected[to].iter_mut().for_each(|v| *v = v.wrapping_mul(by));
                    at(scale::on(&rt).args(by, &mut buffers[to]))
                } else {
                    expected[to][..part].iter_mut().for_each(|v| *v = v.wrapping_add(1));
                    at(bump::on(&rt).args(part, &mut buffers[to]))
                });
                if rng.below(12) == 0 {
                    let part = 100..rng.below(2900) + 100;
                    let seen = buffers[to].read_range(part.clone()).expect("content");
                    assert!(*seen == expected[to][part], "{sharing:?}, round {round}");
                }
            }
            for (buffer, expected) in buffers.iter().zip(&expected) {
                assert!(*buffer.read().expect("content") == **expected, "{sharing:?}, {round}");
            }
            for ticket in tickets {
                ticket.wait().expect("it ran");
            }
        }
    }
}

/// A buffer goes from one GPU to the other by way of the host, once, and only as far as it has changed.
#[test]
fn what_one_gpu_has_changed_is_moved_to_the_other_alone() {
    let Some(rt) = with_two([Sharing::Staged, Sharing::Staged]) else { return };
    let n = 10_000usize;
    let mut y = rt.buffer_from(&vec![1u32; n]).expect("memory");
    let bytes = |reason| rt.copied(reason).bytes;
    scale::on(&rt).args(2, &mut y).adapter(0).run().expect("the first runs");
    scale::on(&rt).args(3, &mut y).adapter(1).run().expect("the second runs");
    assert_eq!((bytes(Reason::Upload), bytes(Reason::HostRead)), (8 * n as u64, 4 * n as u64));
    assert_eq!(y.residency(), Residency::Gpu);
    // The first changes a hundred elements: its copy of the rest is old, and those are brought first.
    bump::on(&rt).args(100, &mut y).adapter(1).run().expect("the second runs");
    bump::on(&rt).args(100, &mut y).adapter(0).run().expect("the first runs");
    bump::on(&rt).args(100, &mut y).adapter(1).run().expect("the second runs");
    let moved = bytes(Reason::Upload) - 8 * n as u64;
    assert!((800..2 * 4096).contains(&moved), "{moved} bytes for two times a hundred elements");
    let seen = y.to_vec().expect("content");
    assert_eq!((seen[0], seen[99], seen[100], seen[n - 1]), (9, 9, 6, 6));
}

/// A lost device takes what only it had with it; the other goes on, and the calls with it.
#[test]
fn when_one_gpu_is_lost_the_other_goes_on() {
    let Some([first, second]) = names() else { return };
    let lost = Arc::new(AtomicBool::new(false));
    let mut builder = Runtime::builder().settings(quiet()).policy(Arc::new(Gpus));
    for (at, name) in [first, second].into_iter().enumerate() {
        let lost = lost.clone();
        builder = builder.gpu(move || {
            let fault = (at == 0 && !lost.swap(true, Ordering::AcqRel))
                .then_some(shaders::Fault::LostBefore(2));
            let sharing = Some(Sharing::Staged);
            Gpu::open(&GpuOptions {
                adapter: Some(name.clone()),
                sharing,
                fault,
                ..GpuOptions::default()
            })
        });
    }
    let rt = builder.build().expect("both open");
    let x = rt.buffer_from(&[1u32; 1000]).expect("memory");
    let mut y = rt.alloc(1000).expect("memory");
    shift::on(&rt).args(0, &x, &mut y).compile().expect("compiles");
    for turn in 0..40 {
        let call = shift::on(&rt).args(turn, &x, &mut y);
        let call = if turn < 6 { call.adapter(0) } else { call };
        match call.run() {
            Ok(_) => assert!(y.read().expect("content").iter().all(|&v| v == 1 + turn)),
            // The caller has asked for the device that is lost.
            Err(error) => assert!(turn < 6, "{error}"),
        }
    }
    let rows = rt.ledger().rows();
    assert!(rows.iter().any(|row| row.error.is_some()), "the first was lost");
    let after = rows.iter().skip(6).filter(|row| row.chosen == Device::Gpu);
    assert!(after.clone().count() > 0 && after.clone().all(|row| row.error.is_none()));
}

/// Always the GPU: which, the estimates say.
struct Gpus;

impl crossover::route::Policy for Gpus {
    fn name(&self) -> &str {
        "gpus"
    }

    fn choose(&self, _: &crossover::route::Question<'_>) -> (Device, Why) {
        (Device::Gpu, Why::Faster)
    }
}

/// Runs up to `limit` calls, until the last ten were all placed on the same GPU, or on the CPU.
fn settles(rt: &Runtime, place: Option<usize>, limit: usize) -> bool {
    let x = rt.buffer_from(&[1; 1000]).expect("memory");
    let mut y = rt.alloc(1000).expect("memory");
    let mut run = 0;
    for _ in 0..limit {
        let outcome = shift::on(rt).args(2, &x, &mut y).run().expect("the call runs");
        let row = rt.ledger().last().expect("a row");
        let at = (outcome.device == Device::Gpu).then_some(row.adapter);
        run = if at == place { run + 1 } else { 0 };
        if run == 10 {
            return true;
        }
    }
    false
}

#[test]
fn the_fastest_of_three_devices_is_found_and_followed() {
    let _turn = common::turn();
    let knobs = [2 * MS, 4 * MS, MS / 2].map(Knob::new);
    let [cpu, first, second] = knobs.clone().map(|knob| Arc::new(Controlled(knob)));
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, cpu)
        .executor(Device::Gpu, first)
        .executor(Device::Gpu, second)
        .build()
        .expect("three executors");
    let [cpu, first, second] = knobs;
    let x = rt.alloc(4).expect("memory");
    let mut y = rt.alloc(4).expect("memory");
    shift::on(&rt).args(2, &x, &mut y).compile().expect("compiles");
    assert!(settles(&rt, Some(1), 300), "the second GPU is four times faster than the CPU");
    second.set(6 * MS);
    assert!(settles(&rt, None, 300), "the CPU is the fastest");
    first.set(MS / 4);
    assert!(settles(&rt, Some(0), 3000), "the first GPU has become the fastest");
    second.set(MS / 20);
    // A try that is expected to take 6 ms is paid by 400 ms of calls, and one alone may be a spike.
    assert!(settles(&rt, Some(1), 10_000), "the second GPU has become faster than the first");
    cpu.set(MS / 200);
    assert!(settles(&rt, None, 3000), "the CPU has become faster than both");
    let explained = shift::on(&rt).args(2, &x, &mut y).explain().expect("predicted");
    let adapters: Vec<_> = explained
        .estimates
        .iter()
        .filter(|estimate| estimate.device == Device::Gpu)
        .map(|estimate| estimate.adapter)
        .collect();
    assert_eq!(adapters.len(), 2, "{explained}");
    assert!(explained.to_string().contains("gpu 1"), "{explained}");
}

#[test]
fn a_kernel_that_one_gpu_refuses_goes_to_the_other() {
    struct Refuses;
    impl crossover::kernels::exec::Executor for Refuses {
        fn name(&self) -> &str {
            "refuses"
        }

        fn compile(
            &self,
            kernel: &Arc<crossover::kernels::ir::Kernel>,
        ) -> Result<Arc<dyn crossover::kernels::exec::Version>, crossover::kernels::error::RunError>
        {
            let (kernel, device) = (kernel.entry.name.clone(), "refuses".to_owned());
            let what = "anything".to_owned();
            Err(crossover::kernels::error::RunError::Unsupported { kernel, device, what })
        }
    }
    let _turn = common::turn();
    let rt = Runtime::builder()
        .settings(quiet())
        .executor(Device::Cpu, Arc::new(Controlled(Knob::new(10 * MS))))
        .executor(Device::Gpu, Arc::new(Refuses))
        .executor(Device::Gpu, Arc::new(Controlled(Knob::new(MS))))
        .build()
        .expect("three executors");
    let x = rt.alloc(4).expect("memory");
    let mut y = rt.alloc(4).expect("memory");
    shift::on(&rt).args(2, &x, &mut y).compile().expect("compiles");
    assert!(settles(&rt, Some(1), 300));
}
