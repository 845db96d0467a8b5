//! Sorting, searching, compaction, hashing and dynamic programming.

pub mod bitonic;
pub mod compact;
pub mod floyd_warshall;
pub mod lower_bound;
pub mod path_finder;
pub mod radix_sort;
pub mod sha256;
pub mod smith_waterman;
