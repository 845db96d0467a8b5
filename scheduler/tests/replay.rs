//! A recorded run can be placed once more without running anything, and comes out the same.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use common::{Controlled, Knob, quiet};
use crossover::record::Recording;
use crossover::route::{self, verdict};
use crossover::{Device, Id, Runtime, Settings, Why, kernel};

/// Long enough that the GPU is worth a trial.
const UNIT: Duration = Duration::from_micros(20);

#[kernel]
fn scale(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = a * x[id.x];
}

#[kernel]
fn add(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] += x[id.x];
}

/// A file that is gone at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let name = format!("crossover-{}-{name}.jsonl", std::process::id());
        Scratch(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Calls of two kernels at two sizes on devices whose speed changes; gives where they ran.
fn run(settings: Settings) -> Vec<Device> {
    let (cpu, gpu) = (Knob::new(40 * UNIT), Knob::new(20 * UNIT));
    let rt = Runtime::builder()
        .settings(settings)
        .executor(Device::Cpu, Arc::new(Controlled(cpu.clone())))
        .executor(Device::Gpu, Arc::new(Controlled(gpu.clone())))
        .build()
        .expect("two executors");
    let mut devices = Vec::new();
    let small = (rt.alloc(100).expect("memory"), rt.alloc(100).expect("memory"));
    let large = (rt.alloc(5000).expect("memory"), rt.alloc(5000).expect("memory"));
    for (x, mut y) in [small, large] {
        scale::on(&rt).args(2.0, &x, &mut y).compile().expect("compiles");
        add::on(&rt).args(&x, &mut y).compile().expect("compiles");
        for round in 0..120 {
            match round {
                40 => gpu.set(80 * UNIT),
                80 => cpu.set(5 * UNIT),
                _ => {}
            }
            let one = scale::on(&rt).args(2.0, &x, &mut y).run().expect("runs");
            let forced = (round % 50 == 9).then_some(Device::Gpu);
            let call = add::on(&rt).args(&x, &mut y);
            let two = match forced {
                Some(device) => call.device(device).run(),
                None => call.run(),
            };
            devices.extend([one.device, two.expect("runs").device]);
        }
    }
    rt.flush_record().expect("the file is written");
    devices
}

#[test]
fn a_recorded_run_is_reproduced_choice_by_choice() {
    let _turn = common::turn();
    let file = Scratch::new("reproduced");
    let devices = run(Settings { record: Some(file.0.clone()), ..quiet() });
    let recording = Recording::load(&file.0).expect("a recorded run");
    let recorded: Vec<Device> = recording.calls.iter().map(|call| call.chosen).collect();
    assert_eq!(devices, recorded);
    assert_eq!(recording.cases.len(), 4);
    let explored = recording.calls.iter().filter(|call| call.why == Why::Explore).count();
    let cpu = recorded.iter().filter(|device| **device == Device::Cpu).count();
    assert!(
        explored > 1 && (10..470).contains(&cpu),
        "there is something to reproduce: {explored} {cpu}"
    );
    let policy = route::by_name("learned").expect("a policy");
    verdict::follow(&recording, policy, |choice| {
        let call = &recording.calls[choice.at];
        assert_eq!((choice.device, &choice.why), (call.chosen, &call.why), "call {}", choice.at);
    });
    // Another policy decides otherwise, and is not told that it is the same.
    let other = verdict::judge(&recording, route::by_name("ewma").expect("a policy"), 0);
    assert!(other.agreed < other.decisions);
}

#[test]
fn the_policy_replay_makes_the_same_choices_on_other_devices() {
    let _turn = common::turn();
    let file = Scratch::new("followed");
    let devices = run(Settings { record: Some(file.0.clone()), ..quiet() });
    let settings = Settings { policy: "replay".into(), ledger: Some(file.0.clone()), ..quiet() };
    assert_eq!(run(settings), devices);
}

#[test]
fn policies_that_lack_a_setting_and_files_that_are_no_ledger_are_refused() {
    let build = |settings: Settings| Runtime::builder().settings(settings).build().map(|_| ());
    let replay = Settings { policy: "replay".into(), gpu: crossover::GpuUse::Off, ..quiet() };
    let error = build(replay.clone()).expect_err("no ledger is named").to_string();
    assert!(error.contains("setting `ledger`"), "{error}");
    let file = Scratch::new("foreign");
    for (text, says) in [
        ("", "no recorded ledger"),
        ("{\"rows\":1}\n", "no recorded ledger"),
        (
            r#"{"crossover_ledger":999,"features_version":1,"about":{"by":"","policy":"","model":"","adapter":null,"is_software":false,"threads":1}}"#,
            "layout is version 999",
        ),
    ] {
        std::fs::write(&file.0, text).expect("a file");
        let settings = Settings { ledger: Some(file.0.clone()), ..replay.clone() };
        let error = build(settings).expect_err("it is refused").to_string();
        assert!(error.contains(says), "{error}");
    }
}
