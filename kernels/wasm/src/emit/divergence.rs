//! Which values are the same in all lanes of a group, and where lanes part ways.
//!
//! - **uniform**: the same in every active lane;
//! - **linear**: `uniform + k · lane`, a 32-bit integer and a constant k other than 0: where that is 1,
//!   neighbours in x are neighbours in memory;
//! - **varying**: anything else.
//!
//! A jump is **masked** where some lanes may take it while others go on: under an `if` of varying
//! condition, or where lanes wait for the next passage of the loop. Masked jumps only clear bits of
//! a mask; all others are branches. A variable is uniform if it is only ever assigned uniform
//! values where every lane is active.
//!
//! All facts start at their best and only get worse: the walk is repeated until nothing changes.

use std::collections::HashMap;

use crossover_kernels::ir::{Axis, BinaryOp, Block, Function, Inst, Local, Stmt, Type, Value};

use super::free::Free;
use super::steps::{Step, Steps};

/// How a value differs between the lanes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variance {
    Uniform,
    /// By so much from lane to lane.
    Linear(i32),
    Varying,
}

impl Variance {
    /// Linear by this stride; uniform where that is 0.
    fn by(stride: Option<i32>) -> Variance {
        match stride {
            None => Variance::Varying,
            Some(0) => Variance::Uniform,
            Some(stride) => Variance::Linear(stride),
        }
    }

    /// The stride, if it is known: 0 of a uniform value.
    fn stride(self) -> Option<i32> {
        match self {
            Variance::Uniform => Some(0),
            Variance::Linear(stride) => Some(stride),
            Variance::Varying => None,
        }
    }

    /// What holds where either may.
    fn or(self, other: Variance) -> Variance {
        match (self, other) {
            (a, b) if a == b => a,
            (Variance::Uniform, other) | (other, Variance::Uniform) => other,
            (_, _) => Variance::Varying,
        }
    }
}

/// Strides beyond this are as good as none.
const STRIDE_MAX: i32 = 1 << 12;

/// Kinds of jumps that are masked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Jumps {
    pub(super) breaks: bool,
    pub(super) continues: bool,
    pub(super) returns: bool,
}

impl Jumps {
    pub(super) fn any(self) -> bool {
        self.breaks || self.continues || self.returns
    }

    pub(super) fn or(self, other: Jumps) -> Jumps {
        Jumps {
            breaks: self.breaks || other.breaks,
            continues: self.continues || other.continues,
            returns: self.returns || other.returns,
        }
    }
}

/// What is known of a loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoopFacts {
    /// Masked jumps inside: out of it, to its next passage, out of the invocation.
    pub(super) jumps: Jumps,
    /// Lanes count to different ends.
    pub(super) varying_bounds: bool,
}

impl LoopFacts {
    /// Whether lanes leave it at different passages.
    pub(super) fn narrows(self) -> bool {
        self.jumps.breaks || self.jumps.returns || self.varying_bounds
    }
}

/// A construct around a statement that may hold lanes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// An `if` of varying condition.
    VaryingIf,
    /// A loop, by the address of its statement.
    Loop(*const Stmt),
}

/// The facts of a function.
#[derive(Clone, Debug)]
pub(super) struct Divergence {
    values: Vec<Variance>,
    /// Whether a variable differs between lanes.
    varying_locals: Vec<bool>,
    loops: HashMap<*const Stmt, LoopFacts>,
    /// Variables that need no mask.
    free: Free,
    /// Assignments for which a mask costs little.
    steps: Steps,
    /// Whether a return is masked.
    pub(super) masked_return: bool,
}

impl Divergence {
    /// Facts of the function run four lanes at a time.
    pub(super) fn of(function: &Function) -> Divergence {
        let mut walk = Walk {
            function,
            facts: Divergence {
                free: Free::of(function),
                steps: Steps::of(function),
                ..Divergence::scalar(function)
            },
            changed: true,
            frames: Vec::new(),
            full: true,
        };
        while walk.changed {
            walk.changed = false;
            walk.full = true;
            walk.block(&function.body);
        }
        walk.facts
    }

    /// Facts of the function run one lane at a time: nothing differs.
    pub(super) fn scalar(function: &Function) -> Divergence {
        Divergence {
            values: vec![Variance::Uniform; function.values.len()],
            varying_locals: vec![false; function.locals.len()],
            loops: HashMap::new(),
            free: Free::default(),
            steps: Steps::default(),
            masked_return: false,
        }
    }

    pub(super) fn variance(&self, value: Value) -> Variance {
        self.values[value.index()]
    }

    pub(super) fn is_varying_local(&self, local: usize) -> bool {
        self.varying_locals[local]
    }

    pub(super) fn loop_facts(&self, id: *const Stmt) -> LoopFacts {
        self.loops.get(&id).copied().unwrap_or_default()
    }

    /// Whether the variable can be assigned inside these frames in all lanes, those that have left
    /// the loop too.
    pub(super) fn is_free(&self, local: Local, frames: &[Frame]) -> bool {
        match frames.last() {
            Some(Frame::Loop(id)) => {
                !self.loop_facts(*id).jumps.continues && self.free.has(*id, local)
            }
            Some(Frame::VaryingIf) | None => false,
        }
    }

    /// By what an assignment changes its variable, if it is of that kind.
    pub(super) fn step(&self, stmt: &Stmt) -> Option<Step> {
        self.steps.find(stmt)
    }

    /// Whether a `Break` or `Continue` inside these frames is masked.
    pub(super) fn is_masked_in_loop(&self, frames: &[Frame]) -> bool {
        match frames.last() {
            Some(Frame::VaryingIf) => true,
            // Lanes that wait for the next passage must not be taken along.
            Some(Frame::Loop(id)) => self.loop_facts(*id).jumps.continues,
            None => false,
        }
    }

    /// Whether a `Return` inside these frames is masked.
    pub(super) fn is_masked_return(&self, frames: &[Frame]) -> bool {
        frames.iter().any(|frame| match frame {
            Frame::VaryingIf => true,
            Frame::Loop(id) => {
                let facts = self.loop_facts(*id);
                facts.jumps.breaks || facts.jumps.continues || facts.varying_bounds
            }
        })
    }
}

struct Walk<'a> {
    function: &'a Function,
    facts: Divergence,
    changed: bool,
    frames: Vec<Frame>,
    /// Whether every lane of the group is active here.
    full: bool,
}

impl Walk<'_> {
    /// Gives the masked jumps out of the block.
    fn block(&mut self, block: &Block) -> Jumps {
        let mut all = Jumps::default();
        for stmt in block {
            let jumps = self.stmt(stmt);
            self.full &= !jumps.any();
            all = all.or(jumps);
        }
        all
    }

    fn stmt(&mut self, stmt: &Stmt) -> Jumps {
        match stmt {
            Stmt::Let(value) => {
                let variance = self.inst(*value);
                self.raise(*value, variance);
            }
            Stmt::Set(local, value) => {
                let varying = !self.full || self.facts.variance(*value) != Variance::Uniform;
                let held = &mut self.facts.varying_locals[local.index()];
                self.changed |= varying && !*held;
                *held |= varying;
            }
            Stmt::If { condition, then, otherwise } => {
                return self.branch(*condition, then, otherwise);
            }
            Stmt::For { counter, start, end, body, .. } => {
                let bounds = self.facts.variance(*start).or(self.facts.variance(*end));
                let varying_bounds = bounds != Variance::Uniform;
                if varying_bounds {
                    self.raise(*counter, Variance::Varying);
                }
                return self.repeat(stmt, varying_bounds, body);
            }
            Stmt::Loop(body) => return self.repeat(stmt, false, body),
            Stmt::Break => {
                let breaks = self.facts.is_masked_in_loop(&self.frames);
                return Jumps { breaks, ..Jumps::default() };
            }
            Stmt::Continue => {
                let continues = self.facts.is_masked_in_loop(&self.frames);
                return Jumps { continues, ..Jumps::default() };
            }
            Stmt::Return => {
                let returns = self.facts.is_masked_return(&self.frames);
                self.facts.masked_return |= returns;
                return Jumps { returns, ..Jumps::default() };
            }
            Stmt::Each(body) => self.each(body),
            Stmt::SetElement(..)
            | Stmt::Store(..)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::Barrier(_)
            | Stmt::CallVoid(..) => {}
        }
        Jumps::default()
    }

    /// A piece begins with all lanes, whatever is around it, and nobody leaves more than it.
    fn each(&mut self, body: &Block) {
        let (full, frames) = (self.full, std::mem::take(&mut self.frames));
        self.full = true;
        self.block(body);
        self.full = full;
        self.frames = frames;
    }

    fn branch(&mut self, condition: Value, then: &Block, otherwise: &Block) -> Jumps {
        let varying = self.facts.variance(condition) != Variance::Uniform;
        let before = self.full;
        if varying {
            self.frames.push(Frame::VaryingIf);
        }
        self.full = before && !varying;
        let jumps = self.block(then);
        self.full = before && !varying;
        let jumps = jumps.or(self.block(otherwise));
        if varying {
            self.frames.pop();
        }
        self.full = before;
        jumps
    }

    fn repeat(&mut self, stmt: &Stmt, varying_bounds: bool, body: &Block) -> Jumps {
        let id = std::ptr::from_ref(stmt);
        let before = self.full;
        let old = self.facts.loop_facts(id);
        self.full = before && !(old.narrows() || varying_bounds);
        self.frames.push(Frame::Loop(id));
        let jumps = self.block(body);
        self.frames.pop();
        self.full = before;
        let new = LoopFacts { jumps, varying_bounds };
        self.changed |= new != old;
        self.facts.loops.insert(id, new);
        Jumps { returns: jumps.returns, ..Jumps::default() }
    }

    fn raise(&mut self, value: Value, variance: Variance) {
        let held = &mut self.facts.values[value.index()];
        let new = variance.or(*held);
        self.changed |= new != *held;
        *held = new;
    }

    fn inst(&self, value: Value) -> Variance {
        let def = self.function.def(value);
        match &def.inst {
            Inst::Id(Axis::X) | Inst::Local(Axis::X) => Variance::Linear(1),
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(Axis::Y | Axis::Z)
            | Inst::Local(Axis::Y | Axis::Z)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter => Variance::Uniform,
            Inst::Binary(op, a, b) => self.binary(*op, def.ty, *a, *b),
            Inst::Cast(a) | Inst::Bitcast(a) => {
                let narrow_int = |ty| matches!(ty, Type::I32 | Type::U32);
                match self.facts.variance(*a) {
                    Variance::Linear(_) if !narrow_int(def.ty) => Variance::Varying,
                    other => other,
                }
            }
            Inst::Unary(..)
            | Inst::Fma(..)
            | Inst::Select(..)
            | Inst::Load(..)
            | Inst::AtomicLoad(..) => self.lanewise(&def.inst),
            Inst::Get(local) => {
                let varying = self.facts.varying_locals[local.index()];
                if varying { Variance::Varying } else { Variance::Uniform }
            }
            // Each lane has its own array, and each lane its own turn at an atomic.
            Inst::GetElement(..) | Inst::Atomic(..) | Inst::CompareSwap(..) | Inst::Call(..) => {
                Variance::Varying
            }
        }
    }

    fn lanewise(&self, inst: &Inst) -> Variance {
        let operands = inst.operands();
        let same = operands.iter().all(|&v| self.facts.variance(v) == Variance::Uniform);
        if same { Variance::Uniform } else { Variance::Varying }
    }

    fn binary(&self, op: BinaryOp, ty: Type, a: Value, b: Value) -> Variance {
        let (left, right) = (self.facts.variance(a), self.facts.variance(b));
        if left == Variance::Uniform && right == Variance::Uniform {
            return Variance::Uniform;
        }
        let (Some(left), Some(right)) = (left.stride(), right.stride()) else {
            return Variance::Varying;
        };
        if !matches!(ty, Type::I32 | Type::U32) {
            return Variance::Varying;
        }
        let constant = |value: Value| self.function.as_const(value).map(|c| c.bits as i32);
        let stride = match op {
            BinaryOp::Add => left.checked_add(right),
            BinaryOp::Sub => left.checked_sub(right),
            BinaryOp::Mul if right == 0 => constant(b).and_then(|by| left.checked_mul(by)),
            BinaryOp::Mul if left == 0 => constant(a).and_then(|by| right.checked_mul(by)),
            BinaryOp::Shl if right == 0 => {
                let by = constant(b).filter(|by| (0..12).contains(by));
                by.and_then(|by| left.checked_mul(1 << by))
            }
            _ => None,
        };
        Variance::by(stride.filter(|stride| stride.abs() <= STRIDE_MAX))
    }
}
