//! Random kernels that somebody could have written, in families: what the cost model is trained on.
//!
//! A kernel is text in the kernel language, read by the same front end as a kernel file, with a plan of its
//! arguments for every size. The same seed and number give the same kernel on every machine. None of them is
//! a kernel of the library.

mod code;
mod helpers;
mod shapes;

use crossover::kernels::error::KernelError;
use crossover::kernels::exec::Grid;
use crossover::kernels::front;
use crossover::kernels::interp::Data;
use crossover::kernels::ir::{Const, Kernel};
use crossover::kernels::random::Random;

/// Writes a kernel of a family.
type Write = fn(&mut Random) -> Specimen;

/// The families, in the order in which their kernels take turns.
pub(crate) static FAMILIES: [(&str, Write); 9] = [
    ("maps", shapes::maps),
    ("stencils", shapes::stencils),
    ("gathers", shapes::gathers),
    ("reductions", shapes::reductions),
    ("loops", shapes::loops),
    ("branches", shapes::branches),
    ("transcendental", shapes::transcendental),
    ("integers", shapes::integers),
    ("mixed", shapes::mixed),
];

/// The name of a family, and its kernel of that number in the sequence of a seed.
pub(crate) fn kernel(seed: u64, number: u64) -> (&'static str, Specimen) {
    let (family, make) = FAMILIES[number as usize % FAMILIES.len()];
    (family, make(&mut rng(seed, number, 0)))
}

/// What takes turns with all families where optimisations are judged.
static ABLATED: [(&str, Write); 2] = [("helpers", helpers::helpers), ("walks", helpers::walks)];

/// The same of the sequence that optimisations are judged on.
pub(crate) fn ablated(seed: u64, number: u64) -> (&'static str, Specimen) {
    let at = number as usize % (FAMILIES.len() + ABLATED.len());
    let (family, make) = FAMILIES.iter().chain(&ABLATED).nth(at).unwrap_or(&FAMILIES[0]);
    (family, make(&mut rng(seed, number, 0)))
}

/// What is measured beside all of these where layouts are judged, when it is asked for by name.
static LAID_OUT: (&str, Write) = ("sparse", helpers::sparse);

/// The kernel of that number of the family of this name, whichever it is.
pub(crate) fn of_family(name: &str, seed: u64, number: u64) -> Option<(&'static str, Specimen)> {
    let mut all = FAMILIES.iter().chain(&ABLATED).chain([&LAID_OUT]);
    let (family, make) = all.find(|(family, _)| *family == name)?;
    Some((family, make(&mut rng(seed, number, 0))))
}

/// The random numbers of a kernel, for a purpose.
pub(crate) fn rng(seed: u64, number: u64, purpose: u64) -> Random {
    let mut mixed = Random::new(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Random::new(mixed.next_u64() ^ purpose)
}

/// How long a buffer is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Len {
    /// An element for each point.
    Points,
    /// So many elements for each point, and one more.
    Times(u32),
    /// As many for each point as the count of a loop.
    PointsTimesCount,
    /// As many as the count of a loop.
    Count,
    /// So many at every size.
    Fixed(usize),
}

/// What an argument holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot {
    Width,
    Height,
    Count(u32),
    Scalar(f32),
    /// Numbers from −1 to 1.
    Floats(Len),
    /// Any words.
    Words(Len),
    /// An index for each point into a buffer of that length, near the point or anywhere.
    Places {
        below: Len,
        near: bool,
    },
    Result(Len),
    ResultWords(Len),
    Counters(usize),
    /// The output of a collective; whether of floats.
    Collective(Len, bool),
}

/// A kernel as text, and what its arguments hold.
#[derive(Debug)]
pub(crate) struct Specimen {
    pub(crate) source: String,
    pub(crate) slots: Vec<Slot>,
}

impl Specimen {
    /// The kernel, checked as every kernel is.
    pub(crate) fn build(&self) -> Result<Kernel, KernelError> {
        let definitions = front::source::parse(&self.source, "generated")?;
        let definition = definitions.first().ok_or_else(|| KernelError::Source {
            kernel: "generated".to_owned(),
            diagnostics: Vec::new(),
        })?;
        front::instantiate(definition, &[], &[])
    }

    /// The count of its loop; 1 where it has none.
    fn count(&self) -> usize {
        let count = self.slots.iter().find_map(|slot| match slot {
            Slot::Count(count) => Some(*count as usize),
            _ => None,
        });
        count.unwrap_or(1)
    }

    fn is_plane(&self) -> bool {
        self.slots.iter().any(|slot| matches!(slot, Slot::Width))
    }

    /// Arguments for about `n` points, and the grid.
    pub(crate) fn arguments(&self, rng: &mut Random, n: usize) -> (Vec<Data>, Grid) {
        let (width, height) = match self.is_plane() {
            true => {
                let share = 0.3 + 0.4 * rng.below(100) as f64 / 100.0;
                let width = ((n as f64).powf(share) as usize).clamp(8, n.max(8));
                (width, (n / width).max(8))
            }
            false => (n.max(8), 1),
        };
        let points = width * height;
        let count = self.count();
        let len = |len: Len| match len {
            Len::Points => points,
            Len::Times(times) => points * times as usize + 1,
            // Of a plane the points of the longer side, for either matrix.
            Len::PointsTimesCount if self.is_plane() => width.max(height) * count,
            Len::PointsTimesCount => points * count,
            Len::Count => count,
            Len::Fixed(len) => len,
        };
        let slots = self.slots.iter();
        let data = slots.map(|slot| match *slot {
            Slot::Width => Data::Scalar(Const::from(width as u32)),
            Slot::Height => Data::Scalar(Const::from(height as u32)),
            Slot::Count(count) => Data::Scalar(Const::from(count)),
            Slot::Scalar(value) => Data::Scalar(Const::from(value)),
            Slot::Floats(size) => Data::Narrow((0..len(size)).map(|_| float(rng)).collect()),
            Slot::Words(size) => Data::Narrow((0..len(size)).map(|_| rng.next_u32()).collect()),
            Slot::Places { below, near } => {
                let below = len(below);
                let place = |point: usize| match near {
                    true => (point + rng.below(64)) % below,
                    false => rng.below(below),
                };
                Data::Narrow((0..points).map(place).map(|at| at as u32).collect())
            }
            Slot::Result(size) | Slot::Collective(size, true) => {
                Data::Narrow(vec![0.5f32.to_bits(); len(size)])
            }
            Slot::ResultWords(size) | Slot::Collective(size, false) => {
                Data::Narrow(vec![0; len(size)])
            }
            Slot::Counters(count) => Data::Narrow(vec![0; count]),
        });
        (data.collect(), [width as u32, height as u32, 1])
    }
}

/// A number from −1 to 1, as bits.
fn float(rng: &mut Random) -> u32 {
    (rng.below(1 << 20) as f32 / (1 << 19) as f32 - 1.0).to_bits()
}

/// A kernel that is being written.
#[derive(Debug, Default)]
struct Draft {
    slots: Vec<(Slot, String)>,
    body: String,
    gives: Option<&'static str>,
}

impl Draft {
    fn add(&mut self, slot: Slot, prefix: &str) -> String {
        let same = |(_, name): &&(Slot, String)| name.starts_with(prefix);
        let name = format!("{prefix}{}", self.slots.iter().filter(same).count());
        self.slots.push((slot, name.clone()));
        name
    }

    fn floats(&mut self, len: Len) -> String {
        self.add(Slot::Floats(len), "x")
    }

    fn words(&mut self, len: Len) -> String {
        // The first input is an `x` whatever it holds: grids are named after it.
        self.add(Slot::Words(len), "x")
    }

    fn places(&mut self, below: Len, near: bool) -> String {
        self.add(Slot::Places { below, near }, "at")
    }

    fn result(&mut self, len: Len) -> String {
        self.add(Slot::Result(len), "y")
    }

    fn result_words(&mut self, len: Len) -> String {
        self.add(Slot::ResultWords(len), "y")
    }

    fn counters(&mut self, count: usize) -> String {
        self.add(Slot::Counters(count), "counts")
    }

    fn count(&mut self, count: u32) -> String {
        self.add(Slot::Count(count), "m")
    }

    fn scalar(&mut self, rng: &mut Random) -> String {
        self.add(Slot::Scalar(f32::from_bits(float(rng))), "s")
    }

    fn plane(&mut self) -> [String; 2] {
        [self.add(Slot::Width, "w"), self.add(Slot::Height, "h")]
    }

    fn line(&mut self, text: &str) {
        self.body.push_str(text);
    }

    fn gives(&mut self, ty: &'static str, len: Len) {
        self.gives = Some(ty);
        self.slots.push((Slot::Collective(len, ty == "f32"), String::new()));
    }

    fn finish(self, attribute: &str) -> Specimen {
        let parameters: Vec<String> = self
            .slots
            .iter()
            .filter(|(slot, _)| !matches!(slot, Slot::Collective(..)))
            .map(|(slot, name)| shapes::parameter(slot, name))
            .collect();
        let gives = self.gives.map_or_else(String::new, |ty| format!(" -> {ty}"));
        let source = format!(
            "#[kernel({attribute})]\nfn generated(id: Id, {}){gives} {{\n{}}}\n",
            parameters.join(", "),
            self.body
        );
        Specimen { source, slots: self.slots.into_iter().map(|(slot, _)| slot).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::{FAMILIES, Specimen, ablated, kernel, of_family, rng};
    use crossover::kernels::exec::Deadline;
    use crossover::kernels::{front, interp, library, passes};
    use std::collections::BTreeSet;
    use std::time::Duration;

    /// The kernel of a seed and number.
    type Nth = fn(u64, u64) -> (&'static str, Specimen);

    /// Kernels to look at: some of each family.
    const COUNT: u64 = 40 * FAMILIES.len() as u64;

    #[test]
    fn kernels_are_valid_and_end_soon() {
        let sparse: Nth = |seed, number| of_family("sparse", seed, number).expect("a family");
        let all = (0..COUNT).flat_map(|number| [(number, kernel as Nth), (number, ablated)]);
        let all = all.chain((0..40).map(|number| (number, sparse)));
        for (number, nth) in all {
            let (family, specimen) = nth(1, number);
            let built = specimen.build();
            let built = built.unwrap_or_else(|e| panic!("{family}: {e}\n{}", specimen.source));
            let (mut data, grid) = specimen.arguments(&mut rng(1, number, 1), 100);
            let deadline = Some(Deadline::after(Duration::from_secs(10)));
            interp::run(&built, &mut data, grid, deadline)
                .unwrap_or_else(|e| panic!("{family}: {e}\n{}", specimen.source));
        }
    }

    #[test]
    fn no_kernel_of_the_suites_is_among_them_and_hardly_one_is_there_twice() {
        let hash = |kernel| passes::optimize(&kernel).hash();
        let bundled = library::kernels().map(|def| front::kernel(def, &[], &[]).expect("valid"));
        let bundled: BTreeSet<_> = bundled.map(|kernel| hash(kernel).to_hex()).collect();
        let made = (0..COUNT).map(|number| kernel(1, number).1.build().expect("valid"));
        let made: BTreeSet<_> = made.map(|kernel| hash(kernel).to_hex()).collect();
        assert!(made.is_disjoint(&bundled));
        assert!(made.len() as u64 > COUNT * 9 / 10, "{} of {COUNT} differ", made.len());
    }

    #[test]
    fn a_number_gives_the_same_kernel_every_time() {
        for number in 0..FAMILIES.len() as u64 {
            assert_eq!(kernel(7, number).1.source, kernel(7, number).1.source);
            assert_ne!(kernel(7, number).1.source, kernel(8, number).1.source);
        }
    }
}
