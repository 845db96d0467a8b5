//! The function around a kernel in pieces: the loops over workgroups.
//!
//! ```text
//! failed: block
//!     for z in z0..z1, y in y0..y1, x in x0..x1:       numbers of groups
//!         origin = number · size;  place = 0
//!         body of the group, pieces in loops over its invocations
//!     return 0
//! site, index, x, y, z = …;  return 1
//! ```

use crossover_kernels::ir::Kernel;
use wasm_encoder::{Function, ValType};

use super::FENCE;
use super::body::{Body, Context, Failing, Form, Workgroup};
use super::code::Code;
use super::grid::{range_params, report_failure};
use super::layout::{Layout, RANGE_PARAMS};

/// Emits `run` for a kernel in pieces, whose workgroups have this size.
pub(super) fn emit_groups(
    kernel: &Kernel,
    layout: &Layout,
    [vector, scalar]: [Form<'_>; 2],
    size: [u32; 3],
) -> Function {
    let mut code = Code::new(RANGE_PARAMS + kernel.entry.arity() as u32);
    let mut local = || code.local(ValType::I32);
    let mut axes = || [local(), local(), local()];
    let (at, number, origin, place) = (axes(), axes(), axes(), axes());
    let [site, index, lane] = axes();
    let [row, fence, _] = axes();
    code.sink().global_get(FENCE).local_set(fence);
    let label = code.open_block();
    let failing = Failing { label, site, index, lane, row };
    let workgroup = Some(Workgroup { size, number, origin, place, vector, scalar });
    let context = Context { kernel, layout, axes: at, failing, workgroup, fence };
    along(&mut code, context, 2, scalar);
    code.sink().i32_const(0).return_();
    code.close();
    report_failure(&mut code, context);
    code.finish()
}

/// `for number in from..to` along this axis, and those inside it.
fn along(code: &mut Code, context: Context<'_>, axis: usize, form: Form<'_>) {
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
        let held = code.mark();
        Body::new(code, context, form).emit_group();
        code.release(&held);
    } else {
        along(code, context, axis - 1, form);
    }
    code.get(number);
    code.i32_const(1);
    code.sink().i32_add().local_set(number);
    code.branch(top);
    code.close();
    code.close();
}
