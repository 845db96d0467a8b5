//! Reductions and scans. Contributions are combined in an order that the grid alone decides, so two
//! runs give the same bits.
//!
//! ```text
//! reduce   main:      each workgroup strides over the grid, then a tree      → sums[block]
//!          fold:      one workgroup over data = the partial results          → sums[0] = output
//!
//! scan     main:      each invocation scans its elements, each workgroup its invocations
//!                                                                → output, total in sums[block]
//!          scan_sums: the same over data = the totals, in place  → sums one level up, …
//!          add_sums:  data[i] = sums[block - 1] op data[i], level by level down to the output
//! ```
//!
//! Where no order of combining shows in the result, a scan may be one pass: [`single_pass`].

mod elements;
mod reduce;
mod scan;
mod single_pass;

use crossover_kernels::ir::{CollectiveKind, CollectiveOp, Type};
use crossover_kernels::passes::quads;
use naga::{BinaryOperator as Op, BuiltIn, Function, Handle, Module};

use self::elements::which_vector;
use super::code::{Code, Node};
use super::entry::{field, in_whole};
use super::layout::{Field, Layout};
use super::{Between, CollectiveGlobals, FOLD, Globals, MAIN, PassGlobals, SCAN_SUMS};
use crate::schedule::Schedule;

/// How two contributions combine.
#[derive(Clone, Copy)]
pub(super) struct Combine {
    pub(super) op: CollectiveOp,
    pub(super) ty: Type,
}

impl Combine {
    fn of(self, code: &mut Code<'_>, a: Node, b: Node) -> Node {
        code.binary_op(self.op.binary(), self.ty, a, b)
    }

    fn identity(self, code: &mut Code<'_>) -> Node {
        code.constant(self.op.identity(self.ty))
    }
}

/// Where the elements of a pass come from.
#[derive(Clone, Copy)]
enum Source {
    /// The kernel's contributions.
    Kernel(Handle<Function>),
    /// The partial results of the pass before.
    Data(PassGlobals),
}

/// Emits the entry points of a collective.
pub(super) fn emit(
    module: &mut Module,
    kind: CollectiveKind,
    combine: Combine,
    body: Handle<Function>,
    params: &Layout,
    globals: &Globals,
    schedule: &Schedule,
) {
    let collective = globals.collective.expect("a collective kernel has its variables");
    let mut passes = Passes { module, combine, params, globals, collective, schedule };
    match (kind, collective.between) {
        (CollectiveKind::Reduce, Between::Passes(further)) => {
            let tree = if schedule.subgroups { passes.tree_of_subgroups() } else { passes.tree() };
            passes.reduce(MAIN, Source::Kernel(body), tree, further);
            passes.reduce(FOLD, Source::Data(further), tree, further);
        }
        (CollectiveKind::Scan, Between::Passes(further)) => {
            let scan = passes.scan_of_workgroup();
            passes.scan(MAIN, Source::Kernel(body), scan, further);
            passes.scan(SCAN_SUMS, Source::Data(further), scan, further);
            passes.add(further);
        }
        (CollectiveKind::Scan, Between::Blocks(blocks)) => {
            let scan = passes.scan_of_workgroup();
            passes.scan_once(body, scan, blocks);
        }
        (CollectiveKind::Reduce, Between::Blocks(_)) => {
            unreachable!("only scans are made in one pass")
        }
    }
}

/// Where an invocation finds itself among those that it can exchange values with.
#[derive(Clone, Copy)]
struct Lane {
    /// The number of its subgroup, and of itself in there.
    subgroup: Node,
    lane: Node,
    /// Invocations of a subgroup.
    lanes: Node,
}

impl Lane {
    fn arguments(code: &mut Code<'_>) -> Lane {
        let [subgroup, lane, lanes] =
            ["subgroup", "lane", "lanes"].map(|name| code.argument(name, Type::U32));
        Lane { subgroup, lane, lanes }
    }

    fn builtins(code: &mut Code<'_>) -> Lane {
        Lane {
            subgroup: code.builtin("subgroup", BuiltIn::SubgroupId),
            lane: code.builtin("lane", BuiltIn::SubgroupInvocationId),
            lanes: code.builtin("lanes", BuiltIn::SubgroupSize),
        }
    }
}

struct Passes<'a> {
    module: &'a mut Module,
    combine: Combine,
    params: &'a Layout,
    globals: &'a Globals,
    collective: CollectiveGlobals,
    schedule: &'a Schedule,
}

/// Where the elements of a pass end, and the number of its workgroups: members 0 and 1 of its block, unless a part
/// of a call has an end of its own.
#[derive(Clone, Copy)]
struct Size {
    extent: Node,
    blocks: Node,
}

impl Passes<'_> {
    fn size(&self, code: &mut Code<'_>, source: Source) -> Size {
        let block = match source {
            Source::Kernel(_) => self.globals.params,
            Source::Data(further) => further.level,
        };
        let pointer = code.global(block);
        let [extent, blocks] = [0, 1].map(|at| {
            let member = code.member(pointer, at);
            code.load(member)
        });
        let end = match source {
            Source::Kernel(_) => self.params.find(Field::End),
            Source::Data(_) => None,
        };
        let end = end.map(|at| {
            let member = code.member(pointer, at);
            code.load(member)
        });
        Size { extent: end.unwrap_or(extent), blocks }
    }

    /// The number of a workgroup among those of the whole grid; only the kernel's own pass is ever cut.
    fn in_whole(&self, code: &mut Code<'_>, source: Source, block: Node) -> Node {
        match source {
            Source::Kernel(_) => {
                let params = code.global(self.globals.params);
                in_whole(code, params, self.params, block)
            }
            Source::Data(_) => block,
        }
    }

    /// Where a workgroup of a reduction leaves its partial result.
    fn in_sums(&self, code: &mut Code<'_>, source: Source, block: Node) -> Node {
        match source {
            Source::Kernel(_) if self.params.find(Field::FirstSum).is_some() => {
                let params = code.global(self.globals.params);
                let first = field(code, params, self.params, Field::FirstSum);
                code.binary(Op::Add, first, block)
            }
            Source::Kernel(_) | Source::Data(_) => block,
        }
    }

    /// Where the element `i` of the grid stands in the output that the shader sees.
    fn in_output(&self, code: &mut Code<'_>, source: Source, i: Node) -> Node {
        let first = self.params.members.iter().rfind(|m| matches!(m.field, Field::First(_)));
        match (source, first) {
            (Source::Kernel(_), Some(first)) => {
                let params = code.global(self.globals.params);
                let first = field(code, params, self.params, first.field);
                code.binary(Op::Subtract, i, first)
            }
            (Source::Kernel(_) | Source::Data(_), _) => i,
        }
    }

    /// How many elements are taken at a time.
    fn step(&self, source: Source) -> u32 {
        match source {
            Source::Kernel(_) if self.schedule.vectors => quads::POINTS,
            Source::Kernel(_) | Source::Data(_) => 1,
        }
    }

    /// The elements of a step from `i` on.
    fn take(&self, code: &mut Code<'_>, source: Source, i: Node) -> Vec<Node> {
        match source {
            Source::Kernel(body) => {
                let is_one = self.step(source) == 1;
                let point = if is_one { i } else { which_vector(code, i) };
                let given = code.call(body, vec![point]);
                let given = given.expect("the kernel of a collective returns a value");
                match is_one {
                    true => vec![given],
                    false => (0..quads::POINTS).map(|at| code.component(given, at)).collect(),
                }
            }
            Source::Data(further) => {
                let data = code.global(further.data);
                let pointer = code.element(data, i);
                vec![code.load(pointer)]
            }
        }
    }

    /// `if (block >= blocks) { return; }`: whole workgroups, before any barrier.
    fn return_beyond(code: &mut Code<'_>, block: Node, blocks: Node) {
        let beyond = code.binary(Op::GreaterEqual, block, blocks);
        code.when(beyond, |code| code.give(None));
    }

    /// The lane of an invocation, where it is asked for, and its place in the workgroup: that of the lane, so that
    /// neighbours are neighbours.
    fn lane(&self, code: &mut Code<'_>, local: Node) -> (Option<Lane>, Node) {
        if !self.schedule.subgroups {
            return (None, local);
        }
        let lane = Lane::builtins(code);
        let start = code.binary(Op::Multiply, lane.subgroup, lane.lanes);
        let rank = code.binary(Op::Add, start, lane.lane);
        code.name(rank, "rank");
        (Some(lane), rank)
    }
}

fn with_lane(mut arguments: Vec<Node>, lane: Option<Lane>) -> Vec<Node> {
    if let Some(Lane { subgroup, lane, lanes }) = lane {
        arguments.extend([subgroup, lane, lanes]);
    }
    arguments
}

/// When a loop over numbers ends.
#[derive(Clone, Copy)]
enum Until {
    Is(Node),
    AtLeast(Node),
}

/// `for (var name = first; !until; name op= step) { … }`
fn loop_over(
    code: &mut Code<'_>,
    name: &str,
    first: Node,
    op: Op,
    step: Node,
    until: Until,
    fill: impl FnOnce(&mut Code<'_>, Node),
) {
    let variable = code.scalar_variable(&format!("{name}_"), Type::U32);
    code.store(variable, first);
    code.open();
    let at = code.load(variable);
    code.name(at, name);
    let done = match until {
        Until::Is(end) => code.binary(Op::Equal, at, end),
        Until::AtLeast(end) => code.binary(Op::GreaterEqual, at, end),
    };
    code.break_when(done);
    fill(code, at);
    let body = code.close();
    code.open();
    let next = code.binary(op, at, step);
    code.store(variable, next);
    let continuing = code.close();
    code.stmt(naga::Statement::Loop { body, continuing, break_if: None });
}
