//! What `#[kernel]` adds to the compile time of a crate: `cargo run --example compile_cost`.
//!
//! Writes a crate of 200 kernels of 15 lines, and the same crate without the attribute, into the
//! target folder. Checks both in turns, each time after a change, with cargo's default profile, and
//! prints the medians and their difference for one kernel. On a machine with other work the fastest
//! runs tell more.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const KERNELS: u32 = 200;
const ROUNDS: usize = 11;

fn main() -> Result<(), Box<dyn Error>> {
    let root = workspace()?;
    let (with, without) = ("with", "without");
    for (name, attribute) in [(with, "#[kernel]\n"), (without, "")] {
        fs::write(root.join(name).join("src/lib.rs"), source(attribute))?;
    }
    // Once for the dependencies.
    for name in [with, without] {
        check(&root, name)?;
    }
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        for (name, times) in [with, without].into_iter().zip(&mut times) {
            let path = root.join(name).join("src/lib.rs");
            let text = fs::read_to_string(&path)?;
            fs::write(&path, format!("{text}// Round {round}.\n"))?;
            times.push(check(&root, name)?);
        }
    }
    let [with, without] = times.map(Spread::of);
    println!("with #[kernel]     {with}");
    println!("without            {without}");
    let [median, fastest] =
        [with.median.saturating_sub(without.median), with.fastest.saturating_sub(without.fastest)]
            .map(|extra| 1e3 * extra.as_secs_f64() / f64::from(KERNELS));
    println!("for one kernel     {median:.2} ms (by the fastest {fastest:.2} ms)");
    Ok(())
}

/// A workspace of two crates in the target folder, with the locked versions of this one.
fn workspace() -> Result<PathBuf, Box<dyn Error>> {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => PathBuf::from(target),
        None => crate_root.join("../target"),
    };
    let root = target.join("compile-cost");
    for name in ["with", "without"] {
        fs::create_dir_all(root.join(name).join("src"))?;
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition = \"2024\"\n\n[dependencies]\n\
             crossover = {{ package = \"crossover-kernels\", path = {crate_root:?} }}\n"
        );
        fs::write(root.join(name).join("Cargo.toml"), manifest)?;
    }
    let manifest = "[workspace]\nresolver = \"3\"\nmembers = [\"with\", \"without\"]\n";
    fs::write(root.join("Cargo.toml"), manifest)?;
    fs::copy(crate_root.join("../Cargo.lock"), root.join("Cargo.lock"))?;
    Ok(root)
}

/// The crate: generic kernels with loops, branches and a helper.
fn source(attribute: &str) -> String {
    let mut text = String::from("#![allow(unused)]\nuse crossover::{Float, Id, kernel};\n");
    write!(
        text,
        "\n{attribute}pub fn helper<T: Float>(a: T, b: T) -> T {{
    if a < b {{ a * b + a }} else {{ a - b }}
}}\n"
    )
    .expect("a string takes any text");
    for k in 0..KERNELS {
        let (stride, trips, last) = (k % 7 + 2, k % 5 + 3, k % 6 + 4);
        write!(
            text,
            "\n{attribute}pub fn k{k}<T: Float>(id: Id, n: usize, a: T, x: &[T], w: &[T], y: &mut [T]) {{
    let i = id.x;
    if i >= n {{
        return;
    }}
    let mut acc = T::lit({k}.5);
    for j in 0..{trips} {{
        let p = x[i * {stride} + j];
        let q = w[j] * a + p;
        if q > acc {{
            acc += p * q - a;
        }} else {{
            acc = helper(acc, q) / w[j];
        }}
    }}
    let mut m = 1usize;
    while m < {last} {{
        acc = acc + y[i] * acc;
        m = m * 2;
    }}
    y[i] = acc - a * x[i];
}}\n"
        )
        .expect("a string takes any text");
    }
    text
}

fn check(root: &Path, name: &str) -> Result<Duration, Box<dyn Error>> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["check", "--quiet", "--offline", "-p", name]).current_dir(root);
    command.env("CARGO_TARGET_DIR", root.join("target"));
    let start = Instant::now();
    let output = command.output()?;
    let time = start.elapsed();
    if output.status.success() {
        return Ok(time);
    }
    Err(format!("`{name}`: {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// Median and extremes of some times.
struct Spread {
    median: Duration,
    fastest: Duration,
    slowest: Duration,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Spread {
        times.sort();
        let (fastest, slowest) = (times[0], times[times.len() - 1]);
        Spread { median: times[times.len() / 2], fastest, slowest }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, fastest, slowest] =
            [self.median, self.fastest, self.slowest].map(|time| time.as_millis());
        write!(f, "{median} ms ({fastest} to {slowest})")
    }
}
