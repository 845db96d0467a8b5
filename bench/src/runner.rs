//! Running a plan: every kernel and size on every side, checked, then timed in turns.
//!
//! For each kernel and size: the prediction before the first run; a few calls that the scheduler
//! places itself; a checked run on each side; then repetitions on each side in turns, so that a slow
//! moment of the machine hits all sides alike. A quick call is made once before it is timed: what the
//! side before it left in the caches is not its affair. Calls on the CPU that take no longer than the
//! clock needs to be exact are timed in rows, ours and the baselines' alike. Times are medians, from the
//! call to the result on the host, with inputs newest on the host.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossover::kernels::library::Entry;
use crossover::record::{self, Recorded, Recorder};
use crossover::{Device, Error, Estimate, Explanation, Row as LedgerRow, Runtime, Why};

use crate::baseline::{Baseline, Baselines, Fault};
use crate::case::{Case, Ran};
use crate::report::model::{CALLS_SHOWN, Program, Row};

/// Calls that the scheduler places before its choice is taken down.
const PLACED_CALLS: usize = 6;

/// Trials in a row that are waited for.
const TRIALS_MAX: usize = 16;

/// Repetitions on each side, at least and at most.
const REPETITIONS: [usize; 2] = [3, 51];

/// Repetitions of what is recorded, at least: policies are judged on it after they have learned, and one trial among
/// a handful of calls would be all of the verdict.
const RECORDED: usize = 24;

/// Time for the repetitions of one side.
const BUDGET: Duration = Duration::from_millis(500);

/// Calls, and time, after which the GPU side knows its forms, which are compiled beside calls.
const SETTLING: (usize, Duration) = (12, Duration::from_millis(100));

/// Calls that take longer than this are made only once before they are timed.
const LONG: f64 = 0.5;

/// Calls that take less than this are made once before each that is timed.
pub(crate) const QUICK: f64 = 5e-3;

/// Time that a row of calls on the CPU takes at least, and the most calls of a row.
const ROW: (f64, f64) = (2e-5, 64.0);

/// The two sides, then the baselines.
const SIDES: usize = Device::ALL.len() + Baseline::ALL.len();

/// How to run.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Set from outside to stop after the repetition at hand.
    pub(crate) stop: std::sync::Arc<AtomicBool>,
    /// Where timed calls are written down, if they are.
    pub(crate) recorder: Option<std::sync::Arc<Recorder>>,
}

impl Options {
    /// Whether to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// Measures a kernel at a size; `None` when stopped before there was anything to report.
pub(crate) fn run(
    rt: &Runtime,
    entry: &'static Entry,
    size_name: &str,
    size: usize,
    mut baselines: Option<&mut Baselines>,
    options: &Options,
) -> anyhow::Result<Option<Row>> {
    let mut case = Case::new(rt, entry, size)?;
    let first_call = rt.ledger().last().map_or(0, |row| row.call + 1);
    case.compile()?;
    let first = case.explain()?;
    let mut row = new_row(entry, size_name, size, &first);
    let mut sides: [Side; SIDES] = Default::default();
    let mut placed = Side::default();
    check(&mut case, &mut row, &mut sides)?;
    check_baselines(&case, &mut row, &mut sides, baselines.as_deref_mut());
    row.verified = row.wrong.is_none();
    place(&mut case, &mut row, options)?;
    time(&mut case, &mut sides, &mut placed, baselines, options)?;
    if sides.iter().all(|side| side.times.is_empty()) {
        return Ok(None);
    }
    // A record is of calls, each with what it took: a run of several is no row of it.
    if let (Some(recorder), [first]) = (&options.recorder, &first[..]) {
        record(recorder, first, &sides);
    }
    finish(&mut row, &mut sides, &placed);
    // The calls of a program are of several kernels and shapes: their numbers say nothing of learning.
    if first.len() == 1 {
        row.errors = errors(rt, first_call);
    }
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

impl Side {
    fn runs(&self) -> bool {
        self.why.is_none()
    }

    /// Whether it is timed in this turn; where turns are recorded, in all of these at least.
    fn takes(&self, turn: usize, recorded: usize) -> bool {
        turn < repetitions(self.once_s).max(recorded)
    }

    fn is_quick(&self) -> bool {
        self.newest_s() < QUICK
    }

    fn newest_s(&self) -> f64 {
        self.times.last().copied().unwrap_or(self.once_s)
    }

    /// Calls of a row on this device. One on a GPU: later calls would find their data there.
    fn row(&self, device: Device) -> u32 {
        match device {
            Device::Cpu => row_of(self.newest_s()),
            Device::Gpu => 1,
        }
    }
}

/// Calls of a row on the CPU of which one takes so long.
pub(crate) fn row_of(seconds: f64) -> u32 {
    (ROW.0 / seconds).ceil().clamp(1.0, ROW.1) as u32
}

/// Where a baseline is among the sides.
fn place_of(baseline: Baseline) -> usize {
    Device::ALL.len() + baseline as usize
}

fn new_row(entry: &Entry, size_name: &str, size: usize, first: &[Explanation]) -> Row {
    // What is predicted is a call: of a run of several nobody is asked for the time.
    let only = match first {
        [only] if !entry.is_program() => Some(only),
        _ => None,
    };
    let of = |device: Device| only.and_then(|e| e.estimates.iter().find(|e| e.device == device));
    let total = |device| of(device).map(crossover::Estimate::total_s);
    let interval =
        |device| of(device).map(|e| [e.run_low_s, e.run_high_s].map(|s| s + e.transfer_s));
    let on_gpu = first.iter().filter(|e| e.chosen == Device::Gpu).count();
    let chosen = most(on_gpu, first.len());
    let names = entry.kernels().iter().map(|def| def.name.to_owned());
    let program = entry.is_program().then(|| Program {
        kernels: names.collect(),
        calls: first.len(),
        on_gpu,
        placed_s: None,
    });
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
        native_default_s: None,
        native_default_why: None,
        native_128_s: None,
        native_128_why: None,
        raw_wgpu_s: None,
        raw_wgpu_why: None,
        spread: Vec::new(),
        samples: Vec::new(),
        errors: Vec::new(),
        predicted_wasm_s: total(Device::Cpu),
        predicted_wasm_interval: interval(Device::Cpu),
        predicted_gpu_s: total(Device::Gpu),
        predicted_gpu_interval: interval(Device::Gpu),
        chosen_first: chosen,
        chosen,
        why: first.first().map_or_else(String::new, |first| first.why.to_string()),
        oracle: None,
        regret: None,
        regret_first: None,
        verified: false,
        wrong: None,
        bytes_copied: 0,
        repetitions: 0,
        program,
    }
}

/// The side of most of so many calls.
pub(crate) fn most(on_gpu: usize, calls: usize) -> Device {
    if 2 * on_gpu > calls { Device::Gpu } else { Device::Cpu }
}

/// Runs both sides once, and holds its result against the reference.
fn check(case: &mut Case<'_>, row: &mut Row, sides: &mut [Side; SIDES]) -> anyhow::Result<()> {
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
    Ok(())
}

/// The same of the baselines.
fn check_baselines(
    case: &Case<'_>,
    row: &mut Row,
    sides: &mut [Side; SIDES],
    baselines: Option<&mut Baselines>,
) {
    let Some(baselines) = baselines else {
        let why = "not asked for with --against";
        return sides[Device::ALL.len()..].iter_mut().for_each(|s| s.why = Some(why.to_owned()));
    };
    baselines.prepare(case);
    for baseline in Baseline::ALL {
        let side = &mut sides[place_of(baseline)];
        match baselines.check(baseline, case) {
            Ok(seconds) => side.once_s = seconds,
            Err(Fault::Missing(why)) => side.why = Some(why),
            Err(Fault::Wrong(wrong)) => {
                row.wrong = Some(format!("{}: {wrong}", baseline.name()));
                side.why = Some(wrong);
            }
        }
    }
}

/// Lets the scheduler place some calls; takes down where the last went and why.
fn place(case: &mut Case<'_>, row: &mut Row, options: &Options) -> Result<(), Error> {
    let calls = case.calls();
    for at in 0..PLACED_CALLS {
        if options.is_stopped() {
            return Ok(());
        }
        let (ran, seconds) = case.round_trip(|call| call)?;
        take_down(row, &ran, calls);
        if seconds > LONG && at > 0 {
            break;
        }
    }
    let mut settled = case.explain()?;
    // A trial is no choice: the one after it is.
    for _ in 0..TRIALS_MAX {
        if settled.iter().all(|e| e.why != Why::Explore) || options.is_stopped() {
            break;
        }
        let (ran, _) = case.round_trip(|call| call)?;
        take_down(row, &ran, calls);
        settled = case.explain()?;
    }
    if let [settled] = &settled[..] {
        (row.chosen, row.why) = (settled.chosen, settled.why.to_string());
        if let Some(parts) = case.last_parts() {
            row.why = format!("{}; cut: {parts}", row.why);
        }
    }
    Ok(())
}

/// Takes down where the calls of a run went.
fn take_down(row: &mut Row, ran: &Ran, calls: usize) {
    row.chosen = most(ran.on_gpu, calls);
    if let Some(program) = &mut row.program {
        program.on_gpu = ran.on_gpu;
    }
}

/// Repetitions of calls that take so long: as many as fit into the time of a side.
pub(crate) fn repetitions(call_s: f64) -> usize {
    let fits = (BUDGET.as_secs_f64() / call_s.max(1e-7)) as usize;
    fits.clamp(REPETITIONS[0], REPETITIONS[1])
}

/// Has the GPU side find the fastest of its forms, as the baseline on the GPU has tried all of its own. Quick ones take
/// turns: where only one device is kept busy, the threads of its driver are spread over the CPUs, and those of the
/// other stay where the caller is.
fn settle(
    case: &mut Case<'_>,
    sides: &[Side; SIDES],
    mut baselines: Option<&mut Baselines>,
    options: &Options,
) -> Result<(), Error> {
    let raw = &sides[place_of(Baseline::RawWgpu)];
    let takes_turns = raw.runs() && raw.is_quick();
    let start = Instant::now();
    let mut calls = 0;
    while calls < SETTLING.0 || start.elapsed() < SETTLING.1 {
        if options.is_stopped() || start.elapsed() > BUDGET {
            break;
        }
        case.round_trip(|call| call.device(Device::Gpu))?;
        if let Some(baselines) = baselines.as_deref_mut().filter(|_| takes_turns) {
            // What fails fails again where it is timed.
            let _ = baselines.time(Baseline::RawWgpu, case.entry, 1);
        }
        calls += 1;
    }
    Ok(())
}

/// Times the sides in turns: each as often as fits into its time, so that those that are slow stop taking turns before
/// the others.
fn time(
    case: &mut Case<'_>,
    sides: &mut [Side; SIDES],
    placed: &mut Side,
    mut baselines: Option<&mut Baselines>,
    options: &Options,
) -> Result<(), Error> {
    if sides[Device::Gpu as usize].runs() {
        settle(case, sides, baselines.as_deref_mut(), options)?;
    }
    let quickest =
        sides.iter().filter(|s| s.runs()).map(|s| s.once_s).fold(f64::INFINITY, f64::min);
    let recorded = if options.recorder.is_some() { RECORDED } else { 0 };
    for turn in 0..repetitions(quickest).max(recorded) {
        for device in Device::ALL {
            let side = &mut sides[device as usize];
            if side.runs() && side.takes(turn, recorded) && !options.is_stopped() {
                time_device(case, device, side)?;
            }
        }
        // A kernel alone takes what the side takes that it is placed on.
        if case.entry.is_program() && placed.takes(turn, 0) && !options.is_stopped() {
            time_placed(case, placed)?;
        }
        for baseline in Baseline::ALL {
            let side = &mut sides[place_of(baseline)];
            if let Some(baselines) = baselines.as_deref_mut()
                && side.runs()
                && side.takes(turn, 0)
                && !options.is_stopped()
            {
                time_baseline(case, baselines, baseline, side);
            }
        }
    }
    Ok(())
}

fn time_device(case: &mut Case<'_>, device: Device, side: &mut Side) -> Result<(), Error> {
    if side.is_quick() {
        case.round_trip(|call| call.device(device))?;
    }
    let (ran, seconds) = case.round_trips(side.row(device), |call| call.device(device))?;
    side.times.push(seconds);
    side.run_times.push(ran.run_s);
    Ok(())
}

/// The same of a run whose calls go where they are placed.
fn time_placed(case: &mut Case<'_>, placed: &mut Side) -> Result<(), Error> {
    let (ran, seconds) = case.round_trip(|call| call)?;
    placed.once_s = seconds;
    let device = if ran.on_gpu == 0 { Device::Cpu } else { Device::Gpu };
    let seconds = match placed.is_quick() {
        true => case.round_trips(placed.row(device), |call| call)?.1,
        false => seconds,
    };
    placed.times.push(seconds);
    Ok(())
}

fn time_baseline(case: &Case<'_>, baselines: &mut Baselines, baseline: Baseline, side: &mut Side) {
    let mut time = |count| baselines.time(baseline, case.entry, count);
    let first = if side.is_quick() { time(1).map(|_| ()) } else { Ok(()) };
    match first.and_then(|()| time(side.row(baseline.device()))) {
        Ok(seconds) => side.times.push(seconds),
        // What was measured before is no median of all repetitions.
        Err(Fault::Missing(why) | Fault::Wrong(why)) => {
            side.times.clear();
            side.why = Some(why);
        }
    }
}

/// Writes the repetitions down: calls that the caller sent to both sides in turns, as far as both went. Of a call that
/// ran on one side alone, nobody could have chosen the other.
fn record(recorder: &Recorder, first: &Explanation, sides: &[Side; SIDES]) {
    let of = |device: Device| first.estimates.iter().find(|e| e.device == device);
    let seconds = |get: fn(&Estimate) -> f64| Device::ALL.map(|d| of(d).map_or(0.0, get));
    let [cpu, gpu, ..] = sides;
    let counts = [cpu, gpu].map(|side| side.times.len());
    for at in 0..counts.into_iter().filter(|count| *count > 0).min().unwrap_or(0) {
        let row = Recorded {
            case: 0,
            chosen: first.chosen,
            why: Why::Forced,
            transfer_s: seconds(|e| e.transfer_s),
            // Nothing else was under way.
            wait_s: [0.0; 2],
            is_crew_trial: false,
            run_s: [cpu, gpu].map(|side| side.run_times.get(at).copied()),
            total_s: [cpu, gpu].map(|side| side.times.get(at).copied()),
        };
        let case = || record::Case::from(first);
        recorder.write(case().key(), first.generation, case, row);
    }
}

/// How far off predictions were in the calls from this one on, on each device.
fn errors(rt: &Runtime, first_call: u64) -> Vec<Vec<f64>> {
    let calls = rt.ledger().since(first_call);
    let error = |call: &LedgerRow, device: Device| {
        let (predicted, measured) = (call.estimates.of(device)?, call.measured?);
        Some((predicted.run_s / measured.run_s - 1.0).abs()).filter(|error| error.is_finite())
    };
    let of = |device: Device| {
        // What both have run parts of is of neither.
        let ran = |call: &&LedgerRow| {
            call.chosen == device && call.parts.iter().all(|part| part.device == device)
        };
        let calls = calls.iter().filter(ran);
        let all: Vec<f64> = calls.filter_map(|call| error(call, device)).collect();
        CALLS_SHOWN.iter().map_while(|call| all.get(*call as usize - 1).map(rounded)).collect()
    };
    Device::ALL.map(of).to_vec()
}

fn finish(row: &mut Row, sides: &mut [Side; SIDES], placed: &Side) {
    row.spread = sides.iter().map(|side| spread(&side.times)).collect();
    row.samples = sides.iter().map(|side| side.times.iter().map(rounded).collect()).collect();
    for baseline in Baseline::ALL {
        let side = &mut sides[place_of(baseline)];
        row.set_baseline(baseline, median(&side.times), side.why.take());
    }
    let [cpu, gpu, ..] = sides;
    row.repetitions = cpu.times.len().max(gpu.times.len());
    (row.wasm_s, row.wasm_why) = (median(&cpu.times), cpu.why.take());
    (row.gpu_s, row.gpu_why) = (median(&gpu.times), gpu.why.take());
    row.gpu_run_s = median(&gpu.run_times);
    if let Some(program) = &mut row.program {
        program.placed_s = median(&placed.times);
    }
    if let (Some(wasm), Some(gpu)) = (row.wasm_s, row.gpu_s) {
        let oracle = if gpu < wasm { Device::Gpu } else { Device::Cpu };
        let best = wasm.min(gpu);
        row.oracle = Some(oracle);
        row.regret = row.placed_s().map(|s| s / best);
        let first = if row.program.is_some() { None } else { row.seconds(row.chosen_first) };
        row.regret_first = first.map(|s| s / best);
    }
}

pub(crate) fn median(times: &[f64]) -> Option<f64> {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// To five digits: a repetition is not more exact than that, and a file of them much smaller.
fn rounded(seconds: &f64) -> f64 {
    format!("{seconds:.4e}").parse().unwrap_or(*seconds)
}

pub(crate) fn spread(times: &[f64]) -> Option<[f64; 2]> {
    let least = times.iter().copied().reduce(f64::min)?;
    Some([least, times.iter().copied().fold(least, f64::max)])
}
