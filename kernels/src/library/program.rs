//! Benchmarks of several calls: what is called, in which order, on which of the arguments.
//!
//! A program is made anew from its inputs at each run: a step that changes something in place works on
//! what an earlier step has written. So a run may follow a run.

use crate::exec::Grid;
use crate::interp::Data;
use crate::ir::Const;
use crate::lang::Def;

use super::entry::Entry;

/// What a benchmark runs.
#[derive(Clone, Copy, Debug)]
pub enum Code {
    /// One call of a kernel, on all arguments in their order.
    Kernel(&'static Def),
    /// Calls one after the other, on arguments that they share.
    Program {
        /// The kernels, no two of one name.
        kernels: &'static [&'static Def],
        /// The calls for a size.
        steps: fn(size: usize) -> Vec<Step>,
    },
}

/// A call of a program.
#[derive(Clone, Debug)]
pub struct Step {
    /// The kernel.
    pub def: &'static Def,
    /// What it is given, in the order of its parameters. No buffer stands here twice.
    pub args: Vec<Passed>,
    /// The grid, where it is not the kernel's own.
    pub grid: Option<Grid>,
}

/// What a step is given for a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Passed {
    /// An argument of the program, by number.
    Shared(usize),
    /// A scalar of the step's own.
    Own(Const),
}

/// The program's argument of that number.
pub(super) fn arg(number: usize) -> Passed {
    Passed::Shared(number)
}

/// A whole number of the step's own.
pub(super) fn int(value: usize) -> Passed {
    Passed::Own((value as u32).into())
}

impl Step {
    /// A call over the kernel's own grid.
    pub(super) fn of(def: &'static Def, args: impl IntoIterator<Item = Passed>) -> Step {
        Step { def, args: args.into_iter().collect(), grid: None }
    }

    /// Its arguments, of all those of the program.
    pub fn data(&self, all: &[Data]) -> Vec<Data> {
        let of = |passed: &Passed| match *passed {
            Passed::Own(c) => Data::Scalar(c),
            Passed::Shared(at) => all[at].clone(),
        };
        self.args.iter().map(of).collect()
    }

    /// The same over this many points of one axis.
    pub(super) fn over(mut self, points: usize) -> Step {
        self.grid = Some([points as u32, 1, 1]);
        self
    }
}

impl Entry {
    /// The kernels, each once.
    pub fn kernels(&self) -> &[&'static Def] {
        match &self.code {
            Code::Kernel(def) => std::slice::from_ref(def),
            Code::Program { kernels, .. } => kernels,
        }
    }

    /// Whether it is more than one call of one kernel.
    pub fn is_program(&self) -> bool {
        matches!(self.code, Code::Program { .. })
    }

    /// The calls for a size, on so many arguments.
    pub fn steps(&self, size: usize, args: usize) -> Vec<Step> {
        match self.code {
            Code::Kernel(def) => vec![Step::of(def, (0..args).map(Passed::Shared))],
            Code::Program { steps, .. } => steps(size),
        }
    }

    /// The number of a step's kernel among [`Entry::kernels`].
    ///
    /// # Panics
    /// A step of another entry.
    pub fn kernel_of(&self, step: &Step) -> usize {
        let is_it = |def: &&Def| def.name == step.def.name;
        self.kernels().iter().position(is_it).expect("a program lists the kernels of its steps")
    }

    /// Runs the calls for a size over `data`: each by `run`, which is told the kernel's number, its
    /// arguments, and the grid where it is not the kernel's own.
    ///
    /// # Errors
    /// The first of `run`; what ran before has changed the data.
    pub fn run_on<E>(
        &self,
        size: usize,
        data: &mut [Data],
        mut run: impl FnMut(usize, &mut [Data], Option<Grid>) -> Result<(), E>,
    ) -> Result<(), E> {
        for step in self.steps(size, data.len()) {
            let mut args = step.data(data);
            let outcome = run(self.kernel_of(&step), &mut args, step.grid);
            for (passed, arg) in step.args.iter().zip(args) {
                if let Passed::Shared(at) = *passed {
                    data[at] = arg;
                }
            }
            outcome?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Passed;
    use crate::front;
    use crate::ir::ParamKind;
    use crate::library::{ALL, Input, find_kernel};
    use crate::random::Random;

    #[test]
    fn names_are_of_one_thing() {
        let mut names = HashSet::new();
        for entry in ALL {
            assert!(!entry.tags.is_empty(), "`{}` has no tag", entry.name);
            assert!(entry.sizes.is_sorted(), "`{}` has sizes in order", entry.name);
            // Programs may share a kernel.
            for def in entry.kernels() {
                let (found, at) = find_kernel(def.name).expect("a kernel of the library");
                assert_eq!(found.kernels()[at].tree, def.tree, "two are called `{}`", def.name);
                names.insert(def.name);
            }
            let own = !entry.is_program();
            assert_eq!(own, entry.kernels()[0].name == entry.name, "`{}`", entry.name);
        }
        for entry in ALL.iter().filter(|entry| entry.is_program()) {
            assert!(names.insert(entry.name), "`{}` is a kernel, too", entry.name);
        }
    }

    /// Each step gives every parameter what it takes, no buffer twice; and each kernel is called.
    #[test]
    fn steps_fit_their_kernels() {
        for entry in ALL {
            for size in [0, 1, 5, 37] {
                let inputs = (entry.inputs)(size, &mut Random::new(1));
                let steps = entry.steps(size, inputs.len());
                for step in &steps {
                    let kernel = front::kernel(step.def, &[], &[]).expect("it types");
                    let params = kernel.entry.params.iter().map(|param| param.kind);
                    let params: Vec<ParamKind> =
                        params.filter(|kind| !matches!(kind, ParamKind::Shared { .. })).collect();
                    assert_eq!(params.len(), step.args.len(), "`{}`", step.def.name);
                    let mut buffers = HashSet::new();
                    for (kind, passed) in params.into_iter().zip(&step.args) {
                        let (fits, is_new) = match *passed {
                            Passed::Own(c) => (kind == ParamKind::Scalar(c.ty), true),
                            Passed::Shared(at) => match &inputs[at] {
                                Input::Scalar(c) => (kind == ParamKind::Scalar(c.ty), true),
                                Input::F32(_) | Input::U32(_) | Input::I32(_) => {
                                    let is_buffer = matches!(kind, ParamKind::Buffer { .. });
                                    let ty = inputs[at].element();
                                    (is_buffer && kind.ty() == ty, buffers.insert(at))
                                }
                            },
                        };
                        assert!(fits && is_new, "`{}`: {passed:?} for {kind:?}", step.def.name);
                    }
                }
                let called: HashSet<usize> = steps.iter().map(|s| entry.kernel_of(s)).collect();
                let all = size < 37 || called.len() == entry.kernels().len();
                assert!(all, "`{}` calls {called:?}", entry.name);
            }
        }
    }
}
