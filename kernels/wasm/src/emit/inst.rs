//! The instructions that define values: on scalars where every lane has the same value, on lanes
//! else.

use crossover_kernels::ir::{BinaryOp, Const, Inst, Type, Value, ValueDef};

use super::body::Body;
use super::code::Rep;

impl Body<'_> {
    /// Pushes a uniform value, or lane 0 of a linear one.
    pub(super) fn scalar_inst(&mut self, def: &ValueDef) {
        let ty = def.ty;
        match &def.inst {
            Inst::Unary(op, a) => self.code.scalar_unary(*op, ty, self.rep(*a)),
            Inst::Binary(op, a, b) => {
                let operands = self.function.ty(*a);
                self.code.scalar_binary(*op, operands, self.rep(*a), self.rep(*b));
            }
            Inst::Select(c, a, b) => {
                for (value, ty) in [(a, ty), (b, ty), (c, Type::Bool)] {
                    self.code.scalar(self.rep(*value), ty);
                }
                self.code.sink().select();
            }
            Inst::Cast(a) => self.code.scalar_cast(self.function.ty(*a), ty, self.rep(*a)),
            Inst::Bitcast(a) => self.code.scalar_bitcast(self.function.ty(*a), ty, self.rep(*a)),
            Inst::Get(local) => self.code.scalar(self.variable(local.index()), ty),
            Inst::GetElement(local, index) => match self.element(local.index(), *index) {
                Ok(element) => self.code.scalar(element, ty),
                Err(offset) => self.scratch_load_scalar(offset, *index, ty),
            },
            Inst::Load(buffer, index) => self.load_scalar(*buffer, *index, ty),
            Inst::AtomicLoad(buffer, index) => self.atomic_load_scalar(*buffer, *index),
            Inst::Atomic(op, buffer, index, operand) => {
                self.atomic_scalar(*op, *buffer, *index, *operand);
            }
            Inst::CompareSwap(buffer, index, expected, new) => {
                let [index, expected, new] = [index, expected, new].map(|value| self.rep(*value));
                let places = self.code.places(index, 2);
                self.compare_swap_lane(*buffer, ty, places, [expected, new], 0);
            }
            // Held without code, or in lane 0 of a vector, or refused before anything is emitted.
            Inst::Fma(..)
            | Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter
            | Inst::Call(..) => {
                self.code.sink().unreachable();
            }
        }
    }

    /// Computes a varying value into locals of its own.
    pub(super) fn lanes_inst(&mut self, def: &ValueDef) -> Rep {
        let ty = def.ty;
        let target = self.fresh(ty, false);
        match &def.inst {
            Inst::Unary(op, a) => {
                let a = self.rep(*a);
                self.lanes_into(target, ty, |code, part| code.lanes_unary(*op, ty, a, part));
            }
            Inst::Binary(op, a, b) => self.lanes_binary_inst(target, def, *op, *a, *b),
            Inst::Fma(a, b, c) => {
                let [a, b] = self.overwritten_first([*a, *b]);
                let ((a, a_minus), (b, b_minus)) = (self.without_sign(a), self.without_sign(b));
                let operands = [a, b, self.rep(*c)];
                self.lanes_into(target, ty, |code, part| {
                    for operand in operands {
                        code.lanes(operand, ty, part);
                    }
                    code.lanes_fma(ty, a_minus != b_minus);
                });
            }
            Inst::Select(c, a, b) => self.lanes_select(target, ty, *c, [*a, *b]),
            Inst::Cast(a) => {
                let (from, a) = (self.function.ty(*a), self.rep(*a));
                self.lanes_into(target, ty, |code, part| code.lanes_cast(from, ty, a, part));
            }
            Inst::Bitcast(a) => {
                let (from, a) = (self.function.ty(*a), self.rep(*a));
                self.lanes_into(target, ty, |code, part| code.lanes(a, from, part));
            }
            Inst::Get(local) => {
                let variable = self.variable(local.index());
                self.lanes_into(target, ty, |code, part| code.lanes(variable, ty, part));
            }
            Inst::GetElement(local, index) => match self.element(local.index(), *index) {
                Ok(element) => {
                    self.lanes_into(target, ty, |code, part| code.lanes(element, ty, part));
                }
                Err(offset) => self.scratch_load_lanes(target, offset, *index, ty),
            },
            Inst::Load(buffer, index) => self.load_lanes(target, *buffer, *index, ty),
            Inst::AtomicLoad(buffer, index) => self.atomic_load_lanes(target, *buffer, *index, ty),
            Inst::Atomic(op, buffer, index, operand) => {
                self.atomic_lanes(target, *op, *buffer, *index, *operand);
            }
            Inst::CompareSwap(buffer, index, expected, new) => {
                let places = self.places(*index, 2);
                let [expected, new] = [expected, new].map(|value| self.rep(*value));
                self.results_of_lanes(target, ty, |body, lane| {
                    body.compare_swap_lane(*buffer, ty, places, [expected, new], lane);
                });
            }
            // Uniform, or refused before anything is emitted.
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter
            | Inst::Call(..) => {
                self.code.sink().unreachable();
            }
        }
        target
    }

    /// Two factors. The first one's register becomes the result's, and is copied before where it is
    /// needed again: what is the same for all lanes should not be first where the other is used up.
    fn overwritten_first(&self, [a, b]: [Value; 2]) -> [Value; 2] {
        let is_shared = !self.is_varying(a) && self.function.as_const(a).is_none();
        if is_shared && self.is_used_up(b) { [b, a] } else { [a, b] }
    }

    /// Whether a group's factor has no other use.
    fn is_used_up(&self, factor: Value) -> bool {
        let is_own = self.is_varying(factor) && (self.form.tile.rows == 1 || self.differs(factor));
        is_own
            && self.uses[factor.index()] == 1
            && !matches!(self.function.def(factor).inst, Inst::Get(_) | Inst::Unary(..))
    }

    fn lanes_binary_inst(&mut self, target: Rep, def: &ValueDef, op: BinaryOp, a: Value, b: Value) {
        if let Some((op, ty, [a, b])) = self.float_comparison(op, a, b) {
            return self.lanes_into(target, def.ty, |code, part| {
                code.lanes_binary(op, ty, a, b, part);
            });
        }
        let ty = self.function.ty(a);
        let (a, mut b) = (self.rep(a), self.rep(b));
        if matches!(op, BinaryOp::Div | BinaryOp::Rem) && ty.is_int() {
            b = self.safe_divisor(b, ty);
        }
        self.lanes_into(target, def.ty, |code, part| code.lanes_binary(op, ty, a, b, part));
    }

    /// The divisor where the lane is active, 1 else: an inactive lane must not trap.
    fn safe_divisor(&mut self, divisor: Rep, ty: Type) -> Rep {
        let (Some(mask), false) = (self.mask(), divisor.is_uniform()) else { return divisor };
        let safe = self.fresh(ty, false);
        self.lanes_into(safe, ty, |code, part| {
            code.lanes(divisor, ty, part);
            code.lanes_const(Const::one(ty));
            code.mask_for(mask, ty, part);
            code.lane_select();
        });
        safe
    }
}
