//! The static profile: what one invocation does, counted by class and weighted by trip counts.
//!
//! Trip counts are evaluated from constants, scalar arguments and lengths; a loop whose count depends
//! on data is taken to run [`TRIPS_UNKNOWN`] times and is counted as such. Both sides of a branch
//! count half, unless one of them leaves.

use crate::ir::{
    Axis, BinaryOp, Block, CallArg, Function, Inst, Kernel, Param, Stmt, Type, UnaryOp, Value,
};
use crate::passes::tail;

/// Passages assumed of a loop whose count is not known before the call.
pub const TRIPS_UNKNOWN: f64 = 16.0;

/// Bytes that memory moves at once, at least.
const SECTOR_BYTES: f64 = 32.0;

/// Invocations that share what all of them load at one place.
const SHARERS: f64 = 32.0;

/// What dear operations take on common CPUs, in units of a simple SIMD operation.
const DIV_SQRT: f64 = 6.0;
const TRANSCENDENTAL: f64 = 20.0;
const INT_MUL_DIV: f64 = 2.0;
const ATOMIC: f64 = 10.0;

/// The most passages of a loop that a count is taken for.
const TRIPS_MAX: f64 = 1e9;

/// What one invocation does, on average. Counts are per invocation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Float additions, subtractions, multiplications; a fused multiply-add counts twice.
    pub float_add_mul: f64,
    /// Float divisions and square roots.
    pub div_sqrt: f64,
    /// Exponentials, logarithms, powers and trigonometric functions.
    pub transcendental: f64,
    /// Integer additions, shifts and bit operations.
    pub int_add_logic: f64,
    /// Integer multiplications, divisions and remainders.
    pub int_mul_div: f64,
    /// Comparisons, selections, minima and maxima.
    pub compare_select: f64,
    /// Conversions.
    pub casts: f64,
    /// Loads.
    pub loads: f64,
    /// Stores.
    pub stores: f64,
    /// Bytes loaded.
    pub load_bytes: f64,
    /// Bytes stored.
    pub store_bytes: f64,
    /// Accesses whose index grows by one along x.
    pub unit_stride: f64,
    /// Accesses at another distance along x.
    pub strided: f64,
    /// Accesses at an index that was loaded.
    pub gather: f64,
    /// Accesses at one place for all invocations along x.
    pub uniform: f64,
    /// Branches taken or not.
    pub branches: f64,
    /// Operations under a condition that differs between invocations.
    pub divergent: f64,
    /// Depth of the deepest nest of loops.
    pub loop_depth: u32,
    /// Loops.
    pub loops: u32,
    /// Loops whose count depends on data.
    pub unknown_loops: u32,
    /// Product of the trip counts of the deepest nest.
    pub trip_product: f64,
    /// Atomic operations.
    pub atomics: f64,
    /// Barriers.
    pub barriers: f64,
    /// Bytes that a workgroup shares.
    pub shared_bytes: f64,
    /// Values alive at once, at the widest place of any block, roughly.
    pub live_values: f64,
    /// Length of the longest dependence within a passage of the hottest block.
    pub critical_path: f64,
    /// Operations of that block.
    pub block_ops: f64,
    /// Operations on 64-bit values.
    pub wide: f64,
    /// Operations on data, weighed as by [`Profile::weighted_operations`]: without accesses, and without the
    /// integers that are alike or grow by a constant along x, of which a back end makes one for many points.
    pub arithmetic: f64,
    /// Whether the kernel is a reduction or scan.
    pub is_collective: bool,
    /// Bytes of each parameter that memory without a cache would move: what lies scattered moves a
    /// sector of 32 bytes, and what all load at one place is shared by as many invocations.
    pub traffic: Vec<f64>,
}

impl Profile {
    /// Arithmetic operations: everything but loads, stores and atomics.
    pub fn operations(&self) -> f64 {
        self.float_add_mul
            + self.div_sqrt
            + self.transcendental
            + self.int_add_logic
            + self.int_mul_div
            + self.compare_select
            + self.casts
    }

    /// Floating-point operations, a transcendental function counting as one.
    pub fn flops(&self) -> f64 {
        self.float_add_mul + self.div_sqrt + self.transcendental
    }

    /// Accesses to buffers.
    pub fn accesses(&self) -> f64 {
        self.loads + self.stores + self.atomics
    }

    /// Time in units of a simple SIMD operation: dear operations weigh what they cost on common CPUs.
    pub fn weighted_operations(&self) -> f64 {
        self.float_add_mul
            + DIV_SQRT * self.div_sqrt
            + TRANSCENDENTAL * self.transcendental
            + self.int_add_logic
            + INT_MUL_DIV * self.int_mul_div
            + self.compare_select
            + self.casts
            + self.loads
            + self.stores
            + 4.0 * self.gather
            + ATOMIC * self.atomics
    }
}

/// Profiles a kernel for a call: `scalar` and `length` give the arguments, as far as they are known.
/// Helpers that call themselves count as the loops that they become.
pub fn profile(
    kernel: &Kernel,
    scalar: &dyn Fn(Param) -> Option<f64>,
    length: &dyn Fn(Param) -> Option<f64>,
) -> Profile {
    let looped = tail::without_recursion(kernel);
    let kernel = looped.as_ref().unwrap_or(kernel);
    let traffic = vec![0.0; kernel.entry.params.len()];
    let mut total = Profile { trip_product: 1.0, traffic, ..Profile::default() };
    total.is_collective = kernel.collective.is_some();
    let shared = kernel.entry.shared().map(|(_, ty, len)| f64::from(len) * ty.bytes() as f64);
    total.shared_bytes = shared.sum();
    let arguments = Arguments { scalar, length };
    let mut counter = Counter::new(kernel, &kernel.entry, &arguments, &mut total);
    counter.block(&kernel.entry.body, Weight { times: 1.0, depth: 0, is_divergent: false });
    if kernel.collective.is_some() {
        // The output that the body does not name: an element each for a scan.
        let bytes = kernel.contribution().map_or(0, Type::bytes) as f64;
        let each = match kernel.collective.map(|c| c.kind) {
            Some(crate::ir::CollectiveKind::Scan) => 1.0,
            Some(crate::ir::CollectiveKind::Reduce) | None => 0.0,
        };
        total.stores += each;
        total.store_bytes += each * bytes;
        total.unit_stride += each;
        total.float_add_mul += 1.0;
        total.arithmetic += 1.0;
        if let Some(output) = total.traffic.last_mut() {
            *output += each * bytes;
        }
    }
    total
}

struct Arguments<'a> {
    scalar: &'a dyn Fn(Param) -> Option<f64>,
    length: &'a dyn Fn(Param) -> Option<f64>,
}

/// How a value depends on the position along x.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// The same for all.
    Uniform,
    /// Grows by a constant from neighbour to neighbour.
    Linear(f64),
    /// Differs otherwise, by arithmetic.
    Varying,
    /// Depends on loaded data.
    Loaded,
}

#[derive(Clone, Copy)]
struct Weight {
    times: f64,
    depth: u32,
    is_divergent: bool,
}

struct Counter<'a, 'p> {
    kernel: &'a Kernel,
    function: &'a Function,
    arguments: &'a Arguments<'a>,
    total: &'p mut Profile,
    shapes: Vec<Shape>,
    /// Which values are data.
    data: Vec<bool>,
    /// What is known of a value before the call.
    numbers: Vec<Option<f64>>,
    locals: Vec<Shape>,
    hottest: f64,
}

impl<'a, 'p> Counter<'a, 'p> {
    fn new(
        kernel: &'a Kernel,
        function: &'a Function,
        arguments: &'a Arguments<'a>,
        total: &'p mut Profile,
    ) -> Counter<'a, 'p> {
        Counter {
            kernel,
            function,
            arguments,
            total,
            shapes: vec![Shape::Uniform; function.values.len()],
            data: data(function),
            numbers: vec![None; function.values.len()],
            locals: vec![Shape::Uniform; function.locals.len()],
            hottest: 0.0,
        }
    }

    fn block(&mut self, block: &Block, weight: Weight) {
        self.dependences(block, weight);
        for stmt in block {
            self.stmt(stmt, weight);
        }
    }

    fn stmt(&mut self, stmt: &Stmt, weight: Weight) {
        match stmt {
            Stmt::Let(value) => self.value(*value, weight),
            Stmt::Set(local, value) | Stmt::SetElement(local, _, value) => {
                let under = if weight.is_divergent { Shape::Varying } else { Shape::Uniform };
                let shape =
                    worse(worse(self.shapes[value.index()], under), self.locals[local.index()]);
                self.locals[local.index()] = match shape {
                    Shape::Linear(_) => Shape::Varying,
                    other => other,
                };
            }
            Stmt::Store(buffer, index, _) | Stmt::AtomicStore(buffer, index, _) => {
                self.total.stores += weight.times;
                self.total.store_bytes += weight.times * self.bytes(*buffer);
                self.access(*buffer, *index, weight.times);
            }
            Stmt::Check { .. } => {}
            Stmt::If { condition, then, otherwise } => {
                self.branch(*condition, then, otherwise, weight)
            }
            Stmt::For { counter, start, end, step, body } => {
                let trips = self.trips(*start, *end, *step);
                let shape = worse(self.shapes[start.index()], Shape::Uniform);
                self.shapes[counter.index()] = shape;
                let varies = |v: Value| self.shapes[v.index()] != Shape::Uniform;
                let is_divergent = weight.is_divergent || varies(*start) || varies(*end);
                self.looped(trips, body, Weight { is_divergent, ..weight });
            }
            Stmt::Loop(body) => self.looped(None, body, weight),
            Stmt::CallVoid(helper, args, _) => self.call(helper.index(), args, weight),
            Stmt::Barrier(_) => self.total.barriers += weight.times,
            Stmt::Each(body) => self.block(body, weight),
            Stmt::Break | Stmt::Continue | Stmt::Return => {}
        }
    }

    fn branch(&mut self, condition: Value, then: &Block, otherwise: &Block, weight: Weight) {
        self.total.branches += weight.times;
        let varies = self.shapes[condition.index()] != Shape::Uniform;
        let is_divergent = weight.is_divergent || varies;
        let leaves = |block: &Block| {
            matches!(block.last(), Some(Stmt::Break | Stmt::Return | Stmt::Continue))
        };
        // A side that leaves is the rare one.
        let (a, b) = match (leaves(then), leaves(otherwise)) {
            (true, false) => (0.1, 1.0),
            (false, true) => (1.0, 0.1),
            _ => (0.5, 0.5),
        };
        let of = |share: f64| Weight { times: weight.times * share, is_divergent, ..weight };
        self.block(then, of(a));
        self.block(otherwise, of(b));
    }

    fn looped(&mut self, trips: Option<f64>, body: &Block, weight: Weight) {
        self.total.loops += 1;
        if trips.is_none() {
            self.total.unknown_loops += 1;
        }
        let trips = trips.unwrap_or(TRIPS_UNKNOWN).clamp(0.0, TRIPS_MAX);
        let depth = weight.depth + 1;
        self.total.loop_depth = self.total.loop_depth.max(depth);
        let times = weight.times * trips;
        self.total.trip_product = self.total.trip_product.max(times);
        self.block(body, Weight { times, depth, ..weight });
    }

    fn trips(&self, start: Value, end: Value, step: u32) -> Option<f64> {
        let (start, end) = (self.numbers[start.index()]?, self.numbers[end.index()]?);
        Some(((end - start) / f64::from(step)).ceil().max(0.0))
    }

    fn call(&mut self, helper: usize, args: &[CallArg], weight: Weight) {
        let Some(function) = self.kernel.helpers.get(helper) else { return };
        let mut inner = Counter::new(self.kernel, function, self.arguments, self.total);
        // What is passed decides whether a helper's accesses and branches vary; lengths and scalars
        // of the helper's own parameters are not followed.
        let varies = args.iter().any(|arg| match arg {
            CallArg::Value(v) => self.shapes[v.index()] != Shape::Uniform,
            CallArg::Buffer(_) => false,
        });
        if varies {
            for (value, shape) in function.values.iter().zip(&mut inner.shapes) {
                if matches!(value.inst, Inst::Param(_)) {
                    *shape = Shape::Varying;
                }
            }
        }
        inner.block(&function.body, weight);
    }

    fn value(&mut self, value: Value, weight: Weight) {
        let def = self.function.def(value);
        self.count(&def.inst, def.ty, weight);
        let differs = |v: &Value| matches!(self.shapes[v.index()], Shape::Varying | Shape::Loaded);
        if self.data[value.index()] || def.inst.operands().iter().any(differs) {
            self.total.arithmetic += weight.times * self.weight_of(&def.inst, def.ty);
        }
        self.numbers[value.index()] = self.number(&def.inst);
        if !(matches!(def.inst, Inst::Param(_)) && self.shapes[value.index()] != Shape::Uniform) {
            self.shapes[value.index()] = self.shape(&def.inst);
        }
    }

    fn count(&mut self, inst: &Inst, ty: Type, weight: Weight) {
        let times = weight.times;
        let operand = inst.operands().first().map_or(ty, |v| self.function.ty(*v));
        let total = &mut *self.total;
        match inst {
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter => return,
            Inst::Get(_) | Inst::GetElement(..) | Inst::Bitcast(_) => return,
            Inst::Unary(op, _) if op.is_transcendental() => total.transcendental += times,
            Inst::Unary(UnaryOp::Sqrt, _) => total.div_sqrt += times,
            Inst::Unary(..) if operand.is_float() => total.float_add_mul += times,
            Inst::Unary(..) => total.int_add_logic += times,
            Inst::Binary(op, ..) if op.is_transcendental() => total.transcendental += 2.0 * times,
            Inst::Binary(op, ..) if op.is_comparison() => total.compare_select += times,
            Inst::Binary(BinaryOp::Min | BinaryOp::Max, ..) | Inst::Select(..) => {
                total.compare_select += times;
            }
            Inst::Binary(BinaryOp::Div, ..) if operand.is_float() => total.div_sqrt += times,
            Inst::Binary(..) if operand.is_float() => total.float_add_mul += times,
            Inst::Binary(BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem, ..) => {
                total.int_mul_div += times;
            }
            Inst::Binary(..) => total.int_add_logic += times,
            Inst::Fma(..) => total.float_add_mul += 2.0 * times,
            Inst::Cast(_) => total.casts += times,
            Inst::Load(buffer, index) => {
                total.loads += times;
                total.load_bytes +=
                    times * self.function.element(*buffer).map_or(4, Type::bytes) as f64;
                self.access(*buffer, *index, times);
            }
            Inst::AtomicLoad(buffer, index)
            | Inst::Atomic(_, buffer, index, _)
            | Inst::CompareSwap(buffer, index, ..) => {
                total.atomics += times;
                self.access(*buffer, *index, times);
            }
            Inst::Call(helper, args) => self.call(helper.index(), args, weight),
        }
        if weight.is_divergent {
            self.total.divergent += times;
        }
        if operand.is_wide() {
            self.total.wide += times;
        }
    }

    /// What an operation weighs, as [`Profile::weighted_operations`] says; nothing, where it is none on values.
    fn weight_of(&self, inst: &Inst, ty: Type) -> f64 {
        let operand = inst.operands().first().map_or(ty, |v| self.function.ty(*v));
        match inst {
            Inst::Const(_)
            | Inst::Param(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Len(_)
            | Inst::Counter
            | Inst::Get(_)
            | Inst::GetElement(..)
            | Inst::Bitcast(_)
            | Inst::Load(..)
            // What is called is counted as itself.
            | Inst::Call(..) => 0.0,
            Inst::Unary(op, _) if op.is_transcendental() => TRANSCENDENTAL,
            Inst::Binary(op, ..) if op.is_transcendental() => 2.0 * TRANSCENDENTAL,
            Inst::Unary(UnaryOp::Sqrt, _) => DIV_SQRT,
            Inst::Binary(BinaryOp::Div, ..) if operand.is_float() => DIV_SQRT,
            Inst::Binary(BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem, ..)
                if !operand.is_float() =>
            {
                INT_MUL_DIV
            }
            Inst::Fma(..) => 2.0,
            Inst::AtomicLoad(..) | Inst::Atomic(..) | Inst::CompareSwap(..) => ATOMIC,
            Inst::Unary(..) | Inst::Binary(..) | Inst::Select(..) | Inst::Cast(_) => 1.0,
        }
    }

    fn bytes(&self, buffer: Param) -> f64 {
        self.function.element(buffer).map_or(4, Type::bytes) as f64
    }

    fn access(&mut self, buffer: Param, index: Value, times: f64) {
        let bytes = self.bytes(buffer);
        let moved = match self.shapes[index.index()] {
            Shape::Uniform => {
                self.total.uniform += times;
                bytes / SHARERS
            }
            Shape::Linear(1.0) => {
                self.total.unit_stride += times;
                bytes
            }
            Shape::Linear(_) | Shape::Varying => {
                self.total.strided += times;
                SECTOR_BYTES
            }
            Shape::Loaded => {
                self.total.gather += times;
                SECTOR_BYTES
            }
        };
        // A helper's parameters are not followed to the arguments.
        if std::ptr::eq(self.function, &self.kernel.entry)
            && let Some(traffic) = self.total.traffic.get_mut(buffer.index())
        {
            *traffic += times * moved;
        }
    }

    fn number(&self, inst: &Inst) -> Option<f64> {
        let of = |v: &Value| self.numbers[v.index()];
        match inst {
            Inst::Const(c) => Some(c.to_f64()),
            Inst::Param(p) => (self.arguments.scalar)(*p),
            Inst::Len(p) => (self.arguments.length)(*p),
            Inst::Cast(a) => of(a),
            Inst::Select(c, a, b) => of(if of(c)? != 0.0 { a } else { b }),
            Inst::Binary(op, a, b) => {
                let (a, b) = (of(a)?, of(b)?);
                Some(match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div if b != 0.0 => (a / b).trunc(),
                    BinaryOp::Min => a.min(b),
                    BinaryOp::Max => a.max(b),
                    BinaryOp::Shl => a * b.exp2(),
                    BinaryOp::Shr => (a / b.exp2()).floor(),
                    BinaryOp::Lt => f64::from(u8::from(a < b)),
                    BinaryOp::Le => f64::from(u8::from(a <= b)),
                    _ => return None,
                })
            }
            _ => None,
        }
    }

    fn shape(&self, inst: &Inst) -> Shape {
        let of = |v: &Value| self.shapes[v.index()];
        match inst {
            Inst::Const(_) | Inst::Param(_) | Inst::Len(_) | Inst::Group(_) | Inst::Extent(_) => {
                Shape::Uniform
            }
            Inst::Id(Axis::X) | Inst::Local(Axis::X) => Shape::Linear(1.0),
            Inst::Id(_) | Inst::Local(_) => Shape::Uniform,
            Inst::Counter => Shape::Uniform,
            Inst::Get(local) | Inst::GetElement(local, _) => self.locals[local.index()],
            Inst::Load(_, index) | Inst::AtomicLoad(_, index) if of(index) == Shape::Uniform => {
                Shape::Uniform
            }
            Inst::Load(..) | Inst::AtomicLoad(..) | Inst::Atomic(..) | Inst::CompareSwap(..) => {
                Shape::Loaded
            }
            Inst::Binary(op, a, b) => match (op, of(a), of(b)) {
                (_, Shape::Uniform, Shape::Uniform) => Shape::Uniform,
                (BinaryOp::Add, Shape::Linear(x), Shape::Uniform) => Shape::Linear(x),
                (BinaryOp::Add, Shape::Uniform, Shape::Linear(x)) => Shape::Linear(x),
                (BinaryOp::Sub, Shape::Linear(x), Shape::Uniform) => Shape::Linear(x),
                (BinaryOp::Sub, Shape::Uniform, Shape::Linear(x)) => Shape::Linear(-x),
                (BinaryOp::Add, Shape::Linear(x), Shape::Linear(y)) => Shape::Linear(x + y),
                // Clamped at an edge, it is the same distance everywhere else.
                (BinaryOp::Min | BinaryOp::Max, Shape::Linear(x), Shape::Uniform)
                | (BinaryOp::Min | BinaryOp::Max, Shape::Uniform, Shape::Linear(x)) => {
                    Shape::Linear(x)
                }
                (BinaryOp::Mul, Shape::Linear(x), Shape::Uniform) => {
                    self.numbers[b.index()].map_or(Shape::Varying, |n| Shape::Linear(x * n))
                }
                (BinaryOp::Mul, Shape::Uniform, Shape::Linear(x)) => {
                    self.numbers[a.index()].map_or(Shape::Varying, |n| Shape::Linear(x * n))
                }
                (_, a, b) => blend(worse(a, b)),
            },
            Inst::Cast(a) | Inst::Bitcast(a) => of(a),
            other => other.operands().iter().map(of).reduce(worse).map_or(Shape::Uniform, blend),
        }
    }

    /// Width and depth of a block's own dependences, of the block that weighs most.
    fn dependences(&mut self, block: &Block, weight: Weight) {
        let mut depth = vec![0.0f64; self.function.values.len()];
        let (mut ops, mut longest, mut live, mut widest) = (0.0, 0.0f64, 0.0f64, 0.0f64);
        for stmt in block {
            live = (live - stmt.uses().len() as f64).max(0.0);
            let Stmt::Let(value) = stmt else { continue };
            let inst = &self.function.def(*value).inst;
            let operands = inst.operands();
            let below = operands.iter().map(|v| depth[v.index()]).fold(0.0, f64::max);
            let cost = if operands.is_empty() { 0.0 } else { 1.0 };
            depth[value.index()] = below + cost;
            longest = longest.max(below + cost);
            ops += cost;
            // Each operand dies at one of its uses, roughly the last of a chain.
            live = live + 1.0 - if operands.len() > 1 { 1.0 } else { 0.5 };
            widest = widest.max(live);
        }
        self.total.live_values = self.total.live_values.max(widest);
        if ops * weight.times > self.hottest {
            self.hottest = ops * weight.times;
            self.total.critical_path = longest;
            self.total.block_ops = ops;
        }
    }
}

/// Which values depend on what was loaded, or are floats: no indices and counters.
fn data(function: &Function) -> Vec<bool> {
    let is_source = |inst: &Inst| {
        matches!(
            inst,
            Inst::Load(..) | Inst::AtomicLoad(..) | Inst::Atomic(..) | Inst::CompareSwap(..)
        )
    };
    let values = function.values.iter();
    let mut data: Vec<bool> = values.map(|def| def.ty.is_float() || is_source(&def.inst)).collect();
    let mut locals = vec![false; function.locals.len()];
    loop {
        let mut is_settled = true;
        function.walk(&mut |stmt| {
            if let Stmt::Set(local, value) | Stmt::SetElement(local, _, value) = stmt {
                locals[local.index()] |= data[value.index()];
            }
        });
        for (at, def) in function.values.iter().enumerate() {
            if data[at] {
                continue;
            }
            data[at] = match &def.inst {
                Inst::Get(local) | Inst::GetElement(local, _) => locals[local.index()],
                other => other.operands().iter().any(|v| data[v.index()]),
            };
            is_settled &= !data[at];
        }
        if is_settled {
            return data;
        }
    }
}

/// Data beats arithmetic beats a constant distance beats sameness.
fn worse(a: Shape, b: Shape) -> Shape {
    match (a, b) {
        (Shape::Loaded, _) | (_, Shape::Loaded) => Shape::Loaded,
        (Shape::Varying, _) | (_, Shape::Varying) => Shape::Varying,
        (Shape::Linear(x), _) | (_, Shape::Linear(x)) => Shape::Linear(x),
        (Shape::Uniform, Shape::Uniform) => Shape::Uniform,
    }
}

/// After arithmetic that keeps no constant distance.
fn blend(shape: Shape) -> Shape {
    match shape {
        Shape::Linear(_) => Shape::Varying,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::profile;
    use crate::front;
    use crate::ir::Param;
    use crate::library;

    #[test]
    fn a_matrix_product_counts_its_inner_loop() {
        let kernel = front::kernel(library::matmul::matmul::DEF, &[], &[]).expect("typed");
        let found = profile(&kernel, &|p: Param| (p.0 == 0).then_some(100.0), &|_| Some(1e4));
        assert_eq!(found.float_add_mul, 200.0);
        assert_eq!((found.loads, found.load_bytes, found.stores), (200.0, 800.0, 1.0));
        assert_eq!(found.arithmetic, 200.0, "indices are no data");
        // One factor is the same along x, the other is next to its neighbour's.
        assert_eq!((found.uniform, found.unit_stride, found.gather), (100.0, 101.0, 0.0));
        assert_eq!((found.loops, found.unknown_loops, found.loop_depth), (1, 0, 1));
        // Neighbours share the elements of one factor; those of the other are loaded by each.
        assert_eq!(found.traffic, [0.0, 12.5, 400.0, 4.0]);
    }

    #[test]
    fn integers_are_data_where_they_come_from_memory() {
        let kernel = front::kernel(library::data::sha256::sha256::DEF, &[], &[]).expect("typed");
        let found = profile(&kernel, &|_| None, &|_| None);
        // 64 rounds, each of some thirty operations on words, and the words that follow from the first 16.
        assert!((2000.0..6000.0).contains(&found.arithmetic), "{}", found.arithmetic);
    }

    #[test]
    fn gathers_and_unknown_loops_are_told() {
        let kernel = front::kernel(library::spmv::spmv::DEF, &[], &[]).expect("typed");
        let found = profile(&kernel, &|_| None, &|_| None);
        assert_eq!(found.unknown_loops, 1);
        assert_eq!(found.gather, 3.0 * super::TRIPS_UNKNOWN);
        assert!(found.divergent > 0.0);
    }

    #[test]
    fn streams_are_unit_stride() {
        let kernel = front::kernel(library::saxpy::saxpy::DEF, &[], &[]).expect("typed");
        let found = profile(&kernel, &|_| None, &|_| None);
        assert_eq!((found.unit_stride, found.uniform), (3.0, 0.0));
        assert_eq!((found.flops(), found.arithmetic), (2.0, 2.0));
    }
}
