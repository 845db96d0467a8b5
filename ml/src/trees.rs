//! Boosted trees: a sum of small trees, each of which learns what those before it have missed.
//!
//! A tree asks the same question of all examples at a level, so that it is a table:
//!
//! ```text
//! x[3] > 0.5?  x[17] > 2.0?  x[3] > 4.0?        ─→  leaf number 0b101
//! ```
//!
//! They take numbers as they are: what matters is their order, not their scale.

use crate::error::Error;
use crate::rng::Rng;
use crate::weights::{NamedTensor, unreadable};

/// Questions of a tree.
pub(crate) const DEPTH: usize = 5;

/// Leaves of a tree.
const LEAVES: usize = 1 << DEPTH;

/// Ranges into which the examples' values of an input are cut, at most.
const BINS: usize = 32;

/// How to grow them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    pub(crate) trees: usize,
    /// The share of what it finds that a tree adds.
    pub(crate) rate: f64,
    /// Examples that a leaf is held back by.
    pub(crate) penalty: f64,
    /// The shares of the examples and of the inputs that a tree sees.
    pub(crate) examples: f64,
    pub(crate) inputs: f64,
}

impl Default for Growth {
    fn default() -> Growth {
        Growth { trees: 160, rate: 0.08, penalty: 20.0, examples: 0.6, inputs: 0.4 }
    }
}

/// One tree.
#[derive(Clone, Debug, PartialEq)]
struct Tree {
    questions: [(usize, f32); DEPTH],
    leaves: [f32; LEAVES],
}

impl Tree {
    fn leaf(&self, x: &[f32]) -> usize {
        let bits = self.questions.iter().map(|&(at, least)| usize::from(x[at] > least));
        bits.fold(0, |leaf, bit| leaf << 1 | bit)
    }
}

/// The sum.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trees {
    inputs: usize,
    base: f32,
    trees: Vec<Tree>,
}

/// The values of an input, cut into ranges: behind each of `ends` begins another.
struct Binned {
    ends: Vec<f32>,
    of: Vec<u8>,
}

impl Binned {
    fn new(values: &[f32]) -> Binned {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        sorted.dedup();
        let ends: Vec<f32> = match sorted.len() <= BINS {
            true => sorted.windows(2).map(|two| 0.5 * (two[0] + two[1])).collect(),
            false => (1..BINS).map(|at| sorted[at * sorted.len() / BINS]).collect(),
        };
        let of = |x: &f32| ends.partition_point(|end| end < x) as u8;
        let of = values.iter().map(of).collect();
        Binned { ends, of }
    }
}

impl Trees {
    /// Grows trees on examples, each of its weight. The same seed gives the same trees.
    ///
    /// # Panics
    /// When the lists are of different lengths.
    pub(crate) fn grow(
        examples: &[Vec<f32>],
        wanted: &[f64],
        weights: &[f64],
        growth: &Growth,
        seed: u64,
    ) -> Trees {
        assert!(examples.len() == wanted.len() && examples.len() == weights.len());
        let inputs = examples.first().map_or(0, Vec::len);
        let whole = weights.iter().sum::<f64>().max(1e-12);
        let base = wanted.iter().zip(weights).map(|(y, w)| y * w).sum::<f64>() / whole;
        let column = |at: usize| examples.iter().map(|x| x[at]).collect::<Vec<f32>>();
        let binned: Vec<Binned> = (0..inputs).map(|at| Binned::new(&column(at))).collect();
        let mut left: Vec<f64> = wanted.iter().map(|y| y - f64::from(base as f32)).collect();
        let mut rng = Rng::new(seed);
        let mut grown = Trees { inputs, base: base as f32, trees: Vec::new() };
        if inputs == 0 {
            return grown;
        }
        for _ in 0..growth.trees {
            let seen: Vec<usize> =
                (0..examples.len()).filter(|_| rng.uniform() < growth.examples).collect();
            let mut asked: Vec<usize> = (0..inputs).collect();
            rng.shuffle(&mut asked);
            asked.truncate(((inputs as f64 * growth.inputs).ceil() as usize).max(1));
            let tree = tree(&binned, &seen, &asked, (&left, weights), growth);
            for (x, left) in examples.iter().zip(&mut left) {
                *left -= f64::from(tree.leaves[tree.leaf(x)]);
            }
            grown.trees.push(tree);
        }
        grown
    }

    /// What they say of an example.
    pub(crate) fn predict(&self, x: &[f32]) -> f64 {
        let sum: f32 = self.trees.iter().map(|tree| tree.leaves[tree.leaf(x)]).sum();
        f64::from(self.base + sum)
    }

    /// The numbers of all, named behind the prefix.
    pub(crate) fn tensors(&self, prefix: &str) -> Vec<NamedTensor> {
        let of = |name: &str, shape: Vec<usize>, values: Vec<f32>| NamedTensor {
            name: format!("{prefix}{name}"),
            shape,
            values,
        };
        let count = self.trees.len();
        let questions = || self.trees.iter().flat_map(|tree| tree.questions);
        vec![
            of("base", vec![1], vec![self.base]),
            of("inputs", vec![count, DEPTH], questions().map(|(at, _)| at as f32).collect()),
            of("ends", vec![count, DEPTH], questions().map(|(_, end)| end).collect()),
            of(
                "leaves",
                vec![count, LEAVES],
                self.trees.iter().flat_map(|tree| tree.leaves).collect(),
            ),
        ]
    }

    /// The same back, of examples of so many inputs.
    ///
    /// # Errors
    /// A tensor that `read` does not give, or an input that there is none of.
    pub(crate) fn from_tensors(
        inputs: usize,
        count: usize,
        read: impl Fn(&str, &[usize]) -> Result<Vec<f32>, Error>,
    ) -> Result<Trees, Error> {
        let base = read("base", &[1])?[0];
        let (asked, ends) = (read("inputs", &[count, DEPTH])?, read("ends", &[count, DEPTH])?);
        let leaves = read("leaves", &[count, LEAVES])?;
        if asked.iter().any(|at| *at < 0.0 || *at >= inputs as f32) {
            return Err(unreadable("trees that ask for what they are not told"));
        }
        let tree = |at: usize| {
            let question = |level: usize| {
                let at = at * DEPTH + level;
                (asked[at] as usize, ends[at])
            };
            Tree {
                questions: std::array::from_fn(question),
                leaves: std::array::from_fn(|leaf| leaves[at * LEAVES + leaf]),
            }
        };
        Ok(Trees { inputs, base, trees: (0..count).map(tree).collect() })
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.trees.len()
    }
}

/// The tree that finds most of what is left, question by question.
fn tree(
    binned: &[Binned],
    seen: &[usize],
    asked: &[usize],
    (left, weights): (&[f64], &[f64]),
    growth: &Growth,
) -> Tree {
    let mut leaf = vec![0usize; seen.len()];
    let mut questions = [(asked[0], f32::MAX); DEPTH];
    for (level, question) in questions.iter_mut().enumerate() {
        let leaves = 1usize << level;
        let mut best = (0.0, None);
        for &input in asked {
            let Binned { ends, of } = &binned[input];
            let mut sums = vec![[0.0; 2]; leaves * BINS];
            for (&example, &leaf) in seen.iter().zip(&leaf) {
                let sum = &mut sums[leaf * BINS + usize::from(of[example])];
                sum[0] += weights[example] * left[example];
                sum[1] += weights[example];
            }
            let mut gains = vec![0.0; ends.len()];
            for sums in sums.chunks_exact(BINS) {
                let whole = sums.iter().fold([0.0; 2], |[y, w], sum| [y + sum[0], w + sum[1]]);
                let mut below = [0.0; 2];
                for (gain, sum) in gains.iter_mut().zip(sums) {
                    below = [below[0] + sum[0], below[1] + sum[1]];
                    let above = [whole[0] - below[0], whole[1] - below[1]];
                    let worth = |[y, w]: [f64; 2]| y * y / (w + growth.penalty);
                    *gain += worth(below) + worth(above) - worth(whole);
                }
            }
            for (gain, &end) in gains.into_iter().zip(ends) {
                if gain > best.0 {
                    best = (gain, Some((input, end)));
                }
            }
        }
        if let (_, Some((input, end))) = best {
            *question = (input, end);
        }
        let Binned { ends, of } = &binned[question.0];
        let bin = ends.partition_point(|end| *end < question.1);
        for (&example, leaf) in seen.iter().zip(&mut leaf) {
            *leaf = *leaf << 1 | usize::from(usize::from(of[example]) > bin);
        }
    }
    let mut sums = [[0.0; 2]; LEAVES];
    for (&example, &leaf) in seen.iter().zip(&leaf) {
        sums[leaf][0] += weights[example] * left[example];
        sums[leaf][1] += weights[example];
    }
    let leaves = sums.map(|[y, w]| (growth.rate * y / (w + growth.penalty)) as f32);
    Tree { questions, leaves }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A step, a product of two inputs, and noise that nothing tells.
    fn examples(count: usize, seed: u64) -> (Vec<Vec<f32>>, Vec<f64>) {
        let mut rng = Rng::new(seed);
        let x: Vec<Vec<f32>> =
            (0..count).map(|_| (0..4).map(|_| rng.normal() as f32).collect()).collect();
        let y = x.iter().map(|x| {
            let step = if x[0] > 0.3 { 1.0 } else { 0.0 };
            step + 0.5 * f64::from(x[1].signum() * x[2].signum()) + 0.05 * rng.normal()
        });
        let y = y.collect();
        (x, y)
    }

    #[test]
    fn steps_and_products_are_found_on_what_was_not_seen() {
        let ((x, y), (new, told)) = (examples(2000, 1), examples(300, 2));
        let trees = Trees::grow(&x, &y, &vec![1.0; x.len()], &Growth::default(), 7);
        let squares = new.iter().zip(&told).map(|(x, y)| (trees.predict(x) - y).powi(2));
        let error = (squares.sum::<f64>() / 300.0).sqrt();
        assert!(error < 0.25, "{error} of 0.69 without");
        assert_eq!(trees, Trees::grow(&x, &y, &vec![1.0; x.len()], &Growth::default(), 7));
    }

    #[test]
    fn weights_count_and_nothing_is_learned_of_nothing() {
        let x = [vec![0.0], vec![0.0], vec![1.0]];
        let growth = Growth { trees: 0, ..Growth::default() };
        let trees = Trees::grow(&x, &[1.0, 3.0, 2.0], &[1.0, 3.0, 0.0], &growth, 1);
        assert!((trees.predict(&[0.0]) - 2.5).abs() < 1e-6);
        assert_eq!(Trees::grow(&[], &[], &[], &Growth::default(), 1).predict(&[]), 0.0);
        // An input that never changes has no question.
        let same = vec![vec![1.0]; 50];
        let flat = Trees::grow(&same, &[2.0; 50], &[1.0; 50], &Growth::default(), 1);
        assert!((flat.predict(&[1.0]) - 2.0).abs() < 1e-6);
    }

    #[test]
    fn tensors_give_the_same_trees_back() {
        let (x, y) = examples(200, 3);
        let growth = Growth { trees: 5, ..Growth::default() };
        let trees = Trees::grow(&x, &y, &vec![1.0; 200], &growth, 1);
        let tensors = trees.tensors("t.");
        let read = |name: &str, shape: &[usize]| {
            let found = tensors.iter().find(|t| t.name == format!("t.{name}"));
            let found = found.filter(|t| t.shape == shape);
            Ok(found.ok_or_else(|| unreadable("none"))?.values.clone())
        };
        assert_eq!(Trees::from_tensors(4, 5, read).expect("all there"), trees);
        assert!(Trees::from_tensors(1, 5, read).is_err(), "it asks for more inputs");
        assert!(Trees::from_tensors(4, 6, read).is_err());
    }
}
