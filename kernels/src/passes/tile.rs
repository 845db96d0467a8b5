//! Several grid points for one invocation, for devices that are not cut into vectors here.
//!
//! ```text
//! kernel(x, y)  ==  for each i < Tx, j < Ty: the point (min(x + i gx, ex - 1), min(y + j gy, ey - 1))
//! ```
//!
//! where g is the extent of the smaller grid and e that of the whole one. What depends on both axes is
//! computed for each point of the tile, what depends on one for each position along it, what depends on none
//! once: loads and sums that neighbours share are made once for all of them. Points of a tile lie a grid
//! apart, so that neighbouring invocations still touch neighbouring elements. At the end of an axis the last
//! point is computed again, which changes nothing: only kernels are taken that load nothing they store. All
//! points of a tile take the same way, so conditions and ends of loops may not depend on an axis of it.

use crate::analysis::is_idempotent;
use crate::ir::{
    Axis, BinaryOp, Block, Const, Function, Inst, Kernel, Local, LocalDef, Param, ParamDef,
    ParamKind, Span, Stmt, Type, Value, ValueDef,
};

/// Points of a tile along x and y.
pub type Size = [u32; 2];

/// Points of a tile at most: each has variables of its own.
const POINTS_MAX: u32 = 16;

/// Elements of variables of a tile at most.
const REGISTERS_MAX: u32 = 64;

/// Twice the points are worth it where each then loads at most so much of what it did.
const GAIN: f64 = 0.8;

/// The kernel for tiles of this size, whose arguments are followed by the whole extents of x and y; `None`
/// where it is none of those that can be tiled.
pub fn run(kernel: &Kernel, size: Size) -> Option<Kernel> {
    is_idempotent(&kernel.entry).then(|| replicate(kernel, size, Places::Apart))?
}

/// Where the points of a tile lie along an axis.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// A grid apart; beyond the end of the axis, the last point again.
    Apart,
    /// Side by side along x. Whoever runs it sees to it that the extent is a multiple of the side.
    Together,
}

/// The kernel with each statement once for each point of a tile. A collective keeps its own extent, and its result is
/// an array of what the points give.
pub(super) fn replicate(kernel: &Kernel, size: Size, places: Places) -> Option<Kernel> {
    let deps = Dependences::of(kernel, size, places)?;
    let old = &kernel.entry;
    let mut params = old.params.clone();
    let whole = kernel.collective.is_none().then(|| {
        ["whole_x", "whole_y"].map(|name| {
            let name = unlike(name, &params);
            params.push(ParamDef { name, kind: ParamKind::Scalar(Type::U32) });
            Param(params.len() as u32 - 1)
        })
    });
    let function = Function {
        name: old.name.clone(),
        params,
        sites: old.sites.clone(),
        ..Function::default()
    };
    let points = (size[0] * size[1]) as usize;
    let map = vec![vec![None; points]; old.values.len()];
    let axes = kernel.axes();
    let locals = Vec::new();
    let mut tiler = Tiler { old, axes, deps, size, places, whole, new: function, map, locals };
    tiler.locals();
    let mut body = tiler.points();
    tiler.block(&old.body, &mut body);
    if !matches!(old.body.last(), Some(Stmt::Return)) {
        tiler.leave_results(&mut body);
    }
    tiler.new.body = body;
    let mut tiled = Kernel { entry: tiler.new, ..kernel.clone() };
    if whole.is_some() {
        tiled.grid.fill(crate::ir::Extent::Given);
    }
    tiled.entry.compact();
    Some(tiled)
}

/// The size of tiles that saves loads, doubled as long as that saves enough: the more points, the less do registers
/// hold.
pub fn best(kernel: &Kernel) -> Size {
    let sides: &[&[Size]] = if kernel.axes() == 1 {
        &[&[[2, 1]], &[[4, 1]]]
    } else {
        &[&[[2, 1], [1, 2]], &[[2, 2]], &[[4, 2], [2, 4]], &[[4, 4]]]
    };
    if !is_idempotent(&kernel.entry) {
        return [1, 1];
    }
    let (entry, axes) = (&kernel.entry, kernel.axes());
    let deps = |size: Size| Dependences::of(kernel, size, Places::Apart);
    let loads = |size: Size| Some(deps(size)?.loads(entry, size, axes));
    // As if there were two axes, so that each load has its class.
    let Some(alone) = deps([2, 1]).map(|deps| deps.loads(entry, [1, 1], axes)) else {
        return [1, 1];
    };
    let mut best = (alone, [1, 1]);
    for sizes in sides {
        let next = sizes.iter().filter_map(|size| Some((loads(*size)?, *size)));
        let next = next.min_by(|a, b| a.0.total_cmp(&b.0));
        match next.filter(|(cost, _)| *cost <= GAIN * best.0 && best.0 > 0.0) {
            Some(next) => best = next,
            None => break,
        }
    }
    best.1
}

/// The grid of the tiled kernel.
pub fn grid(whole: [u32; 3], size: Size) -> [u32; 3] {
    [whole[0].div_ceil(size[0]), whole[1].div_ceil(size[1]), whole[2]]
}

fn unlike(name: &str, params: &[ParamDef]) -> String {
    let mut name = name.to_owned();
    while params.iter().any(|param| param.name == name) {
        name.push('_');
    }
    name
}

/// Depends on the position along x, along y: of the axes of the tile.
type Deps = u8;

fn bit(axis: Axis, size: Size) -> Deps {
    match axis {
        Axis::X if size[0] > 1 => 1,
        Axis::Y if size[1] > 1 => 2,
        Axis::X | Axis::Y | Axis::Z => 0,
    }
}

/// What depends on which axis of the tile.
struct Dependences {
    values: Vec<Deps>,
    locals: Vec<Deps>,
}

impl Dependences {
    /// `None` for a kernel that cannot be tiled.
    fn of(kernel: &Kernel, size: Size, places: Places) -> Option<Dependences> {
        let entry = &kernel.entry;
        let points = size[0].checked_mul(size[1])?;
        let gives_nothing = kernel.collective.is_none() && entry.result.is_none();
        let plain = (gives_nothing || places == Places::Together)
            && kernel.workgroup.is_none()
            && entry.shared().next().is_none();
        let fits = size.iter().all(|side| *side > 0) && (2..=POINTS_MAX).contains(&points);
        if !plain || !fits || (kernel.axes() == 1 && size[1] > 1) {
            return None;
        }
        let mut deps = Dependences {
            values: vec![0; entry.values.len()],
            locals: vec![0; entry.locals.len()],
        };
        if let Some(result) = entry.result {
            // Each point gives something, whether it knows where it is or not.
            deps.locals[result.index()] = bit(Axis::X, size);
        }
        loop {
            let before = deps.locals.clone();
            deps.look(entry, &entry.body, size)?;
            if deps.locals == before {
                break;
            }
        }
        let elements = |(at, local): (usize, &LocalDef)| {
            let copies = deps.copies(deps.locals[at], size);
            u64::from(local.array.unwrap_or(1)) * u64::from(copies)
        };
        let registers: u64 = entry.locals.iter().enumerate().map(elements).sum();
        (registers <= u64::from(REGISTERS_MAX)).then_some(deps)
    }

    fn copies(&self, of: Deps, size: Size) -> u32 {
        let along = |bit: Deps, side: u32| if of & bit != 0 { side } else { 1 };
        along(1, size[0]) * along(2, size[1])
    }

    /// Takes down what the statements say; `None` where points of a tile could part.
    fn look(&mut self, entry: &Function, block: &Block, size: Size) -> Option<()> {
        for stmt in block {
            match stmt {
                Stmt::Let(value) => self.values[value.index()] = self.of_inst(entry, *value, size),
                Stmt::Set(local, value) => {
                    self.locals[local.index()] |= self.values[value.index()];
                }
                Stmt::SetElement(local, index, value) => {
                    self.locals[local.index()] |=
                        self.values[index.index()] | self.values[value.index()];
                }
                Stmt::Store(..) | Stmt::Break | Stmt::Continue | Stmt::Return => {}
                Stmt::If { condition, then, otherwise } => {
                    if self.values[condition.index()] != 0 {
                        return None;
                    }
                    self.look(entry, then, size)?;
                    self.look(entry, otherwise, size)?;
                }
                Stmt::For { counter, start, end, body, .. } => {
                    if self.values[start.index()] | self.values[end.index()] != 0 {
                        return None;
                    }
                    self.values[counter.index()] = 0;
                    self.look(entry, body, size)?;
                }
                Stmt::Loop(body) => self.look(entry, body, size)?,
                Stmt::AtomicStore(..)
                | Stmt::Check { .. }
                | Stmt::CallVoid(..)
                | Stmt::Barrier(_)
                | Stmt::Each(_) => return None,
            }
        }
        Some(())
    }

    fn of_inst(&self, entry: &Function, value: Value, size: Size) -> Deps {
        let inst = &entry.def(value).inst;
        let mut deps = match inst {
            Inst::Id(axis) => bit(*axis, size),
            Inst::Get(local) | Inst::GetElement(local, _) => self.locals[local.index()],
            _ => 0,
        };
        let mut inst = inst.clone();
        inst.map_operands(&mut |v| {
            deps |= self.values[v.index()];
            v
        });
        deps
    }

    /// Loads for each point of a tile of this size: those inside of loops, or all, where there are none and the
    /// grid has two axes. Along one there are vectors for those.
    fn loads(&self, entry: &Function, size: Size, axes: usize) -> f64 {
        let mut count = [0u32; 2];
        entry.walk(&mut |stmt| match stmt {
            Stmt::For { body, .. } | Stmt::Loop(body) => {
                count[0] += body.iter().map(|stmt| self.load(entry, stmt, size)).sum::<u32>();
            }
            stmt => count[1] += self.load(entry, stmt, size),
        });
        let mut loops = false;
        entry.walk(&mut |stmt| loops |= matches!(stmt, Stmt::For { .. } | Stmt::Loop(_)));
        let loads = if loops || axes == 1 { count[0] } else { count[1] };
        f64::from(loads) / f64::from(size[0] * size[1])
    }

    /// How often a statement loads in a tile.
    fn load(&self, entry: &Function, stmt: &Stmt, size: Size) -> u32 {
        match stmt {
            Stmt::Let(value) if matches!(entry.def(*value).inst, Inst::Load(..)) => {
                self.copies(self.values[value.index()], size)
            }
            _ => 0,
        }
    }
}

struct Tiler<'k> {
    old: &'k Function,
    axes: usize,
    deps: Dependences,
    size: Size,
    places: Places,
    /// The whole extents, where the grid becomes smaller.
    whole: Option<[Param; 2]>,
    new: Function,
    /// For each old value, its new one at each point of the tile that tells it from others.
    map: Vec<Vec<Option<Value>>>,
    /// The same of variables.
    locals: Vec<Vec<Local>>,
}

impl Tiler<'_> {
    /// The number of the point that stands for point `at`, for what depends on this.
    fn of(&self, at: usize, deps: Deps) -> usize {
        let width = self.size[0] as usize;
        let (i, j) = (at % width, at / width);
        let (i, j) = (if deps & 1 != 0 { i } else { 0 }, if deps & 2 != 0 { j } else { 0 });
        j * width + i
    }

    /// The points that are told apart by what depends on this.
    fn each(&self, deps: Deps) -> Vec<usize> {
        let points = (self.size[0] * self.size[1]) as usize;
        (0..points).filter(|&at| self.of(at, deps) == at).collect()
    }

    fn locals(&mut self) {
        for (at, def) in self.old.locals.iter().enumerate() {
            let deps = self.deps.locals[at];
            let mut copies = Vec::new();
            for point in 0..(self.size[0] * self.size[1]) as usize {
                if self.of(point, deps) == point {
                    self.new.locals.push(def.clone());
                    copies.push(Local(self.new.locals.len() as u32 - 1));
                } else {
                    copies.push(copies[self.of(point, deps)]);
                }
            }
            self.locals.push(copies);
        }
        if let Some(result) = self.old.result {
            let points = self.size[0] * self.size[1];
            let def = LocalDef { array: Some(points), ..self.old.locals[result.index()].clone() };
            self.new.locals.push(def);
            self.new.result = Some(Local(self.new.locals.len() as u32 - 1));
        }
    }

    /// Where the function ends: what each point gives, if that is anything, goes into the array of results.
    fn leave_results(&mut self, into: &mut Block) {
        let (Some(own), Some(all)) = (self.old.result, self.new.result) else { return };
        let ty = self.old.locals[own.index()].ty;
        for (at, copy) in self.locals[own.index()].clone().into_iter().enumerate() {
            let place = Inst::Const(Const::from(at as u32));
            let place = self.push(into, Type::U32, place, Span::default());
            let value = self.push(into, ty, Inst::Get(copy), Span::default());
            into.push(Stmt::SetElement(all, place, value));
        }
    }

    fn push(&mut self, body: &mut Block, ty: Type, inst: Inst, span: Span) -> Value {
        let value = Value(self.new.values.len() as u32);
        self.new.values.push(ValueDef { ty, inst, span });
        body.push(Stmt::Let(value));
        value
    }

    /// Where the points of the tile lie: in place of `id.x` and `id.y`, and of the extents.
    fn points(&mut self) -> Block {
        let mut body = Block::new();
        for (side, axis) in [Axis::X, Axis::Y].into_iter().enumerate().take(self.axes) {
            let span = Span::default();
            let own = self.push(&mut body, Type::U32, Inst::Id(axis), span);
            if self.size[side] == 1 {
                self.place(axis, &[own]);
                continue;
            }
            let apart = self.places == Places::Apart || axis == Axis::Y;
            let Some(whole) = self.whole.filter(|_| apart) else {
                let along = self.together(&mut body, own, self.size[side]);
                self.place(axis, &along);
                continue;
            };
            let whole = whole[side];
            let mut push = |inst: Inst| self.push(&mut body, Type::U32, inst, span);
            let (extent, apart) = (push(Inst::Param(whole)), push(Inst::Extent(axis)));
            let one = push(Inst::Const(Const::from(1u32)));
            let last = push(Inst::Binary(BinaryOp::Sub, extent, one));
            let mut along = vec![own];
            for _ in 1..self.size[side] {
                let next = self.push(
                    &mut body,
                    Type::U32,
                    Inst::Binary(BinaryOp::Add, along[along.len() - 1], apart),
                    span,
                );
                along.push(next);
            }
            for value in &mut along[1..] {
                let within = Inst::Binary(BinaryOp::Min, *value, last);
                *value = self.push(&mut body, Type::U32, within, span);
            }
            self.place(axis, &along);
        }
        body
    }

    /// The points beside each other that an invocation has.
    fn together(&mut self, body: &mut Block, own: Value, side: u32) -> Vec<Value> {
        let span = Span::default();
        let mut push = |inst: Inst| self.push(body, Type::U32, inst, span);
        let width = push(Inst::Const(Const::from(side)));
        let first = push(Inst::Binary(BinaryOp::Mul, own, width));
        let mut along = vec![first];
        for at in 1..side {
            let by = push(Inst::Const(Const::from(at)));
            along.push(push(Inst::Binary(BinaryOp::Add, first, by)));
        }
        along
    }

    /// Puts these positions along an axis in place of the kernel's own.
    fn place(&mut self, axis: Axis, along: &[Value]) {
        let width = self.size[0] as usize;
        for (def, map) in self.old.values.iter().zip(&mut self.map) {
            if def.inst == Inst::Id(axis) {
                for (point, new) in map.iter_mut().enumerate() {
                    *new = Some(along[[point % width, point / width][axis.index()]]);
                }
            }
        }
    }

    fn value(&self, value: Value, at: usize) -> Value {
        let point = self.of(at, self.deps.values[value.index()]);
        self.map[value.index()][point]
            .expect("a verified kernel defines every value before its use")
    }

    fn block(&mut self, block: &Block, into: &mut Block) {
        for stmt in block {
            self.stmt(stmt, into);
        }
    }

    fn nested(&mut self, block: &Block) -> Block {
        let mut into = Block::new();
        self.block(block, &mut into);
        into
    }

    fn stmt(&mut self, stmt: &Stmt, into: &mut Block) {
        match stmt {
            Stmt::Let(value) => self.compute(*value, into),
            Stmt::Set(local, value) => {
                for at in self.each(self.deps.locals[local.index()]) {
                    into.push(Stmt::Set(self.locals[local.index()][at], self.value(*value, at)));
                }
            }
            Stmt::SetElement(local, index, value) => {
                for at in self.each(self.deps.locals[local.index()]) {
                    let (index, value) = (self.value(*index, at), self.value(*value, at));
                    into.push(Stmt::SetElement(self.locals[local.index()][at], index, value));
                }
            }
            Stmt::Store(buffer, index, value) => {
                let deps = &self.deps.values;
                for at in self.each(deps[index.index()] | deps[value.index()]) {
                    into.push(Stmt::Store(*buffer, self.value(*index, at), self.value(*value, at)));
                }
            }
            Stmt::If { condition, then, otherwise } => {
                let (then, otherwise) = (self.nested(then), self.nested(otherwise));
                into.push(Stmt::If { condition: self.value(*condition, 0), then, otherwise });
            }
            Stmt::For { counter, start, end, step, body } => {
                let new = Value(self.new.values.len() as u32);
                self.new.values.push(self.old.def(*counter).clone());
                self.map[counter.index()][0] = Some(new);
                let (start, end) = (self.value(*start, 0), self.value(*end, 0));
                let body = self.nested(body);
                into.push(Stmt::For { counter: new, start, end, step: *step, body });
            }
            Stmt::Loop(body) => {
                let body = self.nested(body);
                into.push(Stmt::Loop(body));
            }
            Stmt::Break => into.push(Stmt::Break),
            Stmt::Continue => into.push(Stmt::Continue),
            Stmt::Return => {
                self.leave_results(into);
                into.push(Stmt::Return);
            }
            Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_) => unreachable!("kernels with these are not tiled"),
        }
    }

    fn compute(&mut self, value: Value, into: &mut Block) {
        let def = self.old.def(value).clone();
        for at in self.each(self.deps.values[value.index()]) {
            let mut inst = match (&def.inst, self.whole) {
                // Known since the tile began.
                (Inst::Id(Axis::X | Axis::Y), _) => return,
                (Inst::Extent(Axis::X), Some([x, _])) => Inst::Param(x),
                (Inst::Extent(Axis::Y), Some([_, y])) => Inst::Param(y),
                (Inst::Get(local), _) => Inst::Get(self.locals[local.index()][at]),
                (Inst::GetElement(local, index), _) => {
                    Inst::GetElement(self.locals[local.index()][at], *index)
                }
                (other, _) => other.clone(),
            };
            inst.map_operands(&mut |v| self.value(v, at));
            let new = self.push(into, def.ty, inst, def.span);
            self.map[value.index()][at] = Some(new);
        }
    }
}
