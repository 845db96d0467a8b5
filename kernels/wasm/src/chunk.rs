//! How a grid is cut into pieces that are handed to workers and end soon enough for deadlines to
//! be seen between them.
//!
//! The points of the grid are numbered, x fastest. A chunk is a range of numbers; it is run as
//! boxes: the rest of a row, whole rows of one plane, the begin of a row.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossover_kernels::exec::Grid;

/// How long a chunk is meant to run.
const CHUNK_TIME: Duration = Duration::from_millis(1);

/// Points of a worker's first chunk, before anything is known of their cost.
const FIRST_CHUNK: u64 = 1024;

/// Rows of a chunk of tiles, at most, and chunks of such rows that each worker gets, at least.
const ROWS: u64 = 64;
const SHARES: u64 = 4;

/// Chunks start at multiples of this along a single row, so that groups of lanes stay whole.
const ALIGNMENT: u64 = 64;

/// Ranges of x, y and z.
pub(crate) type Cuboid = [Range<u32>; 3];

/// The boxes of a chunk, in order.
pub(crate) fn cuboids(chunk: Range<u64>, grid: Grid) -> impl Iterator<Item = Cuboid> {
    let [width, height] = [u64::from(grid[0]), u64::from(grid[1])];
    let Range { start: mut at, end } = chunk;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let (x, row) = (at % width, at / width);
        let (y, z) = (row % height, row / height);
        let (columns, rows) = if x == 0 && end - at >= width {
            (width, ((end - at) / width).min(height - y))
        } else {
            ((end - at).min(width - x), 1)
        };
        at += columns * rows;
        // Every coordinate is below an extent, which is 32 bits.
        let range = |from: u64, count: u64| from as u32..(from + count) as u32;
        Some([range(x, columns), range(y, rows), range(z, 1)])
    })
}

/// Number of points of a grid.
pub(crate) fn points(grid: Grid) -> u64 {
    grid.iter().fold(1, |all: u64, &extent| all.saturating_mul(u64::from(extent)))
}

/// Chunks for whoever comes next.
#[derive(Debug)]
pub(crate) struct Chunks {
    next: AtomicU64,
    end: u64,
    /// Points of as many whole rows as are computed together.
    band: u64,
    /// Whether chunks may be parts of a row.
    parts: bool,
    workers: u64,
}

impl Chunks {
    /// Chunks of a grid whose rows are computed so many at a time.
    pub(crate) fn of(grid: Grid, rows: u32, workers: usize) -> Chunks {
        let (row, end) = (u64::from(grid[0]).max(1), points(grid));
        let (height, rows) = (u64::from(grid[1]), u64::from(rows));
        // What tiles of several rows load is used again by those below, if they are run together.
        let share = height / (SHARES * workers as u64);
        let bands = if rows > 1 { (share.min(ROWS) / rows).max(1) } else { 1 };
        Chunks {
            next: AtomicU64::new(0),
            end,
            band: row * rows * bands,
            parts: rows == 1 || row == end,
            workers: workers as u64,
        }
    }

    /// Whether a chunk is the whole grid.
    pub(crate) fn is_all(&self, chunk: &Range<u64>) -> bool {
        chunk.start == 0 && chunk.end == self.end
    }

    /// The next chunk of about this many points.
    pub(crate) fn take(&self, size: u64) -> Option<Range<u64>> {
        let left = self.end.saturating_sub(self.next.load(Ordering::Relaxed));
        // Towards the end the pieces get small enough to keep all workers busy.
        let fair = (left / (2 * self.workers)).max(FIRST_CHUNK);
        let size = if self.workers > 1 { size.min(fair) } else { size };
        let whole = !self.parts || (size >= self.band && self.band < self.end);
        let unit = if whole { self.band } else { ALIGNMENT };
        let size = size.max(1).checked_next_multiple_of(unit).unwrap_or(size);
        let advance = |at: u64| (at < self.end).then(|| at.saturating_add(size).min(self.end));
        let taken = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, advance);
        taken.ok().map(|at| at..at.saturating_add(size).min(self.end))
    }
}

/// A worker's idea of how many points fill the chunk time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace(u64);

impl Pace {
    /// Adapts to the cost of the points; without need for pieces, takes all at once.
    pub(crate) fn new(pieces: bool) -> Pace {
        Pace(if pieces { FIRST_CHUNK } else { u64::MAX })
    }

    pub(crate) fn size(self) -> u64 {
        self.0
    }

    /// Notes what a chunk took.
    pub(crate) fn note(&mut self, points: u64, time: Duration) {
        if self.0 == u64::MAX {
            return;
        }
        let ratio = CHUNK_TIME.as_secs_f64() / time.as_secs_f64().max(1e-9);
        let ideal = points as f64 * ratio.clamp(0.1, 16.0);
        self.0 = (ideal as u64).max(1);
    }
}

/// Chunks of a collective: equal for equal lengths and threads, so that its results are.
pub(crate) fn fixed_chunks(count: u64, threads: usize) -> Vec<Range<u64>> {
    let size = if threads <= 1 { 1 << 20 } else { count.div_ceil(threads as u64 * 8) };
    let size = size.clamp(1 << 14, 1 << 20).next_multiple_of(ALIGNMENT);
    (0..count.div_ceil(size)).map(|at| at * size..((at + 1) * size).min(count)).collect()
}

#[cfg(test)]
mod tests {
    use super::{Chunks, cuboids, fixed_chunks, points};

    #[test]
    fn boxes_cover_every_point_once_in_order() {
        let grid = [5, 3, 4];
        for start in 0..60u64 {
            for end in start..=60 {
                let mut at = start;
                for [x, y, z] in cuboids(start..end, grid) {
                    for z in z {
                        for y in y.clone() {
                            for x in x.clone() {
                                assert_eq!(at, u64::from((z * 3 + y) * 5 + x));
                                at += 1;
                            }
                        }
                    }
                }
                assert_eq!(at, end);
            }
        }
    }

    #[test]
    fn chunks_cover_the_grid() {
        for grid in [[0, 1, 1], [1, 1, 1], [100_003, 1, 1], [7, 1000, 3], [100_000, 3, 1]] {
            for (workers, rows) in [(1, 1), (3, 1), (3, 4)] {
                let chunks = Chunks::of(grid, rows, workers);
                let mut at = 0;
                while let Some(chunk) = chunks.take(1000) {
                    assert_eq!(chunk.start, at);
                    at = chunk.end;
                    let band = u64::from(grid[0] * rows);
                    assert!(rows == 1 || grid[1] == 1 || at % band == 0 || at == points(grid));
                }
                assert_eq!(at, points(grid));
            }
        }
    }

    #[test]
    fn fixed_chunks_cover_the_range() {
        for count in [0, 1, 64, 20_000, 3_000_001] {
            for threads in [1, 2, 7] {
                let chunks = fixed_chunks(count, threads);
                assert_eq!(chunks.iter().map(|c| c.end - c.start).sum::<u64>(), count);
                assert!(chunks.windows(2).all(|pair| pair[0].end == pair[1].start));
            }
        }
    }
}
