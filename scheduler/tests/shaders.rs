//! Compute shaders in WGSL as kernels: the same on both devices, placed and explained like others.

use crossover::kernels::shader::Module;
use crossover::{Device, DynArg, Error, Runtime};

/// Sums of rows of 64, through workgroup memory, weighted by a uniform.
const SHADER: &str = "
struct Params { scale: f32, n: u32 }
@group(0) @binding(0) var<storage> x: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
var<workgroup> tile: array<f32, 64>;

fn size(v: vec2<f32>) -> f32 {
    if (v.x < 0.0) { return 0.0; }
    return length(v);
}

@compute @workgroup_size(64)
fn sizes(@builtin(global_invocation_id) id: vec3<u32>,
         @builtin(local_invocation_id) local: vec3<u32>,
         @builtin(workgroup_id) group: vec3<u32>) {
    var own = 0.0;
    if (id.x < params.n) { own = size(x[id.x]) * params.scale; }
    tile[local.x] = own;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half >>= 1u) {
        if (local.x < half) { tile[local.x] += tile[local.x + half]; }
        workgroupBarrier();
    }
    if (local.x == 0u) { sums[group.x] = tile[0]; }
}";

fn expected(x: &[f32], scale: f32) -> Vec<f64> {
    let size = |v: &[f32]| {
        let [a, b] = [f64::from(v[0]), f64::from(v[1])];
        if a < 0.0 { 0.0 } else { a.hypot(b) * f64::from(scale) }
    };
    x.chunks(128).map(|group| group.chunks(2).map(size).sum()).collect()
}

#[test]
fn a_shader_runs_on_both_devices_and_is_explained() -> Result<(), Error> {
    let rt = Runtime::from_env()?;
    let kernel = Module::from_wgsl("sizes.wgsl", SHADER)
        .and_then(|module| module.kernel("sizes"))
        .expect("a kernel");
    let names: Vec<&str> = kernel.entry.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["x", "sums", "params_scale", "params_n", "tile"]);
    let handle = rt.adopt(kernel, "sizes");
    let n = 1000u32;
    let x: Vec<f32> = (0..2 * n).map(|i| (i * 37 % 101) as f32 * 0.1 - 2.0).collect();
    let devices: &[Device] = if rt.adapter().is_some() { &Device::ALL } else { &[Device::Cpu] };
    for &device in devices {
        let mut args = [
            DynArg::F32(rt.buffer_from(&x)?),
            DynArg::F32(rt.buffer_from(&[-1.0; 16])?),
            DynArg::Scalar(0.5f32.into()),
            DynArg::Scalar(n.into()),
        ];
        let text = rt.call_handle(&handle, &mut args).grid([n, 1, 1]).explain()?.to_string();
        assert!(text.contains("sizes"), "{text}");
        let call = rt.call_handle(&handle, &mut args).grid([n, 1, 1]).device(device);
        assert_eq!(call.run()?.device, device);
        let DynArg::F32(sums) = &args[1] else { panic!("sums are floats") };
        for (at, (found, expected)) in sums.read()?.iter().zip(expected(&x, 0.5)).enumerate() {
            let apart = (f64::from(*found) - expected).abs();
            assert!(apart <= 1e-4 * expected, "{device}: [{at}] is {found}, not {expected}");
        }
    }
    Ok(())
}
