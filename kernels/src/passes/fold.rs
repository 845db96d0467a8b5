//! Constant folding and identities. Constants go through [`crate::eval`], as in the interpreter.
//!
//! ```text
//! op c…            == the constant, unless it divides by zero
//! c + x            == x + c            for every commutative operator
//! (x + c) + d      == x + (c + d)      integers; also *, &, |, ^
//! x+0, x-0, x|0, x^0, x<<0, x>>0, x*1, x/1  == x                 integers
//! x*0, x&0, x%1, x-x, x^x, 0/x, 0%x, 0<<x   == 0                 integers
//! x & ~0, x & x, x | x, min(x, x), max(x, x) == x                integers
//! x | ~0           == ~0               x ^ ~0  == not x          integers
//! 0 - x            == neg x            signed
//! x == x, x <= x, x >= x == true       x != x, x < x, x > x == false   integers and bool
//! u < 0            == false            u >= 0  == true           unsigned
//! x == true, x != false == x           x == false, x != true == not x  bool
//! x*1, x/1, x - (+0), x + (-0) == x    floats: exact for every x, −0 and NaN included
//! x / 2ᵏ           == x * 2⁻ᵏ          floats, both constants normal: both round once, equally
//! not not x, neg neg x == x            abs abs x, abs neg x == abs x   (abs neg: floats)
//! not (x < y)      == x >= y           and so on; floats only == and !=
//! select(c, x, x), select(true, x, y) == x;  select(false, x, y) == y
//! select(c, true, false) == c;  select(c, false, true) == not c
//! cast to the own type, bitcast to the own type == x;  bitcast (bitcast x) == bitcast x
//! if true {a} else {b} == a;  if false {a} else {b} == b;  check true == nothing
//! for over an empty range == nothing
//! loop { a; break } == a, where a has no jump of that loop; with breaks, `if` takes up the rest
//! ```

use super::Pass;
use super::rewrite::{Rewrite, each_function, ends_in_jump, rewrite};
use super::rule::{Hits, Rule};
use crate::eval;
use crate::ir::builder::Builder;
use crate::ir::{
    BinaryOp, Block, Const, Function, Inst, Kernel, Stmt, Type, UnaryOp, Value, ValueDef,
};

/// The pass.
pub const PASS: Pass =
    Pass { name: "fold", description: "computes constants and removes identities", run };

/// Folds every function.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    each_function(kernel, |function| {
        rewrite(function, &mut Fold { hits });
        let body = std::mem::take(&mut function.body);
        function.body = Statements { function, hits }.block(body);
    });
}

struct Fold<'h> {
    hits: &'h mut Hits,
}

/// What a value is, more simply, and by which rule.
struct Simpler {
    rule: Rule,
    form: Form,
}

enum Form {
    /// Another value.
    Value(Value),
    /// Another instruction.
    Inst(Inst),
}

impl From<Value> for Form {
    fn from(value: Value) -> Form {
        Form::Value(value)
    }
}

impl From<Inst> for Form {
    fn from(inst: Inst) -> Form {
        Form::Inst(inst)
    }
}

impl From<Const> for Form {
    fn from(c: Const) -> Form {
        Form::Inst(Inst::Const(c))
    }
}

fn by(rule: Rule, form: impl Into<Form>) -> Option<Simpler> {
    Some(Simpler { rule, form: form.into() })
}

impl Rewrite for Fold<'_> {
    fn value(&mut self, b: &mut Builder, value: Value) -> Option<Value> {
        let def = b.function().def(value).clone();
        let Simpler { rule, form } = simplify(b, &def)?;
        self.hits.hit(rule);
        match form {
            Form::Value(other) => Some(other),
            Form::Inst(inst) => Some(b.value(def.ty, inst)),
        }
    }
}

fn simplify(b: &mut Builder, def: &ValueDef) -> Option<Simpler> {
    match def.inst {
        Inst::Unary(op, x) => simplify_unary(b.function(), op, x),
        Inst::Binary(op, x, y) => simplify_binary(b, op, x, y),
        Inst::Fma(x, y, z) => {
            let f = b.function();
            by(Rule::Constant, eval::fma(f.as_const(x)?, f.as_const(y)?, f.as_const(z)?))
        }
        Inst::Select(c, x, y) => simplify_select(b.function(), c, x, y),
        Inst::Cast(x) => {
            let f = b.function();
            match f.as_const(x) {
                Some(c) => by(Rule::Constant, eval::cast(c, def.ty)),
                None if f.ty(x) == def.ty => by(Rule::CastSame, x),
                None => None,
            }
        }
        Inst::Bitcast(x) => simplify_bitcast(b.function(), x, def.ty),
        Inst::Const(_)
        | Inst::Param(_)
        | Inst::Id(_)
        | Inst::Local(_)
        | Inst::Group(_)
        | Inst::Extent(_)
        | Inst::Len(_)
        | Inst::Counter
        | Inst::Get(_)
        | Inst::GetElement(..)
        | Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::CompareSwap(..)
        | Inst::Call(..) => None,
    }
}

fn simplify_bitcast(f: &Function, x: Value, ty: Type) -> Option<Simpler> {
    if f.ty(x) == ty {
        return by(Rule::BitcastSame, x);
    }
    match f.def(x).inst {
        Inst::Const(c) => by(Rule::Constant, Const::new(ty, c.bits)),
        Inst::Bitcast(y) if f.ty(y) == ty => by(Rule::BitcastTwice, y),
        Inst::Bitcast(y) => by(Rule::BitcastTwice, Inst::Bitcast(y)),
        _ => None,
    }
}

fn simplify_unary(f: &Function, op: UnaryOp, x: Value) -> Option<Simpler> {
    if let Some(c) = f.as_const(x) {
        return by(Rule::Constant, eval::unary(op, c));
    }
    match (op, &f.def(x).inst) {
        (UnaryOp::Not, Inst::Unary(UnaryOp::Not, y)) => by(Rule::NotNot, *y),
        (UnaryOp::Neg, Inst::Unary(UnaryOp::Neg, y)) => by(Rule::NegNeg, *y),
        (UnaryOp::Abs, Inst::Unary(UnaryOp::Abs, _)) => by(Rule::AbsAbs, x),
        (UnaryOp::Abs, Inst::Unary(UnaryOp::Neg, y)) if f.ty(x).is_float() => {
            by(Rule::AbsNeg, Inst::Unary(UnaryOp::Abs, *y))
        }
        (UnaryOp::Not, Inst::Binary(op, y, z)) => {
            let opposite = opposite(*op, f.ty(*y))?;
            by(Rule::NotComparison, Inst::Binary(opposite, *y, *z))
        }
        _ => None,
    }
}

/// The comparison that holds where this one does not. NaNs fail every ordering, and its opposite.
fn opposite(op: BinaryOp, ty: Type) -> Option<BinaryOp> {
    match op {
        BinaryOp::Eq => Some(BinaryOp::Ne),
        BinaryOp::Ne => Some(BinaryOp::Eq),
        BinaryOp::Lt if !ty.is_float() => Some(BinaryOp::Ge),
        BinaryOp::Ge if !ty.is_float() => Some(BinaryOp::Lt),
        BinaryOp::Gt if !ty.is_float() => Some(BinaryOp::Le),
        BinaryOp::Le if !ty.is_float() => Some(BinaryOp::Gt),
        BinaryOp::Lt
        | BinaryOp::Ge
        | BinaryOp::Gt
        | BinaryOp::Le
        | BinaryOp::Add
        | BinaryOp::Sub
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Min
        | BinaryOp::Max
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Xor
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Pow
        | BinaryOp::Atan2
        | BinaryOp::Copysign => None,
    }
}

fn simplify_select(f: &Function, c: Value, x: Value, y: Value) -> Option<Simpler> {
    if x == y {
        return by(Rule::SelectSame, x);
    }
    if let Some(c) = f.as_const(c) {
        return by(Rule::SelectConstant, if c.bits == 1 { x } else { y });
    }
    let (a, b) = (f.as_const(x)?, f.as_const(y)?);
    if a == b {
        by(Rule::SelectSame, x)
    } else if a.ty != Type::Bool {
        None
    } else if a.bits == 1 {
        by(Rule::SelectIs, c)
    } else {
        by(Rule::SelectNot, Inst::Unary(UnaryOp::Not, c))
    }
}

fn simplify_binary(b: &mut Builder, op: BinaryOp, x: Value, y: Value) -> Option<Simpler> {
    let f = b.function();
    let ty = f.ty(x);
    match (f.as_const(x), f.as_const(y)) {
        (Some(c), Some(d)) => return by(Rule::Constant, eval::binary(op, c, d)?),
        (Some(_), None) if op.is_commutative(ty) => {
            let swapped = by(Rule::Commute, Inst::Binary(op, y, x));
            return simplify_binary(b, op, y, x).or(swapped);
        }
        (Some(c), None) => return constant_left(op, c, y),
        (None, Some(d)) if ty.is_float() => return float_right(b, op, x, d),
        (None, Some(d)) => {
            return constant_right(op, x, d).or_else(|| constant_chain(b, op, x, d));
        }
        (None, None) => {}
    }
    match (op, &f.def(x).inst, &f.def(y).inst) {
        (BinaryOp::Add, _, Inst::Unary(UnaryOp::Neg, z)) => {
            by(Rule::AddNeg, Inst::Binary(BinaryOp::Sub, x, *z))
        }
        (BinaryOp::Add, Inst::Unary(UnaryOp::Neg, z), _) => {
            by(Rule::AddNeg, Inst::Binary(BinaryOp::Sub, y, *z))
        }
        (BinaryOp::Sub, _, Inst::Unary(UnaryOp::Neg, z)) => {
            by(Rule::SubNeg, Inst::Binary(BinaryOp::Add, x, *z))
        }
        _ if x == y && !ty.is_float() => same_operands(op, x, ty),
        _ => None,
    }
}

/// `x op x`; integers and bool.
fn same_operands(op: BinaryOp, x: Value, ty: Type) -> Option<Simpler> {
    match op {
        BinaryOp::Sub => by(Rule::SubSelf, Const::zero(ty)),
        BinaryOp::Xor => by(Rule::XorSelf, Const::zero(ty)),
        BinaryOp::And => by(Rule::AndSelf, x),
        BinaryOp::Or => by(Rule::OrSelf, x),
        BinaryOp::Min => by(Rule::MinSelf, x),
        BinaryOp::Max => by(Rule::MaxSelf, x),
        BinaryOp::Eq => by(Rule::EqSelf, Const::from(true)),
        BinaryOp::Le => by(Rule::LeSelf, Const::from(true)),
        BinaryOp::Ge => by(Rule::GeSelf, Const::from(true)),
        BinaryOp::Ne => by(Rule::NeSelf, Const::from(false)),
        BinaryOp::Lt => by(Rule::LtSelf, Const::from(false)),
        BinaryOp::Gt => by(Rule::GtSelf, Const::from(false)),
        BinaryOp::Add
        | BinaryOp::Mul
        | BinaryOp::Div
        | BinaryOp::Rem
        | BinaryOp::Shl
        | BinaryOp::Shr
        | BinaryOp::Pow
        | BinaryOp::Atan2
        | BinaryOp::Copysign => None,
    }
}

/// `c op x` for operators that do not commute.
fn constant_left(op: BinaryOp, c: Const, x: Value) -> Option<Simpler> {
    let zero = c.bits == 0 && c.ty.is_int();
    match op {
        BinaryOp::Sub if zero && c.ty.is_signed_int() => {
            by(Rule::ZeroSub, Inst::Unary(UnaryOp::Neg, x))
        }
        BinaryOp::Div if zero => by(Rule::ZeroDiv, c),
        BinaryOp::Rem if zero => by(Rule::ZeroRem, c),
        BinaryOp::Shl if zero => by(Rule::ZeroShl, c),
        BinaryOp::Shr if zero => by(Rule::ZeroShr, c),
        _ => None,
    }
}

/// `x op c`; integers and bool.
fn constant_right(op: BinaryOp, x: Value, c: Const) -> Option<Simpler> {
    let zero = c.bits == 0;
    let one = c == Const::one(c.ty);
    let ones = c == Const::new(c.ty, u64::MAX);
    let is_bool = c.ty == Type::Bool;
    let unsigned = matches!(c.ty, Type::U32 | Type::U64);
    let no_shift = c.bits & u64::from(c.ty.bits() - 1) == 0;
    let not = Inst::Unary(UnaryOp::Not, x);
    match op {
        BinaryOp::Add if zero => by(Rule::AddZero, x),
        BinaryOp::Sub if zero => by(Rule::SubZero, x),
        BinaryOp::Or if zero => by(Rule::OrZero, x),
        BinaryOp::Xor if zero => by(Rule::XorZero, x),
        BinaryOp::Mul if zero => by(Rule::MulZero, c),
        BinaryOp::And if zero => by(Rule::AndZero, c),
        BinaryOp::Mul if one => by(Rule::MulOne, x),
        BinaryOp::Div if one => by(Rule::DivOne, x),
        BinaryOp::Rem if one => by(Rule::RemOne, Const::zero(c.ty)),
        BinaryOp::And if ones => by(Rule::AndOnes, x),
        BinaryOp::Or if ones => by(Rule::OrOnes, c),
        BinaryOp::Xor if ones => by(Rule::XorOnes, not),
        BinaryOp::Shl if no_shift => by(Rule::ShlZero, x),
        BinaryOp::Shr if no_shift => by(Rule::ShrZero, x),
        BinaryOp::Lt if unsigned && zero => by(Rule::BelowZero, Const::from(false)),
        BinaryOp::Ge if unsigned && zero => by(Rule::NotBelowZero, Const::from(true)),
        BinaryOp::Eq if is_bool && one => by(Rule::EqTrue, x),
        BinaryOp::Eq if is_bool => by(Rule::EqFalse, not),
        BinaryOp::Ne if is_bool && zero => by(Rule::NeFalse, x),
        BinaryOp::Ne if is_bool => by(Rule::NeTrue, not),
        _ => None,
    }
}

/// `(x op c) op d == x op (c op d)`; wrapping integers are associative.
fn constant_chain(b: &mut Builder, op: BinaryOp, x: Value, d: Const) -> Option<Simpler> {
    let associative =
        matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::And | BinaryOp::Or | BinaryOp::Xor);
    let f = b.function();
    match f.def(x).inst {
        Inst::Binary(inner, y, z) if associative && inner == op => {
            let c = f.as_const(z)?;
            let both = b.constant(eval::binary(op, c, d)?);
            by(Rule::Chain, Inst::Binary(op, y, both))
        }
        _ => None,
    }
}

/// `x op c`; floats.
fn float_right(b: &mut Builder, op: BinaryOp, x: Value, c: Const) -> Option<Simpler> {
    let negative_zero = eval::unary(UnaryOp::Neg, Const::zero(c.ty));
    match op {
        BinaryOp::Mul if c == Const::one(c.ty) => by(Rule::FloatMulOne, x),
        BinaryOp::Div if c == Const::one(c.ty) => by(Rule::FloatDivOne, x),
        BinaryOp::Sub if c.bits == 0 => by(Rule::FloatSubZero, x),
        BinaryOp::Add if c == negative_zero => by(Rule::FloatAddMinusZero, x),
        BinaryOp::Div => {
            let reciprocal = power_of_two_reciprocal(c)?;
            let reciprocal = b.constant(reciprocal);
            by(Rule::FloatDivPower, Inst::Binary(BinaryOp::Mul, x, reciprocal))
        }
        _ => None,
    }
}

/// 1/c where c is a power of two and both are normal numbers.
fn power_of_two_reciprocal(c: Const) -> Option<Const> {
    let (mantissa, exponent_max) = if c.ty == Type::F32 { (23, 0xff) } else { (52, 0x7ff) };
    let usable = |c: Const| {
        let exponent = (c.bits >> mantissa) & exponent_max;
        c.bits & ((1 << mantissa) - 1) == 0 && exponent > 0 && exponent < exponent_max
    };
    let reciprocal = eval::binary(BinaryOp::Div, Const::one(c.ty), c)?;
    (usable(c) && usable(reciprocal)).then_some(reciprocal)
}

/// Folds statements, once the values are.
struct Statements<'f> {
    function: &'f Function,
    hits: &'f mut Hits,
}

impl Statements<'_> {
    fn block(&mut self, block: Block) -> Block {
        let mut out = Vec::new();
        let mut left = block.len();
        for stmt in block {
            self.stmt(stmt, &mut out);
            left -= 1;
            // What was spliced in may end in a jump: the rest is never reached.
            if ends_in_jump(&out) {
                self.hits.hit_times(Rule::AfterJump, left);
                break;
            }
        }
        out
    }

    fn constant(&self, value: Value) -> Option<Const> {
        self.function.as_const(value)
    }

    fn stmt(&mut self, stmt: Stmt, out: &mut Block) {
        match stmt {
            Stmt::Check { condition, .. } if self.constant(condition) == Some(true.into()) => {
                self.hits.hit(Rule::CheckTrue);
            }
            Stmt::If { condition, then, otherwise } => {
                let (then, otherwise) = (self.block(then), self.block(otherwise));
                match self.constant(condition) {
                    Some(c) if c.bits == 1 => {
                        self.hits.hit(Rule::IfTrue);
                        out.extend(then);
                    }
                    Some(_) => {
                        self.hits.hit(Rule::IfFalse);
                        out.extend(otherwise);
                    }
                    None => out.push(Stmt::If { condition, then, otherwise }),
                }
            }
            Stmt::For { counter, start, end, step, body } => {
                let from = self.constant(start).and_then(Const::to_int);
                let to = self.constant(end).and_then(Const::to_int);
                if start == end || from.zip(to).is_some_and(|(from, to)| from >= to) {
                    self.hits.hit(Rule::ForEmpty);
                } else {
                    let body = self.block(body);
                    out.push(Stmt::For { counter, start, end, step, body });
                }
            }
            Stmt::Loop(body) => {
                let body = self.block(body);
                match once(&body) {
                    Some(body) => {
                        self.hits.hit(Rule::LoopOnce);
                        out.extend(body);
                    }
                    None => out.push(Stmt::Loop(body)),
                }
            }
            Stmt::Let(_)
            | Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => out.push(stmt),
        }
    }
}

/// The body of a loop that runs once, without the jumps of that loop; `None` where it may run more
/// often, or a jump stands too deep.
fn once(body: &[Stmt]) -> Option<Block> {
    if ends_in_jump(body) { without_breaks(body) } else { None }
}

fn without_breaks(block: &[Stmt]) -> Option<Block> {
    let mut out = Vec::new();
    for (at, stmt) in block.iter().enumerate() {
        match stmt {
            Stmt::Break => return Some(out),
            Stmt::Continue => return None,
            Stmt::If { condition, then, otherwise } if has_own_jumps(then, otherwise) => {
                let rest = &block[at + 1..];
                let then = arm_without_breaks(then, rest)?;
                let otherwise = arm_without_breaks(otherwise, rest)?;
                out.push(Stmt::If { condition: *condition, then, otherwise });
                return Some(out);
            }
            Stmt::Let(_)
            | Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::If { .. }
            | Stmt::For { .. }
            | Stmt::Loop(_)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Return => out.push(stmt.clone()),
        }
    }
    Some(out)
}

/// An arm of an `if` of which at least one arm leaves the loop: an arm that goes on takes the
/// statements after the `if`. Only one can, or values would be defined twice.
fn arm_without_breaks(arm: &[Stmt], rest: &[Stmt]) -> Option<Block> {
    if ends_in_jump(arm) {
        return without_breaks(arm);
    }
    if own_jumps(arm) > 0 {
        return None;
    }
    let mut whole = arm.to_vec();
    whole.extend_from_slice(rest);
    without_breaks(&whole)
}

fn has_own_jumps(then: &[Stmt], otherwise: &[Stmt]) -> bool {
    own_jumps(then) + own_jumps(otherwise) > 0
}

/// Jumps that concern the loop the block stands in.
fn own_jumps(block: &[Stmt]) -> usize {
    block
        .iter()
        .map(|stmt| match stmt {
            Stmt::Break | Stmt::Continue => 1,
            Stmt::If { then, otherwise, .. } => own_jumps(then) + own_jumps(otherwise),
            Stmt::Let(_)
            | Stmt::Set(..)
            | Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::For { .. }
            | Stmt::Loop(_)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Return => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Const, Inst, Stmt, Trap, Type, UnaryOp, Value};
    use crate::passes::testing::{count, kernel_of, unchanged_by};

    /// Stores what `f` makes of a loaded value of type `ty`; the inputs are `bits`.
    fn check(ty: Type, bits: &[u32], f: impl FnOnce(&mut Builder, Value) -> Value) -> Vec<Inst> {
        let mut b = Builder::new("check");
        let x = b.buffer("x", ty, Access::Read);
        let y = b.buffer("y", ty, Access::ReadWrite);
        let id = b.id(Axis::X);
        let v = b.checked_load(x, id);
        let v = f(&mut b, v);
        b.checked_store(y, id, v);
        let kernel = kernel_of(b.finish(), bits.len() as u32);
        let args = vec![Data::Narrow(bits.to_vec()), Data::Narrow(vec![0; bits.len()])];
        let after = unchanged_by(&PASS, &kernel, &[args]);
        after.entry.values.into_iter().map(|def| def.inst).collect()
    }

    fn binaries(insts: &[Inst], op: BinaryOp) -> usize {
        insts.iter().filter(|inst| matches!(inst, Inst::Binary(o, ..) if *o == op)).count()
    }

    const FLOATS: [u32; 6] = [0x8000_0000, 0, 0x3fc0_0000, 0x7f80_0000, 1, 0xff7f_ffff];

    #[test]
    fn constants_and_identities_vanish() {
        let insts = check(Type::U32, &[0, 7, u32::MAX], |b, v| {
            let (two, three) = (b.constant(2u32), b.constant(3u32));
            let five = b.binary(BinaryOp::Add, two, three);
            let v = b.binary(BinaryOp::Add, five, v);
            let v = b.binary(BinaryOp::Add, v, two);
            let zero = b.binary(BinaryOp::Sub, v, v);
            b.binary(BinaryOp::Or, v, zero)
        });
        let seven = Inst::Const(7u32.into());
        assert!(insts.contains(&seven));
        assert_eq!(binaries(&insts, BinaryOp::Or) + binaries(&insts, BinaryOp::Sub), 0);
    }

    #[test]
    fn float_zero_is_added_but_not_subtracted() {
        let insts = check(Type::F32, &FLOATS, |b, v| {
            let zero = b.constant(0.0f32);
            let v = b.binary(BinaryOp::Sub, v, zero);
            b.binary(BinaryOp::Add, v, zero)
        });
        assert_eq!(binaries(&insts, BinaryOp::Add), 1);
        assert_eq!(binaries(&insts, BinaryOp::Sub), 0);
    }

    #[test]
    fn division_by_a_power_of_two_multiplies() {
        let divide = |c: f32| {
            check(Type::F32, &FLOATS, move |b, v| {
                let c = b.constant(c);
                b.binary(BinaryOp::Div, v, c)
            })
        };
        assert_eq!(binaries(&divide(8.0), BinaryOp::Div), 0);
        assert_eq!(binaries(&divide(3.0), BinaryOp::Div), 1);
        // The reciprocal of 2¹²⁷ is subnormal: a device may flush it.
        assert_eq!(binaries(&divide(f32::from_bits(0x7f00_0000)), BinaryOp::Div), 1);
    }

    #[test]
    fn orderings_of_floats_have_no_opposite() {
        for (ty, left) in [(Type::F32, 1), (Type::U32, 0)] {
            let insts = check(ty, &FLOATS, |b, v| {
                let one = b.constant(Const::one(ty));
                let less = b.binary(BinaryOp::Lt, v, one);
                let not = b.unary(UnaryOp::Not, less);
                b.select(not, v, one)
            });
            let nots = insts.iter().filter(|i| matches!(i, Inst::Unary(UnaryOp::Not, _))).count();
            assert_eq!(nots, left);
        }
    }

    #[test]
    fn a_loop_of_one_trip_is_its_body() {
        let mut b = Builder::new("once");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let local = b.local(Type::U32, None);
        b.repeat(|b| {
            let three = b.constant(3u32);
            let low = b.binary(BinaryOp::Lt, id, three);
            b.if_else(
                low,
                |b| {
                    b.set(local, id);
                    b.stmt(Stmt::Break);
                },
                |_| {},
            );
            b.set(local, three);
            b.stmt(Stmt::Break);
        });
        let v = b.get(local);
        b.checked_store(y, id, v);
        let kernel = kernel_of(b.finish(), 5);
        let after = unchanged_by(&PASS, &kernel, &[vec![Data::Narrow(vec![9; 5])]]);
        assert_eq!(count(&after, |s| matches!(s, Stmt::Loop(_) | Stmt::Break)), 0);
    }

    #[test]
    fn constant_conditions_choose_a_block() {
        let mut b = Builder::new("choose");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let yes = b.constant(true);
        b.check(yes, Trap::ZeroDivisor, None);
        b.if_else(yes, |b| b.checked_store(y, id, id), |b| b.stmt(Stmt::Return));
        let five = b.constant(5u32);
        b.for_range(five, five, 1, |b, k| b.checked_store(y, k, k));
        b.if_else(yes, |b| b.stmt(Stmt::Return), |_| {});
        b.checked_store(y, five, id);
        let kernel = kernel_of(b.finish(), 3);
        let after = unchanged_by(&PASS, &kernel, &[vec![Data::Narrow(vec![9; 3])]]);
        assert_eq!(count(&after, |s| matches!(s, Stmt::Store(..))), 1);
        assert_eq!(count(&after, |s| matches!(s, Stmt::If { .. } | Stmt::For { .. })), 0);
    }
}
