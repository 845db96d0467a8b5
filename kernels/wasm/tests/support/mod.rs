//! One `check` for all tests: the interpreter's answer is the right one, bit for bit.

#![allow(dead_code, reason = "each test file uses a part of this module, some use all")]

use std::cell::RefCell;
use std::sync::{Arc, LazyLock};

use crossover_kernels::error::RunError;
use crossover_kernels::exec::{
    Arg, Call, Deadline, Executor, Grid, Version, check_args, claim_args, default_grid, wants,
};
use crossover_kernels::interp::Interpreter;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Const, Extent, Function, Kernel, Param, Type};
use crossover_kernels::verify::verify;
use crossover_memory::{Slot, hold};
use crossover_wasm::{Schedule, WasmExecutor, emit};

/// The lengths at which every kernel is tried: around one and two groups, and many.
pub(crate) const LENGTHS: [usize; 9] = [0, 1, 3, 4, 5, 7, 8, 64, 1001];

/// An argument of a test call.
#[derive(Clone, Debug)]
pub(crate) enum Data {
    Scalar(Const),
    Buffer(Type, Vec<u64>),
}

/// A buffer of these constants.
pub(crate) fn buffer(ty: Type, values: impl IntoIterator<Item = Const>) -> Data {
    Data::Buffer(ty, values.into_iter().map(|c| c.bits).collect())
}

pub(crate) fn zeros(ty: Type, len: usize) -> Data {
    Data::Buffer(ty, vec![0; len])
}

/// A kernel over a grid of one axis: the length of the first parameter.
pub(crate) fn kernel(function: Function) -> Arc<Kernel> {
    grid_kernel(function, vec![Extent::Len(Param(0))])
}

pub(crate) fn grid_kernel(function: Function, grid: Vec<Extent>) -> Arc<Kernel> {
    let kernel = Kernel {
        entry: function,
        helpers: Vec::new(),
        grid,
        collective: None,
        workgroup: None,
        contract: false,
        files: Vec::new(),
    };
    verify(&kernel).expect("a test builds valid kernels");
    Arc::new(kernel)
}

/// The module, accepted by wasmparser.
pub(crate) fn emitted(kernel: &Kernel) -> Vec<u8> {
    emitted_with(kernel, Schedule::default_for(kernel))
}

fn emitted_with(kernel: &Kernel, schedule: Schedule) -> Vec<u8> {
    let module = emit(kernel, schedule).expect("a lowered kernel");
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&module.bytes)
        .unwrap_or_else(|error| panic!("{error}\n{}", text(&module.bytes)));
    module.bytes
}

pub(crate) fn text(bytes: &[u8]) -> String {
    wasmprinter::print_bytes(bytes).unwrap_or_else(|error| error.to_string())
}

/// What a run leaves: the bits of every buffer, and its outcome.
pub(crate) type Outcome = (Vec<Vec<u64>>, Result<(), RunError>);

pub(crate) fn run(
    executor: &dyn Executor,
    kernel: &Arc<Kernel>,
    data: &[Data],
    grid: Option<Grid>,
    threads: usize,
    deadline: Option<Deadline>,
) -> Outcome {
    let args: Vec<Arg> = data.iter().map(to_arg).collect();
    let grid = grid.unwrap_or_else(|| default_grid(kernel, &args));
    check_args(kernel, &args, grid).expect("a test's arguments fit");
    let mut claim = claim_args(kernel, &args);
    let mut call = Call { args: &args, grid, threads, deadline, start: None, claim: &mut claim };
    let version = executor.compile(kernel).expect("a kernel for this executor");
    let outcome = version.run(&mut call);
    drop(claim);
    (args.iter().zip(data).filter_map(contents).collect(), outcome.map(|_| ()))
}

pub(crate) static WASM: LazyLock<WasmExecutor> =
    LazyLock::new(|| WasmExecutor::new().expect("wasmtime"));

type Compiled = (Arc<Kernel>, Option<Schedule>, Arc<dyn Version>);

thread_local! {
    /// The kernel of the last runs on wasm: tests run one kernel many times.
    static LAST: RefCell<Vec<Compiled>> = const { RefCell::new(Vec::new()) };
}

/// A schedule that is nobody's default: groups, rows and passages side by side.
const WIDE: Schedule = Schedule { vectors: 3, rows: 2, unroll: 3, depth: 3, refill: false };

/// One invocation at a time.
const SCALAR: Schedule = Schedule { vectors: 0, rows: 1, unroll: 2, depth: 0, refill: false };

/// Lanes that take one invocation after the other, where that can be.
pub(crate) const REFILLED: Schedule =
    Schedule { vectors: 2, rows: 1, unroll: 1, depth: 0, refill: true };

/// The executor with a schedule of the test's choice.
pub(crate) struct Scheduled(pub(crate) Option<Schedule>);

impl Executor for Scheduled {
    fn name(&self) -> &str {
        WASM.name()
    }

    fn compile(&self, kernel: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        LAST.with_borrow_mut(|last| {
            last.retain(|(held, ..)| Arc::ptr_eq(held, kernel));
            if let Some((.., version)) = last.iter().find(|(_, schedule, _)| *schedule == self.0) {
                return Ok(version.clone());
            }
            let schedule = self.0.unwrap_or_else(|| Schedule::default_for(kernel));
            emitted_with(kernel, schedule);
            let version = WASM.compile_scheduled(kernel, schedule)?;
            last.push((kernel.clone(), self.0, version.clone()));
            Ok(version)
        })
    }
}

fn to_arg(data: &Data) -> Arg<'static> {
    match data {
        Data::Scalar(c) => Arg::Scalar(*c),
        Data::Buffer(ty, bits) => {
            let slot = Arc::new(Slot::zeroed(bits.len() * ty.bytes()).expect("memory"));
            if ty.is_wide() {
                slot.write::<u64>().copy_from_slice(bits);
            } else {
                let narrow: Vec<u32> = bits.iter().map(|&b| b as u32).collect();
                slot.write::<u32>().copy_from_slice(&narrow);
            }
            Arg::Buffer { slot: slot.into(), len: bits.len() as u32 }
        }
    }
}

fn contents((arg, data): (&Arg, &Data)) -> Option<Vec<u64>> {
    match (arg, data) {
        (Arg::Buffer { slot, .. }, Data::Buffer(ty, _)) if ty.is_wide() => {
            Some(slot.arc().read::<u64>().to_vec())
        }
        (Arg::Buffer { slot, .. }, _) => {
            Some(slot.arc().read::<u32>().iter().map(|&b| u64::from(b)).collect())
        }
        (Arg::Scalar(_), _) => None,
    }
}

/// Runs the kernel on the interpreter and on one and two wasm threads, laid out in three ways, and
/// compares every buffer.
pub(crate) fn check(kernel: &Arc<Kernel>, data: &[Data]) {
    check_grid(kernel, data, None);
}

pub(crate) fn check_grid(kernel: &Arc<Kernel>, data: &[Data], grid: Option<Grid>) {
    let one = [None, Some(WIDE), Some(SCALAR), Some(REFILLED)].map(|schedule| (1, schedule));
    let layouts = [&one[..], &[(2, None)]].concat();
    check_layouts(kernel, data, grid, &layouts);
}

/// The same with these numbers of threads and schedules; `None` is the default.
pub(crate) fn check_layouts(
    kernel: &Arc<Kernel>,
    data: &[Data],
    grid: Option<Grid>,
    layouts: &[(usize, Option<Schedule>)],
) {
    let (expected, outcome) = run(&Interpreter, kernel, data, grid, 1, None);
    outcome.expect("the interpreter runs it");
    for &(threads, schedule) in layouts {
        let (found, outcome) = run(&Scheduled(schedule), kernel, data, grid, threads, None);
        if let Err(error) = outcome {
            panic!("{error}\n{:#?}\n{}", kernel.entry, text(&emitted(kernel)));
        }
        compare(kernel, data, &expected, &found);
        for (found, outcome) in run_again(&Scheduled(schedule), kernel, data, grid, threads) {
            outcome.expect("what ran before runs again");
            compare(kernel, data, &expected, &found);
        }
    }
}

/// What a call leaves that is made again, twice unless it fails, with buffers and floats of its own; nothing where it is
/// not made so.
pub(crate) fn run_again(
    executor: &dyn Executor,
    kernel: &Arc<Kernel>,
    data: &[Data],
    grid: Option<Grid>,
    threads: usize,
) -> Vec<Outcome> {
    let version = executor.compile(kernel).expect("a kernel for this executor");
    let first: Vec<Arg> = data.iter().map(|data| to_arg(&like(data))).collect();
    let grid = grid.unwrap_or_else(|| default_grid(kernel, &first));
    let Some(mut again) = version.rerun(&first, grid, threads) else { return Vec::new() };
    let float = |at: usize| match data[at] {
        Data::Scalar(c) => c,
        Data::Buffer(..) => unreachable!("buffers are no floats"),
    };
    let mut once = || {
        let args: Vec<Arg> = data.iter().map(to_arg).collect();
        let slot = |(at, want): (usize, _)| match &args[at] {
            Arg::Buffer { slot, .. } => Some((&**slot, want)),
            Arg::Scalar(_) => None,
        };
        let mut held = hold(wants(kernel, &args).filter_map(slot)).expect("nobody has them");
        let outcome = again.rerun(&float, &mut held);
        drop(held);
        let outcome = outcome.map(|seconds| assert!((0.0..60.0).contains(&seconds)));
        (args.iter().zip(data).filter_map(contents).collect(), outcome)
    };
    let first: Outcome = once();
    let second = first.1.is_ok().then(once);
    [Some(first), second].into_iter().flatten().collect()
}

/// Arguments of the same lengths, and the same numbers but for floats.
fn like(data: &Data) -> Data {
    match data {
        Data::Scalar(c) if c.ty.is_float() => Data::Scalar(Const::zero(c.ty)),
        Data::Scalar(c) => Data::Scalar(*c),
        Data::Buffer(ty, bits) => zeros(*ty, bits.len()),
    }
}

fn compare(kernel: &Kernel, data: &[Data], expected: &[Vec<u64>], found: &[Vec<u64>]) {
    let buffers = data.iter().filter_map(|d| match d {
        Data::Buffer(ty, _) => Some(*ty),
        Data::Scalar(_) => None,
    });
    for (at, (ty, (expected, found))) in buffers.zip(expected.iter().zip(found)).enumerate() {
        for (i, (&e, &f)) in expected.iter().zip(found).enumerate() {
            let (e, f) = (Const::new(ty, e), Const::new(ty, f));
            assert!(
                e == f || (e.is_nan() && f.is_nan()),
                "buffer {at} [{i}] of {}: {e} expected, {f} found\n{:#?}\n{}",
                expected.len(),
                kernel.entry,
                text(&emitted(kernel)),
            );
        }
    }
}

/// Values at which operators have corners, for every type.
pub(crate) fn special(ty: Type) -> Vec<Const> {
    match ty {
        Type::Bool => vec![false.into(), true.into()],
        Type::I32 => [0, 1, -1, 2, 7, -8, 31, 32, 33, 1000, i32::MIN, i32::MIN + 1, i32::MAX]
            .map(Const::from)
            .to_vec(),
        Type::U32 => [0, 1, 2, 3, 7, 31, 32, 33, 1000, 1 << 31, (1 << 31) - 1, u32::MAX]
            .map(Const::from)
            .to_vec(),
        Type::I64 => [0, 1, -1, 2, 63, 64, 65, -1000, 1 << 33, i64::MIN, i64::MIN + 1, i64::MAX]
            .map(Const::from)
            .to_vec(),
        Type::U64 => [0, 1, 2, 63, 64, 65, 1 << 32, (1 << 63) + (1 << 39) + 1, 1 << 63, u64::MAX]
            .map(Const::from)
            .to_vec(),
        Type::F32 => {
            let mut all: Vec<f32> = vec![0.0, 0.5, 1.0, 1.5, 2.5, 0.499_999_97, 3.7, 8_388_609.0];
            all.extend([1e-45, 1e-39, 3e9, 1e19, 2e38, f32::MAX, f32::MIN_POSITIVE, 4.2e9]);
            all.extend([2_147_483_648.0, 4_294_967_296.0, f32::INFINITY, f32::NAN]);
            all.iter().flat_map(|&v| [v, -v]).map(Const::from).collect()
        }
        Type::F64 => {
            let mut all: Vec<f64> = vec![0.0, 0.5, 1.5, 2.5, 0.499_999_999_999_999_94, 3.7, 1e300];
            all.extend([5e-324, 1e-310, 3e9, 1e19, 2e38, f64::MAX, 4_294_967_295.0, 1e-46]);
            all.extend([2_147_483_648.0, 9.3e18, f64::INFINITY, f64::NAN, 0.1]);
            all.iter().flat_map(|&v| [v, -v]).map(Const::from).collect()
        }
    }
}

/// `len` values that run through the special ones, then through numbers of no particular kind.
pub(crate) fn values(ty: Type, len: usize, seed: u64) -> Vec<Const> {
    let special = special(ty);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    (0..len)
        .map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed | 1);
            let random = state >> 33;
            if !(at as u64 + seed).is_multiple_of(3) {
                return special[(random % special.len() as u64) as usize];
            }
            match ty {
                Type::F32 => ((random % 2001) as f32 / 8.0 - 125.0).into(),
                Type::F64 => ((random % 2001) as f64 / 8.0 - 125.0).into(),
                Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64 => {
                    Const::new(ty, state ^ (state >> 31))
                }
            }
        })
        .collect()
}

/// A builder with an output buffer of this type as first parameter.
pub(crate) fn with_output(name: &str, ty: Type) -> (Builder, Param) {
    let mut b = Builder::new(name);
    let out = b.buffer("out", ty, Access::ReadWrite);
    (b, out)
}
