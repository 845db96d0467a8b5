//! Measuring a random kernel: checked against the interpreter first, then timed on both sides at six sizes.

use std::fmt;
use std::time::{Duration, Instant};

use crossover::kernels::analysis::profile;
use crossover::kernels::error::KernelError;
use crossover::kernels::exec::{Deadline, Grid};
use crossover::kernels::interp::{self, Data};
use crossover::kernels::ir::{Kernel, Param, ParamKind, Type};
use crossover::kernels::random::Random;
use crossover::ml::Features;
use crossover::ml::dataset::Row;
use crossover::ml::features::{Feature, Group};
use crossover::{Buffer, Device, DynArg, Element, Error, Handle, Runtime};

use crate::families::Specimen;

/// Sizes of a kernel.
const SIZES: usize = 6;

/// Points of the smallest size, and of the largest.
const POINTS: [f64; 2] = [256.0, 8e6];

/// Simple operations of the largest size, and bytes of its buffers: some tens of milliseconds.
const OPERATIONS_MAX: f64 = 4e8;
const BYTES_MAX: f64 = 128e6;

/// Points of the comparison with the interpreter.
const CHECKED: usize = 300;

/// Repetitions of a call on each side, in turns: time for them, and their number.
const BUDGET: Duration = Duration::from_millis(30);
const REPETITIONS: std::ops::RangeInclusive<usize> = 3..=9;

/// Calls before, which compile, upload, and try the forms that the GPU has for a kernel.
const WARM_UP: usize = 3;

/// A call that takes longer makes its size the kernel's last.
const LONG_S: f64 = 0.15;

/// Differences that roundings make, as a share, and the share of elements that may differ by more: where a
/// rounding decides a branch.
const TOLERANCE: f32 = 1e-3;
const BEYOND: f64 = 0.01;

/// Why a kernel gives no rows.
#[derive(Debug)]
pub(crate) enum Rejected {
    /// It is no valid kernel.
    Invalid(KernelError),
    /// The interpreter cannot run it.
    Fails(String),
    /// A device gives other results than the interpreter.
    Differs { device: Device, argument: usize, elements: usize },
    /// The CPU cannot run it.
    Unmeasured(Error),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rejected::Invalid(error) => write!(f, "is not valid: {error}"),
            Rejected::Fails(error) => write!(f, "fails: {error}"),
            Rejected::Differs { device, argument, elements } => {
                write!(f, "argument {argument} differs in {elements} elements on the {device}")
            }
            Rejected::Unmeasured(error) => write!(f, "cannot be measured: {error}"),
        }
    }
}

/// What a kernel takes at several sizes.
///
/// # Errors
/// No memory for the arguments. A kernel that cannot be measured is no error.
pub(crate) fn measure(
    rt: &Runtime,
    family: &str,
    name: &str,
    specimen: &Specimen,
    rng: &mut Random,
) -> anyhow::Result<Result<Vec<Row>, Rejected>> {
    let kernel = match specimen.build() {
        Ok(kernel) => kernel,
        Err(error) => return Ok(Err(Rejected::Invalid(error))),
    };
    let handle = rt.adopt(kernel.clone(), name);
    if let Err(rejected) = check(rt, &handle, &kernel, specimen, rng)? {
        return Ok(Err(rejected));
    }
    let mut rows = Vec::new();
    let most = points_max(&kernel, specimen, rng);
    for at in 0..SIZES {
        let n = points([at, SIZES], most, rng);
        let (data, grid) = specimen.arguments(rng, n);
        let mut held = hold(rt, &kernel, &data)?;
        let explained =
            rt.call_handle(&handle, &mut held).grid(grid).device(Device::Cpu).explain()?;
        let seconds = match time(rt, &handle, &mut held, grid) {
            Ok(seconds) => seconds,
            Err(error) if rows.is_empty() => return Ok(Err(Rejected::Unmeasured(error))),
            Err(_) => break,
        };
        let items = grid.iter().map(|&g| u64::from(g)).product();
        let mut features = explained.features;
        forget_moment(&mut features);
        rows.push(Row::new(name, family, items, features, seconds));
        if seconds.iter().flatten().any(|s| *s > LONG_S) {
            break;
        }
    }
    Ok(Ok(rows))
}

/// Describes anew a kernel that was measured before: its rows with the features that it has now, and the times and
/// the speeds of the machine as they were.
///
/// # Errors
/// As [`measure`].
pub(crate) fn describe(
    rt: &Runtime,
    specimen: &Specimen,
    rng: &mut Random,
    measured: &[&Row],
) -> anyhow::Result<Vec<Row>> {
    let kernel = specimen.build()?;
    let handle = rt.adopt(kernel.clone(), "described");
    // In step with the random numbers of its measuring.
    specimen.arguments(rng, CHECKED);
    let most = points_max(&kernel, specimen, rng);
    let mut rows = Vec::new();
    for at in 0..SIZES {
        let n = points([at, SIZES], most, rng);
        let (data, grid) = specimen.arguments(rng, n);
        let items: u64 = grid.iter().map(|&g| u64::from(g)).product();
        let Some(&row) = measured.iter().find(|row| row.n == items) else { continue };
        let mut held = hold(rt, &kernel, &data)?;
        let call = rt.call_handle(&handle, &mut held).grid(grid).device(Device::Cpu);
        let mut features = call.explain()?.features;
        for feature in Feature::ALL.into_iter().filter(|f| f.info().group == Group::Device) {
            features.set(feature, row.features.get(feature).unwrap_or(f64::NAN));
        }
        forget_moment(&mut features);
        rows.push(Row { features, ..row.clone() });
    }
    Ok(rows)
}

/// Leaves out what depends on the moment: here it is what measuring itself does. Calls before and the time since
/// the last one follow from the size, and a model would take them for it.
pub(crate) fn forget_moment(features: &mut Features) {
    let of_moment = |feature: &Feature| {
        let own = matches!(feature, Feature::PipelineCached | Feature::BatchedCalls);
        own || feature.info().group == Group::Contextual
    };
    Feature::ALL.into_iter().filter(of_moment).for_each(|f| features.set(f, f64::NAN));
}

/// Points of one of so many sizes: evenly along the logarithm, each somewhere in its part.
pub(crate) fn points([at, sizes]: [usize; 2], most: f64, rng: &mut Random) -> usize {
    let (least, most) = (POINTS[0], most.max(2.0 * POINTS[0]));
    let share = (at as f64 + rng.below(1000) as f64 / 1000.0) / sizes as f64;
    (least.ln() + share * (most / least).ln()).exp() as usize
}

/// Points of the largest size.
pub(crate) fn points_max(kernel: &Kernel, specimen: &Specimen, rng: &mut Random) -> f64 {
    let (data, grid) = specimen.arguments(rng, CHECKED);
    let scalar = |p: Param| match data.get(p.index()) {
        Some(Data::Scalar(c)) => Some(c.to_f64()),
        _ => None,
    };
    let length = |p: Param| data.get(p.index()).map(|data| data.len() as f64);
    let operations = profile(kernel, &scalar, &length).weighted_operations();
    let points: f64 = grid.iter().map(|&g| f64::from(g)).product();
    let bytes = data.iter().map(|data| 4.0 * data.len() as f64).sum::<f64>() / points;
    let most = (OPERATIONS_MAX / operations.max(1.0)).min(BYTES_MAX / bytes.max(4.0));
    most.clamp(16.0 * POINTS[0], POINTS[1])
}

/// Arguments of a kernel, and what the interpreter leaves in them.
pub(crate) struct Interpreted {
    pub(crate) data: Vec<Data>,
    pub(crate) expected: Vec<Data>,
    pub(crate) grid: Grid,
}

/// Draws arguments, and runs the kernel by the interpreter.
pub(crate) fn interpret(
    kernel: &Kernel,
    specimen: &Specimen,
    rng: &mut Random,
) -> Result<Interpreted, Rejected> {
    let (data, grid) = specimen.arguments(rng, CHECKED);
    let mut expected = data.clone();
    let deadline = Some(Deadline::after(Duration::from_secs(10)));
    match interp::run(kernel, &mut expected, grid, deadline) {
        Ok(_) => Ok(Interpreted { data, expected, grid }),
        Err(error) => Err(Rejected::Fails(error.to_string())),
    }
}

/// Holds both sides against the interpreter.
fn check(
    rt: &Runtime,
    handle: &Handle,
    kernel: &Kernel,
    specimen: &Specimen,
    rng: &mut Random,
) -> anyhow::Result<Result<(), Rejected>> {
    let Interpreted { data, expected, grid } = match interpret(kernel, specimen, rng) {
        Ok(interpreted) => interpreted,
        Err(rejected) => return Ok(Err(rejected)),
    };
    for device in Device::ALL {
        let mut held = hold(rt, kernel, &data)?;
        match rt.call_handle(handle, &mut held).grid(grid).device(device).run() {
            Ok(_) => {}
            // Not every kernel is legal on every adapter.
            Err(_) if device == Device::Gpu => continue,
            Err(error) => return Ok(Err(Rejected::Unmeasured(error))),
        }
        for (argument, (held, expected)) in held.iter().zip(&expected).enumerate() {
            let elements = differences(held, expected)?;
            if is_too_many(elements, expected.len()) {
                return Ok(Err(Rejected::Differs { device, argument, elements }));
            }
        }
    }
    Ok(Ok(()))
}

/// Whether so many of all elements are more than a rounding decides.
pub(crate) fn is_too_many(elements: usize, of: usize) -> bool {
    elements > (BEYOND * of as f64) as usize
}

/// How many elements differ by more than roundings make.
fn differences(held: &DynArg, expected: &Data) -> Result<usize, Error> {
    let Data::Narrow(expected) = expected else { return Ok(0) };
    Ok(match held {
        DynArg::F32(found) => {
            let bits: Vec<u32> = found.to_vec()?.into_iter().map(f32::to_bits).collect();
            differing(&bits, expected, true)
        }
        DynArg::U32(found) => differing(&found.to_vec()?, expected, false),
        _ => 0,
    })
}

/// The same of words, which may be floats.
pub(crate) fn differing(found: &[u32], expected: &[u32], is_float: bool) -> usize {
    let differ = |a: u32, b: u32| {
        let (x, y) = (f32::from_bits(a), f32::from_bits(b));
        let is_close = is_float && (x - y).abs() <= TOLERANCE * (1.0 + y.abs());
        a != b && !is_close
    };
    found.iter().zip(expected).filter(|(a, b)| differ(**a, **b)).count()
}

/// The median time of each side, the CPU's with the better number of threads. The candidates take turns, so
/// that what else the machine does falls on all of them alike.
fn time(
    rt: &Runtime,
    handle: &Handle,
    held: &mut [DynArg],
    grid: Grid,
) -> Result<[Option<f64>; 2], Error> {
    let threads = rt.threads();
    let mut candidates = vec![(Device::Cpu, 1, Vec::new())];
    if threads > 1 {
        candidates.push((Device::Cpu, threads, Vec::new()));
    }
    if rt.adapter().is_some() {
        candidates.push((Device::Gpu, 1, Vec::new()));
    }
    let mut run = |device: Device, threads: usize| {
        let call = rt.call_handle(handle, held).grid(grid).device(device).threads(threads);
        Ok(call.run()?.measured.run_s.max(1e-9))
    };
    for _ in 0..WARM_UP {
        let mut slow = 0.0;
        candidates.retain(|(device, threads, _)| match run(*device, *threads) {
            Ok(seconds) => {
                slow = f64::max(slow, seconds);
                true
            }
            Err::<f64, Error>(_) => *device == Device::Cpu,
        });
        if slow > LONG_S {
            break;
        }
    }
    let start = Instant::now();
    for at in 0..*REPETITIONS.end() {
        if at >= *REPETITIONS.start() && start.elapsed() > BUDGET {
            break;
        }
        for (device, threads, times) in &mut candidates {
            times.push(run(*device, *threads)?);
        }
    }
    let mut seconds = [None; 2];
    for (device, _, mut times) in candidates {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let best = &mut seconds[device as usize];
        *best = Some(best.map_or(median, |other: f64| other.min(median)));
    }
    Ok(seconds)
}

/// The arguments in buffers of the runtime.
pub(crate) fn hold(rt: &Runtime, kernel: &Kernel, data: &[Data]) -> anyhow::Result<Vec<DynArg>> {
    fn words<T: Element>(
        rt: &Runtime,
        words: &[u32],
        of: impl Fn(u32) -> T,
    ) -> Result<Buffer<T>, Error> {
        rt.buffer_from(&words.iter().map(|&word| of(word)).collect::<Vec<T>>())
    }
    let params = kernel.entry.params.iter();
    let held = data.iter().zip(params).map(|(data, param)| {
        Ok(match (data, param.kind) {
            (Data::Scalar(c), _) => DynArg::Scalar(*c),
            (Data::Narrow(v), ParamKind::Buffer { element: Type::F32, .. }) => {
                DynArg::F32(words(rt, v, f32::from_bits)?)
            }
            (Data::Narrow(v), ParamKind::Buffer { element: Type::I32, .. }) => {
                DynArg::I32(words(rt, v, u32::cast_signed)?)
            }
            (Data::Narrow(v), _) => DynArg::U32(rt.buffer_from(v)?),
            (Data::Wide(v), _) => DynArg::U64(rt.buffer_from(v)?),
        })
    });
    held.collect()
}

#[cfg(test)]
mod tests {
    use super::{Rejected, SIZES, check, describe, measure};
    use crate::families::{FAMILIES, Specimen, kernel, rng};
    use crossover::ml::features::Feature;
    use crossover::{Device, Runtime};

    #[test]
    fn kernels_of_every_family_give_the_interpreters_results() {
        let rt = Runtime::new().expect("a runtime");
        for number in 0..2 * FAMILIES.len() as u64 {
            let (family, specimen) = kernel(3, number);
            let built = specimen.build().expect("valid");
            let handle = rt.adopt(built.clone(), family);
            check(&rt, &handle, &built, &specimen, &mut rng(3, number, 1))
                .expect("memory")
                .unwrap_or_else(|rejected| panic!("{family} {rejected}\n{}", specimen.source));
        }
    }

    #[test]
    fn a_kernel_gives_rows_with_both_sides_where_there_are_two() {
        let rt = Runtime::new().expect("a runtime");
        let (family, specimen) = kernel(5, 0);
        let rows = measure(&rt, family, "maps-5-0", &specimen, &mut rng(5, 0, 1)).expect("memory");
        let rows = rows.unwrap_or_else(|rejected| panic!("{rejected}"));
        assert!((1..=SIZES).contains(&rows.len()));
        for row in &rows {
            assert!(row.seconds[Device::Cpu as usize].is_some());
            assert_eq!(row.seconds[Device::Gpu as usize].is_some(), rt.adapter().is_some());
        }
        assert!(rows.windows(2).all(|pair| pair[0].n < pair[1].n));
    }

    #[test]
    fn described_anew_a_kernel_has_its_features_and_keeps_its_times() {
        let rt = Runtime::new().expect("a runtime");
        let (family, specimen) = kernel(5, 4);
        let rows = measure(&rt, family, "loops-5-4", &specimen, &mut rng(5, 4, 1)).expect("memory");
        let rows = rows.unwrap_or_else(|rejected| panic!("{rejected}"));
        let measured: Vec<_> = rows.iter().collect();
        let again = describe(&rt, &specimen, &mut rng(5, 4, 1), &measured).expect("memory");
        assert_eq!(again.len(), rows.len());
        for (row, again) in rows.iter().zip(&again) {
            assert_eq!((row.n, row.seconds), (again.n, again.seconds));
            assert_eq!(row.features.get(Feature::Flops), again.features.get(Feature::Flops));
            assert_eq!(row.features.get(Feature::Visits), None, "it says which size this is");
        }
    }

    #[test]
    fn what_is_wrong_is_rejected_with_the_reason() {
        let rt = Runtime::new().expect("a runtime");
        let specimen = Specimen { source: "fn f() {}".to_owned(), slots: Vec::new() };
        let found = measure(&rt, "maps", "none", &specimen, &mut rng(1, 0, 0)).expect("memory");
        assert!(matches!(found, Err(Rejected::Invalid(_))));
    }
}
