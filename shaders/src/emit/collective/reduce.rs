//! Reductions: a loop over the grid, then a tree.

use crossover_kernels::ir::Type;
use naga::{BinaryOperator as Op, Function, Handle, Span};

use super::{Lane, Passes, Size, Source, Until, loop_over, with_lane};
use crate::emit::PassGlobals;
use crate::emit::code::{Code, Node};
use crate::emit::entry::{Place, index, push};

impl Passes<'_> {
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
    pub(super) fn tree(&mut self) -> Handle<Function> {
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
    pub(super) fn tree_of_subgroups(&mut self) -> Handle<Function> {
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
    /// var total = identity;
    /// for (var i = block * 256u + local; i < extent; i += blocks * 256u) { total op= take(i); }   // or four
    /// let sum = tree(local, total);
    /// if (local == 0u) { sums[block] = sum; }
    /// ```
    pub(super) fn reduce(
        &mut self,
        name: &str,
        source: Source,
        tree: Handle<Function>,
        further: PassGlobals,
    ) {
        let combine = self.combine;
        // Partial results are few: each invocation has one at a time.
        let elements = match source {
            Source::Kernel(_) => self.schedule.elements,
            Source::Data(_) => 1,
        };
        let points = self.schedule.invocations() * elements;
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
        let own = match elements {
            1 => local,
            _ => {
                let elements = code.u32(elements);
                code.binary(Op::Multiply, local, elements)
            }
        };
        let start = index(&mut code, first, points, own);
        code.store(next, start);
        let size = code.u32(points);
        let stride = code.binary(Op::Multiply, blocks, size);
        code.open();
        let i = code.load(next);
        code.name(i, "i");
        let done = code.binary(Op::GreaterEqual, i, extent);
        code.break_when(done);
        let own = self.together(&mut code, source, i, elements, extent);
        let before = code.load(total);
        let both = combine.of(&mut code, before, own);
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
        code.when(first, |code| {
            let at = self.in_sums(code, source, block);
            let sums = code.global(further.sums);
            let pointer = code.element(sums, at);
            code.store(pointer, sum);
        });
        code.give(None);
        let function = code.finish();
        *self.module = module;
        push(self.module, name, function, self.schedule.workgroup);
    }

    /// What an invocation has at a time, in order, whichever form of the kernel takes it.
    ///
    /// ```wgsl
    /// own = take(i);                                      // or four from one vector
    /// if (i + 1u < extent) { own = own op take(i + 1u); }
    /// …
    /// ```
    fn together(
        &self,
        code: &mut Code<'_>,
        source: Source,
        i: Node,
        elements: u32,
        extent: Node,
    ) -> Node {
        let combine = self.combine;
        let mut taken = self.take(code, source, i).into_iter();
        let first = taken.next().expect("a step has elements");
        let own = taken.fold(first, |own, next| combine.of(code, own, next));
        if elements == self.step(source) {
            return own;
        }
        let sum = code.scalar_variable("own", combine.ty);
        code.store(sum, own);
        for k in (self.step(source)..elements).step_by(self.step(source) as usize) {
            let by = code.u32(k);
            let i = code.binary(Op::Add, i, by);
            let inside = code.binary(Op::Less, i, extent);
            code.when(inside, |code| {
                let mut own = code.load(sum);
                for next in self.take(code, source, i) {
                    own = combine.of(code, own, next);
                }
                code.store(sum, own);
            });
        }
        code.load(sum)
    }
}
