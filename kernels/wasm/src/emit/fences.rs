//! Fences in long straight code: places before which everything is computed that is needed behind.
//!
//! ```text
//! block cold
//!     … for each group …
//!     pins = what is live;  if fence ≠ 0: to cold           never taken
//!     … for each group …
//! end;  store the pins
//! ```
//!
//! Cranelift computes what an instruction with an effect needs right before that instruction: of a
//! tile's groups the whole of the first, up to its store, then the whole of the second. Each is a chain
//! in which one instruction waits for the other, longer than what a core looks ahead. Between fences the
//! groups stand beside each other, and the core has as many chains to work on.
//!
//! A branch forces a value to be computed only if it passes it on as one of several that meet there: all
//! fences of a body lead to one place, with their live values in the same variables.
//!
//! Measured on `black_scholes` with three groups, some 170 instructions each: 1.66 ms without, 1.07 to
//! 1.2 ms with a fence after every 10 to 60 of them.

use std::collections::HashMap;
use std::ops::{Range, RangeInclusive};

use crossover_kernels::ir::{Block, Inst, Stmt, Value};
use wasm_encoder::{MemArg, MemArgTarget, ValType};

use super::body::{Body, Form, Width, uses};
use super::code::{Label, parts};
use super::divergence::Variance;
use super::fields::Fields;

/// Vector instructions of a group between two fences, at least and at most: enough to overlap, and few
/// beside what a core looks ahead, all groups together.
const DISTANCE: [usize; 2] = [4, 14];

/// Vectors of all groups that may be loaded between two fences: with what they are combined with, and the
/// results so far, they fill the registers. What is loaded comes first there, whatever it is for.
///
/// Measured on `conv3x3` with three groups, whose nine weights do not fit beside them: 0.156 ms without,
/// 0.130 ms with 8 or 9, 0.147 ms with 12. Code too short for fences is slower with them, `jacobi` by 1.1.
const LOADED: u32 = 8;

/// What is computed before a fence and needed behind it.
#[derive(Clone, Debug, Default)]
struct Live {
    values: Vec<Value>,
    variables: Vec<usize>,
}

impl Live {
    fn count(&self) -> usize {
        self.values.len() + self.variables.len()
    }
}

/// Where a body has fences: behind which statements.
#[derive(Clone, Debug, Default)]
pub(super) struct Fences {
    at: HashMap<*const Stmt, Live>,
    /// Vectors that are live at the most crowded of them.
    pins: usize,
}

/// What the fences of a body share.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    locals: Vec<u32>,
    cold: Label,
}

impl Fences {
    pub(super) fn of(form: Form<'_>) -> Fences {
        let mut fences = Fences::default();
        if form.width == Width::Vector && form.tile.vectors > 1 && form.tile.rows == 1 {
            let fields = Fields::of(form, &uses(form.function));
            fences.block(form, &fields, &form.function.body);
        }
        fences
    }

    fn block(&mut self, form: Form<'_>, fields: &Fields, block: &Block) {
        let last = last_uses(form, fields, block);
        let mut from = 0;
        for (at, stmt) in block.iter().enumerate() {
            if stmt.blocks().is_empty() {
                continue;
            }
            self.straight(form, block, &last, from..at);
            from = at + 1;
            // Under a condition that lanes do not agree on, groups go one after another.
            let apart = matches!(stmt, Stmt::If { condition, .. }
                if form.facts.variance(*condition) != Variance::Uniform);
            if !apart {
                stmt.blocks().into_iter().for_each(|inner| self.block(form, fields, inner));
            }
        }
        self.straight(form, block, &last, from..block.len());
    }

    /// Fences among these statements of the block, which have no others inside: each where least is
    /// live.
    fn straight(&mut self, form: Form<'_>, block: &Block, last: &LastUses, range: Range<usize>) {
        let ([least, most], Range { start: mut from, end: to }) = (DISTANCE, range.clone());
        if range.filter(|&at| is_code(form, &block[at])).count() < most {
            return;
        }
        loop {
            let (mut cost, mut loaded, mut is_full) = (0, 0, false);
            let mut best: Option<(usize, Live)> = None;
            for at in from..to {
                if is_load(form, &block[at]) {
                    loaded += form.tile.vectors;
                    is_full = loaded > LOADED && best.is_some();
                }
                if is_full {
                    break;
                }
                cost += is_code(form, &block[at]) as usize;
                if cost < least {
                    continue;
                }
                let live = live(form, block, last, from..=at);
                if best.as_ref().is_none_or(|(_, found)| live.count() <= found.count()) {
                    best = Some((at, live));
                }
                if cost >= most {
                    break;
                }
            }
            // What is left is short enough.
            let Some((at, live)) = best.filter(|_| is_full || cost >= most) else { return };
            let vectors = |ty| parts(ty) * form.tile.vectors as usize;
            let function = form.function;
            let values = live.values.iter().map(|value| vectors(function.ty(*value)));
            let variables = live.variables.iter().map(|&local| vectors(function.locals[local].ty));
            self.pins = self.pins.max(values.chain(variables).sum());
            self.at.insert(std::ptr::from_ref(&block[at]), live);
            from = at + 1;
        }
    }
}

/// Whether a statement is vector instructions.
fn is_code(form: Form<'_>, stmt: &Stmt) -> bool {
    is_load(form, stmt) || matches!(stmt, Stmt::Let(value) if is_computed(form, *value))
}

/// Whether a statement loads a vector for each group.
fn is_load(form: Form<'_>, stmt: &Stmt) -> bool {
    let Stmt::Let(value) = stmt else { return false };
    let is_load = matches!(form.function.def(*value).inst, Inst::Load(..));
    is_load && form.facts.variance(*value) == Variance::Varying
}

fn is_computed(form: Form<'_>, value: Value) -> bool {
    let inst = &form.function.def(value).inst;
    form.facts.variance(value) == Variance::Varying
        && !matches!(inst, Inst::Const(_) | Inst::Get(_) | Inst::Load(..))
}

/// For each value that a block uses, its last statement that does, or has such a statement inside; but for values that
/// have no code of their own, which are never anywhere.
type LastUses = HashMap<Value, usize>;

fn last_uses(form: Form<'_>, fields: &Fields, block: &Block) -> LastUses {
    let mut last = LastUses::new();
    for (at, stmt) in block.iter().enumerate() {
        note_uses(form, stmt, &mut |value| {
            last.insert(value, at);
        });
    }
    last.retain(|value, _| !fields.covers(*value));
    last
}

fn note_uses(form: Form<'_>, stmt: &Stmt, note: &mut impl FnMut(Value)) {
    stmt.uses().into_iter().for_each(&mut *note);
    if let Stmt::Let(value) = stmt {
        form.function.def(*value).inst.operands().into_iter().for_each(&mut *note);
    }
    for stmt in stmt.blocks().into_iter().flatten() {
        note_uses(form, stmt, note);
    }
}

/// What these statements of a block compute, and those behind them use.
fn live(form: Form<'_>, block: &Block, last: &LastUses, range: RangeInclusive<usize>) -> Live {
    let end = *range.end();
    let used = |value: &Value| last.get(value).is_some_and(|at| *at > end);
    let mut live = Live::default();
    for stmt in &block[range] {
        match stmt {
            Stmt::Let(value) if is_computed(form, *value) && used(value) => {
                live.values.push(*value);
            }
            Stmt::Set(local, _) if form.facts.is_varying_local(local.index()) => {
                live.variables.push(local.index());
            }
            _ => {}
        }
    }
    live.variables.sort_unstable();
    live.variables.dedup();
    live
}

impl<'a> Body<'a> {
    /// Opens the block that fences leave, if there are any.
    pub(super) fn open_pins(&mut self) {
        let count = self.form.fences.map_or(0, |fences| fences.pins);
        if count > 0 {
            let locals = (0..count).map(|_| self.code.local(ValType::V128)).collect();
            self.pins = Some(Pins { locals, cold: self.code.open_block() });
        }
    }

    /// Closes it, with the code that nobody gets to; `end` is where the body goes on.
    pub(super) fn close_pins(&mut self, end: Label) {
        let Some(pins) = self.pins.take() else { return };
        self.code.branch(end);
        self.code.close();
        // Any memory will do.
        let target = MemArgTarget::Memory(0);
        for (at, pin) in pins.locals.into_iter().enumerate() {
            let arg = MemArg { offset: 16 * at as u64, align: 2, target, ordering: None };
            self.code.sink().i32_const(0).local_get(pin).v128_store(arg);
        }
        self.code.sink().unreachable();
    }

    /// The fence behind a statement, if there is one.
    pub(super) fn fence_behind(&mut self, stmt: &'a Stmt) {
        let fences = self.form.fences;
        let Some(live) = fences.and_then(|f| f.at.get(&std::ptr::from_ref(stmt))) else { return };
        let Some(pins) = self.pins.clone() else { return };
        let mut free = pins.locals.iter().copied();
        let function = self.function;
        let variables = live.variables.iter().map(|&local| (function.locals[local].ty, local));
        for (ty, local) in variables {
            self.each_group(true, false, |body| {
                let rep = body.variable(local);
                for (part, pin) in (0..parts(ty)).zip(&mut free) {
                    body.code.lanes(rep, ty, part);
                    body.code.set(pin);
                }
            });
        }
        for &value in &live.values {
            let ty = function.ty(value);
            self.each_group(true, false, |body| {
                let rep = body.rep(value);
                for (part, pin) in (0..parts(ty)).zip(&mut free) {
                    body.code.lanes(rep, ty, part);
                    body.code.set(pin);
                }
            });
        }
        // What others left there would stay live for nothing.
        for pin in free {
            self.code.sink().v128_const(0).local_set(pin);
        }
        self.code.get(self.context.fence);
        self.code.branch_if(pins.cold);
    }
}
