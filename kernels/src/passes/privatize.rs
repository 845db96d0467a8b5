//! Histograms without contention, for devices with workgroup memory.
//!
//! ```text
//! bins[b].fetch_add(v)  ==  own[b].fetch_add(v) …, barrier, bins[b].fetch_add(own[b])
//! ```
//!
//! where `own` is shared by a workgroup, each invocation of which takes many points of the grid, and nobody
//! looks at what `fetch_add` gives. Sums of integers do not depend on their order.

use crate::ir::{
    Access, AtomicOp, Axis, BinaryOp, Block, Const, Function, Inst, Kernel, Local, Param, ParamDef,
    ParamKind, Span, Stmt, Type, Value, ValueDef, map_block,
};

/// Elements of a buffer at most that a workgroup has of its own.
pub const BINS_MAX: u32 = 1024;

/// Invocations of a workgroup.
pub const WORKGROUP: u32 = 256;

/// Points of an invocation, and workgroups at most: beyond that each takes more points.
const POINTS: u32 = 16;
const GROUPS_MAX: u32 = 4096;

/// A kernel whose workgroups count on their own.
#[derive(Clone, Debug)]
pub struct Privatized {
    /// Its arguments are followed by the extent of the grid and the rounds: see [`grid`].
    pub kernel: Kernel,
    /// The buffer that is counted in, at most [`BINS_MAX`] elements of it.
    pub bins: Param,
}

/// The grid of such a kernel for a grid of so many points, and how many of them an invocation takes.
pub fn grid(points: u32) -> (u32, u32) {
    let groups = points.div_ceil(WORKGROUP * POINTS).clamp(1, GROUPS_MAX);
    (groups * WORKGROUP, points.div_ceil(groups * WORKGROUP))
}

/// The kernel that counts so; `None` for a kernel that does not, or has checks or ways out.
pub fn run(kernel: &Kernel) -> Option<Privatized> {
    let plain = kernel.axes() == 1
        && kernel.collective.is_none()
        && kernel.workgroup.is_none()
        && kernel.entry.shared().next().is_none()
        && kernel.entry.locals.iter().all(|local| local.array.is_none());
    let bins = plain.then(|| counted(&kernel.entry)).flatten()?;
    let mut entry = kernel.entry.clone();
    let mut param = |name: &str, kind: ParamKind| {
        let mut name = name.to_owned();
        while entry.params.iter().any(|param| param.name == name) {
            name.push('_');
        }
        entry.params.push(ParamDef { name, kind });
        Param(entry.params.len() as u32 - 1)
    };
    let whole = param("whole", ParamKind::Scalar(Type::U32));
    let rounds = param("rounds", ParamKind::Scalar(Type::U32));
    let element = kernel.entry.params[bins.index()].kind.ty();
    let own = param("own", ParamKind::Shared { element, len: BINS_MAX, atomic: true });
    let mut writer = Writer { entry, whole, rounds, own, bins, element };
    writer.write();
    let mut kernel = Kernel { entry: writer.entry, ..kernel.clone() };
    kernel.workgroup = Some([WORKGROUP, 1, 1]);
    kernel.grid.fill(crate::ir::Extent::Given);
    kernel.entry.compact();
    Some(Privatized { kernel, bins })
}

/// The one atomic buffer, if all that is done with it is to add.
fn counted(entry: &Function) -> Option<Param> {
    let mut atomics = entry.buffers().filter(|(_, _, access)| *access == Access::Atomic);
    let (bins, element, _) = atomics.next()?;
    if atomics.next().is_some() || !matches!(element, Type::I32 | Type::U32) {
        return None;
    }
    let mut used = vec![false; entry.values.len()];
    let mut only_adds = true;
    entry.walk(&mut |stmt| {
        let mut stmt = stmt.clone();
        match &stmt {
            Stmt::Let(value) => {
                let mut inst = entry.def(*value).inst.clone();
                only_adds &= !matches!(inst, Inst::AtomicLoad(..) | Inst::CompareSwap(..))
                    && !matches!(inst, Inst::Atomic(op, ..) if op != AtomicOp::Add);
                inst.map_operands(&mut |v| {
                    used[v.index()] = true;
                    v
                });
            }
            // Passages of loops without end are counted over all points.
            Stmt::Loop(_)
            | Stmt::AtomicStore(..)
            | Stmt::Check { .. }
            | Stmt::Return
            | Stmt::CallVoid(..)
            | Stmt::Barrier(_)
            | Stmt::Each(_) => only_adds = false,
            _ => stmt.map_values(&mut |v| {
                used[v.index()] = true;
                v
            }),
        }
    });
    let looked_at =
        |(at, def): (usize, &ValueDef)| matches!(def.inst, Inst::Atomic(..)) && used[at];
    let adds = entry.values.iter().any(|def| matches!(def.inst, Inst::Atomic(..)));
    (adds && only_adds && !entry.values.iter().enumerate().any(looked_at)).then_some(bins)
}

struct Writer {
    entry: Function,
    whole: Param,
    rounds: Param,
    own: Param,
    bins: Param,
    element: Type,
}

impl Writer {
    fn value(&mut self, ty: Type, inst: Inst) -> Value {
        let value = Value(self.entry.values.len() as u32);
        self.entry.values.push(ValueDef { ty, inst, span: Span::default() });
        value
    }

    fn push(&mut self, block: &mut Block, ty: Type, inst: Inst) -> Value {
        let value = self.value(ty, inst);
        block.push(Stmt::Let(value));
        value
    }

    fn write(&mut self) {
        let mut body = std::mem::take(&mut self.entry.body);
        let before = self.entry.values.len();
        let mut out = Block::new();
        let id = self.push(&mut out, Type::U32, Inst::Id(Axis::X));
        let apart = self.push(&mut out, Type::U32, Inst::Extent(Axis::X));
        let whole = self.push(&mut out, Type::U32, Inst::Param(self.whole));
        let rounds = self.push(&mut out, Type::U32, Inst::Param(self.rounds));
        let zero = self.push(&mut out, Type::U32, Inst::Const(Const::from(0u32)));

        // One round: the point, if it is one, with variables as they begin.
        let round = self.value(Type::U32, Inst::Counter);
        let mut inside = Block::new();
        let ahead = self.push(&mut inside, Type::U32, Inst::Binary(BinaryOp::Mul, round, apart));
        let x = self.push(&mut inside, Type::U32, Inst::Binary(BinaryOp::Add, id, ahead));
        let is_point = self.push(&mut inside, Type::Bool, Inst::Binary(BinaryOp::Lt, x, whole));
        let mut point = Block::new();
        for at in 0..self.entry.locals.len() {
            let ty = self.entry.locals[at].ty;
            let zero = self.push(&mut point, ty, Inst::Const(Const::zero(ty)));
            point.push(Stmt::Set(Local(at as u32), zero));
        }
        self.take_points(&mut body, before, x);
        point.extend(body);
        inside.push(Stmt::If { condition: is_point, then: point, otherwise: Block::new() });
        out.push(Stmt::For { counter: round, start: zero, end: rounds, step: 1, body: inside });

        // What the group has counted.
        out.push(Stmt::Barrier(Span::default()));
        let first = self.push(&mut out, Type::U32, Inst::Local(Axis::X));
        let len = self.push(&mut out, Type::U32, Inst::Len(self.bins));
        let bin = self.value(Type::U32, Inst::Counter);
        let mut merge = Block::new();
        let count = self.push(&mut merge, self.element, Inst::AtomicLoad(self.own, bin));
        let none = self.push(&mut merge, self.element, Inst::Const(Const::zero(self.element)));
        let some = self.push(&mut merge, Type::Bool, Inst::Binary(BinaryOp::Ne, count, none));
        let mut add = Block::new();
        self.push(&mut add, self.element, Inst::Atomic(AtomicOp::Add, self.bins, bin, count));
        merge.push(Stmt::If { condition: some, then: add, otherwise: Block::new() });
        out.push(Stmt::For { counter: bin, start: first, end: len, step: WORKGROUP, body: merge });
        self.entry.body = out;
    }

    /// Has the kernel's own statements work on the point of the round and count in the group's memory.
    fn take_points(&mut self, body: &mut Block, own_values: usize, x: Value) {
        let mut ids = Vec::new();
        for (at, def) in self.entry.values[..own_values].iter_mut().enumerate() {
            match &mut def.inst {
                Inst::Id(Axis::X) => ids.push(Value(at as u32)),
                Inst::Extent(Axis::X) => def.inst = Inst::Param(self.whole),
                Inst::Atomic(_, buffer, ..) if *buffer == self.bins => *buffer = self.own,
                _ => {}
            }
        }
        let to_point = |v: Value| if ids.contains(&v) { x } else { v };
        for def in &mut self.entry.values[..own_values] {
            def.inst.map_operands(&mut { to_point });
        }
        remove_lets(body, &ids);
        map_block(body, &mut { to_point });
    }
}

fn remove_lets(block: &mut Block, values: &[Value]) {
    block.retain(|stmt| !matches!(stmt, Stmt::Let(value) if values.contains(value)));
    for inner in block.iter_mut().flat_map(Stmt::blocks_mut) {
        remove_lets(inner, values);
    }
}
