//! How soon a process has its first result on the CPU, and what that time is spent on:
//! `cargo run --release -p crossover --example first_result`, twice, the second time with the compiled
//! kernel in the cache. `CROSSOVER_CACHE=off` shows what the cache is worth.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crossover::{Error, GpuUse, Id, Runtime, Settings, kernel};

#[kernel]
fn saxpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

fn main() -> Result<(), Error> {
    let main = Instant::now();
    let before = since_start();
    let mut settings = Settings { gpu: GpuUse::Off, ..Settings::default() };
    settings.apply_env()?;
    settings.gpu = GpuUse::Off;
    let rt = Runtime::builder().settings(settings).build()?;
    let built = main.elapsed();
    let x = rt.buffer_from(&[1.0; 1000])?;
    let mut y = rt.buffer_from(&[1.0; 1000])?;
    let filled = main.elapsed();
    let call = saxpy::on(&rt).args(2.0, &x, &mut y);
    call.compile()?;
    let compiled = main.elapsed();
    call.run()?;
    let ran = main.elapsed();
    assert_eq!(y.read()?[999], 3.0);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    if let Some(before) = before {
        println!("before main  {:>7.2} ms", ms(before));
    }
    println!("runtime      {:>7.2} ms", ms(built));
    println!("buffers      {:>7.2} ms", ms(filled - built));
    println!("compile      {:>7.2} ms", ms(compiled - filled));
    println!("first call   {:>7.2} ms", ms(ran - compiled));
    println!("in all       {:>7.2} ms", ms(before.unwrap_or_default() + ran));
    Ok(())
}

/// Time since the process was started, if whoever did has left the time in `STARTED_NS`, as
/// `STARTED_NS=$(date +%s%N)` does in a shell.
fn since_start() -> Option<Duration> {
    let started: u64 = std::env::var("STARTED_NS").ok()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(Duration::from_nanos(started))
}
