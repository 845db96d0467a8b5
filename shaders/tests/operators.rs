//! One kernel for each operator, type and kind of operand, against the meaning in
//! `crossover_kernels::eval`. Exact, with these exceptions, which WGSL gives to every driver:
//!
//! - division 2.5 ULP, square root 4 ULP; 2 ULP for the functions that are lowered to arithmetic;
//! - subnormal numbers may be taken for zero, on the way in and on the way out;
//! - a fused product and sum may be rounded once or twice;
//! - one NaN is as good as another.

mod common;

use std::sync::Arc;

use common::{bits, compile, data, gpu, has, over, run_gpu};
use crossover_kernels::eval;
use crossover_kernels::interp::Data;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Axis, BinaryOp, Const, Inst, Kernel, Type, UnaryOp, Value};
use crossover_kernels::passes::lower_math;
use crossover_kernels::passes::rule::Hits;
use crossover_kernels::random::Random;
use crossover_shaders::Gpu;

const LENGTHS: [usize; 6] = [0, 1, 3, 64, 257, 1001];

/// The values that decide.
fn specials(ty: Type) -> Vec<Const> {
    match ty {
        Type::Bool => vec![false.into(), true.into()],
        Type::I32 => {
            [0, 1, -1, 2, 7, -7, 31, 33, 1000, 0x0f0f_0f0f, i32::MIN, i32::MAX, i32::MIN + 1]
                .map(Const::from)
                .to_vec()
        }
        Type::U32 => [0, 1, 2, 7, 31, 32, 33, 1000, 0x0f0f_0f0f, 1 << 31, u32::MAX, u32::MAX - 1]
            .map(Const::from)
            .to_vec(),
        Type::I64 => {
            [0, 1, -1, 2, 7, -7, 33, 63, 65, 1 << 40, -(1 << 40), i64::MIN, i64::MAX, 0xffff_ffff]
                .map(Const::from)
                .to_vec()
        }
        Type::U64 => [0, 1, 2, 7, 33, 63, 64, 65, 1 << 40, 1 << 63, u64::MAX, 0xffff_ffff]
            .map(Const::from)
            .to_vec(),
        Type::F32 => [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            0.3,
            3.75,
            1e-40,
            -1e-40,
            1e30,
            -1e30,
            8_388_609.0,
            2_147_483_648.0,
            4_294_967_296.0,
            f32::MAX,
            f32::MIN,
            f32::MIN_POSITIVE,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            0.499_999_97,
            1.8e19,
            -9.3e18,
        ]
        .map(Const::from)
        .to_vec(),
        Type::F64 => [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            0.3,
            3.75,
            1e-310,
            1e30,
            -1e300,
            4_503_599_627_370_497.0,
            2_147_483_647.5,
            4_294_967_296.0,
            f64::MAX,
            f64::MIN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            1.8e19,
            -9.3e18,
        ]
        .map(Const::from)
        .to_vec(),
    }
}

/// How an operand comes into the kernel.
#[derive(Clone, Copy, Debug)]
enum Operand {
    Loaded(Type),
    Constant(Const),
    Scalar(Const),
}

impl Operand {
    fn ty(self) -> Type {
        match self {
            Operand::Loaded(ty) => ty,
            Operand::Constant(c) | Operand::Scalar(c) => c.ty,
        }
    }
}

/// A kernel `out[i] = op(operands)`. `bool` travels through memory as `u32`.
fn build(
    name: &str,
    operands: &[Operand],
    op: impl Fn(&mut Builder, &[Value]) -> Value,
) -> Arc<Kernel> {
    let mut b = Builder::new(name);
    let stored = |ty: Type| if ty == Type::Bool { Type::U32 } else { ty };
    let params: Vec<_> = operands
        .iter()
        .zip(["a", "b", "c"])
        .map(|(operand, name)| match operand {
            Operand::Loaded(ty) => Some(b.buffer(name, stored(*ty), Access::Read)),
            Operand::Scalar(c) => Some(b.scalar(name, c.ty)),
            Operand::Constant(_) => None,
        })
        .collect();
    // The type of the result decides that of the output: found by a dry run.
    let mut dry = Builder::new("dry");
    let values: Vec<Value> = operands.iter().map(|o| dry.constant(Const::zero(o.ty()))).collect();
    let result = op(&mut dry, &values);
    let result_ty = dry.function().ty(result);
    let out = b.buffer("out", stored(result_ty), Access::ReadWrite);
    let i = b.id(Axis::X);
    let values: Vec<Value> = operands
        .iter()
        .zip(&params)
        .map(|(operand, param)| match (operand, param) {
            (Operand::Loaded(ty), Some(p)) => {
                let v = b.value(stored(*ty), Inst::Load(*p, i));
                if *ty == Type::Bool {
                    let zero = b.constant(0u32);
                    b.binary(BinaryOp::Ne, v, zero)
                } else {
                    v
                }
            }
            (Operand::Scalar(_), Some(p)) => b.argument(*p),
            (Operand::Constant(c), _) => b.constant(*c),
            (_, None) => unreachable!("loaded and scalar operands have a parameter"),
        })
        .collect();
    let mut result = op(&mut b, &values);
    if result_ty == Type::Bool {
        result = b.cast(result, Type::U32);
    }
    b.checked_store(out, i, result);
    over(b, out)
}

/// The kernel without transcendental operators.
fn lowered(kernel: &Kernel) -> Arc<Kernel> {
    let mut kernel = kernel.clone();
    lower_math::run(&mut kernel, &mut Hits::ignored());
    kernel.entry.compact();
    Arc::new(kernel)
}

/// What an operator may be wrong by.
#[derive(Clone, Copy)]
struct Tolerance {
    ulps: u64,
}

const EXACT: Tolerance = Tolerance { ulps: 0 };

/// The bound that `passes::lower_math` states.
const LOWERED: Tolerance = Tolerance { ulps: 2 };

/// The float with a subnormal number taken for zero of its sign.
fn flush(c: Const) -> Const {
    match c.ty {
        Type::F32 if f32::from_bits(c.bits as u32).is_subnormal() => {
            Const::new(c.ty, c.bits & (1 << 31))
        }
        Type::F64 if f64::from_bits(c.bits).is_subnormal() => Const::new(c.ty, c.bits & (1 << 63)),
        _ => c,
    }
}

fn is_zero(c: Const) -> bool {
    c.ty.is_float() && c.to_f64() == 0.0
}

fn close(got: Const, expected: Const, tolerance: Tolerance) -> bool {
    if got == expected || (got.is_nan() && expected.is_nan()) {
        return true;
    }
    if !got.ty.is_float() || got.is_nan() || expected.is_nan() {
        return false;
    }
    // Floats of one sign are ordered as their bits.
    let order = |c: Const| {
        let sign = 1u64 << (c.ty.bits() - 1);
        if c.bits & sign != 0 { -((c.bits & (sign - 1)) as i128) } else { i128::from(c.bits) }
    };
    let distance = (order(got) - order(expected)).unsigned_abs();
    distance != 0 && distance <= u128::from(tolerance.ulps)
}

/// Whether a result is right for some way to treat subnormal numbers.
fn accepts(
    got: Const,
    operands: &[Const],
    meaning: &dyn Fn(&[Const]) -> Vec<Const>,
    tolerance: Tolerance,
) -> bool {
    if meaning(operands).into_iter().any(|expected| close(got, expected, tolerance)) {
        return true;
    }
    (0..1u32 << operands.len()).any(|flushed| {
        let operands: Vec<Const> = operands
            .iter()
            .enumerate()
            .map(|(at, &c)| if flushed >> at & 1 == 1 { flush(c) } else { c })
            .collect();
        meaning(&operands).into_iter().any(|expected| {
            let subnormal = flush(expected) != expected || flush(got) != got || flushed != 0;
            close(got, expected, tolerance)
                || close(flush(got), flush(expected), tolerance)
                || (subnormal && is_zero(flush(got)) && is_zero(flush(expected)))
        })
    })
}

/// Runs one operator kernel at all lengths and checks each element. Gives what is wrong.
fn check(
    gpu: &Arc<Gpu>,
    name: &str,
    operands: &[Operand],
    values: &[Vec<Const>],
    op: impl Fn(&mut Builder, &[Value]) -> Value,
    meaning: &dyn Fn(&[Const]) -> Vec<Const>,
    tolerance: Tolerance,
) -> Option<String> {
    let kernel = lowered(&build(name, operands, op));
    let version = compile(gpu, &kernel);
    let out_ty =
        kernel.entry.element(crossover_kernels::ir::Param(kernel.entry.params.len() as u32 - 1))?;
    for len in LENGTHS {
        // All combinations of values, the first operand fastest.
        let element = |at: usize, i: usize| {
            let before: usize = values[..at].iter().map(Vec::len).product();
            values[at][i / before % values[at].len()]
        };
        let operand = |at: usize, i: usize| match operands[at] {
            Operand::Loaded(_) => element(at, i),
            Operand::Constant(c) | Operand::Scalar(c) => c,
        };
        let mut args: Vec<Data> = Vec::new();
        for (at, kind) in operands.iter().enumerate() {
            match kind {
                Operand::Loaded(Type::Bool) => {
                    let column: Vec<Const> =
                        (0..len).map(|i| (element(at, i).bits as u32).into()).collect();
                    args.push(data(&column));
                }
                Operand::Loaded(ty) => {
                    let column: Vec<Const> = (0..len).map(|i| element(at, i)).collect();
                    args.push(if len == 0 { Data::zeroed(*ty, 0) } else { data(&column) });
                }
                Operand::Scalar(c) => args.push(Data::Scalar(*c)),
                Operand::Constant(_) => {}
            }
        }
        args.push(Data::zeroed(out_ty, len));
        if let Err(error) = run_gpu(&version, &mut args, [len as u32, 1, 1], None) {
            return Some(format!("{name}: {error}"));
        }
        let got = bits(args.last()?);
        for (i, &bits) in got.iter().enumerate() {
            let row: Vec<Const> = (0..operands.len()).map(|at| operand(at, i)).collect();
            let result_ty = meaning(&row)[0].ty;
            let got = Const::new(result_ty, bits);
            if !accepts(got, &row, meaning, tolerance) {
                let expected = meaning(&row);
                return Some(format!(
                    "{name} of {row:?} ({operands:?}): {got:?}, expected {expected:?}"
                ));
            }
        }
    }
    None
}

fn report(wrong: &[String], count: usize) {
    assert!(wrong.is_empty(), "{} of {count} kernels:\n{}", wrong.len(), wrong.join("\n"));
    eprintln!("{count} kernels");
}

#[test]
fn unary_operators() {
    let Some(gpu) = gpu() else { return };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for &op in UnaryOp::ALL {
        for ty in Type::ALL.into_iter().filter(|&ty| op.accepts(ty) && has(&gpu, ty)) {
            let values = specials(ty);
            let tolerance = match op {
                UnaryOp::Sqrt => Tolerance { ulps: 4 },
                _ if op.is_transcendental() => LOWERED,
                _ => EXACT,
            };
            for operand in [
                Operand::Loaded(ty),
                Operand::Constant(values[values.len() / 2]),
                Operand::Scalar(values[values.len() - 1]),
            ] {
                count += 1;
                wrong.extend(check(
                    &gpu,
                    &format!("{op}_{ty}"),
                    &[operand],
                    std::slice::from_ref(&values),
                    |b, v| b.unary(op, v[0]),
                    &|row| vec![eval::unary(op, row[0])],
                    tolerance,
                ));
            }
        }
    }
    report(&wrong, count);
}

/// Drivers simplify floats by rules that only real numbers keep. What that does to the functions
/// shows on few arguments.
#[test]
fn functions_on_many_numbers() {
    let Some(gpu) = gpu() else { return };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for ty in [Type::F32, Type::F64].into_iter().filter(|&ty| has(&gpu, ty)) {
        for &op in UnaryOp::ALL.iter().filter(|op| op.is_transcendental()) {
            count += 1;
            wrong.extend(check_many(
                &gpu,
                &format!("{op}_{ty}"),
                &[Operand::Loaded(ty)],
                |b, v| b.unary(op, v[0]),
                &|row| vec![eval::unary(op, row[0])],
            ));
        }
        for &op in BinaryOp::ALL.iter().filter(|op| op.is_transcendental()) {
            count += 1;
            wrong.extend(check_many(
                &gpu,
                &format!("{op}_{ty}"),
                &[Operand::Loaded(ty); 2],
                |b, v| b.binary(op, v[0], v[1]),
                &|row| eval::binary(op, row[0], row[1]).into_iter().collect(),
            ));
        }
    }
    report(&wrong, count);
}

/// Runs a function on numbers of all sizes, half of them between 2⁻⁸ and 2⁸.
fn check_many(
    gpu: &Arc<Gpu>,
    name: &str,
    operands: &[Operand],
    op: impl Fn(&mut Builder, &[Value]) -> Value,
    meaning: &dyn Fn(&[Const]) -> Vec<Const>,
) -> Option<String> {
    const LEN: usize = 50_000;
    let mut rng = Random::new(0x0061_9a5e);
    let mut column = |operand: &Operand| -> Vec<Const> {
        let ty = operand.ty();
        (0..LEN).map(|at| many(ty, rng.next_u64(), at % 2 == 0)).collect()
    };
    let columns: Vec<Vec<Const>> = operands.iter().map(&mut column).collect();
    let ty = operands[0].ty();
    let version = compile(gpu, &lowered(&build(name, operands, op)));
    let mut args: Vec<Data> = columns.iter().map(|column| data(column)).collect();
    args.push(Data::zeroed(ty, LEN));
    if let Err(error) = run_gpu(&version, &mut args, [LEN as u32, 1, 1], None) {
        return Some(format!("{name}: {error}"));
    }
    let found = bits(args.last()?).into_iter().map(|bits| Const::new(ty, bits));
    let mut rows = found.enumerate().map(|(at, found)| {
        let row: Vec<Const> = columns.iter().map(|column| column[at]).collect();
        (found, row)
    });
    let (found, row) = rows.find(|(found, row)| !accepts(*found, row, meaning, LOWERED))?;
    Some(format!("{name} of {row:?}: {found:?}, expected {:?}", meaning(&row)))
}

/// The number of these bits, or of these with a small exponent.
fn many(ty: Type, bits: u64, small: bool) -> Const {
    let bits = if ty == Type::F32 { bits >> 32 } else { bits };
    let (mantissa, bias) = if ty == Type::F32 { (23, 127) } else { (52, 1023) };
    if !small {
        return Const::new(ty, bits);
    }
    let exponent = bias - 8 + (bits >> mantissa) % 16;
    let kept = bits & (1 << (ty.bits() - 1) | ((1 << mantissa) - 1));
    Const::new(ty, kept | exponent << mantissa)
}

#[test]
fn binary_operators() {
    let Some(gpu) = gpu() else { return };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for &op in BinaryOp::ALL {
        for ty in Type::ALL.into_iter().filter(|&ty| op.accepts(ty) && has(&gpu, ty)) {
            let divides = matches!(op, BinaryOp::Div | BinaryOp::Rem) && ty.is_int();
            let left = specials(ty);
            let right: Vec<Const> =
                specials(ty).into_iter().filter(|c| !divides || c.bits != 0).collect();
            let tolerance = match op {
                BinaryOp::Div if ty.is_float() => Tolerance { ulps: 3 },
                _ if op.is_transcendental() => LOWERED,
                _ => EXACT,
            };
            let last = right[right.len() - 1];
            let kinds = [
                [Operand::Loaded(ty), Operand::Loaded(ty)],
                [Operand::Loaded(ty), Operand::Constant(right[2 % right.len()])],
                [Operand::Loaded(ty), Operand::Constant(last)],
                [Operand::Constant(left[left.len() / 2]), Operand::Loaded(ty)],
                [Operand::Scalar(left[1]), Operand::Scalar(last)],
            ];
            for operands in kinds {
                count += 1;
                wrong.extend(check(
                    &gpu,
                    &format!("{op}_{ty}"),
                    &operands,
                    &[left.clone(), right.clone()],
                    |b, v| b.binary(op, v[0], v[1]),
                    &|row| eval::binary(op, row[0], row[1]).into_iter().collect(),
                    tolerance,
                ));
            }
        }
    }
    report(&wrong, count);
}

#[test]
fn negated_comparisons_and_selects() {
    let Some(gpu) = gpu() else { return };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for op in BinaryOp::ALL.iter().copied().filter(|op| op.is_comparison()) {
        for ty in [Type::F32, Type::F64, Type::I32] {
            if !has(&gpu, ty) {
                continue;
            }
            count += 1;
            let values = specials(ty);
            let operands = [Operand::Loaded(ty), Operand::Loaded(ty)];
            let meaning = |row: &[Const]| eval::binary(op, row[0], row[1]).map(|c| c.bits == 1);
            wrong.extend(check(
                &gpu,
                &format!("not_{op}_{ty}"),
                &operands,
                &[values.clone(), values.clone()],
                |b, v| {
                    let c = b.binary(op, v[0], v[1]);
                    b.unary(UnaryOp::Not, c)
                },
                &|row| meaning(row).map(|holds| Const::from(!holds)).into_iter().collect(),
                EXACT,
            ));
            wrong.extend(check(
                &gpu,
                &format!("branch_{op}_{ty}"),
                &operands,
                &[values.clone(), values.clone()],
                |b, v| {
                    let c = b.binary(op, v[0], v[1]);
                    let c = b.unary(UnaryOp::Not, c);
                    let local = b.local(Type::U32, None);
                    let (one, two) = (b.constant(1u32), b.constant(2u32));
                    b.if_else(c, |b| b.set(local, one), |b| b.set(local, two));
                    b.get(local)
                },
                &|row| {
                    meaning(row)
                        .map(|holds| Const::from(1 + u32::from(holds)))
                        .into_iter()
                        .collect()
                },
                EXACT,
            ));
            wrong.extend(check(
                &gpu,
                &format!("select_{op}_{ty}"),
                &operands,
                &[values.clone(), values.clone()],
                |b, v| {
                    let c = b.binary(op, v[0], v[1]);
                    b.select(c, v[0], v[1])
                },
                &|row| meaning(row).map(|holds| row[usize::from(!holds)]).into_iter().collect(),
                EXACT,
            ));
        }
    }
    report(&wrong, count);
}

#[test]
fn casts_and_bitcasts() {
    let Some(gpu) = gpu() else { return };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for from in Type::ALL.into_iter().filter(|&ty| has(&gpu, ty)) {
        for to in Type::STORABLE.into_iter().filter(|&ty| has(&gpu, ty)) {
            let values = specials(from);
            let middle = Operand::Constant(values[values.len() / 2]);
            for operand in [Operand::Loaded(from), middle, Operand::Scalar(values[0])] {
                count += 1;
                wrong.extend(check(
                    &gpu,
                    &format!("cast_{from}_{to}"),
                    &[operand],
                    std::slice::from_ref(&values),
                    |b, v| b.cast(v[0], to),
                    &|row| vec![eval::cast(row[0], to)],
                    EXACT,
                ));
                if from.bits() == to.bits() {
                    count += 1;
                    wrong.extend(check(
                        &gpu,
                        &format!("bitcast_{from}_{to}"),
                        &[operand],
                        std::slice::from_ref(&values),
                        |b, v| b.bitcast(v[0], to),
                        &|row| vec![Const::new(to, row[0].bits)],
                        EXACT,
                    ));
                }
            }
        }
    }
    report(&wrong, count);
}

#[test]
fn fused_products() {
    let Some(gpu) = gpu() else { return };
    let (mut wrong, mut count) = (Vec::new(), 0);
    for ty in [Type::F32, Type::F64].into_iter().filter(|&ty| has(&gpu, ty)) {
        let all = specials(ty);
        let some: Vec<Const> = all.iter().copied().step_by(3).collect();
        for last in [Operand::Loaded(ty), Operand::Constant(all[9])] {
            count += 1;
            wrong.extend(check(
                &gpu,
                &format!("fma_{ty}"),
                &[Operand::Loaded(ty), Operand::Loaded(ty), last],
                &[all.clone(), some.clone(), some.clone()],
                |b, v| b.fma(v[0], v[1], v[2]),
                &|row| {
                    let product = eval::binary(BinaryOp::Mul, row[0], row[1]);
                    let twice = product.and_then(|p| eval::binary(BinaryOp::Add, p, row[2]));
                    [Some(eval::fma(row[0], row[1], row[2])), twice].into_iter().flatten().collect()
                },
                EXACT,
            ));
        }
    }
    report(&wrong, count);
}
