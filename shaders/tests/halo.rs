//! Workgroups that keep what lies around their points, on the device: random stencils, and the standard kernels that
//! look around.

mod common;

use std::sync::Arc;

use common::{gpu_with, grid, run_gpu};
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::{Kernel, Type};
use crossover_kernels::passes::{halo, optimize};
use crossover_kernels::random::{self, Random};
use crossover_kernels::{front, library};
use crossover_shaders::{Capabilities, GpuExecutor, GpuOptions, Schedule, shaders};

fn groups(axes: usize) -> &'static [[u32; 3]] {
    match axes {
        1 => &[[32, 1, 1], [256, 1, 1]],
        _ => &[[8, 8, 1], [32, 4, 1]],
    }
}

fn standard(name: &str) -> Arc<Kernel> {
    let (entry, at) = library::find_kernel(name).expect("a standard kernel");
    Arc::new(optimize(&front::kernel(entry.kernels()[at], &[], &[]).expect("typed")))
}

/// Bit for bit what single points give, whatever lies beyond the border.
#[test]
fn random_stencils_agree_with_the_interpreter() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    let mut kept = 0;
    for seed in 0..40 {
        let (kernel, data, grid) = random::stencil_kernel(&mut Random::new(seed), Type::U32);
        let kernel = Arc::new(optimize(&kernel));
        let mut expected = data.clone();
        interp::run(&kernel, &mut expected, grid, None).expect("stencils do not fail");
        let size = *Random::new(seed).pick(groups(kernel.axes()));
        if halo::run(&kernel, [size[0], size[1]], gpu.capabilities().workgroup_bytes_max).is_none()
        {
            continue;
        }
        kept += 1;
        let usual = Schedule::of(&kernel, gpu.capabilities());
        let schedule = Schedule { workgroup: size, halo: Some(true), ..usual };
        let version = GpuExecutor::new(gpu.clone()).prepare(&kernel, Some(schedule));
        let version = version.expect("it compiles");
        let mut found = data.clone();
        run_gpu(&version, &mut found, grid, None).expect("stencils do not fail");
        assert_eq!(found, expected, "seed {seed}, {size:?}\n{kernel}");
    }
    assert!(kept >= 10, "{kept} of 40 have windows");
}

/// Also where sizes fill no group, and a group reaches around the whole image.
#[test]
fn standard_stencils_meet_their_references() {
    let options = GpuOptions { proves_at_once: true, ..GpuOptions::default() };
    let Some(gpu) = gpu_with(&options) else { return };
    for name in ["conv3x3", "jacobi"] {
        let (entry, kernel) = (library::find(name).expect("a standard kernel"), standard(name));
        for &workgroup in groups(2) {
            let usual = Schedule::of(&kernel, gpu.capabilities());
            let schedule = Schedule { workgroup, halo: Some(true), ..usual };
            let version = GpuExecutor::new(gpu.clone()).prepare(&kernel, Some(schedule));
            let version = version.expect("it compiles");
            for n in [1, 2, 3, 37, 64, 131] {
                let inputs = (entry.inputs)(n, &mut Random::new(5));
                let mut data: Vec<Data> = inputs.iter().map(library::Input::data).collect();
                let grid = grid(&kernel, &data);
                run_gpu(&version, &mut data, grid, None).expect("library kernels do not fail");
                for expected in (entry.reference)(&inputs) {
                    let Data::Narrow(words) = &data[expected.param] else { panic!("floats") };
                    let found = words.iter().map(|bits| f64::from(f32::from_bits(*bits)));
                    let wrong = entry.tolerance.judge(&expected.values, found);
                    assert!(wrong.is_none(), "{name} of {n}, {workgroup:?}: {wrong:?}");
                }
            }
        }
    }
}

/// Only what looks around is offered the form; no GPU is needed.
#[test]
fn the_form_is_listed_where_points_look_around() {
    let caps = Capabilities::baseline();
    let names = ["conv3x3", "jacobi", "saxpy", "matmul", "nbody", "mandelbrot", "dot", "histogram"];
    for name in names {
        let kernel = standard(name);
        let space = Schedule::space(&kernel, &caps);
        let is_listed = space.iter().any(|schedule| schedule.halo == Some(true));
        let looks_around = ["conv3x3", "jacobi"].contains(&name);
        assert_eq!(is_listed, looks_around, "{name}");
        let usual = Schedule::of(&kernel, &caps);
        for (halo, expected) in [(None, looks_around), (Some(false), false)] {
            let forms = shaders(&kernel, &caps, &Schedule { halo, ..usual }).expect("it emits");
            let has_form = forms.iter().any(|(form, _)| form.contains("around"));
            assert_eq!(has_form, expected, "{name}, {halo:?}");
        }
    }
}

/// The shader that people look at.
#[test]
fn a_filter_that_looks_around() {
    let kernel = standard("conv3x3");
    let caps = Capabilities::baseline();
    let schedule =
        Schedule { workgroup: [16, 8, 1], halo: Some(true), ..Schedule::of(&kernel, &caps) };
    let shaders = shaders(&kernel, &caps, &schedule).expect("it emits");
    assert_eq!(shaders.len(), 2, "a schedule that asks for a form gets that alone");
    insta::assert_snapshot!("filter", shaders[1].1.wgsl);
}
