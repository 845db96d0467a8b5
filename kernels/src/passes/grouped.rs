//! What passes share that write kernels for whole workgroups with memory of their own ([`super::stage`],
//! [`super::halo`]).
//!
//! Groups reach beyond the grid: there the last point is computed again, which changes nothing, since only
//! kernels are taken that load nothing they store; so all invocations come to every barrier, and none is guarded.

use std::collections::HashMap;

use super::dce;
use super::rule::Hits;
use crate::analysis::is_idempotent;
use crate::ir::{
    Axis, BinaryOp, Block, Const, Extent, Function, Inst, Kernel, Param, ParamDef, ParamKind, Span,
    Stmt, Type, Value, ValueDef, map_block,
};

/// Whether an invocation can run twice, and in a group.
pub(super) fn is_plain(kernel: &Kernel) -> bool {
    let entry = &kernel.entry;
    let mut plain = kernel.collective.is_none()
        && kernel.workgroup.is_none()
        && entry.result.is_none()
        && entry.shared().next().is_none()
        && is_idempotent(entry);
    entry.walk(&mut |stmt| {
        plain &= !matches!(
            stmt,
            Stmt::Check { .. }
                | Stmt::CallVoid(..)
                | Stmt::Barrier(_)
                | Stmt::Each(_)
                | Stmt::AtomicStore(..)
        );
    });
    plain
}

/// Whether invocations may end before the last statement.
pub(super) fn returns(kernel: &Kernel) -> bool {
    let mut found = false;
    kernel.entry.walk(&mut |stmt| found |= matches!(stmt, Stmt::Return));
    found
}

/// A kernel that is being written for groups.
pub(super) struct Grouped {
    pub(super) entry: Function,
    /// Invocations of a workgroup along x and y.
    pub(super) group: [u32; 2],
    /// The extents of the grid.
    whole: Vec<Param>,
    /// Along each axis, where the invocation is, held within the grid, in place of its ids.
    pub(super) here: Vec<Value>,
    /// The last points of the axes.
    pub(super) last: Vec<Value>,
}

impl Grouped {
    /// The kernel, whose arguments are followed by the extents of its grid; its statements; and what says before
    /// them where the invocation is.
    pub(super) fn of(kernel: &Kernel, group: [u32; 2]) -> (Grouped, Block, Block) {
        let entry = kernel.entry.clone();
        let mut own =
            Grouped { entry, group, whole: Vec::new(), here: Vec::new(), last: Vec::new() };
        for name in &["groups_x", "groups_y"][..kernel.axes()] {
            let param = own.add_param(name, ParamKind::Scalar(Type::U32));
            own.whole.push(param);
        }
        let mut body = std::mem::take(&mut own.entry.body);
        let out = own.prelude(&mut body);
        (own, body, out)
    }

    /// The kernel with these statements.
    pub(super) fn finish(self, kernel: &Kernel, body: Block) -> Kernel {
        let [width, height] = self.group;
        let mut grouped = Kernel { entry: self.entry, ..kernel.clone() };
        grouped.entry.body = body;
        grouped.workgroup = Some([width, height, 1]);
        grouped.grid.fill(Extent::Given);
        dce::run(&mut grouped, &mut Hits::ignored());
        grouped.entry.compact();
        grouped
    }

    pub(super) fn add_param(&mut self, name: &str, kind: ParamKind) -> Param {
        let mut name = name.to_owned();
        while self.entry.params.iter().any(|param| param.name == name) {
            name.push('_');
        }
        self.entry.params.push(ParamDef { name, kind });
        Param(self.entry.params.len() as u32 - 1)
    }

    pub(super) fn value(&mut self, ty: Type, inst: Inst) -> Value {
        self.entry.values.push(ValueDef { ty, inst, span: Span::default() });
        Value(self.entry.values.len() as u32 - 1)
    }

    pub(super) fn push(&mut self, block: &mut Block, inst: Inst) -> Value {
        let value = self.value(Type::U32, inst);
        block.push(Stmt::Let(value));
        value
    }

    pub(super) fn number(&mut self, block: &mut Block, number: u32) -> Value {
        self.push(block, Inst::Const(Const::from(number)))
    }

    pub(super) fn binary(&mut self, block: &mut Block, op: BinaryOp, a: Value, b: Value) -> Value {
        self.push(block, Inst::Binary(op, a, b))
    }

    /// Where the invocation is, in place of what the kernel says of that.
    fn prelude(&mut self, body: &mut Block) -> Block {
        let mut out = Block::new();
        let before = self.entry.values.len();
        for (at, axis) in [Axis::X, Axis::Y].into_iter().enumerate().take(self.whole.len()) {
            let own = self.push(&mut out, Inst::Id(axis));
            let whole = self.push(&mut out, Inst::Param(self.whole[at]));
            let one = self.number(&mut out, 1);
            let last = self.binary(&mut out, BinaryOp::Sub, whole, one);
            let here = self.binary(&mut out, BinaryOp::Min, own, last);
            self.last.push(last);
            self.here.push(here);
        }
        for def in &mut self.entry.values[..before] {
            if let Inst::Extent(axis) = def.inst
                && let Some(whole) = self.whole.get(axis.index())
            {
                def.inst = Inst::Param(*whole);
            }
        }
        let ids: Vec<Option<Value>> = self.entry.values[..before]
            .iter()
            .map(|def| match def.inst {
                Inst::Id(axis) => self.here.get(axis.index()).copied(),
                _ => None,
            })
            .collect();
        let to_here = |v: Value| ids.get(v.index()).copied().flatten().unwrap_or(v);
        for def in &mut self.entry.values[..before] {
            def.inst.map_operands(&mut { to_here });
        }
        remove_ids(body, &ids);
        map_block(body, &mut { to_here });
        out
    }

    /// The number of the invocation in its group, row by row.
    pub(super) fn rank(&mut self, out: &mut Block) -> Value {
        let x = self.push(out, Inst::Local(Axis::X));
        if self.whole.len() == 1 {
            return x;
        }
        let y = self.push(out, Inst::Local(Axis::Y));
        let width = self.number(out, self.group[0]);
        let row = self.binary(out, BinaryOp::Mul, y, width);
        self.binary(out, BinaryOp::Add, row, x)
    }

    /// A value computed again, from what is new.
    pub(super) fn copy(
        &mut self,
        value: Value,
        new: &mut HashMap<Value, Value>,
        out: &mut Block,
    ) -> Value {
        if let Some(new) = new.get(&value) {
            return *new;
        }
        if self.here.contains(&value) {
            return value;
        }
        let ValueDef { ty, mut inst, span } = self.entry.def(value).clone();
        inst.map_operands(&mut |operand| self.copy(operand, new, out));
        self.entry.values.push(ValueDef { ty, inst, span });
        let copy = Value(self.entry.values.len() as u32 - 1);
        out.push(Stmt::Let(copy));
        new.insert(value, copy);
        copy
    }
}

/// Nobody uses the ids any more.
fn remove_ids(block: &mut Block, ids: &[Option<Value>]) {
    let is_id = |value: &Value| ids.get(value.index()).copied().flatten().is_some();
    block.retain(|stmt| !matches!(stmt, Stmt::Let(value) if is_id(value)));
    block.iter_mut().flat_map(Stmt::blocks_mut).for_each(|inner| remove_ids(inner, ids));
}
