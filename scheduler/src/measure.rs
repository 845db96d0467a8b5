//! Measuring the machine: a few small kernels on each side, in less than three seconds in all. Every number
//! is the best of some repetitions: rates are what the machine can do, and noise only ever slows.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use crossover_shaders::Sharing;

use crate::calibration::{Calibration, CpuRates, GpuRates};
use crate::device::Device;
use crate::error::Error;
use crate::gpus::GpuSide;
use crate::probes::{self, Probe};
use crate::runtime::Runtime;

/// Where Linux describes cores and caches.
const CPUS: &str = "/sys/devices/system/cpu";

/// A bandwidth that falls by less than this over all working sets shows no cache.
const KNEE: f64 = 0.8;

/// Measures what the runtime's CPU and one of its GPUs can do.
pub(crate) fn measure(rt: &Runtime, gpu: usize) -> Result<Calibration, Error> {
    let start = Instant::now();
    let side = rt.inner().gpus.get(gpu);
    let (threads, adapter) = (rt.threads(), side.map(|side| side.adapter()));
    let software = adapter.as_ref().is_some_and(|a| a.software);
    let name = adapter.as_ref().map(|a| a.name.as_str());
    let mut found = Calibration::assumed(threads, name, software);
    let mut probe = Probe::new(rt, gpu)?;
    measure_cpu(&mut probe, &mut found.cpu)?;
    if let Some(side) = side {
        measure_gpu(side, &mut probe, &mut found.gpu)?;
    }
    found.is_measured = true;
    found.took_s = start.elapsed().as_secs_f64();
    Ok(found)
}

fn measure_cpu(probe: &mut Probe<'_>, cpu: &mut CpuRates) -> Result<(), Error> {
    let threads = cpu.threads;
    cpu.cores = cores().map_or(threads, |cores| cores.min(threads));
    cpu.scalar_op_s = probe.scalar_op()?;
    cpu.flops_one = probes::ARITHMETIC_OPS / probe.arithmetic(Device::Cpu, 1)?;
    cpu.flops_all = probes::ARITHMETIC_OPS / probe.arithmetic(Device::Cpu, threads)?;
    cpu.bandwidth_one = probes::STREAM_BYTES / probe.stream(Device::Cpu, 1)?;
    cpu.bandwidth_all = probes::STREAM_BYTES / probe.stream(Device::Cpu, threads)?;
    let small_s = probe.small(Device::Cpu, 1)?;
    cpu.inline_s = small_s;
    cpu.wake_s = probe.wake(threads)?.max(small_s);
    cpu.bandwidth_cache = (probe.cached()?).max(cpu.bandwidth_one);
    let caches = caches();
    cpu.l1_bytes = caches.iter().copied().reduce(f64::min).unwrap_or(cpu.l1_bytes);
    let told = caches.iter().copied().reduce(f64::max).unwrap_or(cpu.llc_bytes);
    cpu.llc_bytes = knee(&probe.bandwidths(small_s)?).unwrap_or(told);
    Ok(())
}

fn measure_gpu(side: &GpuSide, probe: &mut Probe<'_>, gpu: &mut GpuRates) -> Result<(), Error> {
    gpu.compile_s = probe.compile()?;
    gpu.dispatch_s = probe.small(Device::Gpu, 1)?;
    gpu.flops = probes::ARITHMETIC_OPS / probe.arithmetic(Device::Gpu, 1)?;
    gpu.width = (probe.group(gpu.dispatch_s)? * gpu.flops).max(1.0);
    gpu.bandwidth = probes::STREAM_BYTES / probe.stream(Device::Gpu, 1)?;
    gpu.bus_bandwidth = 0.0;
    gpu.gather_bandwidth = probe.gathers()?;
    gpu.transcendentals = probe.transcendentals()?;
    gpu.atomics = probe.atomics()?;
    gpu.readback_s = probe.readback()?;
    if let Some(opened) = side.gpu() {
        let info = opened.info();
        gpu.binding_bytes_max = info.capabilities.storage_buffer_bytes_max as f64;
        gpu.memory_bytes = info.memory_bytes.map(|bytes| bytes as f64);
        gpu.is_unified = !info.own_memory;
        gpu.is_in_place = info.is_in_place();
        if info.sharing == Sharing::Imported {
            gpu.bus_bandwidth = match info.own_memory {
                true => probes::STREAM_BYTES / probe.stream_across()?,
                false => gpu.bandwidth,
            };
        }
    }
    // Where the GPU works on host memory, nothing goes up and down that could be timed.
    if !gpu.is_in_place {
        (gpu.upload, gpu.download) = probe.links()?;
    }
    Ok(())
}

/// The largest working set with more than the mean bandwidth, between the smallest and the largest one;
/// `None` where bandwidth does not fall. Bandwidths are in the order of the working sets.
fn knee(bandwidths: &[(f64, f64)]) -> Option<f64> {
    let (first, last) = (bandwidths.first()?.1, bandwidths.last()?.1);
    let middle = (first * last).sqrt();
    let within = bandwidths.iter().rev().find(|(_, bandwidth)| *bandwidth >= middle);
    within.filter(|_| last < KNEE * first).map(|(bytes, _)| *bytes)
}

/// Physical cores, as Linux tells them.
fn cores() -> Option<usize> {
    let mut cores = BTreeSet::new();
    for entry in std::fs::read_dir(CPUS).ok()? {
        let topology = entry.ok()?.path().join("topology");
        let read = |name: &str| std::fs::read_to_string(topology.join(name)).ok();
        cores.extend(read("physical_package_id").zip(read("core_id")));
    }
    (!cores.is_empty()).then_some(cores.len())
}

/// Bytes of the caches for data of the first core, as Linux tells them.
fn caches() -> Vec<f64> {
    let Ok(folder) = std::fs::read_dir(Path::new(CPUS).join("cpu0/cache")) else {
        return Vec::new();
    };
    let bytes = folder.filter_map(|entry| {
        let path = entry.ok()?.path();
        let read = |name: &str| std::fs::read_to_string(path.join(name)).ok();
        let is_for_code = read("type").is_some_and(|text| text.trim() == "Instruction");
        let text = read("size").filter(|_| !is_for_code)?;
        let text = text.trim();
        let (digits, scale) = match text.strip_suffix('K') {
            Some(digits) => (digits, 1024.0),
            None => (text.strip_suffix('M')?, 1024.0 * 1024.0),
        };
        Some(digits.parse::<f64>().ok()? * scale)
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::knee;

    #[test]
    fn a_knee_is_where_bandwidth_falls() {
        let falls = [(1.0, 40.0), (2.0, 41.0), (4.0, 35.0), (8.0, 12.0), (16.0, 10.0)];
        assert_eq!(knee(&falls), Some(4.0));
        let flat = [(1.0, 40.0), (2.0, 39.0), (4.0, 38.0)];
        assert_eq!(knee(&flat), None);
        assert_eq!(knee(&[]), None);
    }
}
