//! One passage of a call over its grid, or a part of it, and the worker that makes it on a thread.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use crossover_kernels::error::{Failure, RunError};
use crossover_kernels::exec::{Arg, Call, Deadline, Grid, length};
use crossover_kernels::ir::{Const, Kernel, Param, ParamKind, SiteId, Type};
use crossover_memory::{Lent, Slot};
use tracing::Span;
use wasmtime::ValRaw;

use crate::chunk::cuboids;
use crate::emit::GLOBALS;
use crate::engine::{Entry, Instance};
use crate::private::Copies;
use crate::program::{Program, Seat};
use crate::run::{device, slots};

/// Parameters of an entry before the kernel's own: the ranges of x, y and z.
pub(crate) const RANGES: usize = 6;

const USABLE: &str = "nobody uses a worker that has trapped";

/// What workers run. Those on other threads need arguments that it owns.
pub(crate) struct Passage<'a> {
    pub(crate) program: Lent<'a, Program>,
    entry: Entry,
    pub(crate) args: Cow<'a, [Arg<'a>]>,
    grid: Grid,
    deadline: Option<Deadline>,
    /// When the call began.
    start: Instant,
}

impl<'a> Passage<'a> {
    pub(crate) fn new(
        program: Lent<'a, Program>,
        call: &Call<'_, '_>,
        args: Cow<'a, [Arg<'a>]>,
        start: Instant,
        entry: Entry,
    ) -> Passage<'a> {
        Passage { program, entry, args, grid: call.grid, deadline: call.deadline, start }
    }

    pub(crate) fn name(&self) -> &str {
        &self.program.kernel.entry.name
    }

    /// A thread's work on it, for whoever traces.
    pub(crate) fn span(&self, seat: usize) -> Span {
        tracing::trace_span!("work", kernel = self.name(), seat)
    }

    pub(crate) fn check_deadline(&self) -> Result<(), RunError> {
        match self.deadline {
            Some(_) => self.check_deadline_at(Instant::now()),
            None => Ok(()),
        }
    }

    /// The same of a call that has just begun: a small one looks at no clock.
    pub(crate) fn check_deadline_at_start(&self) -> Result<(), RunError> {
        self.check_deadline_at(self.start)
    }

    fn check_deadline_at(&self, now: Instant) -> Result<(), RunError> {
        match self.deadline {
            Some(deadline) if now >= deadline.at => {
                Err(RunError::Deadline { kernel: self.name().to_owned(), limit: deadline.limit })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// An instance of the program, for one thread.
pub(crate) struct Worker<'t, 'a> {
    passage: &'t Passage<'a>,
    /// `None` once the instance has trapped.
    seat: Option<Box<Seat>>,
    /// Parameters before a carry.
    arguments: usize,
    /// Memory of its own in place of buffers.
    copies: Copies,
}

impl<'t, 'a> Worker<'t, 'a> {
    /// One for this passage, with memory of its own in place of these buffers.
    pub(crate) fn new(
        passage: &'t Passage<'a>,
        copies: Copies,
    ) -> Result<Worker<'t, 'a>, RunError> {
        let mut seat = passage.program.seat(memories(passage, &copies), passage.deadline)?;
        push_params(&mut seat.params, &passage.program, &passage.args, passage.grid);
        let arguments = seat.params.len();
        Ok(Worker { passage, seat: Some(seat), arguments, copies })
    }

    /// Runs a chunk. After an error other than a failing check the worker is of no more use.
    pub(crate) fn run(&mut self, chunk: Range<u64>, carry: Option<Const>) -> Result<(), RunError> {
        let (passage, arguments) = (self.passage, self.arguments);
        let seat = self.seat();
        seat.params.truncate(arguments);
        seat.params.extend(carry.map(to_raw));
        for cuboid in cuboids(chunk, passage.grid) {
            let params = &mut self.seat().params;
            for (axis, range) in cuboid.iter().enumerate() {
                params[2 * axis] = ValRaw::u32(range.start);
                params[2 * axis + 1] = ValRaw::u32(range.end);
            }
            self.call()?;
        }
        Ok(())
    }

    fn call(&mut self) -> Result<(), RunError> {
        let Worker { passage, seat, copies, .. } = self;
        let Seat { instance, params, scratch } = seat.as_deref_mut().expect(USABLE);
        match instance.call(memories(passage, copies).chain(&*scratch), passage.entry, params) {
            Ok(0) => Ok(()),
            Ok(_) => Err(RunError::Failed(self.failure())),
            Err(error) => {
                self.seat = None;
                self.passage.check_deadline()?;
                Err(device(self.passage.name(), &error))
            }
        }
    }

    fn seat(&mut self) -> &mut Seat {
        self.seat.as_mut().expect(USABLE)
    }

    fn failure(&mut self) -> Failure {
        let passage = self.passage;
        let length = |at| length(&passage.args, Param(at as u32));
        failure(&mut self.seat().instance, &passage.program.kernel, length)
    }

    /// What the last run combined.
    pub(crate) fn partial(&mut self, ty: Type) -> Const {
        let bits = self.seat().instance.partial();
        Const::new(ty, bits.expect("a module that combines exports what it has combined"))
    }

    pub(crate) fn into_copies(mut self) -> Copies {
        std::mem::take(&mut self.copies)
    }
}

impl Drop for Worker<'_, '_> {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.passage.program.keep(seat);
        }
    }
}

/// What an instance has left of the check that failed; `length` gives the elements of an argument.
pub(crate) fn failure(
    instance: &mut Instance,
    kernel: &Kernel,
    length: impl Fn(usize) -> u32,
) -> Failure {
    let [site, index, x, y, z] = GLOBALS.map(|name| instance.global(name) as u32);
    let length = |param: Param| match kernel.entry.params[param.index()].kind {
        ParamKind::Shared { len, .. } => u64::from(len),
        ParamKind::Scalar(_) | ParamKind::Buffer { .. } => u64::from(length(param.index())),
    };
    Failure::at(kernel, SiteId(site), [x, y, z], u64::from(index), length)
}

/// The parameters of an entry in place of others: ranges, all zero, and what goes on over a grid of what the module counts.
pub(crate) fn push_params(
    params: &mut Vec<ValRaw>,
    program: &Program,
    args: &[Arg<'_>],
    grid: Grid,
) {
    params.clear();
    params.resize(RANGES, ValRaw::i32(0));
    params.extend(args.iter().map(|arg| match arg {
        Arg::Buffer { len, .. } => ValRaw::u32(*len),
        Arg::Scalar(c) => to_raw(*c),
    }));
    if program.has_extents {
        let size = program.workgroup.unwrap_or([1; 3]);
        let extents = std::iter::zip(grid, size).map(|(count, each)| count * each);
        params.extend(extents.map(ValRaw::u32));
    }
}

/// What the buffers' memories lie over.
fn memories<'t>(passage: &'t Passage<'_>, copies: &'t Copies) -> impl Iterator<Item = &'t Slot> {
    let own = |buffer: usize| copies.iter().find(|(copied, ..)| *copied == buffer);
    slots(&passage.args).enumerate().map(move |(buffer, slot)| match own(buffer) {
        Some((.., copy)) => &**copy,
        None => slot,
    })
}

pub(crate) fn to_raw(c: Const) -> ValRaw {
    match c.ty {
        Type::Bool | Type::I32 | Type::U32 => ValRaw::u32(c.bits as u32),
        Type::F32 => ValRaw::f32(c.bits as u32),
        Type::I64 | Type::U64 => ValRaw::u64(c.bits),
        Type::F64 => ValRaw::f64(c.bits),
    }
}
