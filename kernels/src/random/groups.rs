//! Random kernels with workgroups: shared arrays, barriers under uniform control flow, variables and
//! arrays that live across them, invocations that return early.
//!
//! What makes a result depend on nothing but the arguments: of two shared arrays, invocations read
//! the one anywhere and write their own element of the other; behind a barrier the two change
//! places. Atomic counters are added to before a barrier and read after it. Everything that control
//! flow around barriers depends on comes from arguments, group numbers and constants.

use super::Random;
use crate::exec::Grid;
use crate::interp::Data;
use crate::ir::builder::Builder;
use crate::ir::{
    Access, AtomicOp, Axis, BinaryOp, Extent, Inst, Kernel, Local, Param, ParamDef, ParamKind,
    Span, Stmt, Type, Value,
};
use crate::verify::verify;

/// Elements of the array of atomic counters.
const COUNTERS: u32 = 5;

/// Elements of each invocation's own array.
const ARRAY: u32 = 3;

/// How deep control flow around barriers is nested.
const DEPTH_MAX: usize = 2;

/// A kernel, its arguments, and the grid to run it on.
pub fn group_kernel(rng: &mut Random) -> (Kernel, Vec<Data>, Grid) {
    let axes = 1 + rng.below(3);
    let mut size = [1; 3];
    for side in &mut size[..axes] {
        *side = match axes {
            1 => *rng.pick(&[1, 2, 3, 4, 7, 8, 16, 30, 64]),
            _ => *rng.pick(&[1, 2, 3, 4, 5, 8]),
        };
    }
    let mut extents: Grid = [1; 3];
    for (extent, size) in extents[..axes].iter_mut().zip(size) {
        *extent = rng.below(3 * size as usize + 2) as u32;
    }
    let mut writer = Writer::new(rng, axes, size);
    writer.body();
    let kernel = writer.finish();
    let whole = kernel.whole_groups(extents);
    let points = whole.iter().product::<u32>() as usize;
    let values = (0..points + 1).map(|_| rng.next_u32() >> rng.below(32)).collect();
    let args = vec![
        Data::Scalar(extents[0].into()),
        Data::Scalar((rng.below(4) as u32).into()),
        Data::Narrow(values),
        Data::Narrow(vec![0xdead_beef; points]),
    ];
    (kernel, args, extents)
}

struct Writer<'r> {
    rng: &'r mut Random,
    b: Builder,
    axes: usize,
    size: [u32; 3],
    /// The arguments: an extent, a small number, values to read, and the output.
    scalars: [Param; 2],
    input: Param,
    output: Param,
    /// Read and written, in turn.
    tiles: [Param; 2],
    counters: Param,
    variables: Vec<Local>,
    array: Local,
    /// The same for all invocations of a group.
    uniform: Vec<Value>,
    /// Assigned where all of a group are together.
    limit: Local,
    /// Any values.
    values: Vec<Value>,
    /// The invocation's number in its group, and in the grid.
    number: Value,
    at: Value,
}

impl<'r> Writer<'r> {
    fn new(rng: &'r mut Random, axes: usize, size: [u32; 3]) -> Writer<'r> {
        let mut b = Builder::new("groups");
        let scalars = ["n", "k"].map(|name| b.scalar(name, Type::U32));
        let input = b.buffer("x", Type::U32, Access::Read);
        let output = b.buffer("y", Type::U32, Access::ReadWrite);
        let width: u32 = size.iter().product();
        let mut shared = |name: &str, len: u32, atomic: bool| {
            let kind = ParamKind::Shared { element: Type::U32, len, atomic };
            b.param(ParamDef { name: name.to_owned(), kind })
        };
        let longer = rng.below(4) as u32;
        let tiles = [shared("a", width, false), shared("b", width + longer, false)];
        let counters = shared("counts", COUNTERS, true);
        let variables = (0..3).map(|_| b.local(Type::U32, None)).collect();
        let array = b.local(Type::U32, Some(ARRAY));
        let limit = b.local(Type::U32, None);
        let (uniform, values) = (Vec::new(), Vec::new());
        let number = Value(0);
        Writer {
            rng,
            b,
            axes,
            size,
            scalars,
            input,
            output,
            tiles,
            counters,
            variables,
            array,
            uniform,
            limit,
            values,
            number,
            at: number,
        }
    }

    fn finish(self) -> Kernel {
        let mut entry = self.b.finish();
        entry.compact();
        let mut grid = vec![Extent::Scalar(self.scalars[0])];
        // The caller gives the grid: these only say how many axes it has.
        grid.resize(self.axes, Extent::Scalar(self.scalars[1]));
        let kernel = Kernel {
            entry,
            helpers: Vec::new(),
            grid,
            workgroup: Some(self.size),
            collective: None,
            contract: false,
            files: Vec::new(),
        };
        verify(&kernel).expect("random kernels keep the rules of the IR");
        kernel
    }

    fn body(&mut self) {
        self.places();
        self.phases(0);
        let last = self.operand();
        if self.rng.chance(40) {
            let limit = self.small(7);
            let condition = self.b.binary(BinaryOp::Lt, self.number, limit);
            self.b.if_else(condition, |b| b.stmt(Stmt::Return), |_| {});
            // Something that runs once for a group, behind a return that only some take.
            let value = self.uniform_operand();
            self.b.set(self.variables[0], value);
        }
        let mut sum = last;
        for local in self.variables.clone() {
            let value = self.b.get(local);
            sum = self.b.binary(BinaryOp::Add, sum, value);
        }
        for at in 0..ARRAY {
            let index = self.b.constant(at);
            let value = self.b.checked_get_element(self.array, index);
            sum = self.b.binary(BinaryOp::Xor, sum, value);
        }
        self.b.checked_store(self.output, self.at, sum);
    }

    /// The invocation's place, in the grid as it is enlarged to whole groups.
    fn places(&mut self) {
        let mut number = self.b.value(Type::U32, Inst::Local(Axis::X));
        let mut stride = self.size[0];
        for axis in Axis::ALL.into_iter().take(self.axes).skip(1) {
            let place = self.b.value(Type::U32, Inst::Local(axis));
            let by = self.b.constant(stride);
            let above = self.b.binary(BinaryOp::Mul, place, by);
            number = self.b.binary(BinaryOp::Add, above, number);
            stride *= self.size[axis.index()];
        }
        self.number = number;
        self.values.push(number);
        for axis in Axis::ALL.into_iter().take(self.axes) {
            let group = self.b.value(Type::U32, Inst::Group(axis));
            self.uniform.push(group);
            let extent = self.b.value(Type::U32, Inst::Extent(axis));
            self.uniform.push(extent);
            let id = self.b.id(axis);
            self.values.push(id);
        }
        for scalar in self.scalars {
            let value = self.b.argument(scalar);
            self.uniform.push(value);
        }
        // Every invocation writes an element of its own. With more axes than one the groups share
        // them; what they write there must then be the same: the output is left to the first.
        let id = self.b.id(Axis::X);
        self.at = if self.axes == 1 { id } else { self.place_in_grid() };
    }

    /// `group · width + number`, where groups are numbered by an argument that is the grid's.
    fn place_in_grid(&mut self) -> Value {
        // Groups along x of a grid of whole ones: ⌈n / size⌉, with n the extent along x.
        let n = self.b.argument(self.scalars[0]);
        let size = self.b.constant(self.size[0]);
        let less = self.b.constant(self.size[0] - 1);
        let up = self.b.binary(BinaryOp::Add, n, less);
        let columns = self.b.binary(BinaryOp::Div, up, size);
        let x = self.b.value(Type::U32, Inst::Group(Axis::X));
        let mut group = x;
        if self.axes > 1 {
            let y = self.b.value(Type::U32, Inst::Group(Axis::Y));
            let row = self.b.binary(BinaryOp::Mul, y, columns);
            group = self.b.binary(BinaryOp::Add, row, x);
        }
        if self.axes > 2 {
            // All planes write to the first one's place: the last would win. So only it writes.
            let z = self.b.value(Type::U32, Inst::Group(Axis::Z));
            let zero = self.b.constant(0u32);
            let other = self.b.binary(BinaryOp::Ne, z, zero);
            self.b.if_else(other, |b| b.stmt(Stmt::Return), |_| {});
        }
        let width = self.b.constant(self.size.iter().product::<u32>());
        let start = self.b.binary(BinaryOp::Mul, group, width);
        self.b.binary(BinaryOp::Add, start, self.number)
    }

    /// An even number of phases, so that the arrays are back in their roles.
    fn phases(&mut self, depth: usize) {
        for _ in 0..1 + self.rng.below(2) {
            let (values, uniform) = (self.values.clone(), self.uniform.clone());
            match self.rng.below(4) {
                0 if depth < DEPTH_MAX => self.counted(depth),
                1 if depth < DEPTH_MAX => self.decided(depth),
                2 if depth < DEPTH_MAX => self.repeated(depth),
                _ => {
                    self.phase();
                    self.phase();
                    continue;
                }
            }
            // What was computed inside is out of sight.
            self.values = values;
            self.uniform = uniform;
        }
    }

    fn counted(&mut self, depth: usize) {
        let start = self.b.constant(0u32);
        let end = self.small(4);
        let counter = self.b.counter(Type::U32);
        self.b.open();
        self.uniform.push(counter);
        self.phases(depth + 1);
        let body = self.b.close();
        self.b.stmt(Stmt::For { counter, start, end, step: 1, body });
    }

    fn decided(&mut self, depth: usize) {
        let (a, b) = (self.small(3), self.small(3));
        let condition = self.b.binary(BinaryOp::Lt, a, b);
        self.b.open();
        self.phases(depth + 1);
        let then = self.b.close();
        self.b.stmt(Stmt::If { condition, then, otherwise: Vec::new() });
    }

    /// A loop that a uniform variable ends.
    fn repeated(&mut self, depth: usize) {
        let start = self.small(4);
        self.b.set(self.limit, start);
        self.b.open();
        let left = self.b.get(self.limit);
        let zero = self.b.constant(0u32);
        let done = self.b.binary(BinaryOp::Eq, left, zero);
        self.b.if_else(done, |b| b.stmt(Stmt::Break), |_| {});
        self.uniform.push(left);
        // The variable is this loop's: phases inside must not change it.
        let deepest = DEPTH_MAX.max(depth + 1);
        self.phases(deepest);
        let one = self.b.constant(1u32);
        let less = self.b.binary(BinaryOp::Sub, left, one);
        self.b.set(self.limit, less);
        let body = self.b.close();
        self.b.stmt(Stmt::Loop(body));
    }

    /// Reads of one array, work, a write of the other, and a barrier.
    fn phase(&mut self) {
        let kept = self.values.len();
        for _ in 0..1 + self.rng.below(4) {
            self.step();
        }
        if self.rng.chance(30) {
            self.count();
        }
        let value = self.operand();
        self.b.checked_store(self.tiles[1], self.number, value);
        self.barrier();
        self.tiles.swap(0, 1);
        // Values from before the barrier may be used after it.
        let drop = self.rng.below(3);
        let keep = self.values.len().saturating_sub(drop).max(kept);
        self.values.truncate(keep);
    }

    fn step(&mut self) {
        match self.rng.below(6) {
            0 | 1 => {
                let index = self.index(self.tiles[0]);
                let value = self.b.checked_load(self.tiles[0], index);
                self.values.push(value);
            }
            2 => {
                let (a, b) = (self.operand(), self.operand());
                let ops = [BinaryOp::Add, BinaryOp::Mul, BinaryOp::Xor, BinaryOp::Min];
                let op = *self.rng.pick(&ops);
                let value = self.b.binary(op, a, b);
                self.values.push(value);
            }
            3 => {
                let local = *self.rng.pick(&self.variables);
                let old = self.b.get(local);
                let by = self.operand();
                let new = self.b.binary(BinaryOp::Add, old, by);
                let (a, b) = (self.operand(), self.operand());
                let condition = self.b.binary(BinaryOp::Le, a, b);
                self.b.if_else(condition, |b| b.set(local, new), |_| {});
                self.values.push(old);
            }
            4 => {
                let length = self.b.constant(ARRAY);
                let any = self.operand();
                let index = self.b.binary(BinaryOp::Rem, any, length);
                let old = self.b.checked_get_element(self.array, index);
                let by = self.operand();
                let new = self.b.binary(BinaryOp::Xor, old, by);
                self.b.checked_set_element(self.array, index, new);
                self.values.push(old);
            }
            _ => {
                let index = self.operand();
                let length = self.b.len(self.input);
                let index = self.b.checked_binary(BinaryOp::Rem, index, length);
                let value = self.b.checked_load(self.input, index);
                self.values.push(value);
            }
        }
    }

    /// Counts something, and looks at a counter behind a barrier.
    fn count(&mut self) {
        let length = self.b.constant(COUNTERS);
        let any = self.operand();
        let index = self.b.binary(BinaryOp::Rem, any, length);
        let by = self.operand();
        self.b.check_bounds(self.counters, index);
        let add = Inst::Atomic(AtomicOp::Add, self.counters, index, by);
        self.b.value(Type::U32, add);
        self.barrier();
        self.b.check_bounds(self.counters, index);
        let seen = self.b.value(Type::U32, Inst::AtomicLoad(self.counters, index));
        self.values.push(seen);
        self.barrier();
    }

    fn barrier(&mut self) {
        self.b.stmt(Stmt::Barrier(Span::default()));
    }

    /// An index into an array that every invocation of the group has written.
    fn index(&mut self, array: Param) -> Value {
        let any = self.operand();
        let length = self.b.len(array);
        self.b.binary(BinaryOp::Rem, any, length)
    }

    fn operand(&mut self) -> Value {
        if self.rng.chance(25) {
            return self.uniform_operand();
        }
        *self.rng.pick(&self.values)
    }

    fn uniform_operand(&mut self) -> Value {
        *self.rng.pick(&self.uniform)
    }

    /// A uniform number below `n`.
    fn small(&mut self, n: u32) -> Value {
        let value = self.uniform_operand();
        let n = self.b.constant(n);
        self.b.binary(BinaryOp::Rem, value, n)
    }
}
