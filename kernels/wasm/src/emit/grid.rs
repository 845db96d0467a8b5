//! The function around the bodies.
//!
//! ```text
//! failed: block
//!     the walk over the grid ([`super::walk`])
//!     return 0
//! site, index, x, y, z = …;  return 1
//! ```
//!
use std::collections::HashMap;

use crossover_kernels::ir::{Collective, CollectiveKind, Const, Kernel, Type, Value};
use wasm_encoder::ValType;

use super::body::{Body, Context, Failing, Form, Width};
use super::code::{Code, LANES, Rep, Written};
use super::inside::{Region, Search};
use super::interior::Interior;
use super::layout::Layout;
use super::panel::Panels;
use super::{FENCE, collective};

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
    pub(super) mode: Mode,
    pub(super) collective: Option<(Collective, Type)>,
    /// Combined lane by lane, for each group of a tile, and in all.
    pub(super) lanes: Vec<Rep>,
    pub(super) total: Rep,
}

/// Emits the function of this mode.
pub(super) fn emit_function(
    kernel: &Kernel,
    layout: &Layout,
    forms: Forms<'_>,
    mode: Mode,
) -> Written {
    let carry = u32::from(mode == Mode::Scan);
    let mut code = Code::new(layout.params() + carry);
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
        self.body_where(form, hoisted, None);
    }

    /// The same where a condition is known.
    pub(super) fn body_where(
        &mut self,
        form: Form<'_>,
        hoisted: &[Option<Rep>],
        decided: Option<(Value, bool)>,
    ) {
        let held = self.code.mark();
        let known: &[Value] = if hoisted.is_empty() { &[] } else { &self.forms.inside.hoisted };
        let mut body = Body::new(&mut self.code, self.context, form);
        if !hoisted.is_empty() {
            body.reps.copy_from_slice(hoisted);
            body.known = known;
        }
        body.decided = decided;
        let results = body.emit();
        if let Some((collective, ty)) = self.collective {
            self.contribute(collective.op.binary(), ty, &results, form.width);
        }
        self.code.release(&held);
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
