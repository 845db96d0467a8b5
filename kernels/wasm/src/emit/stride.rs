//! Accesses of lanes that are a constant number of elements apart:
//!
//! ```text
//! 1           v128.load, v128.store
//! -1          the same, and the lanes the other way round
//! ±2, ±3      two v128.load, of the first elements and of the last, and a shuffle
//! others      a lane after the other, from one address
//! ```
//!
//! All lanes are active and have checked indices, so that everything between the first and the last is
//! in the buffer. Of a buffer that the kernel also writes nothing is loaded but the lanes' own elements:
//! those between may be another invocation's.

use crossover_kernels::ir::{Param, Type, Value};
use wasm_encoder::MemArg;

use super::body::Body;
use super::code::{LANES, Rep, lane_of, parts};
use super::memory::element_shift;

/// A linear index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub(super) value: Value,
    local: u32,
    by: u32,
    stride: i32,
}

impl Linear {
    /// The index that a value is, if it is linear.
    pub(super) fn of(value: Value, rep: Rep) -> Option<Linear> {
        match rep {
            Rep::Linear { local, by, stride } => Some(Linear { value, local, by, stride }),
            Rep::Const(_) | Rep::Scalar(_) | Rep::Low(_) | Rep::Offset(..) | Rep::Lanes(_) => None,
        }
    }

    /// The lane at the lowest address.
    fn lowest(self) -> u32 {
        if self.stride > 0 { 0 } else { LANES - 1 }
    }

    /// Elements from the lowest lane to this one.
    fn distance(self, lane: u32) -> u32 {
        self.lowest().abs_diff(lane) * self.stride.unsigned_abs()
    }
}

impl Body<'_> {
    pub(super) fn load_linear(&mut self, target: Rep, buffer: Param, index: Linear, ty: Type) {
        let Rep::Lanes(locals) = target else { return };
        let together = self.function.is_read_only(buffer) && !ty.is_wide();
        match index.stride {
            1 | -1 => self.load_neighbours(locals, buffer, index, ty),
            -3..=3 if together => self.load_between(locals[0], buffer, index, ty),
            _ => self.load_each(locals, buffer, index, ty),
        }
    }

    /// Pushes the address of a lane, less the offset in the argument, which begins so many bytes further.
    pub(super) fn linear_address(
        &mut self,
        buffer: Param,
        index: Linear,
        lane: u32,
        ty: Type,
        further: u32,
    ) -> MemArg {
        let by = lane_of(index.by, index.stride, lane);
        let shift = element_shift(ty);
        let is_exact = self.form.exact[index.value.index()] && self.masks.is_none();
        let offset = if is_exact && index.stride > 0 {
            let first = self.at.vector * LANES * index.stride.unsigned_abs();
            self.anchored_address(index.local, by, index.by.wrapping_sub(first), shift)
        } else if is_exact {
            self.exact_address(Rep::Offset(index.local, by), shift)
        } else {
            self.code.address(Rep::Offset(index.local, by), shift);
            0
        };
        self.buffer_arg(buffer, ty, offset + u64::from(further))
    }

    /// Lanes of a part, as elements from the lowest of them on.
    fn part_lanes(ty: Type, part: usize) -> std::ops::Range<u32> {
        let count = LANES / parts(ty) as u32;
        let first = part as u32 * count;
        first..first + count
    }

    fn load_neighbours(&mut self, locals: [u32; 2], buffer: Param, index: Linear, ty: Type) {
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            let lanes = Self::part_lanes(ty, part);
            let lane = if index.stride > 0 { lanes.start } else { lanes.end - 1 };
            let arg = self.linear_address(buffer, index, lane, ty, 0);
            self.code.sink().v128_load(arg);
            self.turn(index, ty);
            self.code.set(local);
        }
    }

    /// The lanes on the stack the other way round, where the index goes backwards.
    fn turn(&mut self, index: Linear, ty: Type) {
        if index.stride < 0 {
            let held = self.code.mark();
            let local = self.code.local(wasm_encoder::ValType::V128);
            let size = ty.bytes() as u8;
            let turned = |at: usize| 16 - size - at as u8 / size * size + at as u8 % size;
            self.code.sink().local_tee(local).local_get(local);
            self.code.sink().i8x16_shuffle(std::array::from_fn(turned));
            self.code.release(&held);
        }
    }

    /// Narrow elements, out of those from the lowest lane to the highest.
    fn load_between(&mut self, local: u32, buffer: Param, index: Linear, ty: Type) {
        // Of the second vector the last element is the highest lane's.
        let second = 3 * index.stride.unsigned_abs() - 3;
        for first in [0, second] {
            let arg = self.linear_address(buffer, index, index.lowest(), ty, 4 * first);
            self.code.sink().v128_load(arg);
        }
        let byte = |at: usize| {
            let distance = index.distance(at as u32 / 4);
            let element = if distance < LANES { distance } else { LANES + distance - second };
            (4 * element) as u8 + at as u8 % 4
        };
        self.code.sink().i8x16_shuffle(std::array::from_fn(byte)).local_set(local);
    }

    fn load_each(&mut self, locals: [u32; 2], buffer: Param, index: Linear, ty: Type) {
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            let lanes = Self::part_lanes(ty, part);
            for lane in lanes.clone() {
                let further = index.distance(lane) * ty.bytes() as u32;
                let arg = self.linear_address(buffer, index, index.lowest(), ty, further);
                let at = (lane - lanes.start) as u8;
                let mut sink = self.code.sink();
                match (ty.is_wide(), at) {
                    (false, 0) => sink.v128_load32_zero(arg),
                    (true, 0) => sink.v128_load64_zero(arg),
                    (false, _) => sink.local_get(local).v128_load32_lane(arg, at),
                    (true, _) => sink.local_get(local).v128_load64_lane(arg, at),
                };
                self.code.set(local);
            }
        }
    }

    pub(super) fn store_linear(&mut self, buffer: Param, index: Linear, value: Rep, ty: Type) {
        for part in 0..parts(ty) {
            let lanes = Self::part_lanes(ty, part);
            if index.stride.abs() == 1 {
                let lane = if index.stride > 0 { lanes.start } else { lanes.end - 1 };
                let arg = self.linear_address(buffer, index, lane, ty, 0);
                self.code.lanes(value, ty, part);
                self.turn(index, ty);
                self.code.sink().v128_store(arg);
                continue;
            }
            for lane in lanes.clone() {
                let further = index.distance(lane) * ty.bytes() as u32;
                let arg = self.linear_address(buffer, index, index.lowest(), ty, further);
                self.code.lanes(value, ty, part);
                let at = (lane - lanes.start) as u8;
                match ty.is_wide() {
                    false => self.code.sink().v128_store32_lane(arg, at),
                    true => self.code.sink().v128_store64_lane(arg, at),
                };
            }
        }
    }
}
