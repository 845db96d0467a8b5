//! Machines without a fitting adapter: an error that says what to do, never a panic.

use std::process::Command;

use crossover_shaders::{Gpu, GpuError, GpuOptions, adapters};

/// Set in a process that has no driver.
const CHILD: &str = "CROSSOVER_TEST_WITHOUT_DRIVER";

/// The loader reads its variables when it starts, so the look without a driver is in a process of
/// its own: this test again.
#[test]
fn without_a_driver_there_is_an_error_that_says_what_to_install() {
    if std::env::var_os(CHILD).is_some() {
        assert!(adapters().is_empty());
        let error = Gpu::open(&GpuOptions::default()).expect_err("there is no driver");
        assert_eq!(error, GpuError::NoAdapter { wanted: None, found: Vec::new() });
        assert!(error.to_string().contains("install the driver"), "{error}");
        return;
    }
    let own = std::env::current_exe().expect("a test is a file");
    let name = "without_a_driver_there_is_an_error_that_says_what_to_install";
    let output = Command::new(own)
        .args(["--exact", name])
        .env(CHILD, "1")
        .env("VK_DRIVER_FILES", "/nowhere/driver.json")
        .env("VK_ICD_FILENAMES", "/nowhere/driver.json")
        .output()
        .expect("a test can run itself");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn an_adapter_of_another_name_is_not_found() {
    let wanted = Some("no such adapter".to_owned());
    let error = Gpu::open(&GpuOptions { adapter: wanted.clone(), ..GpuOptions::default() })
        .expect_err("nothing has that name");
    let found = adapters().len();
    let GpuError::NoAdapter { wanted: asked, found: listed } = error else { panic!("{error}") };
    assert_eq!((asked, listed.len()), (wanted, found));
}
