//! Random kernels for differential tests: valid, always ending, and with one result whatever the
//! order of invocations, so that every back end can be held against the interpreter.
//!
//! ```text
//! kernel(rng, options)             a kernel no check of which fails,
//! arguments(rng, kernel, n, …)     … given these arguments
//! failing_kernel(rng)              a kernel and arguments of which one invocation fails
//! group_kernel(rng)                a kernel with workgroups and barriers, its arguments and grid
//! stencil_kernel(rng, ty)          a kernel that looks around each point, its arguments and grid
//! Coverage                         what a set of kernels contained, and what it should have
//! ```
//!
//! What makes a result depend on nothing but the arguments:
//!
//! - A buffer has one role: loads anywhere; loads and stores at the invocation's own index; one
//!   commutative atomic operator whose results are dropped; stores of one constant; loads of an
//!   atomic buffer that nothing changes.
//! - The bits of a NaN are up to the device. Where a sign or a bit pattern of a float is taken
//!   (`copysign`, `bitcast`), a NaN is replaced first.
//! - In a float `min` or `max` over the grid, the zero that wins is up to the order: contributions
//!   get `+ 0.0`, which leaves only +0.
//!
//! On devices that do not keep to IEEE, floats have to be of a narrower kind: [`Floats`] says which.
//!
//! Loops end because their counters are bounded by a constant, or by some value `& 7`.

mod coverage;
mod floats;
mod groups;
mod stencils;

use std::collections::HashMap;

pub use coverage::Coverage;
pub use floats::Floats;
use floats::{Bounds, Settling, slot_constant};
pub use groups::group_kernel;
pub use stencils::stencil_kernel;

use crate::exec::Grid;
use crate::interp::Data;
use crate::ir::builder::Builder;
use crate::ir::{
    Access, AtomicOp, Axis, BinaryOp, Block, CallArg, Collective, CollectiveKind, CollectiveOp,
    Const, Extent, Function, Helper, Inst, Kernel, Local, Param, ParamKind, Span, Stmt, Type,
    UnaryOp, Value,
};
use crate::verify::verify;

/// How often the innermost statement may run per invocation, one loop in another.
const WEIGHT_MAX: usize = 150;

/// How often a helper calls itself at most; all bits of it are set.
const OWN_CALLS_MAX: usize = 3;

/// How many values an invocation may compute, those of its helpers included; roughly.
const COST_MAX: usize = 4000;

/// How deep blocks are nested.
const DEPTH_MAX: usize = 4;

/// A small generator of random numbers (splitmix64): the same seed gives the same kernels on every
/// machine.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next_u64() >> 1).checked_rem(n as u64).unwrap_or(0) as usize
    }

    /// True in so many of a hundred cases.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the items.
    ///
    /// # Panics
    /// If there are none.
    pub fn pick<'s, T>(&mut self, items: &'s [T]) -> &'s T {
        &items[self.below(items.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// What random kernels may contain.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scalar types; `bool` and `u32` (conditions, indices) are always among them.
    pub types: Vec<Type>,
    /// Grid axes, at most.
    pub axes: usize,
    /// Whether there are atomic buffers.
    pub atomics: bool,
    /// Whether there are reductions and scans.
    pub collectives: bool,
    /// Whether there are transcendental functions.
    pub transcendental: bool,
    /// Number of values, roughly.
    pub size: usize,
    /// Only what gives the same bits on every back end: no fma, no transcendental functions, no
    /// sums or products of floats over the grid, unless the floats make them exact.
    pub exact: bool,
    /// Which floats there are.
    pub floats: Floats,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            types: Type::ALL.to_vec(),
            axes: 3,
            atomics: true,
            collectives: true,
            transcendental: false,
            size: 60,
            exact: true,
            floats: Floats::Any,
        }
    }
}

impl Options {
    /// The types of values, each once.
    fn scalars(&self) -> Vec<Type> {
        let always = |ty: &Type| matches!(ty, Type::Bool | Type::U32);
        Type::ALL.into_iter().filter(|ty| always(ty) || self.types.contains(ty)).collect()
    }

    /// The types of buffer elements.
    fn elements(&self) -> Vec<Type> {
        let asked = |ty: &Type| self.types.contains(ty);
        let found: Vec<Type> = Type::STORABLE.into_iter().filter(asked).collect();
        if found.is_empty() { vec![Type::U32] } else { found }
    }

    /// The types of atomic elements.
    fn atomic_elements(&self) -> Vec<Type> {
        let found: Vec<Type> = self.elements().into_iter().filter(|ty| is_atomic(*ty)).collect();
        if found.is_empty() { vec![Type::U32] } else { found }
    }

    fn unary(&self, op: UnaryOp, ty: Type) -> bool {
        let transcendental = self.transcendental && !self.exact;
        let allowed = !ty.is_float() || self.floats.unary(op);
        op.accepts(ty) && (!op.is_transcendental() || transcendental) && allowed
    }

    fn binary(&self, op: BinaryOp, ty: Type) -> bool {
        let allowed = match op {
            BinaryOp::Pow | BinaryOp::Atan2 => self.transcendental && !self.exact,
            // Its NaNs are replaced through the bit pattern.
            BinaryOp::Copysign => self.scalars().contains(&ty.bit_pattern()),
            _ => true,
        };
        op.accepts(ty) && allowed && (!ty.is_float() || self.floats.binary(op))
    }

    /// Whether there is `fma`.
    fn fma(&self) -> bool {
        !self.exact || self.floats == Floats::Exact
    }

    fn collective(&self, op: CollectiveOp, ty: Type) -> bool {
        let allowed = match op {
            CollectiveOp::Add => !self.exact || self.floats == Floats::Exact,
            // It outgrows all bounds.
            CollectiveOp::Mul => !self.exact && !self.floats.is_bounded(),
            CollectiveOp::Min
            | CollectiveOp::Max
            | CollectiveOp::And
            | CollectiveOp::Or
            | CollectiveOp::Xor => true,
        };
        op.accepts(ty) && (!ty.is_float() || allowed)
    }

    fn cast(&self, from: Type, to: Type) -> bool {
        to != Type::Bool && (!from.is_float() || to.is_float() || self.floats.steer())
    }

    fn bitcast(&self, from: Type, to: Type) -> bool {
        let types = [from, to];
        let from_float = !from.is_float() || self.floats.steer();
        let to_float = !to.is_float() || !self.floats.is_bounded();
        from != to
            && from_float
            && to_float
            && from.bits() == to.bits()
            && !types.contains(&Type::Bool)
            && types.iter().all(|ty| self.scalars().contains(ty))
    }
}

fn is_atomic(ty: Type) -> bool {
    matches!(ty, Type::I32 | Type::U32)
}

/// What a function does with a buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    /// Loads anywhere.
    Input,
    /// Loads and stores at the invocation's own index.
    Own,
    /// Updates anywhere by this operator; a sum also by differences.
    Count(AtomicOp),
    /// Stores of this constant anywhere, or where something else is held.
    Flag(Const),
    /// Atomic loads anywhere.
    Watch,
}

/// A buffer parameter.
#[derive(Clone, Copy, Debug)]
struct Buffer {
    param: Param,
    element: Type,
    access: Access,
    role: Role,
}

/// A finished helper.
#[derive(Debug)]
struct Callee {
    helper: Helper,
    function: Function,
    buffers: Vec<Buffer>,
    /// The parameter that takes the invocation's own index.
    at: Option<Param>,
    /// The parameter that says how often it may call itself.
    left: Option<Param>,
    cost: usize,
}

/// A random kernel. No check of it fails for [`arguments`], and it always ends.
pub fn kernel(rng: &mut Random, options: &Options) -> Kernel {
    let mut b = Builder::new("random");
    let collective = collective(rng, options);
    let axes = if collective.is_some() { 1 } else { 1 + rng.below(options.axes.clamp(1, 3)) };
    let mut entry = params(rng, options, &mut b, axes);
    if let Some((_, ty)) = collective {
        b.buffer("result", ty, Access::ReadWrite);
    }
    let helpers = helpers(rng, options, &entry.buffers);

    let mut w = Writer::new(rng, options, b, &helpers);
    w.buffers = std::mem::take(&mut entry.buffers);
    w.budget = options.size;
    w.plus_zero =
        collective.is_some_and(|(c, _)| matches!(c.op, CollectiveOp::Min | CollectiveOp::Max));
    w.prologue(collective.map(|(_, ty)| ty));
    let at = w.linear_index(&entry.grid);
    w.at = Some(at);
    w.statements(options.size / 3);
    w.store_all();
    w.statements(options.size / 8);
    w.store_sometimes();
    w.give_result();

    let (function, _) = w.finish();
    let kernel = Kernel {
        entry: function,
        helpers: helpers.into_iter().rev().map(|callee| callee.function).collect(),
        grid: entry.grid,
        collective: collective.map(|(collective, _)| collective),
        workgroup: None,
        contract: false,
        files: Vec::new(),
    };
    verify(&kernel).expect("random kernels keep the rules of the IR");
    kernel
}

fn collective(rng: &mut Random, options: &Options) -> Option<(Collective, Type)> {
    if !options.collectives || !rng.chance(30) {
        return None;
    }
    let kind = if rng.chance(50) { CollectiveKind::Reduce } else { CollectiveKind::Scan };
    let op = *rng.pick(CollectiveOp::ALL);
    let fits = |ty: &Type| options.collective(op, *ty);
    let types: Vec<Type> = options.elements().into_iter().filter(fits).collect();
    if types.is_empty() {
        return None;
    }
    Some((Collective { kind, op }, *rng.pick(&types)))
}

/// The entry's parameters, without the output of a collective.
struct Entry {
    buffers: Vec<Buffer>,
    grid: Vec<Extent>,
}

/// A parameter to be added.
#[derive(Clone, Copy)]
enum Wanted {
    Scalar(Type),
    Extent(Axis),
    Buffer(Type, Access, Role),
}

fn params(rng: &mut Random, options: &Options, b: &mut Builder, axes: usize) -> Entry {
    let (types, elements) = (options.scalars(), options.elements());
    let mut wanted: Vec<Wanted> =
        (0..rng.below(4)).map(|_| Wanted::Scalar(*rng.pick(&types))).collect();
    for _ in 0..1 + rng.below(4) {
        wanted.push(Wanted::Buffer(*rng.pick(&elements), Access::Read, Role::Input));
    }
    for _ in 0..1 + rng.below(2) {
        wanted.push(Wanted::Buffer(*rng.pick(&elements), Access::ReadWrite, Role::Own));
    }
    if options.atomics && rng.chance(60) {
        for _ in 0..1 + rng.below(2) {
            let element = *rng.pick(&options.atomic_elements());
            let role = atomic_role(rng, element);
            wanted.push(Wanted::Buffer(element, Access::Atomic, role));
        }
    }
    let by_length = axes == 1 && rng.chance(60);
    let mut grid = vec![Extent::Fixed(1); axes];
    for (axis, extent) in Axis::ALL.into_iter().zip(&mut grid) {
        if axis != Axis::X && rng.chance(10) {
            *extent = Extent::Fixed(1 + rng.below(3) as u32);
        } else if !by_length {
            wanted.push(Wanted::Extent(axis));
        }
    }
    rng.shuffle(&mut wanted);

    let mut buffers = Vec::new();
    for (at, wanted) in wanted.into_iter().enumerate() {
        match wanted {
            Wanted::Scalar(ty) => {
                b.scalar(format!("a{at}"), ty);
            }
            Wanted::Extent(axis) => {
                let name = ["width", "height", "depth"][axis.index()];
                grid[axis.index()] = Extent::Scalar(b.scalar(name, Type::U32));
            }
            Wanted::Buffer(element, access, role) => {
                let prefix = match access {
                    Access::Read => "x",
                    Access::ReadWrite => "y",
                    Access::Atomic => "h",
                };
                let param = b.buffer(format!("{prefix}{at}"), element, access);
                buffers.push(Buffer { param, element, access, role });
            }
        }
    }
    if by_length {
        let long: Vec<Param> =
            buffers.iter().filter(|x| x.access != Access::Atomic).map(|x| x.param).collect();
        grid[0] = Extent::Len(*rng.pick(&long));
    }
    Entry { buffers, grid }
}

fn atomic_role(rng: &mut Random, element: Type) -> Role {
    const COUNTS: [AtomicOp; 6] =
        [AtomicOp::Add, AtomicOp::Min, AtomicOp::Max, AtomicOp::And, AtomicOp::Or, AtomicOp::Xor];
    match rng.below(4) {
        0 => Role::Watch,
        1 => Role::Flag(constant(rng, element, Floats::Normal)),
        _ => Role::Count(*rng.pick(&COUNTS)),
    }
}

/// Up to three helpers, the last first: a helper calls only those after it.
fn helpers(rng: &mut Random, options: &Options, buffers: &[Buffer]) -> Vec<Callee> {
    let mut built = Vec::new();
    for number in (0..rng.below(4)).rev() {
        let callee = helper(rng, options, buffers, &built, Helper(number as u32));
        built.push(callee);
    }
    built
}

fn helper(
    rng: &mut Random,
    options: &Options,
    entry: &[Buffer],
    after: &[Callee],
    helper: Helper,
) -> Callee {
    let types = options.scalars();
    let mut b = Builder::new(format!("helper{}", helper.0));
    let mut buffers: Vec<Buffer> = Vec::new();
    for at in 0..rng.below(3) {
        let mut buffer = *rng.pick(entry);
        // Two at the same index would be one buffer under two names.
        if buffer.role == Role::Own {
            if buffers.iter().any(|other| other.role == Role::Own) {
                continue;
            }
            buffer.access = if rng.chance(80) { Access::ReadWrite } else { Access::Read };
        }
        buffer.param = b.buffer(format!("b{at}"), buffer.element, buffer.access);
        buffers.push(buffer);
    }
    for at in 0..1 + rng.below(3) {
        b.scalar(format!("v{at}"), *rng.pick(&types));
    }
    let own = buffers.iter().any(|buffer| buffer.role == Role::Own);
    let at = (own || rng.chance(20)).then(|| b.scalar("at", Type::U32));
    let left = rng.chance(30).then(|| b.scalar("left", Type::U32));
    let result = rng.chance(75).then(|| *rng.pick(&types));

    let mut w = Writer::new(rng, options, b, after);
    w.buffers = buffers;
    w.budget = options.size / 3;
    w.prologue(result);
    w.at = at.map(|param| w.b.argument(param));
    w.left = left.map(|param| (helper, w.b.argument(param)));
    w.statements(options.size / 8 + 2);
    w.give_result();
    w.call_itself(false);
    let buffers = w.buffers.clone();
    let (function, cost) = w.finish();
    let times = if left.is_some() { OWN_CALLS_MAX + 1 } else { 1 };
    Callee { helper, function, buffers, at, left, cost: cost * times }
}

/// Writes one function.
struct Writer<'a> {
    rng: &'a mut Random,
    options: &'a Options,
    types: Vec<Type>,
    b: Builder,
    /// The helpers it may call.
    helpers: &'a [Callee],
    buffers: Vec<Buffer>,
    scalars: Vec<(Param, Type)>,
    variables: Vec<(Local, Type)>,
    arrays: Vec<(Local, Type, u32)>,
    result: Option<(Local, Type)>,
    /// Whether results get `+ 0.0`.
    plus_zero: bool,
    /// The invocation's own index.
    at: Option<Value>,
    /// Of a helper that may call itself: which it is, and how often it still may.
    left: Option<(Helper, Value)>,
    /// Values whose definition dominates the statement at hand.
    scope: Vec<Value>,
    /// What is known of floats that are not a slot's.
    bounds: HashMap<Value, Bounds>,
    /// Values that may still be computed.
    budget: usize,
    /// Early returns that may still be written: too many would leave nothing to compare.
    returns: usize,
    depth: usize,
    loops: usize,
    /// How often the statement at hand runs, at most.
    weight: usize,
    cost: usize,
}

impl<'a> Writer<'a> {
    fn new(
        rng: &'a mut Random,
        options: &'a Options,
        b: Builder,
        helpers: &'a [Callee],
    ) -> Writer<'a> {
        let scalars = b.function().scalars().collect();
        Writer {
            rng,
            options,
            types: options.scalars(),
            b,
            helpers,
            buffers: Vec::new(),
            scalars,
            variables: Vec::new(),
            arrays: Vec::new(),
            result: None,
            plus_zero: false,
            at: None,
            left: None,
            scope: Vec::new(),
            bounds: HashMap::new(),
            budget: 0,
            returns: 2,
            depth: 0,
            loops: 0,
            weight: 1,
            cost: 1,
        }
    }

    /// The function and what it costs to run.
    fn finish(self) -> (Function, usize) {
        let mut function = self.b.finish();
        function.compact();
        (function, self.cost)
    }

    /// Variables, the result, and the arguments as values.
    fn prologue(&mut self, result: Option<Type>) {
        for ty in self.types.clone() {
            self.variables.push((self.b.local(ty, None), ty));
        }
        for _ in 0..self.rng.below(3) {
            let (ty, len) = (self.ty(), 1 + self.rng.below(9) as u32);
            self.arrays.push((self.b.local(ty, Some(len)), ty, len));
        }
        for (param, _) in self.scalars.clone() {
            let v = self.b.argument(param);
            self.keep(v);
        }
        if let Some(ty) = result {
            let local = self.b.local(ty, None);
            self.b.function_mut().result = Some(local);
            self.result = Some((local, ty));
            self.give_result();
        }
    }

    /// The position of the invocation among all, x fastest.
    fn linear_index(&mut self, grid: &[Extent]) -> Value {
        let ids: Vec<Value> =
            Axis::ALL.into_iter().take(grid.len()).map(|axis| self.b.id(axis)).collect();
        let mut at = ids[ids.len() - 1];
        for axis in (0..ids.len() - 1).rev() {
            let extent = match grid[axis] {
                Extent::Len(p) => self.b.len(p),
                Extent::Scalar(p) => self.b.argument(p),
                Extent::Fixed(size) => self.b.constant(size),
                Extent::Given => unreachable!("random kernels say how large their grid is"),
            };
            let rows = self.b.binary(BinaryOp::Mul, at, extent);
            at = self.b.binary(BinaryOp::Add, rows, ids[axis]);
        }
        self.scope.extend(ids);
        self.scope.push(at);
        if self.rng.chance(30) {
            let axis = *self.rng.pick(&Axis::ALL[..grid.len()]);
            let extent = self.b.value(Type::U32, Inst::Extent(axis));
            self.scope.push(extent);
        }
        at
    }

    fn ty(&mut self) -> Type {
        *self.rng.pick(&self.types)
    }

    /// One of the types for which the condition holds; there is always `u32`.
    fn ty_where(&mut self, condition: impl Fn(Type) -> bool) -> Type {
        let types: Vec<Type> = self.types.iter().copied().filter(|ty| condition(*ty)).collect();
        if types.is_empty() { Type::U32 } else { *self.rng.pick(&types) }
    }

    fn ty_of(&self, v: Value) -> Type {
        self.b.function().ty(v)
    }

    /// Counts a value and lets what follows use it.
    fn keep(&mut self, v: Value) {
        self.scope.push(v);
        self.budget = self.budget.saturating_sub(1);
        self.cost += self.weight;
    }

    /// A new constant.
    fn constant(&mut self, ty: Type) -> Value {
        let floats = match self.options.floats {
            // What a device does with subnormal constants is its own.
            Floats::Any => Floats::Normal,
            bounded => bounded,
        };
        let c = constant(self.rng, ty, floats);
        let v = self.b.constant(c);
        self.keep(v);
        v
    }

    /// Some value of the type, rather a late one.
    fn operand(&mut self, ty: Type) -> Value {
        let fitting: Vec<Value> =
            self.scope.iter().copied().filter(|v| self.ty_of(*v) == ty).collect();
        if fitting.is_empty() || self.rng.chance(8) {
            return self.constant(ty);
        }
        let late = self.rng.chance(50);
        let from = if late { fitting.len().saturating_sub(4) } else { 0 };
        *self.rng.pick(&fitting[from..])
    }

    /// Some value of the type, to be stored.
    fn slot_operand(&mut self, ty: Type) -> Value {
        let v = self.operand(ty);
        self.settled(v)
    }

    fn statements(&mut self, count: usize) {
        for _ in 0..count {
            if self.budget == 0 {
                return;
            }
            self.statement();
        }
    }

    fn statement(&mut self) {
        let inner = self.depth < DEPTH_MAX;
        match self.rng.below(100) {
            0..=9 => self.set(),
            10..=15 => self.set_element(),
            16..=18 => self.store_sometimes(),
            19..=23 => self.atomic(),
            24..=33 if inner => self.branch(),
            34..=39 if inner => self.count(),
            40..=43 if inner => self.repeat(),
            44..=46 => self.call(Use::Dropped),
            47..=50 if inner => self.leave(),
            51..=52 if self.result.is_some() => self.give_result(),
            53..=54 if inner => self.walk(),
            _ => self.compute(),
        }
    }

    /// Computes a value.
    fn compute(&mut self) {
        match self.rng.below(100) {
            0..=28 => self.binary(),
            29..=43 => self.unary(),
            44..=51 => self.cast(),
            52..=56 => self.bitcast(),
            57..=62 => self.select(),
            63..=65 => self.fma(),
            66..=74 => self.load(),
            75..=78 => self.load_own(),
            79..=84 => self.get(),
            85..=89 => self.get_element(),
            90..=91 => {
                let v = self.uniform(Type::U32);
                self.keep(v);
            }
            92..=95 => self.call(Use::Kept),
            96..=97 => self.repeat_value(),
            _ => self.atomic_load(),
        }
    }

    fn unary(&mut self) {
        let ty = self.ty();
        let ops: Vec<UnaryOp> =
            UnaryOp::ALL.iter().copied().filter(|op| self.options.unary(*op, ty)).collect();
        let op = *self.rng.pick(&ops);
        let a = self.operand(ty);
        let a = if op == UnaryOp::Sqrt { self.at_least(a, 0.25) } else { a };
        let floats = self.options.floats;
        let ([a], bounds) = self.fitting([a], |[a]| floats.unary_bounds(op, a));
        let v = self.b.unary(op, a);
        self.keep_within(v, bounds);
    }

    fn binary(&mut self) {
        let ty = self.ty();
        let ops: Vec<BinaryOp> =
            BinaryOp::ALL.iter().copied().filter(|op| self.options.binary(*op, ty)).collect();
        let op = *self.rng.pick(&ops);
        let a = self.operand(ty);
        let b = match op {
            BinaryOp::Div | BinaryOp::Rem if ty.is_int() => self.divisor(ty),
            BinaryOp::Div if self.is_bounded(ty) => self.bounded_divisor(ty),
            BinaryOp::Copysign => {
                let b = self.operand(ty);
                let bits = self.known_bits(b, ty.bit_pattern());
                self.b.bitcast(bits, ty)
            }
            _ => self.operand(ty),
        };
        if op.is_comparison() {
            let v = self.b.binary(op, a, b);
            return self.keep(v);
        }
        let floats = self.options.floats;
        let fits = |[a, b]: [Bounds; 2]| floats.binary_bounds(op, a, b);
        let ([a, b], bounds) = self.fitting([a, b], fits);
        let v = self.b.checked_binary(op, a, b);
        self.keep_within(v, bounds);
    }

    fn is_bounded(&self, ty: Type) -> bool {
        ty.is_float() && self.options.floats.is_bounded()
    }

    fn bounds(&self, v: Value) -> Bounds {
        self.bounds.get(&v).copied().unwrap_or(self.options.floats.slot())
    }

    /// Keeps a value of which more is known than that it fits a slot.
    fn keep_within(&mut self, v: Value, bounds: Option<Bounds>) {
        if let Some(bounds) = bounds {
            self.bounds.insert(v, bounds);
        }
        self.keep(v);
    }

    /// Operands with which the result is within bounds, and these; no bounds where there are none
    /// for this type.
    fn fitting<const N: usize>(
        &mut self,
        operands: [Value; N],
        result: impl Fn([Bounds; N]) -> Option<Bounds>,
    ) -> ([Value; N], Option<Bounds>) {
        if !self.is_bounded(self.ty_of(operands[0])) {
            return (operands, None);
        }
        if let Some(bounds) = result(operands.map(|v| self.bounds(v))) {
            return (operands, Some(bounds));
        }
        let settled = operands.map(|v| self.settled(v));
        let bounds = result(settled.map(|v| self.bounds(v)));
        (settled, Some(bounds.expect("every operator fits on what slots hold")))
    }

    /// A value that a slot may hold: this one, if it does.
    fn settled(&mut self, v: Value) -> Value {
        let ty = self.ty_of(v);
        if !self.is_bounded(ty) {
            return v;
        }
        match self.options.floats.settling(self.bounds(v)) {
            Settling::None => v,
            Settling::Wrap { finer, larger } => {
                let v = if finer { self.coarser(v) } else { v };
                if larger { self.wrapped(v) } else { v }
            }
            Settling::Scale(scale) => {
                let some = *self.rng.pick(&[-2.0, -1.5, -0.5, 0.5, 1.0, 1.75]);
                let (scale, offset) = (self.float(ty, scale), self.float(ty, some));
                let scaled = self.b.binary(BinaryOp::Mul, v, scale);
                self.b.binary(BinaryOp::Add, scaled, offset)
            }
        }
    }

    /// `round(v * 4) / 4`: a multiple of what those of slots are multiples of.
    fn coarser(&mut self, v: Value) -> Value {
        const ROUNDINGS: [UnaryOp; 5] =
            [UnaryOp::Floor, UnaryOp::Ceil, UnaryOp::Trunc, UnaryOp::Round, UnaryOp::RoundEven];
        let (ty, grain) = (self.ty_of(v), self.options.floats.slot().grain);
        let (up, down) = (self.float(ty, 1.0 / grain), self.float(ty, grain));
        let rounding = *self.rng.pick(&ROUNDINGS);
        let v = self.b.binary(BinaryOp::Mul, v, up);
        let v = self.b.unary(rounding, v);
        self.b.binary(BinaryOp::Mul, v, down)
    }

    /// `v - 64 * floor(v / 64) - 32`: no larger than what slots hold.
    fn wrapped(&mut self, v: Value) -> Value {
        let (ty, magnitude) = (self.ty_of(v), self.options.floats.slot().magnitude);
        let (turn, half) = (self.float(ty, 2.0 * magnitude), self.float(ty, magnitude));
        let turns = self.b.binary(BinaryOp::Div, v, turn);
        let turns = self.b.unary(UnaryOp::Floor, turns);
        let whole = self.b.binary(BinaryOp::Mul, turns, turn);
        let rest = self.b.binary(BinaryOp::Sub, v, whole);
        self.b.binary(BinaryOp::Sub, rest, half)
    }

    fn float(&mut self, ty: Type, v: f64) -> Value {
        if ty == Type::F64 { self.b.constant(v) } else { self.b.constant(v as f32) }
    }

    /// `max(|v|, least)` among bounded floats; others stay as they are. It fits a slot: bringing it
    /// back there later could make it smaller again.
    fn at_least(&mut self, v: Value, least: f64) -> Value {
        let ty = self.ty_of(v);
        if !self.is_bounded(ty) {
            return v;
        }
        let v = self.settled(v);
        let bounds = self.bounds(v);
        let magnitude = self.b.unary(UnaryOp::Abs, v);
        let least = self.float(ty, least);
        let v = self.b.binary(BinaryOp::Max, magnitude, least);
        self.bounds.insert(v, bounds);
        v
    }

    /// What bounded floats are divided by.
    fn bounded_divisor(&mut self, ty: Type) -> Value {
        if self.options.floats == Floats::Exact {
            let power = *self.rng.pick(&[-4.0, -2.0, 2.0, 4.0]);
            return self.float(ty, power);
        }
        let v = self.operand(ty);
        self.at_least(v, 0.5)
    }

    /// An integer that is not zero.
    fn divisor(&mut self, ty: Type) -> Value {
        if self.rng.chance(50) {
            let some = [1i64, 2, 3, 4, 5, 7, 8, 10, 16, 100, 1024, -1, -2, -3, -8, i64::MAX];
            return self.b.constant(Const::new(ty, *self.rng.pick(&some) as u64));
        }
        let v = self.operand(ty);
        let one = self.b.constant(Const::one(ty));
        self.b.binary(BinaryOp::Or, v, one)
    }

    /// The bits of a float as an integer type of its width, those of 1.0 for a NaN. The test for
    /// NaN is one of integers, since devices may assume that there are none.
    fn known_bits(&mut self, v: Value, to: Type) -> Value {
        let ty = self.ty_of(v);
        let (mask, infinity) = if ty.is_wide() {
            (i64::MAX as u64, f64::INFINITY.to_bits())
        } else {
            (i32::MAX as u64, u64::from(f32::INFINITY.to_bits()))
        };
        let bits = self.b.bitcast(v, to);
        let mask = self.b.constant(Const::new(to, mask));
        let infinity = self.b.constant(Const::new(to, infinity));
        let magnitude = self.b.binary(BinaryOp::And, bits, mask);
        if self.is_bounded(ty) {
            // There are no NaNs, but zeros whose sign a device may have dropped.
            let zero = self.b.constant(Const::zero(to));
            let none = self.b.binary(BinaryOp::Eq, magnitude, zero);
            return self.b.select(none, zero, bits);
        }
        let nan = self.b.binary(BinaryOp::Gt, magnitude, infinity);
        let one = self.b.constant(Const::new(to, Const::one(ty).bits));
        self.b.select(nan, one, bits)
    }

    fn cast(&mut self) {
        let from = self.ty();
        let options = self.options;
        let to = self.ty_where(|ty| options.cast(from, ty));
        let a = self.operand(from);
        let floats = options.floats;
        let (a, bounds) = if from.is_float() && to.is_float() {
            let ([a], bounds) = self.fitting([a], |[a]| floats.cast_bounds(a));
            (a, bounds)
        } else if from.is_int() && self.is_bounded(to) {
            (self.small(a), None)
        } else {
            (a, None)
        };
        let v = self.b.cast(a, to);
        self.keep_within(v, bounds);
    }

    /// An integer that is within a float slot's bounds.
    fn small(&mut self, v: Value) -> Value {
        let magnitude = self.options.floats.slot().magnitude as u64;
        let magnitude = self.b.constant(Const::new(self.ty_of(v), magnitude));
        self.b.checked_binary(BinaryOp::Rem, v, magnitude)
    }

    fn bitcast(&mut self) {
        let options = self.options;
        let from = self.ty_where(|ty| ty != Type::Bool);
        let to = self.ty_where(|ty| options.bitcast(from, ty));
        if !options.bitcast(from, to) {
            return;
        }
        let a = self.operand(from);
        let v = if from.is_float() { self.known_bits(a, to) } else { self.b.bitcast(a, to) };
        self.keep(v);
    }

    fn select(&mut self) {
        let ty = self.ty();
        let condition = self.condition();
        let (a, b) = (self.operand(ty), self.operand(ty));
        // Whichever it is, it is bounded as the larger of the two would be.
        let floats = self.options.floats;
        let larger = |[a, b]: [Bounds; 2]| floats.binary_bounds(BinaryOp::Max, a, b);
        let ([a, b], bounds) = self.fitting([a, b], larger);
        let v = self.b.select(condition, a, b);
        self.keep_within(v, bounds);
    }

    fn fma(&mut self) {
        let ty = self.ty_where(Type::is_float);
        if !self.options.fma() || !ty.is_float() {
            return;
        }
        let operands = [self.operand(ty), self.operand(ty), self.operand(ty)];
        let floats = self.options.floats;
        let ([a, b, c], bounds) = self.fitting(operands, |all| floats.fma_bounds(all));
        let v = self.b.fma(a, b, c);
        self.keep_within(v, bounds);
    }

    fn buffer(&mut self, fits: impl Fn(&Buffer) -> bool) -> Option<Buffer> {
        let fitting: Vec<Buffer> = self.buffers.iter().copied().filter(fits).collect();
        if fitting.is_empty() { None } else { Some(*self.rng.pick(&fitting)) }
    }

    fn load(&mut self) {
        if let Some(Buffer { param, .. }) = self.buffer(|buffer| buffer.role == Role::Input) {
            let index = self.index(param);
            let v = self.b.checked_load(param, index);
            self.keep(v);
        }
    }

    /// An index within a buffer that, if it is an input, is as long as the grid at least.
    fn index(&mut self, buffer: Param) -> Value {
        let len = self.b.len(buffer);
        let one = self.b.constant(1u32);
        let last = self.b.binary(BinaryOp::Sub, len, one);
        match (self.at, self.rng.below(8)) {
            (Some(at), 0 | 1) => at,
            // Reversed, the neighbours, strided.
            (Some(at), 2) => self.b.binary(BinaryOp::Sub, last, at),
            (Some(at), 3) => {
                let next = self.b.binary(BinaryOp::Add, at, one);
                self.b.binary(BinaryOp::Min, next, last)
            }
            (Some(at), 4) => {
                let after = self.b.binary(BinaryOp::Max, at, one);
                self.b.binary(BinaryOp::Sub, after, one)
            }
            (Some(at), 5) => {
                let stride = self.b.constant(2 + self.rng.below(3) as u32);
                let far = self.b.binary(BinaryOp::Mul, at, stride);
                self.b.binary(BinaryOp::Min, far, last)
            }
            (_, 6) => self.b.constant(0u32),
            _ => self.gather(buffer),
        }
    }

    /// Any index within a buffer that is not empty.
    fn gather(&mut self, buffer: Param) -> Value {
        let v = self.operand(Type::U32);
        let len = self.b.len(buffer);
        let one = self.b.constant(1u32);
        let len = self.b.binary(BinaryOp::Max, len, one);
        self.b.checked_binary(BinaryOp::Rem, v, len)
    }

    fn load_own(&mut self) {
        let own = self.buffer(|buffer| buffer.role == Role::Own);
        if let (Some(Buffer { param, .. }), Some(at)) = (own, self.at) {
            let v = self.b.checked_load(param, at);
            self.keep(v);
        }
    }

    fn store_own(&mut self, buffer: Buffer) {
        if let Some(at) = self.at {
            let v = self.slot_operand(buffer.element);
            self.b.checked_store(buffer.param, at, v);
        }
    }

    fn store_all(&mut self) {
        for buffer in self.buffers.clone() {
            if is_output(&buffer) {
                self.store_own(buffer);
            }
        }
    }

    /// A store under a condition.
    fn store_sometimes(&mut self) {
        if let Some(buffer) = self.buffer(is_output)
            && self.rng.chance(50)
        {
            let condition = self.condition();
            let then = self.inner(|w| w.store_own(buffer));
            self.b.stmt(Stmt::If { condition, then, otherwise: Vec::new() });
        }
    }

    fn atomic(&mut self) {
        let changed = |buffer: &Buffer| matches!(buffer.role, Role::Count(_) | Role::Flag(_));
        let Some(Buffer { param, element, role, .. }) = self.buffer(changed) else {
            return;
        };
        let index = self.gather(param);
        match role {
            Role::Count(op) => {
                let operand = self.operand(element);
                let opposite = op == AtomicOp::Add && self.rng.chance(50);
                let op = if opposite { AtomicOp::Sub } else { op };
                self.b.check_bounds(param, index);
                self.b.value(element, Inst::Atomic(op, param, index, operand));
            }
            Role::Flag(c) => {
                let v = self.b.constant(c);
                if self.rng.chance(40) {
                    // Whatever the order, what holds the expected bits ends as the constant.
                    let expected = self.operand(element);
                    self.b.check_bounds(param, index);
                    self.b.value(element, Inst::CompareSwap(param, index, expected, v));
                } else {
                    self.b.check_bounds(param, index);
                    self.b.stmt(Stmt::AtomicStore(param, index, v));
                }
            }
            Role::Input | Role::Own | Role::Watch => {}
        }
    }

    fn atomic_load(&mut self) {
        if let Some(Buffer { param, element, .. }) =
            self.buffer(|buffer| buffer.role == Role::Watch)
        {
            let index = self.gather(param);
            self.b.check_bounds(param, index);
            let v = self.b.value(element, Inst::AtomicLoad(param, index));
            self.keep(v);
        }
    }

    fn get(&mut self) {
        let (local, _) = *self.rng.pick(&self.variables);
        let v = self.b.get(local);
        self.keep(v);
    }

    fn set(&mut self) {
        let (local, ty) = *self.rng.pick(&self.variables);
        let v = self.slot_operand(ty);
        self.b.set(local, v);
    }

    fn array(&mut self) -> Option<(Local, Type, u32)> {
        if self.arrays.is_empty() { None } else { Some(*self.rng.pick(&self.arrays)) }
    }

    fn get_element(&mut self) {
        if let Some((local, _, len)) = self.array() {
            let index = self.array_index(len);
            let v = self.b.checked_get_element(local, index);
            self.keep(v);
        }
    }

    fn set_element(&mut self) {
        if let Some((local, ty, len)) = self.array() {
            let index = self.array_index(len);
            let v = self.slot_operand(ty);
            self.b.checked_set_element(local, index, v);
        }
    }

    /// An index below a constant length.
    fn array_index(&mut self, len: u32) -> Value {
        let v = self.operand(Type::U32);
        if len.is_power_of_two() {
            let mask = self.b.constant(len - 1);
            return self.b.binary(BinaryOp::And, v, mask);
        }
        let len = self.b.constant(len);
        self.b.checked_binary(BinaryOp::Rem, v, len)
    }

    /// Once more what is in scope already: food for common subexpressions.
    fn repeat_value(&mut self) {
        let Some(at) = self.rng.below(self.scope.len() + 1).checked_sub(1) else {
            return;
        };
        let def = self.b.function().def(self.scope[at]).clone();
        // A division stays right behind its check.
        let divides = matches!(def.inst, Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..));
        if def.inst.is_pure() && !divides {
            let bounds = self.bounds.get(&self.scope[at]).copied();
            let v = self.b.value(def.ty, def.inst);
            self.keep_within(v, bounds);
        }
    }

    /// In an entry, a value that is the same for all invocations.
    fn uniform(&mut self, ty: Type) -> Value {
        let fits = |scalar: &(Param, Type)| scalar.1 == ty;
        let fitting: Vec<Param> =
            self.scalars.iter().copied().filter(fits).map(|(param, _)| param).collect();
        if !fitting.is_empty() && self.rng.chance(70) {
            return self.b.argument(*self.rng.pick(&fitting));
        }
        match self.buffer(|_| true) {
            Some(buffer) if ty.is_int() => {
                let len = self.b.len(buffer.param);
                if ty == Type::U32 { len } else { self.b.cast(len, ty) }
            }
            Some(_) | None => self.constant(ty),
        }
    }

    fn condition(&mut self) -> Value {
        let comparisons: Vec<BinaryOp> =
            BinaryOp::ALL.iter().copied().filter(|op| op.is_comparison()).collect();
        let op = *self.rng.pick(&comparisons);
        let options = self.options;
        let ty = self.ty_where(|ty| ty != Type::Bool && options.binary(op, ty));
        match self.rng.below(10) {
            0..=2 => {
                let (a, b) = (self.uniform(ty), self.constant(ty));
                self.b.binary(op, a, b)
            }
            3..=5 => self.operand(Type::Bool),
            _ => {
                let (a, b) = (self.operand(ty), self.operand(ty));
                let v = self.b.binary(op, a, b);
                self.keep(v);
                v
            }
        }
    }

    /// A condition that holds for about one in eight invocations.
    fn rare_condition(&mut self) -> Value {
        let v = self.operand(Type::U32);
        let low = self.masked(v);
        let some = self.b.constant(self.rng.below(8) as u32);
        self.b.binary(BinaryOp::Eq, low, some)
    }

    /// `v & 7`.
    fn masked(&mut self, v: Value) -> Value {
        let ty = self.ty_of(v);
        let mask = self.b.constant(Const::new(ty, 7));
        self.b.binary(BinaryOp::And, v, mask)
    }

    /// A block inside. What it computes is out of scope afterwards.
    fn inner(&mut self, fill: impl FnOnce(&mut Self)) -> Block {
        let scope = self.scope.len();
        self.depth += 1;
        self.b.open();
        fill(self);
        self.depth -= 1;
        self.scope.truncate(scope);
        self.b.close()
    }

    fn branch(&mut self) {
        let condition = self.condition();
        let then = self.inner(|w| w.some_statements());
        let both = self.rng.chance(50);
        let otherwise = if both { self.inner(|w| w.some_statements()) } else { Vec::new() };
        self.b.stmt(Stmt::If { condition, then, otherwise });
    }

    fn some_statements(&mut self) {
        let count = 1 + self.rng.below(5);
        self.statements(count);
    }

    /// The body of a loop that runs at most so often.
    fn loop_body(&mut self, trips: usize) {
        self.loops += 1;
        self.weight *= trips;
        self.some_statements();
        if self.rng.chance(8) {
            let jump = if self.rng.chance(50) { Stmt::Break } else { Stmt::Continue };
            self.b.stmt(jump);
        }
        self.weight /= trips;
        self.loops -= 1;
    }

    /// `for`: with bounds that are constant, uniform or neither.
    fn count(&mut self) {
        if self.weight * 12 > WEIGHT_MAX {
            return;
        }
        let ty = self.ty_where(Type::is_int);
        let (start, end) = self.range(ty);
        let step = 1 + self.rng.below(3) as u32;
        let counter = self.b.counter(ty);
        let body = self.inner(|w| {
            w.scope.push(counter);
            w.loop_body(12);
        });
        self.b.stmt(Stmt::For { counter, start, end, step, body });
    }

    /// `for i in 0..end { … buffer[i] … }`, with an end within the buffer that is anything else.
    fn walk(&mut self) {
        let buffer = self.buffer(|buffer| buffer.role == Role::Input);
        let Some(Buffer { param, .. }) = buffer.filter(|_| self.weight * 8 <= WEIGHT_MAX) else {
            return;
        };
        let v = self.operand(Type::U32);
        let few = self.masked(v);
        let len = self.b.len(param);
        let end = self.b.binary(BinaryOp::Min, few, len);
        let start = self.b.constant(0u32);
        let counter = self.b.counter(Type::U32);
        let body = self.inner(|w| {
            let v = w.b.checked_load(param, counter);
            w.keep(v);
            w.loop_body(8);
        });
        self.b.stmt(Stmt::For { counter, start, end, step: 1, body });
    }

    /// Two bounds less than twelve apart.
    fn range(&mut self, ty: Type) -> (Value, Value) {
        let near = self.rng.below(4) as u64;
        if self.rng.chance(10) {
            // The next counter would overflow: the loop has to end all the same.
            let max = if ty.is_signed_int() { u64::MAX >> (65 - ty.bits()) } else { u64::MAX };
            let start = self.b.constant(Const::new(ty, max - near));
            return (start, self.b.constant(Const::new(ty, max)));
        }
        let low = if ty.is_signed_int() { near.wrapping_neg() } else { near };
        let start = self.b.constant(Const::new(ty, low));
        let end = match self.rng.below(3) {
            0 => self.b.constant(Const::new(ty, self.rng.below(8) as u64)),
            1 => {
                let v = self.uniform(ty);
                self.masked(v)
            }
            _ => {
                let v = self.operand(ty);
                self.masked(v)
            }
        };
        (start, end)
    }

    /// `loop`, left when a counter of its own reaches a bound.
    fn repeat(&mut self) {
        if self.weight * 8 > WEIGHT_MAX {
            return;
        }
        let counter = self.b.local(Type::U32, None);
        let v = if self.rng.chance(50) { self.operand(Type::U32) } else { self.uniform(Type::U32) };
        let end = self.masked(v);
        let zero = self.b.constant(0u32);
        self.b.set(counter, zero);
        let body = self.inner(|w| {
            let at = w.b.get(counter);
            let done = w.b.binary(BinaryOp::Ge, at, end);
            w.b.if_else(done, |b| b.stmt(Stmt::Break), |_| {});
            let one = w.b.constant(1u32);
            let next = w.b.binary(BinaryOp::Add, at, one);
            w.b.set(counter, next);
            w.scope.push(at);
            w.loop_body(8);
        });
        self.b.stmt(Stmt::Loop(body));
    }

    /// A jump under a condition.
    fn leave(&mut self) {
        let mut jumps = Vec::new();
        if self.loops > 0 {
            jumps.extend([Stmt::Break, Stmt::Continue]);
        }
        if self.returns > 0 {
            jumps.push(Stmt::Return);
        }
        if jumps.is_empty() {
            return;
        }
        let jump = self.rng.pick(&jumps).clone();
        let ends = jump == Stmt::Return;
        self.returns -= usize::from(ends);
        let condition = if ends { self.rare_condition() } else { self.condition() };
        let then = self.inner(|w| {
            let count = w.rng.below(3);
            w.statements(count);
            if ends && w.rng.chance(70) {
                w.give_result();
            }
            if ends {
                w.call_itself(true);
            }
            w.b.stmt(jump);
        });
        self.b.stmt(Stmt::If { condition, then, otherwise: Vec::new() });
    }

    fn give_result(&mut self) {
        let Some((local, ty)) = self.result else {
            return;
        };
        let mut v = self.slot_operand(ty);
        if self.plus_zero && ty.is_float() {
            let zero = self.b.constant(Const::zero(ty));
            v = self.b.binary(BinaryOp::Add, v, zero);
        }
        self.b.set(local, v);
    }

    /// Where the function may: a call of itself, and nothing behind it.
    fn call_itself(&mut self, returns: bool) {
        let Some((own, left)) = self.left else { return };
        let zero = self.b.constant(0u32);
        let condition = self.b.binary(BinaryOp::Ne, left, zero);
        let then = self.inner(|w| {
            let one = w.b.constant(1u32);
            let fewer = w.b.binary(BinaryOp::Sub, left, one);
            let kinds: Vec<ParamKind> = w.b.function().params.iter().map(|p| p.kind).collect();
            let is =
                |w: &Writer<'_>, v: Value, param| w.b.function().def(v).inst == Inst::Param(param);
            let args =
                kinds.into_iter().zip((0..).map(Param)).map(|(kind, param)| match (kind, w.at) {
                    (ParamKind::Scalar(_), _) if is(w, left, param) => CallArg::Value(fewer),
                    (ParamKind::Scalar(_), Some(at)) if is(w, at, param) => CallArg::Value(at),
                    (ParamKind::Scalar(ty), _) => CallArg::Value(w.slot_operand(ty)),
                    (ParamKind::Buffer { .. } | ParamKind::Shared { .. }, _) => {
                        CallArg::Buffer(param)
                    }
                });
            let args: Box<[CallArg]> = args.collect();
            match w.result {
                Some((local, ty)) => {
                    let v = w.b.value(ty, Inst::Call(own, args));
                    w.b.set(local, v);
                }
                None => w.b.stmt(Stmt::CallVoid(own, args, Span::default())),
            }
            if returns {
                w.b.stmt(Stmt::Return);
            }
        });
        self.b.stmt(Stmt::If { condition, then, otherwise: Vec::new() });
    }

    fn call(&mut self, result: Use) {
        let helpers = self.helpers;
        let fitting: Vec<&Callee> = helpers.iter().filter(|callee| self.can_call(callee)).collect();
        if fitting.is_empty() {
            return;
        }
        let callee = *self.rng.pick(&fitting);
        let args: Box<[CallArg]> =
            (0..callee.function.params.len()).map(|at| self.argument(callee, at)).collect();
        self.cost += self.weight * callee.cost;
        match (result, callee.function.result) {
            (Use::Kept, Some(local)) => {
                let ty = callee.function.locals[local.index()].ty;
                let v = self.b.value(ty, Inst::Call(callee.helper, args));
                self.keep(v);
            }
            (Use::Kept, None) | (Use::Dropped, _) => {
                self.b.stmt(Stmt::CallVoid(callee.helper, args, Span::default()));
            }
        }
    }

    fn can_call(&self, callee: &Callee) -> bool {
        self.cost + self.weight * callee.cost <= COST_MAX
            && (callee.at.is_none() || self.at.is_some())
            && callee.buffers.iter().all(|want| self.buffers.iter().any(|have| serves(have, want)))
    }

    fn argument(&mut self, callee: &Callee, at: usize) -> CallArg {
        let param = Param(at as u32);
        match (callee.function.params[at].kind, self.at) {
            (ParamKind::Scalar(_), Some(own)) if callee.at == Some(param) => CallArg::Value(own),
            (ParamKind::Scalar(_), _) if callee.left == Some(param) => {
                let some = self.slot_operand(Type::U32);
                let most = self.b.constant(OWN_CALLS_MAX as u32);
                CallArg::Value(self.b.binary(BinaryOp::And, some, most))
            }
            (ParamKind::Scalar(ty), _) => CallArg::Value(self.slot_operand(ty)),
            (ParamKind::Buffer { .. } | ParamKind::Shared { .. }, _) => {
                let want = callee.buffers.iter().find(|buffer| buffer.param == param);
                let want = *want.expect("a helper's buffers are all listed");
                let have = self.buffer(|have| serves(have, &want));
                CallArg::Buffer(have.expect("`can_call` found one").param)
            }
        }
    }
}

/// Whether the result of a call is used.
#[derive(Clone, Copy)]
enum Use {
    Kept,
    Dropped,
}

fn is_output(buffer: &Buffer) -> bool {
    buffer.role == Role::Own && buffer.access == Access::ReadWrite
}

/// Whether a caller's buffer can be passed for a helper's.
fn serves(have: &Buffer, want: &Buffer) -> bool {
    let access = have.access == want.access || want.access == Access::Read;
    have.element == want.element && have.role == want.role && access
}

/// A value of a type: small numbers, special ones, any bits; a float of the kind that is wanted.
fn constant(rng: &mut Random, ty: Type, floats: Floats) -> Const {
    if ty.is_float() && floats.is_bounded() {
        return slot_constant(rng, ty, floats);
    }
    let c = match rng.below(10) {
        0..=2 => *rng.pick(&specials(ty)),
        3..=6 => small(rng, ty),
        7..=8 if ty.is_float() => {
            let v = (rng.next_u32() as i32) as f64 / 65536.0;
            if ty == Type::F32 { (v as f32).into() } else { v.into() }
        }
        _ => Const::new(ty, rng.next_u64()),
    };
    if floats == Floats::Normal && is_denormal(c) { Const::one(ty) } else { c }
}

/// An integer near zero.
fn small(rng: &mut Random, ty: Type) -> Const {
    let v = rng.below(24) as i32 - 4;
    match ty {
        Type::F32 => (v as f32).into(),
        Type::F64 => f64::from(v).into(),
        Type::Bool | Type::U32 | Type::U64 => Const::new(ty, u64::from(v.unsigned_abs())),
        Type::I32 | Type::I64 => Const::new(ty, i64::from(v) as u64),
    }
}

fn specials(ty: Type) -> Vec<Const> {
    match ty {
        Type::Bool => vec![false.into(), true.into()],
        Type::F32 => [
            f32::NAN,
            f32::INFINITY,
            f32::NEG_INFINITY,
            0.0,
            -0.0,
            f32::MIN,
            f32::MAX,
            f32::MIN_POSITIVE,
            f32::EPSILON,
            0.5,
            -1.5,
            2.5,
            16_777_216.0,
            2_147_483_648.0,
            -2_147_483_648.0,
            4_294_967_296.0,
        ]
        .map(Const::from)
        .to_vec(),
        Type::F64 => [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            f64::MIN,
            f64::MAX,
            f64::MIN_POSITIVE,
            f64::EPSILON,
            0.5,
            -1.5,
            2.5,
            9_007_199_254_740_992.0,
            9_223_372_036_854_775_808.0,
            -9_223_372_036_854_775_808.0,
            18_446_744_073_709_551_616.0,
        ]
        .map(Const::from)
        .to_vec(),
        Type::I32 | Type::U32 | Type::I64 | Type::U64 => {
            let top = 1u64 << (ty.bits() - 1);
            [0, 1, u64::MAX, top, top - 1, top + 1, 31, 32, 63, 64, 255, 256, 65_535, 65_536]
                .map(|bits| Const::new(ty, bits))
                .to_vec()
        }
    }
}

fn is_denormal(c: Const) -> bool {
    match c.ty {
        Type::F32 => f32::from_bits(c.bits as u32).is_subnormal(),
        Type::F64 => f64::from_bits(c.bits).is_subnormal(),
        Type::Bool | Type::I32 | Type::U32 | Type::I64 | Type::U64 => false,
    }
}

/// Arguments for about `n` invocations, and the grid they give: random values mixed with special
/// ones, buffers as long as the grid or a little longer, garbage in those that are written. With
/// `n` = 0 the grid is empty. The floats are to be of the kind the kernel was made for.
pub fn arguments(rng: &mut Random, kernel: &Kernel, n: u32, floats: Floats) -> (Vec<Data>, Grid) {
    let grid = extents(rng, kernel, n);
    let total = grid.iter().product::<u32>() as usize;
    let params = &kernel.entry.params[..kernel.entry.arity()];
    let values = params.iter().enumerate().map(|(at, def)| {
        let axis = |extent: Extent| kernel.grid.iter().position(|other| *other == extent);
        match def.kind {
            ParamKind::Scalar(ty) => Data::Scalar(match axis(Extent::Scalar(Param(at as u32))) {
                Some(axis) => grid[axis].into(),
                None => constant(rng, ty, floats),
            }),
            ParamKind::Shared { .. } => unreachable!("shared arrays are no arguments"),
            ParamKind::Buffer { element, access } => {
                let output = kernel.collective.filter(|_| at + 1 == params.len());
                let len = match (axis(Extent::Len(Param(at as u32))), output, access) {
                    (Some(axis), ..) => grid[axis] as usize,
                    (None, Some(Collective { kind: CollectiveKind::Reduce, .. }), _) => 1,
                    (None, Some(Collective { kind: CollectiveKind::Scan, .. }), _) => total,
                    (None, None, Access::Atomic) => 1 + rng.below(16),
                    (None, None, Access::Read | Access::ReadWrite) => total + rng.below(4),
                };
                data(rng, element, len, floats)
            }
        }
    });
    (values.collect(), grid)
}

/// A buffer of random values.
fn data(rng: &mut Random, element: Type, len: usize, floats: Floats) -> Data {
    let bits = (0..len).map(|_| constant(rng, element, floats).bits);
    if element.is_wide() {
        Data::Wide(bits.collect())
    } else {
        Data::Narrow(bits.map(|bits| bits as u32).collect())
    }
}

/// A grid of about `n` invocations.
fn extents(rng: &mut Random, kernel: &Kernel, n: u32) -> Grid {
    let mut grid = [1; 3];
    let mut left = n;
    for (axis, extent) in kernel.grid.iter().enumerate() {
        if let Extent::Fixed(size) = extent {
            grid[axis] = *size;
            left /= (*size).max(1);
        }
    }
    let free: Vec<usize> = (0..kernel.grid.len())
        .filter(|axis| !matches!(kernel.grid[*axis], Extent::Fixed(_)))
        .collect();
    for (at, axis) in free.iter().enumerate() {
        let last = at + 1 == free.len();
        let size = if last { left } else { 1 + rng.below(left.min(20) as usize) as u32 };
        grid[*axis] = if n == 0 { 0 } else { size.max(1) };
        left /= size.max(1);
    }
    grid
}

/// Where a failing kernel fails.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    Load,
    Store,
    Array,
    Div,
    Rem,
}

/// A kernel and arguments of which exactly one invocation, a random one, fails a check: an index
/// beyond a buffer or an array, or an integer division by zero; in the entry or in a helper, in a
/// branch, a loop or neither.
pub fn failing_kernel(rng: &mut Random) -> (Kernel, Vec<Data>, Grid) {
    let fault = *rng.pick(&[Fault::Load, Fault::Store, Fault::Array, Fault::Div, Fault::Rem]);
    let mut b = Builder::new("failing");
    let x = b.buffer("x", Type::U32, Access::Read);
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let victim = b.scalar("victim", Type::U32);
    let at = b.id(Axis::X);
    let before = b.checked_load(x, at);
    b.checked_store(y, at, before);
    let victim = b.argument(victim);
    let helpers = if fault != Fault::Store && rng.chance(40) {
        let callee = failing_helper(fault);
        let args = [CallArg::Buffer(x), CallArg::Value(at), CallArg::Value(victim)];
        b.value(Type::U32, Inst::Call(Helper(0), args.into()));
        vec![callee]
    } else {
        match rng.below(3) {
            0 => fail_at(&mut b, fault, [x, y], at, victim),
            1 => {
                let here = b.binary(BinaryOp::Le, victim, at);
                b.if_else(here, |b| fail_at(b, fault, [x, y], at, victim), |_| {});
            }
            _ => {
                let (start, end) = (b.constant(0u32), b.constant(3u32));
                b.for_range(start, end, 1, |b, _| fail_at(b, fault, [x, y], at, victim));
            }
        }
        Vec::new()
    };
    let mut entry = b.finish();
    entry.compact();
    let grid = vec![Extent::Len(x)];
    let kernel = Kernel {
        entry,
        helpers,
        grid,
        collective: None,
        workgroup: None,
        contract: false,
        files: Vec::new(),
    };
    verify(&kernel).expect("failing kernels keep the rules of the IR");

    let n = 1 + rng.below(100);
    let victim = Const::from(rng.below(n) as u32);
    let mut buffer = || data(rng, Type::U32, n, Floats::Any);
    let args = vec![buffer(), buffer(), Data::Scalar(victim)];
    (kernel, args, [n as u32, 1, 1])
}

/// Fails where `at` is `victim`. `x` and `y` are as long as the grid.
fn fail_at(b: &mut Builder, fault: Fault, [x, y]: [Param; 2], at: Value, victim: Value) {
    let here = b.binary(BinaryOp::Eq, at, victim);
    let distance = b.binary(BinaryOp::Xor, at, victim);
    match fault {
        Fault::Load | Fault::Store => {
            let len = b.len(x);
            let index = b.select(here, len, at);
            if fault == Fault::Load {
                b.checked_load(x, index);
            } else {
                b.checked_store(y, index, at);
            }
        }
        Fault::Array => {
            let array = b.local(Type::U32, Some(4));
            let (inside, beyond) = (b.constant(3u32), b.constant(4u32));
            let index = b.select(here, beyond, inside);
            b.checked_set_element(array, index, at);
        }
        Fault::Div => {
            b.checked_binary(BinaryOp::Div, at, distance);
        }
        Fault::Rem => {
            b.checked_binary(BinaryOp::Rem, at, distance);
        }
    }
}

/// A helper that fails; it has no buffer to store to.
fn failing_helper(fault: Fault) -> Function {
    let mut b = Builder::new("fails");
    let x = b.buffer("data", Type::U32, Access::Read);
    let at = b.scalar("at", Type::U32);
    let victim = b.scalar("victim", Type::U32);
    let result = b.local(Type::U32, None);
    b.function_mut().result = Some(result);
    let (at, victim) = (b.argument(at), b.argument(victim));
    fail_at(&mut b, fault, [x, x], at, victim);
    b.set(result, at);
    let mut function = b.finish();
    function.compact();
    function
}

#[cfg(test)]
mod tests {
    use super::{Coverage, Floats, Options, Random, arguments, failing_kernel, kernel};
    use crate::error::RunError;
    use crate::interp::{self, Data};
    use crate::ir::text::parse;
    use crate::ir::{Access, Const, Inst, Kernel, ParamKind, Type};

    #[test]
    fn kernels_run_and_cover_everything() {
        for exact in [true, false] {
            let options = Options { exact, transcendental: !exact, ..Options::default() };
            let mut coverage = Coverage::default();
            for seed in 0..600 {
                let mut rng = Random::new(seed);
                let kernel = kernel(&mut rng, &options);
                assert_eq!(parse(&kernel.to_string()), Ok(kernel.clone()), "seed {seed}");
                let n = *rng.pick(&[0, 1, 2, 5, 17]);
                let (mut args, grid) = arguments(&mut rng, &kernel, n, Floats::Any);
                let outcome = interp::run(&kernel, &mut args, grid, None);
                assert_eq!(outcome, Ok(()), "seed {seed}\n{kernel}");
                coverage.add(&kernel);
            }
            assert_eq!(coverage.missing(&options), Vec::<String>::new());
        }
    }

    /// Options with floats of this kind among a few types.
    fn bounded(floats: Floats) -> Options {
        let types = vec![Type::I32, Type::F32, Type::F64];
        Options { types, exact: floats == Floats::Exact, floats, ..Options::default() }
    }

    #[test]
    fn bounded_floats_cover_everything() {
        for floats in [Floats::Exact, Floats::Rounded] {
            let options = bounded(floats);
            let mut coverage = Coverage::default();
            for seed in 0..600 {
                coverage.add(&kernel(&mut Random::new(seed), &options));
            }
            assert_eq!(coverage.missing(&options), Vec::<String>::new());
        }
    }

    /// The kernel with `f64` for `f32`; `None` where it looks at bits.
    fn widened(kernel: &Kernel) -> Option<Kernel> {
        let mut kernel = kernel.clone();
        let wide = |ty: &mut Type| {
            if *ty == Type::F32 {
                *ty = Type::F64;
            }
        };
        for function in std::iter::once(&mut kernel.entry).chain(&mut kernel.helpers) {
            let bits_of = |inst: &Inst| match inst {
                Inst::Bitcast(v) => function.ty(*v).is_float(),
                _ => false,
            };
            if function.values.iter().any(|def| bits_of(&def.inst)) {
                return None;
            }
            for def in &mut function.values {
                wide(&mut def.ty);
                if let Inst::Const(c) = &mut def.inst
                    && c.ty == Type::F32
                {
                    *c = c.to_f64().into();
                }
            }
            function.locals.iter_mut().for_each(|local| wide(&mut local.ty));
            for param in &mut function.params {
                match &mut param.kind {
                    ParamKind::Scalar(ty)
                    | ParamKind::Buffer { element: ty, .. }
                    | ParamKind::Shared { element: ty, .. } => wide(ty),
                }
            }
        }
        Some(kernel)
    }

    fn floats_of(data: &Data, ty: Type) -> Vec<f64> {
        match data {
            Data::Scalar(c) => vec![c.to_f64()],
            Data::Narrow(v) => v.iter().map(|&bits| Const::new(ty, bits.into()).to_f64()).collect(),
            Data::Wide(v) => v.iter().map(|&bits| Const::new(ty, bits).to_f64()).collect(),
        }
    }

    #[test]
    fn bounds_hold_against_a_wider_type() {
        for (floats, least) in [(Floats::Exact, 100), (Floats::Rounded, 400)] {
            let mut looked_at = 0;
            for seed in 0..400 {
                let mut rng = Random::new(seed);
                let kernel = kernel(&mut rng, &bounded(floats));
                let Some(wide) = widened(&kernel) else { continue };
                let (mut args, grid) = arguments(&mut rng, &kernel, 40, floats);
                let types: Vec<Type> = element_types(&kernel);
                let mut wide_args: Vec<Data> =
                    args.iter().zip(&types).map(|(arg, ty)| widened_data(arg, *ty)).collect();
                interp::run(&kernel, &mut args, grid, None).expect("no check fails");
                interp::run(&wide, &mut wide_args, grid, None).expect("no check fails");
                let wide_types = element_types(&wide);
                for (at, arg) in args.iter().enumerate() {
                    let n = grid.iter().product();
                    let most = floats.tolerance(&kernel, at, n) / 2.0;
                    let narrow = floats_of(arg, types[at]);
                    for (a, b) in narrow.iter().zip(floats_of(&wide_args[at], wide_types[at])) {
                        assert!((a - b).abs() <= most, "seed {seed}: {a} and {b}\n{kernel}");
                    }
                }
                looked_at += 1;
            }
            assert!(looked_at >= least, "{looked_at} kernels of {floats:?} were looked at");
        }
    }

    fn element_types(kernel: &Kernel) -> Vec<Type> {
        kernel.entry.params.iter().map(|param| param.kind.ty()).collect()
    }

    fn widened_data(data: &Data, ty: Type) -> Data {
        match data {
            Data::Scalar(c) if ty == Type::F32 => Data::Scalar(c.to_f64().into()),
            Data::Narrow(_) if ty == Type::F32 => {
                Data::Wide(floats_of(data, ty).into_iter().map(f64::to_bits).collect())
            }
            Data::Scalar(_) | Data::Narrow(_) | Data::Wide(_) => data.clone(),
        }
    }

    #[test]
    fn failing_kernels_fail() {
        for seed in 0..100 {
            let (kernel, mut args, grid) = failing_kernel(&mut Random::new(seed));
            let outcome = interp::run(&kernel, &mut args, grid, None);
            assert!(matches!(outcome, Err(RunError::Failed(_))), "seed {seed}\n{kernel}");
        }
    }

    #[test]
    fn narrow_options_are_kept() {
        let options = Options {
            types: vec![Type::F32, Type::I32],
            axes: 1,
            atomics: false,
            collectives: false,
            ..Options::default()
        };
        for seed in 0..50 {
            let kernel = kernel(&mut Random::new(seed), &options);
            assert_eq!(kernel.axes(), 1);
            assert!(kernel.entry.buffers().all(|(_, _, access)| access != Access::Atomic));
            assert!(kernel.entry.values.iter().all(|def| !def.ty.is_wide()));
        }
    }
}
