//! A call made again: what a worker needs for it is kept, and not looked for each time.

use std::sync::Arc;

use crossover_kernels::error::RunError;
use crossover_kernels::eval;
use crossover_kernels::exec::{Arg, Grid, Rerun, wants};
use crossover_kernels::ir::{Collective, CollectiveKind, Const, Type};
use crossover_memory::{Held, Want};
use wasmtime::ValRaw;

use crate::engine::Entry;
use crate::program::{Program, Seat};
use crate::run::{device, slots};
use crate::ticks::Begun;
use crate::worker::{RANGES, failure, push_params, to_raw};

/// A call over the whole of a grid, by one worker and at once.
pub(crate) struct Again {
    program: Arc<Program>,
    /// `None` once the instance has trapped.
    seat: Option<Box<Seat>>,
    entry: Entry,
    collective: Option<(Collective, Type)>,
    params: Vec<ValRaw>,
    /// The places of float arguments.
    floats: Vec<usize>,
    /// How the buffers are held, each once, and the number of each argument's among these.
    wants: Vec<Want>,
    held: Vec<usize>,
    /// Elements of arguments that are buffers.
    lens: Vec<u32>,
}

impl Again {
    /// One of a program whose calls no deadline stops.
    pub(crate) fn new(
        program: &Arc<Program>,
        args: &[Arg<'_>],
        grid: Grid,
        collective: Option<(Collective, Type)>,
    ) -> Result<Again, RunError> {
        let seat = program.seat(slots(args), None)?;
        let (mut params, grid) = (Vec::new(), program.grid(grid));
        push_params(&mut params, program, args, grid);
        for (axis, extent) in grid.into_iter().enumerate() {
            params[2 * axis + 1] = ValRaw::u32(extent);
        }
        let entry = match collective {
            Some((Collective { kind: CollectiveKind::Scan, op }, ty)) => {
                params.push(to_raw(op.identity(ty)));
                Entry::Scan
            }
            Some(_) | None => Entry::Run,
        };
        let is_float = |at: &usize| matches!(&args[*at], Arg::Scalar(c) if c.ty.is_float());
        let wants: Vec<(usize, Want)> = wants(&program.kernel, args).collect();
        let slot = |at: usize| match &args[at] {
            Arg::Buffer { slot, .. } => Some(slot),
            Arg::Scalar(_) => None,
        };
        let number =
            |at| wants.iter().position(|(first, _)| slot(*first).is_some_and(|s| s.is(at)));
        let held = (0..args.len()).filter_map(slot).filter_map(number).collect();
        let len = |arg: &Arg<'_>| match arg {
            Arg::Buffer { len, .. } => *len,
            Arg::Scalar(_) => 0,
        };
        Ok(Again {
            program: program.clone(),
            seat: Some(seat),
            entry,
            collective,
            params,
            floats: (0..args.len()).filter(is_float).collect(),
            held,
            lens: args.iter().map(len).collect(),
            wants: wants.into_iter().map(|(_, want)| want).collect(),
        })
    }

    fn fail(&mut self, error: &dyn std::fmt::Display) -> RunError {
        self.seat = None;
        device(&self.program.kernel.entry.name, error)
    }
}

impl Rerun for Again {
    fn rerun(
        &mut self,
        float: &dyn Fn(usize) -> Const,
        held: &mut Held<'_>,
    ) -> Result<f64, RunError> {
        let begun = Begun::now();
        let is_held = held.parts().iter().map(|(_, want)| *want).eq(self.wants.iter().copied());
        assert!(is_held, "a call is made again over buffers that are held for it");
        for &at in &self.floats {
            self.params[RANGES + at] = to_raw(float(at));
        }
        let Some(seat) = &mut self.seat else {
            return Err(self.fail(&"it has trapped before"));
        };
        let Seat { instance, params, scratch } = &mut **seat;
        params.clear();
        params.extend_from_slice(&self.params);
        let slots = self.held.iter().map(|&at| held.parts()[at].0);
        match instance.call(slots.chain(&*scratch), self.entry, params) {
            Ok(0) => {}
            Ok(_) => {
                let length = |at: usize| self.lens[at];
                return Err(RunError::Failed(failure(instance, &self.program.kernel, length)));
            }
            Err(error) => return Err(self.fail(&error)),
        }
        if let Some((Collective { kind: CollectiveKind::Reduce, op }, ty)) = self.collective
            && let (Some(bits), Some(&at)) = (instance.partial(), self.held.last())
        {
            let total = eval::combine(op, op.identity(ty), Const::new(ty, bits));
            match ty.is_wide() {
                true => held.slice_mut::<u64>(at)[0] = total.bits,
                false => held.slice_mut::<u32>(at)[0] = total.bits as u32,
            }
        }
        Ok(begun.seconds())
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        if let Some(seat) = self.seat.take() {
            self.program.keep(seat);
        }
    }
}
