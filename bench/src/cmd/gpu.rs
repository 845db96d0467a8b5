//! `crossover gpu`: what the way to the GPU costs: an empty call against raw wgpu, host memory in place
//! against staging, and the bytes that a chain of kernels moves against the least there is to move.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use crossover::kernels::random::Random;
use crossover::{
    Buffer, Device, GpuMemory, GpuUse, Id, Reason, Runtime, Settings, kernel, show_seconds,
};
use serde::Serialize;

use crate::baseline::RawWgpu;
use crate::columns::{Table, print_all};
use crate::runner::median;

/// Arguments of `gpu`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Timed repetitions of the empty call; of the large ones a tenth.
    #[arg(long, default_value_t = 300)]
    repetitions: usize,
    /// Mebibytes of each buffer that is worked on in place and through staging.
    #[arg(long, default_value_t = 64)]
    mebibytes: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Elements of an empty call.
const EMPTY: usize = 64;

/// Kernels of the chain, and how often the host steps in.
const CHAIN: usize = 32;
const STEP_IN: usize = 4;
const BUFFERS: usize = 8;

#[kernel]
fn empty(id: Id, y: &mut [f32]) {
    y[id.x] = 1.0;
}

#[kernel]
#[expect(clippy::assign_op_pattern, reason = "the formula as everybody knows it")]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = a * x[id.x] + y[id.x];
}

#[kernel]
fn scaled(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] = a * x[id.x];
}

/// What was measured. Times are medians of interleaved repetitions, in seconds.
#[derive(Debug, Serialize)]
struct Found {
    adapter: String,
    software: bool,
    memory: String,
    empty: Empty,
    in_place: Vec<Way>,
    chain: Chain,
}

/// The round trip of a call that does next to nothing.
#[derive(Debug, Serialize)]
struct Empty {
    crossover_s: f64,
    raw_wgpu_s: f64,
    ratio: f64,
}

/// One way to share host memory: from data that is newest on the host to the result on the host.
#[derive(Debug, Serialize)]
struct Way {
    memory: GpuMemory,
    bytes_copied: u64,
    seconds: f64,
}

/// A chain of kernels of mixed sizes, on a GPU that has copies.
#[derive(Debug, Serialize)]
struct Chain {
    kernels: usize,
    bytes_moved: u64,
    bytes_least: u64,
    ratio: f64,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let rt = open(GpuMemory::Imported)?;
    let adapter = rt.adapter().context("there is no GPU")?;
    let repetitions = args.repetitions.max(3);
    let bar = super::spinner("an empty call, there and back");
    let empty = time_empty(&rt, &adapter.name, repetitions)?;
    bar.set_message("buffers in place and staged");
    let in_place = time_ways(&rt, args.mebibytes << 18, (repetitions / 10).max(3))?;
    bar.set_message("the bytes of a chain");
    let chain = chain(&open(GpuMemory::Staged)?)?;
    bar.finish_and_clear();
    let (software, memory) = (adapter.software, adapter.memory);
    let found = Found { adapter: adapter.name, software, memory, empty, in_place, chain };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&found)?);
    } else {
        print(&found, args.mebibytes);
    }
    Ok(ExitCode::SUCCESS)
}

fn open(gpu_memory: GpuMemory) -> anyhow::Result<Runtime> {
    let (settings, _) = Settings::from_env()?;
    let settings = Settings { gpu: GpuUse::Require, gpu_memory, learn: false, ..settings };
    Runtime::builder().settings(settings).build().context("the runtime does not start")
}

fn print(found: &Found, mebibytes: usize) {
    let software = if found.software { " — software: it computes on the CPU" } else { "" };
    println!("{}{software}; it {}\n", found.adapter, found.memory);
    let Empty { crossover_s, raw_wgpu_s, ratio } = &found.empty;
    let heads = ["an empty call, there and back", "time", "of raw wgpu"];
    let mut empty = Table::of_numbers(heads).titled();
    let [ours, raw] = [crossover_s, raw_wgpu_s].map(|time| show_seconds(*time));
    empty.push(vec!["crossover".to_owned(), ours, format!("{ratio:.2}")]);
    empty.push(vec!["raw wgpu".to_owned(), raw, "1".to_owned()]);
    let name = format!("y = a x + y, two buffers of {mebibytes} MiB, from host to host");
    let mut ways =
        Table::of_numbers([name.as_str(), "MiB copied", "time", "of the first"]).titled();
    let best = found.in_place.first().map_or(1.0, |way| way.seconds);
    for Way { memory, bytes_copied, seconds } in &found.in_place {
        ways.push(vec![
            format!("{memory:?}").to_lowercase(),
            format!("{:.1}", *bytes_copied as f64 / f64::from(1 << 20)),
            show_seconds(*seconds),
            format!("{:.2}", seconds / best),
        ]);
    }
    let Chain { kernels, bytes_moved, bytes_least, ratio } = &found.chain;
    let heads = ["kernels in a chain, on copies", "bytes moved", "least", "ratio"];
    let mut chain = Table::of_numbers(heads).titled();
    let [moved, least] = [bytes_moved, bytes_least].map(u64::to_string);
    chain.push(vec![kernels.to_string(), moved, least, format!("{ratio:.3}")]);
    print_all(&[empty, ways, chain]);
}

fn time_empty(rt: &Runtime, adapter: &str, repetitions: usize) -> anyhow::Result<Empty> {
    let mut raw = RawWgpu::open(adapter).map_err(anyhow::Error::msg)?;
    raw.make_empty().map_err(anyhow::Error::msg)?;
    let mut y = rt.alloc::<f32>(EMPTY)?;
    empty::on(rt).args(&mut y).compile()?;
    let (mut ours, mut raws) = (Vec::new(), Vec::new());
    for at in 0..repetitions + 10 {
        let start = Instant::now();
        empty::on(rt).args(&mut y).device(Device::Gpu).run()?;
        let time = start.elapsed().as_secs_f64();
        let raw_time = raw.time().map_err(anyhow::Error::msg)?;
        // The first ones compile and wake.
        if at >= 10 {
            ours.push(time);
            raws.push(raw_time);
        }
    }
    let [crossover_s, raw_wgpu_s] = [&ours, &raws].map(|times| median(times).unwrap_or(f64::NAN));
    Ok(Empty { crossover_s, raw_wgpu_s, ratio: crossover_s / raw_wgpu_s })
}

/// The ways to share host memory that this adapter has, the best first, in turns.
fn time_ways(best: &Runtime, elements: usize, repetitions: usize) -> anyhow::Result<Vec<Way>> {
    let others = [GpuMemory::Mapped, GpuMemory::Staged];
    let mut runtimes = Vec::new();
    for memory in others {
        runtimes.push((memory, open(memory)?));
    }
    let mut ways: Vec<(GpuMemory, &Runtime)> = vec![(GpuMemory::Imported, best)];
    ways.extend(runtimes.iter().map(|(memory, rt)| (*memory, rt)));
    // An adapter that lacks one takes the next: each is shown once, by its own name.
    let kind = |rt: &Runtime| rt.adapter().map(|adapter| adapter.memory);
    ways.dedup_by(|b, a| {
        let lead =
            |text: Option<String>| text.map(|t| t.split(':').next().unwrap_or("").to_owned());
        lead(kind(a.1)) == lead(kind(b.1))
    });
    let mut cases = Vec::new();
    for (memory, rt) in ways {
        let (x, y) = (rt.buffer_from(&vec![1.0; elements])?, rt.buffer_from(&vec![2.0; elements])?);
        axpy::on(rt).args(0.5, &x, &mut rt.alloc(1)?).compile()?;
        cases.push((memory, rt, x, y, Vec::new(), 0));
    }
    for at in 0..=repetitions {
        for (_, rt, x, y, times, copied) in &mut cases {
            let before = moved(rt);
            drop(x.write()?);
            drop(y.write()?);
            let start = Instant::now();
            axpy::on(*rt).args(0.5, &*x, &mut *y).device(Device::Gpu).run()?;
            drop(y.read()?);
            if at > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
            *copied = moved(rt) - before;
        }
    }
    let way = |(memory, _, _, y, times, bytes_copied): (_, _, _, Buffer<f32>, Vec<f64>, u64)| {
        let expected = 2.0 + 0.5 * (repetitions + 1) as f32;
        anyhow::ensure!(y.read()?.iter().all(|&v| v == expected), "a wrong result");
        Ok(Way { memory, bytes_copied, seconds: median(&times).unwrap_or(f64::NAN) })
    };
    cases.into_iter().map(way).collect()
}

fn moved(rt: &Runtime) -> u64 {
    Reason::ALL.map(|reason| rt.copied(reason).bytes).iter().sum()
}

/// Which side has the newest of an element: the host, the GPU.
type Has = [bool; 2];

/// Buffers, and for each of their elements who has it: what moves at least.
struct Model {
    has: Vec<Vec<Has>>,
    moved: usize,
}

impl Model {
    /// A side looks at elements: those that it lacks have to move.
    fn looks(&mut self, side: usize, buffer: usize, range: std::ops::Range<usize>) {
        for has in &mut self.has[buffer][range] {
            self.moved += usize::from(!has[side]);
            has[side] = true;
        }
    }

    /// A side overwrites elements.
    fn writes(&mut self, side: usize, buffer: usize, range: std::ops::Range<usize>) {
        let own = [side == HOST, side == GPU];
        self.has[buffer][range].fill(own);
    }
}

const HOST: usize = 0;
const GPU: usize = 1;

/// Runs the chain on a GPU that has copies, and holds what was moved against the least: an element moves when
/// a side looks at it that does not have its newest value.
fn chain(rt: &Runtime) -> anyhow::Result<Chain> {
    let mut rng = Random::new(0xc4a1);
    let sizes = [1 << 10, 1 << 14, 1 << 18, 1 << 20];
    let mut buffers = Vec::new();
    for at in 0..BUFFERS {
        buffers.push(rt.buffer_from(&vec![at as f32; sizes[at % sizes.len()]])?);
    }
    let lens: Vec<usize> = buffers.iter().map(Buffer::len).collect();
    let mut least =
        Model { has: lens.iter().map(|&len| vec![[true, false]; len]).collect(), moved: 0 };
    let before = moved(rt);
    for at in 0..CHAIN {
        let (a, b) = (rng.below(BUFFERS), rng.below(BUFFERS - 1));
        let b = if b >= a { b + 1 } else { b };
        let (from, to) = if lens[a] < lens[b] { (b, a) } else { (a, b) };
        let [x, y] = buffers.get_disjoint_mut([from, to]).map_err(anyhow::Error::msg)?;
        least.looks(GPU, from, 0..lens[to]);
        // A kernel in four overwrites its result, the others add to it.
        if rng.below(4) == 0 {
            scaled::on(rt).args(0.5, &*x, y).device(Device::Gpu).run()?;
        } else {
            least.looks(GPU, to, 0..lens[to]);
            axpy::on(rt).args(0.5, &*x, y).device(Device::Gpu).run()?;
        }
        least.writes(GPU, to, 0..lens[to]);
        if at % STEP_IN == STEP_IN - 1 {
            // The host puts new values into a hundredth of one buffer, and looks at half of another.
            let (part, half) = (lens[from] / 100, lens[to] / 2);
            buffers[from].put(0, &vec![1.0; part])?;
            least.writes(HOST, from, 0..part);
            drop(buffers[to].read_range(0..half)?);
            least.looks(HOST, to, 0..half);
        }
    }
    let (bytes_moved, bytes_least) = (moved(rt) - before, 4 * least.moved as u64);
    let ratio = bytes_moved as f64 / bytes_least as f64;
    Ok(Chain { kernels: CHAIN, bytes_moved, bytes_least, ratio })
}
