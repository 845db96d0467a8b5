//! What becomes of the contributions of collectives.
//!
//! A reduction has a sum for each lane of each group of a tile, and one for what single invocations
//! contribute, from left to right. At the end of a row the groups are combined from the first to the
//! last, then the lanes as `(l0 ∘ l1) ∘ (l2 ∘ l3)`, and added to the sum: the same at every run.
//!
//! A scan combines the contributions of a group with each other, then with what came before it:
//!
//! ```text
//! carry ∘ [ x0,  x0 ∘ x1,  x0 ∘ (x1 ∘ x2),  (x0 ∘ x1) ∘ (x2 ∘ x3) ]        the last is the next carry
//! carry ∘ [ x0,  x0 ∘ x1 ],  then the same of x2 and x3                     of 64 bits
//! ```
//!
//! So the carry waits for each group in turn. Of integers the order does not show: there what the groups before one have
//! together is found beside the carry, which waits once for a tile.
//!
//! ```text
//! carry ∘ (last of group 0 ∘ … ∘ last of group g − 1) ∘ [ prefixes of group g ]
//! ```

use crossover_kernels::ir::{BinaryOp, Const, Param, Type};
use wasm_encoder::{MemArg, ValType};

use super::PARTIAL;
use super::body::Width;
use super::code::{Code, LANES, Rep, parts, val_type};
use super::grid::{Grid, Mode};

impl Grid<'_> {
    pub(super) fn begin_collective(&mut self) {
        let Some((collective, ty)) = self.collective else { return };
        let identity = Rep::Const(collective.op.identity(ty));
        let groups = self.forms.interior.tile.groups();
        self.lanes = (0..groups).map(|_| Rep::Lanes(self.code.lanes_local(ty))).collect();
        self.total = Rep::Scalar(self.code.local(val_type(ty)));
        self.set_lanes(identity, ty);
        let carry = self.context.layout.params();
        let start = if self.mode == Mode::Scan { Rep::Scalar(carry) } else { identity };
        self.set_total(|code| code.scalar(start, ty));
        if self.mode == Mode::Scan {
            self.set_lanes(start, ty);
        }
    }

    fn set_lanes(&mut self, value: Rep, ty: Type) {
        for lanes in self.lanes.clone() {
            self.set_group(lanes, ty, |code, part| code.lanes(value, ty, part));
        }
    }

    /// Every part of a group's lanes, pushed by `push`.
    fn set_group(&mut self, lanes: Rep, ty: Type, mut push: impl FnMut(&mut Code, usize)) {
        let Rep::Lanes(locals) = lanes else { return };
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            push(&mut self.code, part);
            self.code.set(local);
        }
    }

    fn set_total(&mut self, push: impl FnOnce(&mut Code)) {
        push(&mut self.code);
        if let Rep::Scalar(local) = self.total {
            self.code.set(local);
        }
    }

    /// Combines what the groups of a tile, or one invocation, contribute with what came before.
    pub(super) fn contribute(&mut self, op: BinaryOp, ty: Type, results: &[Rep], width: Width) {
        match (self.mode, width) {
            (Mode::Map, _) => {}
            (Mode::Reduce, Width::Vector) => {
                for (group, &result) in results.iter().enumerate() {
                    let lanes = self.lanes[group];
                    self.set_group(lanes, ty, |code, part| {
                        code.lanes_binary(op, ty, lanes, result, part);
                    });
                }
            }
            (Mode::Scan, Width::Vector) => self.scan_tile(op, ty, results),
            (Mode::Reduce, Width::Scalar) => {
                results.iter().for_each(|&result| self.add_to_total(op, ty, result));
            }
            (Mode::Scan, Width::Scalar) => {
                for &result in results {
                    self.carry_to_total(ty);
                    self.add_to_total(op, ty, result);
                    self.store_prefix(ty);
                    let total = self.total;
                    self.set_lanes(total, ty);
                }
            }
        }
    }

    fn add_to_total(&mut self, op: BinaryOp, ty: Type, value: Rep) {
        let total = self.total;
        self.set_total(|code| code.scalar_binary(op, ty, total, value));
    }

    fn prefix_arg(&self, ty: Type, offset: u64) -> MemArg {
        let output = Param(self.context.kernel.entry.params.len() as u32 - 1);
        self.context.layout.buffer_arg(output, ty, offset)
    }

    fn store_prefix(&mut self, ty: Type) {
        let arg = self.prefix_arg(ty, 0);
        let x = Rep::Scalar(self.context.axes[0]);
        self.code.store_element(x, self.total, ty, arg);
    }

    /// Stores the prefixes of the groups of a tile; the carry, in every lane of the first group's, becomes the last.
    fn scan_tile(&mut self, op: BinaryOp, ty: Type, results: &[Rep]) {
        let Rep::Lanes([carry, _]) = self.lanes[0] else { return };
        let held = self.code.mark();
        // What the vectors before have together, in every lane.
        let mut before: Option<u32> = None;
        for (group, result) in results.iter().enumerate() {
            for part in 0..parts(ty) {
                let sums = self.prefixes(op, ty, *result, part);
                if !ty.is_int() {
                    self.combine(op, ty, [carry, sums], sums);
                    self.store_prefixes(ty, group, part, sums);
                    self.spread_last(ty, sums, carry);
                    continue;
                }
                let [found, all, total] = [(); 3].map(|()| self.code.local(ValType::V128));
                self.spread_last(ty, sums, total);
                match before {
                    None => self.combine(op, ty, [carry, sums], found),
                    Some(before) => {
                        self.combine(op, ty, [carry, before], found);
                        self.combine(op, ty, [found, sums], found);
                        self.combine(op, ty, [before, total], all);
                    }
                }
                self.store_prefixes(ty, group, part, found);
                before = Some(before.map_or(total, |_| all));
            }
        }
        if let Some(before) = before {
            self.combine(op, ty, [carry, before], carry);
        }
        self.code.release(&held);
    }

    /// A local with the prefixes within a vector.
    fn prefixes(&mut self, op: BinaryOp, ty: Type, result: Rep, part: usize) -> u32 {
        let shifts: &[u8] = if ty.is_wide() { &[8] } else { &[4, 8] };
        let identity = self.collective.map(|(collective, _)| collective.op.identity(ty));
        let [sums, moved] = [(); 2].map(|()| self.code.local(ValType::V128));
        self.code.lanes(result, ty, part);
        self.code.set(sums);
        for &by in shifts {
            self.code.lanes_const(identity.unwrap_or(Const::zero(ty)));
            self.code.get(sums);
            self.code.sink().i8x16_shuffle(moved_up(by)).local_set(moved);
            self.combine(op, ty, [moved, sums], sums);
        }
        sums
    }

    /// `target = a ∘ b`, vectors of one part.
    fn combine(&mut self, op: BinaryOp, ty: Type, [a, b]: [u32; 2], target: u32) {
        self.code.lanes_binary(op, ty, Rep::Lanes([a; 2]), Rep::Lanes([b; 2]), 0);
        self.code.set(target);
    }

    fn store_prefixes(&mut self, ty: Type, group: usize, part: usize, prefixes: u32) {
        let at = group as u64 * u64::from(LANES) * ty.bytes() as u64 + 16 * part as u64;
        let (arg, x) = (self.prefix_arg(ty, at), Rep::Scalar(self.context.axes[0]));
        self.code.address(x, ty.bytes().trailing_zeros());
        self.code.sink().local_get(prefixes).v128_store(arg);
    }

    /// `target` = the last lane of a vector, in every lane.
    fn spread_last(&mut self, ty: Type, of: u32, target: u32) {
        let lanes = last(ty.bytes() as u8);
        self.code.sink().local_get(of).local_get(of).i8x16_shuffle(lanes).local_set(target);
    }

    /// The carry as a scalar.
    fn carry_to_total(&mut self, ty: Type) {
        let lanes = self.lanes[0];
        self.set_total(|code| code.lane(lanes, ty, 0));
    }

    /// `total = total ∘ ((l0 ∘ l1) ∘ (l2 ∘ l3))`, of the groups' lanes combined
    pub(super) fn combine_lanes(&mut self) {
        let (Some((collective, ty)), Mode::Reduce) = (self.collective, self.mode) else { return };
        let op = collective.op.binary();
        let first = self.lanes[0];
        for at in 1..self.lanes.len() {
            let other = self.lanes[at];
            self.set_group(first, ty, |code, part| code.lanes_binary(op, ty, first, other, part));
        }
        let of = |code: &mut Code, a: Rep, b: Rep| {
            let local = code.local(val_type(ty));
            code.scalar_binary(op, ty, a, b);
            code.set(local);
            Rep::Scalar(local)
        };
        let mut lane = [Rep::Const(Const::zero(ty)); LANES as usize];
        for (at, rep) in lane.iter_mut().enumerate() {
            let local = self.code.local(val_type(ty));
            self.code.lane(first, ty, at as u32);
            self.code.set(local);
            *rep = Rep::Scalar(local);
        }
        let low = of(&mut self.code, lane[0], lane[1]);
        let high = of(&mut self.code, lane[2], lane[3]);
        let all = of(&mut self.code, low, high);
        self.add_to_total(op, ty, all);
        self.set_lanes(Rep::Const(collective.op.identity(ty)), ty);
    }

    pub(super) fn end_collective(&mut self) {
        if let Some((_, ty)) = self.collective {
            if self.mode == Mode::Scan {
                self.carry_to_total(ty);
            }
            self.code.scalar(self.total, ty);
            self.code.sink().global_set(PARTIAL);
        }
    }
}

/// The bytes of a second vector moved up by so many, behind the last of a first: one instruction, as they are in order.
fn moved_up(by: u8) -> [u8; 16] {
    std::array::from_fn(|at| 16 - by + at as u8)
}

/// The last lane of so many bytes in every lane.
fn last(bytes: u8) -> [u8; 16] {
    std::array::from_fn(|at| 16 - bytes + at as u8 % bytes)
}
