//! `crossover ulp`: functions of one `f32`, run by a back end on every number there is and held
//! against the same in `f64`.

mod error;
mod functions;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, bail};
use crossover::{Buffer, Device, Host, Runtime};
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::Serialize;

use error::{BOUND, Verdict, judge};
use functions::{ALL, Function};

/// Numbers in one call.
const BLOCK: usize = 1 << 22;

/// Numbers that one core compares at a time.
const PART: usize = 1 << 14;

/// Where the functions run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Side {
    Cpu,
    Gpu,
}

/// Arguments of `ulp`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The functions; all that there are by default.
    functions: Vec<String>,
    /// Only every so many-th bit pattern.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    step: u32,
    /// The side that computes.
    #[arg(long, value_enum, default_value = "cpu")]
    device: Side,
    /// Also write the results here, as JSON, after each function.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON; the table goes to standard error.
    #[arg(long)]
    json: bool,
}

/// What was found of a function.
#[derive(Debug, Serialize)]
struct Row {
    function: &'static str,
    device: Device,
    /// Every so many-th bit pattern was tried.
    step: u32,
    numbers: u64,
    /// The bound, where there is one.
    bound_ulps: Option<f64>,
    worst_ulps: f64,
    worst_argument: f32,
    worst_argument_bits: u32,
    /// Results of another kind: NaN, infinity or sign.
    mismatches: u64,
    /// The bits of the first argument with such a result.
    mismatch_argument_bits: Option<u32>,
    /// Results that are right where subnormal numbers are zero.
    flushed: u64,
    seconds: f64,
}

impl Row {
    fn is_right(&self) -> bool {
        self.mismatches == 0 && self.bound_ulps.is_none_or(|bound| self.worst_ulps <= bound)
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let functions = chosen(&args.functions)?;
    let rt = super::runtime()?;
    let device = match args.device {
        Side::Cpu => Device::Cpu,
        Side::Gpu => Device::Gpu,
    };
    if let (Device::Gpu, Some(why)) = (device, rt.why_no_gpu()) {
        bail!("there is no GPU: {why}");
    }
    let head =
        "function       numbers  worst ULP  at                            mismatches  seconds";
    super::say(args.json, format_args!("{head}"));
    let mut rows = Vec::new();
    for function in functions {
        let row = sweep(&rt, function, device, args.step)?;
        super::say(args.json, format_args!("{}", line(&row)));
        rows.push(row);
        if let Some(file) = &args.out {
            super::write(file, serde_json::to_string_pretty(&rows)?)?;
        }
    }
    if args.json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    }
    let right = rows.iter().all(Row::is_right);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn chosen(names: &[String]) -> anyhow::Result<Vec<&'static Function>> {
    if names.is_empty() {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        ALL.iter().find(|function| function.name == name).with_context(|| {
            let all: Vec<&str> = ALL.iter().map(|function| function.name).collect();
            format!("there is no function `{name}`; there are {}", all.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// The bound on a function, but where WGSL leaves it to the driver.
fn bound(function: &Function, device: Device) -> Option<f64> {
    let drivers = device == Device::Gpu && matches!(function.name, "sqrt" | "rsqrt");
    (!drivers).then_some(BOUND)
}

/// Runs a function on every `step`-th bit pattern.
fn sweep(rt: &Runtime, function: &Function, device: Device, step: u32) -> anyhow::Result<Row> {
    let start = Instant::now();
    let count = (1u64 << 32).div_ceil(u64::from(step));
    let bar = ProgressBar::new(count);
    let style = "{bar:30} {msg} {percent} % {elapsed} (about {eta} left)";
    bar.set_style(ProgressStyle::with_template(style)?);
    bar.set_message(function.name);
    let mut y: Buffer<f32> = rt.alloc(BLOCK)?;
    let mut found = Found::default();
    let mut done = 0;
    while done < count {
        let len = (count - done).min(BLOCK as u64);
        let first = u32::try_from(done * u64::from(step))?;
        let args = [Host::scalar(rt, first), Host::scalar(rt, step), Host::write(rt, &mut y)];
        let call = Host::call(rt, function.def, &[], &[], args.into_iter().collect());
        let grid = [u32::try_from(len)?, 1, 1];
        call.device(device).threads(rt.threads()).grid(grid).run()?;
        let results = y.read()?;
        let flushes = device == Device::Gpu;
        found = found.and(compare(&results[..len as usize], first, step, function, flushes));
        done += len;
        bar.set_position(done);
    }
    bar.finish_and_clear();
    Ok(Row {
        function: function.name,
        device,
        step,
        numbers: count,
        bound_ulps: bound(function, device),
        worst_ulps: found.worst.0,
        worst_argument: f32::from_bits(found.worst.1),
        worst_argument_bits: found.worst.1,
        mismatches: found.mismatches,
        mismatch_argument_bits: found.mismatch,
        flushed: found.flushed,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// What was found so far.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    /// The largest error, and the bits of its argument.
    worst: (f64, u32),
    mismatches: u64,
    /// The bits of the first argument of a mismatch.
    mismatch: Option<u32>,
    flushed: u64,
}

impl Found {
    fn add(&mut self, x: u32, verdict: Verdict) {
        match verdict {
            Verdict::Off(ulps) if ulps > self.worst.0 => self.worst = (ulps, x),
            Verdict::Off(_) => {}
            Verdict::Flushed => self.flushed += 1,
            Verdict::Mismatch => {
                self.mismatches += 1;
                self.mismatch = self.mismatch.or(Some(x));
            }
        }
    }

    /// Both; `later` is of arguments with greater bits.
    fn and(self, later: Found) -> Found {
        Found {
            worst: if later.worst.0 > self.worst.0 { later.worst } else { self.worst },
            mismatches: self.mismatches + later.mismatches,
            mismatch: self.mismatch.or(later.mismatch),
            flushed: self.flushed + later.flushed,
        }
    }
}

/// Compares a block, on all cores.
fn compare(results: &[f32], first: u32, step: u32, function: &Function, flushes: bool) -> Found {
    let parts = results.par_chunks(PART).enumerate().map(|(part, results)| {
        let mut found = Found::default();
        for (at, &y) in results.iter().enumerate() {
            let x = first + (part * PART + at) as u32 * step;
            found.add(x, judge(f32::from_bits(x), y, function.reference, flushes));
        }
        found
    });
    parts.reduce(Found::default, Found::and)
}

fn line(row: &Row) -> String {
    let at = format!("{:e} ({:#010x})", row.worst_argument, row.worst_argument_bits);
    let Row { function, numbers, worst_ulps, mismatches, seconds, .. } = row;
    let mut line = format!(
        "{function:<8} {numbers:>13}  {worst_ulps:>9.4}  {at:<28}  {mismatches:>10}  {seconds:>7.1}"
    );
    if let Some(bits) = row.mismatch_argument_bits {
        line += &format!("  first at {:e} ({bits:#010x})", f32::from_bits(bits));
    }
    if row.flushed > 0 {
        line += &format!("  {} subnormal numbers taken for zero", row.flushed);
    }
    if row.bound_ulps.is_none() {
        line += "  the driver's own";
    } else if !row.is_right() {
        line += "  BROKEN";
    }
    line
}
