//! The elements of one invocation of a scan: consecutive ones, few in registers, more in an array of its own.
//!
//! ```wgsl
//! // For each k of 0 … 3:                                // for (var k = 0u; k < 16u; k += 1u) {
//! let i = (block * 256u + local) * 4u + k;               //     let i = …
//! var sum_k = sum_(k - 1);                               //     if (i < extent) {
//! if (i < extent) { sum_k = sum_(k - 1) op take(i); }    //         sum = sum op take(i); sums[k] = sum; … }
//! …
//! if (i < extent) { out[i] = before op sum_k; }          // for … { if (i < extent) { out[i] = before op sums[k]; } }
//! ```
//!
//! Where the kernel takes four points at a time, so does each step of this, and leaves a vector.

use crossover_kernels::ir::Param;
use crossover_kernels::passes::quads;
use naga::BinaryOperator as Op;

use super::{Passes, Source, Until, loop_over};
use crate::emit::array;
use crate::emit::code::{Code, Node};
use crate::emit::entry::index;
use crate::schedule::SCAN_ELEMENTS;

/// Elements that are written out one by one; beyond that the kernel stands in a loop, once.
const WRITTEN_OUT_MAX: u32 = SCAN_ELEMENTS[0];

/// Where the elements of an invocation are.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) block: Node,
    pub(super) local: Node,
    /// Where all elements end.
    pub(super) extent: Node,
}

/// What an invocation has added up.
pub(super) enum Own {
    WrittenOut(Vec<Elements>),
    InLoop { span: Span, sum: Node, sums: Node },
}

/// Where the elements of a step are, whether there are any, and the sums of the invocation's own up to each.
pub(super) struct Elements {
    i: Node,
    inside: Node,
    sums: Vec<Node>,
}

impl Own {
    /// The sum of all.
    pub(super) fn total(&self, code: &mut Code<'_>) -> Node {
        let sum = match self {
            Own::WrittenOut(own) => own.last().and_then(|last| last.sums.last().copied()),
            Own::InLoop { sum, .. } => Some(*sum),
        };
        code.load(sum.expect("an invocation has elements"))
    }
}

impl Passes<'_> {
    /// Adds up an invocation's own elements.
    pub(super) fn own_elements(&self, code: &mut Code<'_>, source: Source, span: Span) -> Own {
        let (combine, elements) = (self.combine, self.schedule.elements);
        let mut before = combine.identity(code);
        if elements > WRITTEN_OUT_MAX {
            let sum = code.scalar_variable("sum", combine.ty);
            let ty = array(code.module, combine.ty, elements);
            let sums = code.variable("own_sums", ty);
            code.store(sum, before);
            self.each(code, "own", span, self.step(source), |code, k, i| {
                for (at, element) in self.take(code, source, i).into_iter().enumerate() {
                    let before = code.load(sum);
                    let both = combine.of(code, before, element);
                    code.store(sum, both);
                    let own = plus(code, k, at);
                    let own = code.element(sums, own);
                    code.store(own, both);
                }
            });
            return Own::InLoop { span, sum, sums };
        }
        let mut own = Vec::new();
        for k in (0..elements).step_by(self.step(source) as usize) {
            let k_node = code.u32(k);
            let i = self.element(code, span, k_node);
            let inside = code.binary(Op::Less, i, span.extent);
            let sums = (k..k + self.step(source)).map(|k| {
                let sum = code.scalar_variable(&format!("sum_{k}"), combine.ty);
                code.store(sum, before);
                sum
            });
            let sums: Vec<Node> = sums.collect();
            code.when(inside, |code| {
                let mut both = before;
                for (element, sum) in self.take(code, source, i).into_iter().zip(&sums) {
                    both = combine.of(code, both, element);
                    code.store(*sum, both);
                }
            });
            before = code.load(sums[sums.len() - 1]);
            own.push(Elements { i, inside, sums });
        }
        Own::WrittenOut(own)
    }

    /// ```wgsl
    /// if (local > 0u) { before = before op shared_values[local - 1u]; }
    /// ```
    pub(super) fn add_previous(&self, code: &mut Code<'_>, local: Node, before: Node) {
        let shared = code.global(self.collective.shared);
        let (zero, one) = (code.u32(0), code.u32(1));
        let later = code.binary(Op::Greater, local, zero);
        code.when(later, |code| {
            let previous = code.binary(Op::Subtract, local, one);
            let previous = code.element(shared, previous);
            let (carried, previous) = (code.load(before), code.load(previous));
            let both = self.combine.of(code, carried, previous);
            code.store(before, both);
        });
    }

    /// Leaves the elements where they belong, with what comes before those of the invocation.
    pub(super) fn leave_elements(
        &self,
        code: &mut Code<'_>,
        source: Source,
        own: Own,
        before: Node,
    ) {
        let out = match source {
            Source::Kernel(_) => self.collective.output,
            Source::Data(further) => further.data,
        };
        let out = code.global(out);
        let before = code.load(before);
        let leave = |code: &mut Code<'_>, i: Node, sums: &[Node]| {
            let all = sums.iter().map(|sum| {
                let own = code.load(*sum);
                self.combine.of(code, before, own)
            });
            let all: Vec<Node> = all.collect();
            if let (true, &[a, b, c, d]) = (self.leaves_vectors(source), &all[..]) {
                let vector = code.vector(self.combine.ty, [a, b, c, d]);
                let at = which_vector(code, i);
                let pointer = code.element(out, at);
                return code.store(pointer, vector);
            }
            for (at, both) in all.into_iter().enumerate() {
                let i = plus(code, i, at);
                let at = self.in_output(code, source, i);
                let pointer = code.element(out, at);
                code.store(pointer, both);
            }
        };
        match own {
            Own::WrittenOut(own) => {
                for Elements { i, inside, sums } in own {
                    code.when(inside, |code| leave(code, i, &sums));
                }
            }
            Own::InLoop { span, sums, .. } => {
                let step = self.step(source);
                self.each(code, "left", span, step, |code, k, i| {
                    let own = (0..step as usize).map(|at| {
                        let k = plus(code, k, at);
                        code.element(sums, k)
                    });
                    let own: Vec<Node> = own.collect();
                    leave(code, i, &own);
                });
            }
        }
    }

    /// Whether the output is seen as vectors.
    fn leaves_vectors(&self, source: Source) -> bool {
        let output = self.globals.buffers.iter().position(|b| *b == Some(self.collective.output));
        let is_vector = |at: usize| self.globals.vectors.contains(&Param(at as u32));
        matches!(source, Source::Kernel(_)) && output.is_some_and(is_vector)
    }

    /// The element `k` of those that an invocation scans.
    fn element(&self, code: &mut Code<'_>, span: Span, k: Node) -> Node {
        let elements = code.u32(self.schedule.elements);
        let own = code.binary(Op::Multiply, span.local, elements);
        let offset = code.binary(Op::Add, own, k);
        index(code, span.block, self.schedule.block(), offset)
    }

    /// `for (var k = 0u; k < 4u; k += step) { let i = …; if (i < extent) { … } }`
    pub(super) fn each(
        &self,
        code: &mut Code<'_>,
        name: &str,
        span: Span,
        step: u32,
        fill: impl FnOnce(&mut Code<'_>, Node, Node),
    ) {
        let (zero, step) = (code.u32(0), code.u32(step));
        let end = Until::AtLeast(code.u32(self.schedule.elements));
        loop_over(code, name, zero, Op::Add, step, end, |code, k| {
            let i = self.element(code, span, k);
            let inside = code.binary(Op::Less, i, span.extent);
            code.when(inside, |code| fill(code, k, i));
        });
    }
}

/// `value + by`, or the value itself.
fn plus(code: &mut Code<'_>, value: Node, by: usize) -> Node {
    if by == 0 {
        return value;
    }
    let by = code.u32(by as u32);
    code.binary(Op::Add, value, by)
}

/// The vector that begins with an element.
pub(super) fn which_vector(code: &mut Code<'_>, i: Node) -> Node {
    let elements = code.u32(quads::POINTS);
    code.binary(Op::Divide, i, elements)
}
