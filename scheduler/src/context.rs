//! The state of the machine at the moment: what else runs, how fast the clock is, what memory is left.
//!
//! It is read from the files in which Linux tells it, at most every tenth of a second, and only where a
//! call is priced anew. What a system does not tell stays missing.

use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crossover_ml::{Feature, Features};

/// How long a sample stands for the present.
const FRESH: Duration = Duration::from_millis(100);

/// Where Linux tells of the first core's clock, and of batteries.
const CPU_FOLDER: &str = "/sys/devices/system/cpu/cpu0/cpufreq";
const SUPPLIES: &str = "/sys/class/power_supply";

/// Samples of the machine's state.
#[derive(Debug, Default)]
pub(crate) struct Context(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    at: Option<Instant>,
    sample: Sample,
    /// The times at the sample before, from which the share of others is a difference.
    times: Option<Times>,
}

/// One look at the machine; `None` where it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    runnable: Option<f64>,
    utilisation: Option<f64>,
    free_bytes: Option<f64>,
    on_battery: Option<f64>,
    clock_ratio: Option<f64>,
}

/// Ticks since the machine started: of all its cores, of those that worked, and of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Times {
    all: f64,
    busy: f64,
    own: f64,
}

impl Context {
    /// Fills in what is known of the machine at the moment; `cores` share its threads.
    pub(crate) fn features(&self, features: &mut Features, cores: f64) {
        let sample = self.sample(&|path| std::fs::read_to_string(path).ok());
        for (feature, value) in [
            (Feature::RunnableThreadsPerCore, sample.runnable.map(|threads| threads / cores)),
            (Feature::CpuUtilisation, sample.utilisation),
            (Feature::FreeMemoryBytes, sample.free_bytes),
            (Feature::OnBattery, sample.on_battery),
            (Feature::ClockRatio, sample.clock_ratio),
        ] {
            features.set(feature, value.unwrap_or(f64::NAN));
        }
    }

    fn sample(&self, read: &dyn Fn(&str) -> Option<String>) -> Sample {
        // Who finds another at it takes what that one found before.
        let mut state = match self.0.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                return self.0.lock().unwrap_or_else(PoisonError::into_inner).sample;
            }
        };
        if state.at.is_none_or(|at| at.elapsed() >= FRESH) {
            let times = times(read);
            state.sample = Sample {
                runnable: read("/proc/loadavg").and_then(|text| runnable(&text)),
                utilisation: state.times.zip(times).and_then(|(before, now)| others(before, now)),
                free_bytes: read("/proc/meminfo").and_then(|text| available(&text)),
                on_battery: on_battery(read),
                clock_ratio: clock_ratio(read),
            };
            state.times = times;
            state.at = Some(Instant::now());
        }
        state.sample
    }
}

/// Threads that want to run, without the one that reads this: `0.42 0.30 0.25 3/512 4711` says 3.
fn runnable(loadavg: &str) -> Option<f64> {
    let (running, _) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    Some((running.parse::<f64>().ok()? - 1.0).max(0.0))
}

fn times(read: &dyn Fn(&str) -> Option<String>) -> Option<Times> {
    let stat = read("/proc/stat")?;
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests' are among the users'.
    let all: f64 = ticks.iter().take(8).sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    let own = read("/proc/self/stat")?;
    // The name in brackets may hold anything; utime and stime are the 12th and 13th words after it.
    let mut words = own.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || words.next()?.parse::<f64>().ok();
    Some(Times { all, busy: all - idle, own: next()? + next()? })
}

/// The share of the CPU that other processes took between two looks.
fn others(before: Times, now: Times) -> Option<f64> {
    let all = now.all - before.all;
    let others = (now.busy - before.busy) - (now.own - before.own);
    (all > 0.0).then(|| (others / all).clamp(0.0, 1.0))
}

/// Bytes that programs can still get.
fn available(meminfo: &str) -> Option<f64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// 1 where a battery is being emptied; a machine that lists its supplies and has none is on the mains.
fn on_battery(read: &dyn Fn(&str) -> Option<String>) -> Option<f64> {
    let supplies = std::fs::read_dir(SUPPLIES).ok()?;
    let states = supplies.filter_map(|entry| read(entry.ok()?.path().join("status").to_str()?));
    Some(f64::from(u8::from(states.into_iter().any(|state| state.trim() == "Discharging"))))
}

fn clock_ratio(read: &dyn Fn(&str) -> Option<String>) -> Option<f64> {
    let number = |name: &str| read(&format!("{CPU_FOLDER}/{name}"))?.trim().parse::<f64>().ok();
    let (now, highest) = (number("scaling_cur_freq")?, number("cpuinfo_max_freq")?);
    (highest > 0.0).then(|| now / highest)
}

#[cfg(test)]
mod tests {
    use super::{Context, available, others, runnable, times};
    use std::cell::Cell;

    const STAT: &str = "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2 3 4\n";

    fn own(utime: u32, stime: u32) -> String {
        format!("7 (a (b) c) S 1 7 7 0 -1 0 0 0 0 0 {utime} {stime} 0 0 20 0 1 0 5")
    }

    #[test]
    fn files_of_linux_are_read() {
        assert_eq!(runnable("0.42 0.30 0.25 3/512 4711\n"), Some(2.0));
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2048.0 * 1024.0));
        for damaged in ["", "1 2 3", "0.1 0.1 0.1 x/y 1", "MemAvailable: many kB"] {
            assert_eq!((runnable(damaged), available(damaged)), (None, None), "{damaged}");
        }
    }

    #[test]
    fn the_share_of_others_is_without_our_own() {
        let look = |stat: &'static str, utime| {
            let read = move |path: &str| match path {
                "/proc/stat" => Some(stat.to_owned()),
                "/proc/self/stat" => Some(own(utime, 10)),
                _ => None,
            };
            times(&read).expect("both files")
        };
        let before = look(STAT, 20);
        // Of 200 ticks 120 are busy, 50 of them ours.
        let now = look("cpu 200 0 70 870 60 0 0 0\n", 70);
        assert_eq!(others(before, now), Some(0.35));
        assert_eq!(others(now, now), None, "no time has passed");
    }

    #[test]
    fn files_are_read_once_in_a_tenth_of_a_second_and_may_be_missing() {
        let (context, reads) = (Context::default(), Cell::new(0));
        let read = |_: &str| {
            reads.set(reads.get() + 1);
            None
        };
        let first = context.sample(&read);
        let after_one = reads.get();
        assert!(after_one > 0);
        assert_eq!((first.runnable, first.utilisation, first.clock_ratio), (None, None, None));
        for _ in 0..100 {
            assert_eq!(context.sample(&read), first);
        }
        // A machine on which a hundred looks take a tenth of a second may read once more.
        assert!(reads.get() <= 2 * after_one);
    }
}
