//! Scans in passes: within invocations, within workgroups, and of their sums.

use crossover_kernels::ir::Type;
use naga::{BinaryOperator as Op, Function, Handle};

use super::elements::Span;
use super::{Lane, Passes, Size, Source, Until, loop_over, with_lane};
use crate::emit::code::Code;
use crate::emit::entry::{Place, push};
use crate::emit::{ADD_SUMS, PassGlobals};

impl Passes<'_> {
    /// The function that scans the values of a workgroup's invocations.
    pub(super) fn scan_of_workgroup(&mut self) -> Handle<Function> {
        if self.schedule.subgroups { self.scan_subgroups() } else { self.scan_workgroup() }
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
        self.module.functions.append(function, naga::Span::UNDEFINED)
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
        self.module.functions.append(function, naga::Span::UNDEFINED)
    }

    /// ```wgsl
    /// // Add up own elements, sum_3 in the end.
    /// scan_workgroup(local, sum_3);
    /// var before = identity;
    /// if (local > 0u) { before = before op shared_values[local - 1u]; }
    /// // Leave `before op sum` of each element.
    /// if (local == 255u) { sums[block] = shared_values[local]; }
    /// ```
    pub(super) fn scan(
        &mut self,
        name: &str,
        source: Source,
        scan: Handle<Function>,
        further: PassGlobals,
    ) {
        let (combine, shared) = (self.combine, self.collective.shared);
        let mut module = std::mem::take(self.module);
        let mut code = Code::new(&mut module, name);
        let place = Place::declare(&mut code);
        let (lane, local) = self.lane(&mut code, place.local);
        let block = place.block(&mut code);
        let block = self.in_whole(&mut code, source, block);
        let Size { extent, blocks } = self.size(&mut code, source);
        Self::return_beyond(&mut code, block, blocks);
        let own = self.own_elements(&mut code, source, Span { block, local, extent });
        let total = own.total(&mut code);
        code.call(scan, with_lane(vec![local, total], lane));
        let before = code.scalar_variable("before", combine.ty);
        let identity = combine.identity(&mut code);
        code.store(before, identity);
        self.add_previous(&mut code, local, before);
        self.leave_elements(&mut code, source, own, before);
        let shared = code.global(shared);
        let last = code.u32(self.schedule.invocations() - 1);
        let is_last = code.binary(Op::Equal, local, last);
        code.when(is_last, |code| {
            let sum = code.element(shared, local);
            let sum = code.load(sum);
            let sums = code.global(further.sums);
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
    pub(super) fn add(&mut self, further: PassGlobals) {
        let combine = self.combine;
        let mut module = std::mem::take(self.module);
        let mut code = Code::new(&mut module, ADD_SUMS);
        let place = Place::declare(&mut code);
        let (local, block) = (place.local, place.block(&mut code));
        let Size { extent, blocks } = self.size(&mut code, Source::Data(further));
        Self::return_beyond(&mut code, block, blocks);
        let (zero, one) = (code.u32(0), code.u32(1));
        let level = code.global(further.level);
        let before = code.member(level, 2);
        let before = code.load(before);
        let whole = code.binary(Op::Add, before, block);
        code.name(whole, "whole");
        let later = code.binary(Op::Greater, whole, zero);
        code.open();
        let previous = code.binary(Op::Subtract, whole, one);
        let sums = code.global(further.sums);
        let pointer = code.element(sums, previous);
        let before = code.load(pointer);
        let data = code.global(further.data);
        self.each(&mut code, "k", Span { block, local, extent }, 1, |code, _, i| {
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
}
