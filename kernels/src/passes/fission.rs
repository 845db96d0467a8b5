//! Fission: a kernel with barriers as pieces without, each run by all invocations of a workgroup
//! before the next one.
//!
//! ```text
//! a; barrier; b                       each { a }  each { b }
//! for k in 0..n { a; barrier; b }     for k in 0..n { each { a }  each { b } }      n is uniform
//! let v = f(a); barrier; use(v)       each { a; state[l] = f(a) }  each { use(state[l]) }
//! ```
//!
//! What stands outside of `each` is run once for the group: control flow around barriers, and the
//! uniform values that it needs. A value or variable that one piece leaves to another goes through a
//! shared array with an element for each invocation, at `l`, its place in the group; values that are
//! computed from arguments and places in a few steps are computed again instead. Shared arrays
//! are zeroed at the start, unless their first use fills them.
//!
//! This is no pass of the pipeline: back ends whose groups are not run by hardware call
//! [`fission`] on the optimised kernel. The idea is that of work-item loops (pocl, MCUDA's "deep
//! fission"): Stratton, Stone, Hwu, "MCUDA: an efficient implementation of CUDA kernels for multi-core
//! CPUs", 2008.

mod pieces;
mod scope;
mod state;

use super::dce;
use super::rule::Hits;
use crate::ir::{Axis, BinaryOp, Function, Inst, Kernel, Stmt, Type, Value, ValueDef};

/// The kernel without barriers, in pieces if it has any or shares arrays; otherwise one whose places
/// in a group are computed from the position in the grid.
///
/// The kernel is verified, its helpers are inlined.
pub fn fission(kernel: &Kernel) -> Kernel {
    let mut kernel = kernel.clone();
    let Some(size) = kernel.workgroup else { return kernel };
    if is_of_groups(&kernel.entry) {
        let scope = scope::Scope::of(&kernel.entry);
        let body = pieces::pieces(&kernel.entry, &scope);
        kernel.entry.body = body;
        state::thread(&mut kernel.entry, size);
        dce::run(&mut kernel, &mut Hits::ignored());
    } else {
        place_by_position(&mut kernel.entry, size);
    }
    kernel.entry.compact();
    kernel
}

/// Whether invocations of a group have to do with each other.
fn is_of_groups(function: &Function) -> bool {
    let mut found = function.shared().next().is_some();
    function.walk(&mut |stmt| found |= matches!(stmt, Stmt::Barrier(_)));
    found
}

/// `local.x == id.x % size` and `group.x == id.x / size`.
fn place_by_position(function: &mut Function, size: [u32; 3]) {
    let body = std::mem::take(&mut function.body);
    function.body = placed(function, body, size);
}

fn placed(function: &mut Function, block: Vec<Stmt>, size: [u32; 3]) -> Vec<Stmt> {
    let mut out = Vec::new();
    for mut stmt in block {
        if let Stmt::Let(value) = stmt {
            let found = match function.def(value).inst {
                Inst::Local(axis) => Some((BinaryOp::Rem, axis)),
                Inst::Group(axis) => Some((BinaryOp::Div, axis)),
                _ => None,
            };
            if let Some((op, axis)) = found {
                let id = add(function, Type::U32, Inst::Id(axis));
                let size = constant(function, size[axis.index()]);
                out.extend([Stmt::Let(id), Stmt::Let(size)]);
                function.values[value.index()].inst = Inst::Binary(op, id, size);
            }
        }
        for inner in stmt.blocks_mut() {
            *inner = placed(function, std::mem::take(inner), size);
        }
        out.push(stmt);
    }
    out
}

/// A new value; a `Let` must name it.
fn add(function: &mut Function, ty: Type, inst: Inst) -> Value {
    function.values.push(ValueDef { ty, inst, span: crate::ir::Span::default() });
    Value(function.values.len() as u32 - 1)
}

fn constant(function: &mut Function, c: u32) -> Value {
    add(function, Type::U32, Inst::Const(c.into()))
}

/// The invocation's number in its group, x fastest, and the statements that compute it.
fn number_in_group(function: &mut Function, size: [u32; 3]) -> (Value, Vec<Stmt>) {
    let mut lets = Vec::new();
    let mut put = |function: &mut Function, inst: Inst| {
        let value = add(function, Type::U32, inst);
        lets.push(Stmt::Let(value));
        value
    };
    let mut number = put(function, Inst::Local(Axis::X));
    let mut stride = size[0];
    for axis in [Axis::Y, Axis::Z] {
        if size[axis.index()] > 1 {
            let place = put(function, Inst::Local(axis));
            let by = put(function, Inst::Const(stride.into()));
            let above = put(function, Inst::Binary(BinaryOp::Mul, place, by));
            number = put(function, Inst::Binary(BinaryOp::Add, above, number));
        }
        stride *= size[axis.index()];
    }
    (number, lets)
}

#[cfg(test)]
mod tests;
