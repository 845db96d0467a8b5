//! What the shape of a kernel says about how to lay it out.

use crossover_kernels::ir::{Block, CollectiveKind, Function, Inst, Kernel, Stmt, Value};
use crossover_kernels::passes::refill::refill;

use super::divergence::{Divergence, Variance};
use super::interior::Interior;
use super::rows::Rows;
use super::tile::{SIDE_MAX, Tile};
use crate::schedule::{DEPTH, Outline, Schedule};

/// Vector registers that variables and loop invariants of all groups may fill: as many as there are. What is
/// spilled beyond that costs instructions, which two threads of a core share.
const REGISTERS: usize = 16;

/// The same where lanes leave loops at different passages: masks fill registers, too, and so does
/// what a passage computes before it knows who is left.
const REGISTERS_MASKED: usize = 16;

/// What may be held where passages of a loop stand one after another.
const REGISTERS_UNROLLED: usize = 12;

/// Groups side by side where a body, or the loop in it, is short, and where it is not.
const VECTORS: [usize; 2] = [4, 3];

/// The same where all that groups do is to add what they load: an addition waits for the one before as long as several
/// take. Calls of `sum` in the first cache: 330 ns with 4, 298 with 8; `dot`, which loads twice as much, is as fast with 4.
const SUMS: usize = 8;

/// Instructions of a short body.
const SHORT: usize = 12;

/// Vector instructions that a tile's body may come to: compiling takes 10 µs for each.
const INSTRUCTIONS: usize = 560;

/// What a passage of a loop and its copies may come to.
const PASSAGE_INSTRUCTIONS: usize = 100;

/// Facts that schedules depend on.
pub(crate) struct Shape<'a> {
    function: &'a Function,
    facts: Divergence,
    rows: Rows,
    kernel: &'a Kernel,
    splits_by_row: bool,
}

impl<'a> Shape<'a> {
    fn of(kernel: &'a Kernel, interior: &'a Interior) -> Shape<'a> {
        let function = &interior.kernel.entry;
        let (facts, rows) = (Divergence::of(function), Rows::of(function));
        Shape { function, facts, rows, kernel, splits_by_row: interior.splits_by_row }
    }

    fn varying(&self, value: Value) -> bool {
        self.facts.variance(value) != Variance::Uniform
    }

    /// Whether several rows can be computed together.
    fn has_rows(&self) -> bool {
        self.kernel.grid.len() > 1
            && self.kernel.collective.is_none()
            && !self.rows.control
            && !self.splits_by_row
            && !self.diverges()
    }

    /// Whether it is a reduction.
    fn reduces(&self) -> bool {
        self.kernel.collective.is_some_and(|collective| collective.kind == CollectiveKind::Reduce)
    }

    fn diverges(&self) -> bool {
        let mut diverges = self.facts.masked_return;
        self.function.walk(&mut |stmt| {
            diverges |= match stmt {
                Stmt::If { condition, .. } => self.varying(*condition),
                Stmt::For { start, end, .. } => self.varying(*start) || self.varying(*end),
                _ => false,
            };
        });
        diverges
    }

    /// Whether lanes count to different ends.
    fn counts_apart(&self) -> bool {
        let mut apart = false;
        self.function.walk(&mut |stmt| {
            if let Stmt::For { start, end, .. } = stmt {
                apart |= self.varying(*start) || self.varying(*end);
            }
        });
        apart
    }

    /// Whether tiles reuse what they load: some load in a loop is the same for all rows, and another
    /// for all columns.
    fn reuses(&self) -> bool {
        let (mut by_column, mut by_row) = (false, false);
        self.each_in_loops(|value| {
            if matches!(self.function.def(value).inst, Inst::Load(..)) {
                by_column |= self.varying(value) && !self.rows.differs(value);
                by_row |= !self.varying(value) && self.rows.differs(value);
            }
        });
        by_column && by_row
    }

    fn each_in_loops(&self, mut f: impl FnMut(Value)) {
        self.function.walk(&mut |stmt| {
            if let Stmt::For { body, .. } | Stmt::Loop(body) = stmt {
                each_value(body, &mut f);
            }
        });
    }

    /// Vector instructions of one group.
    fn instructions(&self) -> usize {
        let mut count = 0;
        each_value(&self.function.body, &mut |value| count += usize::from(self.is_code(value)));
        count.max(1)
    }

    fn is_code(&self, value: Value) -> bool {
        let inst = &self.function.def(value).inst;
        self.facts.variance(value) == Variance::Varying
            && !matches!(inst, Inst::Const(_) | Inst::Get(_))
    }

    /// Vector registers that a group holds throughout a loop: its variables, and what is computed
    /// before and used inside.
    fn pressure(&self) -> usize {
        let variables = (0..self.function.locals.len())
            .filter(|&local| self.facts.is_varying_local(local))
            .count();
        let mut inside = Vec::new();
        self.each_in_loops(|value| inside.push(value));
        let mut held: Vec<Value> = inside
            .iter()
            .flat_map(|value| self.function.def(*value).inst.operands())
            .filter(|value| self.is_code(*value) && !inside.contains(value))
            .collect();
        held.sort_unstable_by_key(|value| value.index());
        held.dedup();
        (variables + held.len()).max(1)
    }

    /// Loads of one group, by whether its lanes are neighbours in memory.
    fn loads(&self) -> [usize; 2] {
        let mut loads = [0; 2];
        each_value(&self.function.body, &mut |value| {
            if let Inst::Load(_, index) = &self.function.def(value).inst {
                match self.facts.variance(*index) {
                    Variance::Linear(1) => loads[0] += 1,
                    Variance::Linear(_) | Variance::Varying => loads[1] += 1,
                    Variance::Uniform => {}
                }
            }
        });
        loads
    }

    /// Most loads of one group that no other control is between.
    fn loads_together(&self) -> usize {
        fn most(block: &Block, is_load: &impl Fn(&Stmt) -> bool) -> usize {
            let own = block.iter().filter(|stmt| is_load(stmt)).count();
            let inner = block.iter().flat_map(Stmt::blocks).map(|inner| most(inner, is_load));
            inner.fold(own, usize::max)
        }
        most(&self.function.body, &|stmt| match stmt {
            Stmt::Let(value) => {
                let is_load = matches!(self.function.def(*value).inst, Inst::Load(..));
                is_load && self.is_code(*value)
            }
            _ => false,
        })
    }

    /// Whether all that lanes load is neighbours.
    fn loads_near(&self) -> bool {
        let [near, far] = self.loads();
        near > 0 && far == 0
    }

    fn loop_instructions(&self) -> usize {
        let mut count = 0;
        self.each_in_loops(|value| count += usize::from(self.is_code(value)));
        count
    }
}

impl Shape<'_> {
    /// Whether lanes side by side are slower than one after another: loops of different lengths,
    /// in which most is loaded from all over. Such a load takes two instructions for each lane
    /// where a single invocation takes one, and lanes wait for the longest loop.
    fn is_scattered(&self) -> bool {
        let (mut scattered, mut others) = (0, 0);
        self.each_in_loops(|value| match &self.function.def(value).inst {
            Inst::Load(_, index)
            | Inst::AtomicLoad(_, index)
            | Inst::Atomic(_, _, index, _)
            | Inst::CompareSwap(_, index, ..)
                if self.facts.variance(*index) == Variance::Varying =>
            {
                scattered += 1;
            }
            _ => others += usize::from(self.is_code(value)),
        });
        self.counts_apart() && 3 * others < 8 * scattered
    }
}

fn each_value(block: &Block, f: &mut impl FnMut(Value)) {
    for stmt in block {
        if let Stmt::Let(value) = stmt {
            f(*value);
        }
        for inner in stmt.blocks() {
            each_value(inner, f);
        }
    }
}

/// The schedule without further knowledge.
pub(crate) fn default_schedule(kernel: &Kernel) -> Schedule {
    let interior = Interior::of(kernel);
    let shape = Shape::of(kernel, &interior);
    if shape.has_rows() && shape.reuses() {
        return Schedule { vectors: 2, rows: 5, unroll: 4, depth: DEPTH, ..Schedule::PLAIN };
    }
    if shape.is_scattered() {
        return Schedule { vectors: 0, unroll: 4, ..Schedule::PLAIN };
    }
    let (loops, instructions) = (shape.loop_instructions(), shape.instructions());
    let [short, long] = VECTORS;
    let most = match (loops > 0, shape.counts_apart()) {
        // Lanes that wait for others are lost the more, the more wait together.
        (_, true) => 1,
        (true, false) if shape.diverges() => REGISTERS_MASKED / (shape.pressure() + 1),
        // Few loads of neighbours, which others wait for: mat_t_vec is 1.5 times as fast, and 40 random kernels
        // 1.13 times in the geometric mean, none slower.
        (true, false) if loops <= SHORT && shape.loads_near() => {
            short.min(REGISTERS / shape.pressure())
        }
        (true, false) => long.min(REGISTERS / shape.pressure()),
        (false, false) if instructions > SHORT => long,
        (false, false) if shape.reduces() && instructions == 1 => SUMS,
        // What is loaded comes first, and waits in registers beside a constant.
        (false, false) => short.min((REGISTERS - 1) / shape.loads_together().max(1)),
    };
    let vectors = most.min(INSTRUCTIONS / instructions).max(1);
    // The widths of workgroups are mostly powers of two.
    let vectors = if kernel.workgroup.is_some() { vectors.next_power_of_two() } else { vectors };
    // Where registers are full already, another passage only adds what it needs itself.
    let is_full = shape.pressure() * vectors > REGISTERS_UNROLLED;
    let unroll = match is_full || !has_uniform_loops(kernel) {
        true => 1,
        false => (PASSAGE_INSTRUCTIONS / (loops * vectors).max(1)).clamp(1, 2),
    };
    Schedule { vectors: vectors as u8, unroll: unroll as u8, ..Schedule::PLAIN }
}

/// What the rule above goes by, and what else there is to know.
pub(crate) fn outline(kernel: &Kernel) -> Outline {
    let interior = Interior::of(kernel);
    let shape = Shape::of(kernel, &interior);
    Outline {
        instructions: shape.instructions(),
        in_loops: shape.loop_instructions(),
        held: shape.pressure(),
        loads: shape.loads(),
        diverges: shape.diverges(),
        counts_apart: shape.counts_apart(),
        is_scattered: shape.is_scattered(),
        has_loops: has_uniform_loops(kernel),
        has_tiles: shape.has_rows() && shape.reuses(),
    }
}

/// Whether several rows at a time are worth a try.
pub(crate) fn has_tiles(kernel: &Kernel) -> bool {
    let interior = Interior::of(kernel);
    let shape = Shape::of(kernel, &interior);
    shape.has_rows() && shape.reuses()
}

/// Whether lanes leave the kernel's one loop at different passages, and can take other invocations then.
pub(crate) fn can_refill(kernel: &Kernel) -> bool {
    let facts = Divergence::of(&kernel.entry);
    let mut narrows = false;
    kernel.entry.walk(&mut |stmt| narrows |= facts.loop_facts(std::ptr::from_ref(stmt)).narrows());
    narrows && refill(kernel).is_some()
}

/// Whether the kernel has loops that can be unrolled.
pub(crate) fn has_uniform_loops(kernel: &Kernel) -> bool {
    let mut found = false;
    kernel.entry.walk(&mut |stmt| found |= matches!(stmt, Stmt::For { .. }));
    found
}

/// The tile of a schedule, cut to what the kernel allows.
pub(super) fn tile(kernel: &Kernel, interior: &Interior, schedule: Schedule) -> Tile {
    let side = |wanted: u8| u32::from(wanted).clamp(1, SIDE_MAX);
    let rows = if schedule.rows > 1 && Shape::of(kernel, interior).has_rows() {
        side(schedule.rows)
    } else {
        1
    };
    Tile { vectors: side(schedule.vectors), rows }
}
