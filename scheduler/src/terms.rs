//! The terms of a decision: what a candidate's time is made of, and what would change the choice.
//!
//! Arithmetic alone and memory alone are what the call's operations and bytes take at the rates of the machine. A
//! run does both at once, and neither as well as a probe does, so the prediction is neither of them nor their sum.
//! The features by which the network is told of them are coarser: they count every operation of the kernel's
//! code, also those that the back ends make once for many points.

use std::fmt;

use crossover_kernels::analysis::Profile;
use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::device::Device;
use crate::ledger::Estimate;

/// Bytes of what an access to a place of its own moves beside its element, at least.
const LINE_BYTES: f64 = 16.0;

/// What a call computes and moves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Work {
    /// Operations on data, the dear ones counted for as many as they take.
    operations: f64,
    /// Bytes between memory and what computes: CPU, then GPU.
    moved_bytes: [f64; 2],
    /// Bytes of the buffers.
    buffer_bytes: f64,
}

impl Work {
    /// Of a call of so many points, by the profiles of what runs and of its source, and by the bytes of the buffers
    /// that are read and of those that are written.
    pub(crate) fn new(compiled: &Profile, source: &Profile, bytes: [f64; 2], points: f64) -> Work {
        let [read, written] = bytes;
        let stored = source.store_bytes * points;
        let accessed = source.load_bytes * points + stored;
        // What is accessed again soon comes from a cache; gathers and strided accesses move lines.
        let scattered = ((source.gather + source.strided) * LINE_BYTES * points).min(accessed);
        // What is written is loaded before: by the kernel, or by a cache of the CPU that has no use for half a line.
        let least = |accessed: f64| (read + 2.0 * written).min(accessed) + scattered;
        Work {
            operations: compiled.arithmetic * points,
            moved_bytes: [least(accessed + stored), least(accessed)],
            buffer_bytes: read + written,
        }
    }

    /// Seconds of arithmetic alone and of memory alone on so many threads of the CPU.
    fn on_cpu(&self, c: &Calibration, threads: usize) -> [f64; 2] {
        let bandwidth = c.cpu_bandwidth(threads, self.buffer_bytes);
        [self.operations / c.cpu_flops(threads), self.moved_bytes[0] / bandwidth]
    }

    /// The same on the GPU.
    fn on_gpu(&self, c: &Calibration) -> [f64; 2] {
        [self.operations / c.gpu.flops, self.moved_bytes[1] / c.gpu.bandwidth]
    }
}

/// What a candidate's run time is made of: how long each part of it would take alone, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Which device.
    pub device: Device,
    /// Which of the runtime's adapters, on the GPU; 0 on the CPU.
    pub adapter: usize,
    /// Threads, on the CPU; 1 on the GPU.
    pub threads: usize,
    /// The call's operations on data at the device's arithmetic rate.
    pub compute_s: f64,
    /// The bytes that it moves at the device's bandwidth; that of the cache, where its buffers fit into it.
    pub memory_s: f64,
    /// A call that does nothing: on the CPU on this thread or with waking others, on the GPU an empty dispatch.
    pub start_s: f64,
    /// The largest of these three.
    pub bound: Limit,
    /// Whether the rates are those that were measured of this machine, and no guesses.
    pub is_measured: bool,
    /// Whether its code is compiled. The CPU's is compiled by the first call that runs there, the GPU's in the
    /// background, while calls run on the CPU.
    pub is_compiled: bool,
    /// What such calls have taken there, where there were any.
    pub past: Option<Past>,
}

impl Terms {
    /// Of so much work on a device with these rates.
    pub(crate) fn new(work: &Work, estimate: &Estimate, c: &Calibration) -> Terms {
        let Estimate { device, adapter, threads, .. } = *estimate;
        let ([compute_s, memory_s], start_s, is_measured) = match device {
            Device::Cpu => {
                let start_s = if threads > 1 { c.cpu.wake_s } else { c.cpu.inline_s };
                (work.on_cpu(c, threads), start_s, c.is_measured)
            }
            // What stands in for a GPU has no rates.
            Device::Gpu => (work.on_gpu(c), c.gpu.dispatch_s, c.is_measured && c.adapter.is_some()),
        };
        let bound = Limit::of(compute_s, memory_s, start_s);
        let (is_compiled, past) = (false, None);
        Terms {
            device,
            adapter,
            threads,
            compute_s,
            memory_s,
            start_s,
            bound,
            is_measured,
            is_compiled,
            past,
        }
    }
}

/// What a device would be busy with for most of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Arithmetic.
    Compute,
    /// Moving bytes.
    Memory,
    /// Beginning.
    Start,
}

impl Limit {
    fn of(compute_s: f64, memory_s: f64, start_s: f64) -> Limit {
        match compute_s.max(memory_s) {
            most if most < start_s => Limit::Start,
            _ if compute_s < memory_s => Limit::Memory,
            _ => Limit::Compute,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Limit::Compute => "compute",
            Limit::Memory => "memory",
            Limit::Start => "start",
        })
    }
}

/// What calls of the same shape have taken on a device.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Past {
    /// How many of the newest calls these are.
    pub calls: usize,
    /// The median of their run times, in seconds.
    pub run_s: f64,
}

impl Past {
    /// Of such run times; `None` of none.
    pub(crate) fn of(mut runs_s: Vec<f64>) -> Option<Past> {
        runs_s.sort_by(f64::total_cmp);
        let (calls, middle) = (runs_s.len(), runs_s.len() / 2);
        let upper = *runs_s.get(middle)?;
        let run_s =
            if calls.is_multiple_of(2) { 0.5 * (runs_s[middle - 1] + upper) } else { upper };
        Some(Past { calls, run_s })
    }
}

/// What would make the device that was not chosen the faster one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flip {
    /// Which device that is.
    pub device: Device,
    /// The longest run with which its total would be smaller, in seconds; `None` where copies and the queue
    /// alone take longer than the device that was chosen.
    pub run_s: Option<f64>,
    /// How many times faster than predicted that is.
    pub factor: Option<f64>,
    /// Whether it is enough that nothing had to be copied.
    pub without_copies: bool,
    /// Whether it is enough that it was free at once.
    pub without_queue: bool,
    /// Whether even a call that does nothing takes longer there: only more work in a call can make up for that.
    pub is_too_small: bool,
}

impl Flip {
    /// What keeps a device out whose total is the larger one; `None` where it is not.
    pub(crate) fn of(chosen: &Estimate, other: &Estimate, start_s: f64) -> Option<Flip> {
        let most_s = chosen.total_s();
        if other.total_s() <= most_s {
            return None;
        }
        let left_s = most_s - other.transfer_s - other.wait_s;
        let run_s = (left_s > 0.0).then_some(left_s);
        Some(Flip {
            device: other.device,
            run_s,
            factor: run_s.map(|run_s| other.run_s / run_s),
            without_copies: other.total_s() - other.transfer_s < most_s,
            without_queue: other.total_s() - other.wait_s < most_s,
            is_too_small: start_s >= most_s,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Flip, Limit, Past, Terms, Work};
    use crate::calibration::Calibration;
    use crate::device::Device;
    use crate::ledger::Estimate;
    use crossover_kernels::analysis::Profile;

    fn estimate(device: Device, threads: usize, parts_s: [f64; 3]) -> Estimate {
        let [run_s, transfer_s, wait_s] = parts_s;
        let (run_low_s, run_high_s) = (run_s / 2.0, run_s * 2.0);
        Estimate { device, adapter: 0, threads, run_s, run_low_s, run_high_s, transfer_s, wait_s }
    }

    #[test]
    fn the_largest_term_is_the_bound() {
        let mut machine = Calibration::assumed(4, Some("card"), false);
        (machine.cpu.flops_one, machine.cpu.flops_all) = (1e9, 4e9);
        (machine.cpu.bandwidth_one, machine.cpu.bandwidth_all) = (1e9, 2e9);
        machine.is_measured = true;
        let terms = |operations: f64, moved_bytes: f64, threads: usize| {
            let work = Work { operations, moved_bytes: [moved_bytes; 2], buffer_bytes: 1e9 };
            Terms::new(&work, &estimate(Device::Cpu, threads, [1.0, 0.0, 0.0]), &machine)
        };
        let one = terms(1e9, 5e8, 1);
        assert_eq!((one.compute_s, one.memory_s, one.bound), (1.0, 0.5, Limit::Compute));
        let all = terms(1e9, 1e9, 4);
        assert_eq!((all.compute_s, all.memory_s, all.bound), (0.25, 0.5, Limit::Memory));
        // Between one and all: as much more as threads.
        let two = terms(1e9, 5e8, 2);
        assert!((two.compute_s - 0.5).abs() < 1e-12, "{two:?}");
        assert_eq!(terms(1.0, 1.0, 4).bound, Limit::Start);
        assert!(one.is_measured && one.past.is_none());
        machine.adapter = None;
        let work = Work { operations: 1e9, ..Work::default() };
        let gpu = Terms::new(&work, &estimate(Device::Gpu, 1, [1.0, 0.0, 0.0]), &machine);
        assert!(!gpu.is_measured, "there is none that was measured");
    }

    #[test]
    fn what_is_written_moves_twice_and_what_is_scattered_in_lines() {
        let stream = Profile { load_bytes: 8.0, store_bytes: 4.0, ..Profile::default() };
        let work = |profile: &Profile, read: f64| {
            Work::new(profile, profile, [read, 4e6], 1e6).moved_bytes
        };
        assert_eq!(work(&stream, 4e6), [12e6; 2], "y += x: both in, one out");
        let fill = Profile { store_bytes: 4.0, ..Profile::default() };
        assert_eq!(work(&fill, 0.0), [8e6, 4e6], "a cache of the CPU loads what is overwritten");
        let gather = Profile { gather: 1.0, ..stream.clone() };
        assert_eq!(work(&gather, 4e6), [24e6; 2], "no more than twice what is accessed");
        let small = Profile { load_bytes: 0.5, ..fill };
        assert_eq!(work(&small, 4e9), [8.5e6, 4.5e6], "what is not touched does not move");
    }

    #[test]
    fn what_keeps_a_device_out_is_named() {
        let cpu = estimate(Device::Cpu, 1, [4.0, 0.0, 0.0]);
        let flip =
            |gpu: [f64; 3], start_s: f64| Flip::of(&cpu, &estimate(Device::Gpu, 1, gpu), start_s);
        assert_eq!(flip([1.0, 1.0, 1.0], 0.1), None, "it is faster");
        let slow = flip([8.0, 0.0, 0.0], 0.1).expect("it is slower");
        assert_eq!((slow.run_s, slow.factor), (Some(4.0), Some(2.0)));
        assert!(!slow.without_copies && !slow.without_queue && !slow.is_too_small);
        let copies = flip([2.0, 5.0, 0.0], 0.1).expect("copies take long");
        assert_eq!((copies.run_s, copies.factor, copies.without_copies), (None, None, true));
        let busy = flip([2.0, 1.0, 3.0], 0.1).expect("it is busy");
        assert!(busy.without_queue && !busy.without_copies, "{busy:?}");
        assert!(flip([9.0, 0.0, 0.0], 5.0).expect("it is slower").is_too_small);
    }

    #[test]
    fn the_past_is_a_median() {
        assert_eq!(Past::of(Vec::new()), None);
        assert_eq!(Past::of(vec![9.0, 1.0, 2.0]), Some(Past { calls: 3, run_s: 2.0 }));
    }
}
