//! A driver that crashes on a pipeline takes the process with it, but not again and again. And what it has
//! compiled is found by the next process.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use common::quiet;
use crossover::shaders::{Fault, Gpu, GpuOptions};
use crossover::{Device, Id, Runtime, Settings, Why, kernel, route};

/// Names the folder to a process that is to crash.
const FOLDER: &str = "CROSSOVER_TEST_FOLDER";

#[kernel]
fn crashes(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = 2.0 * x[id.x];
}

#[kernel]
fn works(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = 3.0 * x[id.x];
}

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("crossover-crash-{name}-{}", std::process::id());
        Folder(std::env::temp_dir().join(name))
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).into_iter().flatten().flatten();
        let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.ends_with(kind)).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir_all(&self.0);
    }
}

/// A runtime whose driver crashes on one kernel.
fn runtime(folder: &Path) -> Runtime {
    let (fault, cache) = (Some(Fault::Crash("crashes")), Some(folder.to_owned()));
    let options = GpuOptions { fault, cache, ..GpuOptions::default() };
    Runtime::builder()
        .settings(Settings { cache: Some(folder.to_owned()), ..quiet() })
        .gpu(move || Gpu::open(&options))
        .policy(route::by_name("always-gpu").expect("a policy"))
        .build()
        .expect("starts")
}

/// What a process does that crashes, if it is one.
#[test]
#[ignore = "only as a process of its own"]
fn process_that_crashes() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let rt = runtime(Path::new(&folder));
    let x = rt.buffer_from(&[1.0f32, 2.0]).expect("memory");
    let mut y = rt.alloc(2).expect("memory");
    crashes::on(&rt).args(&x, &mut y).compile().expect("compiles on the CPU");
}

fn crash(folder: &Path) -> ExitStatus {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "process_that_crashes", "--ignored"])
        .env(FOLDER, folder)
        .output()
        .expect("starts")
        .status
}

#[test]
fn a_pipeline_that_has_crashed_twice_is_left_alone() {
    if common::with_gpu().is_none() {
        return;
    }
    let folder = Folder::new("twice");
    assert!(!crash(&folder.0).success(), "it crashes");
    assert!(!crash(&folder.0).success(), "once may be chance");
    assert!(crash(&folder.0).success(), "not a third time");
    let rt = runtime(&folder.0);
    let x = rt.buffer_from(&[1.0f32, 2.0]).expect("memory");
    let mut y = rt.alloc::<f32>(2).expect("memory");
    let call = crashes::on(&rt).args(&x, &mut y);
    call.compile().expect("compiles on the CPU");
    call.run().expect("runs on the CPU");
    assert_eq!(y.to_vec().expect("content"), [2.0, 4.0]);
    let row = rt.ledger().last().expect("a row");
    assert!(matches!(&row.why, Why::Only(why) if why.contains(".trial")), "{}", row.why);
    // Others are not blamed.
    let call = works::on(&rt).args(&x, &mut y);
    call.compile().expect("compiles");
    assert_eq!(call.run().expect("runs").device, Device::Gpu);
    assert_eq!(folder.names(".trial").len(), 1, "of what has run there is no note left");
}

#[test]
fn pipelines_are_kept_and_replaced_where_they_are_damaged() {
    if common::with_gpu().is_none() {
        return;
    }
    let folder = Folder::new("kept");
    let run = || {
        let rt = runtime(&folder.0);
        let x = rt.buffer_from(&[1.0f32, 2.0]).expect("memory");
        let mut y = rt.alloc(2).expect("memory");
        let call = works::on(&rt).args(&x, &mut y);
        call.compile().expect("compiles");
        assert_eq!(call.run().expect("runs").device, Device::Gpu);
        assert_eq!(y.to_vec().expect("content"), [3.0, 6.0]);
    };
    run();
    let kept = folder.names(".pipeline");
    assert!(folder.names(".trial").is_empty());
    // A driver may give nothing away; what it gives is one entry of this form.
    assert!(kept.len() <= 1, "{kept:?}");
    run();
    assert_eq!(folder.names(".pipeline"), kept, "found again");
    for name in &kept {
        let path = folder.0.join(name);
        let whole = std::fs::read(&path).expect("kept");
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("writable");
        run();
        assert!(std::fs::read(&path).expect("kept").len() > whole.len() / 2, "replaced");
    }
}
