//! Four points beside each other for one invocation, for devices that load and store vectors.
//!
//! ```text
//! kernel(x)  ==  the points 4 x, 4 x + 1, 4 x + 2, 4 x + 3, statement by statement
//! ```
//!
//! Where all accesses to a buffer are at the point itself, those of the four are one vector: back ends find
//! them by [`at`]. Points may not part on their way, as in [`tile`]; other than there a kernel may load what
//! it stores, since no point is computed twice: whoever runs it sees to it that the extent is a multiple of
//! four. A collective gives four contributions, in an array; those of a scan leave a vector.

use super::tile::{self, Places};
use crate::analysis::has_atomics;
use crate::ir::{
    Axis, BinaryOp, Block, CollectiveKind, Const, Function, Inst, Kernel, Param, ParamKind, Stmt,
    Type, Value,
};

/// Points of an invocation.
pub const POINTS: u32 = 4;

/// The kernel for four points at a time, whose arguments are followed by the whole extents of x and y unless it is
/// a collective; `None` where nothing would become a vector.
pub fn run(kernel: &Kernel) -> Option<Kernel> {
    let gives = kernel.contribution().is_none_or(is_narrow);
    if kernel.axes() != 1 || !gives || has_atomics(&kernel.entry) {
        return None;
    }
    let quads = tile::replicate(kernel, [POINTS, 1], Places::Together)?;
    (!buffers(&quads).is_empty()).then_some(quads)
}

fn is_narrow(ty: Type) -> bool {
    matches!(ty, Type::F32 | Type::I32 | Type::U32)
}

/// The buffers of a kernel whose every access is part of a vector.
pub fn buffers(kernel: &Kernel) -> Vec<Param> {
    let entry = &kernel.entry;
    let params = (0..entry.params.len() as u32).map(Param);
    let narrow = |param: &Param| match entry.params[param.index()].kind {
        ParamKind::Buffer { element, .. } => is_narrow(element),
        _ => false,
    };
    let mut found: Vec<Param> = params.filter(narrow).collect();
    let mut seen = vec![false; entry.params.len()];
    if kernel.collective.is_some_and(|c| c.kind == CollectiveKind::Scan)
        && let Some(output) = seen.last_mut()
    {
        *output = true;
    }
    whole(entry, &entry.body, &mut found, &mut seen);
    found.retain(|param| seen[param.index()]);
    found
}

/// What four statements do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quad {
    /// They load these values from neighbouring elements.
    Load(Param, [Value; 4]),
    /// They store these values to them.
    Store(Param, [Value; 4]),
}

/// The vector that the first statements of a block are.
pub fn at(entry: &Function, block: &[Stmt]) -> Option<Quad> {
    let four: &[Stmt; 4] = block.first_chunk()?;
    let parts = four.each_ref().map(|stmt| access(entry, stmt));
    let [Some(first), ..] = parts else { return None };
    let mut values = [first.value; 4];
    for (at, part) in parts.into_iter().enumerate() {
        let part =
            part.filter(|part| (part.buffer, part.is_store) == (first.buffer, first.is_store))?;
        if place(entry, part.index) != Some(at as u32) {
            return None;
        }
        values[at] = part.value;
    }
    let of = if first.is_store { Quad::Store } else { Quad::Load };
    Some(of(first.buffer, values))
}

#[derive(Clone, Copy)]
struct Access {
    buffer: Param,
    index: Value,
    value: Value,
    is_store: bool,
}

fn access(entry: &Function, stmt: &Stmt) -> Option<Access> {
    match *stmt {
        Stmt::Store(buffer, index, value) => Some(Access { buffer, index, value, is_store: true }),
        Stmt::Let(value) => match entry.def(value).inst {
            Inst::Load(buffer, index) => Some(Access { buffer, index, value, is_store: false }),
            _ => None,
        },
        _ => None,
    }
}

/// Which of the four points an index is.
fn place(entry: &Function, index: Value) -> Option<u32> {
    let number = |value: Value| entry.as_const(value).map(|c: Const| c.bits as u32);
    match entry.def(index).inst {
        Inst::Binary(BinaryOp::Mul, own, width) => {
            let is_first =
                entry.def(own).inst == Inst::Id(Axis::X) && number(width) == Some(POINTS);
            is_first.then_some(0)
        }
        Inst::Binary(BinaryOp::Add, first, by) if place(entry, first) == Some(0) => {
            number(by).filter(|by| (1..POINTS).contains(by))
        }
        _ => None,
    }
}

/// Strikes out the buffers with accesses that are part of no vector; takes down those with some that are.
fn whole(entry: &Function, block: &Block, found: &mut Vec<Param>, seen: &mut [bool]) {
    let mut rest = &block[..];
    while let Some((stmt, behind)) = rest.split_first() {
        if let Some(Quad::Load(buffer, _) | Quad::Store(buffer, _)) = at(entry, rest) {
            seen[buffer.index()] = true;
            rest = &rest[POINTS as usize..];
            continue;
        }
        if let Some(single) = access(entry, stmt) {
            found.retain(|param| *param != single.buffer);
        }
        stmt.blocks().into_iter().for_each(|block| whole(entry, block, found, seen));
        rest = behind;
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "kernels are written for whoever calls them")]
mod tests {
    use super::{Quad, at, buffers, run};
    use crate::ir::{Block, Function, Kernel, Param, Stmt};
    use crate::{Id, front, kernel, passes};

    #[kernel]
    fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
        y[id.x] += a * x[id.x];
    }

    #[kernel]
    fn around(id: Id, x: &[f32], y: &mut [f32]) {
        if id.x > 0 {
            y[id.x] = x[id.x - 1];
        }
    }

    #[kernel]
    fn mixed(id: Id, table: &[f32], x: &[u32], y: &mut [f32]) {
        y[id.x] = table[x[id.x] as usize] + table[id.x];
    }

    #[kernel(reduce = add)]
    fn product(id: Id, x: &[f32], y: &[f32]) -> f32 {
        if y.len() < 7 {
            return 1.0;
        }
        x[id.x] * y[id.x]
    }

    #[kernel(scan = max)]
    fn gathered(id: Id, table: &[i32], x: &[u32]) -> i32 {
        table[(x[id.x] % 8) as usize]
    }

    #[kernel]
    fn wide(id: Id, x: &[f64], y: &mut [f64]) {
        y[id.x] = x[id.x];
    }

    fn quads(def: &'static crate::Def) -> Option<Kernel> {
        let kernel = front::kernel(def, &[], &[]).expect("typed");
        let mut kernel = passes::optimize(&kernel);
        fn strip(block: &mut Block) {
            block.retain(|stmt| !matches!(stmt, Stmt::Check { .. }));
            block.iter_mut().flat_map(Stmt::blocks_mut).for_each(strip);
        }
        strip(&mut kernel.entry.body);
        run(&kernel)
    }

    fn count(entry: &Function) -> usize {
        (0..entry.body.len()).filter(|from| at(entry, &entry.body[*from..]).is_some()).count()
    }

    #[test]
    fn accesses_at_the_point_become_vectors() {
        let kernel = quads(axpy::DEF).expect("all of it");
        assert_eq!(buffers(&kernel), [Param(1), Param(2)]);
        assert_eq!(count(&kernel.entry), 3, "two loads and a store");
        let store = (0..kernel.entry.body.len()).find_map(|from| {
            match at(&kernel.entry, &kernel.entry.body[from..]) {
                Some(Quad::Store(buffer, _)) => Some(buffer),
                _ => None,
            }
        });
        assert_eq!(store, Some(Param(2)));
    }

    #[test]
    fn a_buffer_with_any_other_access_stays_as_it_is() {
        let kernel = quads(mixed::DEF).expect("two of three");
        assert_eq!(buffers(&kernel), [Param(1), Param(2)]);
    }

    /// Wherever it ends, each of the four points has given something.
    #[test]
    fn collectives_give_four_results() {
        let kernel = quads(product::DEF).expect("both loads");
        assert_eq!(buffers(&kernel), [Param(0), Param(1)]);
        assert_eq!(kernel.entry.params.len(), 3, "no extents behind the arguments");
        let result = kernel.entry.result.expect("it is a reduction");
        assert_eq!(kernel.entry.locals[result.index()].array, Some(4));
        let mut left = 0;
        kernel.entry.walk(&mut |stmt| {
            left += usize::from(matches!(stmt, Stmt::SetElement(local, ..) if *local == result));
        });
        assert!(left == 4 || left == 8, "four at each end: {left}");
    }

    #[test]
    fn scans_leave_vectors() {
        let kernel = quads(gathered::DEF).expect("the indices and the output");
        assert_eq!(buffers(&kernel), [Param(1), Param(2)]);
    }

    #[test]
    fn points_that_part_and_wide_elements_are_left_alone() {
        assert!(quads(around::DEF).is_none());
        assert!(quads(wide::DEF).is_none());
    }
}
