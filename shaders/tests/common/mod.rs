//! What the tests share: the adapter, kernels from builders, and runs on the interpreter and on the
//! device over the same data.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{Arg, Call, Deadline, Grid, Measurement, Version, claim_args};
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Collective, Const, Extent, Kernel, Param, Type};
use crossover_kernels::verify::verify;
use crossover_memory::Slot;
use crossover_shaders::{Gpu, GpuExecutor, GpuOptions, GpuVersion, legality};

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// The adapter of this process. Without one a test says why and is skipped; with
/// `CROSSOVER_GPU=require` in the environment it fails.
pub(crate) fn gpu() -> Option<Arc<Gpu>> {
    gpu_with(&GpuOptions::default())
}

/// [`gpu`], with other options.
pub(crate) fn gpu_with(options: &GpuOptions) -> Option<Arc<Gpu>> {
    static PLAIN: OnceLock<Result<Arc<Gpu>, String>> = OnceLock::new();
    let open = |options: &GpuOptions| Gpu::open(options).map_err(|error| error.to_string());
    let is_plain = format!("{options:?}") == format!("{:?}", GpuOptions::default());
    let opened = if is_plain { PLAIN.get_or_init(|| open(options)).clone() } else { open(options) };
    match opened {
        Ok(gpu) => {
            eprintln!("on {} ({})", gpu.info().name, gpu.info().driver);
            Some(gpu)
        }
        Err(reason) => {
            let required = std::env::var("CROSSOVER_GPU").is_ok_and(|v| v == "require");
            assert!(!required, "CROSSOVER_GPU=require: {reason}");
            let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
            eprintln!("skipped ({count} in this binary): {reason}");
            None
        }
    }
}

/// A verified kernel from what a builder holds.
pub(crate) fn kernel(b: Builder, grid: Vec<Extent>, collective: Option<Collective>) -> Arc<Kernel> {
    let files = vec![Arc::from("test.rs")];
    let kernel = Kernel {
        entry: b.finish(),
        helpers: Vec::new(),
        grid,
        collective,
        workgroup: None,
        contract: false,
        files,
    };
    verify(&kernel).expect("test kernels are valid");
    Arc::new(kernel)
}

/// A kernel over the length of a buffer.
pub(crate) fn over(b: Builder, buffer: Param) -> Arc<Kernel> {
    kernel(b, vec![Extent::Len(buffer)], None)
}

/// Whether the device has a type.
pub(crate) fn has(gpu: &Gpu, ty: Type) -> bool {
    let caps = gpu.capabilities();
    match ty {
        Type::Bool | Type::I32 | Type::U32 | Type::F32 => true,
        Type::I64 | Type::U64 => caps.int64,
        Type::F64 => caps.int64 && caps.float64,
    }
}

/// A buffer of constants.
pub(crate) fn data(values: &[Const]) -> Data {
    match values.first() {
        Some(c) if c.ty.is_wide() => Data::Wide(values.iter().map(|c| c.bits).collect()),
        _ => Data::Narrow(values.iter().map(|c| c.bits as u32).collect()),
    }
}

/// The elements of a buffer, as bits.
pub(crate) fn bits(data: &Data) -> Vec<u64> {
    match data {
        Data::Scalar(c) => vec![c.bits],
        Data::Narrow(v) => v.iter().map(|&b| u64::from(b)).collect(),
        Data::Wide(v) => v.clone(),
    }
}

/// Whether the device runs a kernel, as far as its loops go: a driver that cuts long ones in silence is given none,
/// and what such a kernel gives is tested elsewhere.
pub(crate) fn runs(gpu: &Gpu, kernel: &Kernel) -> bool {
    let cuts = gpu.capabilities().loop_passages_max.is_some();
    match legality::check(kernel, gpu.capabilities()) {
        Err(RunError::Unsupported { what, .. }) if cuts && what.contains("loop") => {
            eprintln!("skipped `{}`: {what}", kernel.entry.name);
            false
        }
        Ok(()) | Err(_) => true,
    }
}

/// Compiles for the device.
pub(crate) fn compile(gpu: &Arc<Gpu>, kernel: &Arc<Kernel>) -> Arc<GpuVersion> {
    let name = &kernel.entry.name;
    match GpuExecutor::new(gpu.clone()).prepare(kernel, None) {
        Ok(version) => version,
        Err(error) => panic!("`{name}` does not compile: {error}"),
    }
}

/// Runs on the device; the data is what the buffers hold afterwards, whatever the outcome.
pub(crate) fn run_gpu(
    version: &GpuVersion,
    data: &mut [Data],
    grid: Grid,
    deadline: Option<Deadline>,
) -> Result<Measurement, RunError> {
    let args: Vec<Arg> = data
        .iter()
        .map(|data| {
            let (bytes, len) = match data {
                Data::Scalar(c) => return Arg::Scalar(*c),
                Data::Narrow(v) => (bytemuck::cast_slice::<u32, u8>(v), v.len()),
                Data::Wide(v) => (bytemuck::cast_slice::<u64, u8>(v), v.len()),
            };
            let slot = Arc::new(Slot::zeroed(bytes.len()).expect("memory"));
            slot.write::<u8>().copy_from_slice(bytes);
            Arg::Buffer { slot: slot.into(), len: len as u32 }
        })
        .collect();
    let mut claim = claim_args(version.kernel(), &args);
    let mut call = Call { args: &args, grid, threads: 1, deadline, start: None, claim: &mut claim };
    let outcome = version.run(&mut call);
    drop(claim);
    for (data, arg) in data.iter_mut().zip(&args) {
        if let Arg::Buffer { slot, .. } = arg {
            match data {
                Data::Scalar(_) => {}
                Data::Narrow(v) => v.copy_from_slice(&slot.arc().read::<u32>()),
                Data::Wide(v) => v.copy_from_slice(&slot.arc().read::<u64>()),
            }
        }
    }
    outcome
}

/// Runs on both and wants every bit of every buffer and the outcome to be the same.
pub(crate) fn assert_same(gpu: &Arc<Gpu>, kernel: &Arc<Kernel>, data: &[Data], grid: Grid) {
    if !runs(gpu, kernel) {
        return;
    }
    let version = compile(gpu, kernel);
    let (mut expected, mut got) = (data.to_vec(), data.to_vec());
    let outcome = interp::run(kernel, &mut expected, grid, None);
    let measured = run_gpu(&version, &mut got, grid, None);
    assert_eq!(measured.map(|_| ()), outcome, "{}", version.shader().wgsl);
    assert_equal(&version, &got, &expected);
}

/// Wants every bit of every buffer to be the same.
pub(crate) fn assert_equal(version: &GpuVersion, got: &[Data], expected: &[Data]) {
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let (got, expected) = (bits(got), bits(expected));
        let wrong = (0..got.len()).find(|&i| got[i] != expected[i]);
        if let Some(i) = wrong {
            panic!(
                "`{}`, argument {at}, element {i}: {:#x}, expected {:#x}\n{}\n{}",
                version.kernel().entry.name,
                got[i],
                expected[i],
                version.kernel(),
                version.shader().wgsl
            );
        }
    }
}

/// The grid that a kernel's own extents give.
pub(crate) fn grid(kernel: &Kernel, data: &[Data]) -> [u32; 3] {
    interp::default_grid(kernel, data)
}
