//! Cache blocking: which loads of a tile's loop are copied first, and where the copies are.
//!
//! A tile of several rows uses what it loads along x for all its rows, and what it loads for a row for
//! all its columns; tiles below and beside it load the same again. So the grid is walked in blocks,
//! the loop is cut into blocks of passages, and what a block loads is copied into **panels** in the
//! order in which it is used:
//!
//! ```text
//! for blocks of rows, of columns, of passages:
//!     for the tiles' columns:  a panel of what differs along x alone
//!     for the tiles' rows:     a panel of what differs between rows alone
//!         for the tiles beside each other:  the body, from both panels
//! ```
//!
//! Panels stay in the caches nearest to the core, without the gaps and clashes of the strides that
//! buffers are read with. That of the rows is in the first cache while the tiles go past it, and what
//! vectors are computed with is in every lane there already: an instruction less for each use. Between blocks of passages the variables that the loop assigns wait in
//! memory: the order of additions is that of the loop. (After K. Goto and R. van de Geijn, "Anatomy of
//! High-Performance Matrix Multiplication", 2008; here nothing is known to be a product.)

use std::collections::HashSet;

use crossover_kernels::ir::{BinaryOp, Block, Function, Inst, Stmt, Type, Value};

use super::blocks::longest;
use super::body::Form;
use super::code::parts;
use super::control::Count;
use super::divergence::{LoopFacts, Variance};
use super::layout::{ArrayPlace, Layout};

/// Rows and columns of a block: the panels of so many rows stay in the second cache, and what copying
/// costs is shared by many tiles.
const BLOCK_ROWS: u32 = 256;
const BLOCK_COLUMNS: u32 = 512;

/// What a panel holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Vectors along x, the same for all rows.
    Columns,
    /// An element for each row, the same for all columns.
    Rows,
    /// The same in every lane of a vector.
    RowsInLanes,
}

/// The copies of a load.
#[derive(Clone, Debug)]
pub(super) struct Panel {
    pub(super) load: Value,
    pub(super) side: Side,
    /// What has to be computed in a passage to load it, in order, the load included.
    pub(super) needed: Vec<Value>,
    /// Where it begins in the scratch memory.
    pub(super) offset: u64,
    /// Bytes of a passage.
    pub(super) stride: u32,
    /// From the panel of a tile to that of the next one.
    pub(super) tile_bytes: u32,
}

/// The blocks of a kernel.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    /// The loop that is cut.
    pub(super) count: Count,
    pub(super) panels: Vec<Panel>,
    /// Statements of a passage that the panels do not replace.
    pub(super) kept: HashSet<*const Stmt>,
    /// Variables that passages assign.
    pub(super) sums: Vec<usize>,
    /// Passages, rows and columns of a block, but for the last rows and columns: whole tiles.
    pub(super) depth: u32,
    pub(super) rows: u32,
    pub(super) columns: u32,
    /// Where variables wait, and bytes that a tile needs there.
    pub(super) sums_offset: u64,
    pub(super) sums_bytes: u32,
    /// Where all of it ends.
    pub(super) end: u64,
}

impl Panels {
    /// Panels for blocks of so many passages; `None` where the kernel is not of the form.
    pub(super) fn of(form: Form<'_>, layout: &Layout, depth: u32) -> Option<Panels> {
        let (function, tile) = (form.function, form.tile);
        if depth == 0 || tile.rows < 2 {
            return None;
        }
        let at = function.body.iter().position(|stmt| matches!(stmt, Stmt::For { .. }))?;
        let Stmt::For { counter, start, end, step, body } = &function.body[at] else { return None };
        let count = Count { counter: *counter, start: *start, end: *end, step: *step };
        let id = std::ptr::from_ref(&function.body[at]);
        let agree = [*start, *end].iter().all(|&value| {
            form.facts.variance(value) == Variance::Uniform && !form.rows.differs(value)
        });
        let sums = assigned(body);
        if !agree
            || !is_repeatable(function, &function.body[..at])
            || !is_repeatable(function, body)
            || !matches!(function.ty(*counter), Type::U32 | Type::I32)
            || form.facts.loop_facts(id) != LoopFacts::default()
            || !sums.iter().all(|&local| can_wait(form, layout, local))
        {
            return None;
        }
        let [rows, columns] = [
            (BLOCK_ROWS / tile.rows).max(1) * tile.rows,
            (BLOCK_COLUMNS / (4 * tile.vectors)).max(1) * 4 * tile.vectors,
        ];
        let mut offset = layout.array_bytes(tile.groups()).next_multiple_of(64);
        let mut panels = Vec::new();
        for (side, load) in candidates(form, body) {
            let Some(needed) = needed(function, body, load) else { continue };
            let ty = function.ty(load);
            let (stride, count) = match side {
                Side::Columns => {
                    (tile.vectors * 16 * parts(ty) as u32, tiles(columns, 4 * tile.vectors))
                }
                Side::Rows => (tile.rows * ty.bytes() as u32, 1),
                Side::RowsInLanes => (tile.rows * 16, 1),
            };
            // A passage is copied to all panels: to different sets of a cache.
            let tile_bytes = (stride * depth).next_multiple_of(64) + 64;
            panels.push(Panel { load, side, needed, offset, stride, tile_bytes });
            offset += u64::from(tile_bytes) * u64::from(count);
        }
        if !panels.iter().any(|panel| panel.side == Side::Columns) {
            return None;
        }
        let sums_bytes: usize =
            sums.iter().map(|&local| 16 * parts(function.locals[local].ty) * tile.groups()).sum();
        let tiles = tiles(rows, tile.rows) * tiles(columns, 4 * tile.vectors);
        let sums_offset = offset;
        offset += sums_bytes as u64 * u64::from(tiles);
        Some(Panels {
            count,
            kept: kept(function, body, &panels),
            panels,
            sums,
            depth,
            rows,
            columns,
            sums_offset,
            sums_bytes: sums_bytes as u32,
            end: offset,
        })
    }

    /// Which panel holds a load.
    pub(super) fn find(&self, load: Value) -> Option<usize> {
        self.panels.iter().position(|panel| panel.load == load)
    }
}

/// The most tiles along a side of a block.
fn tiles(side: u32, tile: u32) -> u32 {
    longest(side).div_ceil(tile)
}

/// The variables that a block assigns.
fn assigned(block: &Block) -> Vec<usize> {
    let mut locals: Vec<usize> = block
        .iter()
        .filter_map(|stmt| match stmt {
            Stmt::Set(local, _) => Some(local.index()),
            _ => None,
        })
        .collect();
    locals.sort_unstable();
    locals.dedup();
    locals
}

/// Whether a variable is plain lanes, which can be stored and loaded.
fn can_wait(form: Form<'_>, layout: &Layout, local: usize) -> bool {
    layout.arrays[local] == ArrayPlace::Plain && form.facts.is_varying_local(local)
}

/// Whether the statements only compute, load what nobody stores, and assign variables.
fn is_repeatable(function: &Function, block: &[Stmt]) -> bool {
    block.iter().all(|stmt| match stmt {
        Stmt::Let(value) => match function.def(*value).inst {
            Inst::Load(buffer, _) => function.is_read_only(buffer),
            Inst::GetElement(..)
            | Inst::AtomicLoad(..)
            | Inst::Atomic(..)
            | Inst::CompareSwap(..)
            | Inst::Call(..) => false,
            _ => true,
        },
        Stmt::Set(..) => true,
        _ => false,
    })
}

/// The loads that differ along one axis alone, and whose indices are proved.
fn candidates(form: Form<'_>, body: &Block) -> Vec<(Side, Value)> {
    let mut found = Vec::new();
    for stmt in body {
        let Stmt::Let(value) = stmt else { continue };
        let Inst::Load(_, index) = form.function.def(*value).inst else { continue };
        if !form.exact[index.index()] {
            continue;
        }
        match (form.facts.variance(index), form.rows.differs(index)) {
            (Variance::Linear(1), false) => found.push((Side::Columns, *value)),
            (Variance::Uniform, true) if is_for_lanes(form, body, *value) => {
                found.push((Side::RowsInLanes, *value));
            }
            (Variance::Uniform, true) => found.push((Side::Rows, *value)),
            (_, _) => {}
        }
    }
    found
}

/// Whether a value of the body is used in arithmetic of lanes alone.
fn is_for_lanes(form: Form<'_>, body: &Block, value: Value) -> bool {
    let is_arithmetic = |user: Value| {
        form.facts.variance(user) == Variance::Varying
            && match form.function.def(user).inst {
                Inst::Fma(..) => true,
                Inst::Binary(op, ..) => !matches!(op, BinaryOp::Shl | BinaryOp::Shr),
                _ => false,
            }
    };
    body.iter().all(|stmt| match stmt {
        Stmt::Let(user) => {
            !form.function.def(*user).inst.operands().contains(&value) || is_arithmetic(*user)
        }
        stmt => !stmt.uses().contains(&value),
    })
}

/// The values of the body that a load needs, in order; `None` where one of them is not arithmetic.
fn needed(function: &Function, body: &Block, load: Value) -> Option<Vec<Value>> {
    let mut set = HashSet::from([load]);
    let mut order = Vec::new();
    for stmt in body.iter().rev() {
        let Stmt::Let(value) = stmt else { continue };
        if !set.contains(value) {
            continue;
        }
        let inst = &function.def(*value).inst;
        if *value != load && !inst.is_pure() {
            return None;
        }
        set.extend(inst.operands());
        order.push(*value);
    }
    order.reverse();
    // What comes from before the loop has to be arithmetic, too.
    let outside = set.iter().filter(|value| !order.contains(value));
    outside.copied().all(|value| is_arithmetic(function, value)).then_some(order)
}

/// Whether a value is computed from coordinates, counters and arguments, and nothing is loaded for it.
fn is_arithmetic(function: &Function, value: Value) -> bool {
    match &function.def(value).inst {
        Inst::Counter => true,
        inst => inst.is_pure() && inst.operands().iter().all(|&v| is_arithmetic(function, v)),
    }
}

/// The statements of a passage that are needed where panels stand for loads.
fn kept(function: &Function, body: &Block, panels: &[Panel]) -> HashSet<*const Stmt> {
    let mut used = HashSet::new();
    let mut kept = HashSet::new();
    for stmt in body.iter().rev() {
        match stmt {
            Stmt::Let(value) if !used.contains(value) => continue,
            Stmt::Let(value) if panels.iter().any(|panel| panel.load == *value) => {}
            Stmt::Let(value) => used.extend(function.def(*value).inst.operands()),
            _ => used.extend(stmt.uses()),
        }
        kept.insert(std::ptr::from_ref(stmt));
    }
    kept
}
