//! A benchmark of the library with arguments in buffers of a runtime.

use anyhow::bail;
use crossover::kernels::error::KernelError;
use crossover::kernels::ir::{Access, Const, ParamKind, Type};
use crossover::kernels::library::{Entry, Expected, Input, Passed, Step};
use crossover::kernels::random::Random;
use crossover::{
    Args, Bound, Buffer, Call, Def, Device, DynArg, Error, Explanation, Handle, Host, Runtime,
    Scalar, Ticket,
};

use crate::machine;

/// The seed of all inputs: the same on every machine and run.
const SEED: u64 = 0x0c05_50fe;

/// The seed of the inputs at a size.
pub(crate) fn seed(size: usize) -> u64 {
    SEED ^ size as u64
}

/// A benchmark with its arguments.
pub(crate) struct Case<'r> {
    rt: &'r Runtime,
    pub(crate) entry: &'static Entry,
    pub(crate) size: usize,
    /// The arguments as they were made.
    pub(crate) inputs: Vec<Input>,
    held: Vec<DynArg>,
    steps: Vec<Bindings>,
    /// Arguments that are looked at after a run.
    results: Vec<usize>,
    expected: Vec<Expected>,
    /// A version for each kernel, where the runtime's own is not to run.
    versions: Vec<Handle>,
}

/// How many times the bytes of its arguments a case needs: as they were made, in buffers, and the results in `f64`.
const COPIES: f64 = 4.0;

/// Refuses a size beyond those of the entry for which there is no memory. What arguments it has grows as it does
/// between the entry's own sizes.
pub(crate) fn refuse_too_large(entry: &Entry, size: usize) -> anyhow::Result<()> {
    let [small, medium, large] = entry.sizes;
    let Some(free) = machine::free_bytes().filter(|_| size > large) else { return Ok(()) };
    let bytes = |size: usize| -> f64 {
        let inputs = (entry.inputs)(size, &mut Random::new(seed(size)));
        inputs.iter().map(|input| (input.len() * input.element().bytes()) as f64).sum()
    };
    let (least, known) = (bytes(small).max(1.0), bytes(medium).max(1.0));
    let growth = (known / least).log2() / (medium as f64 / small as f64).log2();
    let needed = COPIES * known * (size as f64 / medium as f64).powf(growth);
    if needed > free {
        let [needed, free] = [needed, free].map(|bytes| bytes / f64::from(1 << 30));
        bail!(
            "`{}` at {size} needs some {needed:.0} GiB of memory, of which {free:.0} are free",
            entry.name
        );
    }
    Ok(())
}

/// A step, and what its kernel does with each argument; nothing with scalars.
struct Bindings {
    step: Step,
    kernel: usize,
    access: Vec<Option<Access>>,
}

/// What a run gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// Calls on the GPU.
    pub(crate) on_gpu: usize,
    /// The time of all calls without copies.
    pub(crate) run_s: f64,
}

impl<'r> Case<'r> {
    /// Makes the arguments and the reference.
    pub(crate) fn new(
        rt: &'r Runtime,
        entry: &'static Entry,
        size: usize,
    ) -> anyhow::Result<Case<'r>> {
        refuse_too_large(entry, size)?;
        let mut rng = Random::new(seed(size));
        let inputs = (entry.inputs)(size, &mut rng);
        let expected = (entry.reference)(&inputs);
        let mut held = Vec::new();
        for input in &inputs {
            held.push(match input {
                Input::Scalar(c) => DynArg::Scalar(*c),
                Input::F32(v) => DynArg::F32(rt.buffer_from(v)?),
                Input::U32(v) => DynArg::U32(rt.buffer_from(v)?),
                Input::I32(v) => DynArg::I32(rt.buffer_from(v)?),
            });
        }
        let kernels =
            entry.kernels().iter().map(|def| access(def)).collect::<Result<Vec<_>, _>>()?;
        let mut steps = Vec::new();
        for step in entry.steps(size, inputs.len()) {
            let kernel = entry.kernel_of(&step);
            let access = kernels[kernel].clone();
            if access.len() != step.args.len() {
                let (takes, given) = (access.len(), step.args.len());
                bail!("`{}` has {takes} parameters and {given} inputs", step.def.name);
            }
            steps.push(Bindings { step, kernel, access });
        }
        // Of a program, what only its own steps read stays where it is.
        let results = match &steps[..] {
            [only] if !entry.is_program() => {
                let read = Some(Access::Read);
                (0..held.len()).filter(|&at| only.access[at] != read).collect()
            }
            _ => expected.iter().map(|expected| expected.param).collect(),
        };
        let versions = Vec::new();
        Ok(Case { rt, entry, size, inputs, held, steps, results, expected, versions })
    }

    /// Has the calls from here on run these versions, one for each kernel, instead of the runtime's own.
    pub(crate) fn use_versions(&mut self, versions: Vec<Handle>) {
        self.versions = versions;
    }

    /// How many calls a run is.
    pub(crate) fn calls(&self) -> usize {
        self.steps.len()
    }

    /// The kernel of a call, by its number in the entry.
    pub(crate) fn kernel_of(&self, call: usize) -> usize {
        self.steps[call].kernel
    }

    /// A call of the run, by number.
    pub(crate) fn call(&mut self, number: usize) -> Call<'_> {
        let (rt, Bindings { step, kernel, access }) = (self.rt, &self.steps[number]);
        let mut args: Args<Bound<'_>> = Args::new();
        if self.entry.is_program() {
            let mut held: Vec<Option<&mut DynArg>> = self.held.iter_mut().map(Some).collect();
            for (passed, access) in step.args.iter().zip(access) {
                args.push(match *passed {
                    Passed::Own(c) => scalar(rt, c),
                    Passed::Shared(at) => match &self.inputs[at] {
                        Input::Scalar(c) => scalar(rt, *c),
                        Input::F32(_) | Input::U32(_) | Input::I32(_) => {
                            let buffer = held[at].take().expect("a step has no buffer twice");
                            bind(rt, buffer, *access == Some(Access::Read))
                        }
                    },
                });
            }
        } else {
            for (held, access) in self.held.iter_mut().zip(access) {
                args.push(bind(rt, held, *access == Some(Access::Read)));
            }
        }
        let call = match self.versions.get(*kernel) {
            Some(version) => rt.call_bound(version, args),
            None => Host::call(rt, step.def, &[], &[], args),
        };
        match step.grid {
            Some(grid) => call.grid(grid),
            None => call,
        }
    }

    /// Compiles every kernel for every device that can run it.
    pub(crate) fn compile(&mut self) -> Result<(), Error> {
        let mut done = vec![false; self.entry.kernels().len()];
        for number in 0..self.steps.len() {
            if !std::mem::replace(&mut done[self.steps[number].kernel], true) {
                self.call(number).compile()?;
            }
        }
        Ok(())
    }

    /// Where each call would run now, with the data where it is before the first.
    pub(crate) fn explain(&mut self) -> Result<Vec<Explanation>, Error> {
        (0..self.steps.len()).map(|number| self.call(number).explain()).collect()
    }

    /// Hands everything to a device, without waiting for it.
    pub(crate) fn submit(&mut self, device: Device) -> Vec<Ticket> {
        (0..self.steps.len()).map(|number| self.call(number).device(device).submit()).collect()
    }

    /// Puts all arguments back to how they were made, on the host.
    pub(crate) fn reset(&mut self) -> Result<(), Error> {
        for (held, input) in self.held.iter_mut().zip(&self.inputs) {
            match (held, input) {
                (DynArg::F32(b), Input::F32(v)) => b.write()?.copy_from_slice(v),
                (DynArg::U32(b), Input::U32(v)) => b.write()?.copy_from_slice(v),
                (DynArg::I32(b), Input::I32(v)) => b.write()?.copy_from_slice(v),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes the host's content the newest everywhere, as after filling the buffers anew, without the
    /// time that filling takes.
    pub(crate) fn touch(&mut self) -> Result<(), Error> {
        for held in &mut self.held {
            match held {
                DynArg::F32(b) => drop(b.write()?),
                DynArg::U32(b) => drop(b.write()?),
                DynArg::I32(b) => drop(b.write()?),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a run and looks at its results on the host: what a caller with data on the host pays.
    /// Gives the seconds in all.
    pub(crate) fn round_trip(
        &mut self,
        prepare: impl Fn(Call<'_>) -> Call<'_>,
    ) -> Result<(Ran, f64), Error> {
        self.round_trips(1, prepare)
    }

    /// The same so many times in a row, of which the first finds the data on the host: the newest run,
    /// and the seconds of one.
    pub(crate) fn round_trips(
        &mut self,
        count: u32,
        prepare: impl Fn(Call<'_>) -> Call<'_>,
    ) -> Result<(Ran, f64), Error> {
        self.touch()?;
        let start = std::time::Instant::now();
        let mut ran = self.run_and_look(&prepare)?;
        for _ in 1..count {
            ran = self.run_and_look(&prepare)?;
        }
        Ok((ran, start.elapsed().as_secs_f64() / f64::from(count)))
    }

    fn run_and_look(&mut self, prepare: &impl Fn(Call<'_>) -> Call<'_>) -> Result<Ran, Error> {
        let mut ran = Ran { on_gpu: 0, run_s: 0.0 };
        for number in 0..self.steps.len() {
            let outcome = prepare(self.call(number)).run()?;
            ran.on_gpu += usize::from(outcome.device == Device::Gpu);
            ran.run_s += outcome.measured.run_s;
        }
        for &at in &self.results {
            match &self.held[at] {
                DynArg::F32(b) => drop(b.read()?),
                DynArg::U32(b) => drop(b.read()?),
                DynArg::I32(b) => drop(b.read()?),
                _ => {}
            }
        }
        Ok(ran)
    }

    /// Bytes copied between host and GPU for the newest run.
    pub(crate) fn last_bytes(&self) -> u64 {
        let rows = self.rt.ledger().rows();
        let newest = rows.iter().rev().take(self.steps.len());
        newest.map(|row| row.upload_bytes + row.readback_bytes).sum()
    }

    /// The parts of the newest call in words, if it was cut.
    pub(crate) fn last_parts(&self) -> Option<String> {
        let newest = self.rt.ledger().last().filter(|row| !row.parts.is_empty())?;
        Some(crossover::show_parts(&newest.parts))
    }

    /// What is wrong with the results of a run made right after [`Case::reset`]; `None` if nothing.
    pub(crate) fn judge(&self) -> Result<Option<String>, Error> {
        for expected in &self.expected {
            let found = match &self.held[expected.param] {
                DynArg::F32(b) => Input::F32(b.to_vec()?),
                DynArg::U32(b) => Input::U32(b.to_vec()?),
                DynArg::I32(b) => Input::I32(b.to_vec()?),
                DynArg::Scalar(c) => Input::Scalar(*c),
                _ => unreachable!("{KINDS}"),
            };
            if let Some(wrong) = judge(self.entry, expected, &found) {
                return Ok(Some(wrong));
            }
        }
        Ok(None)
    }

    /// The same for results that stand in plain arguments.
    pub(crate) fn judge_inputs(&self, found: &[Input]) -> Option<String> {
        self.expected.iter().find_map(|e| judge(self.entry, e, &found[e.param]))
    }
}

/// What [`Case::new`] makes.
const KINDS: &str = "inputs are scalars, f32, u32 and i32";

/// What a kernel does with each of its arguments; nothing with scalars.
fn access(def: &'static Def) -> Result<Vec<Option<Access>>, KernelError> {
    let kernel = crossover::kernels::front::kernel(def, &[], &[])?;
    let params = kernel.entry.params.iter().filter_map(|p| match p.kind {
        ParamKind::Buffer { access, .. } => Some(Some(access)),
        ParamKind::Scalar(_) => Some(None),
        // No argument.
        ParamKind::Shared { .. } => None,
    });
    Ok(params.collect())
}

fn scalar(rt: &Runtime, c: Const) -> Bound<'_> {
    match c.ty {
        Type::F32 => Host::scalar(rt, c.to_f64() as f32),
        Type::I32 => Host::scalar(rt, c.to_f64() as i32),
        _ => Host::scalar(rt, c.bits as u32),
    }
}

fn bind<'b>(rt: &'b Runtime, held: &'b mut DynArg, reads: bool) -> Bound<'b> {
    match held {
        DynArg::Scalar(c) => scalar(rt, *c),
        DynArg::F32(b) => bind_buffer(rt, b, reads),
        DynArg::U32(b) => bind_buffer(rt, b, reads),
        DynArg::I32(b) => bind_buffer(rt, b, reads),
        _ => unreachable!("{KINDS}"),
    }
}

fn bind_buffer<'b, T: Scalar>(
    rt: &'b Runtime,
    buffer: &'b mut Buffer<T>,
    reads: bool,
) -> Bound<'b> {
    if reads { Host::read(rt, buffer) } else { Host::write(rt, buffer) }
}

fn judge(entry: &Entry, expected: &Expected, found: &Input) -> Option<String> {
    let values = (0..expected.values.len()).map(|at| found.value(at));
    let (at, want, got) = entry.tolerance.judge(&expected.values, values)?;
    Some(format!("argument {} at {at}: {got} instead of {want}", expected.param))
}

#[cfg(test)]
mod tests {
    use crossover::kernels::library;

    use super::*;

    #[test]
    fn what_needs_more_memory_than_there_is_is_refused_before_it_is_made() {
        let entry = library::find("matmul").expect("a kernel of the library");
        let refused = refuse_too_large(entry, 4_000_000_000);
        match machine::free_bytes() {
            // Two factors and a product of 4e9 × 4e9.
            Some(_) => {
                let message = refused.expect_err("nobody has so much").to_string();
                let needed = format!("{:.0} GiB", 4.0 * 12.0 * 16e18 / f64::from(1 << 30));
                assert!(message.contains(&needed), "{message}");
            }
            None => assert!(refused.is_ok()),
        }
        assert!(refuse_too_large(entry, entry.sizes[2]).is_ok());
    }

    /// A program whose kernel is called as often as there are columns, and two that share a kernel.
    #[test]
    fn programs_run_whole_and_their_results_are_judged() {
        let rt = Runtime::builder().with(|s| s.gpu = crossover::GpuUse::Off).build();
        let rt = rt.expect("the CPU side needs nothing");
        for (name, size, calls) in [("lu", 7, 13), ("bicg", 5, 2), ("smith_waterman", 6, 12)] {
            let entry = library::find(name).expect("a program of the library");
            let mut case = Case::new(&rt, entry, size).expect("arguments");
            case.compile().expect("it compiles");
            assert_eq!((case.calls(), case.explain().expect("priced").len()), (calls, calls));
            assert!(case.judge().expect("readable").is_some(), "nothing has run yet");
            // A run begins anew, whatever the one before has left.
            for _ in 0..2 {
                let (ran, _) = case.round_trips(2, |call| call).expect("it runs");
                assert_eq!((ran.on_gpu, case.judge().expect("readable")), (0, None));
            }
            let rows = rt.ledger().rows();
            let newest = rows.iter().rev().take(calls).map(|row| row.kernel.to_string());
            let called: Vec<String> = newest.collect();
            for def in entry.kernels() {
                assert!(called.iter().any(|name| name == def.name), "{called:?}");
            }
        }
    }
}
