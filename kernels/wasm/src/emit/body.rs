//! The statements of a kernel for one group of invocations: four neighbours along x, or one.
//!
//! ```text
//! uniform if         if … else … end
//! varying if         then = cond & mask;  if any(then) … end;  else = mask & !cond;  if any …
//! uniform loop       block loop … br_if end end
//! varying loop       lanes leave a mask of their own; the loop ends when none is left
//! masked break       broken |= mask;  after the `if` around: mask &= !broken
//! ```
//!
//! Invariant: code runs with at least one active lane. Behind a statement that may take lanes away
//! the rest of the block stands in `if any(mask)`. So uniform accesses and divisions need no guard.

use crossover_kernels::ir::{
    BinaryOp, Block, Const, Function, Inst, Kernel, LocalDef, SiteId, Stmt, Type, Value,
};
use wasm_encoder::ValType;

use super::code::{Code, LANES, Label, Rep, parts, val_type};
use super::divergence::{Divergence, Frame, Jumps, LoopFacts, Variance};
use super::layout::{ArrayPlace, Layout};

/// Invocations that one passage of a body computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    /// One.
    Scalar,
    /// [`LANES`] neighbours along x.
    Vector,
}

/// Where a failing check leaves what it knows, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failing {
    pub(super) label: Label,
    pub(super) site: u32,
    pub(super) index: u32,
    /// Lanes from the group's x to the failing invocation.
    pub(super) lane: u32,
}

/// How a variable or array is held.
#[derive(Clone, Debug)]
enum Place {
    Plain(Rep),
    Registers(Vec<Rep>),
    Scratch(u64),
}

/// The wasm locals and labels of a loop that is open.
#[derive(Clone, Copy, Debug)]
struct Loop {
    exit: Label,
    next: Label,
    broken: Option<u32>,
    continued: Option<u32>,
}

/// Everything a body needs besides its code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) layout: &'a Layout,
    /// Facts for the vector body.
    pub(super) vector: &'a Divergence,
    /// Facts for the scalar body.
    pub(super) scalar: &'a Divergence,
    /// The wasm locals of x (of lane 0), y and z.
    pub(super) axes: [u32; 3],
    pub(super) failing: Failing,
}

/// One body while it is written.
pub(super) struct Body<'a> {
    pub(super) code: &'a mut Code,
    pub(super) context: Context<'a>,
    pub(super) function: &'a Function,
    pub(super) width: Width,
    /// Checks that hold for the whole range that this body runs on, by their condition.
    proved: &'a [Value],
    facts: &'a Divergence,
    reps: Vec<Option<Rep>>,
    places: Vec<Place>,
    /// The active lanes; `None` when all are.
    pub(super) mask: Option<u32>,
    frames: Vec<Frame>,
    loops: Vec<Loop>,
    returned: Option<u32>,
    end: Option<Label>,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        code: &'a mut Code,
        context: Context<'a>,
        width: Width,
        proved: &'a [Value],
    ) -> Body<'a> {
        let function = &context.kernel.entry;
        Body {
            code,
            context,
            function,
            width,
            proved,
            facts: if width == Width::Vector { context.vector } else { context.scalar },
            reps: vec![None; function.values.len()],
            places: Vec::new(),
            mask: None,
            frames: Vec::new(),
            loops: Vec::new(),
            returned: None,
            end: None,
        }
    }

    /// Emits the whole body and gives the result's place.
    pub(super) fn emit(mut self) -> Option<Rep> {
        self.reset_places();
        if self.facts.masked_return {
            self.returned = Some(self.zero_mask());
        }
        self.end = Some(self.code.open_block());
        let function = self.function;
        self.block(&function.body);
        self.code.close();
        function.result.map(|local| match &self.places[local.index()] {
            Place::Plain(rep) => *rep,
            Place::Registers(_) | Place::Scratch(_) => {
                unreachable!("verified: the result is a plain variable")
            }
        })
    }

    // Variables

    fn reset_places(&mut self) {
        for (at, def) in self.function.locals.iter().enumerate() {
            let place = match self.context.layout.arrays[at] {
                ArrayPlace::Plain => {
                    let uniform = !self.facts.is_varying_local(at);
                    Place::Plain(self.zeroed(def.ty, uniform))
                }
                ArrayPlace::Registers(count) => {
                    Place::Registers((0..count).map(|_| self.zeroed(def.ty, false)).collect())
                }
                ArrayPlace::Scratch(offset) => {
                    self.zero_scratch(offset, def);
                    Place::Scratch(offset)
                }
            };
            self.places.push(place);
        }
    }

    fn zeroed(&mut self, ty: Type, uniform: bool) -> Rep {
        let zero = Rep::Const(Const::zero(ty));
        let rep = self.fresh(ty, uniform || self.width == Width::Scalar);
        self.overwrite(rep, ty, zero);
        rep
    }

    /// Wasm locals for a value.
    pub(super) fn fresh(&mut self, ty: Type, uniform: bool) -> Rep {
        if uniform {
            Rep::Scalar(self.code.local(val_type(ty)))
        } else {
            Rep::Lanes(self.code.lanes_local(ty))
        }
    }

    /// `for at in 0..bytes step 16: scratch[offset + at] = 0`
    fn zero_scratch(&mut self, offset: u64, def: &LocalDef) {
        let bytes = def.array.unwrap_or(1) * Layout::stride(def.ty);
        let arg = self.context.layout.scratch_arg(offset);
        let at = self.code.local(ValType::I32);
        self.code.i32_const(0);
        self.code.set(at);
        let top = self.code.open_loop();
        self.code.sink().local_get(at).v128_const(0).v128_store(arg);
        self.code.sink().local_get(at).i32_const(16).i32_add().local_tee(at);
        self.code.i32_const(bytes);
        self.code.sink().i32_lt_u();
        self.code.branch_if(top);
        self.code.close();
    }

    fn overwrite(&mut self, target: Rep, ty: Type, value: Rep) {
        match target {
            Rep::Scalar(local) | Rep::Linear(local) => {
                self.code.scalar(value, ty);
                self.code.set(local);
            }
            Rep::Lanes(locals) => {
                for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
                    self.code.lanes(value, ty, part);
                    self.code.set(local);
                }
            }
            Rep::Const(_) => {}
        }
    }

    /// Assigns in the active lanes.
    fn assign(&mut self, target: Rep, ty: Type, value: Rep) {
        let (Rep::Lanes(locals), Some(mask)) = (target, self.mask) else {
            return self.overwrite(target, ty, value);
        };
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            self.code.lanes(value, ty, part);
            self.code.get(local);
            self.code.mask_for(mask, ty, part);
            self.code.sink().v128_bitselect();
            self.code.set(local);
        }
    }

    pub(super) fn variable(&self, local: usize) -> Rep {
        match &self.places[local] {
            Place::Plain(rep) => *rep,
            Place::Registers(_) | Place::Scratch(_) => {
                unreachable!("verified: a plain variable")
            }
        }
    }

    /// The array's element in registers; `None` when the array is in memory, which `Err` names.
    pub(super) fn element(&self, local: usize, index: Value) -> Result<Rep, u64> {
        match &self.places[local] {
            Place::Registers(elements) => {
                let at = self.function.as_const(index).map_or(0, |c| c.bits as usize);
                Ok(elements[at.min(elements.len() - 1)])
            }
            Place::Scratch(offset) => Err(*offset),
            Place::Plain(rep) => Ok(*rep),
        }
    }

    // Values

    pub(super) fn rep(&self, value: Value) -> Rep {
        self.reps[value.index()].expect("a verified kernel defines every value before its use")
    }

    pub(super) fn variance(&self, value: Value) -> Variance {
        self.facts.variance(value)
    }

    fn compute(&mut self, value: Value) {
        let def = self.function.def(value);
        let rep = match (&def.inst, self.variance(value)) {
            (Inst::Const(c), _) => Rep::Const(*c),
            (Inst::Param(param) | Inst::Len(param), _) => {
                Rep::Scalar(self.context.layout.param(*param))
            }
            (Inst::Id(axis), variance) => {
                let local = self.context.axes[axis.index()];
                if variance == Variance::Linear { Rep::Linear(local) } else { Rep::Scalar(local) }
            }
            (_, Variance::Uniform) => {
                self.scalar_inst(def);
                let local = self.code.local(val_type(def.ty));
                self.defined(Rep::Scalar(local))
            }
            (_, Variance::Linear) => {
                self.scalar_inst(def);
                let local = self.code.local(val_type(def.ty));
                self.defined(Rep::Linear(local))
            }
            (_, Variance::Varying) => self.lanes_inst(def),
        };
        self.reps[value.index()] = Some(rep);
    }

    /// Computes a value, and those it needs, that depend on nothing inside the body.
    pub(super) fn compute_invariant(&mut self, value: Value) {
        if self.reps[value.index()].is_none() {
            for operand in self.function.def(value).inst.operands() {
                self.compute_invariant(operand);
            }
            self.compute(value);
        }
    }

    /// Moves the scalar on the stack into its local.
    fn defined(&mut self, rep: Rep) -> Rep {
        if let Rep::Scalar(local) | Rep::Linear(local) = rep {
            self.code.set(local);
        }
        rep
    }

    // Statements

    /// Gives the masked jumps out of the block. The caller restores its own mask.
    fn block(&mut self, block: &'a Block) -> Jumps {
        let mut all = Jumps::default();
        let mut guards = 0;
        for (at, stmt) in block.iter().enumerate() {
            let jumps = self.stmt(stmt);
            all = all.or(jumps);
            if jumps.any() && at + 1 < block.len() {
                let mask = self.remaining(jumps);
                self.mask = Some(mask);
                self.code.get(mask);
                self.code.sink().v128_any_true();
                self.code.open_if();
                guards += 1;
            }
        }
        for _ in 0..guards {
            self.code.close();
        }
        all
    }

    fn stmt(&mut self, stmt: &'a Stmt) -> Jumps {
        match stmt {
            Stmt::Let(value) => self.compute(*value),
            Stmt::Set(local, value) => {
                let (target, ty) = (self.variable(local.index()), self.function.ty(*value));
                self.assign(target, ty, self.rep(*value));
            }
            Stmt::SetElement(local, index, value) => {
                let ty = self.function.ty(*value);
                match self.element(local.index(), *index) {
                    Ok(target) => self.assign(target, ty, self.rep(*value)),
                    Err(offset) => self.scratch_store(offset, *index, *value),
                }
            }
            Stmt::Store(buffer, index, value) => self.store(*buffer, *index, *value),
            Stmt::AtomicStore(buffer, index, value) => self.atomic_store(*buffer, *index, *value),
            Stmt::Check { condition, site, index } => self.check(*condition, *site, *index),
            Stmt::If { condition, then, otherwise } => {
                return match self.variance(*condition) {
                    Variance::Uniform => self.uniform_if(*condition, then, otherwise),
                    Variance::Linear | Variance::Varying => {
                        self.varying_if(*condition, then, otherwise)
                    }
                };
            }
            Stmt::For { counter, start, end, step, body } => {
                let count = Count { counter: *counter, start: *start, end: *end, step: *step };
                return self.repeat(stmt, Some(count), body);
            }
            Stmt::Loop(body) => return self.repeat(stmt, None, body),
            Stmt::Break | Stmt::Continue => return self.leave_passage(stmt),
            Stmt::Return => return self.leave_invocation(),
            // Refused before anything is emitted.
            Stmt::CallVoid(..) => {
                self.code.sink().unreachable();
            }
        }
        Jumps::default()
    }

    // Masks

    fn zero_mask(&mut self) -> u32 {
        let mask = self.code.local(ValType::V128);
        self.code.sink().v128_const(0).local_set(mask);
        mask
    }

    /// Pushes the active lanes.
    pub(super) fn push_mask(&mut self) {
        match self.mask {
            Some(mask) => self.code.get(mask),
            None => self.code.lanes_const(Const::one(Type::Bool)),
        }
    }

    /// The active lanes without those that have jumped.
    fn remaining(&mut self, jumps: Jumps) -> u32 {
        self.push_mask();
        let inner = self.loops.last().copied();
        let gone = [
            (jumps.breaks, inner.and_then(|l| l.broken)),
            (jumps.continues, inner.and_then(|l| l.continued)),
            (jumps.returns, self.returned),
        ];
        for (any, gone) in gone {
            if let (true, Some(gone)) = (any, gone) {
                self.code.get(gone);
                self.code.sink().v128_andnot();
            }
        }
        let mask = self.code.local(ValType::V128);
        self.code.set(mask);
        mask
    }

    /// `gone |= mask`
    fn clear(&mut self, gone: Option<u32>) {
        let gone = gone.expect("the analysis foresaw every masked jump");
        self.code.get(gone);
        self.push_mask();
        self.code.sink().v128_or().local_set(gone);
    }

    // Branches

    fn uniform_if(&mut self, condition: Value, then: &'a Block, otherwise: &'a Block) -> Jumps {
        let outer = self.mask;
        self.code.scalar(self.rep(condition), Type::Bool);
        self.code.open_if();
        let mut jumps = self.block(then);
        self.mask = outer;
        if !otherwise.is_empty() {
            self.code.otherwise();
            jumps = jumps.or(self.block(otherwise));
            self.mask = outer;
        }
        self.code.close();
        jumps
    }

    fn varying_if(&mut self, condition: Value, then: &'a Block, otherwise: &'a Block) -> Jumps {
        let condition = self.rep(condition);
        self.frames.push(Frame::VaryingIf);
        let mut jumps = Jumps::default();
        if !then.is_empty() {
            self.code.lanes(condition, Type::Bool, 0);
            if let Some(mask) = self.mask {
                self.code.sink().local_get(mask).v128_and();
            }
            jumps = jumps.or(self.masked_block(then));
        }
        if !otherwise.is_empty() {
            self.push_mask();
            self.code.lanes(condition, Type::Bool, 0);
            self.code.sink().v128_andnot();
            jumps = jumps.or(self.masked_block(otherwise));
        }
        self.frames.pop();
        jumps
    }

    /// Runs the block for the lanes of the mask on the stack, if there is any.
    fn masked_block(&mut self, block: &'a Block) -> Jumps {
        let outer = self.mask;
        let mask = self.code.local(ValType::V128);
        self.code.sink().local_tee(mask).v128_any_true();
        self.code.open_if();
        self.mask = Some(mask);
        let jumps = self.block(block);
        self.code.close();
        self.mask = outer;
        jumps
    }

    // Jumps

    fn leave_passage(&mut self, stmt: &Stmt) -> Jumps {
        let inner = *self.loops.last().expect("verified: jumps stand in a loop");
        let breaks = matches!(stmt, Stmt::Break);
        if !self.facts.is_masked_in_loop(&self.frames) {
            self.code.branch(if breaks { inner.exit } else { inner.next });
            return Jumps::default();
        }
        self.clear(if breaks { inner.broken } else { inner.continued });
        Jumps { breaks, continues: !breaks, returns: false }
    }

    fn leave_invocation(&mut self) -> Jumps {
        if !self.facts.is_masked_return(&self.frames) {
            let end = self.end.expect("the body's block is open");
            self.code.branch(end);
            return Jumps::default();
        }
        self.clear(self.returned);
        Jumps { returns: true, ..Jumps::default() }
    }

    // Loops

    fn repeat(&mut self, stmt: &Stmt, count: Option<Count>, body: &'a Block) -> Jumps {
        let id = std::ptr::from_ref(stmt);
        let facts = self.facts.loop_facts(id);
        let outer = self.mask;
        if facts.narrows() {
            let mask = self.code.local(ValType::V128);
            self.push_mask();
            self.code.set(mask);
            self.mask = Some(mask);
        }
        let broken = facts.jumps.breaks.then(|| self.zero_mask());
        let continued = facts.jumps.continues.then(|| self.zero_mask());
        let exit = self.code.open_block();
        if let Some(count) = count {
            self.begin_count(count, exit);
        }
        let top = self.code.open_loop();
        if let Some(continued) = continued {
            self.code.sink().v128_const(0).local_set(continued);
        }
        let next = self.code.open_block();
        let entry = self.mask;
        self.frames.push(Frame::Loop(id));
        self.loops.push(Loop { exit, next, broken, continued });
        self.block(body);
        self.code.close();
        self.mask = entry;
        self.retire_lanes(facts, exit);
        match count {
            Some(count) => self.next_count(count, top),
            None => self.code.branch(top),
        }
        self.frames.pop();
        self.loops.pop();
        self.code.close();
        self.code.close();
        self.mask = outer;
        Jumps { returns: facts.jumps.returns, ..Jumps::default() }
    }

    /// After a passage: lanes that left are out of the loop's mask.
    fn retire_lanes(&mut self, facts: LoopFacts, exit: Label) {
        let left = Jumps { continues: false, ..facts.jumps };
        if let (true, Some(mask)) = (left.any(), self.mask) {
            let remaining = self.remaining(left);
            self.code.get(remaining);
            self.code.sink().local_tee(mask).v128_any_true().i32_eqz();
            self.code.branch_if(exit);
        }
    }

    /// `counter = start`, and past the loop unless `start < end`.
    fn begin_count(&mut self, count: Count, exit: Label) {
        let ty = self.function.ty(count.counter);
        let (start, end) = (self.rep(count.start), self.rep(count.end));
        let uniform = self.variance(count.counter) == Variance::Uniform;
        let counter = self.fresh(ty, uniform);
        self.overwrite(counter, ty, start);
        self.reps[count.counter.index()] = Some(counter);
        if uniform {
            self.code.scalar_binary(BinaryOp::Lt, ty, counter, end);
            self.code.sink().i32_eqz();
        } else {
            self.code.lanes_binary(BinaryOp::Lt, ty, counter, end, 0);
            self.keep_lanes();
            self.code.sink().i32_eqz();
        }
        self.code.branch_if(exit);
    }

    /// `if end - counter > step: counter += step, again`; the difference is positive, so that
    /// nothing overflows.
    fn next_count(&mut self, count: Count, top: Label) {
        let ty = self.function.ty(count.counter);
        let (counter, end) = (self.rep(count.counter), self.rep(count.end));
        let unsigned = ty.bit_pattern();
        let step = Rep::Const(Const::new(unsigned, u64::from(count.step)));
        let uniform = self.variance(count.counter) == Variance::Uniform;
        let left = self.fresh(unsigned, uniform);
        if uniform {
            self.code.scalar_binary(BinaryOp::Sub, unsigned, end, counter);
            self.defined(left);
            let next = self.fresh(unsigned, true);
            self.code.scalar_binary(BinaryOp::Add, unsigned, counter, step);
            self.defined(next);
            self.overwrite(counter, unsigned, next);
            self.code.scalar_binary(BinaryOp::Gt, unsigned, left, step);
        } else {
            self.lanes_into(left, unsigned, |code, part| {
                code.lanes_binary(BinaryOp::Sub, unsigned, end, counter, part);
            });
            self.lanes_into(counter, unsigned, |code, part| {
                code.lanes_binary(BinaryOp::Add, unsigned, counter, step, part);
            });
            self.code.lanes_binary(BinaryOp::Gt, unsigned, left, step, 0);
            self.keep_lanes();
        }
        self.code.branch_if(top);
    }

    /// The loop's mask, cut by the mask on the stack; pushes whether a lane is left.
    fn keep_lanes(&mut self) {
        let mask = self.mask.expect("a loop of varying bounds has a mask");
        self.code.sink().local_get(mask).v128_and().local_tee(mask).v128_any_true();
    }

    /// Stores every part, pushed by `push`, in the value's locals.
    pub(super) fn lanes_into(
        &mut self,
        target: Rep,
        ty: Type,
        mut push: impl FnMut(&mut Code, usize),
    ) {
        let Rep::Lanes(locals) = target else { return };
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            push(self.code, part);
            self.code.set(local);
        }
    }

    // Checks

    fn check(&mut self, condition: Value, site: SiteId, index: Option<Value>) {
        if self.proved.contains(&condition) {
            return;
        }
        if self.variance(condition) == Variance::Uniform {
            self.code.scalar(self.rep(condition), Type::Bool);
            self.code.sink().i32_eqz();
            self.code.open_if();
            self.first_active_lane();
            self.fail(site, index);
            self.code.close();
            return;
        }
        let quick = self.quick_check(condition);
        let failing = self.code.local(ValType::V128);
        self.push_mask();
        self.code.lanes(self.rep(condition), Type::Bool, 0);
        self.code.sink().v128_andnot().local_tee(failing).v128_any_true();
        self.code.open_if();
        let lane = self.context.failing.lane;
        self.code.sink().local_get(failing).i32x4_bitmask().i32_ctz().local_set(lane);
        self.fail(site, index);
        self.code.close();
        if quick {
            self.code.close();
        }
    }

    /// `linear < uniform`: one scalar comparison says that it holds for the whole group; the lanes
    /// are only looked at where it does not.
    fn quick_check(&mut self, condition: Value) -> bool {
        let Inst::Binary(BinaryOp::Lt, a, b) = self.function.def(condition).inst else {
            return false;
        };
        let unsigned = self.function.ty(a) == Type::U32;
        let (Rep::Linear(base), bound) = (self.rep(a), self.rep(b)) else { return false };
        if !unsigned || !matches!(bound, Rep::Const(_) | Rep::Scalar(_)) {
            return false;
        }
        // base < max(bound, 3) − 3: then base + 3 < bound, and nothing wraps.
        let last = (LANES - 1).cast_signed();
        self.code.get(base);
        self.code.scalar(bound, Type::U32);
        self.code.sink().i32_const(last).i32_sub().i32_const(0);
        self.code.scalar(bound, Type::U32);
        self.code.sink().i32_const(last).i32_gt_u().select().i32_lt_u().i32_eqz();
        self.code.open_if();
        true
    }

    fn first_active_lane(&mut self) {
        let lane = self.context.failing.lane;
        match self.mask {
            Some(mask) => {
                self.code.sink().local_get(mask).i32x4_bitmask().i32_ctz().local_set(lane)
            }
            None => self.code.sink().i32_const(0).local_set(lane),
        };
    }

    /// Leaves the call with a failure of the lane in `failing.lane`.
    fn fail(&mut self, site: SiteId, index: Option<Value>) {
        let failing = self.context.failing;
        self.code.i32_const(site.0);
        self.code.set(failing.site);
        match index.map(|v| self.rep(v)) {
            None => self.code.i32_const(0),
            Some(rep) => self.lane_at(rep, failing.lane),
        }
        self.code.set(failing.index);
        self.code.branch(failing.label);
    }

    /// Pushes the lane of a `u32` whose number is in a wasm local.
    fn lane_at(&mut self, rep: Rep, lane: u32) {
        match rep {
            Rep::Const(_) | Rep::Scalar(_) => self.code.scalar(rep, Type::U32),
            Rep::Linear(base) => {
                self.code.sink().local_get(base).local_get(lane).i32_add();
            }
            Rep::Lanes(_) => {
                self.code.lane(rep, Type::U32, 3);
                for at in (0..3).rev() {
                    self.code.lane(rep, Type::U32, at);
                    // What stands for the lanes above, unless the lane is this one.
                    self.code.sink().local_get(lane).i32_const(at.cast_signed());
                    self.code.sink().i32_ne().select();
                }
            }
        }
    }
}

/// The counter of a `for`.
#[derive(Clone, Copy, Debug)]
struct Count {
    counter: Value,
    start: Value,
    end: Value,
    step: u32,
}
