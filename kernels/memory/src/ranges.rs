//! Sets of bytes, as ranges: which parts of a buffer are newer elsewhere.

use std::ops::Range;

/// Ranges that are kept apart at most: beyond that the nearest ones grow together, since every range is a
/// copy of its own, and moving a few bytes too many is cheaper than another copy.
const RANGES_MAX: usize = 32;

/// A set of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// In order, none empty, none touching the next.
    list: Vec<Range<usize>>,
}

impl Ranges {
    /// All bytes below this one.
    pub fn below(end: usize) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.insert(0..end);
        ranges
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many bytes.
    pub fn bytes(&self) -> usize {
        self.list.iter().map(Range::len).sum()
    }

    /// The ranges, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.list.iter().cloned()
    }

    /// The parts of a range that are in the set, in order.
    pub fn within(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let cut = |own: &Range<usize>| own.start.max(range.start)..own.end.min(range.end);
        self.list.iter().map(cut).filter(|part| part.start < part.end).collect()
    }

    /// Adds bytes, and a few between where there would be too many ranges.
    pub fn insert(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let mut grown = range;
        self.list.retain(|own| {
            let touches = own.start <= grown.end && grown.start <= own.end;
            if touches {
                grown = own.start.min(grown.start)..own.end.max(grown.end);
            }
            !touches
        });
        let at = self.list.partition_point(|own| own.start < grown.start);
        self.list.insert(at, grown);
        while self.list.len() > RANGES_MAX {
            let gap = |at: &usize| self.list[at + 1].start - self.list[*at].end;
            let Some(at) = (0..self.list.len() - 1).min_by_key(gap) else { return };
            let next = self.list.remove(at + 1);
            self.list[at].end = next.end;
        }
    }

    /// Takes bytes out.
    pub fn remove(&mut self, range: &Range<usize>) {
        if range.is_empty() {
            return;
        }
        let parts = self.list.iter().flat_map(|own| {
            let before = own.start..own.end.min(range.start);
            let behind = own.start.max(range.end)..own.end;
            [before, behind].into_iter().filter(|part| part.start < part.end)
        });
        self.list = parts.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::{RANGES_MAX, Ranges};

    /// Against a table of bytes, with a generator of its own: this crate has no dependency for it.
    #[test]
    fn ranges_are_sets_of_bytes() {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |limit: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % limit
        };
        for _ in 0..200 {
            let (mut ranges, mut table) = (Ranges::default(), [false; 100]);
            for _ in 0..20 {
                let start = below(100);
                let range = start..start + below(101 - start);
                let adds = below(3) > 0;
                if adds {
                    ranges.insert(range.clone())
                } else {
                    ranges.remove(&range)
                }
                table[range].fill(adds);
                let found: Vec<usize> = ranges.iter().flatten().collect();
                let expected: Vec<usize> = (0..100).filter(|&at| table[at]).collect();
                assert_eq!(found, expected);
                assert_eq!(ranges.bytes(), expected.len());
                assert_eq!(ranges.is_empty(), expected.is_empty());
                let part: Vec<usize> = ranges.within(&(20..60)).into_iter().flatten().collect();
                assert_eq!(
                    part,
                    expected.iter().copied().filter(|at| (20..60).contains(at)).collect::<Vec<_>>()
                );
                assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|(a, b)| a.end < b.start));
            }
        }
    }

    #[test]
    fn too_many_ranges_grow_together_where_they_are_near() {
        let mut ranges = Ranges::default();
        for at in 0..RANGES_MAX {
            ranges.insert(100 * at..100 * at + 10);
        }
        ranges.insert(15..20);
        assert_eq!(ranges.iter().count(), RANGES_MAX);
        assert_eq!(ranges.iter().next(), Some(0..20), "the gap of 5 is closed");
        assert_eq!(ranges.bytes(), 10 * RANGES_MAX + 10);
    }
}
