//! Compute shaders in WGSL as kernels: the same on both devices, placed and explained like others.

use crossover::kernels::error::RunError;
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

/// Everything at once that is not in [`SHADER`]: matrices, packed colours, a constant that a pipeline
/// sets, as many groups as there are, a table that is indexed, sums of floats by compare-and-exchange.
const COLOURS: &str = "
override BINS: u32 = 4u;
struct Look { turn: mat3x3<f32>, gains: array<vec4<f32>, 2> }
@group(0) @binding(0) var<storage> pixels: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
@group(0) @binding(2) var<storage, read_write> sums: array<atomic<u32>>;
@group(0) @binding(3) var<uniform> look: Look;

fn add(at: u32, v: f32) {
    var held = atomicLoad(&sums[at]);
    loop {
        let sum = bitcast<u32>(bitcast<f32>(held) + v);
        let done = atomicCompareExchangeWeak(&sums[at], held, sum);
        if (done.exchanged) { break; }
        held = done.old_value;
    }
}

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
    for (var at = id.x; at < arrayLength(&pixels); at += groups.x * 32u) {
        let colour = unpack4x8unorm(pixels[at]);
        let turned = look.turn * colour.rgb;
        out[at] = pack4x8unorm(vec4(turned * look.gains[at % 2u].x, colour.a));
        add(at % BINS, floor(255.0 * colour.a + 0.5));
    }
}";

#[test]
fn matrices_constants_and_floats_in_atomics_run_on_both_devices() -> Result<(), Error> {
    let rt = Runtime::from_env()?;
    let module = Module::from_wgsl("colours.wgsl", COLOURS).expect("valid");
    let kernel = module.with_constants([("BINS", 3.0)]).kernel("main").expect("a kernel");
    let handle = rt.adopt(kernel, "colours");
    let pixels: Vec<u32> = (0..1000u32).map(|i| i.wrapping_mul(0x9e37_79b9)).collect();
    // Red becomes green, green blue, blue red; three columns of four words, then the gains.
    let look =
        [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.5f32];
    let look = [look.as_slice(), &[0.0; 3]].concat();
    let bytes = |at: usize| pixels[at].to_le_bytes();
    let devices: &[Device] = if rt.adapter().is_some() { &Device::ALL } else { &[Device::Cpu] };
    for &device in devices {
        let mut args = [
            DynArg::U32(rt.buffer_from(&pixels)?),
            DynArg::U32(rt.alloc(pixels.len())?),
            DynArg::U32(rt.alloc(3)?),
            DynArg::F32(rt.buffer_from(&look)?),
        ];
        // Fewer invocations than pixels: each does several.
        let call = rt.call_handle(&handle, &mut args).grid([100, 1, 1]).device(device);
        match call.run() {
            Err(Error::Run(RunError::Unsupported { what, .. }))
                if what.contains("cuts in silence") =>
            {
                eprintln!("skipped: {what}");
                continue;
            }
            ran => assert_eq!(ran?.device, device),
        }
        let (DynArg::U32(out), DynArg::U32(sums)) = (&args[1], &args[2]) else {
            panic!("words stay words")
        };
        for (at, found) in out.read()?.iter().enumerate() {
            let [r, g, b, a] = bytes(at);
            let gain = |v: u8| if at % 2 == 0 { f32::from(v) } else { 0.5 * f32::from(v) };
            let [x, y, z, alpha] = found.to_le_bytes();
            for (found, expected) in [(x, gain(b)), (y, gain(r)), (z, gain(g)), (alpha, a.into())] {
                assert!((f32::from(found) - expected).abs() <= 0.51, "{device}: pixel {at}");
            }
        }
        let sum = |bin: usize| (bin..1000).step_by(3).map(|at| f32::from(bytes(at)[3])).sum();
        let expected: [f32; 3] = [0, 1, 2].map(sum);
        assert_eq!(sums.read()?.iter().map(|b| f32::from_bits(*b)).collect::<Vec<_>>(), expected);
    }
    Ok(())
}
