//! The rows of batches: one half drawn from all rows, one half uniformly over kernels.

use crate::dataset::Row;
use crate::loss::Target;
use crate::network::Network;
use crate::rng::Rng;
use std::collections::BTreeMap;

/// The rows of each kernel.
pub(super) fn group_by_kernel(rows: &[&Row]) -> Vec<Vec<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        groups.entry(&row.kernel).or_default().push(at);
    }
    groups.into_values().collect()
}

/// Draws the rows of batches.
#[derive(Clone, Debug)]
pub struct Sampler {
    kernels: Vec<Vec<usize>>,
    order: Vec<usize>,
    at: usize,
    /// Running sums of the priorities along `order`; empty if all are alike.
    sums: Vec<f64>,
    rng: Rng,
}

impl Sampler {
    pub(super) fn new(kernels: &[Vec<usize>], priorities: Option<&[f64]>, seed: u64) -> Sampler {
        let order: Vec<usize> = kernels.iter().flatten().copied().collect();
        let mut sum = 0.0;
        let mut add = |row: &usize| {
            sum += priorities.map_or(1.0, |p| p[*row]);
            sum
        };
        let sums =
            if priorities.is_some() { order.iter().map(&mut add).collect() } else { Vec::new() };
        Sampler {
            kernels: kernels.to_vec(),
            at: order.len(),
            order,
            sums,
            rng: Rng::new(seed ^ 0x5a3b),
        }
    }

    /// The numbers of `count` rows.
    pub fn draw(&mut self, count: usize) -> Vec<usize> {
        let by_row = count / 2;
        let mut rows: Vec<usize> = (0..by_row).map(|_| self.draw_row()).collect();
        rows.extend((by_row..count).map(|_| self.draw_kernel()));
        rows
    }

    fn draw_row(&mut self) -> usize {
        if let Some(total) = self.sums.last() {
            let wanted = self.rng.uniform() * total;
            let at = self.sums.partition_point(|&sum| sum <= wanted);
            return self.order[at.min(self.order.len() - 1)];
        }
        if self.at >= self.order.len() {
            self.rng.shuffle(&mut self.order);
            self.at = 0;
        }
        self.at += 1;
        self.order[self.at - 1]
    }

    fn draw_kernel(&mut self) -> usize {
        let rows = &self.kernels[self.rng.below(self.kernels.len())];
        rows[self.rng.below(rows.len())]
    }
}

/// All rows as inputs and targets.
pub struct Batches {
    inputs: Vec<f32>,
    width: usize,
    targets: Vec<Target>,
}

impl Batches {
    /// Encodes `rows` for `network`.
    #[must_use]
    pub fn new(network: &Network, rows: &[&Row]) -> Batches {
        let width = network.encoder.inputs_count();
        let inputs = rows.iter().flat_map(|row| row.features.encode(&network.encoder)).collect();
        let targets = rows.iter().map(|row| Target::of(row, network.fallback)).collect();
        Batches { inputs, width, targets }
    }

    /// The inputs (`rows × inputs`) and targets of these rows.
    #[must_use]
    pub fn gather(&self, rows: &[usize]) -> (Vec<f32>, Vec<Target>) {
        let input = |&row: &usize| &self.inputs[row * self.width..(row + 1) * self.width];
        let inputs = rows.iter().flat_map(input).copied().collect();
        (inputs, rows.iter().map(|&row| self.targets[row]).collect())
    }
}
