//! Which values differ between the rows of a grid.
//!
//! As [`super::divergence`] does for x, with one difference: rows are never masked. A kernel whose
//! control flow differs between rows is run one row at a time.

use crossover_kernels::ir::{Axis, Block, Function, Inst, Stmt, Value};

/// The facts of a function.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    values: Vec<bool>,
    locals: Vec<bool>,
    /// Whether rows part ways.
    pub(super) control: bool,
}

impl Rows {
    /// Facts of the function run several rows at a time.
    pub(super) fn of(function: &Function) -> Rows {
        let mut rows = Rows::none(function);
        while rows.block(function, &function.body) {}
        rows
    }

    /// Facts of the function run one row at a time: nothing differs.
    pub(super) fn none(function: &Function) -> Rows {
        Rows {
            values: vec![false; function.values.len()],
            locals: vec![false; function.locals.len()],
            control: false,
        }
    }

    pub(super) fn differs(&self, value: Value) -> bool {
        self.values[value.index()]
    }

    pub(super) fn is_varying_local(&self, local: usize) -> bool {
        self.locals[local]
    }

    /// Whether something was learned.
    fn block(&mut self, function: &Function, block: &Block) -> bool {
        block.iter().fold(false, |learned, stmt| self.stmt(function, stmt) | learned)
    }

    fn stmt(&mut self, function: &Function, stmt: &Stmt) -> bool {
        let learned = match stmt {
            Stmt::Let(value) => {
                let differs = self.inst(&function.def(*value).inst);
                raise(&mut self.values[value.index()], differs)
            }
            Stmt::Set(local, value) => {
                let differs = self.differs(*value);
                raise(&mut self.locals[local.index()], differs)
            }
            Stmt::SetElement(local, index, value) => {
                let differs = self.differs(*value) || self.differs(*index);
                raise(&mut self.locals[local.index()], differs)
            }
            Stmt::If { condition, .. } => {
                let differs = self.differs(*condition);
                raise(&mut self.control, differs)
            }
            Stmt::For { counter, start, end, .. } => {
                let differs = self.differs(*start) || self.differs(*end);
                raise(&mut self.control, differs)
                    | raise(&mut self.values[counter.index()], differs)
            }
            Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::Loop(_)
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_)
            | Stmt::Break
            | Stmt::Continue
            | Stmt::Return => false,
        };
        let inner = stmt.blocks();
        inner.into_iter().fold(learned, |learned, block| self.block(function, block) | learned)
    }

    fn inst(&self, inst: &Inst) -> bool {
        let own = match inst {
            Inst::Id(axis) | Inst::Local(axis) => *axis == Axis::Y,
            Inst::Get(local) | Inst::GetElement(local, _) => self.locals[local.index()],
            // Each invocation has its own turn.
            Inst::Atomic(..) | Inst::CompareSwap(..) | Inst::Call(..) => true,
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
            | Inst::Bitcast(_)
            | Inst::Load(..)
            | Inst::AtomicLoad(..) => false,
        };
        own || inst.operands().iter().any(|&operand| self.differs(operand))
    }
}

/// Sets the fact, and says whether it is new.
fn raise(held: &mut bool, fact: bool) -> bool {
    let learned = fact && !*held;
    *held |= fact;
    learned
}
