//! Workgroups in the interpreter: the invocations of a group run one after another from barrier to
//! barrier, so that at each of them all have come as far.
//!
//! ```text
//! statements without a barrier     each invocation runs them all, then the next one
//! if, for, loop around a barrier   decided once: all invocations agree
//! each { … }                       each invocation runs the block
//! ```

use super::{Flow, Frame, Machine};
use crate::error::RunError;
use crate::exec::Grid;
use crate::interp::Data;
use crate::ir::{Block, Const, Stmt, Value};

/// Runs the kernel over whole groups: so many points from the first one on.
pub(super) fn run(
    machine: &mut Machine<'_>,
    size: [u32; 3],
    first: Grid,
    count: Grid,
) -> Result<(), RunError> {
    let groups = |axis: usize| {
        let before = first[axis] / size[axis];
        before..before + count[axis] / size[axis]
    };
    let mut places = Vec::new();
    for z in 0..size[2] {
        for y in 0..size[1] {
            for x in 0..size[0] {
                places.push([x, y, z]);
            }
        }
    }
    for z in groups(2) {
        for y in groups(1) {
            for x in groups(0) {
                let group = [x, y, z];
                let at = |place: &[u32; 3]| std::array::from_fn(|i| group[i] * size[i] + place[i]);
                run_group(machine, places.iter().map(at).collect())?;
            }
        }
    }
    Ok(())
}

fn run_group(machine: &mut Machine<'_>, invocations: Vec<[u32; 3]>) -> Result<(), RunError> {
    let kernel = machine.kernel;
    for (shared, (_, ty, len)) in machine.shared.iter_mut().zip(kernel.entry.shared()) {
        *shared = Data::zeroed(ty, len as usize);
    }
    let frames = invocations.iter().map(|_| Frame::new(&kernel.entry, machine.entry_args()));
    let returned = vec![false; invocations.len()];
    let mut group = Group { frames: frames.collect(), machine, invocations, returned };
    group.block(&kernel.entry.body).map(|_| ())
}

struct Group<'m, 'a, 'f> {
    machine: &'m mut Machine<'a>,
    invocations: Vec<[u32; 3]>,
    frames: Vec<Frame<'f>>,
    returned: Vec<bool>,
}

impl<'f> Group<'_, '_, 'f> {
    /// Gives how the invocations leave the block that have not returned.
    fn block(&mut self, block: &'f Block) -> Result<Flow, RunError> {
        let mut rest = &block[..];
        while !rest.is_empty() {
            let plain = rest.iter().take_while(|stmt| !is_of_group(stmt)).count();
            let flow = if plain > 0 { self.each(&rest[..plain])? } else { self.stmt(&rest[0])? };
            if flow != Flow::Next {
                return Ok(flow);
            }
            rest = &rest[plain.max(1)..];
        }
        Ok(Flow::Next)
    }

    /// Runs the statements for each invocation that has not returned.
    fn each(&mut self, stmts: &[Stmt]) -> Result<Flow, RunError> {
        let mut all = None;
        for at in 0..self.frames.len() {
            if self.returned[at] {
                continue;
            }
            self.machine.invocation = self.invocations[at];
            let flow = self.machine.block(&mut self.frames[at], stmts)?;
            self.returned[at] = flow == Flow::Return;
            if flow != Flow::Return {
                debug_assert!(all.is_none_or(|other| other == flow), "verified: all go one way");
                all = Some(flow);
            }
        }
        Ok(all.unwrap_or(Flow::Return))
    }

    fn stmt(&mut self, stmt: &'f Stmt) -> Result<Flow, RunError> {
        match stmt {
            Stmt::Barrier(_) => Ok(Flow::Next),
            Stmt::Each(body) => {
                let returned = self.returned.clone();
                self.each(body)?;
                // A return ends the block for the invocation; those after it look for themselves.
                self.returned = returned;
                Ok(Flow::Next)
            }
            Stmt::If { condition, then, otherwise } => {
                let taken = self.agreed(*condition).is_some_and(|c| c.bits == 1);
                self.block(if taken { then } else { otherwise })
            }
            Stmt::For { counter, start, end, step, body } => {
                self.count(*counter, [*start, *end], *step, body)
            }
            Stmt::Loop(body) => loop {
                self.machine.tick()?;
                match self.block(body)? {
                    Flow::Next | Flow::Continue => {}
                    Flow::Break => return Ok(Flow::Next),
                    Flow::Return => return Ok(Flow::Return),
                }
            },
            _ => self.each(std::slice::from_ref(stmt)),
        }
    }

    fn count(
        &mut self,
        counter: Value,
        range: [Value; 2],
        step: u32,
        body: &'f Block,
    ) -> Result<Flow, RunError> {
        let Some(first) = self.agreed(range[0]) else { return Ok(Flow::Return) };
        let end = self.agreed(range[1]).and_then(Const::to_int);
        let (Some(mut at), Some(end)) = (first.to_int(), end) else { return Ok(Flow::Next) };
        while at < end {
            self.machine.tick()?;
            for frame in &mut self.frames {
                frame.values[counter.index()] = Some(Const::new(first.ty, at as u64));
            }
            match self.block(body)? {
                Flow::Next | Flow::Continue => {}
                Flow::Break => break,
                Flow::Return => return Ok(Flow::Return),
            }
            at += i128::from(step);
        }
        Ok(Flow::Next)
    }

    /// The value of all invocations that are left; `None` when none is.
    fn agreed(&self, value: Value) -> Option<Const> {
        let left = self.frames.iter().zip(&self.returned).filter(|(_, returned)| !**returned);
        let mut values = left.map(|(frame, _)| frame.value(value));
        let first = values.next();
        debug_assert!(values.all(|other| Some(other) == first), "verified: all agree");
        first
    }
}

/// Whether a statement is run by the group as one: it is a barrier or `each`, or has one inside.
fn is_of_group(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Barrier(_) | Stmt::Each(_))
        || stmt.blocks().into_iter().flatten().any(is_of_group)
}
