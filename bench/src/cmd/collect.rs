//! `crossover collect`: measures random kernels on both sides for the training set. The kernels of the
//! suites are never in it: the model is judged on what it has not seen.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use crossover::kernels::interp::Data;
use crossover::kernels::ir::{Kernel, ParamKind, Type};
use crossover::kernels::random::{self, Random};
use crossover::ml::dataset::{Dataset, Row};
use crossover::{Buffer, Device, DynArg, Runtime};
use indicatif::{ProgressBar, ProgressStyle};

/// Arguments of `collect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The training set to append to.
    #[arg(long, default_value = "target/crossover/rows.jsonl")]
    out: PathBuf,
    /// Stop after so many minutes.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// The seed of the first kernel; later ones follow.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Grid sizes for each kernel: one drawn from each decade of these.
const SIZES: [[u32; 2]; 5] = [
    [200, 2_000],
    [2_000, 20_000],
    [20_000, 200_000],
    [200_000, 1_000_000],
    [1_000_000, 4_000_000],
];

/// Repetitions on each side; the median counts.
const REPETITIONS: usize = 3;

/// A size that took longer than this on either side is the kernel's last.
const LONG_S: f64 = 0.25;

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let rt = super::runtime()?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    println!("gpu  {}", super::adapter_line(&rt));
    let limit = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    let bar = ProgressBar::new(limit.as_secs());
    bar.set_style(ProgressStyle::with_template("{bar:30} {msg} {elapsed}")?);
    let start = Instant::now();
    let (mut rows, mut kernels) = (0, 0);
    while start.elapsed() < limit {
        let measured = kernel(&rt, args.seed + kernels)?;
        kernels += 1;
        rows += measured.len();
        Dataset::append(&args.out, &measured)?;
        bar.set_position(start.elapsed().as_secs());
        bar.set_message(format!("{kernels} kernels, {rows} rows"));
    }
    bar.finish_and_clear();
    println!("{rows} rows of {kernels} kernels appended to {}", args.out.display());
    Ok(ExitCode::SUCCESS)
}

/// What a random kernel takes at several sizes.
fn kernel(rt: &Runtime, seed: u64) -> anyhow::Result<Vec<Row>> {
    let mut rng = Random::new(seed);
    let options = random::Options {
        size: 10 + rng.below(90),
        transcendental: rng.chance(50),
        exact: false,
        types: types(&mut rng),
        ..random::Options::default()
    };
    let kernel = random::kernel(&mut rng, &options);
    let handle = rt.adopt(kernel.clone(), format!("random-{seed}"));
    let mut rows = Vec::new();
    for [low, high] in SIZES {
        let n = low + rng.below((high - low) as usize) as u32;
        let Some(row) = size(rt, &handle, &kernel, &mut rng, n, seed)? else { break };
        let slowest = row.seconds.iter().flatten().copied().fold(0.0, f64::max);
        rows.push(row);
        if slowest > LONG_S {
            break;
        }
    }
    Ok(rows)
}

/// Mostly 32-bit kernels: what GPUs are given.
fn types(rng: &mut Random) -> Vec<Type> {
    if rng.chance(80) {
        vec![Type::F32, Type::I32, Type::U32, Type::Bool]
    } else {
        Type::ALL.to_vec()
    }
}

fn size(
    rt: &Runtime,
    handle: &crossover::Handle,
    kernel: &Kernel,
    rng: &mut Random,
    n: u32,
    seed: u64,
) -> anyhow::Result<Option<Row>> {
    let (data, grid) = random::arguments(rng, kernel, n, random::Floats::Normal);
    let mut held = hold(rt, kernel, data)?;
    let explained = rt.call_handle(handle, &mut held).grid(grid).device(Device::Cpu).explain()?;
    let mut seconds = [None; 2];
    for device in Device::ALL {
        if device == Device::Gpu && rt.adapter().is_none() {
            continue;
        }
        let mut times = Vec::new();
        for _ in 0..=REPETITIONS {
            match rt.call_handle(handle, &mut held).grid(grid).device(device).run() {
                Ok(outcome) => times.push(outcome.measured.run_s),
                // Not every kernel is legal on every adapter.
                Err(_) => break,
            }
        }
        if times.len() > REPETITIONS {
            // The first compiles and uploads.
            times.remove(0);
            times.sort_by(f64::total_cmp);
            seconds[device as usize] = Some(times[times.len() / 2].max(1e-9));
        }
    }
    if seconds[0].is_none() {
        return Ok(None);
    }
    let items: u64 = grid.iter().map(|&g| u64::from(g)).product();
    let row = Row::new(format!("random-{seed}"), "random", items, explained.features, seconds);
    Ok(Some(row))
}

fn hold(rt: &Runtime, kernel: &Kernel, data: Vec<Data>) -> anyhow::Result<Vec<DynArg>> {
    let params = &kernel.entry.params;
    data.into_iter()
        .zip(params)
        .map(|(data, param)| {
            Ok(match (data, param.kind) {
                (Data::Scalar(c), _) => DynArg::Scalar(c),
                (Data::Narrow(v), ParamKind::Buffer { element: Type::F32, .. }) => {
                    DynArg::F32(from(rt, v.into_iter().map(f32::from_bits))?)
                }
                (Data::Narrow(v), ParamKind::Buffer { element: Type::I32, .. }) => {
                    DynArg::I32(from(rt, v.into_iter().map(|b| b as i32))?)
                }
                (Data::Narrow(v), _) => DynArg::U32(from(rt, v.into_iter())?),
                (Data::Wide(v), ParamKind::Buffer { element: Type::F64, .. }) => {
                    DynArg::F64(from(rt, v.into_iter().map(f64::from_bits))?)
                }
                (Data::Wide(v), ParamKind::Buffer { element: Type::I64, .. }) => {
                    DynArg::I64(from(rt, v.into_iter().map(|b| b as i64))?)
                }
                (Data::Wide(v), _) => DynArg::U64(from(rt, v.into_iter())?),
            })
        })
        .collect()
}

fn from<T: crossover::Element>(
    rt: &Runtime,
    values: impl Iterator<Item = T>,
) -> Result<Buffer<T>, crossover::Error> {
    rt.buffer_from(&values.collect::<Vec<T>>())
}
