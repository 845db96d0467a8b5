//! `crossover tune`: every layout of a library kernel on the CPU, or on the GPU, checked and timed against
//! the one that is taken by default.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::bail;
use crossover::Def;
use crossover::kernels::exec::{Arg, Executor, Version};
use crossover::kernels::front;
use crossover::kernels::ir::Kernel;
use crossover::kernels::library::{Entry, Input, Step};
use crossover::kernels::passes::optimize;
use crossover::kernels::random::Random;
use crossover::shaders::{self, Gpu, GpuExecutor, GpuOptions};
use crossover_wasm::{Schedule, WasmExecutor};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::case::{refuse_too_large, seed};
use crate::columns::Side::Right;
use crate::columns::Table;
use crate::direct::{chosen, content, slots, time};

/// Arguments of `tune`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel.
    kernel: String,
    /// The size, in the kernel's own unit; `1e6` is understood.
    #[arg(long, value_parser = super::size, allow_negative_numbers = true)]
    n: Option<usize>,
    /// Only these layouts: vectors,rows,unroll,depth and, if lanes are refilled, `,refill`.
    #[arg(long)]
    layout: Vec<Layout>,
    /// On the GPU: workgroups, and points of an invocation.
    #[arg(long, conflicts_with_all = ["layout", "threads"])]
    gpu: bool,
    /// Worker threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Timed runs of each layout, in turns.
    #[arg(long, default_value_t = 9)]
    repetitions: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A layout that was timed.
#[derive(Debug, Serialize)]
struct Timed<'c> {
    /// The names of the numbers, and the numbers.
    layout: BTreeMap<&'c str, &'c str>,
    compile_s: f64,
    median_s: f64,
    /// `None` for a kernel of a program, of whose operations it has a part.
    operations_per_s: Option<f64>,
    /// How many times faster it is than the layout that is taken by default, the first one.
    speedup: f64,
}

/// A layout that is asked for.
#[derive(Clone, Copy, Debug)]
struct Layout(Schedule);

impl std::str::FromStr for Layout {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Layout> {
        let (text, refill) = match text.strip_suffix(",refill") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let numbers = text.split(',').map(str::parse).collect::<Result<Vec<u16>, _>>()?;
        let &[vectors, rows, unroll, depth] = &numbers[..] else {
            anyhow::bail!("a layout is four numbers: vectors,rows,unroll,depth");
        };
        let [vectors, rows, unroll] = [vectors, rows, unroll].map(u8::try_from);
        let (vectors, rows, unroll) = (vectors?, rows?, unroll?);
        Ok(Layout(Schedule { vectors, rows, unroll, depth, refill }))
    }
}

/// A layout and what its runs took.
struct Candidate {
    /// Its numbers, under [`CPU_HEAD`] or [`GPU_HEAD`].
    layout: String,
    version: Arc<dyn Version>,
    compile_s: f64,
    seconds: Vec<f64>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (entry, number) = super::named_kernel(&args.kernel)?;
    let size = args.n.unwrap_or(entry.sizes[1]);
    let kernel = Arc::new(optimize(&front::kernel(entry.kernels()[number], &[], &[])?));
    let mut candidates = match args.gpu {
        true => on_gpu(&kernel)?,
        false => on_cpu(&kernel, &args.layout)?,
    };
    refuse_too_large(entry, size)?;
    let repetitions = args.repetitions.max(1);
    let subject = Subject::new(entry, number, size, args.threads)?;
    let bar = ProgressBar::new((candidates.len() * (1 + repetitions)) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {msg} {elapsed} (about {eta} left)")?);
    bar.set_message("checking");
    let right = subject.check(&candidates, &bar)?;
    let (step, held) = subject.first()?;
    bar.set_message("timing");
    for _ in 0..repetitions {
        for candidate in &mut candidates {
            bar.inc(1);
            let seconds = time(&kernel, &*candidate.version, step.grid, &held, args.threads)?;
            candidate.seconds.push(seconds);
        }
    }
    bar.finish_and_clear();
    let head = if args.gpu { GPU_HEAD } else { CPU_HEAD };
    for candidate in &mut candidates {
        candidate.seconds.sort_by(f64::total_cmp);
    }
    // The operations of a program are those of all its calls.
    let operations = (!entry.is_program()).then(|| (entry.operations)(size));
    let timed = timed(operations, head, &candidates);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&timed)?);
    } else {
        println!("{} at {size}: {}", args.kernel, entry.about);
        print(head, &timed);
    }
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The numbers of a layout on the CPU.
const CPU_HEAD: &str = "vectors  rows  unroll  depth  refill";

/// The numbers of a layout on the GPU.
const GPU_HEAD: &str = "workgroup       points    scanned  staged  lanes  passes";

fn on_cpu(kernel: &Arc<Kernel>, asked: &[Layout]) -> anyhow::Result<Vec<Candidate>> {
    let executor = WasmExecutor::new()?;
    let asked: Vec<Schedule> = asked.iter().map(|layout| layout.0).collect();
    let space = if asked.is_empty() { Schedule::space(kernel) } else { asked };
    let candidate = |schedule: Schedule| {
        let start = Instant::now();
        let version: Arc<dyn Version> = executor.compile_scheduled(kernel, schedule)?;
        let compile_s = start.elapsed().as_secs_f64();
        let Schedule { vectors, rows, unroll, depth, refill } = schedule;
        let layout = format!("{vectors:>7}  {rows:>4}  {unroll:>6}  {depth:>5}  {refill:>6}");
        Ok(Candidate { layout, version, compile_s, seconds: Vec::new() })
    };
    space.into_iter().map(candidate).collect()
}

fn on_gpu(kernel: &Arc<Kernel>) -> anyhow::Result<Vec<Candidate>> {
    let adapter = std::env::var("CROSSOVER_ADAPTER").ok().filter(|name| !name.is_empty());
    let options = GpuOptions { adapter, proves_at_once: true, ..GpuOptions::default() };
    let gpu = Gpu::open(&options)?;
    eprintln!("{} ({})", gpu.info().name, gpu.info().driver);
    let space = shaders::Schedule::space(kernel, gpu.capabilities());
    let executor = GpuExecutor::new(gpu);
    let candidate = |schedule: shaders::Schedule| {
        let start = Instant::now();
        let version: Arc<dyn Version> = executor.prepare(kernel, Some(schedule))?;
        let compile_s = start.elapsed().as_secs_f64();
        let workgroup = schedule.workgroup.map(|n| n.to_string()).join(" × ");
        let points = match schedule.tile {
            Some([x, y]) => format!("{x} × {y}"),
            None => "as usual".to_owned(),
        };
        let staged = match (schedule.stage, schedule.halo) {
            (Some(depth), _) => depth.to_string(),
            (None, Some(true)) => "around".to_owned(),
            (None, _) => "-".to_owned(),
        };
        let lanes = if schedule.subgroups { "yes" } else { "-" };
        let passes = match schedule.single_pass {
            Some(true) => "one",
            Some(false) => "some",
            None => "-",
        };
        let layout = format!(
            "{workgroup:<14}  {points:<8}  {:>7}  {staged:>6}  {lanes:>5}  {passes:>6}",
            schedule.elements
        );
        Ok(Candidate { layout, version, compile_s, seconds: Vec::new() })
    };
    space.into_iter().map(candidate).collect()
}

/// The kernel in question within its benchmark.
struct Subject {
    entry: &'static Entry,
    /// Its number in the entry.
    number: usize,
    size: usize,
    threads: usize,
    inputs: Vec<Input>,
    /// Every kernel of the entry, and what runs those that are not in question.
    kernels: Vec<(Arc<Kernel>, Arc<dyn Version>)>,
}

impl Subject {
    fn new(
        entry: &'static Entry,
        number: usize,
        size: usize,
        threads: usize,
    ) -> anyhow::Result<Subject> {
        let executor = WasmExecutor::new()?;
        let kernel = |def: &&'static Def| -> anyhow::Result<(Arc<Kernel>, Arc<dyn Version>)> {
            let kernel = Arc::new(optimize(&front::kernel(def, &[], &[])?));
            let version: Arc<dyn Version> = executor.compile(&kernel)?;
            Ok((kernel, version))
        };
        let kernels = entry.kernels().iter().map(kernel).collect::<Result<_, _>>()?;
        let inputs = (entry.inputs)(size, &mut Random::new(seed(size)));
        Ok(Subject { entry, number, size, threads, inputs, kernels })
    }

    /// The first call of the kernel, on what the calls before it have left.
    fn first(&self) -> anyhow::Result<(Step, Vec<Arg<'static>>)> {
        let all = slots(&self.inputs)?;
        for step in self.entry.steps(self.size, all.len()) {
            let args = chosen(&step, &all);
            let at = self.entry.kernel_of(&step);
            if at == self.number {
                return Ok((step, args));
            }
            let (kernel, version) = &self.kernels[at];
            time(kernel, &**version, step.grid, &args, self.threads)?;
        }
        bail!("`{}` at {} does not call it", self.entry.name, self.size)
    }

    /// Whether with every layout the benchmark computes its reference.
    fn check(&self, candidates: &[Candidate], bar: &ProgressBar) -> anyhow::Result<bool> {
        let expected = (self.entry.reference)(&self.inputs);
        let mut right = true;
        for candidate in candidates {
            bar.inc(1);
            let all = slots(&self.inputs)?;
            for step in self.entry.steps(self.size, all.len()) {
                let at = self.entry.kernel_of(&step);
                let (kernel, usual) = &self.kernels[at];
                let version = if at == self.number { &candidate.version } else { usual };
                time(kernel, &**version, step.grid, &chosen(&step, &all), self.threads)?;
            }
            for output in &expected {
                let found = content(&self.inputs[output.param], &all[output.param]);
                let Some(found) = found else { continue };
                let wrong = self.entry.tolerance.judge(&output.values, found.into_iter());
                if let Some(wrong) = wrong {
                    right = false;
                    bar.suspend(|| eprintln!("{}: wrong result: {wrong:?}", candidate.layout));
                }
            }
        }
        Ok(right)
    }
}

fn timed<'c>(
    operations: Option<f64>,
    head: &'c str,
    candidates: &'c [Candidate],
) -> Vec<Timed<'c>> {
    let median = |candidate: &Candidate| candidate.seconds[candidate.seconds.len() / 2];
    let default = candidates.first().map_or(0.0, median);
    let one = |candidate: &'c Candidate| Timed {
        layout: columns(head).zip(columns(&candidate.layout)).collect(),
        compile_s: candidate.compile_s,
        median_s: median(candidate),
        operations_per_s: operations.map(|operations| operations / median(candidate)),
        speedup: default / median(candidate),
    };
    candidates.iter().map(one).collect()
}

/// The columns of a line: two blanks or more set them off.
fn columns(line: &str) -> impl Iterator<Item = &str> {
    line.split("  ").map(str::trim).filter(|column| !column.is_empty())
}

fn print(head: &str, timed: &[Timed<'_>]) {
    let numbers = ["compile ms", "median ms", "Gop/s", "default / this"];
    let heads = columns(head).chain(numbers).map(|name| (name, Right));
    let mut table = Table::new(0, heads);
    for timed in timed {
        let mut cells: Vec<String> =
            columns(head).map(|name| timed.layout.get(name).unwrap_or(&"–").to_string()).collect();
        let rate = timed.operations_per_s.map(|rate| format!("{:.2}", rate / 1e9));
        cells.extend([
            format!("{:.2}", timed.compile_s * 1e3),
            format!("{:.4}", timed.median_s * 1e3),
            rate.unwrap_or_else(|| "–".to_owned()),
            format!("{:.2}", timed.speedup),
        ]);
        table.push(cells);
    }
    table.print();
}
