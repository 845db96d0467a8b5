//! The function around a kernel in pieces: the loops over workgroups.
//!
//! ```text
//! failed: block
//!     for z in z0..z1, y in y0..y1, x in x0..x1:       numbers of groups
//!         origin = number · size;  place = 0
//!         all of it is interior:  body without what only borders need
//!         else:                   body of the group, pieces in loops over its invocations
//!     return 0
//! site, index, x, y, z = …;  return 1
//! ```

use std::collections::HashMap;

use crossover_kernels::ir::Kernel;
use wasm_encoder::ValType;

use super::FENCE;
use super::body::{Body, Context, Failing, Form, Workgroup};
use super::code::{Code, Written};
use super::grid::{range_params, report_failure};
use super::inside::{Region, Search};
use super::interior::Interior;
use super::layout::Layout;

/// The forms of a group's body: several invocations at a time, and one.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupForms<'a> {
    pub(super) vector: Form<'a>,
    pub(super) scalar: Form<'a>,
}

/// What a group's function is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) layout: &'a Layout,
    /// Invocations of a workgroup along each axis.
    pub(super) size: [u32; 3],
    pub(super) whole: GroupForms<'a>,
    /// Where groups have an interior of their own.
    pub(super) inside: Option<(&'a Interior, GroupForms<'a>)>,
}

/// Emits `run` for a kernel in pieces.
pub(super) fn emit_groups(groups: Groups<'_>) -> Written {
    let Groups { kernel, layout, size, whole, .. } = groups;
    let mut code = Code::new(layout.params());
    let mut local = || code.local(ValType::I32);
    let mut axes = || [local(), local(), local()];
    let (at, number, origin, place) = (axes(), axes(), axes(), axes());
    let [site, index, lane] = axes();
    let [row, fence, _] = axes();
    code.sink().global_get(FENCE).local_set(fence);
    let label = code.open_block();
    let failing = Failing { label, site, index, lane, row };
    let GroupForms { vector, scalar } = whole;
    let workgroup = Some(Workgroup { size, number, origin, place, vector, scalar });
    let context = Context { kernel, layout, axes: at, failing, workgroup, fence };
    along(&mut code, context, 2, groups);
    code.sink().i32_const(0).return_();
    code.close();
    report_failure(&mut code, context);
    code.finish()
}

/// `for number in from..to` along this axis, and those inside it.
fn along(code: &mut Code, context: Context<'_>, axis: usize, groups: Groups<'_>) {
    let Some(group) = context.workgroup else { return };
    let [from, to] = range_params(axis);
    let number = group.number[axis];
    code.get(from);
    code.set(number);
    let done = code.open_block();
    let top = code.open_loop();
    code.sink().local_get(number).local_get(to).i32_ge_u();
    code.branch_if(done);
    code.get(number);
    code.i32_const(group.size[axis]);
    code.sink().i32_mul().local_tee(group.origin[axis]).local_set(context.axes[axis]);
    code.i32_const(0);
    code.set(group.place[axis]);
    if axis == 0 {
        one(code, context, groups);
    } else {
        along(code, context, axis - 1, groups);
    }
    code.get(number);
    code.i32_const(1);
    code.sink().i32_add().local_set(number);
    code.branch(top);
    code.close();
    code.close();
}

/// One group.
fn one<'a>(code: &mut Code, context: Context<'a>, groups: Groups<'a>) {
    let held = code.mark();
    let Some((inside, forms)) = groups.inside else {
        Body::new(code, context, groups.whole.scalar).emit_group();
        return code.release(&held);
    };
    push_inside(code, context, inside, groups.whole.scalar);
    code.open_if();
    let GroupForms { vector, scalar } = forms;
    let workgroup = context.workgroup.map(|group| Workgroup { vector, scalar, ..group });
    Body::new(code, Context { workgroup, ..context }, scalar).emit_group();
    code.otherwise();
    Body::new(code, context, groups.whole.scalar).emit_group();
    code.close();
    code.release(&held);
}

/// Pushes whether all of the group is interior.
fn push_inside<'a>(code: &mut Code, context: Context<'a>, inside: &'a Interior, scalar: Form<'a>) {
    let Some(group) = context.workgroup else { return };
    // Groups of a grid of 32 bits end within them, but for the last, behind which 0 comes: then
    // nothing is inside.
    let mut ends = |behind: u32| {
        [0, 1, 2].map(|axis| {
            let end = code.local(ValType::I32);
            code.get(group.origin[axis]);
            code.i32_const(group.size[axis] - 1 + behind);
            code.sink().i32_add().local_set(end);
            end
        })
    };
    let ([x_end, ..], [_, y_last, z_last]) = (ends(1), ends(0));
    let [x, y, z] = group.origin;
    let region = Region { x: [x, x_end], y: [y, y_last], z: [z, z_last] };
    let search = Search { code, context, inside, scalar, bounds: HashMap::new() };
    let [lo, hi] = search.interior(region);
    let mut sink = code.sink();
    sink.local_get(lo).local_get(x).i32_eq().local_get(hi).local_get(x_end).i32_eq().i32_and();
    sink.local_get(x).local_get(x_end).i32_lt_u().i32_and();
}
