//! What a set of random kernels contained, against what it should have.

use std::collections::BTreeMap;

use super::Options;
use crate::ir::{
    AtomicOp, BinaryOp, Collective, CollectiveKind, CollectiveOp, Function, Inst, Kernel, Stmt,
    Trap, UnaryOp, Value,
};

/// What a set of kernels contained: operator and type (`add i32`), conversions (`cast i32 to f32`,
/// `bitcast …`), instructions (`inst load`), statements (`stmt for`), operators of atomics and
/// collectives (`atomic max`, `reduce max`), and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How often each was met.
    pub counts: BTreeMap<String, usize>,
}

impl Coverage {
    /// Counts what the kernel contains.
    pub fn add(&mut self, kernel: &Kernel) {
        for function in std::iter::once(&kernel.entry).chain(&kernel.helpers) {
            function.walk(&mut |stmt| self.stmt(function, stmt));
        }
        if let Some(Collective { kind, op }) = kernel.collective {
            self.count(format!("{} {op}", collective_name(kind)));
        }
    }

    /// What the options allow and no kernel had.
    pub fn missing(&self, options: &Options) -> Vec<String> {
        expected(options).into_iter().filter(|name| !self.counts.contains_key(name)).collect()
    }

    fn count(&mut self, name: String) {
        *self.counts.entry(name).or_insert(0) += 1;
    }

    fn stmt(&mut self, function: &Function, stmt: &Stmt) {
        self.count(format!("stmt {}", stmt_name(stmt)));
        match stmt {
            Stmt::Let(value) => self.inst(function, *value),
            Stmt::For { .. } => self.count("inst counter".to_owned()),
            Stmt::Check { site, .. } => {
                self.count(format!("check {}", trap_name(function.sites[site.index()].trap)));
            }
            _ => {}
        }
    }

    fn inst(&mut self, function: &Function, value: Value) {
        let def = function.def(value);
        self.count(format!("inst {}", inst_name(&def.inst)));
        let to = def.ty;
        match &def.inst {
            Inst::Unary(op, a) => self.count(format!("{op} {}", function.ty(*a))),
            Inst::Binary(op, a, _) => self.count(format!("{op} {}", function.ty(*a))),
            Inst::Cast(a) => self.count(format!("cast {} to {to}", function.ty(*a))),
            Inst::Bitcast(a) => self.count(format!("bitcast {} to {to}", function.ty(*a))),
            Inst::Atomic(op, ..) => self.count(format!("atomic {op}")),
            _ => {}
        }
    }
}

fn expected(options: &Options) -> Vec<String> {
    let types = options.scalars();
    let mut names = Vec::new();
    for &ty in &types {
        let unary = UnaryOp::ALL.iter().filter(|op| options.unary(**op, ty));
        names.extend(unary.map(|op| format!("{op} {ty}")));
        let binary = BinaryOp::ALL.iter().filter(|op| options.binary(**op, ty));
        names.extend(binary.map(|op| format!("{op} {ty}")));
        for &to in &types {
            if options.cast(ty, to) {
                names.push(format!("cast {ty} to {to}"));
            }
            if options.bitcast(ty, to) {
                names.push(format!("bitcast {ty} to {to}"));
            }
        }
    }
    let insts =
        "const param id len counter unary binary select cast bitcast get get_element load call";
    names.extend(insts.split(' ').map(|name| format!("inst {name}")));
    let stmts = "let set set_element store check if for loop call break continue return";
    names.extend(stmts.split(' ').map(|name| format!("stmt {name}")));
    names.extend(["bounds", "array", "zero_divisor"].map(|name| format!("check {name}")));
    if options.atomics {
        names.extend(["inst atomic", "inst atomic_load", "stmt atomic_store"].map(str::to_owned));
        let ops = AtomicOp::ALL.iter().filter(|op| **op != AtomicOp::Swap);
        names.extend(ops.map(|op| format!("atomic {op}")));
    }
    if options.fma() && types.iter().any(|ty| ty.is_float()) {
        names.push("inst fma".to_owned());
    }
    if options.collectives {
        for op in CollectiveOp::ALL {
            if options.elements().iter().any(|ty| options.collective(*op, *ty)) {
                names.extend([format!("reduce {op}"), format!("scan {op}")]);
            }
        }
    }
    names
}

fn collective_name(kind: CollectiveKind) -> &'static str {
    match kind {
        CollectiveKind::Reduce => "reduce",
        CollectiveKind::Scan => "scan",
    }
}

fn trap_name(trap: Trap) -> &'static str {
    match trap {
        Trap::Bounds(_) => "bounds",
        Trap::ArrayBounds(_) => "array",
        Trap::ZeroDivisor => "zero_divisor",
    }
}

fn inst_name(inst: &Inst) -> &'static str {
    match inst {
        Inst::Const(_) => "const",
        Inst::Param(_) => "param",
        Inst::Id(_) => "id",
        Inst::Local(_) => "local",
        Inst::Group(_) => "group",
        Inst::Extent(_) => "extent",
        Inst::Len(_) => "len",
        Inst::Counter => "counter",
        Inst::Unary(..) => "unary",
        Inst::Binary(..) => "binary",
        Inst::Fma(..) => "fma",
        Inst::Select(..) => "select",
        Inst::Cast(_) => "cast",
        Inst::Bitcast(_) => "bitcast",
        Inst::Get(_) => "get",
        Inst::GetElement(..) => "get_element",
        Inst::Load(..) => "load",
        Inst::AtomicLoad(..) => "atomic_load",
        Inst::Atomic(..) => "atomic",
        Inst::CompareSwap(..) => "compare_swap",
        Inst::Call(..) => "call",
    }
}

fn stmt_name(stmt: &Stmt) -> &'static str {
    match stmt {
        Stmt::Let(_) => "let",
        Stmt::Set(..) => "set",
        Stmt::SetElement(..) => "set_element",
        Stmt::Store(..) => "store",
        Stmt::AtomicStore(..) => "atomic_store",
        Stmt::Check { .. } => "check",
        Stmt::If { .. } => "if",
        Stmt::For { .. } => "for",
        Stmt::Loop(_) => "loop",
        Stmt::CallVoid(..) => "call",
        Stmt::Barrier(_) => "barrier",
        Stmt::Each(_) => "each",
        Stmt::Break => "break",
        Stmt::Continue => "continue",
        Stmt::Return => "return",
    }
}
