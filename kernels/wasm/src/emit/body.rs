//! The statements of a kernel for one tile of invocations: groups of four neighbours along x, or a
//! single one.
//!
//! Each statement is emitted once for each group of the tile on whose position its values depend
//! (see [`super::tile`]); [`Body::at`] is the group that is being written. Control flow is in
//! [`super::control`], instructions are in [`super::inst`] and [`super::memory`].
//!
//! Invariant: code runs with at least one active lane in the tile. Behind a statement that may take
//! lanes away the rest of the block stands in `if any(mask)`. So uniform accesses and divisions need
//! no guard.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crossover_kernels::ir::{
    Axis, Block, Const, Function, Inst, Kernel, Local, LocalDef, Stmt, Type, Value,
};
use wasm_encoder::ValType;

use super::affine::Memo;
use super::blocks::Cut;
use super::code::{Code, LANES, Label, Rep, lane_of, parts, val_type};
use super::control::{Count, Loop};
use super::divergence::{Divergence, Frame, Jumps, Variance};
use super::fences::{Fences, Pins};
use super::fields::Fields;
use super::layout::{ArrayPlace, Layout};
use super::low::Low;
use super::rows::Rows;
use super::tile::{Group, Order, PerVector, Tile};

/// Invocations of a group.
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
    /// Steps along x from the tile's first invocation to the failing one.
    pub(super) lane: u32,
    /// Steps along y.
    pub(super) row: u32,
}

/// How a variable or array is held.
#[derive(Clone, Debug)]
pub(super) enum Place {
    Plain(Rep),
    Registers(Vec<Rep>),
    Scratch(u64),
}

/// Everything all bodies of a kernel share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) layout: &'a Layout,
    /// The wasm locals of x (of the tile's first lane), y and z.
    pub(super) axes: [u32; 3],
    pub(super) failing: Failing,
    /// The workgroup, where the body is a group's.
    pub(super) workgroup: Option<Workgroup<'a>>,
    /// An `i32` that is 0, which the compiler does not know.
    pub(super) fence: u32,
}

/// A workgroup, and how the pieces of its invocations are emitted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Workgroup<'a> {
    /// Invocations along each axis.
    pub(super) size: [u32; 3],
    /// The wasm locals of its number, of its first invocation, and of the place in it.
    pub(super) number: [u32; 3],
    pub(super) origin: [u32; 3],
    pub(super) place: [u32; 3],
    pub(super) vector: Form<'a>,
    pub(super) scalar: Form<'a>,
}

/// What a body is emitted from: a function, facts about it, and how many invocations at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form<'a> {
    pub(super) function: &'a Function,
    pub(super) facts: &'a Divergence,
    pub(super) rows: &'a Rows,
    /// The values that are known not to wrap, wherever the body runs.
    pub(super) exact: &'a [bool],
    pub(super) width: Width,
    pub(super) tile: Tile,
    /// Passages of a uniform loop that stand one after another, at least 1.
    pub(super) unroll: u32,
    pub(super) fences: Option<&'a Fences>,
}

/// One body while it is written.
pub(super) struct Body<'a> {
    pub(super) code: &'a mut Code,
    pub(super) context: Context<'a>,
    pub(super) form: Form<'a>,
    pub(super) function: &'a Function,
    /// The group that is being written.
    pub(super) at: Group,
    /// The groups along x, and the rows, that are being written.
    pub(super) span: Range<u32>,
    pub(super) rows: Range<u32>,
    /// In which order.
    pub(super) order: Order,
    /// For each value, a place for each group.
    pub(super) reps: Vec<Option<Rep>>,
    /// Values that were computed before the body.
    pub(super) known: &'a [Value],
    /// A condition that has been looked at before, and what it is.
    pub(super) decided: Option<(Value, bool)>,
    /// For each variable, a place for each group.
    pub(super) places: Vec<Vec<Option<Place>>>,
    /// Sums and products that exist already, and the locals of those that may be negative numbers.
    pub(super) memo: Memo,
    pub(super) differences: HashSet<u32>,
    /// What is added to a local for the addresses that others are reached from.
    pub(super) anchors: HashMap<u32, Vec<u32>>,
    /// The active lanes of each group; `None` when all are.
    pub(super) masks: Option<PerVector>,
    pub(super) frames: Vec<Frame>,
    pub(super) loops: Vec<Loop>,
    pub(super) returned: Option<PerVector>,
    pub(super) end: Option<Label>,
    /// Where the body is for a block of passages: the block, and the address of each panel.
    pub(super) cut: Option<Cut<'a>>,
    pub(super) panel_at: Vec<u32>,
    pub(super) pins: Option<Pins>,
    pub(super) low: Low,
    pub(super) fields: Fields,
    /// How often each value is used.
    pub(super) uses: Vec<u32>,
    /// The variable with each lane's x, where that is not the body's.
    pub(super) place: Option<Local>,
}

impl<'a> Body<'a> {
    pub(super) fn new(code: &'a mut Code, context: Context<'a>, form: Form<'a>) -> Body<'a> {
        let function = form.function;
        let uses = uses(function);
        Body {
            code,
            context,
            form,
            function,
            at: Group::default(),
            span: 0..form.tile.vectors,
            rows: 0..form.tile.rows,
            order: Order::Forward,
            reps: vec![None; function.values.len() * form.tile.groups()],
            known: &[],
            decided: None,
            places: Vec::new(),
            memo: HashMap::new(),
            differences: HashSet::new(),
            anchors: HashMap::new(),
            masks: None,
            frames: Vec::new(),
            loops: Vec::new(),
            returned: None,
            end: None,
            cut: None,
            panel_at: Vec::new(),
            pins: None,
            low: Low::of(form),
            fields: Fields::of(form, &uses),
            uses,
            place: None,
        }
    }

    /// Emits the whole body and gives the place of each group's result.
    pub(super) fn emit(mut self) -> Vec<Rep> {
        self.reset_places();
        if self.form.facts.masked_return {
            self.returned = Some(self.zero_masks());
        }
        let end = self.code.open_block();
        self.end = Some(end);
        self.open_pins();
        let function = self.function;
        self.block(&function.body);
        self.close_pins(end);
        self.code.close();
        let Some(local) = function.result else { return Vec::new() };
        let mut results = Vec::new();
        for row in 0..self.form.tile.rows {
            for vector in 0..self.form.tile.vectors {
                self.at = Group { vector, row };
                results.push(self.variable(local.index()));
            }
        }
        results
    }

    // Groups

    fn group_index(&self, varying: bool, differs: bool) -> usize {
        let vector = if varying { self.at.vector } else { 0 };
        let row = if differs { self.at.row } else { 0 };
        (row * self.form.tile.vectors + vector) as usize
    }

    /// Writes something for each group that makes a difference: along x where it is `varying`,
    /// along y where it `differs` between rows.
    pub(super) fn each_group(
        &mut self,
        varying: bool,
        differs: bool,
        mut f: impl FnMut(&mut Self),
    ) {
        let before = self.at;
        let rows = if differs { self.rows.clone() } else { before.row..before.row + 1 };
        let vectors = if varying { self.span.clone() } else { before.vector..before.vector + 1 };
        let order = self.order;
        for row in order.of(rows) {
            for vector in order.of(vectors.clone()) {
                self.at = Group { vector, row };
                f(self);
            }
        }
        self.at = before;
    }

    pub(super) fn is_varying(&self, value: Value) -> bool {
        self.variance(value) != Variance::Uniform
    }

    pub(super) fn differs(&self, value: Value) -> bool {
        self.form.rows.differs(value)
    }

    /// Writes something for each group for which one of the values is another.
    pub(super) fn each_group_of(&mut self, values: &[Value], f: impl FnMut(&mut Self)) {
        let varying = values.iter().any(|&value| self.is_varying(value));
        let differs = values.iter().any(|&value| self.differs(value));
        self.each_group(varying, differs, f);
    }

    // Variables

    fn reset_places(&mut self) {
        self.places = vec![vec![None; self.form.tile.groups()]; self.function.locals.len()];
        for at in 0..self.function.locals.len() {
            self.reset_place(at);
        }
    }

    /// A variable's places, zero.
    pub(super) fn reset_place(&mut self, at: usize) {
        let def = &self.function.locals[at];
        let (varying, differs) = self.local_groups(at);
        self.each_group(varying, differs, |body| {
            let index = body.group_index(varying, differs);
            body.places[at][index] = Some(body.new_place(at, def, index));
        });
    }

    /// Whether a variable or array is another one for each group along x, and in each row.
    fn local_groups(&self, local: usize) -> (bool, bool) {
        let is_array = self.context.layout.arrays[local] != ArrayPlace::Plain;
        let varying = is_array || self.form.facts.is_varying_local(local);
        (varying, self.form.rows.is_varying_local(local))
    }

    fn new_place(&mut self, local: usize, def: &LocalDef, group: usize) -> Place {
        match self.context.layout.arrays[local] {
            ArrayPlace::Plain if self.low.has_variable(local) => {
                let low = Rep::Low(self.code.local(ValType::V128));
                self.overwrite(low, def.ty, Rep::Const(Const::zero(def.ty)));
                Place::Plain(low)
            }
            ArrayPlace::Plain => {
                let uniform = !self.form.facts.is_varying_local(local);
                Place::Plain(self.zeroed(def.ty, uniform))
            }
            ArrayPlace::Registers(count) => {
                Place::Registers((0..count).map(|_| self.zeroed(def.ty, false)).collect())
            }
            ArrayPlace::Scratch(offset) => {
                let offset = offset + group as u64 * self.context.layout.scratch_bytes;
                self.zero_scratch(offset, def);
                Place::Scratch(offset)
            }
        }
    }

    fn place_of(&self, local: usize) -> &Place {
        let (varying, differs) = self.local_groups(local);
        let place = self.places[local][self.group_index(varying, differs)].as_ref();
        place.expect("every variable has its places before the first statement")
    }

    fn zeroed(&mut self, ty: Type, uniform: bool) -> Rep {
        let zero = Rep::Const(Const::zero(ty));
        let rep = self.fresh(ty, uniform || self.form.width == Width::Scalar);
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

    pub(super) fn overwrite(&mut self, target: Rep, ty: Type, value: Rep) {
        match target {
            Rep::Scalar(local) => {
                self.code.scalar(value, ty);
                self.code.set(local);
            }
            Rep::Low(local) => {
                self.code.low(value, ty);
                self.code.set(local);
            }
            Rep::Lanes(locals) => {
                for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
                    self.code.lanes(value, ty, part);
                    self.code.set(local);
                }
            }
            // Nothing is assigned to but a variable.
            Rep::Const(_) | Rep::Offset(..) | Rep::Linear { .. } => {}
        }
    }

    /// Assigns in the active lanes.
    fn assign(&mut self, target: Rep, ty: Type, value: Rep) {
        let (Rep::Lanes(locals), Some(mask)) = (target, self.mask()) else {
            return self.overwrite(target, ty, value);
        };
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            self.code.lanes(value, ty, part);
            self.code.get(local);
            self.code.mask_for(mask, ty, part);
            self.code.lane_select();
            self.code.set(local);
        }
    }

    pub(super) fn variable(&self, local: usize) -> Rep {
        match self.place_of(local) {
            Place::Plain(rep) => *rep,
            Place::Registers(_) | Place::Scratch(_) => {
                unreachable!("verified: a plain variable")
            }
        }
    }

    /// The array's element in registers; `None` when the array is in memory, which `Err` names.
    pub(super) fn element(&self, local: usize, index: Value) -> Result<Rep, u64> {
        match self.place_of(local) {
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
        let place = self.reps[self.rep_index(value)];
        place.expect("a verified kernel defines every value before its use")
    }

    fn rep_index(&self, value: Value) -> usize {
        let group = self.group_index(self.is_varying(value), self.differs(value));
        value.index() * self.form.tile.groups() + group
    }

    /// Notes where the group's value is.
    pub(super) fn define(&mut self, value: Value, rep: Rep) {
        let index = self.rep_index(value);
        self.reps[index] = Some(rep);
    }

    pub(super) fn variance(&self, value: Value) -> Variance {
        self.form.facts.variance(value)
    }

    pub(super) fn compute(&mut self, value: Value) {
        let varying = self.variance(value) == Variance::Varying;
        self.each_group(varying, self.differs(value), |body| {
            let rep = body.compute_group(value);
            body.define(value, rep);
            if let Rep::Linear { local, by, stride } = rep {
                body.define_linear(value, local, by, stride);
            }
        });
    }

    /// The groups along x are four strides apart.
    fn define_linear(&mut self, value: Value, local: u32, by: u32, stride: i32) {
        let before = self.at;
        for vector in 0..self.form.tile.vectors {
            self.at = Group { vector, row: before.row };
            let by = lane_of(by, stride, LANES * vector);
            self.define(value, Rep::Linear { local, by, stride });
        }
        self.at = before;
    }

    fn compute_group(&mut self, value: Value) -> Rep {
        let def = self.function.def(value);
        self.code.at(def.span);
        let variance = self.variance(value);
        match &def.inst {
            Inst::Const(c) => return Rep::Const(*c),
            Inst::Param(param) | Inst::Len(param) => {
                return Rep::Scalar(self.context.layout.param(*param));
            }
            Inst::Id(axis) => return self.id(*axis, variance),
            Inst::Local(axis) => return self.place_in_group(*axis, variance),
            Inst::Group(axis) => return Rep::Scalar(self.workgroup().number[axis.index()]),
            Inst::Extent(axis) => return Rep::Scalar(self.context.layout.extent(*axis)),
            _ => {}
        }
        match variance {
            Variance::Varying => self.lanes_inst(def),
            Variance::Uniform | Variance::Linear(_) => {
                let stride = match variance {
                    Variance::Linear(stride) => Some(stride),
                    Variance::Uniform | Variance::Varying => None,
                };
                // A linear value is computed for the tile's first group.
                let before = std::mem::take(&mut self.at.vector);
                let special = self.low_inst(value, def).or_else(|| self.affine_inst(def, stride));
                let rep = special.unwrap_or_else(|| {
                    self.scalar_inst(def);
                    let local = self.code.local(val_type(def.ty));
                    self.code.set(local);
                    Rep::Scalar(local)
                });
                self.at.vector = before;
                match (stride, rep) {
                    (Some(stride), Rep::Scalar(local)) => Rep::Linear { local, by: 0, stride },
                    (_, rep) => rep,
                }
            }
        }
    }

    fn id(&self, axis: Axis, variance: Variance) -> Rep {
        let local = self.context.axes[axis.index()];
        match (axis, variance) {
            (Axis::X, Variance::Linear(stride)) => Rep::Linear { local, by: 0, stride },
            (Axis::Y, _) if self.at.row > 0 => Rep::Offset(local, self.at.row),
            (_, _) => Rep::Scalar(local),
        }
    }

    pub(super) fn workgroup(&self) -> Workgroup<'a> {
        self.context.workgroup.expect("places in a group stand in pieces of groups alone")
    }

    fn place_in_group(&self, axis: Axis, variance: Variance) -> Rep {
        let local = self.workgroup().place[axis.index()];
        match (axis, variance) {
            (Axis::X, Variance::Linear(stride)) => Rep::Linear { local, by: 0, stride },
            (_, _) => Rep::Scalar(local),
        }
    }

    /// Whether the group's value has been computed.
    pub(super) fn is_defined(&self, value: Value) -> bool {
        self.reps[self.rep_index(value)].is_some()
    }

    /// Computes a value, and those it needs, that depend on nothing inside the body.
    pub(super) fn compute_invariant(&mut self, value: Value) {
        if !self.is_defined(value) {
            for operand in self.function.def(value).inst.operands() {
                self.compute_invariant(operand);
            }
            self.compute(value);
        }
    }

    // Statements

    /// Gives the masked jumps out of the block. The caller restores its own masks.
    pub(super) fn block(&mut self, block: &'a Block) -> Jumps {
        // What the block computes is out of reach behind it.
        let memo = self.memo.clone();
        let jumps = self.statements(block);
        self.memo = memo;
        jumps
    }

    /// As [`Body::block`], where what is computed can be reached behind it.
    pub(super) fn statements(&mut self, block: &'a [Stmt]) -> Jumps {
        let mut all = Jumps::default();
        let mut guards = 0;
        for (at, stmt) in block.iter().enumerate() {
            let jumps = self.stmt(stmt);
            self.fence_behind(stmt);
            all = all.or(jumps);
            if jumps.any() && at + 1 < block.len() {
                let masks = self.remaining(jumps);
                self.masks = Some(masks);
                self.push_any(masks);
                self.code.open_if();
                guards += 1;
            }
        }
        for _ in 0..guards {
            self.code.close();
        }
        all
    }

    pub(super) fn stmt(&mut self, stmt: &'a Stmt) -> Jumps {
        match stmt {
            Stmt::Let(value) if self.known.contains(value) => {}
            Stmt::Let(value) if self.fields.covers(*value) => {}
            Stmt::Let(value) => self.compute(*value),
            Stmt::Set(local, value) => {
                let ty = self.function.ty(*value);
                let (varying, differs) = self.local_groups(local.index());
                let is_free = self.form.facts.is_free(*local, &self.frames);
                let step = self.form.facts.step(stmt);
                self.each_group(varying, differs, |body| {
                    let target = body.variable(local.index());
                    match (is_free, step, body.mask()) {
                        (true, ..) => body.overwrite(target, ty, body.rep(*value)),
                        (false, Some(step), Some(mask)) => {
                            body.masked_step(target, ty, step, mask);
                        }
                        (false, ..) => body.assign(target, ty, body.rep(*value)),
                    }
                });
            }
            Stmt::SetElement(local, index, value) => {
                let (varying, differs) = self.local_groups(local.index());
                self.each_group(varying, differs, |body| {
                    body.set_element(local.index(), *index, *value);
                });
            }
            Stmt::Store(buffer, index, value) => {
                self.code.at(self.function.span_of_store(*index, *value));
                self.each_group_of(&[*index, *value], |body| body.store(*buffer, *index, *value));
            }
            Stmt::AtomicStore(buffer, index, value) => {
                self.code.at(self.function.span_of_store(*index, *value));
                self.each_group(true, true, |body| body.atomic_store(*buffer, *index, *value));
            }
            Stmt::Check { condition, site, index } => {
                self.each_group_of(&[*condition], |body| body.check(*condition, *site, *index));
            }
            Stmt::If { condition, then, otherwise } => {
                return match self.variance(*condition) {
                    Variance::Uniform => self.uniform_if(*condition, then, otherwise),
                    Variance::Linear(_) | Variance::Varying => {
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
            Stmt::Each(block) => self.each(block),
            // Gone before anything is emitted.
            Stmt::Barrier(_) => {}
            // Refused before anything is emitted.
            Stmt::CallVoid(..) => {
                self.code.sink().unreachable();
            }
        }
        Jumps::default()
    }

    fn set_element(&mut self, local: usize, index: Value, value: Value) {
        let ty = self.function.ty(value);
        match self.element(local, index) {
            Ok(target) => self.assign(target, ty, self.rep(value)),
            Err(offset) => self.scratch_store(offset, index, value),
        }
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
}

/// How often each value is used.
pub(super) fn uses(function: &Function) -> Vec<u32> {
    let mut uses = vec![0; function.values.len()];
    function.walk(&mut |stmt| {
        let operands = match stmt {
            Stmt::Let(value) => function.def(*value).inst.operands(),
            stmt => stmt.uses(),
        };
        operands.into_iter().for_each(|value| uses[value.index()] += 1);
    });
    uses
}
