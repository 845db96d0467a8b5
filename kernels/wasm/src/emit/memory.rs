//! Loads, stores and atomics. How depends on the index:
//!
//! ```text
//! uniform   one scalar access
//! linear    see [`super::stride`]; lane by lane where some lanes are inactive
//! varying   lane by lane
//! ```
//!
//! An inactive lane never writes. It may read: its index is replaced by 0, which exists because
//! some other lane is active and has a checked index.
//!
//! Each buffer is an unshared wasm memory, and all workers' memories are the same bytes. Atomics on
//! it are atomic between threads all the same: Cranelift compiles them to `lock xadd` and
//! `lock cmpxchg` whatever the memory (seen in the disassembly; `tests/atomics.rs` counts on four
//! threads).

use crossover_kernels::ir::{BinaryOp, Param, Type, Value};
use wasm_encoder::{MemArg, ValType};

use super::affine::Part;
use super::body::{Body, Width};
use super::code::{Code, LANES, Rep, parts, val_type};
use super::divergence::Variance;
use super::fields::Field;
use super::layout::Layout;
use super::stride::Linear;

impl Code {
    pub(super) fn load(&mut self, ty: Type, arg: MemArg) {
        let mut sink = self.sink();
        match val_type(ty) {
            ValType::I64 => sink.i64_load(arg),
            ValType::F32 => sink.f32_load(arg),
            ValType::F64 => sink.f64_load(arg),
            ValType::I32 | ValType::V128 | ValType::Ref(_) => sink.i32_load(arg),
        };
    }

    pub(super) fn store(&mut self, ty: Type, arg: MemArg) {
        let mut sink = self.sink();
        match val_type(ty) {
            ValType::I64 => sink.i64_store(arg),
            ValType::F32 => sink.f32_store(arg),
            ValType::F64 => sink.f64_store(arg),
            ValType::I32 | ValType::V128 | ValType::Ref(_) => sink.i32_store(arg),
        };
    }

    /// Pushes the byte address of an element.
    pub(super) fn address(&mut self, index: Rep, shift: u32) {
        self.scalar(index, Type::U32);
        self.sink().i32_const(shift.cast_signed()).i32_shl();
    }

    /// What the lanes' addresses are made of. Indices in a vector are shifted all at once, and leave it in pairs: to
    /// extract a lane takes two instructions of the machine, to shift and cut one of an integer is one each.
    pub(super) fn places(&mut self, index: Rep, shift: u32) -> Places {
        let Rep::Lanes([indices, _]) = index else { return Places::Each { index, shift } };
        let bytes = self.local(ValType::V128);
        let pairs = [(); 2].map(|()| self.local(ValType::I64));
        let mut sink = self.sink();
        sink.local_get(indices).i32_const(shift.cast_signed()).i32x4_shl().local_set(bytes);
        // Of the first lane a float is the register itself.
        sink.local_get(bytes).f64x2_extract_lane(0).i64_reinterpret_f64().local_set(pairs[0]);
        sink.local_get(bytes).i64x2_extract_lane(1).local_set(pairs[1]);
        Places::Pairs(pairs)
    }

    /// Pushes the byte address of a lane's element.
    pub(super) fn lane_address(&mut self, places: Places, lane: u32) {
        match places {
            Places::Each { index, shift } => {
                self.lane(index, Type::U32, lane);
                if shift > 0 {
                    self.sink().i32_const(shift.cast_signed()).i32_shl();
                }
            }
            Places::Fields { .. } => unreachable!("a body loads them"),
            Places::Pairs(pairs) => {
                let mut sink = self.sink();
                sink.local_get(pairs[lane as usize / 2]);
                if lane % 2 == 1 {
                    sink.i64_const(32).i64_shr_u();
                }
                sink.i32_wrap_i64();
            }
        }
    }

    /// Stores a scalar at an index.
    pub(super) fn store_element(&mut self, index: Rep, value: Rep, ty: Type, arg: MemArg) {
        self.address(index, element_shift(ty));
        self.scalar(value, ty);
        self.store(ty, arg);
    }
}

/// Where each lane's element is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Places {
    /// Its index, to be shifted by so much still.
    Each { index: Rep, shift: u32 },
    /// The addresses of two lanes, and of the other two.
    Pairs([u32; 2]),
    /// What is in memory there, for each lane, to be shifted.
    Fields { field: Field, linear: Linear, shift: u32 },
}

/// Constant parts of indices below this become offsets of accesses. It keeps them, and constants
/// that stand for negative numbers, far inside the guard after a memory.
const OFFSET_MAX: u32 = 1 << 16;

/// The logarithm of an element's bytes.
pub(super) fn element_shift(ty: Type) -> u32 {
    ty.bytes().trailing_zeros()
}

/// The logarithm of the bytes of an array element of all lanes.
fn stride_shift(ty: Type) -> u32 {
    Layout::stride(ty).trailing_zeros()
}

impl Body<'_> {
    pub(super) fn buffer_arg(&self, buffer: Param, ty: Type, offset: u64) -> MemArg {
        self.context.layout.buffer_arg(buffer, ty, offset)
    }

    fn is_uniform(&self, value: Value) -> bool {
        self.variance(value) == Variance::Uniform
    }

    /// Runs `f` for each lane, in order, if it is active.
    pub(super) fn each_lane(&mut self, mut f: impl FnMut(&mut Self, u32)) {
        let bits = self.mask().map(|mask| {
            let bits = self.code.local(ValType::I32);
            self.code.sink().local_get(mask).i32x4_bitmask().local_set(bits);
            bits
        });
        for lane in 0..LANES {
            if let Some(bits) = bits {
                self.code.sink().local_get(bits).i32_const(1 << lane).i32_and();
                self.code.open_if();
            }
            f(self, lane);
            if bits.is_some() {
                self.code.close();
            }
        }
    }

    // Loads

    pub(super) fn load_scalar(&mut self, buffer: Param, index: Value, ty: Type) {
        let offset = self.element_address(index, ty);
        let arg = self.buffer_arg(buffer, ty, offset);
        self.code.load(ty, arg);
    }

    /// Pushes the byte address of an element, of lane 0 for linear indices, and gives what is to be
    /// added to it.
    fn element_address(&mut self, index: Value, ty: Type) -> u64 {
        let rep = self.rep(index);
        // An inactive lane's index may be anything, the first one's too.
        if self.form.exact[index.index()] && (self.masks.is_none() || rep.is_uniform()) {
            return self.exact_address(rep, element_shift(ty));
        }
        self.code.address(rep, element_shift(ty));
        0
    }

    /// Pushes the byte address of an element whose index did not wrap, and gives what is to be
    /// added to it: the constant part of the index.
    pub(super) fn exact_address(&mut self, index: Rep, shift: u32) -> u64 {
        let (local, by) = match index {
            Rep::Scalar(local) => (local, 0),
            // Without the constant it may be negative.
            Rep::Offset(local, by) | Rep::Linear { local, by, .. }
                if by == 0 || by < OFFSET_MAX && !self.differences.contains(&local) =>
            {
                (local, by)
            }
            Rep::Const(_) | Rep::Low(_) | Rep::Offset(..) | Rep::Linear { .. } | Rep::Lanes(_) => {
                self.code.address(index, shift);
                return 0;
            }
        };
        let bytes = self.part(BinaryOp::Shl, Part::Local(local), Part::Const(shift));
        self.code.get(bytes);
        u64::from(by) << shift
    }

    /// The same for `local + by`, where `local + first` is an index that did not wrap either, of the same
    /// row's first group: what lies behind it is reached from there.
    pub(super) fn anchored_address(&mut self, local: u32, by: u32, first: u32, shift: u32) -> u64 {
        let is_behind = |anchor: &u32| by.wrapping_sub(*anchor) < OFFSET_MAX;
        let anchors = self.anchors.entry(local).or_default();
        let anchor = anchors.iter().copied().find(is_behind).unwrap_or_else(|| {
            anchors.push(first);
            first
        });
        let index = match anchor {
            0 => local,
            _ => self.part(BinaryOp::Add, Part::Local(local), Part::Const(anchor)),
        };
        let bytes = self.part(BinaryOp::Shl, Part::Local(index), Part::Const(shift));
        self.code.get(bytes);
        u64::from(by.wrapping_sub(anchor)) << shift
    }

    pub(super) fn load_lanes(&mut self, target: Rep, buffer: Param, index: Value, ty: Type) {
        let rep = self.rep(index);
        let arg = self.buffer_arg(buffer, ty, 0);
        let Some(linear) = Linear::of(index, rep) else {
            return self.gather(target, ty, rep, element_shift(ty), |_| arg);
        };
        let Some(mask) = self.mask() else {
            return self.load_linear(target, buffer, linear, ty);
        };
        self.code.sink().local_get(mask).i32x4_all_true();
        self.code.open_if();
        self.load_linear(target, buffer, linear, ty);
        self.code.otherwise();
        self.gather(target, ty, rep, element_shift(ty), |_| arg);
        self.code.close();
    }

    /// Loads each lane from `index << shift` by its own argument.
    fn gather(
        &mut self,
        target: Rep,
        ty: Type,
        index: Rep,
        shift: u32,
        arg: impl Fn(u32) -> MemArg,
    ) {
        let index = self.safe_index(index);
        let Rep::Lanes(locals) = target else { return };
        let places = self.code.places(index, shift);
        for lane in 0..LANES {
            let (part, at) = if ty.is_wide() { (lane as usize / 2, lane % 2) } else { (0, lane) };
            self.code.lane_address(places, lane);
            let arg = arg(lane);
            let mut sink = self.code.sink();
            match (ty.is_wide(), at) {
                (false, 0) => sink.v128_load32_zero(arg),
                (true, 0) => sink.v128_load64_zero(arg),
                (false, _) => sink.local_get(locals[part]).v128_load32_lane(arg, at as u8),
                (true, _) => sink.local_get(locals[part]).v128_load64_lane(arg, at as u8),
            };
            self.code.set(locals[part]);
        }
    }

    /// The index in active lanes, 0 in others.
    pub(super) fn safe_index(&mut self, index: Rep) -> Rep {
        let (Some(mask), false) = (self.mask(), index.is_uniform()) else { return index };
        let safe = self.fresh(Type::U32, false);
        self.lanes_into(safe, Type::U32, |code, part| {
            code.lanes(index, Type::U32, part);
            code.sink().local_get(mask).v128_and();
        });
        safe
    }

    // Stores

    pub(super) fn store(&mut self, buffer: Param, index: Value, value: Value) {
        let ty = self.function.ty(value);
        let arg = self.buffer_arg(buffer, ty, 0);
        if let Some(places) = self.field_places(index, element_shift(ty)) {
            let rep = self.rep(value);
            return self.each_lane(|body, lane| body.store_lane(places, rep, ty, arg, lane));
        }
        let uniform = self.is_uniform(index);
        let (at, rep) = (self.rep(index), self.rep(value));
        match (at, self.mask()) {
            _ if uniform && rep.is_uniform() => {
                let offset = self.element_address(index, ty);
                let arg = self.buffer_arg(buffer, ty, offset);
                self.code.scalar(rep, ty);
                self.code.store(ty, arg);
            }
            // All lanes store there: the last one's value stays.
            (_, None) if uniform => {
                let places = Places::Each { index: at, shift: element_shift(ty) };
                self.store_lane(places, rep, ty, arg, LANES - 1);
            }
            (Rep::Linear { .. }, mask) => self.store_lanes(buffer, index, rep, ty, mask),
            (Rep::Const(_) | Rep::Scalar(_) | Rep::Low(_) | Rep::Offset(..) | Rep::Lanes(_), _) => {
                let places = self.code.places(at, element_shift(ty));
                self.each_lane(|body, lane| body.store_lane(places, rep, ty, arg, lane));
            }
        }
    }

    fn store_lanes(
        &mut self,
        buffer: Param,
        index: Value,
        value: Rep,
        ty: Type,
        mask: Option<u32>,
    ) {
        let (at, arg) = (self.rep(index), self.buffer_arg(buffer, ty, 0));
        let Some(linear) = Linear::of(index, at) else { return };
        let Some(mask) = mask else {
            return self.store_linear(buffer, linear, value, ty);
        };
        self.code.sink().local_get(mask).i32x4_all_true();
        self.code.open_if();
        self.store_linear(buffer, linear, value, ty);
        self.code.otherwise();
        let places = self.code.places(at, element_shift(ty));
        self.each_lane(|body, lane| body.store_lane(places, value, ty, arg, lane));
        self.code.close();
    }

    fn store_lane(&mut self, places: Places, value: Rep, ty: Type, arg: MemArg, lane: u32) {
        self.lane_address(places, lane);
        self.code.lane(value, ty, lane);
        self.code.store(ty, arg);
    }

    // Arrays in scratch memory

    pub(super) fn scratch_load_scalar(&mut self, offset: u64, index: Value, ty: Type) {
        let arg = self.context.layout.scratch_arg(offset);
        self.code.address(self.rep(index), stride_shift(ty));
        self.code.load(ty, arg);
    }

    pub(super) fn scratch_load_lanes(&mut self, target: Rep, offset: u64, index: Value, ty: Type) {
        let layout = self.context.layout;
        let uniform = self.is_uniform(index);
        let index = self.rep(index);
        if uniform {
            return self.lanes_into(target, ty, |code, part| {
                code.address(index, stride_shift(ty));
                code.sink().v128_load(layout.scratch_arg(offset + 16 * part as u64));
            });
        }
        let lane_arg = |lane: u32| layout.scratch_arg(offset + lane_offset(ty, lane));
        self.gather(target, ty, index, stride_shift(ty), lane_arg);
    }

    pub(super) fn scratch_store(&mut self, offset: u64, index: Value, value: Value) {
        let layout = self.context.layout;
        let ty = self.function.ty(value);
        let uniform = self.is_uniform(index);
        let (index, value) = (self.rep(index), self.rep(value));
        if self.form.width == Width::Scalar {
            self.code.address(index, stride_shift(ty));
            self.code.scalar(value, ty);
            return self.code.store(ty, layout.scratch_arg(offset));
        }
        if uniform {
            return self.scratch_store_all(offset, index, value, ty);
        }
        let places = self.code.places(index, stride_shift(ty));
        self.each_lane(|body, lane| {
            body.code.lane_address(places, lane);
            if ty == Type::Bool {
                // In memory, too, a lane's truth value is a mask.
                body.code.i32_const(0);
                body.code.lane(value, ty, lane);
                body.code.sink().i32_sub();
            } else {
                body.code.lane(value, ty, lane);
            }
            body.code.store(ty, layout.scratch_arg(offset + lane_offset(ty, lane)));
        });
    }

    fn scratch_store_all(&mut self, offset: u64, index: Rep, value: Rep, ty: Type) {
        for part in 0..parts(ty) {
            let arg = self.context.layout.scratch_arg(offset + 16 * part as u64);
            self.code.address(index, stride_shift(ty));
            self.code.lanes(value, ty, part);
            if let Some(mask) = self.mask() {
                self.code.address(index, stride_shift(ty));
                self.code.sink().v128_load(arg);
                self.code.mask_for(mask, ty, part);
                self.code.lane_select();
            }
            self.code.sink().v128_store(arg);
        }
    }
}

/// Bytes from an array element to one of its lanes.
fn lane_offset(ty: Type, lane: u32) -> u64 {
    u64::from(lane) * ty.bytes() as u64
}
