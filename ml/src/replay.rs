//! The measured rows that retraining draws from: bounded, and fair to rare kernels.
//!
//! Of each (kernel, size bucket, measured sides) at most [`SAMPLES_MAX`] rows are kept, and
//! [`CAPACITY`] rows in all. Which ones is reservoir sampling in both cases, so that old and new
//! calls have the same chance to stay.

use crate::dataset::{Dataset, Row};
use crate::rng::Rng;
use std::collections::BTreeMap;

/// The most rows of one kernel, size bucket and set of measured sides.
pub const SAMPLES_MAX: usize = 8;

/// The most rows in all.
pub const CAPACITY: usize = 20_000;

/// A kernel, a bucket of sizes and which sides were measured (bit 0 CPU, bit 1 GPU).
type Key = (String, u32, u8);

/// A kept row.
#[derive(Clone, Debug)]
struct Sample {
    row: Row,
    /// |measured − predicted|, in standard deviations.
    surprise: f64,
}

/// The rows of one key.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// Places in [`Replay::samples`].
    places: Vec<usize>,
    seen: usize,
}

/// The store.
#[derive(Clone, Debug)]
pub struct Replay {
    samples: Vec<Sample>,
    cells: BTreeMap<Key, Cell>,
    capacity: usize,
    seen: usize,
    rng: Rng,
}

impl Replay {
    /// An empty store of [`CAPACITY`] rows.
    ///
    /// ```
    /// use crossover_ml::Replay;
    /// assert!(Replay::new(1).is_empty());
    /// ```
    #[must_use]
    pub fn new(seed: u64) -> Replay {
        Replay::with_capacity(CAPACITY, seed)
    }

    /// An empty store of `capacity` rows (at least 1).
    ///
    /// ```
    /// # use crossover_ml::{Features, Replay, Row};
    /// let row = |n| Row::new("saxpy", "user", n, Features::missing(), [Some(1e-5), None]);
    /// let mut store = Replay::with_capacity(1, 7);
    /// for n in [1, 1 << 10, 1 << 20] {
    ///     store.insert(row(n), 0.0);
    /// }
    /// assert_eq!(store.len(), 1);
    /// ```
    #[must_use]
    pub fn with_capacity(capacity: usize, seed: u64) -> Replay {
        let (samples, cells) = (Vec::new(), BTreeMap::new());
        Replay { samples, cells, capacity: capacity.max(1), seen: 0, rng: Rng::new(seed) }
    }

    /// How many rows are kept.
    ///
    /// ```
    /// # use crossover_ml::{Features, Replay, Row};
    /// let row = |n| Row::new("saxpy", "user", n, Features::missing(), [Some(1e-5), None]);
    /// let mut store = Replay::new(7);
    /// store.insert(row(1), 0.0);
    /// assert_eq!(store.len(), 1);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether no row is kept.
    ///
    /// ```
    /// assert!(crossover_ml::Replay::new(7).is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// How many rows were offered.
    ///
    /// ```
    /// # use crossover_ml::{Features, Replay, Row};
    /// let row = |n| Row::new("saxpy", "user", n, Features::missing(), [Some(1e-5), None]);
    /// let mut store = Replay::with_capacity(1, 7);
    /// store.insert(row(1), 0.0);
    /// store.insert(row(1 << 10), 0.0);
    /// assert_eq!(store.seen(), 2);
    /// ```
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Offers a row with its surprise: |measured − predicted| in standard deviations. Rows that
    /// were not measured, or cannot have been, are dropped. Returns whether it was kept.
    ///
    /// ```
    /// # use crossover_ml::{Features, Replay, Row};
    /// let row = |n| Row::new("saxpy", "user", n, Features::missing(), [Some(1e-5), None]);
    /// let mut store = Replay::new(7);
    /// assert!(store.insert(row(1), 0.0));
    /// let unmeasured = Row::new("saxpy", "user", 1, Features::missing(), [None; 2]);
    /// assert!(!store.insert(unmeasured, 0.0));
    /// ```
    pub fn insert(&mut self, row: Row, surprise: f64) -> bool {
        if !row.is_measured() || row.validate().is_err() {
            return false;
        }
        let surprise = if surprise.is_finite() { surprise.clamp(0.0, 10.0) } else { 0.0 };
        self.seen += 1;
        let key = key_of(&row);
        let sample = Sample { row, surprise };
        let cell = self.cells.entry(key.clone()).or_default();
        cell.seen += 1;
        if cell.places.len() >= SAMPLES_MAX {
            let drawn = self.rng.below(cell.seen);
            let place = cell.places.get(drawn).copied();
            return place.map(|place| self.samples[place] = sample).is_some();
        }
        if self.samples.len() < self.capacity {
            cell.places.push(self.samples.len());
            self.samples.push(sample);
            return true;
        }
        let drawn = self.rng.below(self.seen);
        if drawn >= self.capacity {
            if cell.places.is_empty() {
                self.cells.remove(&key);
            }
            return false;
        }
        self.evict(drawn);
        self.samples[drawn] = sample;
        self.cells.entry(key).or_default().places.push(drawn);
        true
    }

    /// Takes the place away from the cell that has it.
    fn evict(&mut self, place: usize) {
        let key = key_of(&self.samples[place].row);
        if let Some(cell) = self.cells.get_mut(&key) {
            cell.places.retain(|&other| other != place);
            if cell.places.is_empty() {
                self.cells.remove(&key);
            }
        }
    }

    /// The kept rows, with the priority at which each is drawn: 1 + its surprise.
    ///
    /// ```
    /// # use crossover_ml::{Features, Replay, Row};
    /// let row = |n| Row::new("saxpy", "user", n, Features::missing(), [Some(1e-5), None]);
    /// let mut store = Replay::new(7);
    /// store.insert(row(4096), 2.5);
    /// assert_eq!(store.rows().collect::<Vec<_>>(), [(&row(4096), 3.5)]);
    /// ```
    pub fn rows(&self) -> impl Iterator<Item = (&Row, f64)> {
        self.samples.iter().map(|sample| (&sample.row, 1.0 + sample.surprise))
    }

    /// The kept rows as a data set, and their priorities in the same order.
    ///
    /// ```
    /// # use crossover_ml::{Features, Replay, Row};
    /// let row = |n| Row::new("saxpy", "user", n, Features::missing(), [Some(1e-5), None]);
    /// let mut store = Replay::new(7);
    /// store.insert(row(4096), 2.5);
    /// let (data, priorities) = store.dataset();
    /// assert_eq!((data.rows(), priorities.as_slice()), (&[row(4096)][..], &[3.5][..]));
    ///
    /// ```
    #[must_use]
    pub fn dataset(&self) -> (Dataset, Vec<f64>) {
        let mut data = Dataset::new();
        let mut priorities = Vec::with_capacity(self.len());
        for (row, priority) in self.rows() {
            if data.push(row.clone()).is_ok() {
                priorities.push(priority);
            }
        }
        (data, priorities)
    }
}

fn key_of(row: &Row) -> Key {
    let sides = u8::from(row.seconds[0].is_some()) | u8::from(row.seconds[1].is_some()) << 1;
    (row.kernel.clone(), row.bucket(), sides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;

    fn row(kernel: usize, n: u64) -> Row {
        Row::new(format!("k{kernel}"), "f", n, Features::missing(), [Some(1.0), None])
    }

    #[test]
    fn a_hot_kernel_keeps_eight_rows_a_bucket() {
        let mut replay = Replay::new(1);
        for i in 0..10_000 {
            replay.insert(row(0, 1024 + i % 1024), 0.0);
        }
        assert_eq!((replay.len(), replay.seen()), (SAMPLES_MAX, 10_000));
        replay.insert(row(0, 4096), 0.0);
        replay.insert(row(1, 1024), 0.0);
        assert_eq!(replay.len(), SAMPLES_MAX + 2);
    }

    #[test]
    fn a_full_store_stays_bounded_and_consistent() {
        let mut replay = Replay::with_capacity(100, 2);
        for i in 0..5_000 {
            replay.insert(row(i % 700, 1 << (i % 13)), 1.0);
        }
        assert_eq!(replay.len(), 100);
        let places: usize = replay.cells.values().map(|cell| cell.places.len()).sum();
        assert_eq!(places, 100);
        let own = |(key, cell): (&Key, &Cell)| {
            cell.places.iter().all(|&place| key_of(&replay.samples[place].row) == *key)
        };
        assert!(replay.cells.iter().all(own));
    }

    #[test]
    fn unmeasured_and_impossible_rows_are_dropped() {
        let mut replay = Replay::new(3);
        let mut bad = row(0, 1);
        bad.seconds = [None, None];
        assert!(!replay.insert(bad.clone(), 0.0));
        bad.seconds = [Some(f64::NAN), None];
        assert!(!replay.insert(bad, 0.0));
        assert!(replay.insert(row(0, 0), f64::NAN));
    }
}
