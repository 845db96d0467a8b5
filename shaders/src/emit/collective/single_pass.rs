//! Scans in one pass over the grid, by decoupled look-back (Merrill and Garland, 2016).
//!
//! ```text
//! block = the number of workgroups that had begun before
//! scan the block; leave its total
//! go back over the blocks before, adding up their totals, to one that knows the sum of all up to it
//! leave the sum of all up to this block; give each element what comes before it
//! ```
//!
//! WGSL has no atomics of 64 bits, and orders nothing between two of 32: a value and what it is are left in two
//! words, each with half of the value below and the kind of value above. Where the kinds differ, the
//! owner is between two values, and both words say nothing yet.
//!
//! Workgroups number themselves as they begin, so that the blocks before have begun, whatever the order that
//! the device takes workgroups in. It need not go on with them: after as many looks at a block as that has
//! elements, the block is added up again by the one that waits. That costs about what was spent waiting, and it
//! ends where a workgroup runs to its end before another goes on.

use crossover_kernels::ir::Type;
use naga::{AtomicFunction, BinaryOperator as Op, Function, Handle};

use super::elements::Span;
use super::{Passes, Size, Source, Until, loop_over, with_lane};
use crate::emit::code::{Code, Node};
use crate::emit::entry::{Place, index, push};
use crate::emit::{BlockGlobals, MAIN};

/// The kinds of values that a block leaves; 0 is none.
const OWN_TOTAL: u32 = 1;
const TOTAL_SO_FAR: u32 = 2;

/// The functions that the invocation calls which looks back.
#[derive(Clone, Copy)]
struct Helpers {
    leave: Handle<Function>,
    total_of: Handle<Function>,
}

impl Passes<'_> {
    /// ```wgsl
    /// if (local == 0u) { own_block = atomicAdd(&states.begun, 1u); }
    /// let block = workgroupUniformLoad(&own_block);
    /// if (block >= blocks) { return; }
    /// // Add up own elements, sum_3 in the end.
    /// scan_workgroup(local, sum_3);
    /// if (local == 255u) { carry = look_back(block, shared_values[local], extent); }
    /// var before = workgroupUniformLoad(&carry);
    /// if (local > 0u) { before = before op shared_values[local - 1u]; }
    /// // Leave `before op sum` of each element.
    /// ```
    pub(super) fn scan_once(
        &mut self,
        body: Handle<Function>,
        scan: Handle<Function>,
        blocks: BlockGlobals,
    ) {
        let (combine, shared) = (self.combine, self.collective.shared);
        let source = Source::Kernel(body);
        let helpers = Helpers { leave: self.leave(blocks), total_of: self.total_of(source) };
        let look_back = self.look_back(blocks, helpers);
        let mut module = std::mem::take(self.module);
        let mut code = Code::new(&mut module, MAIN);
        let local = Place::local(&mut code);
        let (lane, local) = self.lane(&mut code, local);
        let own_block = code.global(blocks.own_block);
        let (zero, one) = (code.u32(0), code.u32(1));
        let is_first = code.binary(Op::Equal, local, zero);
        code.when(is_first, |code| {
            let states = code.global(blocks.states);
            let begun = code.member(states, 0);
            let number = code.atomic(AtomicFunction::Add, begun, one, Type::U32);
            code.store(own_block, number);
        });
        let block = code.uniform_load(own_block, Type::U32);
        code.name(block, "block");
        let Size { extent, blocks: count } = self.size(&mut code, source);
        Self::return_beyond(&mut code, block, count);
        let own = self.own_elements(&mut code, source, Span { block, local, extent });
        let total = own.total(&mut code);
        code.call(scan, with_lane(vec![local, total], lane));
        let (shared, carry) = (code.global(shared), code.global(blocks.carry));
        let last = code.u32(self.schedule.invocations() - 1);
        let is_last = code.binary(Op::Equal, local, last);
        code.when(is_last, |code| {
            let total = code.element(shared, local);
            let total = code.load(total);
            let before = code.call(look_back, vec![block, total, extent]);
            code.store(carry, before.expect("`look_back` returns a value"));
        });
        let before = code.scalar_variable("before", combine.ty);
        let carried = code.uniform_load(carry, combine.ty);
        code.store(before, carried);
        self.add_previous(&mut code, local, before);
        self.leave_elements(&mut code, source, own, before);
        code.give(None);
        let function = code.finish();
        *self.module = module;
        push(self.module, MAIN, function, self.schedule.workgroup);
    }

    /// ```wgsl
    /// fn leave(block: u32, kind: u32, value: T) {
    ///     let bits = bitcast<u32>(value);
    ///     atomicStore(&states.blocks[block].low, (kind << 16u) | (bits & 0xffffu));
    ///     atomicStore(&states.blocks[block].high, (kind << 16u) | (bits >> 16u));
    /// }
    /// ```
    fn leave(&mut self, blocks: BlockGlobals) -> Handle<Function> {
        let ty = self.combine.ty;
        let mut code = Code::new(self.module, "leave");
        let [block, kind] = ["block", "kind"].map(|name| code.argument(name, Type::U32));
        let value = code.argument("value", ty);
        let bits = if ty == Type::U32 { value } else { code.bitcast(value, Type::U32) };
        let (half, mask) = (code.u32(16), code.u32(0xffff));
        let kind = code.binary(Op::ShiftLeft, kind, half);
        let low = code.binary(Op::And, bits, mask);
        let high = code.binary(Op::ShiftRight, bits, half);
        for (at, part) in [low, high].into_iter().enumerate() {
            let word = code.binary(Op::InclusiveOr, kind, part);
            let pointer = state(&mut code, blocks, block, at as u32);
            code.store(pointer, word);
        }
        code.give(None);
        let function = code.finish();
        self.module.functions.append(function, naga::Span::UNDEFINED)
    }

    /// ```wgsl
    /// fn total_of(block: u32, extent: u32) -> T {
    ///     var total = identity;
    ///     for (var k = 0u; k < 1024u; k += 1u) {
    ///         let i = block * 1024u + k;
    ///         if (i < extent) { total = total op take(i); }
    ///     }
    ///     return total;
    /// }
    /// ```
    fn total_of(&mut self, source: Source) -> Handle<Function> {
        let combine = self.combine;
        let mut module = std::mem::take(self.module);
        let mut code = Code::new(&mut module, "total_of");
        let [block, extent] = ["block", "extent"].map(|name| code.argument(name, Type::U32));
        code.returns(combine.ty);
        let total = code.scalar_variable("total", combine.ty);
        let identity = combine.identity(&mut code);
        code.store(total, identity);
        let (zero, size) = (code.u32(0), code.u32(self.schedule.block()));
        let step = code.u32(self.step(source));
        loop_over(&mut code, "k", zero, Op::Add, step, Until::AtLeast(size), |code, k| {
            let i = index(code, block, self.schedule.block(), k);
            let inside = code.binary(Op::Less, i, extent);
            code.when(inside, |code| {
                for element in self.take(code, source, i) {
                    let before = code.load(total);
                    let both = combine.of(code, before, element);
                    code.store(total, both);
                }
            });
        });
        let total = code.load(total);
        code.give(Some(total));
        let function = code.finish();
        *self.module = module;
        self.module.functions.append(function, naga::Span::UNDEFINED)
    }

    /// ```wgsl
    /// fn look_back(block: u32, total: T, extent: u32) -> T {
    ///     leave(block, OWN_TOTAL, total);
    ///     var before = identity;
    ///     var at = block;
    ///     var looks = 0u;
    ///     loop {
    ///         if (at == 0u) { break; }
    ///         let low = atomicLoad(&states.blocks[at - 1u].low);
    ///         let high = atomicLoad(&states.blocks[at - 1u].high);
    ///         var kind = low >> 16u;
    ///         var value = bitcast<T>((low & 0xffffu) | (high << 16u));
    ///         if (kind != high >> 16u) { kind = 0u; }
    ///         if (kind == 0u && looks == 1024u) {
    ///             kind = OWN_TOTAL;
    ///             value = total_of(at - 1u, extent);
    ///         }
    ///         if (kind == 0u) {
    ///             looks += 1u;
    ///         } else {
    ///             before = value op before;
    ///             if (kind == TOTAL_SO_FAR) { break; }
    ///             at -= 1u;
    ///             looks = 0u;
    ///         }
    ///     }
    ///     leave(block, TOTAL_SO_FAR, before op total);
    ///     return before;
    /// }
    /// ```
    fn look_back(&mut self, blocks: BlockGlobals, helpers: Helpers) -> Handle<Function> {
        let combine = self.combine;
        let looks_max = self.schedule.block();
        let mut code = Code::new(self.module, "look_back");
        let block = code.argument("block", Type::U32);
        let total = code.argument("total", combine.ty);
        let extent = code.argument("extent", Type::U32);
        code.returns(combine.ty);
        let [at, looks, kind] = ["at", "looks", "kind"].map(|n| code.scalar_variable(n, Type::U32));
        let [before, value] = ["before", "value"].map(|n| code.scalar_variable(n, combine.ty));
        let (zero, one) = (code.u32(0), code.u32(1));
        let (own_total, so_far) = (code.u32(OWN_TOTAL), code.u32(TOTAL_SO_FAR));
        code.call(helpers.leave, vec![block, own_total, total]);
        let identity = combine.identity(&mut code);
        code.store(before, identity);
        code.store(at, block);
        code.store(looks, zero);
        code.open();
        let behind = code.load(at);
        let done = code.binary(Op::Equal, behind, zero);
        code.break_when(done);
        let previous = code.binary(Op::Subtract, behind, one);
        code.name(previous, "previous");
        look(&mut code, blocks, previous, [kind, value], combine.ty);
        let said = code.load(kind);
        let nothing = code.binary(Op::Equal, said, zero);
        let looked = code.load(looks);
        let limit = code.u32(looks_max);
        let often = code.binary(Op::Equal, looked, limit);
        let gives_up = code.binary(Op::LogicalAnd, nothing, often);
        code.when(gives_up, |code| {
            code.store(kind, own_total);
            let again = code.call(helpers.total_of, vec![previous, extent]);
            code.store(value, again.expect("`total_of` returns a value"));
        });
        let said = code.load(kind);
        let condition = code.binary(Op::Equal, said, zero);
        let accept = code.block(|code| {
            let more = code.binary(Op::Add, looked, one);
            code.store(looks, more);
        });
        let reject = code.block(|code| {
            let (found, sum) = (code.load(value), code.load(before));
            let both = combine.of(code, found, sum);
            code.store(before, both);
            let all = code.binary(Op::Equal, said, so_far);
            code.break_when(all);
            code.store(at, previous);
            code.store(looks, zero);
        });
        code.stmt(naga::Statement::If { condition, accept, reject });
        let body = code.close();
        let continuing = naga::Block::new();
        code.stmt(naga::Statement::Loop { body, continuing, break_if: None });
        let before = code.load(before);
        let sum = combine.of(&mut code, before, total);
        code.call(helpers.leave, vec![block, so_far, sum]);
        code.give(Some(before));
        let function = code.finish();
        self.module.functions.append(function, naga::Span::UNDEFINED)
    }
}

/// Reads what a block has left: the kind, 0 where that is not whole, and the value.
fn look(
    code: &mut Code<'_>,
    blocks: BlockGlobals,
    block: Node,
    [kind, value]: [Node; 2],
    ty: Type,
) {
    let (half, mask, zero) = (code.u32(16), code.u32(0xffff), code.u32(0));
    let [low, high] = [0, 1].map(|at| {
        let pointer = state(code, blocks, block, at);
        code.load(pointer)
    });
    code.name(low, "low");
    code.name(high, "high");
    let of_low = code.binary(Op::ShiftRight, low, half);
    code.store(kind, of_low);
    let below = code.binary(Op::And, low, mask);
    let above = code.binary(Op::ShiftLeft, high, half);
    let bits = code.binary(Op::InclusiveOr, below, above);
    let bits = if ty == Type::U32 { bits } else { code.bitcast(bits, ty) };
    code.store(value, bits);
    let of_high = code.binary(Op::ShiftRight, high, half);
    let differs = code.binary(Op::NotEqual, of_low, of_high);
    code.when(differs, |code| code.store(kind, zero));
}

/// A pointer to a half of what a block leaves.
fn state(code: &mut Code<'_>, blocks: BlockGlobals, block: Node, half: u32) -> Node {
    let states = code.global(blocks.states);
    let of_blocks = code.member(states, 1);
    let own = code.element(of_blocks, block);
    code.member(own, half)
}
