//! What calls have taken is known to later processes: after a proper end, after kill −9, and from two processes at
//! a time. A file that cannot be used costs what it knew, and nothing else.

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Controlled, Knob, quiet};
use crossover::{Device, ExperienceError, Id, Outcome, Runtime, Settings, Why, kernel};

const MS: Duration = Duration::from_millis(1);

/// Names the file to a process that is to be killed.
const FILE: &str = "CROSSOVER_TEST_EXPERIENCE";

/// Between two of its calls: more than any delay in passing on what it prints.
const PAUSE: Duration = Duration::from_millis(20);

#[kernel]
fn scale(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = a * x[id.x];
}

/// A file in a folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("crossover-known-{name}-{}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }

    fn file(&self) -> PathBuf {
        self.0.join("experience.jsonl")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// A runtime with devices of these speeds, which keeps its experience in the file.
fn runtime(file: &Path, cpu: Duration, gpu: Duration) -> Runtime {
    Runtime::builder()
        .settings(Settings { experience: Some(file.to_owned()), ..quiet() })
        .executor(Device::Cpu, Arc::new(Controlled(Knob::new(cpu))))
        .executor(Device::Gpu, Arc::new(Controlled(Knob::new(gpu))))
        .build()
        .expect("two executors")
}

fn call(rt: &Runtime, n: usize) -> Outcome {
    let x = rt.alloc(n).expect("memory");
    let mut y = rt.alloc(n).expect("memory");
    let call = scale::on(rt).args(2.0, &x, &mut y);
    call.compile().expect("compiles");
    call.run().expect("the call runs")
}

fn predicted_s(rt: &Runtime, n: usize) -> [f64; 2] {
    let x = rt.alloc(n).expect("memory");
    let mut y = rt.alloc(n).expect("memory");
    let call = scale::on(rt).args(2.0, &x, &mut y);
    call.compile().expect("compiles");
    let explained = call.explain().expect("a valid call");
    Device::ALL
        .map(|device| explained.estimates.iter().find(|e| e.device == device).expect("both").run_s)
}

#[test]
fn a_later_process_begins_with_what_was_measured() {
    let folder = Folder::new("later");
    let (cpu, gpu) = (8 * MS, 2 * MS);
    let first = runtime(&folder.file(), cpu, gpu);
    assert_eq!(first.experience(), Ok(0));
    for _ in 0..30 {
        call(&first, 1000);
    }
    let learned = predicted_s(&first, 1000);
    drop(first);
    let second = runtime(&folder.file(), cpu, gpu);
    // Trials of a number of threads say nothing of the CPU's best.
    let kept = second.experience().expect("a file of this machine");
    assert!((25..=30).contains(&kept), "{kept} of 30");
    let recalled = predicted_s(&second, 1000);
    assert!((recalled[1] / 2e-3 - 1.0).abs() < 0.1, "{recalled:?} after {learned:?}");
    let outcomes: Vec<Device> = (0..10).map(|_| call(&second, 1000).device).collect();
    // What few runs have told of the CPU is looked at again, once in a while.
    let elsewhere = outcomes.iter().filter(|device| **device == Device::Cpu).count();
    assert!(outcomes[0] == Device::Gpu && elsewhere <= 1, "{outcomes:?}");
    let trials = second.ledger().rows().iter().filter(|row| row.why == Why::Explore).count();
    assert_eq!(trials, elsewhere, "{outcomes:?}");
    // On another machine the calls are others'.
    let other = Runtime::builder()
        .settings(Settings { experience: Some(folder.file()), threads: 77, ..quiet() })
        .executor(Device::Cpu, Arc::new(Controlled(Knob::new(cpu))))
        .executor(Device::Gpu, Arc::new(Controlled(Knob::new(gpu))))
        .build()
        .expect("two executors");
    assert_eq!(other.experience(), Ok(0));
}

#[test]
fn what_has_changed_meanwhile_is_followed() {
    let folder = Folder::new("changed");
    let first = runtime(&folder.file(), 2 * MS, 8 * MS);
    for _ in 0..40 {
        call(&first, 1000);
    }
    drop(first);
    // The CPU has become slower by a factor of sixteen.
    let second = runtime(&folder.file(), 32 * MS, 8 * MS);
    let devices: Vec<Device> = (0..20).map(|_| call(&second, 1000).device).collect();
    let turned = devices.iter().position(|device| *device == Device::Gpu).expect("it turns");
    assert!(turned <= 5, "{devices:?}");
}

#[test]
fn a_file_that_cannot_be_used_costs_only_what_it_knew() {
    let folder = Folder::new("refused");
    std::fs::create_dir_all(&folder.0).expect("a writable folder");
    std::fs::write(folder.file(), "{\"crossover_experience\":99,\"features\":1}\n")
        .expect("written");
    let rt = runtime(&folder.file(), MS, 2 * MS);
    assert!(matches!(rt.experience(), Err(ExperienceError::Version { layout: 99, .. })));
    call(&rt, 1000);
    drop(rt);
    let begun_anew = runtime(&folder.file(), MS, 2 * MS).experience();
    assert_eq!(begun_anew, Ok(1));

    std::fs::write(folder.file(), "Dear Sir,\n").expect("written");
    let rt = runtime(&folder.file(), MS, 2 * MS);
    assert!(matches!(rt.experience(), Err(ExperienceError::Foreign { .. })));
    call(&rt, 1000);
    drop(rt);
    assert_eq!(std::fs::read(folder.file()).expect("it is there"), b"Dear Sir,\n");
}

/// What a process does that is to be killed, if it is one.
#[test]
#[ignore = "is run by another test, in a process of its own"]
fn calls_until_it_is_killed() {
    let Some(file) = std::env::var_os(FILE) else { return };
    let rt = runtime(Path::new(&file), 2 * MS, MS);
    for number in 1.. {
        call(&rt, 1000);
        eprintln!("called {number}");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn two_processes_that_are_killed_lose_a_second_at_most() {
    let folder = Folder::new("killed");
    let begin = || {
        let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
        command.args(["--exact", "calls_until_it_is_killed", "--ignored", "--nocapture"]);
        command.env(FILE, folder.file()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("a process")
    };
    let mut processes = [begin(), begin()];
    let mut called = 0;
    for process in &mut processes {
        let printed = BufReader::new(process.stderr.take().expect("piped"));
        let start = Instant::now();
        let mut calls = 0;
        for line in printed.lines() {
            let line = line.expect("text");
            let number = line.strip_prefix("called ").and_then(|number| number.parse().ok());
            calls = number.unwrap_or(calls);
            // The first 128 calls of a kernel are all kept.
            if calls >= 120 || start.elapsed() > Duration::from_secs(60) {
                break;
            }
        }
        process.kill().expect("it runs");
        process.wait().expect("it has ended");
        called += calls;
    }
    let rt = runtime(&folder.file(), 2 * MS, MS);
    let kept = rt.experience().expect("the file is whole");
    let lost_max = 2 * (Duration::from_secs(1).as_millis() / PAUSE.as_millis()) as usize;
    assert!(called >= 240, "{called} calls in a minute");
    assert!(kept + lost_max >= called, "{kept} of {called} calls");
    call(&rt, 1000);
    drop(rt);
    let whole = runtime(&folder.file(), 2 * MS, MS).experience();
    assert_eq!(whole, Ok(kept + 1));
}
