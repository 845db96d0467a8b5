//! What is measured of a machine: the numbers behind the device features and the roofline terms.
//! Without measurement, cautious guesses stand in; the per-kernel correction removes their error.

use std::path::Path;

use crossover_ml::{Feature, Features};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::transfers::Link;

/// The version of the file's layout.
const LAYOUT: u32 = 1;

/// The CPU side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuRates {
    /// Hardware threads.
    pub threads: usize,
    /// Arithmetic of SIMD WebAssembly on one thread, in operations a second.
    pub flops_one: f64,
    /// Arithmetic on all threads.
    pub flops_all: f64,
    /// Memory bandwidth of one thread, in bytes a second.
    pub bandwidth_one: f64,
    /// Memory bandwidth of all threads.
    pub bandwidth_all: f64,
    /// Bandwidth of one thread within the cache.
    pub bandwidth_cache: f64,
    /// Time of a call that does nothing, on the calling thread, in seconds.
    pub inline_s: f64,
    /// Time of a call that does nothing, on all threads, in seconds.
    pub wake_s: f64,
    /// Bytes of the last-level cache.
    pub llc_bytes: f64,
}

/// The GPU side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuRates {
    /// Arithmetic, in operations a second.
    pub flops: f64,
    /// Memory bandwidth, in bytes a second.
    pub bandwidth: f64,
    /// Time of a dispatch that does nothing, in seconds.
    pub dispatch_s: f64,
    /// Copies to the GPU.
    pub upload: Link,
    /// Copies from the GPU.
    pub download: Link,
    /// Time to compile a small pipeline, in seconds.
    pub compile_s: f64,
    /// Whether it computes on the CPU.
    pub is_software: bool,
    /// The largest buffer it can bind, in bytes.
    pub binding_bytes_max: f64,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    layout: u32,
    /// The adapter that was measured, if there was one.
    pub adapter: Option<String>,
    /// The CPU side.
    pub cpu: CpuRates,
    /// The GPU side; guesses where there is none.
    pub gpu: GpuRates,
    /// Whether this was measured.
    pub is_measured: bool,
}

impl Calibration {
    /// Cautious guesses for a machine with so many threads and such an adapter.
    pub fn assumed(threads: usize, adapter: Option<&str>, is_software: bool) -> Calibration {
        let all = threads as f64;
        let cpu = CpuRates {
            threads,
            flops_one: 1e10,
            flops_all: 1e10 * all,
            bandwidth_one: 1e10,
            bandwidth_all: 1.2e10 * all.min(4.0),
            bandwidth_cache: 4e10,
            inline_s: 3e-6,
            wake_s: 2e-5,
            llc_bytes: 16e6,
        };
        let gpu = if is_software {
            GpuRates {
                flops: cpu.flops_all * 0.8,
                bandwidth: cpu.bandwidth_all * 0.2,
                dispatch_s: 1.5e-4,
                upload: Link { latency_s: 5e-5, bandwidth: 4e9 },
                download: Link { latency_s: 1e-4, bandwidth: 4e9 },
                compile_s: 0.03,
                is_software,
                binding_bytes_max: 128e6,
            }
        } else {
            GpuRates {
                flops: 2e12,
                bandwidth: 2e11,
                dispatch_s: 5e-5,
                upload: Link { latency_s: 3e-5, bandwidth: 8e9 },
                download: Link { latency_s: 5e-5, bandwidth: 8e9 },
                compile_s: 0.02,
                is_software,
                binding_bytes_max: 2e9,
            }
        };
        let adapter = adapter.map(ToOwned::to_owned);
        Calibration { layout: LAYOUT, adapter, cpu, gpu, is_measured: false }
    }

    /// Reads a file that [`Calibration::save`] wrote; `None` if it is of another layout, of another
    /// adapter or number of threads, or not there: then the machine is measured anew.
    pub fn load(path: &Path, threads: usize, adapter: Option<&str>) -> Option<Calibration> {
        let text = std::fs::read(path).ok()?;
        let found: Calibration = serde_json::from_slice(&text).ok()?;
        let fits = found.layout == LAYOUT
            && found.adapter.as_deref() == adapter
            && found.cpu.threads == threads;
        fits.then_some(found)
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let fail = |message: String| Error::File { path: path.display().to_string(), message };
        let text = serde_json::to_vec_pretty(self).map_err(|e| fail(e.to_string()))?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
        }
        let part = path.with_extension("part");
        std::fs::write(&part, text).map_err(|e| fail(e.to_string()))?;
        std::fs::rename(&part, path).map_err(|e| fail(e.to_string()))
    }

    /// Bandwidth of so many CPU threads over a working set, in bytes a second.
    pub(crate) fn cpu_bandwidth(&self, threads: usize, working_set: f64) -> f64 {
        let cpu = &self.cpu;
        if working_set < cpu.llc_bytes / 2.0 {
            return cpu.bandwidth_cache * threads as f64;
        }
        if threads <= 1 { cpu.bandwidth_one } else { cpu.bandwidth_all }
    }

    /// Arithmetic rate of so many CPU threads, in operations a second.
    pub(crate) fn cpu_flops(&self, threads: usize) -> f64 {
        if threads <= 1 { self.cpu.flops_one } else { self.cpu.flops_all }
    }

    /// Fills in the features of the device group.
    pub(crate) fn features(&self, features: &mut Features) {
        let (cpu, gpu) = (&self.cpu, &self.gpu);
        let all = cpu.threads as f64;
        for (feature, value) in [
            (Feature::Threads, all),
            (Feature::Cores, all),
            (Feature::Lanes, 4.0),
            (Feature::CpuGflops, cpu.flops_all / 1e9),
            (Feature::ThreadScaling, cpu.flops_all / (cpu.flops_one * all)),
            (Feature::CpuBandwidthOneGbs, cpu.bandwidth_one / 1e9),
            (Feature::CpuBandwidthAllGbs, cpu.bandwidth_all / 1e9),
            (Feature::LlcKneeBytes, cpu.llc_bytes),
            (Feature::WorkerWakeS, cpu.wake_s),
            (Feature::GpuGflops, gpu.flops / 1e9),
            (Feature::GpuBandwidthGbs, gpu.bandwidth / 1e9),
            (Feature::EmptyDispatchS, gpu.dispatch_s),
            (Feature::ReadbackLatencyS, gpu.download.latency_s),
            (Feature::UploadGbs, gpu.upload.bandwidth / 1e9),
            (Feature::DownloadGbs, gpu.download.bandwidth / 1e9),
            (Feature::UnifiedMemory, f64::from(u8::from(gpu.is_software))),
            (Feature::MaxBindingBytes, gpu.binding_bytes_max),
            (Feature::ShaderCompileS, gpu.compile_s),
        ] {
            features.set(feature, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Calibration;

    #[test]
    fn a_file_is_read_back_for_the_same_machine_only() {
        let folder =
            std::env::temp_dir().join(format!("crossover-calibration-{}", std::process::id()));
        let path = folder.join("machine.json");
        let saved = Calibration::assumed(2, Some("card"), false);
        saved.save(&path).expect("a writable folder");
        assert_eq!(Calibration::load(&path, 2, Some("card")), Some(saved));
        assert_eq!(Calibration::load(&path, 4, Some("card")), None);
        assert_eq!(Calibration::load(&path, 2, None), None);
        std::fs::write(&path, b"{").expect("a writable file");
        assert_eq!(Calibration::load(&path, 2, Some("card")), None);
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }
}
