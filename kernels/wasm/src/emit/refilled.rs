//! The function around a kernel whose lanes take one invocation after the other
//! ([`crossover_kernels::passes::refill`]).
//!
//! ```text
//! step = lanes of all groups;  end = x1
//! for z in z0..z1, y in y0..y1:
//!     x = x0;  the body, once: its lanes begin at x, x + 1, … and go on by the step
//! ```

use crossover_kernels::ir::Kernel;
use crossover_kernels::passes::refill::Refilled;
use wasm_encoder::ValType;

use super::FENCE;
use super::body::{Body, Context, Failing, Form};
use super::code::{Code, Written};
use super::grid::{range_params, report_failure, step};
use super::layout::{Layout, RANGE_PARAMS};

/// Emits `run` for lanes that are refilled.
pub(super) fn emit_refilled(
    kernel: &Kernel,
    refilled: &Refilled,
    layout: &Layout,
    form: Form<'_>,
) -> Written {
    let mut code = Code::new(RANGE_PARAMS + kernel.entry.arity() as u32);
    let mut local = || code.local(ValType::I32);
    // The first locals are where the layout looks for the parameters behind the arguments.
    let (by, end) = (local(), local());
    debug_assert_eq!([by, end], [refilled.step, refilled.end].map(|param| layout.param(param)));
    let axes = [local(), local(), local()];
    let (site, index, lane, row, fence) = (local(), local(), local(), local(), local());
    let [x0, x1] = range_params(0);
    code.i32_const(step(form));
    code.sink().local_set(by).local_get(x1).local_set(end);
    code.sink().global_get(FENCE).local_set(fence);
    let label = code.open_block();
    let failing = Failing { label, site, index, lane, row };
    let context =
        Context { kernel: &refilled.kernel, layout, axes, failing, workgroup: None, fence };
    code.each_along(axes[2], range_params(2), |code| {
        code.each_along(axes[1], range_params(1), |code| {
            code.sink().local_get(x0).local_set(axes[0]);
            let held = code.mark();
            let mut body = Body::new(code, context, form);
            body.place = Some(refilled.at);
            body.emit();
            code.release(&held);
        });
    });
    code.sink().i32_const(0).return_();
    code.close();
    report_failure(&mut code, context);
    code.finish()
}

impl Code {
    /// `for at in from..to`
    fn each_along(&mut self, at: u32, [from, to]: [u32; 2], inner: impl FnOnce(&mut Code)) {
        self.sink().local_get(from).local_set(at);
        let done = self.open_block();
        let top = self.open_loop();
        self.sink().local_get(at).local_get(to).i32_ge_u();
        self.branch_if(done);
        inner(self);
        self.sink().local_get(at).i32_const(1).i32_add().local_set(at);
        self.branch(top);
        self.close();
        self.close();
    }
}
