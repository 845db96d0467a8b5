//! What is measured of a machine: the numbers behind the device features and the roofline terms.
//! Without measurement, cautious guesses stand in; the per-kernel correction removes their error.

use std::path::Path;

use crossover_ml::{Feature, Features};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::transfers::Link;

/// The version of the file's layout.
const LAYOUT: u32 = 3;

/// SIMD lanes of 32 bits: what WebAssembly has on every machine.
pub(crate) const LANES: f64 = 4.0;

/// The CPU side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuRates {
    /// Hardware threads.
    pub threads: usize,
    /// Cores that these threads are of.
    pub cores: usize,
    /// Time of a scalar operation that waits for the one before, in seconds.
    pub scalar_op_s: f64,
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
    /// Bytes of the first-level cache for data.
    pub l1_bytes: f64,
    /// The working set beyond which the bandwidth of one thread falls: bytes of the last-level cache.
    pub llc_bytes: f64,
}

/// The GPU side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GpuRates {
    /// Arithmetic, in operations a second.
    pub flops: f64,
    /// Memory bandwidth, in bytes a second.
    pub bandwidth: f64,
    /// Bandwidth of host memory that it works on in place, in bytes a second; 0 where it cannot.
    pub bus_bandwidth: f64,
    /// Bytes a second of loads at random places.
    pub gather_bandwidth: f64,
    /// Transcendental functions a second.
    pub transcendentals: f64,
    /// Additions a second to counters that invocations share.
    pub atomics: f64,
    /// Invocations at which it is full: its latency times its rate.
    pub width: f64,
    /// Time of a dispatch that does nothing, in seconds.
    pub dispatch_s: f64,
    /// Time until the host has a word that the GPU has just written, after the call, in seconds.
    pub readback_s: f64,
    /// Copies to the GPU.
    pub upload: Link,
    /// Copies from the GPU.
    pub download: Link,
    /// Time to compile a small pipeline, in seconds.
    pub compile_s: f64,
    /// Whether it computes on the CPU.
    pub is_software: bool,
    /// Whether CPU and GPU have the same memory.
    pub is_unified: bool,
    /// Whether it works on host memory in place, so that no copies are ever made.
    pub is_in_place: bool,
    /// Bytes of its memory; `None` where its driver does not tell.
    pub memory_bytes: Option<f64>,
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
    /// How long measuring took, in seconds.
    pub took_s: f64,
}

impl Calibration {
    /// Cautious guesses for a machine with so many threads and such an adapter.
    ///
    /// ```
    /// use crossover::Calibration;
    /// let guess = Calibration::assumed(8, Some("a card"), false);
    /// assert!(!guess.is_measured && guess.gpu.flops > guess.cpu.flops_all);
    /// ```
    pub fn assumed(threads: usize, adapter: Option<&str>, is_software: bool) -> Calibration {
        let all = threads as f64;
        let cpu = CpuRates {
            threads,
            cores: threads,
            scalar_op_s: 1e-9,
            flops_one: 1e10,
            flops_all: 1e10 * all,
            bandwidth_one: 1e10,
            bandwidth_all: 1.2e10 * all.min(4.0),
            bandwidth_cache: 4e10,
            inline_s: 3e-6,
            wake_s: 2e-5,
            l1_bytes: 32e3,
            llc_bytes: 16e6,
        };
        let gpu = if is_software {
            GpuRates {
                flops: cpu.flops_all * 0.8,
                bandwidth: cpu.bandwidth_all * 0.2,
                bus_bandwidth: cpu.bandwidth_all * 0.2,
                gather_bandwidth: 1e9,
                transcendentals: 1e9 * all,
                atomics: 1e8,
                width: 256.0 * all,
                dispatch_s: 1.5e-4,
                readback_s: 1e-4,
                upload: Link { latency_s: 5e-5, bandwidth: 4e9 },
                download: Link { latency_s: 1e-4, bandwidth: 4e9 },
                compile_s: 0.03,
                is_software,
                is_unified: true,
                is_in_place: false,
                memory_bytes: None,
                binding_bytes_max: 128e6,
            }
        } else {
            GpuRates {
                flops: 2e12,
                bandwidth: 2e11,
                bus_bandwidth: 8e9,
                gather_bandwidth: 3e10,
                transcendentals: 3e11,
                atomics: 5e9,
                width: 65_536.0,
                dispatch_s: 5e-5,
                readback_s: 5e-5,
                upload: Link { latency_s: 3e-5, bandwidth: 8e9 },
                download: Link { latency_s: 5e-5, bandwidth: 8e9 },
                compile_s: 0.02,
                is_software,
                is_unified: false,
                is_in_place: false,
                memory_bytes: None,
                binding_bytes_max: 2e9,
            }
        };
        let adapter = adapter.map(ToOwned::to_owned);
        Calibration { layout: LAYOUT, adapter, cpu, gpu, is_measured: false, took_s: 0.0 }
    }

    /// Reads a file that [`Calibration::save`] wrote; `None` if it is of another layout, of another
    /// adapter or number of threads, or not there: then the machine is measured anew.
    ///
    /// ```
    /// use crossover::Calibration;
    /// assert_eq!(Calibration::load("/no/such/file".as_ref(), 8, None), None);
    /// ```
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
    ///
    /// ```
    /// use crossover::Calibration;
    /// let path = std::env::temp_dir().join(format!("crossover-machine-{}", std::process::id()));
    /// let known = Calibration::assumed(8, None, false);
    /// known.save(&path)?;
    /// assert_eq!(Calibration::load(&path, 8, None), Some(known));
    /// assert_eq!(Calibration::load(&path, 4, None), None, "another machine");
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover::Error>(())
    /// ```
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
        self.between(threads, cpu.bandwidth_one, cpu.bandwidth_all)
    }

    /// Arithmetic rate of so many CPU threads, in operations a second.
    pub(crate) fn cpu_flops(&self, threads: usize) -> f64 {
        self.between(threads, self.cpu.flops_one, self.cpu.flops_all)
    }

    /// A rate of so many threads: those of one thread and of all were measured, and each thread between is taken
    /// to add the same.
    fn between(&self, threads: usize, one: f64, all: f64) -> f64 {
        match threads {
            0 | 1 => one,
            n if n >= self.cpu.threads => all,
            n => one + (all - one) * (n - 1) as f64 / (self.cpu.threads - 1) as f64,
        }
    }

    /// What was measured, as features of the device group. A GPU that is not there has none, nor have
    /// copies that are never made; and where nothing was measured, guesses are not passed off as measured.
    ///
    /// ```
    /// use crossover::{Calibration, ml::Feature};
    /// let mut machine = Calibration::assumed(8, None, false);
    /// assert_eq!(machine.features().get(Feature::Threads), None, "guesses are not told");
    /// machine.is_measured = true;
    /// assert_eq!(machine.features().get(Feature::Threads), Some(8.0));
    /// assert_eq!(machine.features().get(Feature::GpuGflops), None, "there is no GPU");
    ///
    /// ```
    pub fn features(&self) -> Features {
        let mut features = Features::missing();
        if self.is_measured {
            self.cpu_features(&mut features);
            if self.adapter.is_some() {
                self.gpu_features(&mut features);
            }
        }
        features
    }

    fn cpu_features(&self, features: &mut Features) {
        let cpu = &self.cpu;
        let all = cpu.threads as f64;
        for (feature, value) in [
            (Feature::Cores, cpu.cores as f64),
            (Feature::Threads, all),
            (Feature::Lanes, LANES),
            (Feature::CpuGflops, cpu.flops_all / 1e9),
            (Feature::ScalarNsPerOp, cpu.scalar_op_s * 1e9),
            (Feature::ThreadScaling, cpu.flops_all / (cpu.flops_one * all)),
            (Feature::CpuBandwidthOneGbs, cpu.bandwidth_one / 1e9),
            (Feature::CpuBandwidthAllGbs, cpu.bandwidth_all / 1e9),
            (Feature::LlcKneeBytes, cpu.llc_bytes),
            (Feature::WorkerWakeS, cpu.wake_s),
        ] {
            features.set(feature, value);
        }
    }

    fn gpu_features(&self, features: &mut Features) {
        let gpu = &self.gpu;
        for (feature, value) in [
            (Feature::GpuGflops, gpu.flops / 1e9),
            (Feature::GpuBandwidthGbs, gpu.bandwidth / 1e9),
            (Feature::GpuGatherGbs, gpu.gather_bandwidth / 1e9),
            (Feature::GpuTranscendentalGops, gpu.transcendentals / 1e9),
            (Feature::GpuAtomicGops, gpu.atomics / 1e9),
            (Feature::EmptyDispatchS, gpu.dispatch_s),
            (Feature::ReadbackLatencyS, gpu.readback_s),
            (Feature::UnifiedMemory, f64::from(u8::from(gpu.is_unified))),
            (Feature::MaxBindingBytes, gpu.binding_bytes_max),
            (Feature::GpuWidth, gpu.width),
            (Feature::ShaderCompileS, gpu.compile_s),
        ] {
            features.set(feature, value);
        }
        if !gpu.is_in_place {
            features.set(Feature::UploadGbs, gpu.upload.bandwidth / 1e9);
            features.set(Feature::DownloadGbs, gpu.download.bandwidth / 1e9);
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
