//! Four points beside each other for one invocation, for devices that load and store vectors.
//!
//! ```text
//! kernel(x)  ==  the points 4 x, 4 x + 1, 4 x + 2, 4 x + 3, statement by statement
//! ```
//!
//! Where all accesses to a buffer are at the point itself, or as far from it for all four as a multiple of four,
//! those of the four are one vector: back ends find them by [`at`]. A row that an argument is the width of begins at
//! such a multiple where the argument is one ([`pitches`]). On a plane an invocation may have four points of
//! several rows. Points may not part on their way, as in [`tile`]; other than there a kernel may load what
//! it stores, since no point is computed twice: whoever runs it sees to it that the extent is a multiple of
//! four. A collective gives four contributions, in an array; those of a scan leave a vector.

use super::tile::{self, Places};
use crate::analysis::{has_atomics, is_idempotent};
use crate::ir::{
    Axis, BinaryOp, Block, CollectiveKind, Const, Function, Inst, Kernel, Param, ParamKind, Stmt,
    Type, Value,
};

/// Points of an invocation.
pub const POINTS: u32 = 4;

/// The kernel for four points at a time, of so many rows where there are rows, whose arguments are followed by the
/// whole extents of x and y unless it is a collective; `None` where nothing would become a vector.
pub fn run(kernel: &Kernel, rows: u32) -> Option<Kernel> {
    let gives = kernel.contribution().is_none_or(is_narrow);
    let fits = rows == 1 || is_idempotent(&kernel.entry);
    if kernel.axes() > 2 || !gives || !fits || has_atomics(&kernel.entry) {
        return None;
    }
    let quads = tile::replicate(kernel, [POINTS, rows], Places::Together)?;
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

/// The scalar arguments that must be multiples of four for what [`at`] finds to be vectors.
pub fn pitches(kernel: &Kernel) -> Vec<Param> {
    let (entry, vectors) = (&kernel.entry, buffers(kernel));
    let mut pitches = Vec::new();
    let mut look = |block: &Block| {
        for from in 0..block.len() {
            if let Some(quad) = at(entry, &block[from..])
                && vectors.contains(&quad.buffer)
            {
                place(entry, quad.index, &mut pitches);
            }
        }
    };
    look(&entry.body);
    entry.walk(&mut |stmt| stmt.blocks().into_iter().for_each(&mut look));
    pitches.sort_unstable();
    pitches.dedup();
    pitches
}

/// What four statements do together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quad {
    /// The buffer that they access.
    pub buffer: Param,
    /// The first of four elements beside each other.
    pub index: Value,
    /// What is loaded, or stored.
    pub values: [Value; 4],
    /// Whether it is stored.
    pub is_store: bool,
}

/// The vector that the first statements of a block are.
pub fn at(entry: &Function, block: &[Stmt]) -> Option<Quad> {
    let four: &[Stmt; 4] = block.first_chunk()?;
    let parts = four.each_ref().map(|stmt| access(entry, stmt));
    let [Some(first), ..] = parts else { return None };
    let start = place(entry, first.index, &mut Vec::new())?;
    let mut values = [first.value; 4];
    for (at, part) in parts.into_iter().enumerate() {
        let part =
            part.filter(|part| (part.buffer, part.is_store) == (first.buffer, first.is_store))?;
        let own = place(entry, part.index, &mut Vec::new())?;
        if own.rows != start.rows || own.offset != start.offset.wrapping_add(at as u32) {
            return None;
        }
        values[at] = part.value;
    }
    let Access { buffer, index, is_store, .. } = first;
    start.offset.is_multiple_of(POINTS).then_some(Quad { buffer, index, values, is_store })
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

/// Where an index is: so far behind the first of the four points, in rows that all four have in common.
struct Place {
    offset: u32,
    rows: Vec<Value>,
}

/// Takes an index apart; `None` where it is not the point's, or where rows need not begin at a multiple of four. What
/// must be one for that is taken down.
fn place(entry: &Function, index: Value, pitches: &mut Vec<Param>) -> Option<Place> {
    let mut place = Place { offset: 0, rows: Vec::new() };
    let (mut left, mut points) = (vec![index], 0);
    while let Some(value) = left.pop() {
        match entry.def(value).inst {
            Inst::Const(c) => place.offset = place.offset.wrapping_add(c.bits as u32),
            Inst::Binary(BinaryOp::Add, a, b) => left.extend([a, b]),
            Inst::Binary(BinaryOp::Mul, own, width)
                if entry.def(own).inst == Inst::Id(Axis::X)
                    && entry.as_const(width) == Some(Const::from(POINTS)) =>
            {
                points += 1;
            }
            _ if is_multiple(entry, value, pitches) => place.rows.push(value),
            _ => return None,
        }
    }
    place.rows.sort_unstable();
    (points == 1).then_some(place)
}

/// Whether a value is a multiple of four, wherever these arguments are.
fn is_multiple(entry: &Function, value: Value, pitches: &mut Vec<Param>) -> bool {
    let is_four = |c: Const| c.bits.is_multiple_of(u64::from(POINTS));
    match entry.def(value).inst {
        Inst::Const(c) => is_four(c),
        Inst::Param(param) if entry.ty(value) == Type::U32 => {
            pitches.push(param);
            true
        }
        Inst::Binary(BinaryOp::Mul, a, b) => {
            let known = [a, b].into_iter().any(|v| entry.as_const(v).is_some_and(is_four));
            known || is_multiple(entry, b, pitches) || is_multiple(entry, a, pitches)
        }
        Inst::Binary(BinaryOp::Shl, _, by) => {
            entry.as_const(by).is_some_and(|c| (2..32).contains(&c.bits))
        }
        Inst::Binary(BinaryOp::Add | BinaryOp::Sub, a, b) => {
            is_multiple(entry, a, pitches) && is_multiple(entry, b, pitches)
        }
        _ => false,
    }
}

/// Strikes out the buffers with accesses that are part of no vector; takes down those with some that are.
fn whole(entry: &Function, block: &Block, found: &mut Vec<Param>, seen: &mut [bool]) {
    let mut rest = &block[..];
    while let Some((stmt, behind)) = rest.split_first() {
        if let Some(Quad { buffer, .. }) = at(entry, rest) {
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
    use super::{at, buffers, pitches, run};
    use crate::ir::{Block, Function, Kernel, Param, Stmt};
    use crate::library::jacobi::jacobi;
    use crate::library::matmul::matmul;
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
        quads_of_rows(def, 1)
    }

    fn quads_of_rows(def: &'static crate::Def, rows: u32) -> Option<Kernel> {
        let kernel = front::kernel(def, &[], &[]).expect("typed");
        let mut kernel = passes::optimize(&kernel);
        fn strip(block: &mut Block) {
            block.retain(|stmt| !matches!(stmt, Stmt::Check { .. }));
            block.iter_mut().flat_map(Stmt::blocks_mut).for_each(strip);
        }
        strip(&mut kernel.entry.body);
        run(&kernel, rows)
    }

    fn count(entry: &Function) -> usize {
        (0..entry.body.len()).filter(|from| at(entry, &entry.body[*from..]).is_some()).count()
    }

    #[test]
    fn accesses_at_the_point_become_vectors() {
        let kernel = quads(axpy::DEF).expect("all of it");
        assert_eq!(buffers(&kernel), [Param(1), Param(2)]);
        assert_eq!(count(&kernel.entry), 3, "two loads and a store");
        let body = &kernel.entry.body;
        let mut found = (0..body.len()).filter_map(|from| at(&kernel.entry, &body[from..]));
        assert_eq!(found.find(|quad| quad.is_store).map(|quad| quad.buffer), Some(Param(2)));
        assert_eq!(pitches(&kernel), []);
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

    /// Rows begin at multiples of four where their widths are such.
    #[test]
    fn rows_of_a_plane_are_vectors_where_their_widths_allow() {
        for rows in [1, 2, 4] {
            let kernel = quads_of_rows(matmul::DEF, rows).expect("a row of b, and of c");
            assert_eq!(buffers(&kernel), [Param(2), Param(3)]);
            assert_eq!(pitches(&kernel), [Param(0)]);
        }
        assert!(quads(jacobi::DEF).is_none(), "the border takes another way");
    }

    #[test]
    fn points_that_part_and_wide_elements_are_left_alone() {
        assert!(quads(around::DEF).is_none());
        assert!(quads(wide::DEF).is_none());
    }
}
