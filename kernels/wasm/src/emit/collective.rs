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

    pub(super) fn contribute(
        &mut self,
        op: BinaryOp,
        ty: Type,
        result: Rep,
        width: Width,
        group: usize,
    ) {
        match (self.mode, width) {
            (Mode::Map, _) => {}
            (Mode::Reduce, Width::Vector) => {
                let lanes = self.lanes[group];
                self.set_group(lanes, ty, |code, part| {
                    code.lanes_binary(op, ty, lanes, result, part);
                });
            }
            (Mode::Reduce, Width::Scalar) => self.add_to_total(op, ty, result),
            (Mode::Scan, Width::Vector) => self.scan_group(op, ty, result, group as u32),
            (Mode::Scan, Width::Scalar) => {
                self.carry_to_total(ty);
                self.add_to_total(op, ty, result);
                self.store_prefix(ty);
                let total = self.total;
                self.set_lanes(total, ty);
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

    /// Stores the prefixes of a group; the carry, in every lane of the first group's, becomes the last.
    fn scan_group(&mut self, op: BinaryOp, ty: Type, result: Rep, group: u32) {
        let Rep::Lanes([carry, _]) = self.lanes[0] else { return };
        let (lane_bytes, shifts): (u8, &[u8]) = if ty.is_wide() { (8, &[8]) } else { (4, &[4, 8]) };
        let Some((collective, _)) = self.collective else { return };
        let identity = collective.op.identity(ty);
        let held = self.code.mark();
        let (sums, moved) = (self.code.local(ValType::V128), self.code.local(ValType::V128));
        let all = |local: u32| Rep::Lanes([local; 2]);
        for part in 0..parts(ty) {
            self.code.lanes(result, ty, part);
            self.code.set(sums);
            for &by in shifts {
                self.code.lanes_const(identity);
                self.code.get(sums);
                self.code.sink().i8x16_shuffle(moved_up(by)).local_set(moved);
                self.code.lanes_binary(op, ty, all(moved), all(sums), 0);
                self.code.set(sums);
            }
            self.code.lanes_binary(op, ty, all(carry), all(sums), 0);
            self.code.set(sums);
            let at = u64::from(LANES * group) * ty.bytes() as u64 + 16 * part as u64;
            let (arg, x) = (self.prefix_arg(ty, at), Rep::Scalar(self.context.axes[0]));
            self.code.address(x, ty.bytes().trailing_zeros());
            self.code.sink().local_get(sums).v128_store(arg);
            self.code.sink().local_get(sums).local_get(sums).i8x16_shuffle(last(lane_bytes));
            self.code.set(carry);
        }
        self.code.release(&held);
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

/// The bytes of a second vector moved up by so many, behind bytes of a first.
fn moved_up(by: u8) -> [u8; 16] {
    std::array::from_fn(|at| if (at as u8) < by { at as u8 } else { 16 + at as u8 - by })
}

/// The last lane of so many bytes in every lane.
fn last(bytes: u8) -> [u8; 16] {
    std::array::from_fn(|at| 16 - bytes + at as u8 % bytes)
}
