//! What the cost model is told of a real call, and what it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use crossover::ml::Features;
use crossover::ml::features::{Feature, Group};
use crossover::{Device, Id, Runtime, kernel};

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

fn features(rt: &Runtime, n: usize) -> Features {
    let x = rt.buffer_from(&vec![1.0f32; n]).expect("memory");
    let mut y = rt.alloc::<f32>(n).expect("memory");
    axpy::on(rt).args(2.0, &x, &mut y).explain().expect("a valid call").features
}

/// What may be missing of a call on a calibrated machine, and why.
fn may_be_missing(rt: &Runtime) -> BTreeMap<&'static str, &'static str> {
    let mut may = BTreeMap::from([
        ("cpu_utilisation", "is a difference between two looks at the machine"),
        ("runnable_threads_per_core", "only Linux tells it"),
        ("free_memory_bytes", "only Linux tells it"),
        ("on_battery", "only Linux tells it, and not of every machine"),
        ("clock_ratio", "virtual machines do not tell their clock"),
        ("working_set_over_device_memory", "only drivers of Vulkan tell their memory"),
    ]);
    match rt.adapter() {
        Some(adapter) if adapter.in_place => {
            may.insert("upload_gbs", "nothing is ever copied");
            may.insert("download_gbs", "nothing is ever copied");
        }
        Some(_) => {}
        None => {
            let of_gpu = |name: &str| {
                let names = ["upload_gbs", "download_gbs", "empty_dispatch_s", "unified_memory"];
                let others = ["max_binding_bytes", "shader_compile_s", "readback_latency_s"];
                let dynamic = ["upload_bytes", "readback_bytes", "resident_fraction", "waves"];
                let calls = ["workgroup_size", "tail_efficiency", "batched_calls"];
                let rest = ["pipeline_cached", "since_submit_s"];
                let lists = [&names[..], &others, &dynamic, &calls, &rest];
                name.starts_with("gpu_") || lists.iter().any(|list| list.contains(&name))
            };
            let all = Feature::ALL.into_iter().map(|feature| feature.info());
            let gpus = all.filter(|info| info.group != Group::Roofline && of_gpu(info.name));
            may.extend(gpus.map(|info| (info.name, "there is no GPU")));
        }
    }
    may
}

#[test]
fn a_call_is_described_in_full_but_for_what_cannot_be_known() {
    let rt = Runtime::builder().calibrated().build().expect("a runtime");
    let found = features(&rt, 100_000);
    let may = may_be_missing(&rt);
    for feature in Feature::ALL {
        let name = feature.info().name;
        match found.get(feature) {
            Some(value) => assert!(value >= 0.0, "{name} is {value}"),
            None => match may.get(name) {
                Some(why) => eprintln!("{name} is missing: {why}"),
                None => panic!("{name} is missing"),
            },
        }
    }
    let known = |feature| found.get(feature).expect("checked before");
    assert_eq!(known(Feature::Items), 100_000.0);
    assert_eq!(known(Feature::Visits), 0.0);
    assert_eq!(known(Feature::OwnJobs), 0.0);
    if cfg!(target_os = "linux") {
        assert!(known(Feature::FreeMemoryBytes) > 1e6);
    }
}

#[test]
fn the_moment_is_part_of_a_call() {
    let rt = Runtime::new().expect("a runtime");
    features(&rt, 1000);
    // The second look tells what others did since the first.
    std::thread::sleep(Duration::from_millis(110));
    let x = rt.buffer_from(&vec![1.0f32; 5000]).expect("memory");
    let mut y = rt.alloc::<f32>(5000).expect("memory");
    for _ in 0..3 {
        axpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).run().expect("a valid call");
    }
    let found = features(&rt, 6000);
    assert_eq!(found.get(Feature::Visits), Some(3.0));
    if cfg!(target_os = "linux") {
        let others = found.get(Feature::CpuUtilisation).expect("this is the second look");
        assert!((0.0..=1.0).contains(&others));
    }
    // Nothing has been measured of this machine, and guesses are not passed off as measured.
    assert_eq!(found.get(Feature::CpuGflops), None);
}
