//! Refill: a kernel around one loop, as one whose lanes take a new invocation as soon as they are through
//! with theirs.
//!
//! ```text
//! before; loop { body }; after          ==     at = id.x;  state = new
//!                                              loop {
//!                                                  if state == over { after; at += step; state = new }
//!                                                  if state == new { if at >= end { break }
//!                                                                    before; state = running }
//!                                                  body, where `break` is `state = over; continue`
//!                                              }
//! ```
//!
//! Run by `step` invocations, the first ones of a row, it does the work of all those before `end`. Where
//! lanes leave a loop at very different passages, none waits for the slowest of its neighbours; what it
//! costs is that neighbours in a vector are neighbours in memory no more, and a few instructions more in
//! each passage.
//!
//! The statements before the loop and behind it run in passages of their own: what they compute for
//! others is kept in variables, or, where it is the same for all of a row, computed once.
//!
//! This is no pass of the pipeline: a back end may call [`refill`] on the optimised kernel.

use std::collections::{HashMap, HashSet};

use super::rewrite::Copy;
use super::rule::Hits;
use super::{cse, dce, fold};
use crate::ir::{
    Axis, BinaryOp, Block, Const, Function, Inst, Kernel, Local, LocalDef, Param, ParamDef,
    ParamKind, Stmt, Type, Value, ValueDef,
};

/// A kernel whose lanes are refilled. Behind its arguments it has two more: see [`Refilled::step`] and
/// [`Refilled::end`].
#[derive(Clone, Debug)]
pub struct Refilled {
    /// The kernel.
    pub kernel: Kernel,
    /// A `u32`: from an invocation that a lane has run to the next one that it takes.
    pub step: Param,
    /// A `u32`: behind the last invocation.
    pub end: Param,
    /// The variable that holds the `x` of the invocation that a lane is at.
    pub at: Local,
}

/// States of a lane.
const NEW: u32 = 0;
const RUNNING: u32 = 1;
const OVER: u32 = 2;

/// The kernel with lanes that are refilled; `None` where it is not of that form: one loop outside of all
/// others, around which nothing returns, no arrays, no workgroup and no collective.
pub fn refill(kernel: &Kernel) -> Option<Refilled> {
    let function = &kernel.entry;
    if kernel.collective.is_some()
        || kernel.workgroup.is_some()
        || function.locals.iter().any(|local| local.array.is_some())
        || function.values.iter().any(|def| matches!(def.inst, Inst::Extent(_)))
    {
        return None;
    }
    let mut loops = function.body.iter().enumerate().filter(|(_, stmt)| is_loop(stmt));
    let (at, _) = loops.next()?;
    let others = function.body.iter().enumerate().filter(|(other, _)| *other != at);
    if loops.next().is_some()
        || others.clone().any(|(_, stmt)| has_loop(stmt))
        || returns(&function.body)
    {
        return None;
    }
    let mut kernel = kernel.clone();
    let refilled = Writer::new(&mut kernel.entry).write(at);
    for pass in [fold::PASS, cse::PASS, dce::PASS] {
        (pass.run)(&mut kernel, &mut Hits::ignored());
        kernel.entry.compact();
    }
    let (step, end, at) = refilled;
    Some(Refilled { kernel, step, end, at })
}

fn is_loop(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::For { .. } | Stmt::Loop(_))
}

fn has_loop(stmt: &Stmt) -> bool {
    is_loop(stmt) || stmt.blocks().into_iter().flatten().any(has_loop)
}

fn returns(block: &Block) -> bool {
    block.iter().any(|stmt| {
        matches!(stmt, Stmt::Return | Stmt::Barrier(_) | Stmt::Each(_))
            || stmt.blocks().into_iter().any(returns)
    })
}

/// The new function in the making. All that is new goes to its end.
struct Writer<'f> {
    function: &'f mut Function,
    step: Param,
    end: Param,
    at: Local,
    state: Local,
    /// Where values of the statements before the loop are kept.
    kept: HashMap<Value, Local>,
}

impl<'f> Writer<'f> {
    fn new(function: &'f mut Function) -> Writer<'f> {
        let mut param = |name: &str| {
            let kind = ParamKind::Scalar(Type::U32);
            function.params.push(ParamDef { name: name.to_owned(), kind });
            Param(function.params.len() as u32 - 1)
        };
        let (step, end) = (param("step"), param("end"));
        let mut local = || {
            function.locals.push(LocalDef::new(Type::U32, None));
            Local(function.locals.len() as u32 - 1)
        };
        let (at, state) = (local(), local());
        Writer { function, step, end, at, state, kept: HashMap::new() }
    }

    fn write(mut self, loop_at: usize) -> (Param, Param, Local) {
        let mut body = std::mem::take(&mut self.function.body);
        let after = body.split_off(loop_at + 1);
        let Some(inner) = body.pop() else { return (self.step, self.end, self.at) };
        let (shared, before) = self.split_shared(body);
        self.keep_what_is_used(&before, &inner, &after);
        let mut out = shared;
        let x = self.put(&mut out, Type::U32, Inst::Id(Axis::X));
        out.push(Stmt::Set(self.at, x));
        self.set_state(&mut out, NEW);
        let mut passage = Vec::new();
        let (running, counter) = self.running(inner);
        self.over(&mut passage, after);
        self.fresh(&mut passage, before, counter);
        passage.extend(running);
        out.push(Stmt::Loop(passage));
        self.function.body = out;
        (self.step, self.end, self.at)
    }

    // Values

    fn put(&mut self, out: &mut Block, ty: Type, inst: Inst) -> Value {
        self.function.values.push(ValueDef { ty, inst, span: crate::ir::Span::default() });
        let value = Value(self.function.values.len() as u32 - 1);
        out.push(Stmt::Let(value));
        value
    }

    fn constant(&mut self, out: &mut Block, c: Const) -> Value {
        self.put(out, c.ty, Inst::Const(c))
    }

    fn variable(&mut self, ty: Type) -> Local {
        self.function.locals.push(LocalDef::new(ty, None));
        Local(self.function.locals.len() as u32 - 1)
    }

    fn set_state(&mut self, out: &mut Block, state: u32) {
        let value = self.constant(out, state.into());
        out.push(Stmt::Set(self.state, value));
    }

    /// Pushes whether the lane is in a state.
    fn is_in(&mut self, out: &mut Block, state: u32) -> Value {
        let (held, wanted) =
            (self.put(out, Type::U32, Inst::Get(self.state)), self.constant(out, state.into()));
        self.put(out, Type::Bool, Inst::Binary(BinaryOp::Eq, held, wanted))
    }

    /// Of the statements before the loop, those that are the same for all of a row, and the others.
    fn split_shared(&self, body: Block) -> (Block, Block) {
        let mut shared: HashSet<Value> = HashSet::new();
        body.into_iter().partition(|stmt| match stmt {
            Stmt::Let(value) => {
                let inst = &self.function.def(*value).inst;
                let is_shared = inst.is_pure()
                    && !matches!(inst, Inst::Id(Axis::X))
                    && !matches!(inst, Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..))
                    && inst.operands().iter().all(|operand| shared.contains(operand));
                if is_shared {
                    shared.insert(*value);
                }
                is_shared
            }
            _ => false,
        })
    }

    /// Gives a variable to every value that is defined before the loop and used in it or behind it.
    fn keep_what_is_used(&mut self, before: &Block, inner: &Stmt, after: &Block) {
        let mut used = HashSet::new();
        note_uses(self.function, inner, &mut used);
        after.iter().for_each(|stmt| note_uses(self.function, stmt, &mut used));
        for stmt in before {
            if let Stmt::Let(value) = stmt
                && used.contains(value)
            {
                let local = self.variable(self.function.ty(*value));
                self.kept.insert(*value, local);
            }
        }
    }

    /// A copy of statements that stand in another passage than those before the loop.
    fn moved(&mut self, block: &[Stmt]) -> Block {
        let mut out = Vec::new();
        let mut used = HashSet::new();
        block.iter().for_each(|stmt| note_uses(self.function, stmt, &mut used));
        let mut kept: Vec<(Value, Local)> =
            self.kept.iter().map(|(&value, &local)| (value, local)).collect();
        kept.retain(|(value, _)| used.contains(value));
        kept.sort_unstable_by_key(|(value, _)| value.index());
        let mut stands = Vec::new();
        for (value, local) in kept {
            let ty = self.function.ty(value);
            stands.push((value, self.put(&mut out, ty, Inst::Get(local))));
        }
        let x = self.put(&mut out, Type::U32, Inst::Get(self.at));
        let mut copy = Copy::new(self.function);
        for (old, new) in stands {
            copy.stand_for(old, new);
        }
        let mut block = copy.block(block);
        self.place(&mut block, x);
        out.extend(block);
        out
    }

    /// Replaces the invocation's own place: the values that were it are this one.
    fn place(&mut self, block: &mut Block, x: Value) {
        for stmt in block {
            if let Stmt::Let(value) = stmt
                && self.function.def(*value).inst == Inst::Id(Axis::X)
            {
                self.function.values[value.index()].inst = Inst::Bitcast(x);
            }
            for inner in stmt.blocks_mut() {
                self.place(inner, x);
            }
        }
    }

    // Parts of a passage

    /// What a lane does that has left the loop.
    fn over(&mut self, passage: &mut Block, after: Block) {
        let mut then = self.moved(&after);
        let at = self.put(&mut then, Type::U32, Inst::Get(self.at));
        let step = self.put(&mut then, Type::U32, Inst::Param(self.step));
        let next = self.put(&mut then, Type::U32, Inst::Binary(BinaryOp::Add, at, step));
        // Behind the last there is no next, not even one that has wrapped.
        let wraps = self.put(&mut then, Type::Bool, Inst::Binary(BinaryOp::Lt, next, at));
        let never = self.constant(&mut then, u32::MAX.into());
        let next = self.put(&mut then, Type::U32, Inst::Select(wraps, never, next));
        then.push(Stmt::Set(self.at, next));
        self.set_state(&mut then, NEW);
        let condition = self.is_in(passage, OVER);
        passage.push(Stmt::If { condition, then, otherwise: Vec::new() });
    }

    /// What a lane does that begins.
    fn fresh(&mut self, passage: &mut Block, before: Block, counter: Option<Counter>) {
        let mut then = Vec::new();
        let at = self.put(&mut then, Type::U32, Inst::Get(self.at));
        let end = self.put(&mut then, Type::U32, Inst::Param(self.end));
        let done = self.put(&mut then, Type::Bool, Inst::Binary(BinaryOp::Ge, at, end));
        let leave = vec![Stmt::Break];
        then.push(Stmt::If { condition: done, then: leave, otherwise: Vec::new() });
        let own = [self.at, self.state];
        let kept: HashSet<Local> = self.kept.values().copied().collect();
        for local in (0..self.function.locals.len() as u32).map(Local) {
            let counts = counter.is_some_and(|counter| [counter.now, counter.end].contains(&local));
            if !own.contains(&local) && !kept.contains(&local) && !counts {
                let zero = Const::zero(self.function.locals[local.index()].ty);
                let zero = self.constant(&mut then, zero);
                then.push(Stmt::Set(local, zero));
            }
        }
        let x = self.put(&mut then, Type::U32, Inst::Get(self.at));
        let mut before = before;
        self.place(&mut before, x);
        then.extend(before);
        let mut kept: Vec<(Value, Local)> =
            self.kept.iter().map(|(&value, &local)| (value, local)).collect();
        kept.sort_unstable_by_key(|(value, _)| value.index());
        then.extend(kept.into_iter().map(|(value, local)| Stmt::Set(local, value)));
        if let Some(counter) = counter {
            then.push(Stmt::Set(counter.now, counter.first));
            then.push(Stmt::Set(counter.end, counter.last));
        }
        self.set_state(&mut then, RUNNING);
        let condition = self.is_in(passage, NEW);
        passage.push(Stmt::If { condition, then, otherwise: Vec::new() });
    }

    /// A passage of the loop, and its counter, if it has one.
    fn running(&mut self, inner: Stmt) -> (Block, Option<Counter>) {
        match inner {
            Stmt::Loop(body) => {
                let mut passage = self.moved(&body);
                self.leave_by_state(&mut passage);
                (passage, None)
            }
            Stmt::For { counter, start, end, step, body } => {
                let ty = self.function.ty(counter);
                let held = Counter {
                    now: self.variable(ty),
                    end: self.variable(ty),
                    first: start,
                    last: end,
                };
                (self.counted(counter, held, step, body), Some(held))
            }
            _ => (Vec::new(), None),
        }
    }

    /// `if !(now < end) { over }; body; if end - now > step { now += step } else { over }`
    fn counted(&mut self, counter: Value, held: Counter, step: u32, body: Block) -> Block {
        let ty = self.function.ty(counter);
        let unsigned = ty.bit_pattern();
        let mut out = Vec::new();
        let now = self.put(&mut out, ty, Inst::Get(held.now));
        let end = self.put(&mut out, ty, Inst::Get(held.end));
        let done = self.put(&mut out, Type::Bool, Inst::Binary(BinaryOp::Ge, now, end));
        let then = self.go_over();
        out.push(Stmt::If { condition: done, then, otherwise: Vec::new() });
        // The counter is the variable as it was when the passage began, and `continue` goes on with the
        // next: so that is set first.
        let raw = |this: &mut Self, out: &mut Block, value: Value| {
            this.put(out, unsigned, Inst::Bitcast(value))
        };
        let (from, to) = (raw(self, &mut out, now), raw(self, &mut out, end));
        let left = self.put(&mut out, unsigned, Inst::Binary(BinaryOp::Sub, to, from));
        let by = self.constant(&mut out, Const::new(unsigned, u64::from(step)));
        let next = self.put(&mut out, unsigned, Inst::Binary(BinaryOp::Add, from, by));
        let goes_on = self.put(&mut out, Type::Bool, Inst::Binary(BinaryOp::Gt, left, by));
        // Without another passage the counter is at its end.
        let next = self.put(&mut out, unsigned, Inst::Select(goes_on, next, to));
        let next = self.put(&mut out, ty, Inst::Bitcast(next));
        out.push(Stmt::Set(held.now, next));
        let mut passage = self.moved(&body);
        self.replace(&mut passage, counter, now);
        self.leave_by_state(&mut passage);
        out.extend(passage);
        out
    }

    /// The statements that end the loop for a lane.
    fn go_over(&mut self) -> Block {
        let mut out = Vec::new();
        self.set_state(&mut out, OVER);
        out.push(Stmt::Continue);
        out
    }

    /// Every `break` of the loop becomes a change of state.
    fn leave_by_state(&mut self, block: &mut Block) {
        let statements = std::mem::take(block);
        for mut stmt in statements {
            match stmt {
                Stmt::Break => block.extend(self.go_over()),
                Stmt::If { ref mut then, ref mut otherwise, .. } => {
                    self.leave_by_state(then);
                    self.leave_by_state(otherwise);
                    block.push(stmt);
                }
                other => block.push(other),
            }
        }
    }

    fn replace(&mut self, block: &mut Block, old: Value, new: Value) {
        let by = |value: Value| if value == old { new } else { value };
        for stmt in block {
            if let Stmt::Let(value) = stmt {
                self.function.values[value.index()].inst.map_operands(&mut |v| by(v));
            }
            stmt.map_values(&mut |v| by(v));
            for inner in stmt.blocks_mut() {
                self.replace(inner, old, new);
            }
        }
    }
}

/// The counter of the loop, as variables, and the values that it counts between.
#[derive(Clone, Copy, Debug)]
struct Counter {
    now: Local,
    end: Local,
    first: Value,
    last: Value,
}

fn note_uses(function: &Function, stmt: &Stmt, used: &mut HashSet<Value>) {
    used.extend(stmt.uses());
    if let Stmt::Let(value) = stmt {
        used.extend(function.def(*value).inst.operands());
    }
    for stmt in stmt.blocks().into_iter().flatten() {
        note_uses(function, stmt, used);
    }
}

#[cfg(test)]
mod tests {
    use super::{Refilled, refill};
    use crate::exec::Grid;
    use crate::interp::{self, Data};
    use crate::ir::{Const, Kernel, Type};
    use crate::random::{self, Floats, Options, Random};
    use crate::verify::verify;

    /// The kernel, run by so many lanes.
    fn run(refilled: &Refilled, mut args: Vec<Data>, grid: Grid, lanes: u32) -> Vec<Data> {
        let scalar = |n: u32| Data::Scalar(Const::new(Type::U32, u64::from(n)));
        args.extend([scalar(lanes), scalar(grid[0])]);
        let lanes = [lanes.min(grid[0]), grid[1], grid[2]];
        interp::run(&refilled.kernel, &mut args, lanes, None).expect("no check fails");
        args.truncate(args.len() - 2);
        args
    }

    #[test]
    fn random_kernels_do_the_same() {
        let mut tried = 0;
        let options = Options { size: 30, collectives: false, ..Options::default() };
        for seed in 0..8000 {
            let mut rng = Random::new(0x5ef1_11ed + seed);
            let kernel = random::kernel(&mut rng, &options);
            // Only what is inlined has its loop in sight.
            let kernel: Kernel = crate::passes::optimize_with(&kernel, &|pass| pass == "inline");
            let Some(refilled) = refill(&kernel) else { continue };
            verify(&refilled.kernel).unwrap_or_else(|e| panic!("seed {seed}: {e}\n{kernel}"));
            tried += 1;
            for n in [0, 1, 5, 40] {
                let (data, grid) = random::arguments(&mut rng, &kernel, n, Floats::Any);
                let mut expected = data.clone();
                interp::run(&kernel, &mut expected, grid, None).expect("no check fails");
                for lanes in [1, 4] {
                    let found = run(&refilled, data.clone(), grid, lanes);
                    assert_eq!(
                        found, expected,
                        "seed {seed}, n {n}, {lanes} lanes\n{kernel}\n{}",
                        refilled.kernel
                    );
                }
            }
        }
        assert!(tried > 100, "{tried} kernels are of the form");
    }
}
