//! A kernel of the library with arguments in buffers of a runtime.

use anyhow::bail;
use crossover::kernels::ir::{Access, ParamKind};
use crossover::kernels::library::{Entry, Expected, Input};
use crossover::kernels::random::Random;
use crossover::{
    Args, Bound, Buffer, Call, Device, DynArg, Error, Handle, Host, Outcome, Runtime, Scalar,
    Ticket,
};

/// The seed of all inputs: the same on every machine and run.
const SEED: u64 = 0x0c05_50fe;

/// The seed of the inputs at a size.
pub(crate) fn seed(size: usize) -> u64 {
    SEED ^ size as u64
}

/// A kernel with its arguments.
pub(crate) struct Case<'r> {
    rt: &'r Runtime,
    pub(crate) entry: &'static Entry,
    pub(crate) size: usize,
    /// The arguments as they were made.
    pub(crate) inputs: Vec<Input>,
    held: Vec<DynArg>,
    access: Vec<Option<Access>>,
    expected: Vec<Expected>,
    version: Option<Handle>,
}

impl<'r> Case<'r> {
    /// Makes the arguments and the reference.
    pub(crate) fn new(
        rt: &'r Runtime,
        entry: &'static Entry,
        size: usize,
    ) -> anyhow::Result<Case<'r>> {
        let mut rng = Random::new(seed(size));
        let inputs = (entry.inputs)(size, &mut rng);
        let expected = (entry.reference)(&inputs);
        let mut held = Vec::new();
        for input in &inputs {
            held.push(match input {
                Input::Scalar(c) => DynArg::Scalar(*c),
                Input::F32(v) => DynArg::F32(rt.buffer_from(v)?),
                Input::U32(v) => DynArg::U32(rt.buffer_from(v)?),
            });
        }
        let kernel = crossover::kernels::front::kernel(entry.def, &[], &[])?;
        let access = kernel
            .entry
            .params
            .iter()
            .filter_map(|p| match p.kind {
                ParamKind::Buffer { access, .. } => Some(Some(access)),
                ParamKind::Scalar(_) => Some(None),
                // No argument.
                ParamKind::Shared { .. } => None,
            })
            .collect::<Vec<_>>();
        if access.len() != held.len() {
            bail!("`{}` has {} parameters and {} inputs", entry.name, access.len(), held.len());
        }
        Ok(Case { rt, entry, size, inputs, held, access, expected, version: None })
    }

    /// Has the calls from here on run this version of the kernel instead of the runtime's own.
    pub(crate) fn use_version(&mut self, version: Handle) {
        self.version = Some(version);
    }

    /// A call with these arguments.
    pub(crate) fn call(&mut self) -> Call<'_> {
        let rt = self.rt;
        if let Some(version) = &self.version {
            return rt.call_handle(version, &mut self.held);
        }
        let mut args: Args<Bound<'_>> = Args::new();
        for (held, access) in self.held.iter_mut().zip(&self.access) {
            let reads = *access == Some(Access::Read);
            args.push(match held {
                DynArg::Scalar(c) if c.ty.is_float() => Host::scalar(rt, c.to_f64() as f32),
                DynArg::Scalar(c) => Host::scalar(rt, c.bits as u32),
                DynArg::F32(b) => bind(rt, b, reads),
                DynArg::U32(b) => bind(rt, b, reads),
                _ => unreachable!("inputs are of three kinds"),
            });
        }
        Host::call(rt, self.entry.def, &[], &[], args)
    }

    /// Hands everything to a device, without waiting for it.
    pub(crate) fn submit(&mut self, device: Device) -> Vec<Ticket> {
        vec![self.call().device(device).submit()]
    }

    /// Puts all arguments back to how they were made, on the host.
    pub(crate) fn reset(&mut self) -> Result<(), Error> {
        for (held, input) in self.held.iter_mut().zip(&self.inputs) {
            match (held, input) {
                (DynArg::F32(b), Input::F32(v)) => b.write()?.copy_from_slice(v),
                (DynArg::U32(b), Input::U32(v)) => b.write()?.copy_from_slice(v),
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
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs a call and looks at its results on the host: what a caller with data on the host pays.
    /// Gives the seconds in all.
    pub(crate) fn round_trip(
        &mut self,
        prepare: impl Fn(Call<'_>) -> Call<'_>,
    ) -> Result<(Outcome, f64), Error> {
        self.round_trips(1, prepare)
    }

    /// The same so many times in a row, of which the first finds the data on the host: the newest outcome,
    /// and the seconds of one.
    pub(crate) fn round_trips(
        &mut self,
        count: u32,
        prepare: impl Fn(Call<'_>) -> Call<'_>,
    ) -> Result<(Outcome, f64), Error> {
        self.touch()?;
        let start = std::time::Instant::now();
        let mut outcome = self.run_and_look(&prepare)?;
        for _ in 1..count {
            outcome = self.run_and_look(&prepare)?;
        }
        Ok((outcome, start.elapsed().as_secs_f64() / f64::from(count)))
    }

    fn run_and_look(&mut self, prepare: &impl Fn(Call<'_>) -> Call<'_>) -> Result<Outcome, Error> {
        let outcome = prepare(self.call()).run()?;
        for (held, access) in self.held.iter().zip(&self.access) {
            if *access == Some(Access::Read) {
                continue;
            }
            match held {
                DynArg::F32(b) => drop(b.read()?),
                DynArg::U32(b) => drop(b.read()?),
                _ => {}
            }
        }
        Ok(outcome)
    }

    /// Bytes copied between host and GPU for the newest call.
    pub(crate) fn last_bytes(&self) -> u64 {
        self.rt.ledger().last().map_or(0, |row| row.upload_bytes + row.readback_bytes)
    }

    /// What is wrong with the results of a call made right after [`Case::reset`]; `None` if nothing.
    pub(crate) fn judge(&self) -> Result<Option<String>, Error> {
        for expected in &self.expected {
            let found = match &self.held[expected.param] {
                DynArg::F32(b) => Input::F32(b.to_vec()?),
                DynArg::U32(b) => Input::U32(b.to_vec()?),
                DynArg::Scalar(c) => Input::Scalar(*c),
                _ => unreachable!("inputs are of three kinds"),
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

fn bind<'b, T: Scalar>(rt: &'b Runtime, buffer: &'b mut Buffer<T>, reads: bool) -> Bound<'b> {
    if reads { Host::read(rt, buffer) } else { Host::write(rt, buffer) }
}

fn judge(entry: &Entry, expected: &Expected, found: &Input) -> Option<String> {
    let values = (0..expected.values.len()).map(|at| found.value(at));
    let (at, want, got) = entry.tolerance.judge(&expected.values, values)?;
    Some(format!("argument {} at {at}: {got} instead of {want}", expected.param))
}
