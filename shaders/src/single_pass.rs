//! Scans in one pass over the grid: which can be, and what they run on. The shader is
//! `emit/collective/single_pass.rs`.

use crossover_kernels::analysis;
use crossover_kernels::ir::{CollectiveKind, CollectiveOp, Inst, Kernel, Param, Stmt};

use crate::buffer::DeviceBuffer;
use crate::compiled::Compiled;
use crate::device::DeviceError;
use crate::legality::Capabilities;
use crate::steps::Launch;
use crate::underway::Batch;
use crate::windows::Cut;

/// Bytes before the states of the blocks, and of each.
const BEGUN_BYTES: u64 = 4;
const STATE_BYTES: u64 = 8;

/// Whether a kernel is a scan that can be one pass.
///
/// What a block adds up of those before depends on how far they have come, so the operator must be exactly
/// associative. And a block may be computed twice, once by another workgroup at the same time, so the kernel
/// must leave nothing and give the same each time, also where the driver compiles it into another place.
pub(crate) fn is_legal(kernel: &Kernel, caps: &Capabilities) -> bool {
    let (Some(collective), Some(ty)) = (kernel.collective, kernel.contribution()) else {
        return false;
    };
    let is_exact = match collective.op {
        CollectiveOp::Add | CollectiveOp::Mul => ty.is_int(),
        CollectiveOp::Min
        | CollectiveOp::Max
        | CollectiveOp::And
        | CollectiveOp::Or
        | CollectiveOp::Xor => true,
    };
    // A driver that cuts loops cuts those that wait.
    let can_wait = caps.loop_passages_max.is_none();
    let is_scan = collective.kind == CollectiveKind::Scan && !ty.is_wide();
    is_scan && is_exact && can_wait && gives_alone(kernel)
}

/// Whether invocations do nothing but give a value, the same whenever they do.
fn gives_alone(kernel: &Kernel) -> bool {
    let (entry, output) = (&kernel.entry, kernel.entry.params.len().wrapping_sub(1));
    let mut gives = kernel.helpers.is_empty() && !kernel.contract;
    let is_output = |param: Param| param.index() == output;
    entry.walk(&mut |stmt| {
        gives &= match stmt {
            Stmt::Store(..) => false,
            Stmt::Let(value) => match entry.def(*value).inst {
                Inst::Load(param, _) => !is_output(param),
                // Rounded once or twice.
                Inst::Fma(..) => false,
                _ => true,
            },
            _ => true,
        }
    });
    gives && !analysis::has_atomics(entry)
}

impl Compiled {
    pub(crate) fn scan_once(&self, launch: Launch<'_>) -> Result<Batch<'_>, DeviceError> {
        let blocks = launch.grid[0].div_ceil(self.shader.schedule.block());
        let bytes = BEGUN_BYTES + STATE_BYTES * u64::from(blocks);
        let states = DeviceBuffer::new(&self.gpu, bytes)?;
        let mut scratch = self.take_scratch()?;
        let whole = Cut { start: [0; 3], extent: launch.grid, windows: Vec::new() };
        let step = self.main_step(&mut scratch, launch, &states, &whole, 0);
        Ok(Batch { scratch, steps: vec![step], kept: Vec::new(), zeros: Some(states) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crossover_kernels::ir::builder::Builder;
    use crossover_kernels::ir::{
        Access, Axis, Collective, CollectiveKind, CollectiveOp, Extent, Kernel, Type,
    };

    use crate::arg::DeviceArg;
    use crate::buffer::{DeviceBuffer, Readbacks};
    use crate::compiled::Compiled;
    use crate::device::{Gpu, GpuOptions};
    use crate::schedule::Schedule;
    use crate::steps::{Launch, Region};
    use crate::underway::Running;

    fn sums() -> Arc<Kernel> {
        let mut b = Builder::new("sums");
        let x = b.buffer("x", Type::U32, Access::Read);
        b.buffer("result", Type::U32, Access::ReadWrite);
        let i = b.id(Axis::X);
        let v = b.checked_load(x, i);
        let own = b.local(Type::U32, None);
        b.set(own, v);
        b.function_mut().result = Some(own);
        let collective = Collective { kind: CollectiveKind::Scan, op: CollectiveOp::Add };
        Arc::new(Kernel {
            entry: b.finish(),
            helpers: Vec::new(),
            grid: vec![Extent::Len(x)],
            collective: Some(collective),
            workgroup: None,
            contract: false,
            files: Vec::new(),
        })
    }

    /// Three blocks seem to have begun and never go on: one has left nothing, one is between two values, one has
    /// left its own total. Those behind do not wait for them.
    #[test]
    fn blocks_that_do_not_go_on_are_added_up_by_others() {
        let gpu = match Gpu::open(&GpuOptions::default()) {
            Ok(gpu) => gpu,
            Err(error) => {
                let required = std::env::var("CROSSOVER_GPU").is_ok_and(|v| v == "require");
                assert!(!required, "CROSSOVER_GPU=require: {error}");
                return eprintln!("skipped: {error}");
            }
        };
        let kernel = sums();
        if !super::is_legal(&kernel, gpu.capabilities()) {
            return eprintln!("skipped: the driver cuts loops that wait");
        }
        let usual = Schedule::of(&kernel, gpu.capabilities());
        let schedule = Schedule { single_pass: Some(true), ..usual };
        let compiled = Compiled::of(&gpu, &kernel, &schedule).expect("it compiles");
        let block = schedule.block() as usize;
        let x: Vec<u32> =
            (0..block * 5 + 17).map(|i| (i as u32).wrapping_mul(0x9e37_79b9)).collect();
        let sum = |values: &[u32]| values.iter().fold(0, |sum: u32, &v| sum.wrapping_add(v));
        let bytes = x.len() as u64 * 4;
        let buffers = [(); 2].map(|()| DeviceBuffer::new(&gpu, bytes).expect("memory"));
        buffers[0].upload(0, bytemuck::cast_slice(&x)).expect("the device takes it");
        buffers[1].upload(0, bytemuck::cast_slice(&vec![7u32; x.len()])).expect("that too");
        let arg = |buffer| DeviceArg::Buffer { buffer, len: x.len() as u32, is_blank: false };
        let args = buffers.each_ref().map(arg);
        let grid = [x.len() as u32, 1, 1];
        let region = Region { start: [0; 3], extent: grid };
        let launch = Launch { args: &args, grid, region, cuts: &[] };

        let mut batch = compiled.scan_once(launch).expect("memory");
        let states = batch.zeros.take().expect("a scan in one pass has states");
        let own = sum(&x[block * 2..block * 3]);
        let words =
            [3, 0, 0, (2 << 16) | 5, 1 << 16, (1 << 16) | own & 0xffff, (1 << 16) | own >> 16];
        let mut content = vec![0u32; states.bytes() as usize / 4];
        content[..words.len()].copy_from_slice(&words);
        states.upload(0, bytemuck::cast_slice(&content)).expect("the device takes it");
        batch.kept.push(states);
        let running = Running::submit(&compiled, batch, &[]);
        assert!(running.finish(&compiled, None).is_ok(), "it ends");

        let mut readbacks = Readbacks::new(&gpu);
        readbacks.add(&buffers[1], 0, bytes).expect("memory");
        readbacks.run(None).expect("the device gives it");
        let mut got = vec![0u32; x.len()];
        readbacks.take(0, bytemuck::cast_slice_mut(&mut got)).expect("it is there");
        assert!(got[..block * 3].iter().all(|&v| v == 7), "nobody computes those");
        for i in block * 3..x.len() {
            assert_eq!(got[i], sum(&x[..=i]), "element {i}");
        }
    }
}
