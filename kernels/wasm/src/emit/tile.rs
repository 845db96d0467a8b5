//! Tiles: how many invocations one passage of a body computes, and which values are computed how
//! often in it.
//!
//! A tile is `vectors` groups of four along x times `rows` along y. A value that depends on both
//! axes is computed once for each group, one that depends on x (or y) alone once for each position
//! along that axis, any other once. So a tile of a naive matrix product loads each element of its
//! operands once and uses it `rows` (or `vectors`) times.

use std::ops::Range;

/// Most groups along x, and most rows, of a tile.
pub(super) const SIDE_MAX: u32 = 8;

/// The groups that one passage of a body computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    /// Groups of lanes along x.
    pub(super) vectors: u32,
    /// Rows along y.
    pub(super) rows: u32,
}

impl Tile {
    /// One group.
    pub(super) const ONE: Tile = Tile { vectors: 1, rows: 1 };

    /// Groups in all.
    pub(super) fn groups(self) -> usize {
        (self.vectors * self.rows) as usize
    }
}

/// A group of a tile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) vector: u32,
    pub(super) row: u32,
}

/// In which order the groups of a tile are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Forward,
    Backward,
}

impl Order {
    /// The numbers of the range in this order.
    pub(super) fn of(self, range: Range<u32>) -> impl Iterator<Item = u32> {
        let Range { start, end } = range;
        (start..end).map(move |at| match self {
            Order::Forward => at,
            Order::Backward => end - 1 - (at - start),
        })
    }

    /// The other one.
    pub(super) fn reversed(self) -> Order {
        match self {
            Order::Forward => Order::Backward,
            Order::Backward => Order::Forward,
        }
    }
}

/// One wasm local for each group along x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerVector(pub(super) [u32; SIDE_MAX as usize]);

impl PerVector {
    pub(super) fn at(self, vector: u32) -> u32 {
        self.0[vector as usize]
    }
}
