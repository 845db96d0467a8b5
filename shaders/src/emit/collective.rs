//! Reductions and scans. Contributions are combined in an order that the grid alone decides, so two
//! runs give the same bits.
//!
//! ```text
//! reduce   main:      each workgroup strides over the grid, then a tree      → sums[block]
//!          fold:      one workgroup over data = the partial results          → sums[0] = output
//!
//! scan     main:      each invocation scans its elements, each workgroup its invocations
//!                                                                → output, total in sums[block]
//!          scan_sums: the same over data = the totals, in place  → sums one level up, …
//!          add_sums:  data[i] = sums[block - 1] op data[i], level by level down to the output
//! ```

use crossover_kernels::ir::{CollectiveKind, CollectiveOp, Type};
use naga::{BinaryOperator as Op, BuiltIn, Function, Handle, Module, Span};

use super::code::{Code, Node};
use super::entry::{Place, field, in_whole, index, push};
use super::layout::{Field, Layout};
use super::{ADD_SUMS, CollectiveGlobals, FOLD, Globals, MAIN, SCAN_SUMS};
use crate::schedule::Schedule;

/// How two contributions combine.
#[derive(Clone, Copy)]
pub(super) struct Combine {
    pub(super) op: CollectiveOp,
    pub(super) ty: Type,
}

impl Combine {
    fn of(self, code: &mut Code<'_>, a: Node, b: Node) -> Node {
        code.binary_op(self.op.binary(), self.ty, a, b)
    }

    fn identity(self, code: &mut Code<'_>) -> Node {
        code.constant(self.op.identity(self.ty))
    }
}

/// Where the elements of a pass come from.
#[derive(Clone, Copy)]
enum Source {
    /// The kernel's contributions.
    Kernel(Handle<Function>),
    /// The partial results of the pass before.
    Data,
}

/// Emits the entry points of a collective.
pub(super) fn emit(
    module: &mut Module,
    kind: CollectiveKind,
    combine: Combine,
    body: Handle<Function>,
    params: &Layout,
    globals: &Globals,
    schedule: &Schedule,
) {
    let collective = globals.collective.expect("a collective kernel has its variables");
    let mut passes = Passes { module, combine, params, globals, collective, schedule };
    match kind {
        CollectiveKind::Reduce => {
            let tree = if schedule.subgroups { passes.tree_of_subgroups() } else { passes.tree() };
            passes.reduce(MAIN, Source::Kernel(body), tree);
            passes.reduce(FOLD, Source::Data, tree);
        }
        CollectiveKind::Scan => {
            let scan = match schedule.subgroups {
                true => passes.scan_subgroups(),
                false => passes.scan_workgroup(),
            };
            passes.scan(MAIN, Source::Kernel(body), scan);
            passes.scan(SCAN_SUMS, Source::Data, scan);
            passes.add();
        }
    }
}

/// Where an invocation finds itself among those that it can exchange values with.
#[derive(Clone, Copy)]
struct Lane {
    /// The number of its subgroup, and of itself in there.
    subgroup: Node,
    lane: Node,
    /// Invocations of a subgroup.
    lanes: Node,
}

impl Lane {
    fn arguments(code: &mut Code<'_>) -> Lane {
        let [subgroup, lane, lanes] =
            ["subgroup", "lane", "lanes"].map(|name| code.argument(name, Type::U32));
        Lane { subgroup, lane, lanes }
    }

    fn builtins(code: &mut Code<'_>) -> Lane {
        Lane {
            subgroup: code.builtin("subgroup", BuiltIn::SubgroupId),
            lane: code.builtin("lane", BuiltIn::SubgroupInvocationId),
            lanes: code.builtin("lanes", BuiltIn::SubgroupSize),
        }
    }
}

struct Passes<'a> {
    module: &'a mut Module,
    combine: Combine,
    params: &'a Layout,
    globals: &'a Globals,
    collective: CollectiveGlobals,
    schedule: &'a Schedule,
}

/// Where the elements of a pass end, and the number of its workgroups: members 0 and 1 of its block, unless a part
/// of a call has an end of its own.
#[derive(Clone, Copy)]
struct Size {
    extent: Node,
    blocks: Node,
}

impl Passes<'_> {
    fn size(&self, code: &mut Code<'_>, source: Source) -> Size {
        let block = match source {
            Source::Kernel(_) => self.globals.params,
            Source::Data => self.collective.level,
        };
        let pointer = code.global(block);
        let [extent, blocks] = [0, 1].map(|at| {
            let member = code.member(pointer, at);
            code.load(member)
        });
        let end = match source {
            Source::Kernel(_) => self.params.find(Field::End),
            Source::Data => None,
        };
        let end = end.map(|at| {
            let member = code.member(pointer, at);
            code.load(member)
        });
        Size { extent: end.unwrap_or(extent), blocks }
    }

    /// The number of a workgroup among those of the whole grid; only the kernel's own pass is ever cut.
    fn in_whole(&self, code: &mut Code<'_>, source: Source, block: Node) -> Node {
        match source {
            Source::Kernel(_) => {
                let params = code.global(self.globals.params);
                in_whole(code, params, self.params, block)
            }
            Source::Data => block,
        }
    }

    /// Where a workgroup of a reduction leaves its partial result.
    fn in_sums(&self, code: &mut Code<'_>, source: Source, block: Node) -> Node {
        match source {
            Source::Kernel(_) if self.params.find(Field::FirstSum).is_some() => {
                let params = code.global(self.globals.params);
                let first = field(code, params, self.params, Field::FirstSum);
                code.binary(Op::Add, first, block)
            }
            Source::Kernel(_) | Source::Data => block,
        }
    }

    /// Where the element `i` of the grid stands in the output that the shader sees.
    fn in_output(&self, code: &mut Code<'_>, source: Source, i: Node) -> Node {
        let first = self.params.members.iter().rfind(|m| matches!(m.field, Field::First(_)));
        match (source, first) {
            (Source::Kernel(_), Some(first)) => {
                let params = code.global(self.globals.params);
                let first = field(code, params, self.params, first.field);
                code.binary(Op::Subtract, i, first)
            }
            (Source::Kernel(_) | Source::Data, _) => i,
        }
    }

    fn take(&self, code: &mut Code<'_>, source: Source, i: Node) -> Node {
        match source {
            Source::Kernel(body) => {
                code.call(body, vec![i]).expect("the kernel of a collective returns a value")
            }
            Source::Data => {
                let data = code.global(self.collective.data);
                let pointer = code.element(data, i);
                code.load(pointer)
            }
        }
    }

    /// `if (block >= blocks) { return; }`: whole workgroups, before any barrier.
    fn return_beyond(code: &mut Code<'_>, block: Node, blocks: Node) {
        let beyond = code.binary(Op::GreaterEqual, block, blocks);
        code.when(beyond, |code| code.give(None));
    }

    /// ```wgsl
    /// fn tree(local: u32, value: T) -> T {
    ///     shared_values[local] = value;
    ///     for (var half = 128u; half > 0u; half >>= 1u) {
    ///         workgroupBarrier();
    ///         if (local < half) { shared_values[local] op= shared_values[local + half]; }
    ///     }
    ///     return shared_values[0];        // for invocation 0
    /// }
    /// ```
    fn tree(&mut self) -> Handle<Function> {
        let (combine, shared) = (self.combine, self.collective.shared);
        let mut code = Code::new(self.module, "tree");
        let local = code.argument("local", Type::U32);
        let value = code.argument("value", combine.ty);
        code.returns(combine.ty);
        let shared = code.global(shared);
        let (zero, one) = (code.u32(0), code.u32(1));
        let own = code.element(shared, local);
        code.store(own, value);
        let variable = code.scalar_variable("distance", Type::U32);
        let first = code.u32(self.schedule.invocations() / 2);
        code.store(variable, first);
        code.open();
        let half = code.load(variable);
        code.name(half, "half");
        let done = code.binary(Op::Equal, half, zero);
        code.break_when(done);
        code.barrier();
        let lower = code.binary(Op::Less, local, half);
        code.when(lower, |code| {
            let other = code.binary(Op::Add, local, half);
            let (own, other) = (code.element(shared, local), code.element(shared, other));
            let (a, b) = (code.load(own), code.load(other));
            let both = combine.of(code, a, b);
            code.store(own, both);
        });
        let body = code.close();
        code.open();
        let next = code.binary(Op::ShiftRight, half, one);
        code.store(variable, next);
        let continuing = code.close();
        code.stmt(naga::Statement::Loop { body, continuing, break_if: None });
        let total = code.element(shared, zero);
        let total = code.load(total);
        code.give(Some(total));
        let function = code.finish();
        self.module.functions.append(function, Span::UNDEFINED)
    }

    /// ```wgsl
    /// fn tree(local: u32, value: T, subgroup: u32, lane: u32, lanes: u32) -> T {
    ///     var total = value;
    ///     for (var half = lanes / 2u; half > 0u; half >>= 1u) {
    ///         total = total op subgroupShuffleDown(total, half);
    ///     }
    ///     if (lane == 0u) { shared_values[subgroup] = total; }
    ///     workgroupBarrier();
    ///     if (local == 0u) { total = shared_values[0] op shared_values[1] op …; }
    ///     return total;                   // for invocation 0
    /// }
    /// ```
    fn tree_of_subgroups(&mut self) -> Handle<Function> {
        let (combine, shared) = (self.combine, self.collective.shared);
        let invocations = self.schedule.invocations();
        let mut code = Code::new(self.module, "tree");
        let local = code.argument("local", Type::U32);
        let value = code.argument("value", combine.ty);
        let Lane { subgroup, lane, lanes } = Lane::arguments(&mut code);
        code.returns(combine.ty);
        let total = code.scalar_variable("total", combine.ty);
        code.store(total, value);
        let (zero, one) = (code.u32(0), code.u32(1));
        let first = code.binary(Op::ShiftRight, lanes, one);
        loop_over(&mut code, "half", first, Op::ShiftRight, one, Until::Is(zero), |code, half| {
            let own = code.load(total);
            let other = code.shuffle(naga::GatherMode::ShuffleDown(half), own, combine.ty);
            let both = combine.of(code, own, other);
            code.store(total, both);
        });
        let leads = code.binary(Op::Equal, lane, zero);
        let sum = code.load(total);
        let shared = code.global(shared);
        code.when(leads, |code| {
            let pointer = code.element(shared, subgroup);
            code.store(pointer, sum);
        });
        code.barrier();
        let is_first = code.binary(Op::Equal, local, zero);
        let all = code.u32(invocations);
        let subgroups = code.binary(Op::Divide, all, lanes);
        code.when(is_first, |code| {
            let start = code.element(shared, zero);
            let start = code.load(start);
            code.store(total, start);
            loop_over(code, "at", one, Op::Add, one, Until::AtLeast(subgroups), |code, at| {
                let next = code.element(shared, at);
                let (before, next) = (code.load(total), code.load(next));
                let both = combine.of(code, before, next);
                code.store(total, both);
            });
        });
        let total = code.load(total);
        code.give(Some(total));
        let function = code.finish();
        self.module.functions.append(function, Span::UNDEFINED)
    }

    /// ```wgsl
    /// fn scan_workgroup(local: u32, value: T, subgroup: u32, lane: u32, lanes: u32) {
    ///     var total = value;
    ///     for (var distance = 1u; distance < lanes; distance <<= 1u) {
    ///         let before = subgroupShuffleUp(total, distance);
    ///         if (lane >= distance) { total = before op total; }
    ///     }
    ///     if (lane == lanes - 1u) { shared_values[subgroup] = total; }
    ///     workgroupBarrier();
    ///     for (var at = subgroup; at > 0u; at -= 1u) { total = shared_values[at - 1u] op total; }
    ///     workgroupBarrier();
    ///     shared_values[local] = total;
    ///     workgroupBarrier();
    /// }
    /// ```
    fn scan_subgroups(&mut self) -> Handle<Function> {
        let (combine, shared) = (self.combine, self.collective.shared);
        let mut code = Code::new(self.module, "scan_workgroup");
        let local = code.argument("local", Type::U32);
        let value = code.argument("value", combine.ty);
        let Lane { subgroup, lane, lanes } = Lane::arguments(&mut code);
        let total = code.scalar_variable("total", combine.ty);
        code.store(total, value);
        let (zero, one) = (code.u32(0), code.u32(1));
        let until = Until::AtLeast(lanes);
        loop_over(&mut code, "distance", one, Op::ShiftLeft, one, until, |code, distance| {
            let own = code.load(total);
            let before = code.shuffle(naga::GatherMode::ShuffleUp(distance), own, combine.ty);
            let reaches = code.binary(Op::GreaterEqual, lane, distance);
            code.when(reaches, |code| {
                let both = combine.of(code, before, own);
                code.store(total, both);
            });
        });
        let shared = code.global(shared);
        let last = code.binary(Op::Subtract, lanes, one);
        let is_last = code.binary(Op::Equal, lane, last);
        let sum = code.load(total);
        code.when(is_last, |code| {
            let pointer = code.element(shared, subgroup);
            code.store(pointer, sum);
        });
        code.barrier();
        loop_over(&mut code, "at", subgroup, Op::Subtract, one, Until::Is(zero), |code, at| {
            let before = code.binary(Op::Subtract, at, one);
            let before = code.element(shared, before);
            let (before, own) = (code.load(before), code.load(total));
            let both = combine.of(code, before, own);
            code.store(total, both);
        });
        code.barrier();
        let own = code.element(shared, local);
        let sum = code.load(total);
        code.store(own, sum);
        code.barrier();
        code.give(None);
        let function = code.finish();
        self.module.functions.append(function, Span::UNDEFINED)
    }

    /// The lane of an invocation, where it is asked for, and its place in the workgroup: that of the lane, so that
    /// neighbours are neighbours.
    fn lane(&self, code: &mut Code<'_>, local: Node) -> (Option<Lane>, Node) {
        if !self.schedule.subgroups {
            return (None, local);
        }
        let lane = Lane::builtins(code);
        let start = code.binary(Op::Multiply, lane.subgroup, lane.lanes);
        let rank = code.binary(Op::Add, start, lane.lane);
        code.name(rank, "rank");
        (Some(lane), rank)
    }

    /// ```wgsl
    /// var total = identity;
    /// for (var i = block * 256u + local; i < extent; i += blocks * 256u) { total op= take(i); }
    /// let sum = tree(local, total);
    /// if (local == 0u) { sums[block] = sum; }
    /// ```
    fn reduce(&mut self, name: &str, source: Source, tree: Handle<Function>) {
        let (combine, invocations) = (self.combine, self.schedule.invocations());
        let mut module = std::mem::take(self.module);
        let mut code = Code::new(&mut module, name);
        let place = Place::declare(&mut code);
        let (lane, local) = self.lane(&mut code, place.local);
        let block = place.block(&mut code);
        let Size { extent, blocks } = self.size(&mut code, source);
        Self::return_beyond(&mut code, block, blocks);
        let total = code.scalar_variable("total", combine.ty);
        let identity = combine.identity(&mut code);
        code.store(total, identity);
        let next = code.scalar_variable("next", Type::U32);
        let first = self.in_whole(&mut code, source, block);
        let start = index(&mut code, first, invocations, local);
        code.store(next, start);
        let size = code.u32(invocations);
        let stride = code.binary(Op::Multiply, blocks, size);
        code.open();
        let i = code.load(next);
        code.name(i, "i");
        let done = code.binary(Op::GreaterEqual, i, extent);
        code.break_when(done);
        let element = self.take(&mut code, source, i);
        let before = code.load(total);
        let both = combine.of(&mut code, before, element);
        code.store(total, both);
        let body = code.close();
        code.open();
        let after = code.binary(Op::Add, i, stride);
        code.store(next, after);
        // The sum may be beyond 32 bits.
        let left = code.binary(Op::Subtract, extent, i);
        let last = code.binary(Op::LessEqual, left, stride);
        let continuing = code.close();
        code.stmt(naga::Statement::Loop { body, continuing, break_if: Some(last) });
        let value = code.load(total);
        let arguments = with_lane(vec![local, value], lane);
        let sum = code.call(tree, arguments).expect("`tree` returns a value");
        let zero = code.u32(0);
        let first = code.binary(Op::Equal, local, zero);
        let sums = self.collective.sums;
        code.when(first, |code| {
            let at = self.in_sums(code, source, block);
            let sums = code.global(sums);
            let pointer = code.element(sums, at);
            code.store(pointer, sum);
        });
        code.give(None);
        let function = code.finish();
        *self.module = module;
        push(self.module, name, function, self.schedule.workgroup);
    }

    /// ```wgsl
    /// fn scan_workgroup(local: u32, value: T) {
    ///     shared_values[local] = value;
    ///     workgroupBarrier();
    ///     for (var distance = 1u; distance < 256u; distance <<= 1u) {
    ///         var sum = shared_values[local];
    ///         if (local >= distance) { sum = shared_values[local - distance] op sum; }
    ///         workgroupBarrier();
    ///         shared_values[local] = sum;
    ///         workgroupBarrier();
    ///     }
    /// }
    /// ```
    fn scan_workgroup(&mut self) -> Handle<Function> {
        let (combine, shared) = (self.combine, self.collective.shared);
        let mut code = Code::new(self.module, "scan_workgroup");
        let local = code.argument("local", Type::U32);
        let value = code.argument("value", combine.ty);
        let shared = code.global(shared);
        let one = code.u32(1);
        let own = code.element(shared, local);
        code.store(own, value);
        code.barrier();
        let sum = code.scalar_variable("sum", combine.ty);
        let variable = code.scalar_variable("step", Type::U32);
        code.store(variable, one);
        let size = code.u32(self.schedule.invocations());
        code.open();
        let distance = code.load(variable);
        code.name(distance, "distance");
        let done = code.binary(Op::GreaterEqual, distance, size);
        code.break_when(done);
        let own = code.element(shared, local);
        let mine = code.load(own);
        code.store(sum, mine);
        let reaches = code.binary(Op::GreaterEqual, local, distance);
        code.when(reaches, |code| {
            let other = code.binary(Op::Subtract, local, distance);
            let other = code.element(shared, other);
            let other = code.load(other);
            let both = combine.of(code, other, mine);
            code.store(sum, both);
        });
        code.barrier();
        let value = code.load(sum);
        code.store(own, value);
        code.barrier();
        let body = code.close();
        code.open();
        let next = code.binary(Op::ShiftLeft, distance, one);
        code.store(variable, next);
        let continuing = code.close();
        code.stmt(naga::Statement::Loop { body, continuing, break_if: None });
        code.give(None);
        let function = code.finish();
        self.module.functions.append(function, Span::UNDEFINED)
    }

    /// ```wgsl
    /// // Own elements, for each k of 0 … 3:
    /// let i = (block * 256u + local) * 4u + k;
    /// var sum_k = sum_(k - 1);
    /// if (i < extent) { sum_k = sum_(k - 1) op take(i); }
    /// scan_workgroup(local, sum_3);
    /// if (local > 0u) { sum_k = shared_values[local - 1u] op sum_k; … }
    /// if (i < extent) { out[i] = sum_k; } …
    /// if (local == 255u) { sums[block] = shared_values[local]; }
    /// ```
    fn scan(&mut self, name: &str, source: Source, scan: Handle<Function>) {
        let combine = self.combine;
        let (shared, sums) = (self.collective.shared, self.collective.sums);
        let out = match source {
            Source::Kernel(_) => self.collective.output,
            Source::Data => self.collective.data,
        };
        let mut module = std::mem::take(self.module);
        let mut code = Code::new(&mut module, name);
        let place = Place::declare(&mut code);
        let (lane, local) = self.lane(&mut code, place.local);
        let block = place.block(&mut code);
        let block = self.in_whole(&mut code, source, block);
        let Size { extent, blocks } = self.size(&mut code, source);
        Self::return_beyond(&mut code, block, blocks);
        let out = code.global(out);
        let mut before = combine.identity(&mut code);
        let mut own = Vec::new();
        for k in 0..self.schedule.elements {
            let i = self.element(&mut code, block, local, k);
            let inside = code.binary(Op::Less, i, extent);
            let sum = code.scalar_variable(&format!("sum_{k}"), combine.ty);
            code.store(sum, before);
            code.when(inside, |code| {
                let element = self.take(code, source, i);
                let both = combine.of(code, before, element);
                code.store(sum, both);
            });
            before = code.load(sum);
            own.push((i, inside, sum));
        }
        code.call(scan, with_lane(vec![local, before], lane));
        let shared = code.global(shared);
        let (zero, one) = (code.u32(0), code.u32(1));
        let later = code.binary(Op::Greater, local, zero);
        code.when(later, |code| {
            let previous = code.binary(Op::Subtract, local, one);
            let previous = code.element(shared, previous);
            let previous = code.load(previous);
            for (_, _, sum) in &own {
                let value = code.load(*sum);
                let both = combine.of(code, previous, value);
                code.store(*sum, both);
            }
        });
        for (i, inside, sum) in own {
            let value = code.load(sum);
            code.when(inside, |code| {
                let at = self.in_output(code, source, i);
                let pointer = code.element(out, at);
                code.store(pointer, value);
            });
        }
        let last = code.u32(self.schedule.invocations() - 1);
        let is_last = code.binary(Op::Equal, local, last);
        code.when(is_last, |code| {
            let sum = code.element(shared, local);
            let sum = code.load(sum);
            let sums = code.global(sums);
            let pointer = code.element(sums, block);
            code.store(pointer, sum);
        });
        code.give(None);
        let function = code.finish();
        *self.module = module;
        push(self.module, name, function, self.schedule.workgroup);
    }

    /// ```wgsl
    /// let whole = before + block;             // data may be a part, behind so many workgroups
    /// if (whole > 0u) { … data[i] = sums[whole - 1u] op data[i]; … }
    /// ```
    fn add(&mut self) {
        let combine = self.combine;
        let (sums, data) = (self.collective.sums, self.collective.data);
        let mut module = std::mem::take(self.module);
        let mut code = Code::new(&mut module, ADD_SUMS);
        let place = Place::declare(&mut code);
        let (local, block) = (place.local, place.block(&mut code));
        let Size { extent, blocks } = self.size(&mut code, Source::Data);
        Self::return_beyond(&mut code, block, blocks);
        let (zero, one) = (code.u32(0), code.u32(1));
        let level = code.global(self.collective.level);
        let before = code.member(level, 2);
        let before = code.load(before);
        let whole = code.binary(Op::Add, before, block);
        code.name(whole, "whole");
        let later = code.binary(Op::Greater, whole, zero);
        code.open();
        let previous = code.binary(Op::Subtract, whole, one);
        let sums = code.global(sums);
        let pointer = code.element(sums, previous);
        let before = code.load(pointer);
        let data = code.global(data);
        self.each(&mut code, block, local, extent, |code, i| {
            let pointer = code.element(data, i);
            let own = code.load(pointer);
            let both = combine.of(code, before, own);
            code.store(pointer, both);
        });
        let accept = code.close();
        code.stmt(naga::Statement::If { condition: later, accept, reject: naga::Block::new() });
        code.give(None);
        let function = code.finish();
        *self.module = module;
        push(self.module, ADD_SUMS, function, self.schedule.workgroup);
    }

    /// The element `k` of those that an invocation scans.
    fn element(&self, code: &mut Code<'_>, block: Node, local: Node, k: u32) -> Node {
        let (elements, k) = (code.u32(self.schedule.elements), code.u32(k));
        let own = code.binary(Op::Multiply, local, elements);
        let offset = code.binary(Op::Add, own, k);
        index(code, block, self.schedule.block(), offset)
    }

    /// `for (var k = 0u; k < 4u; k++) { let i = …; if (i < extent) { … } }`
    fn each(
        &self,
        code: &mut Code<'_>,
        block: Node,
        local: Node,
        extent: Node,
        fill: impl FnOnce(&mut Code<'_>, Node),
    ) {
        let elements = code.u32(self.schedule.elements);
        let (zero, one) = (code.u32(0), code.u32(1));
        let variable = code.scalar_variable("element", Type::U32);
        code.store(variable, zero);
        code.open();
        let k = code.load(variable);
        code.name(k, "k");
        let done = code.binary(Op::GreaterEqual, k, elements);
        code.break_when(done);
        let own = code.binary(Op::Multiply, local, elements);
        let offset = code.binary(Op::Add, own, k);
        let i = index(code, block, self.schedule.block(), offset);
        let inside = code.binary(Op::Less, i, extent);
        code.when(inside, |code| fill(code, i));
        let body = code.close();
        code.open();
        let next = code.binary(Op::Add, k, one);
        code.store(variable, next);
        let continuing = code.close();
        code.stmt(naga::Statement::Loop { body, continuing, break_if: None });
    }
}

fn with_lane(mut arguments: Vec<Node>, lane: Option<Lane>) -> Vec<Node> {
    if let Some(Lane { subgroup, lane, lanes }) = lane {
        arguments.extend([subgroup, lane, lanes]);
    }
    arguments
}

/// When a loop over numbers ends.
#[derive(Clone, Copy)]
enum Until {
    Is(Node),
    AtLeast(Node),
}

/// `for (var name = first; !until; name op= step) { … }`
fn loop_over(
    code: &mut Code<'_>,
    name: &str,
    first: Node,
    op: Op,
    step: Node,
    until: Until,
    fill: impl FnOnce(&mut Code<'_>, Node),
) {
    let variable = code.scalar_variable(&format!("{name}_"), Type::U32);
    code.store(variable, first);
    code.open();
    let at = code.load(variable);
    code.name(at, name);
    let done = match until {
        Until::Is(end) => code.binary(Op::Equal, at, end),
        Until::AtLeast(end) => code.binary(Op::GreaterEqual, at, end),
    };
    code.break_when(done);
    fill(code, at);
    let body = code.close();
    code.open();
    let next = code.binary(op, at, step);
    code.store(variable, next);
    let continuing = code.close();
    code.stmt(naga::Statement::Loop { body, continuing, break_if: None });
}
