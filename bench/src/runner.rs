//! Running a plan: every kernel and size on every side, checked, then timed in turns.
//!
//! For each kernel and size: the prediction before the first run; a few calls that the scheduler
//! places itself; a checked run on each side; then repetitions on each side in turns, so that a slow
//! moment of the machine hits all sides alike. Times are medians, from the call to the result on the
//! host, with inputs newest on the host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossover::kernels::library::{Entry, Input};
use crossover::{Device, Error, Explanation, Runtime};

use crate::case::Case;
use crate::native;
use crate::report::model::Row;

/// Calls that the scheduler places before its choice is taken down.
const PLACED_CALLS: usize = 6;

/// Repetitions on each side, at least and at most.
const REPETITIONS: [usize; 2] = [3, 25];

/// Time for the repetitions of one side.
const BUDGET: Duration = Duration::from_millis(250);

/// Calls that take longer than this are made only once before they are timed.
const LONG: f64 = 0.5;

/// How to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Also time plain Rust over rayon.
    pub(crate) native: bool,
    /// Set from outside to stop after the repetition at hand.
    pub(crate) stop: std::sync::Arc<AtomicBool>,
}

impl Options {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Measures a kernel at a size; `None` when stopped before there was anything to report.
pub(crate) fn run(
    rt: &Runtime,
    entry: &'static Entry,
    size_name: &str,
    size: usize,
    options: &Options,
) -> anyhow::Result<Option<Row>> {
    let mut case = Case::new(rt, entry, size)?;
    case.call().compile()?;
    let first = case.call().explain()?;
    let mut row = new_row(entry, size_name, size, &first);
    let mut sides = [Side::default(), Side::default(), Side::default()];
    check(&mut case, &mut row, &mut sides, options)?;
    place(&mut case, &mut row, options)?;
    let mut natives = options.native.then(|| case.inputs.clone());
    time(&mut case, &mut sides, natives.as_deref_mut(), options)?;
    if sides.iter().all(|side| side.times.is_empty()) {
        return Ok(None);
    }
    finish(&mut row, sides);
    Ok(Some(row))
}

/// What is known of a side.
#[derive(Default)]
struct Side {
    /// Why it does not run.
    why: Option<String>,
    /// Seconds of the checked run.
    once_s: f64,
    times: Vec<f64>,
    run_times: Vec<f64>,
}

fn new_row(entry: &Entry, size_name: &str, size: usize, first: &Explanation) -> Row {
    let of = |device: Device| first.estimates.iter().find(|e| e.device == device);
    let total = |device| of(device).map(crossover::Estimate::total_s);
    let interval =
        |device| of(device).map(|e| [e.run_low_s, e.run_high_s].map(|s| s + e.transfer_s));
    Row {
        kernel: entry.name.to_owned(),
        about: entry.about.to_owned(),
        size: size_name.to_owned(),
        n: size as u64,
        unit: entry.unit.to_owned(),
        operations: (entry.operations)(size),
        wasm_s: None,
        wasm_why: None,
        gpu_s: None,
        gpu_run_s: None,
        gpu_why: None,
        native_s: None,
        native_why: None,
        spread: [None; 3],
        predicted_wasm_s: total(Device::Cpu),
        predicted_wasm_interval: interval(Device::Cpu),
        predicted_gpu_s: total(Device::Gpu),
        predicted_gpu_interval: interval(Device::Gpu),
        chosen_first: first.chosen,
        chosen: first.chosen,
        why: first.why.to_string(),
        oracle: None,
        regret: None,
        regret_first: None,
        verified: false,
        wrong: None,
        bytes_copied: 0,
        repetitions: 0,
    }
}

/// Runs every side once, and holds its result against the reference.
fn check(
    case: &mut Case<'_>,
    row: &mut Row,
    sides: &mut [Side; 3],
    options: &Options,
) -> anyhow::Result<()> {
    for device in Device::ALL {
        case.reset()?;
        let side = &mut sides[device as usize];
        match case.round_trip(|call| call.device(device)) {
            Ok((_, seconds)) => side.once_s = seconds,
            Err(error) => {
                side.why = Some(error.to_string());
                continue;
            }
        }
        if device == Device::Gpu {
            row.bytes_copied = case.last_bytes();
        }
        if let Some(wrong) = case.judge()? {
            row.wrong = Some(format!("{device}: {wrong}"));
        }
    }
    let native = &mut sides[2];
    if options.native {
        let mut args = case.inputs.clone();
        let start = Instant::now();
        match native::run(case.entry.name, &mut args) {
            Some(()) => native.once_s = start.elapsed().as_secs_f64(),
            None => native.why = Some("no native body of this kernel".to_owned()),
        }
        if native.why.is_none()
            && let Some(wrong) = case.judge_inputs(&args)
        {
            row.wrong = Some(format!("native: {wrong}"));
        }
    } else {
        native.why = Some("not asked for: --against native".to_owned());
    }
    row.verified = row.wrong.is_none();
    Ok(())
}

/// Lets the scheduler place some calls; takes down where the last went and why.
fn place(case: &mut Case<'_>, row: &mut Row, options: &Options) -> Result<(), Error> {
    for at in 0..PLACED_CALLS {
        if options.is_stopped() {
            return Ok(());
        }
        let (outcome, seconds) = case.round_trip(|call| call)?;
        if seconds > LONG && at > 0 {
            row.chosen = outcome.device;
            break;
        }
    }
    let settled = case.call().explain()?;
    row.chosen = settled.chosen;
    row.why = settled.why.to_string();
    Ok(())
}

/// Times the sides in turns.
fn time(
    case: &mut Case<'_>,
    sides: &mut [Side; 3],
    mut natives: Option<&mut [Input]>,
    options: &Options,
) -> Result<(), Error> {
    let slowest = sides.iter().filter(|s| s.why.is_none()).map(|s| s.once_s).fold(1e-7, f64::max);
    let fits = (BUDGET.as_secs_f64() / slowest) as usize;
    let repetitions = fits.clamp(REPETITIONS[0], REPETITIONS[1]);
    for _ in 0..repetitions {
        for device in Device::ALL {
            let side = &mut sides[device as usize];
            if side.why.is_some() || options.is_stopped() {
                continue;
            }
            let (outcome, seconds) = case.round_trip(|call| call.device(device))?;
            side.times.push(seconds);
            side.run_times.push(outcome.measured.run_s);
        }
        let native = &mut sides[2];
        if let Some(args) = natives.as_deref_mut()
            && native.why.is_none()
            && !options.is_stopped()
        {
            let start = Instant::now();
            native::run(case.entry.name, args);
            native.times.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(())
}

fn finish(row: &mut Row, sides: [Side; 3]) {
    let [cpu, gpu, native] = sides;
    row.repetitions = cpu.times.len().max(gpu.times.len());
    row.spread = [&cpu, &gpu, &native].map(|side| spread(&side.times));
    (row.wasm_s, row.wasm_why) = (median(&cpu.times), cpu.why);
    (row.gpu_s, row.gpu_why) = (median(&gpu.times), gpu.why);
    row.gpu_run_s = median(&gpu.run_times);
    (row.native_s, row.native_why) = (median(&native.times), native.why);
    if let (Some(wasm), Some(gpu)) = (row.wasm_s, row.gpu_s) {
        let oracle = if gpu < wasm { Device::Gpu } else { Device::Cpu };
        let best = wasm.min(gpu);
        row.oracle = Some(oracle);
        row.regret = row.seconds(row.chosen).map(|s| s / best);
        row.regret_first = row.seconds(row.chosen_first).map(|s| s / best);
    }
}

fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

fn spread(times: &[f64]) -> Option<[f64; 2]> {
    let least = times.iter().copied().reduce(f64::min)?;
    Some([least, times.iter().copied().fold(least, f64::max)])
}
