//! `crossover collect`: measures random kernels on both sides for the training set. The kernels of the
//! suites are never in it: the model is judged on what it has not seen.
//!
//! Rows are appended as soon as a kernel is done, so that the command can be stopped in any way and goes on
//! where it was: kernels are numbered, and the file says which are there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use crossover::Runtime;
use crossover::ml::dataset::{Dataset, Row};
use crossover::ml::features::Feature;
use crossover_wasm::WasmExecutor;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::families::{self, FAMILIES};
use crate::layouts;
use crate::sets;
use crate::specimen::{self, Rejected};

/// Arguments of `collect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The training set to append to; with `--merge`, the file to write.
    #[arg(long, default_value = "target/crossover/rows.jsonl")]
    out: PathBuf,
    /// Stop after so many minutes.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Stop after so many kernels of this run.
    #[arg(long)]
    kernels: Option<u64>,
    /// Measure kernels of these families alone.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    families: Vec<String>,
    /// Measure what each of the seven optimisations is worth, run and compiled, on one thread of the CPU alone, and
    /// not where kernels run faster.
    #[arg(long, conflicts_with_all = ["families", "merge", "again"])]
    ablate: bool,
    /// Measure what layouts of the CPU's code take, those whose results are the same, on one thread alone.
    #[arg(long, conflicts_with_all = ["merge", "again", "ablate"])]
    layouts: bool,
    /// The seed of the sequence of kernels.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instead of measuring, write the rows of these sets to one, each row once.
    #[arg(long, num_args = 1.., value_name = "SET")]
    merge: Vec<PathBuf>,
    /// Instead of measuring, describe the kernels of this set anew, as after a change of how features are counted;
    /// times, and what was known of the machine, are kept.
    #[arg(long, value_name = "SET")]
    again: Option<PathBuf>,
    /// Instead of measuring, say what the set covers.
    #[arg(long)]
    coverage: bool,
    /// Print what the set covers as JSON; all else goes to standard error.
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Whether code for the CPU is compared with other code of the same kernel.
    fn of_code(&self) -> bool {
        self.ablate || self.layouts
    }
}

/// What a set covers of a family; of ranges the 5th, 50th and 95th percentile.
#[derive(Debug, Serialize)]
struct Coverage {
    family: String,
    kernels: usize,
    rows: usize,
    /// Rows of which both sides were measured, and in how many of these the GPU is the faster.
    both: usize,
    gpu_wins: usize,
    items: [Option<f64>; 3],
    flops_per_byte: [Option<f64>; 3],
    buffer_bytes: [Option<f64>; 3],
    cpu_s: [Option<f64>; 3],
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if !args.merge.is_empty() {
        return merge(&args.merge, &args.out, args.json);
    }
    if let Some(set) = &args.again {
        return describe(&super::dataset(set)?, &args.out, args.json);
    }
    if !args.coverage {
        measure(args)?;
    }
    let covered = coverage(&super::dataset(&args.out)?);
    match args.json {
        true => println!("{}", serde_json::to_string_pretty(&covered)?),
        false => print!("{}", table(&covered)),
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &Args) -> anyhow::Result<()> {
    let rt = super::runtime()?;
    let executor = WasmExecutor::new()?;
    if let Some(folder) = args.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    super::say(args.json, format_args!("gpu      {}", super::adapter_line(&rt)));
    let first = match args.out.exists() {
        true => next(&super::dataset(&args.out)?, args.seed),
        false => 0,
    };
    let (seed, out) = (args.seed, args.out.display());
    super::say(args.json, format_args!("kernels  from number {first} of seed {seed}, into {out}"));
    let is_wanted = if args.of_code() { wanted(&[])? } else { wanted(&args.families)? };
    let limit = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    let bar = ProgressBar::new(limit.as_secs());
    bar.set_style(ProgressStyle::with_template("{bar:30} {msg} {elapsed}")?);
    let start = Instant::now();
    let most = args.kernels.unwrap_or(u64::MAX);
    let (mut rows, mut kernels, mut number) = (0, 0, first);
    while start.elapsed() < limit && kernels < most {
        if !args.of_code() && !is_wanted[number as usize % FAMILIES.len()] {
            number += 1;
            continue;
        }
        kernels += 1;
        let measured = match args.of_code() {
            true => code(&rt, &executor, args, number)?,
            false => kernel(&rt, args.seed, number)?,
        };
        match measured {
            Ok(measured) => {
                rows += measured.len();
                Dataset::append(&args.out, &measured)?;
            }
            Err(rejected) => bar.suspend(|| {
                super::say(args.json, format_args!("number {number}: {rejected}"));
            }),
        }
        number += 1;
        bar.set_position(start.elapsed().as_secs());
        bar.set_message(format!("{kernels} kernels, {rows} rows"));
    }
    bar.finish_and_clear();
    super::say(args.json, format_args!("{rows} rows of {kernels} kernels appended to {out}"));
    Ok(())
}

/// Which families are measured: those named, or all.
fn wanted(names: &[String]) -> anyhow::Result<[bool; FAMILIES.len()]> {
    for name in names {
        if FAMILIES.iter().all(|(family, _)| family != name) {
            let all: Vec<&str> = FAMILIES.iter().map(|(family, _)| *family).collect();
            bail!("`{name}` is no family; there are {}", all.join(", "));
        }
    }
    Ok(FAMILIES.map(|(family, _)| names.is_empty() || names.iter().any(|name| name == family)))
}

/// Writes the rows of a set with the features that their calls have now. The machine is to be the same.
fn describe(data: &Dataset, out: &Path, is_json: bool) -> anyhow::Result<ExitCode> {
    let rt = super::runtime()?;
    if out.exists() {
        bail!("{} is there already", out.display());
    }
    let bar = ProgressBar::new(data.by_kernel().len() as u64);
    let (mut written, mut passed_over) = (0, 0);
    for (name, numbers) in data.by_kernel() {
        bar.inc(1);
        let measured: Vec<&Row> = numbers.iter().map(|&at| &data.rows()[at]).collect();
        let Some((_, seed, number)) = parts(name) else {
            passed_over += measured.len();
            continue;
        };
        let (_, specimen) = families::kernel(seed, number);
        let mut rng = families::rng(seed, number, 1);
        let rows = specimen::describe(&rt, &specimen, &mut rng, &measured)?;
        written += rows.len();
        passed_over += measured.len() - rows.len();
        Dataset::append(out, &rows)?;
    }
    bar.finish_and_clear();
    let shown = out.display();
    let left_out = format_args!("{passed_over} of other kernels left out");
    super::say(is_json, format_args!("{written} rows in {shown}; {left_out}"));
    Ok(ExitCode::SUCCESS)
}

/// Family, seed and number of a kernel, from its name.
fn parts(kernel: &str) -> Option<(&str, u64, u64)> {
    let (rest, number) = kernel.rsplit_once('-')?;
    let (family, seed) = rest.rsplit_once('-')?;
    Some((family, seed.parse().ok()?, number.parse().ok()?))
}

/// The number after the last kernel of a seed that is in a set.
fn next(data: &Dataset, seed: u64) -> u64 {
    let parts = data.rows().iter().filter_map(|row| parts(&row.kernel));
    parts
        .filter(|(_, of, _)| *of == seed)
        .map(|(_, _, number)| number)
        .max()
        .map_or(0, |last| last + 1)
}

/// What a kernel takes at several sizes.
fn kernel(rt: &Runtime, seed: u64, number: u64) -> anyhow::Result<Result<Vec<Row>, Rejected>> {
    let (family, specimen) = families::kernel(seed, number);
    let name = format!("{family}-{seed}-{number}");
    specimen::measure(rt, family, &name, &specimen, &mut families::rng(seed, number, 1))
}

/// What each optimisation is worth to a kernel at several sizes, or what layouts of its code take.
fn code(
    rt: &Runtime,
    executor: &WasmExecutor,
    args: &Args,
    number: u64,
) -> anyhow::Result<Result<Vec<Row>, Rejected>> {
    let (family, specimen) = match &args.families[..] {
        [] => families::ablated(args.seed, number),
        names => {
            let name = &names[number as usize % names.len()];
            let found = families::of_family(name, args.seed, number);
            found.with_context(|| format!("`{name}` is no family"))?
        }
    };
    let name = format!("{family}-{}-{number}", args.seed);
    let mut rng = families::rng(args.seed, number, 1);
    let measure = if args.layouts { layouts::measure_random } else { sets::measure_random };
    measure(rt, executor, [family, &name], &specimen, &mut rng)
}

/// Writes the rows of several sets to one, whole or not at all.
fn merge(from: &[PathBuf], out: &Path, is_json: bool) -> anyhow::Result<ExitCode> {
    let mut all = Dataset::new();
    for path in from {
        let data = super::dataset(path)?;
        super::say(is_json, format_args!("{:>8} rows of {}", data.len(), path.display()));
        all.merge(&data);
    }
    if out.exists() && !from.iter().any(|path| path == out) {
        bail!("{} is there already, and none of the sets to merge", out.display());
    }
    let part = out.with_extension("part");
    // What an interrupted merge has left.
    match std::fs::remove_file(&part) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| part.display().to_string());
        }
        Ok(()) | Err(_) => {}
    }
    Dataset::append(&part, all.rows())?;
    std::fs::rename(&part, out).with_context(|| out.display().to_string())?;
    super::say(is_json, format_args!("{:>8} rows in {}", all.len(), out.display()));
    Ok(ExitCode::SUCCESS)
}

/// What a set covers, family by family, and in all.
fn coverage(data: &Dataset) -> Vec<Coverage> {
    let known = FAMILIES.iter().map(|(family, _)| *family);
    let others = data.by_family().into_keys().filter(|f| FAMILIES.iter().all(|(k, _)| k != f));
    known.chain(others).chain(["all"]).map(|family| covered(data, family)).collect()
}

fn covered(data: &Dataset, family: &str) -> Coverage {
    let rows = || data.rows().iter().filter(|row| family == "all" || row.family == family);
    let range = |of: &dyn Fn(&Row) -> Option<f64>| spread(rows().filter_map(of).collect());
    let feature = |feature: Feature| range(&|row: &Row| row.features.get(feature));
    let bytes = |row: &Row| {
        Some(row.features.get(Feature::BytesIn)? + row.features.get(Feature::BytesOut)?)
    };
    let kernels: BTreeSet<&str> = rows().map(|row| row.kernel.as_str()).collect();
    let both: Vec<[f64; 2]> =
        rows().filter_map(|row| Some([row.seconds[0]?, row.seconds[1]?])).collect();
    Coverage {
        family: family.to_owned(),
        kernels: kernels.len(),
        rows: rows().count(),
        both: both.len(),
        gpu_wins: both.iter().filter(|[cpu, gpu]| gpu < cpu).count(),
        items: feature(Feature::Items),
        flops_per_byte: feature(Feature::FlopsPerByte),
        buffer_bytes: range(&bytes),
        cpu_s: range(&|row: &Row| row.seconds[0]),
    }
}

/// The same for people.
fn table(covered: &[Coverage]) -> String {
    let mut table = format!(
        "{:<15} {:>7} {:>6} {:>6} {:>21} {:>21} {:>21} {:>21} {:>8}\n",
        "family",
        "kernels",
        "rows",
        "both",
        "items",
        "flops/byte",
        "bytes of buffers",
        "CPU time, µs",
        "GPU wins"
    );
    for line in covered {
        table.push_str(&format!(
            "{:<15} {:>7} {:>6} {:>6} {:>21} {:>21} {:>21} {:>21} {:>6.1} %\n",
            line.family,
            line.kernels,
            line.rows,
            line.both,
            show(line.items, 1.0),
            show(line.flops_per_byte, 1.0),
            show(line.buffer_bytes, 1.0),
            show(line.cpu_s, 1e6),
            100.0 * line.gpu_wins as f64 / line.both.max(1) as f64,
        ));
    }
    table
}

/// The 5th, 50th and 95th percentile.
fn spread(mut values: Vec<f64>) -> [Option<f64>; 3] {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * (values.len() as f64 - 1.0)).round() as usize);
    [0.05, 0.5, 0.95].map(|share| at(share).copied())
}

/// The same in a unit so many times smaller.
fn show(spread: [Option<f64>; 3], factor: f64) -> String {
    let one = |value: Option<f64>| match value.map(|value| value * factor) {
        Some(v) if v >= 100.0 => format!("{v:.1e}"),
        Some(v) => format!("{v:.2}"),
        None => "–".to_owned(),
    };
    spread.map(one).join(" ")
}

#[cfg(test)]
mod tests {
    use super::{coverage, merge, next, table};
    use crossover::ml::Features;
    use crossover::ml::dataset::{Dataset, Row};
    use std::io::Write;

    fn row(kernel: &str, n: u64) -> Row {
        Row::new(kernel, "maps", n, Features::missing(), [Some(2e-6), Some(1e-6)])
    }

    #[test]
    fn collecting_goes_on_behind_the_last_kernel_of_the_seed() {
        let rows = ["maps-1-0", "loops-1-4", "maps-2-9", "random-3", "axpy", "gathers-1-2"];
        let data = Dataset::from_rows(rows.map(|kernel| row(kernel, 1)).into()).expect("rows");
        assert_eq!([1, 2, 3].map(|seed| next(&data, seed)), [5, 10, 0]);
    }

    #[test]
    fn sets_are_merged_each_row_once_even_with_a_torn_line() {
        let folder = std::env::temp_dir().join(format!("crossover-merge-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a writable folder");
        let [a, b, out] = ["a", "b", "c"].map(|name| folder.join(name).with_extension("jsonl"));
        Dataset::append(&a, &[row("maps-1-0", 1), row("maps-1-9", 2)]).expect("written");
        Dataset::append(&b, &[row("maps-1-9", 2), row("maps-1-18", 3)]).expect("written");
        let mut torn = std::fs::OpenOptions::new().append(true).open(&b).expect("it is there");
        torn.write_all(b"{\"kernel\":\"maps-1").expect("written");
        merge(&[a.clone(), b.clone()], &out, false).expect("both can be read");
        assert_eq!(Dataset::load(&out).expect("whole").len(), 3);
        assert!(merge(&[a.clone(), b], &out, false).is_err(), "it would be written over");
        merge(&[a, out.clone()], &out, false).expect("one of them may be the result");
        assert_eq!(Dataset::load(&out).expect("whole").len(), 3);
        std::fs::remove_dir_all(folder).expect("it was made here");
    }

    #[test]
    fn coverage_counts_kernels_rows_and_who_wins() {
        let rows = vec![row("maps-1-0", 1), row("maps-1-0", 2), row("maps-1-9", 2)];
        let table = table(&coverage(&Dataset::from_rows(rows).expect("rows")));
        let line = table.lines().find(|line| line.starts_with("maps")).expect("the family");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1..4], ["2", "3", "3"]);
        assert!(line.ends_with("100.0 %"), "{line}");
    }
}
