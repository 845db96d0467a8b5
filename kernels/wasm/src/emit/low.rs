//! Floats of one lane that multiply-adds are made of: they are held in lane 0 of vectors.
//!
//! WebAssembly multiplies and adds at once in vectors alone. A scalar would have to be spread over one
//! before and taken out of it after, each time, and a sum in a loop would wait for that at every passage.
//! Lane 0 is where the machine has scalars anyway; what is in the others does not matter.

use std::collections::HashSet;

use crossover_kernels::ir::{Const, Inst, Stmt, Type, Value, ValueDef};
use wasm_encoder::ValType;

use super::body::{Body, Form};
use super::code::{Code, Rep};
use super::divergence::Variance;

/// The uniform values and variables that are held so.
#[derive(Debug, Default)]
pub(super) struct Low {
    values: HashSet<Value>,
    variables: HashSet<usize>,
}

impl Low {
    /// Multiply-adds, variables that they are assigned to, and what is read of those for others. What is
    /// loaded is not: it would come by way of an integer.
    pub(super) fn of(form: Form<'_>) -> Low {
        let function = form.function;
        let is_uniform = |value: Value| form.facts.variance(value) == Variance::Uniform;
        let mut low = Low::default();
        function.walk(&mut |stmt| {
            let Stmt::Let(value) = stmt else { return };
            if let Inst::Fma(a, b, c) = function.def(*value).inst
                && is_uniform(*value)
            {
                low.values.extend([*value, a, b, c]);
            }
        });
        function.walk(&mut |stmt| {
            if let Stmt::Set(local, value) = stmt
                && matches!(function.def(*value).inst, Inst::Fma(..))
                && low.values.contains(value)
                && !form.facts.is_varying_local(local.index())
            {
                low.variables.insert(local.index());
            }
        });
        low.values.retain(|value| match function.def(*value).inst {
            Inst::Fma(..) => true,
            Inst::Get(local) => low.variables.contains(&local.index()),
            _ => false,
        });
        low
    }

    pub(super) fn has_variable(&self, local: usize) -> bool {
        self.variables.contains(&local)
    }
}

impl Body<'_> {
    /// Computes a value that is held in lane 0 of a vector; `None` for others.
    pub(super) fn low_inst(&mut self, value: Value, def: &ValueDef) -> Option<Rep> {
        if !self.low.values.contains(&value) {
            return None;
        }
        let ty = def.ty;
        match &def.inst {
            Inst::Fma(a, b, c) => {
                for operand in [a, b, c] {
                    self.code.low(self.rep(*operand), ty);
                }
                self.code.lanes_fma(ty, false);
            }
            Inst::Get(local) => self.code.low(self.variable(local.index()), ty),
            _ => return None,
        }
        let local = self.code.local(ValType::V128);
        self.code.set(local);
        Some(Rep::Low(local))
    }
}

impl Code {
    /// Pushes a vector whose lane 0 is a value that is the same for all.
    pub(super) fn low(&mut self, rep: Rep, ty: Type) {
        match rep {
            Rep::Low(local) => self.get(local),
            Rep::Const(c) => self.lanes_const(Const::new(ty, c.bits)),
            Rep::Scalar(_) | Rep::Offset(..) | Rep::Linear { .. } | Rep::Lanes(_) => {
                self.lanes(rep, ty, 0);
            }
        }
    }
}
