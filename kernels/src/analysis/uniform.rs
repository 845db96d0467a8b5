//! What is the same for all invocations of a workgroup, and whether they come to every barrier
//! together.
//!
//! A value is uniform if it depends on nothing but the call's arguments, the group's number, buffers
//! that the call only reads, and variables that are only ever assigned uniform values where all
//! invocations of the group are together. They part at an `if` or a loop that is decided by anything
//! else and come together behind it, unless some have returned inside.
//!
//! All facts start at their best and only get worse: the walk is repeated until nothing changes.

use std::collections::HashSet;

use crate::ir::{Access, Block, Function, Inst, Kernel, ParamKind, Span, Stmt, Value};

/// The facts of a function.
#[derive(Clone, Debug)]
pub struct Uniform {
    values: Vec<bool>,
    locals: Vec<bool>,
    /// Loops whose invocations leave or go on at different places.
    ragged: HashSet<*const Stmt>,
    /// Statements that not all invocations of a group come to.
    apart: HashSet<*const Stmt>,
    /// The first barrier to which invocations do not come together.
    pub divergent: Option<Span>,
}

impl Uniform {
    /// Facts of a kernel's entry.
    pub fn of(function: &Function) -> Uniform {
        let mut facts = Uniform {
            values: vec![true; function.values.len()],
            locals: vec![true; function.locals.len()],
            ragged: HashSet::new(),
            apart: HashSet::new(),
            divergent: None,
        };
        loop {
            let mut walk =
                Walk { function, facts: facts.clone(), together: true, loops: Vec::new() };
            walk.facts.divergent = None;
            walk.facts.apart.clear();
            walk.block(&function.body);
            let settled = walk.facts.values == facts.values
                && walk.facts.locals == facts.locals
                && walk.facts.ragged == facts.ragged;
            facts = walk.facts;
            if settled {
                return facts;
            }
        }
    }

    /// Whether the value is the same for all invocations of a group.
    pub fn value(&self, value: Value) -> bool {
        self.values[value.index()]
    }

    /// Whether all invocations of a group come to the statement together.
    pub fn together(&self, stmt: &Stmt) -> bool {
        !self.apart.contains(&std::ptr::from_ref(stmt))
    }

    /// Whether the variable is.
    pub fn local(&self, local: usize) -> bool {
        self.locals[local]
    }
}

/// The first barrier to which the invocations of a group do not come together.
pub fn divergent_barrier(kernel: &Kernel) -> Option<Span> {
    kernel.workgroup.and_then(|_| Uniform::of(&kernel.entry).divergent)
}

struct Walk<'a> {
    function: &'a Function,
    facts: Uniform,
    /// Whether all invocations of the group are here.
    together: bool,
    /// The loops around, and whether their invocations began the passage together.
    loops: Vec<(*const Stmt, bool)>,
}

impl Walk<'_> {
    fn block(&mut self, block: &Block) {
        for stmt in block {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        if !self.together {
            self.facts.apart.insert(std::ptr::from_ref(stmt));
        }
        match stmt {
            Stmt::Let(value) => {
                let uniform = self.inst(*value);
                self.facts.values[value.index()] &= uniform;
            }
            Stmt::Set(local, value) => {
                self.facts.locals[local.index()] &= self.together && self.facts.value(*value);
            }
            Stmt::SetElement(local, ..) => self.facts.locals[local.index()] = false,
            Stmt::If { condition, then, otherwise } => {
                let before = self.together;
                let inside = before && self.facts.value(*condition);
                self.together = inside;
                self.block(then);
                let mut after = self.together;
                self.together = inside;
                self.block(otherwise);
                after &= self.together;
                // Behind a branch all that were before are together again, unless some have left.
                self.together = if inside { after } else { before && !self.has_left(stmt) };
            }
            Stmt::For { counter, start, end, body, .. } => {
                let uniform = self.facts.value(*start) && self.facts.value(*end);
                self.facts.values[counter.index()] &= uniform;
                self.repeat(stmt, uniform, body);
            }
            Stmt::Loop(body) => self.repeat(stmt, true, body),
            Stmt::Barrier(span) => {
                if !self.together {
                    self.facts.divergent.get_or_insert(*span);
                }
            }
            Stmt::Break | Stmt::Continue => {
                if let (false, Some((id, true))) = (self.together, self.loops.last()) {
                    self.facts.ragged.insert(*id);
                }
            }
            Stmt::Return => {
                if !self.together {
                    let began = self.loops.iter().filter(|(_, together)| *together);
                    self.facts.ragged.extend(began.map(|(id, _)| *id));
                }
            }
            Stmt::Each(body) => self.block(body),
            Stmt::Store(..) | Stmt::AtomicStore(..) | Stmt::Check { .. } | Stmt::CallVoid(..) => {}
        }
    }

    fn repeat(&mut self, stmt: &Stmt, uniform: bool, body: &Block) {
        let id = std::ptr::from_ref(stmt);
        let before = self.together;
        self.together = before && uniform && !self.facts.ragged.contains(&id);
        self.loops.push((id, before));
        self.block(body);
        self.loops.pop();
        let left = !self.together || !before || !uniform || self.facts.ragged.contains(&id);
        self.together = before && !(left && self.has_left(stmt));
    }

    /// Whether a return inside may have taken some invocations out of the kernel and not others.
    fn has_left(&self, stmt: &Stmt) -> bool {
        matches!(stmt, Stmt::Return)
            || stmt.blocks().into_iter().flatten().any(|inner| self.has_left(inner))
    }

    fn inst(&self, value: Value) -> bool {
        let inst = &self.function.def(value).inst;
        let own = match inst {
            Inst::Id(_)
            | Inst::Local(_)
            | Inst::GetElement(..)
            | Inst::AtomicLoad(..)
            | Inst::Atomic(..)
            | Inst::CompareSwap(..)
            | Inst::Call(..) => false,
            Inst::Get(local) => self.facts.local(local.index()),
            Inst::Load(param, _) => matches!(
                self.function.params[param.index()].kind,
                ParamKind::Buffer { access: Access::Read, .. }
            ),
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter
            | Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Fma(..)
            | Inst::Select(..)
            | Inst::Cast(_)
            | Inst::Bitcast(_) => true,
        };
        own && inst.operands().iter().all(|&operand| self.facts.value(operand))
    }
}

#[cfg(test)]
mod tests {
    use super::Uniform;
    use crate::ir::text::parse;

    /// Whether the body, between a head with `%0` as the place in the group and `%1` as an
    /// argument's comparison, has a divergent barrier.
    fn diverges(body: &str) -> bool {
        let text = format!(
            "kernel \"k\"(n: u32, x: [u32], t: shared [u32; 8]) grid (n) workgroup (8, 1, 1) {{\n\
             $0: u32\n%0: u32 = local.x\n%1: u32 = param n\n%2: bool = lt %0 %1\n\
             %3: u32 = group.x\n%4: bool = lt %3 %1\n{body}\n}}"
        );
        match parse(&text) {
            Ok(kernel) => Uniform::of(&kernel.entry).divergent.is_some(),
            Err(error) => {
                assert!(error.to_string().contains("barrier"), "{error}\n{text}");
                true
            }
        }
    }

    #[test]
    fn barriers_where_invocations_are_together_are_taken() {
        for body in [
            "barrier",
            "if %4 {\nbarrier\n}",
            "if %4 {\nreturn\n}\nbarrier",
            "if %2 {\nstore t %0 %1\n}\nbarrier",
            "for %5: u32 in %3..%1 {\nbarrier\n}",
            "for %5: u32 in %0..%1 {\nif %2 {\nbreak\n}\n}\nbarrier",
            "loop {\nbarrier\nif %4 {\nbreak\n}\n}",
            "set $0 %3\nloop {\n%5: u32 = get $0\n%6: bool = lt %5 %1\nif %6 {\nbreak\n}\nset $0 %1\nbarrier\n}",
            "barrier\nif %2 {\nreturn\n}",
        ] {
            assert!(!diverges(body), "{body}");
        }
    }

    #[test]
    fn barriers_where_they_have_parted_are_refused() {
        for body in [
            "if %2 {\nbarrier\n}",
            "if %2 {\nreturn\n}\nbarrier",
            "if %4 {\nif %2 {\nreturn\n}\n}\nbarrier",
            "for %5: u32 in %0..%1 {\nbarrier\n}",
            "loop {\nbarrier\nif %2 {\nbreak\n}\n}",
            "loop {\nif %2 {\ncontinue\n}\nbarrier\nbreak\n}",
            "loop {\nbarrier\nif %2 {\nreturn\n}\n}",
            "%5: u32 = load t %3\n%6: bool = lt %5 %1\nif %6 {\nbarrier\n}",
            "set $0 %0\n%5: u32 = get $0\n%6: bool = lt %5 %1\nif %6 {\nbarrier\n}",
            "if %2 {\nset $0 %1\n}\n%5: u32 = get $0\n%6: bool = lt %5 %1\nif %6 {\nbarrier\n}",
        ] {
            assert!(diverges(body), "{body}");
        }
    }
}
