//! One kernel for each operator × type × kind of operand, against the interpreter, bit for bit.
//! Transcendental operators are lowered before, for both.

mod support;

use std::sync::Arc;

use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, Axis, BinaryOp, Const, Inst, Kernel, Param, Type, UnaryOp, Value,
};
use crossover_kernels::passes::lower_math;
use crossover_kernels::passes::rule::Hits;
use support::{Data, LENGTHS, buffer, check, kernel, special, values, with_output, zeros};

/// How an operand comes to be.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Constant,
    Argument,
    Loaded,
    Linear,
}

const KINDS: [Kind; 4] = [Kind::Constant, Kind::Argument, Kind::Loaded, Kind::Linear];

/// What can be stored in place of the type.
fn storable(ty: Type) -> Type {
    if ty == Type::Bool { Type::U32 } else { ty }
}

struct Case {
    b: Builder,
    /// Buffers and scalars behind the output, with their types.
    inputs: Vec<(Param, Type, bool)>,
}

impl Case {
    fn operand(&mut self, kind: Kind, ty: Type, constant: Const) -> Option<Value> {
        let i = self.b.id(Axis::X);
        match kind {
            Kind::Constant => Some(self.b.constant(constant)),
            Kind::Argument => {
                let param = self.b.scalar(format!("s{}", self.inputs.len()), ty);
                self.inputs.push((param, ty, false));
                Some(self.b.argument(param))
            }
            Kind::Loaded => {
                let held = storable(ty);
                let name = format!("v{}", self.inputs.len());
                let param = self.b.buffer(name, held, Access::Read);
                self.inputs.push((param, held, true));
                let loaded = self.b.checked_load(param, i);
                if ty != Type::Bool {
                    return Some(loaded);
                }
                let one = self.b.constant(1u32);
                let bit = self.b.binary(BinaryOp::And, loaded, one);
                Some(self.b.binary(BinaryOp::Eq, bit, one))
            }
            Kind::Linear => match ty {
                Type::U32 => Some(i),
                Type::I32 => Some(self.b.bitcast(i, Type::I32)),
                Type::Bool | Type::F32 | Type::I64 | Type::U64 | Type::F64 => None,
            },
        }
    }

    /// Stores the result, runs the kernel at every length and with several arguments.
    fn finish(mut self, out: Param, result: Value, avoid_zero: bool) {
        let mut result = result;
        if self.b.function().ty(result) == Type::Bool {
            result = self.b.cast(result, Type::U32);
        }
        let i = self.b.id(Axis::X);
        self.b.checked_store(out, i, result);
        let out_ty = self.b.function().ty(result);
        let kernel = lowered(&kernel(self.b.finish()));
        let whole = |ty: Type, c: Const| {
            if avoid_zero && c.bits == 0 { Const::one(ty) } else { c }
        };
        for (round, len) in LENGTHS.into_iter().enumerate() {
            let mut data = vec![zeros(out_ty, len)];
            for (at, &(_, ty, is_buffer)) in self.inputs.iter().enumerate() {
                if is_buffer {
                    let seed = 7 * at as u64 + round as u64;
                    data.push(buffer(ty, values(ty, len, seed).into_iter().map(|c| whole(ty, c))));
                } else {
                    let all = special(ty);
                    data.push(Data::Scalar(whole(ty, all[(round * 5 + at) % all.len()])));
                }
            }
            check(&kernel, &data);
        }
    }
}

fn lowered(kernel: &Kernel) -> Arc<Kernel> {
    let mut kernel = kernel.clone();
    lower_math::run(&mut kernel, &mut Hits::ignored());
    kernel.entry.compact();
    Arc::new(kernel)
}

fn case(name: &str, ty: Type) -> (Case, Param) {
    let (b, out) = with_output(name, storable(ty));
    (Case { b, inputs: Vec::new() }, out)
}

#[test]
fn unary_operators() {
    for &op in UnaryOp::ALL {
        for ty in Type::ALL.into_iter().filter(|&ty| op.accepts(ty)) {
            for kind in KINDS {
                let (mut case, out) = case(op.text(), ty);
                let Some(a) = case.operand(kind, ty, special(ty)[1]) else { continue };
                let result = case.b.unary(op, a);
                case.finish(out, result, false);
            }
        }
    }
}

fn binary_operators(types: &[Type]) {
    for &op in BinaryOp::ALL {
        for &ty in types.iter().filter(|&&ty| op.accepts(ty)) {
            for left in KINDS {
                for right in KINDS {
                    binary_operator(op, ty, left, right);
                }
            }
        }
    }
}

fn binary_operator(op: BinaryOp, ty: Type, left: Kind, right: Kind) {
    let divides = matches!(op, BinaryOp::Div | BinaryOp::Rem) && ty.is_int();
    // A linear divisor is 0 at first.
    if left == Kind::Constant && right == Kind::Constant || divides && right == Kind::Linear {
        return;
    }
    let all = special(ty);
    let constants = if divides { [all[1], all[2]] } else { [all[0], all[all.len() - 1]] };
    for constant in constants {
        let (mut case, out) = case(op.text(), op.result(ty));
        let Some(a) = case.operand(left, ty, constant) else { return };
        let Some(b) = case.operand(right, ty, constant) else { return };
        let result = case.b.checked_binary(op, a, b);
        case.finish(out, result, divides);
        if left != Kind::Constant && right != Kind::Constant {
            return;
        }
    }
}

#[test]
fn binary_operators_of_bool_and_f32() {
    binary_operators(&[Type::Bool, Type::F32]);
}

#[test]
fn binary_operators_of_i32() {
    binary_operators(&[Type::I32]);
}

#[test]
fn binary_operators_of_u32() {
    binary_operators(&[Type::U32]);
}

#[test]
fn binary_operators_of_f64() {
    binary_operators(&[Type::F64]);
}

#[test]
fn binary_operators_of_i64() {
    binary_operators(&[Type::I64]);
}

#[test]
fn binary_operators_of_u64() {
    binary_operators(&[Type::U64]);
}

#[test]
fn casts_and_bitcasts() {
    for from in Type::ALL {
        for to in Type::STORABLE {
            for kind in KINDS {
                let (mut cast, out) = case("cast", to);
                let Some(a) = cast.operand(kind, from, special(from)[1]) else { continue };
                let result = cast.b.cast(a, to);
                cast.finish(out, result, false);
                if from.bits() != to.bits() {
                    continue;
                }
                let (mut bitcast, out) = case("bitcast", to);
                let Some(a) = bitcast.operand(kind, from, special(from)[1]) else { continue };
                let result = bitcast.b.bitcast(a, to);
                bitcast.finish(out, result, false);
            }
        }
    }
}

#[test]
fn select_of_every_type() {
    for ty in Type::ALL {
        for condition in KINDS {
            for kind in KINDS {
                let (mut case, out) = case("select", ty);
                let c = case.operand(condition, Type::Bool, true.into());
                let a = case.operand(kind, ty, special(ty)[1]);
                let b = case.operand(Kind::Loaded, ty, special(ty)[0]);
                let (Some(c), Some(a), Some(b)) = (c, a, b) else { continue };
                let result = case.b.select(c, a, b);
                case.finish(out, result, false);
            }
        }
    }
}

/// One or two roundings are both right: with numbers of few bits they are the same.
#[test]
fn fma_of_exact_numbers() {
    for ty in [Type::F32, Type::F64] {
        for kind in KINDS {
            let (mut case, out) = case("fma", ty);
            let a = case.operand(kind, ty, Const::one(ty));
            let b = case.operand(Kind::Loaded, ty, Const::one(ty));
            let (Some(a), Some(b)) = (a, b) else { continue };
            let whole = case.b.unary(UnaryOp::Trunc, b);
            let small =
                case.b.constant(if ty.is_wide() { 3.0f64.into() } else { Const::from(3.0f32) });
            let limited = case.b.binary(BinaryOp::Min, whole, small);
            let floor = case.b.unary(UnaryOp::Neg, small);
            let limited = case.b.binary(BinaryOp::Max, limited, floor);
            let a = case.b.binary(BinaryOp::Min, a, small);
            let a = case.b.binary(BinaryOp::Max, a, floor);
            let a = case.b.unary(UnaryOp::Trunc, a);
            let result = case.b.fma(a, limited, small);
            case.finish(out, result, false);
        }
    }
}

/// Loads and stores by each kind of index, of every type.
#[test]
fn accesses_of_every_type_and_index() {
    for ty in Type::STORABLE {
        let mut b = Builder::new("access");
        let out = b.buffer("out", ty, Access::ReadWrite);
        let input = b.buffer("input", ty, Access::Read);
        let order = b.buffer("order", Type::U32, Access::Read);
        let i = b.id(Axis::X);
        let at = b.checked_load(order, i);
        let gathered = b.checked_load(input, at);
        let zero = b.constant(0u32);
        let first = b.checked_load(input, zero);
        let even = b.unary(UnaryOp::TrailingZeros, i);
        let even = b.binary(BinaryOp::Ne, even, zero);
        let chosen = b.select(even, gathered, first);
        b.checked_store(out, at, chosen);
        let kernel = kernel(b.finish());
        for len in LENGTHS {
            let order = (0..len).map(|i| Const::from(((i * 7 + 3) % len.max(1)) as u32));
            let order: Vec<Const> = order.collect();
            let mut seen: Vec<u64> = order.iter().map(|c| c.bits).collect();
            seen.sort_unstable();
            seen.dedup();
            if seen.len() < len {
                continue;
            }
            let data = [zeros(ty, len), buffer(ty, values(ty, len, 4)), buffer(Type::U32, order)];
            check(&kernel, &data);
        }
    }
}

#[test]
fn unlowered_constructs_are_refused() {
    let (mut b, out) = with_output("exp", Type::F32);
    let i = b.id(Axis::X);
    let v = b.constant(1.0f32);
    let e = b.unary(UnaryOp::Exp, v);
    let p = b.value(Type::F32, Inst::Binary(BinaryOp::Pow, e, e));
    b.checked_store(out, i, p);
    let kernel = kernel(b.finish());
    let error =
        crossover_wasm::emit(&kernel, crossover_wasm::Schedule::PLAIN).expect_err("not lowered");
    assert!(error.to_string().contains("transcendental"), "{error}");
}
