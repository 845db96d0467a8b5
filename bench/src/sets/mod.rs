//! The code that a kernel becomes on the CPU with sets of the seven optimisations: each distinct one compiled
//! once, and timed in turns with the others.
//!
//! Code is told apart by the bytes of its module: many sets give the same. How it is timed says [`crate::turns`].

mod proof;
mod random;
mod whole;

use std::collections::HashMap;
use std::time::Duration;

use crossover::kernels::error::RunError;
use crossover::kernels::exec::{Arg, Grid};
use crossover::kernels::ir::Kernel;
use crossover::kernels::passes::optimize_logged;
use crossover::ml::dataset::{Compiled, OPTIMISATIONS, SPEEDUPS};
use crossover::ml::optimise::Set;
use crossover::{kernel_values as values, optimized};
use crossover_wasm::WasmExecutor;

use crate::turns::{self, Coded, cpu_s};

pub(crate) use proof::{Optimisations, geo, measure as prove, tables};
pub(crate) use random::measure as measure_random;

/// Compilations of each, of which the quickest counts.
const COMPILATIONS: usize = 3;

/// The code of some sets.
pub(crate) struct Variant {
    /// The first that gives it.
    pub(crate) set: Set,
    pub(crate) coded: Coded,
    /// Seconds of the passes.
    pub(crate) passes_s: f64,
}

impl Variant {
    pub(crate) fn compile_s(&self) -> f64 {
        self.passes_s + self.coded.code_s
    }
}

/// The distinct code of some sets.
pub(crate) struct Variants {
    pub(crate) distinct: Vec<Variant>,
    /// Which of them each set becomes, in the order in which the sets were asked for.
    of: HashMap<Set, usize>,
}

impl Variants {
    /// Compiles a kernel with each of the sets.
    pub(crate) fn new(
        executor: &WasmExecutor,
        source: &Kernel,
        sets: impl Iterator<Item = Set>,
    ) -> Result<Variants, RunError> {
        let (mut distinct, mut of, mut known) = (Vec::new(), HashMap::new(), HashMap::new());
        for set in sets {
            let start = cpu_s();
            let (kernel, schedule) = optimized(source, set);
            let passes_s = cpu_s() - start;
            let bytes = turns::module(&kernel, schedule)?;
            let at = match known.get(&bytes) {
                Some(&at) => at,
                None => {
                    let coded = Coded::new(executor, &kernel, schedule, bytes.len(), COMPILATIONS)?;
                    distinct.push(Variant { set, coded, passes_s });
                    known.insert(bytes, distinct.len() - 1);
                    distinct.len() - 1
                }
            };
            of.insert(set, at);
        }
        Ok(Variants { distinct, of })
    }

    /// The code of a set that was asked for.
    pub(crate) fn of(&self, set: Set) -> Option<&Variant> {
        self.of.get(&set).map(|&at| &self.distinct[at])
    }

    /// Whether the code is the same as with all optimisations.
    pub(crate) fn is_as_all(&self, set: Set) -> bool {
        self.of.get(&set) == self.of.get(&Set::ALL)
    }

    /// Times all in turns: at least and at most so many, within the budget.
    pub(crate) fn time(
        &mut self,
        args: &[Arg],
        grid: Option<Grid>,
        turns: [usize; 2],
        budget: Duration,
    ) -> anyhow::Result<()> {
        let all = self.distinct.iter_mut().map(|variant| &mut variant.coded).collect();
        turns::time(all, args, grid, turns, budget)
    }
}

/// All optimisations, and all but each.
pub(crate) fn ablated() -> impl Iterator<Item = Set> {
    [Set::ALL].into_iter().chain((0..SPEEDUPS).map(|at| Set::ALL.flipped(at)))
}

/// What compiling took, where all of [`ablated`] were asked for.
pub(crate) fn compiled(source: &Kernel, variants: &Variants) -> Option<Compiled> {
    let all = variants.of(Set::ALL)?;
    let mut passes_s = [f64::INFINITY; SPEEDUPS];
    for _ in 0..COMPILATIONS {
        let mut once = [0.0; SPEEDUPS];
        optimize_logged(source, &mut |pass, _, took| {
            if let Some(at) = OPTIMISATIONS.iter().position(|name| *name == pass.name) {
                once[at] += took.as_secs_f64();
            }
        });
        passes_s = std::array::from_fn(|at| f64::min(passes_s[at], once[at]));
    }
    let without = |at: usize| {
        let set = Set::ALL.flipped(at);
        let variant = variants.of(set).filter(|_| !variants.is_as_all(set))?;
        Some(variant.coded.code_s)
    };
    Some(Compiled {
        values: [values(source), values(&all.coded.kernel)],
        bytes: all.coded.bytes as f64,
        passes_s,
        code_s: all.coded.code_s,
        code_without_s: std::array::from_fn(without),
    })
}

#[cfg(test)]
mod tests {
    use crossover::kernels::library::{self, Entry};
    use crossover::kernels::random::Random;

    use super::*;
    use crate::{direct, families};

    fn source(entry: &Entry) -> Kernel {
        crossover::kernels::front::kernel(entry.kernels()[0], &[], &[]).expect("typed")
    }

    #[test]
    fn every_set_has_code_and_most_share_it() {
        let executor = WasmExecutor::new().expect("an engine");
        let entry = library::find("jacobi").expect("a library kernel");
        let source = source(entry);
        let mut variants = Variants::new(&executor, &source, Set::every()).expect("compiled");
        assert!((2..64).contains(&variants.distinct.len()));
        assert!(Set::every().all(|set| variants.of(set).is_some()));
        // It calls no function of its own.
        let [inline, simd] = [0, 2].map(|at| Set::ALL.flipped(at));
        assert!(variants.is_as_all(inline) && !variants.is_as_all(simd));
        let inputs = (entry.inputs)(17, &mut Random::new(1));
        let args = direct::slots(&inputs).expect("memory");
        variants.time(&args, None, [2, 2], Duration::ZERO).expect("timed");
        for variant in &variants.distinct {
            assert_eq!(variant.coded.times.len(), 2);
            assert!(variant.coded.least_s() > 0.0 && variant.compile_s() > variant.coded.code_s);
        }
    }

    #[test]
    fn a_random_kernel_gives_rows_that_say_what_each_is_worth() {
        let rt = crossover::Runtime::builder().with(|s| s.gpu = crossover::GpuUse::Off).build();
        let (rt, executor) = (rt.expect("the CPU"), WasmExecutor::new().expect("an engine"));
        // With functions of its own, and lanes that go their own ways.
        for number in [9, 10] {
            let (family, specimen) = families::ablated(2, number);
            let mut rng = families::rng(2, number, 1);
            let rows = measure_random(&rt, &executor, [family, "k"], &specimen, &mut rng);
            let rows = rows.expect("memory").unwrap_or_else(|rejected| panic!("{rejected}"));
            assert!(!rows.is_empty());
            for row in rows {
                assert!(row.validate().is_ok());
                let compiled = row.compiled.expect("it was compiled");
                for (at, name) in OPTIMISATIONS.iter().enumerate() {
                    let is_same = compiled.code_without_s[at].is_none();
                    assert!(!is_same || row.speedups[at] == Some(1.0), "{name}");
                }
            }
        }
    }
}
