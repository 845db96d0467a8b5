//! The function around the bodies, and the combining of contributions.
//!
//! ```text
//! failed: block
//!     the walk over the grid ([`super::walk`])
//!     return 0
//! site, index, x, y, z = …;  return 1
//! ```
//!
//! A reduction has a sum for each lane of each group of a tile, and one for what single invocations
//! contribute, from left to right. At the end of a row the groups are combined from the first to the
//! last, then the lanes as `(l0 ∘ l1) ∘ (l2 ∘ l3)`, and added to the sum: the same at every run.

use std::collections::HashMap;

use crossover_kernels::ir::{
    BinaryOp, Collective, CollectiveKind, Const, Kernel, Param, Type, Value,
};
use wasm_encoder::{Function, ValType};

use super::body::{Body, Context, Failing, Form, Width};
use super::code::{Code, LANES, Rep, parts, val_type};
use super::inside::{Region, Search};
use super::interior::Interior;
use super::layout::{Layout, RANGE_PARAMS};
use super::panel::Panels;
use super::{FENCE, PARTIAL, collective};

/// What becomes of the contributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// There are none.
    Map,
    /// They are combined into `partial`.
    Reduce,
    /// The output gets each prefix, combined with the last parameter before.
    Scan,
}

impl Mode {
    /// The functions of a kernel.
    pub(super) fn of(kernel: &Kernel) -> Vec<Mode> {
        match collective(kernel) {
            None => vec![Mode::Map],
            Some((CollectiveKind::Reduce, _)) => vec![Mode::Reduce],
            Some((CollectiveKind::Scan, _)) => vec![Mode::Reduce, Mode::Scan],
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Map | Mode::Reduce => "run",
            Mode::Scan => "scan",
        }
    }
}

/// The forms of a kernel that its function is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forms<'a> {
    pub(super) interior: Form<'a>,
    pub(super) vector: Form<'a>,
    pub(super) scalar: Form<'a>,
    pub(super) inside: &'a Interior,
    pub(super) panels: Option<&'a Panels>,
    /// Whether to run an invocation twice is to run it once.
    pub(super) idempotent: bool,
}

pub(super) struct Grid<'a> {
    pub(super) code: Code,
    pub(super) context: Context<'a>,
    pub(super) forms: Forms<'a>,
    mode: Mode,
    collective: Option<(Collective, Type)>,
    /// Combined lane by lane, for each group of a tile, and in all.
    lanes: Vec<Rep>,
    total: Rep,
}

/// Emits the function of this mode.
pub(super) fn emit_function(
    kernel: &Kernel,
    layout: &Layout,
    forms: Forms<'_>,
    mode: Mode,
) -> Function {
    let carry = u32::from(mode == Mode::Scan);
    let mut code = Code::new(RANGE_PARAMS + kernel.entry.arity() as u32 + carry);
    let mut local = || code.local(ValType::I32);
    let axes = [local(), local(), local()];
    let (site, index, lane, row, fence) = (local(), local(), local(), local(), local());
    code.sink().global_get(FENCE).local_set(fence);
    let label = code.open_block();
    let failing = Failing { label, site, index, lane, row };
    let context = Context { kernel, layout, axes, failing, workgroup: None, fence };
    let zero = Rep::Const(Const::zero(Type::U32));
    let collective = kernel.collective.zip(kernel.contribution());
    let mut grid = Grid { code, context, forms, mode, collective, lanes: Vec::new(), total: zero };
    grid.begin_collective();
    grid.planes();
    grid.end_collective();
    grid.code.sink().i32_const(0).return_();
    grid.code.close();
    report_failure(&mut grid.code, grid.context);
    grid.code.finish()
}

impl Grid<'_> {
    /// The interior of these columns in these rows; see [`Search::interior`].
    pub(super) fn interior(&mut self, x: [u32; 2], y: [u32; 2]) -> [u32; 2] {
        let (context, Forms { inside, scalar, .. }) = (self.context, self.forms);
        let region = Region { x, y, z: [context.axes[2]; 2] };
        let code = &mut self.code;
        Search { code, context, inside, scalar, bounds: HashMap::new() }.interior(region)
    }

    /// A body, with the places of what was computed before it, if anything was.
    pub(super) fn body(&mut self, form: Form<'_>, hoisted: &[Option<Rep>]) {
        let held = self.code.mark();
        let known: &[Value] = if hoisted.is_empty() { &[] } else { &self.forms.inside.hoisted };
        let mut body = Body::new(&mut self.code, self.context, form);
        if !known.is_empty() {
            body.reps.copy_from_slice(hoisted);
            body.known = known;
        }
        let results = body.emit();
        if let Some((collective, ty)) = self.collective {
            for (group, result) in results.into_iter().enumerate() {
                self.contribute(collective.op.binary(), ty, result, form.width, group);
            }
        }
        self.code.release(&held);
    }

    // Collectives

    fn begin_collective(&mut self) {
        let Some((collective, ty)) = self.collective else { return };
        let identity = Rep::Const(collective.op.identity(ty));
        let groups = self.forms.interior.tile.groups();
        self.lanes = (0..groups).map(|_| Rep::Lanes(self.code.lanes_local(ty))).collect();
        self.total = Rep::Scalar(self.code.local(val_type(ty)));
        self.set_lanes(identity, ty);
        let carry = RANGE_PARAMS + self.context.kernel.entry.params.len() as u32;
        let start = if self.mode == Mode::Scan { Rep::Scalar(carry) } else { identity };
        self.set_total(|code| code.scalar(start, ty));
    }

    fn set_lanes(&mut self, value: Rep, ty: Type) {
        for lanes in self.lanes.clone() {
            self.set_group(lanes, ty, |code, part| code.lanes(value, ty, part));
        }
    }

    /// Every part of a group's lanes, pushed by `push`.
    fn set_group(&mut self, lanes: Rep, ty: Type, mut push: impl FnMut(&mut Code, usize)) {
        let Rep::Lanes(locals) = lanes else { return };
        for (part, local) in locals.into_iter().take(parts(ty)).enumerate() {
            push(&mut self.code, part);
            self.code.set(local);
        }
    }

    fn set_total(&mut self, push: impl FnOnce(&mut Code)) {
        push(&mut self.code);
        if let Rep::Scalar(local) = self.total {
            self.code.set(local);
        }
    }

    fn contribute(&mut self, op: BinaryOp, ty: Type, result: Rep, width: Width, group: usize) {
        match (self.mode, width) {
            (Mode::Map, _) => {}
            (Mode::Reduce, Width::Vector) => {
                let lanes = self.lanes[group];
                self.set_group(lanes, ty, |code, part| {
                    code.lanes_binary(op, ty, lanes, result, part);
                });
            }
            (Mode::Reduce, Width::Scalar) => self.add_to_total(op, ty, result),
            (Mode::Scan, Width::Vector) => {
                let one = self.code.local(val_type(ty));
                for lane in 0..LANES {
                    self.code.lane(result, ty, lane);
                    self.code.set(one);
                    self.add_to_total(op, ty, Rep::Scalar(one));
                    self.store_prefix(ty, LANES * group as u32 + lane);
                }
            }
            (Mode::Scan, Width::Scalar) => {
                self.add_to_total(op, ty, result);
                self.store_prefix(ty, 0);
            }
        }
    }

    fn add_to_total(&mut self, op: BinaryOp, ty: Type, value: Rep) {
        let total = self.total;
        self.set_total(|code| code.scalar_binary(op, ty, total, value));
    }

    fn store_prefix(&mut self, ty: Type, lane: u32) {
        let output = Param(self.context.kernel.entry.params.len() as u32 - 1);
        let offset = u64::from(lane) * ty.bytes() as u64;
        let arg = self.context.layout.buffer_arg(output, ty, offset);
        let x = Rep::Scalar(self.context.axes[0]);
        self.code.store_element(x, self.total, ty, arg);
    }

    /// `total = total ∘ ((l0 ∘ l1) ∘ (l2 ∘ l3))`, of the groups' lanes combined
    pub(super) fn combine_lanes(&mut self) {
        let (Some((collective, ty)), Mode::Reduce) = (self.collective, self.mode) else { return };
        let op = collective.op.binary();
        let first = self.lanes[0];
        for at in 1..self.lanes.len() {
            let other = self.lanes[at];
            self.set_group(first, ty, |code, part| code.lanes_binary(op, ty, first, other, part));
        }
        let of = |code: &mut Code, a: Rep, b: Rep| {
            let local = code.local(val_type(ty));
            code.scalar_binary(op, ty, a, b);
            code.set(local);
            Rep::Scalar(local)
        };
        let mut lane = [Rep::Const(Const::zero(ty)); LANES as usize];
        for (at, rep) in lane.iter_mut().enumerate() {
            let local = self.code.local(val_type(ty));
            self.code.lane(first, ty, at as u32);
            self.code.set(local);
            *rep = Rep::Scalar(local);
        }
        let low = of(&mut self.code, lane[0], lane[1]);
        let high = of(&mut self.code, lane[2], lane[3]);
        let all = of(&mut self.code, low, high);
        self.add_to_total(op, ty, all);
        self.set_lanes(Rep::Const(collective.op.identity(ty)), ty);
    }

    fn end_collective(&mut self) {
        if let Some((_, ty)) = self.collective {
            self.code.scalar(self.total, ty);
            self.code.sink().global_set(PARTIAL);
        }
    }
}

/// Invocations along x that a passage of a body computes.
pub(super) fn step(form: Form<'_>) -> u32 {
    match form.width {
        Width::Vector => LANES * form.tile.vectors,
        Width::Scalar => 1,
    }
}

/// Leaves in the globals what failed and where, and 1 on the stack.
pub(super) fn report_failure(code: &mut Code, context: Context<'_>) {
    let [x, y, z] = context.axes;
    let Failing { site, index, lane, row, .. } = context.failing;
    let mut sink = code.sink();
    sink.local_get(site).global_set(0).local_get(index).global_set(1);
    sink.local_get(x).local_get(lane).i32_add().global_set(2);
    sink.local_get(y)
        .local_get(row)
        .i32_add()
        .global_set(3)
        .local_get(z)
        .global_set(4)
        .i32_const(1);
}

/// The wasm parameters with the range of an axis.
pub(super) fn range_params(axis: usize) -> [u32; 2] {
    [2 * axis as u32, 2 * axis as u32 + 1]
}
