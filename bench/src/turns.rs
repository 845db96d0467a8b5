//! Code of a kernel that is timed in turns with other code of the same kernel.
//!
//! So that a busy machine blurs times least, those of compilations are the processor's, of all threads together
//! and without a folder of compiled kernels, and those of calls are of the kernel alone, on one thread.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Arg, Grid, Version};
use crossover::kernels::interp::Data;
use crossover::kernels::ir::{Kernel, ParamKind, Type};
use crossover::kernels::library::Entry;
use crossover::kernels::random::Random;
use crossover::ml::Features;
use crossover::ml::dataset::Row;
use crossover::{Device, GpuUse, Handle, Runtime};
use crossover_wasm::{Schedule, WasmExecutor, emit};

use crate::case::seed;
use crate::direct;
use crate::families::Specimen;
use crate::specimen::{self, Interpreted, Rejected, interpret};
use crate::suite::{Sizes, Suite};

/// What a row of quick calls takes at least, and the most calls of a row.
const ROW_S: f64 = 5e-5;
const ROW_CALLS: f64 = 64.0;

/// Code, and what it takes.
pub(crate) struct Coded {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) version: Arc<dyn Version>,
    /// Bytes of the module.
    pub(crate) bytes: usize,
    /// Seconds of making machine code.
    pub(crate) code_s: f64,
    /// Seconds of a call, in the order of the turns.
    pub(crate) times: Vec<f64>,
}

impl Coded {
    /// Compiles so often, of which the quickest counts.
    pub(crate) fn new(
        executor: &WasmExecutor,
        kernel: &Arc<Kernel>,
        schedule: Schedule,
        bytes: usize,
        compilations: usize,
    ) -> Result<Coded, RunError> {
        let timed = || {
            let start = cpu_s();
            let version = executor.compile_scheduled(kernel, schedule)?;
            Ok::<_, RunError>((version, cpu_s() - start))
        };
        let (version, mut code_s) = timed()?;
        for _ in 1..compilations {
            code_s = code_s.min(timed()?.1);
        }
        Ok(Coded { kernel: kernel.clone(), version, bytes, code_s, times: Vec::new() })
    }

    /// The least of the times.
    pub(crate) fn least_s(&self) -> f64 {
        self.times.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The least of every second time, from the first or from the second on.
    pub(crate) fn least_of_half_s(&self, half: usize) -> f64 {
        self.times.iter().skip(half).step_by(2).copied().fold(f64::INFINITY, f64::min)
    }

    fn once(&self, args: &[Arg], grid: Option<Grid>) -> anyhow::Result<f64> {
        direct::time(&self.kernel, &*self.version, grid, args, 1)
    }
}

/// The bytes of a kernel's module: code is told apart by them.
pub(crate) fn module(kernel: &Kernel, schedule: Schedule) -> Result<Vec<u8>, RunError> {
    let module = emit(kernel, schedule).map_err(|error| RunError::Unsupported {
        kernel: kernel.entry.name.clone(),
        device: "wasm".to_owned(),
        what: error.to_string(),
    });
    Ok(module?.bytes)
}

/// Times all in turns: at least and at most so many, within the budget.
pub(crate) fn time(
    mut all: Vec<&mut Coded>,
    args: &[Arg],
    grid: Option<Grid>,
    [least, most]: [usize; 2],
    budget: Duration,
) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for coded in &mut all {
        coded.times.clear();
        coded.once(args, grid)?;
        rows.push((ROW_S / coded.once(args, grid)?.max(1e-9)).ceil().clamp(1.0, ROW_CALLS));
    }
    let start = Instant::now();
    for turn in 0..most {
        if turn >= least && start.elapsed() > budget {
            break;
        }
        for (coded, &calls) in all.iter_mut().zip(&rows) {
            let mut sum = 0.0;
            for _ in 0..calls as usize {
                sum += coded.once(args, grid)?;
            }
            coded.times.push(sum / calls);
        }
    }
    Ok(())
}

/// Seconds that the processor has worked for this process.
pub(crate) fn cpu_s() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// A runtime in which code is judged: one thread, and no GPU.
pub(crate) fn runtime() -> Result<Runtime, crossover::Error> {
    Runtime::builder()
        .with(|settings| (settings.gpu, settings.threads) = (GpuUse::Off, 1))
        .calibrated()
        .build()
}

/// What code is judged on: the largest size tells nothing more of it, and takes as long as all others.
pub(crate) fn plan(suite: &Suite) -> Vec<(&'static Entry, &'static str, usize)> {
    let mut plan = suite.plan(Sizes::All);
    plan.retain(|(entry, size_name, _)| !entry.is_program() && *size_name != "large");
    plan
}

/// A call of a random kernel.
pub(crate) struct Drawn {
    pub(crate) args: Vec<Arg<'static>>,
    pub(crate) grid: Grid,
    /// What is known of it before it runs, but for the moment.
    features: Features,
}

impl Drawn {
    /// The row of it, of a family and a name: what it takes on the CPU.
    pub(crate) fn row(&self, [family, name]: [&str; 2], cpu_s: Option<f64>) -> Row {
        let items = self.grid.iter().map(|&g| u64::from(g)).product();
        Row::new(name, family, items, self.features, [cpu_s, None])
    }
}

/// Draws a call over about so many points.
pub(crate) fn drawn(
    rt: &Runtime,
    handle: &Handle,
    kernel: &Kernel,
    specimen: &Specimen,
    points: usize,
    rng: &mut Random,
) -> anyhow::Result<Drawn> {
    let (data, grid) = specimen.arguments(rng, points);
    let mut held = specimen::hold(rt, kernel, &data)?;
    let call = rt.call_handle(handle, &mut held).grid(grid).device(Device::Cpu);
    let mut features = call.explain()?.features;
    specimen::forget_moment(&mut features);
    Ok(Drawn { args: direct::data_slots(&data)?, grid, features })
}

/// Holds code of a random kernel against the interpreter.
pub(crate) fn check<'c>(
    all: impl Iterator<Item = &'c Coded>,
    kernel: &Kernel,
    specimen: &Specimen,
    rng: &mut Random,
) -> anyhow::Result<Result<(), Rejected>> {
    let Interpreted { data, expected, grid } = match interpret(kernel, specimen, rng) {
        Ok(interpreted) => interpreted,
        Err(rejected) => return Ok(Err(rejected)),
    };
    for coded in all {
        let args = direct::data_slots(&data)?;
        coded.once(&args, Some(grid))?;
        let params = kernel.entry.params.iter();
        for (argument, ((arg, expected), param)) in
            args.iter().zip(&expected).zip(params).enumerate()
        {
            let (Arg::Buffer { slot, .. }, Data::Narrow(expected)) = (arg, expected) else {
                continue;
            };
            let is_float = matches!(param.kind, ParamKind::Buffer { element: Type::F32, .. });
            let found = slot.arc().read::<u32>();
            let elements = specimen::differing(&found, expected, is_float);
            if specimen::is_too_many(elements, expected.len()) {
                return Ok(Err(Rejected::Differs { device: Device::Cpu, argument, elements }));
            }
        }
    }
    Ok(Ok(()))
}

/// Holds code of a library kernel against its reference.
pub(crate) fn check_entry<'c>(
    entry: &Entry,
    size: usize,
    all: impl Iterator<Item = (String, &'c Coded)>,
) -> anyhow::Result<()> {
    let inputs = (entry.inputs)(size, &mut Random::new(seed(size)));
    let expected = (entry.reference)(&inputs);
    for (name, coded) in all {
        let args = direct::slots(&inputs)?;
        coded.once(&args, None)?;
        for output in &expected {
            let found = direct::content(&inputs[output.param], &args[output.param]);
            let Some(found) = found else { continue };
            if let Some(wrong) = entry.tolerance.judge(&output.values, found.into_iter()) {
                anyhow::bail!("{} with {name}: wrong result: {wrong:?}", entry.name);
            }
        }
    }
    Ok(())
}
