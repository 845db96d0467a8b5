//! Random stencils: each point combines elements around it, on one axis or two, and takes those beyond the border
//! in one of a few ways. None can fail, and none has a check: what they access is within by construction.

use super::Random;
use crate::exec::Grid;
use crate::interp::Data;
use crate::ir::builder::Builder;
use crate::ir::{Access, Axis, BinaryOp, Extent, Inst, Kernel, Local, Param, Stmt, Type, Value};
use crate::verify::verify;

/// How far a stencil reaches at most.
const REACH_MAX: usize = 3;

/// What becomes of elements beyond the border: the name of the kernel, too.
const BORDERS: [&str; 5] = ["guarded", "clamped", "signed", "padded", "periodic"];

/// A stencil over elements of a 32-bit type, its arguments, and its grid.
pub fn stencil_kernel(rng: &mut Random, ty: Type) -> (Kernel, Vec<Data>, Grid) {
    let border = *rng.pick(&BORDERS);
    let axes = 1 + rng.below(2);
    let reach = rng.below(REACH_MAX + 1) as u32;
    let mut grid: Grid = [1; 3];
    for extent in &mut grid[..axes] {
        *extent = 1 + rng.below(if axes == 1 { 200 } else { 40 }) as u32;
    }
    let mut b = Builder::new(border);
    let sides = ["w", "h"].map(|name| b.scalar(name, Type::U32));
    let x = b.buffer("x", ty, Access::Read);
    let y = b.buffer("y", ty, Access::ReadWrite);
    let extents = sides.map(|side| b.argument(side));
    let ids: Vec<Value> = [Axis::X, Axis::Y][..axes].iter().map(|axis| b.id(*axis)).collect();
    let at = match ids[..] {
        [column, row] => {
            let start = b.binary(BinaryOp::Mul, row, extents[0]);
            b.binary(BinaryOp::Add, start, column)
        }
        _ => ids[0],
    };
    let sum = b.local(ty, None);
    let loops = border != "guarded" && border != "periodic" && rng.chance(40);
    let mut writer = Writer { rng, border, reach, extents, ids, at, x, ty, sum };
    if border == "guarded" {
        writer.guarded(&mut b);
    } else if loops {
        writer.looped(&mut b);
    } else {
        writer.taps(&mut b);
    }
    let result = b.get(sum);
    b.stmt(Stmt::Store(y, at, result));
    let kernel = finish(b, sides[..axes].iter().map(|side| Extent::Scalar(*side)).collect());

    let points = grid.iter().product::<u32>() as usize;
    let margin = if border == "padded" { 2 * reach } else { 0 };
    let elements: u32 = grid[..axes].iter().map(|extent| extent + margin).product();
    let word = |rng: &mut Random| match ty {
        Type::F32 => (rng.below(1 << 20) as f32 - 5e5).to_bits(),
        _ => rng.next_u32(),
    };
    let values = (0..elements).map(|_| word(rng)).collect();
    let args = vec![
        Data::Scalar(grid[0].into()),
        Data::Scalar(grid[1].into()),
        Data::Narrow(values),
        Data::Narrow(vec![0xdead_beef; points]),
    ];
    (kernel, args, grid)
}

fn finish(b: Builder, grid: Vec<Extent>) -> Kernel {
    let mut entry = b.finish();
    entry.compact();
    let kernel = Kernel {
        entry,
        helpers: Vec::new(),
        grid,
        collective: None,
        workgroup: None,
        contract: false,
        files: Vec::new(),
    };
    verify(&kernel).expect("stencils keep the rules of the IR");
    kernel
}

struct Writer<'r> {
    rng: &'r mut Random,
    border: &'static str,
    reach: u32,
    extents: [Value; 2],
    ids: Vec<Value>,
    /// Where the point itself is.
    at: Value,
    x: Param,
    ty: Type,
    sum: Local,
}

impl Writer<'_> {
    /// Points that are far enough from the border look around, others at themselves.
    fn guarded(&mut self, b: &mut Builder) {
        let reach = b.constant(self.reach);
        let mut inside = b.constant(true);
        for (id, extent) in self.ids.clone().into_iter().zip(self.extents) {
            let low = b.binary(BinaryOp::Ge, id, reach);
            let next = b.binary(BinaryOp::Add, id, reach);
            let high = b.binary(BinaryOp::Lt, next, extent);
            let both = b.binary(BinaryOp::And, low, high);
            inside = b.binary(BinaryOp::And, inside, both);
        }
        b.open();
        self.taps(b);
        let then = b.close();
        b.open();
        self.tap(b, self.at);
        let otherwise = b.close();
        b.stmt(Stmt::If { condition: inside, then, otherwise });
    }

    /// A few elements around.
    fn taps(&mut self, b: &mut Builder) {
        for _ in 0..1 + self.rng.below(9) {
            let offsets: Vec<u32> = self
                .ids
                .iter()
                .map(|_| self.rng.below(2 * self.reach as usize + 1) as u32)
                .collect();
            let index = if self.border == "guarded" {
                self.beside(b, &offsets)
            } else {
                let offsets: Vec<Value> = offsets.iter().map(|o| b.constant(*o)).collect();
                self.index(b, &offsets)
            };
            self.tap(b, index);
        }
    }

    /// All elements around, or every second, with a loop for each axis.
    fn looped(&mut self, b: &mut Builder) {
        let start = b.constant(self.rng.below(self.reach as usize + 1) as u32);
        let end = b.constant(2 * self.reach + 1);
        let step = 1 + self.rng.below(2) as u32;
        let mut counters = Vec::new();
        for _ in &self.ids {
            counters.push(b.counter(Type::U32));
            b.open();
        }
        let index = self.index(b, &counters);
        self.tap(b, index);
        for counter in counters.into_iter().rev() {
            let body = b.close();
            b.stmt(Stmt::For { counter, start, end, step, body });
        }
    }

    /// Combines an element, so that which it was shows, and when.
    fn tap(&mut self, b: &mut Builder, index: Value) {
        let value = b.value(self.ty, Inst::Load(self.x, index));
        let factor = match self.ty {
            Type::F32 => b.constant(0.75f32),
            _ => b.constant(0x9e37_79b1_u32),
        };
        let sum = b.get(self.sum);
        let sum = b.binary(BinaryOp::Mul, sum, factor);
        let sum = b.binary(BinaryOp::Add, sum, value);
        b.set(self.sum, sum);
    }

    /// An element beside the point, from where that is; offsets count from the furthest before.
    fn beside(&mut self, b: &mut Builder, offsets: &[u32]) -> Value {
        let mut index = self.at;
        for (axis, offset) in offsets.iter().enumerate() {
            let is_before = *offset < self.reach;
            let op = if is_before { BinaryOp::Sub } else { BinaryOp::Add };
            let mut by = b.constant(offset.abs_diff(self.reach));
            if axis == 1 {
                by = b.binary(BinaryOp::Mul, by, self.extents[0]);
            }
            index = b.binary(op, index, by);
        }
        index
    }

    /// An element whose offsets count from the furthest before.
    fn index(&mut self, b: &mut Builder, offsets: &[Value]) -> Value {
        let mut places = Vec::new();
        for (axis, offset) in offsets.iter().enumerate() {
            places.push(self.along(b, axis, *offset));
        }
        let [column, row] = places[..] else { return places[0] };
        let mut stride = self.extents[0];
        if self.border == "padded" {
            let margin = b.constant(2 * self.reach);
            stride = b.binary(BinaryOp::Add, stride, margin);
        }
        let start = match self.rng.chance(50) {
            true => b.binary(BinaryOp::Mul, row, stride),
            false => b.binary(BinaryOp::Mul, stride, row),
        };
        b.binary(BinaryOp::Add, start, column)
    }

    fn along(&mut self, b: &mut Builder, axis: usize, offset: Value) -> Value {
        let (id, extent) = (self.ids[axis], self.extents[axis]);
        let reach = b.constant(self.reach);
        let ahead = b.binary(BinaryOp::Add, id, offset);
        match self.border {
            // ((id + offset).max(reach) - reach).min(extent - 1), or the bounds first.
            "clamped" if self.rng.chance(50) => {
                let low = b.binary(BinaryOp::Max, ahead, reach);
                let own = b.binary(BinaryOp::Sub, low, reach);
                let one = b.constant(1u32);
                let last = b.binary(BinaryOp::Sub, extent, one);
                b.binary(BinaryOp::Min, own, last)
            }
            "clamped" => {
                let one = b.constant(1u32);
                let last = b.binary(BinaryOp::Add, extent, reach);
                let last = b.binary(BinaryOp::Sub, last, one);
                let low = b.binary(BinaryOp::Max, reach, ahead);
                let within = b.binary(BinaryOp::Min, low, last);
                b.binary(BinaryOp::Sub, within, reach)
            }
            // (id as i32 + offset as i32 - reach as i32).max(0).min(extent as i32 - 1) as u32
            "signed" => {
                let ahead = b.cast(ahead, Type::I32);
                let reach = b.constant(self.reach as i32);
                let (zero, one) = (b.constant(0i32), b.constant(1i32));
                let own = b.binary(BinaryOp::Sub, ahead, reach);
                let low = b.binary(BinaryOp::Max, own, zero);
                let extent = b.cast(extent, Type::I32);
                let last = b.binary(BinaryOp::Sub, extent, one);
                let within = b.binary(BinaryOp::Min, low, last);
                b.cast(within, Type::U32)
            }
            // (id + offset + extent * 4 - reach) % extent
            "periodic" => {
                let four = b.constant(4u32);
                let times = b.binary(BinaryOp::Mul, extent, four);
                let more = b.binary(BinaryOp::Add, ahead, times);
                let own = b.binary(BinaryOp::Sub, more, reach);
                b.binary(BinaryOp::Rem, own, extent)
            }
            // There are as many elements more.
            _ => ahead,
        }
    }
}
