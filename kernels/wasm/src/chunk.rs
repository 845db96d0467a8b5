//! How a grid is cut into pieces that are handed to workers and end soon enough for deadlines to
//! be seen between them.
//!
//! The points of the grid are numbered, x fastest. A chunk is a range of numbers; it is run as
//! boxes: the rest of a row, whole rows of one plane, the begin of a row.
//!
//! Each worker has a share of the grid, the same at every call, so that what it has left in its caches
//! is what it needs next. It takes chunks from the front of its share. Who is through with its own takes
//! from the back of what another has left.
//!
//! How many points fill the time of a chunk is measured, and kept with the program for its next call.
//! Towards the end of a share chunks get smaller, so that all workers end at about the same time even
//! where the last points cost far more than the first; but not so small that handing them out is felt.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossover_kernels::exec::{Grid, Part};

use crate::task::lock;

/// How long a chunk is meant to run: a thousand times what handing it out costs, and little beside
/// what a worker may meet when the next points cost fifty times as much as the last.
const CHUNK_TIME: Duration = Duration::from_micros(250);

/// Points of the first chunk, before anything is known of their cost.
const FIRST_CHUNK: u64 = 1024;

/// How much longer than the last a chunk becomes at most: one that was cheap by chance must not make
/// the next one last for long.
const GROWTH: f64 = 16.0;

/// The smallest chunk runs for this part of the time: handing one out costs a hundredth of that.
const SMALLEST: u64 = 64;

/// Rows of a chunk of tiles, at most, and chunks of such rows that each worker gets, at least.
const ROWS: u64 = 256;
const SHARES: u64 = 2;

/// Chunks start at multiples of this along a single row, so that groups of lanes stay whole.
pub(crate) const ALIGNMENT: u64 = 64;

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
        if end - at == points(grid) {
            // Most small calls are one box, and divisions are dear.
            at = end;
            return Some(grid.map(|extent| 0..extent));
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

/// The points of a part, in the order of [`cuboids`].
pub(crate) fn range(part: Part, grid: Grid) -> Range<u64> {
    let each = points(grid) / u64::from(Part::all(grid).to).max(1);
    u64::from(part.from) * each..u64::from(part.to) * each
}

/// What a grid is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Points {
    /// Several fit into a group of lanes.
    Invocations,
    /// Each is whole.
    Workgroups,
}

/// Chunks for the workers of a call.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// What is left of each worker's share; a call of one worker allocates nothing.
    first: Mutex<Range<u64>>,
    others: Vec<Mutex<Range<u64>>>,
    end: u64,
    /// Points of as many rows as are computed together, and of as many as are worth a chunk.
    rows: u64,
    band: u64,
    /// Whether chunks may be parts of a row.
    parts: bool,
    /// Of such parts.
    alignment: u64,
}

/// From which end of a share a chunk is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Front,
    Back,
}

impl Chunks {
    /// Chunks of some points of a grid whose rows are computed so many at a time, and whose points are `what`.
    pub(crate) fn of(
        grid: Grid,
        range: Range<u64>,
        rows: u32,
        what: Points,
        workers: usize,
    ) -> Chunks {
        let (row, end) = (u64::from(grid[0]).max(1), points(grid));
        let (height, rows) = (u64::from(grid[1]), u64::from(rows));
        // What tiles of several rows load is used again by those below, if they are run together.
        let share = height / (SHARES * workers as u64);
        let bands = if rows > 1 { (share.min(ROWS) / rows).max(1) } else { 1 };
        let mut chunks = Chunks {
            first: Mutex::new(range.clone()),
            others: Vec::new(),
            end,
            rows: row * rows,
            band: row * rows * bands,
            parts: rows == 1 || row == end,
            alignment: match what {
                Points::Invocations => ALIGNMENT,
                Points::Workgroups => 1,
            },
        };
        if workers > 1 {
            let size = chunks.whole((range.end - range.start).div_ceil(workers as u64));
            let mut shares = (0..workers as u64).map(|at| {
                let from = range.start.saturating_add(at.saturating_mul(size)).min(range.end);
                Mutex::new(from..from.saturating_add(size).min(range.end))
            });
            chunks.first = shares.next().unwrap_or_default();
            chunks.others = shares.collect();
        }
        chunks
    }

    fn shares(&self) -> impl Iterator<Item = &Mutex<Range<u64>>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn workers(&self) -> usize {
        1 + self.others.len()
    }

    /// The next chunk for the worker at a seat: as many points as the pace says, or fewer where
    /// otherwise other workers would have nothing; without a pace, all there is.
    pub(crate) fn take(&self, seat: usize, pace: Option<&Pace>) -> Option<Range<u64>> {
        let own = match seat % self.workers() {
            0 => &self.first,
            at => &self.others[at - 1],
        };
        if let Some(chunk) = self.cut(own, From::Front, pace) {
            return Some(chunk);
        }
        loop {
            let left = |share: &&Mutex<Range<u64>>| {
                let range = lock(share);
                range.end - range.start
            };
            let fullest = self.shares().max_by_key(left).filter(|share| left(share) > 0)?;
            // Somebody may have been faster.
            if let Some(chunk) = self.cut(fullest, From::Back, pace) {
                return Some(chunk);
            }
        }
    }

    fn cut(
        &self,
        share: &Mutex<Range<u64>>,
        from: From,
        pace: Option<&Pace>,
    ) -> Option<Range<u64>> {
        let mut range = lock(share);
        let left = range.end - range.start;
        if left == 0 {
            return None;
        }
        let size = match pace {
            Some(pace) if self.workers() > 1 => {
                pace.points().min((left / 2).max(pace.least())).max(1)
            }
            Some(pace) => pace.points(),
            None => left,
        };
        let size = self.whole(size).min(left);
        // Few rows do not pay for a copy of what they load.
        let size = if !self.parts && left - size < self.band / 2 { left } else { size };
        let chunk = match from {
            From::Front => range.start..range.start + size,
            From::Back => {
                let unit = self.unit(size);
                let start = (range.end - size) / unit * unit;
                start.max(range.start)..range.end
            }
        };
        match from {
            From::Front => range.start = chunk.end,
            From::Back => range.end = chunk.start,
        }
        Some(chunk)
    }

    /// What chunks of about so many points are made of: rows, or parts of one.
    fn unit(&self, size: u64) -> u64 {
        let whole = !self.parts || (size >= self.band && self.band < self.end);
        if whole { self.rows } else { self.alignment }
    }

    /// At least so many points, in whole units.
    fn whole(&self, size: u64) -> u64 {
        let size = size.max(if self.parts { 1 } else { self.band });
        size.checked_next_multiple_of(self.unit(size)).unwrap_or(size)
    }
}

/// How many points fill the time of a chunk, by the newest chunks of all workers; 0 is unknown.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    /// So many.
    pub(crate) fn points(&self) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            0 => FIRST_CHUNK,
            points => points,
        }
    }

    /// Points of the smallest chunk; where nothing is measured, one may be enough.
    fn least(&self) -> u64 {
        self.0.load(Ordering::Relaxed) / SMALLEST
    }

    /// Notes what a chunk took.
    pub(crate) fn note(&self, points: u64, time: Duration) {
        let ratio = CHUNK_TIME.as_secs_f64() / time.as_secs_f64().max(1e-9);
        let ideal = (points as f64 * ratio.clamp(0.1, GROWTH)) as u64;
        // A short chunk, as they are towards the end, only tells that more points would fit.
        let size = if ratio < GROWTH { ideal.max(1) } else { ideal.max(self.points()) };
        self.0.store(size, Ordering::Relaxed);
    }
}

/// How collectives are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain {
    /// Points are cheap.
    Coarse,
    /// They may cost much, each its own.
    Fine,
}

/// Chunks of a collective: equal for equal kernels, lengths and threads, so that its results are.
/// Measured times must not decide here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FixedChunks {
    points: u64,
    size: u64,
}

impl FixedChunks {
    pub(crate) fn of(points: u64, threads: usize, grain: Grain) -> FixedChunks {
        let (shares, least, most) = match grain {
            Grain::Coarse => (8, 1 << 14, 1 << 20),
            Grain::Fine => (32, 1 << 8, 1 << 16),
        };
        let size = if threads <= 1 { most } else { points.div_ceil(threads as u64 * shares) };
        FixedChunks { points, size: size.clamp(least, most).next_multiple_of(ALIGNMENT) }
    }

    pub(crate) fn count(self) -> usize {
        self.points.div_ceil(self.size) as usize
    }

    pub(crate) fn get(self, at: usize) -> Range<u64> {
        let start = (at as u64 * self.size).min(self.points);
        start..(start + self.size).min(self.points)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CHUNK_TIME, Chunks, FixedChunks, Grain, Pace, Points, ROWS, SHARES, cuboids, points,
    };
    use std::time::Duration;

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
            for (workers, rows, before) in [(1, 1, 0), (3, 1, 0), (3, 4, 0), (2, 1, 1), (3, 4, 5)] {
                let from = u64::from(grid[0] * rows) * before;
                let range = from.min(points(grid))..points(grid);
                let chunks = Chunks::of(grid, range.clone(), rows, Points::Invocations, workers);
                let pace = Pace(1000.into());
                // Seats in an order of no meaning, and more than there are shares.
                let mut seat = 0;
                let mut taken: Vec<_> = std::iter::from_fn(|| {
                    seat = (seat * 5 + 3) % 7;
                    chunks.take(seat, Some(&pace))
                })
                .collect();
                taken.sort_by_key(|chunk| chunk.start);
                let mut at = range.start;
                for chunk in taken {
                    assert_eq!(chunk.start, at);
                    assert!(chunk.end > at);
                    at = chunk.end;
                    let band = u64::from(grid[0] * rows);
                    assert!(
                        rows == 1 || grid[1] == 1 || at.is_multiple_of(band) || at == points(grid)
                    );
                }
                assert_eq!(at, points(grid));
            }
        }
    }

    #[test]
    fn no_chunk_of_tiles_is_a_few_rows() {
        for (n, workers) in [(384u32, 2), (512, 2), (1792, 2), (2048, 3), (1000, 1)] {
            let grid = [n, n, 1];
            let chunks = Chunks::of(grid, 0..points(grid), 5, Points::Invocations, workers);
            let rows = |chunk: std::ops::Range<u64>| (chunk.end - chunk.start) / u64::from(n);
            let taken = std::iter::from_fn(|| chunks.take(0, Some(&Pace(1000.into()))));
            let least = u64::from(n) / (2 * SHARES * workers as u64);
            for chunk in taken {
                let rows = rows(chunk);
                assert!(rows >= least.min(ROWS / 2) - 5, "{rows} of {n} × {workers}");
            }
        }
    }

    #[test]
    fn fixed_chunks_cover_the_range() {
        for count in [0, 1, 64, 20_000, 3_000_001] {
            for threads in [1, 2, 7] {
                for grain in [Grain::Coarse, Grain::Fine] {
                    let chunks = FixedChunks::of(count, threads, grain);
                    let chunks: Vec<_> = (0..chunks.count()).map(|at| chunks.get(at)).collect();
                    assert_eq!(chunks.iter().map(|c| c.end - c.start).sum::<u64>(), count);
                    assert!(chunks.windows(2).all(|pair| pair[0].end == pair[1].start));
                }
            }
        }
    }

    /// The share of the workers' time that is work, when the chunk from `at` to `end` takes
    /// `cost(at, end)` seconds, and the number of chunks. Each chunk goes to whoever is free first.
    fn busy(
        grid: [u32; 3],
        what: Points,
        workers: usize,
        pace: &Pace,
        cost: impl Fn(u64, u64) -> f64,
    ) -> (f64, usize) {
        let chunks = Chunks::of(grid, 0..points(grid), 1, what, workers);
        let mut free = vec![0.0; workers];
        let (mut work, mut count) = (0.0, 0);
        loop {
            let next = (0..workers).min_by(|&a, &b| f64::total_cmp(&free[a], &free[b]));
            let next = next.expect("there are workers");
            let Some(chunk) = chunks.take(next, Some(pace)) else { break };
            let seconds = cost(chunk.start, chunk.end);
            pace.note(chunk.end - chunk.start, Duration::from_secs_f64(seconds));
            (work, count) = (work + seconds, count + 1);
            free[next] += seconds;
        }
        let end = free.iter().fold(0.0, |a: f64, &b| a.max(b));
        (work / (end * workers as f64), count)
    }

    #[test]
    fn uneven_work_keeps_all_workers_busy() {
        // Seconds before a point, of a second or so in all.
        let n = 1 << 20;
        let share = |at: u64| at as f64 / n as f64;
        let even = |at: u64| share(at);
        let rising = |at: u64| share(at).powi(2);
        let falling = |at: u64| 2.0 * share(at) - share(at).powi(2);
        // Most of the work in the middle tenth, where a point costs 64 times as much as elsewhere, as
        // in a picture of the Mandelbrot set.
        let middle = |at: u64| 0.16 * share(at) + ((share(at) - 0.45) * 10.0).clamp(0.0, 1.0);
        let shapes: [(&str, &dyn Fn(u64) -> f64); 4] =
            [("even", &even), ("rising", &rising), ("falling", &falling), ("middle", &middle)];
        for (name, before) in shapes {
            for grid in [[n as u32, 1, 1], [1024, 1024, 1]] {
                for workers in [2, 8, 32] {
                    let pace = Pace::default();
                    for round in 0..2 {
                        let cost = |a: u64, b: u64| before(b) - before(a) + 2e-7;
                        let (busy, count) = busy(grid, Points::Invocations, workers, &pace, cost);
                        assert!(busy > 0.9, "{name} {grid:?} × {workers}, {round}: {busy}");
                        assert!(count < 4000 * workers, "{name}: {count} chunks");
                    }
                }
            }
        }
    }

    #[test]
    fn few_points_that_cost_much_are_shared_by_all() {
        for workers in [2, 4, 16] {
            for (what, count) in [(Points::Invocations, 4096), (Points::Workgroups, 64)] {
                let pace = Pace::default();
                let cost = |a: u64, b: u64| (b - a) as f64 * 0.4 / f64::from(count);
                let (busy, _) = busy([count, 1, 1], what, workers, &pace, cost);
                assert!(busy > 0.75, "{workers} workers, {count} {what:?}: {busy}");
            }
        }
    }

    #[test]
    fn a_pace_is_kept_and_follows_the_cost() {
        let pace = Pace::default();
        for point_s in [1e-8, 1e-6, 3e-8] {
            busy([1 << 20, 1, 1], Points::Invocations, 1, &pace, |a, b| (b - a) as f64 * point_s);
            let expected = CHUNK_TIME.as_secs_f64() / point_s;
            assert!((pace.points() as f64 / expected - 1.0).abs() < 0.1, "{}", pace.points());
        }
    }
}
