//! Tiles: how many invocations one passage of a body computes, and which values are computed how
//! often in it.
//!
//! A tile is `vectors` groups of four along x times `rows` along y. A value that depends on both
//! axes is computed once for each group, one that depends on x (or y) alone once for each position
//! along that axis, any other once. So a tile of a naive matrix product loads each element of its
//! operands once and uses it `rows` (or `vectors`) times.

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

/// One wasm local for each group along x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PerVector(pub(super) [u32; SIDE_MAX as usize]);

impl PerVector {
    pub(super) fn at(self, vector: u32) -> u32 {
        self.0[vector as usize]
    }
}
