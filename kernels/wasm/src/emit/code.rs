//! The code of one wasm function while it is written: instructions, locals, open control frames,
//! and how a value of the IR is held in wasm locals.

use crossover_kernels::ir::{Const, Span, Type};
use wasm_encoder::{BlockType, Function, Ieee32, Ieee64, InstructionSink, ValType};

/// Lanes of a group: neighbours along x that one passage of the vector body computes together.
pub(super) const LANES: u32 = 4;

/// How a value is held.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rep {
    /// Written out where it is used.
    Const(Const),
    /// One wasm local of the scalar type: the same for all lanes. `bool` is an `i32`, 0 or 1.
    Scalar(u32),
    /// Lane 0 of a `v128` local: a float that is the same for all lanes.
    Low(u32),
    /// An `i32` local plus a constant, wrapping: the same for all lanes.
    Offset(u32, u32),
    /// An `i32` local plus a constant, wrapping: lane 0 of values a stride apart.
    Linear { local: u32, by: u32, stride: i32 },
    /// `v128` locals: 32-bit types use the first, 64-bit ones hold lanes 0 and 1, then 2 and 3.
    /// `bool` is all ones or all zeros in 32 bits.
    Lanes([u32; 2]),
}

impl Rep {
    /// Whether all lanes hold the same value.
    pub(super) fn is_uniform(self) -> bool {
        match self {
            Rep::Const(_) | Rep::Scalar(_) | Rep::Low(_) | Rep::Offset(..) => true,
            Rep::Linear { .. } | Rep::Lanes(_) => false,
        }
    }
}

/// What a lane of a linear value is more than its local.
pub(super) fn lane_of(by: u32, stride: i32, lane: u32) -> u32 {
    by.wrapping_add(lane.wrapping_mul(stride.cast_unsigned()))
}

/// A control frame to branch to: how many frames stand around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Label(u32);

/// A function under construction.
#[derive(Debug)]
pub(super) struct Code {
    bytes: Vec<u8>,
    params: u32,
    locals: Vec<ValType>,
    /// Locals of a finished body, to be used again.
    free: Vec<u32>,
    depth: u32,
    /// Where in the bytes the code for a place in the source begins.
    lines: Vec<(usize, Span)>,
}

/// A finished function.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) function: Function,
    /// Bytes from the start of the function to the code for a place in the source, in order.
    pub(crate) lines: Vec<(usize, Span)>,
}

/// The wasm type of a value of one lane.
pub(super) fn val_type(ty: Type) -> ValType {
    match ty {
        Type::Bool | Type::I32 | Type::U32 => ValType::I32,
        Type::I64 | Type::U64 => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
    }
}

/// `v128` values that hold four lanes of the type.
pub(super) fn parts(ty: Type) -> usize {
    if ty.is_wide() { 2 } else { 1 }
}

/// Of two vectors of 64-bit lanes, the low 32 bits of each.
const EVEN_WORDS: [u8; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27];
/// The upper half of a vector, moved down.
const HIGH_HALF: [u8; 16] = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
/// The lower halves of two vectors.
const LOW_HALVES: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];

impl Code {
    /// An empty function of so many parameters.
    pub(super) fn new(params: u32) -> Code {
        let (locals, free, lines) = (Vec::new(), Vec::new(), Vec::new());
        Code { bytes: Vec::new(), params, locals, free, depth: 0, lines }
    }

    /// The function for the code section.
    pub(super) fn finish(mut self) -> Written {
        self.sink().end();
        let mut function = Function::new_with_locals_types(self.locals);
        let head = function.byte_len();
        function.raw(self.bytes);
        let lines = self.lines.into_iter().map(|(at, span)| (head + at, span)).collect();
        Written { function, lines }
    }

    /// What follows is for this place in the source.
    pub(super) fn at(&mut self, span: Span) {
        let same = |(_, last): &(usize, Span)| (last.file, last.line) == (span.file, span.line);
        if span.line > 0 && !self.lines.last().is_some_and(same) {
            self.lines.push((self.bytes.len(), span));
        }
    }

    /// Appends instructions.
    pub(super) fn sink(&mut self) -> InstructionSink<'_> {
        InstructionSink::new(&mut self.bytes)
    }

    // Locals

    /// A wasm local of its own.
    pub(super) fn local(&mut self, ty: ValType) -> u32 {
        let params = self.params;
        let fits = |&at: &u32| self.locals[(at - params) as usize] == ty;
        if let Some(at) = self.free.iter().rposition(fits) {
            return self.free.swap_remove(at);
        }
        self.locals.push(ty);
        params + self.locals.len() as u32 - 1
    }

    /// What to give [`Code::release`] later.
    pub(super) fn mark(&self) -> Vec<u32> {
        let end = self.params + self.locals.len() as u32;
        let mut held: Vec<u32> = (0..end).collect();
        held.retain(|local| !self.free.contains(local));
        held
    }

    /// Frees the locals that were not yet held at the mark.
    pub(super) fn release(&mut self, mark: &[u32]) {
        let end = self.params + self.locals.len() as u32;
        let held: std::collections::HashSet<u32> = mark.iter().copied().collect();
        self.free = (self.params..end).rev().filter(|local| !held.contains(local)).collect();
    }

    /// Locals for a value of all lanes.
    pub(super) fn lanes_local(&mut self, ty: Type) -> [u32; 2] {
        let low = self.local(ValType::V128);
        let high = if ty.is_wide() { self.local(ValType::V128) } else { low };
        [low, high]
    }

    pub(super) fn get(&mut self, local: u32) {
        self.sink().local_get(local);
    }

    pub(super) fn set(&mut self, local: u32) {
        self.sink().local_set(local);
    }

    // Control

    pub(super) fn open_block(&mut self) -> Label {
        self.sink().block(BlockType::Empty);
        self.opened()
    }

    pub(super) fn open_loop(&mut self) -> Label {
        self.sink().loop_(BlockType::Empty);
        self.opened()
    }

    pub(super) fn open_if(&mut self) -> Label {
        self.sink().if_(BlockType::Empty);
        self.opened()
    }

    pub(super) fn otherwise(&mut self) {
        self.sink().else_();
    }

    pub(super) fn close(&mut self) {
        self.sink().end();
        self.depth -= 1;
    }

    pub(super) fn branch(&mut self, label: Label) {
        let relative = self.depth - label.0 - 1;
        self.sink().br(relative);
    }

    pub(super) fn branch_if(&mut self, label: Label) {
        let relative = self.depth - label.0 - 1;
        self.sink().br_if(relative);
    }

    fn opened(&mut self) -> Label {
        self.depth += 1;
        Label(self.depth - 1)
    }

    // Values

    pub(super) fn i32_const(&mut self, value: u32) {
        self.sink().i32_const(value.cast_signed());
    }

    /// Pushes a constant of one lane.
    pub(super) fn scalar_const(&mut self, c: Const) {
        let mut sink = self.sink();
        match val_type(c.ty) {
            ValType::I64 => sink.i64_const(c.bits.cast_signed()),
            ValType::F32 => sink.f32_const(Ieee32::new(c.bits as u32)),
            ValType::F64 => sink.f64_const(Ieee64::new(c.bits)),
            ValType::I32 | ValType::V128 | ValType::Ref(_) => {
                sink.i32_const((c.bits as u32).cast_signed())
            }
        };
    }

    /// Pushes a constant in every lane.
    pub(super) fn lanes_const(&mut self, c: Const) {
        let bits = u128::from(if c.ty == Type::Bool && c.bits == 1 {
            u64::from(u32::MAX)
        } else {
            c.bits
        });
        let all = if c.ty.is_wide() {
            bits | bits << 64
        } else {
            bits | bits << 32 | bits << 64 | bits << 96
        };
        self.sink().v128_const(all.cast_signed());
    }

    /// Pushes lane 0, which is every lane of a uniform value.
    pub(super) fn scalar(&mut self, rep: Rep, ty: Type) {
        match rep {
            Rep::Const(c) => self.scalar_const(c),
            Rep::Scalar(local) => self.get(local),
            Rep::Offset(local, by) | Rep::Linear { local, by, .. } => self.get_plus(local, by),
            Rep::Low(_) | Rep::Lanes(_) => self.lane(rep, ty, 0),
        }
    }

    /// Pushes an `i32` local plus a constant.
    fn get_plus(&mut self, local: u32, by: u32) {
        self.get(local);
        if by != 0 {
            self.i32_const(by);
            self.sink().i32_add();
        }
    }

    /// Pushes one lane as a scalar.
    pub(super) fn lane(&mut self, rep: Rep, ty: Type, lane: u32) {
        match rep {
            Rep::Const(c) => self.scalar_const(c),
            Rep::Scalar(local) => self.get(local),
            Rep::Offset(local, by) => self.get_plus(local, by),
            Rep::Linear { local, by, stride } => self.get_plus(local, lane_of(by, stride, lane)),
            Rep::Low(local) => {
                self.get(local);
                self.extract_lane(ty, 0);
            }
            Rep::Lanes(locals) => {
                self.get(locals[if ty.is_wide() { lane as usize / 2 } else { 0 }]);
                self.extract_lane(ty, lane);
            }
        }
    }

    fn extract_lane(&mut self, ty: Type, lane: u32) {
        let lane = lane as u8;
        match ty {
            Type::Bool => self.sink().i32x4_extract_lane(lane).i32_const(1).i32_and(),
            Type::I32 | Type::U32 => self.sink().i32x4_extract_lane(lane),
            Type::F32 => self.sink().f32x4_extract_lane(lane),
            Type::I64 | Type::U64 => self.sink().i64x2_extract_lane(lane % 2),
            Type::F64 => self.sink().f64x2_extract_lane(lane % 2),
        };
    }

    /// Pushes one `v128` of a value of all lanes.
    pub(super) fn lanes(&mut self, rep: Rep, ty: Type, part: usize) {
        match rep {
            Rep::Const(c) => self.lanes_const(c),
            Rep::Scalar(_) | Rep::Low(_) => {
                self.scalar(rep, ty);
                self.splat(ty);
            }
            Rep::Offset(local, by) => {
                self.get_plus(local, by);
                self.splat(ty);
            }
            Rep::Linear { local, by, stride } => {
                self.get(local);
                let lane = |at: u32| u128::from(lane_of(by, stride, at));
                let offsets = (0..LANES).rev().fold(0, |all, at| all << 32 | lane(at));
                self.sink().i32x4_splat().v128_const(offsets.cast_signed()).i32x4_add();
            }
            Rep::Lanes(locals) => self.get(locals[part]),
        }
    }

    /// The scalar on the stack, in every lane.
    pub(super) fn splat(&mut self, ty: Type) {
        match ty {
            // 0 − 1 is all ones.
            Type::Bool => self.sink().i32x4_splat().i32x4_neg(),
            Type::I32 | Type::U32 => self.sink().i32x4_splat(),
            Type::F32 => self.sink().f32x4_splat(),
            Type::I64 | Type::U64 => self.sink().i64x2_splat(),
            Type::F64 => self.sink().f64x2_splat(),
        };
    }

    /// The vector and the scalar on the stack, combined: the scalar becomes the lane.
    pub(super) fn replace_lane(&mut self, ty: Type, lane: u32) {
        let lane = lane as u8;
        match ty {
            Type::Bool | Type::I32 | Type::U32 => self.sink().i32x4_replace_lane(lane),
            Type::F32 => self.sink().f32x4_replace_lane(lane),
            Type::I64 | Type::U64 => self.sink().i64x2_replace_lane(lane % 2),
            Type::F64 => self.sink().f64x2_replace_lane(lane % 2),
        };
    }

    /// Pushes a vector of the part's lanes, each pushed by `lane` as a scalar.
    pub(super) fn assemble(&mut self, ty: Type, part: usize, mut lane: impl FnMut(&mut Code, u32)) {
        let count = LANES / parts(ty) as u32;
        let first = part as u32 * count;
        lane(self, first);
        self.splat(ty);
        for at in first + 1..first + count {
            lane(self, at);
            self.replace_lane(ty, at);
        }
    }

    /// Pushes a mask of 32-bit lanes as a mask for the part of a value of type `ty`.
    pub(super) fn mask_for(&mut self, mask: u32, ty: Type, part: usize) {
        self.get(mask);
        self.widen_mask(ty, part);
    }

    /// Chooses between two vectors by the mask on the stack, whose lanes are all ones or all zeros:
    /// for such masks the relaxed instruction has one result, and is one instruction where
    /// `v128.bitselect` is three.
    pub(super) fn lane_select(&mut self) {
        self.sink().i32x4_relaxed_laneselect();
    }

    /// The mask on the stack, made as wide as the lanes of `ty`.
    pub(super) fn widen_mask(&mut self, ty: Type, part: usize) {
        match (ty.is_wide(), part) {
            (false, _) => {}
            (true, 0) => {
                self.sink().i64x2_extend_low_i32x4_s();
            }
            (true, _) => {
                self.sink().i64x2_extend_high_i32x4_s();
            }
        }
    }

    /// The two vectors of 64-bit lanes on the stack, cut to 32 bits a lane.
    pub(super) fn narrow(&mut self) {
        self.sink().i8x16_shuffle(EVEN_WORDS);
    }

    /// The lower halves of the two vectors on the stack.
    pub(super) fn join_low_halves(&mut self) {
        self.sink().i8x16_shuffle(LOW_HALVES);
    }

    /// Pushes a vector of 32-bit lanes with the lanes of the part in its lower half.
    pub(super) fn half(&mut self, rep: Rep, ty: Type, part: usize) {
        self.lanes(rep, ty, 0);
        if part == 1 {
            self.lanes(rep, ty, 0);
            self.sink().i8x16_shuffle(HIGH_HALF);
        }
    }
}
