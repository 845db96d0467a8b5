//! First runs of some kernels change what is expected of others that have not run yet.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Controlled, Knob, quiet};
use crossover::{Buffer, Call, Device, Id, Runtime, Settings, kernel};

/// Points of a call.
const POINTS: usize = 1 << 14;

macro_rules! kernels {
    ($($name:ident $factor:literal)*) => {
        $(#[kernel]
        fn $name(id: Id, x: &[f32], y: &mut [f32]) {
            y[id.x] = x[id.x] * $factor;
        })*

        /// A call of one of the kernels.
        fn call<'b>(rt: &'b Runtime, at: usize, x: &'b Buffer<f32>, y: &'b mut Buffer<f32>) -> Call<'b> {
            let calls: &[for<'c> fn(&'c Runtime, &'c Buffer<f32>, &'c mut Buffer<f32>) -> Call<'c>] =
                &[$(|rt, x, y| $name::on(rt).args(x, y)),*];
            calls[at](rt, x, y)
        }
    };
}

kernels!(k0 1.5 k1 2.5 k2 3.5 k3 4.5 k4 5.5 k5 6.5 k6 7.5 k7 8.5 k8 9.5);

struct World {
    rt: Runtime,
    knobs: [Knob; 2],
    x: Buffer<f32>,
    y: Buffer<f32>,
}

impl World {
    fn new(settings: Settings) -> World {
        let knobs: [Knob; 2] = Default::default();
        let rt = Runtime::builder()
            .settings(settings)
            .executor(Device::Cpu, Arc::new(Controlled(knobs[0].clone())))
            .executor(Device::Gpu, Arc::new(Controlled(knobs[1].clone())))
            .build()
            .expect("two executors");
        let (x, y) = (rt.alloc(POINTS).expect("memory"), rt.alloc(POINTS).expect("memory"));
        World { rt, knobs, x, y }
    }

    fn expected_s(&mut self, at: usize) -> [f64; 2] {
        let World { rt, x, y, .. } = self;
        call(rt, at, x, y).compile().expect("compiles");
        let explained = call(rt, at, x, y).explain().expect("predicted");
        Device::ALL.map(|device| {
            explained.estimates.iter().find(|e| e.device == device).expect("both").run_s
        })
    }

    /// Runs a kernel three times on each device, for so long, but for the first time.
    fn run(&mut self, at: usize, seconds: [f64; 2]) {
        for (device, factor) in Device::ALL.into_iter().flat_map(|d| [(d, 5.0), (d, 1.0), (d, 1.0)])
        {
            let run_s = factor * seconds[device as usize];
            self.knobs[device as usize].set(Duration::from_secs_f64(run_s));
            let World { rt, x, y, .. } = self;
            call(rt, at, x, y).device(device).run().expect("runs");
        }
    }
}

#[test]
fn what_is_true_of_eight_kernels_is_expected_of_the_ninth() {
    let (mut fresh, mut world) = (World::new(quiet()), World::new(quiet()));
    assert!(world.rt.trust(0).weights()[0] > 0.9);
    for at in 0..8 {
        let [cpu_s, gpu_s] = fresh.expected_s(at);
        world.run(at, [cpu_s, 32.0 * gpu_s]);
    }
    let [before, now] = [&mut fresh, &mut world].map(|world| world.expected_s(8));
    let [cpu, gpu] = [0, 1].map(|at| now[at] / before[at]);
    assert!((0.5..2.0).contains(&cpu), "the CPU is as it was: {cpu}");
    assert!((8.0..64.0).contains(&gpu), "the GPU takes 32 times as long: {gpu}");
    let trust = world.rt.trust(0);
    assert!(trust.weights()[1] > 0.5, "{trust:?}");
    assert_eq!(fresh.rt.trust(0).weights()[0], crossover::ml::Trust::default().weights()[0]);
    // What is known of a kernel that has run is what it took.
    let known = world.expected_s(0);
    let took = fresh.expected_s(0);
    assert!((known[1] / (32.0 * took[1])).log2().abs() < 0.5, "{known:?} {took:?}");
}
