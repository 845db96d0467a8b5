//! How a kernel is made better: the one list of passes, and running it.
//!
//! Each pass is a file with its rewrites as equations at its head. A pass keeps what the kernel
//! computes, bit for bit, but for the bounds that [`lower_math`] states and for [`contract`], which a kernel has to ask for. After each one the values
//! are renumbered, and in debug builds the kernel is verified.

pub mod checks;
pub mod contract;
pub mod cse;
pub mod dce;
pub mod fission;
pub mod fold;
pub mod forward;
mod grouped;
pub mod halo;
pub mod hoist;
pub mod inline;
pub mod lower_math;
mod math;
mod math_table;
mod num;
pub mod pass;
pub mod privatize;
pub mod quads;
pub mod refill;
mod rewrite;
pub mod rule;
pub mod stage;
pub mod strength;
pub mod tail;
#[cfg(test)]
mod testing;
pub mod tile;
pub mod unroll;
pub mod unswitch;

use std::time::{Duration, Instant};

pub use pass::Pass;

use crate::ir::Kernel;
use crate::verify::verify;
use rule::Hits;

/// The passes in the order they run.
pub static PIPELINE: &[Pass] = &[
    // Before `inline`, which copies no function into itself.
    tail::PASS,
    // First of what follows: everything below looks at one function.
    inline::PASS,
    // Before `forward`: constant conditions and one-trip loops of inlined helpers hide assignments.
    fold::PASS,
    // Before `forward`, which then sees through what loops assigned; after `fold`, which knows how
    // often they run.
    unroll::PASS,
    forward::PASS,
    fold::PASS,
    cse::PASS,
    // Before `checks`, which finds that one of its loops needs none.
    unswitch::PASS,
    // After `cse`: a condition that is the same has become the same value.
    checks::PASS,
    strength::PASS,
    dce::PASS,
    // Before `lower_math`: its far branch reads variables, which do not move.
    hoist::PASS,
    lower_math::PASS,
    // What lowering wrote again and again: constants above all.
    fold::PASS,
    cse::PASS,
    hoist::PASS,
    // Last: what is in one piece no other rule sees through.
    contract::PASS,
    dce::PASS,
];

/// Passes that no back end can do without: where one is switched off, they run after all others.
pub const REQUIRED: [Pass; 3] = [tail::PASS, inline::PASS, lower_math::PASS];

/// Runs all passes.
///
/// # Panics
/// In debug builds, when a pass breaks the kernel.
pub fn optimize(kernel: &Kernel) -> Kernel {
    run_passes(kernel, &|_| true, &mut Hits::ignored(), &mut |_, _, _| {})
}

/// Runs the passes whose name is enabled, and at the end those that back ends need whatever `enabled`
/// says.
///
/// # Panics
/// In debug builds, when a pass breaks the kernel.
pub fn optimize_with(kernel: &Kernel, enabled: &dyn Fn(&str) -> bool) -> Kernel {
    run_passes(kernel, enabled, &mut Hits::ignored(), &mut |_, _, _| {})
}

/// Runs all passes and counts every rewrite they make.
///
/// # Panics
/// In debug builds, when a pass breaks the kernel.
pub fn optimize_counted(kernel: &Kernel, hits: &mut Hits) -> Kernel {
    run_passes(kernel, &|_| true, hits, &mut |_, _, _| {})
}

/// Runs all passes and shows the kernel after each, with the time it took.
///
/// # Panics
/// In debug builds, when a pass breaks the kernel.
pub fn optimize_logged(kernel: &Kernel, log: &mut dyn FnMut(&Pass, &Kernel, Duration)) -> Kernel {
    run_passes(kernel, &|_| true, &mut Hits::ignored(), log)
}

fn run_passes(
    kernel: &Kernel,
    enabled: &dyn Fn(&str) -> bool,
    hits: &mut Hits,
    log: &mut dyn FnMut(&Pass, &Kernel, Duration),
) -> Kernel {
    let mut kernel = kernel.clone();
    let in_order = PIPELINE.iter().filter(|pass| enabled(pass.name));
    let all = REQUIRED.iter().all(|pass| enabled(pass.name));
    let left: &[Pass] = if all { &[] } else { &REQUIRED };
    for pass in in_order.chain(left) {
        let time = run_pass(pass, &mut kernel, hits);
        log(pass, &kernel, time);
    }
    kernel
}

fn run_pass(pass: &Pass, kernel: &mut Kernel, hits: &mut Hits) -> Duration {
    let before = cfg!(debug_assertions).then(|| kernel.clone());
    let start = Instant::now();
    (pass.run)(kernel, hits);
    rewrite::each_function(kernel, |function| function.compact());
    let time = start.elapsed();
    if let Some(before) = before
        && let Err(error) = verify(kernel)
    {
        let name = pass.name;
        panic!("pass `{name}`: {error}\nbefore:\n{before:#?}\nafter:\n{kernel:#?}");
    }
    time
}

#[cfg(test)]
mod tests {
    use super::testing::{kernel_of, outcome};
    use super::{PIPELINE, optimize, optimize_logged, optimize_with};
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, Inst, Kernel, Type, UnaryOp};

    /// `y[id] = exp(y[id] · 1 + 0 · 3)`, behind its checks.
    fn sample() -> Kernel {
        let mut b = Builder::new("sample");
        let y = b.buffer("y", Type::F32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (zero, three) = (b.constant(0u32), b.constant(3u32));
        let nothing = b.binary(BinaryOp::Mul, zero, three);
        let at = b.binary(BinaryOp::Add, id, nothing);
        let v = b.checked_load(y, at);
        let one = b.constant(1.0f32);
        let v = b.binary(BinaryOp::Mul, v, one);
        let v = b.unary(UnaryOp::Exp, v);
        b.checked_store(y, id, v);
        kernel_of(b.finish(), 4)
    }

    fn input() -> Vec<Data> {
        vec![Data::Narrow([0.0f32, 1.0, -1.0, 80.0].map(f32::to_bits).to_vec())]
    }

    #[test]
    fn the_whole_list_keeps_the_result() {
        let kernel = sample();
        let better = optimize(&kernel);
        let (before, after) = (outcome(&kernel, input()), outcome(&better, input()));
        assert_eq!(before.0, after.0);
        let (Data::Narrow(a), Data::Narrow(b)) = (&before.1[0], &after.1[0]) else {
            panic!("a narrow buffer stays one");
        };
        for (a, b) in a.iter().zip(b) {
            assert!(a.abs_diff(*b) <= 2, "{a:#x} {b:#x}");
        }
        let checks = |kernel: &Kernel| {
            let mut count = 0;
            kernel
                .entry
                .walk(&mut |s| count += usize::from(matches!(s, crate::ir::Stmt::Check { .. })));
            count
        };
        assert_eq!((checks(&kernel), checks(&better)), (2, 1));
    }

    #[test]
    fn ablation_keeps_what_back_ends_need() {
        let plain = optimize_with(&sample(), &|_| false);
        assert!(plain.entry.values.iter().all(|v| !matches!(v.inst, Inst::Unary(UnaryOp::Exp, _))));
        assert_eq!(outcome(&plain, input()).0, Ok(()));
    }

    #[test]
    fn the_log_names_every_pass() {
        let mut names = Vec::new();
        optimize_logged(&sample(), &mut |pass, _, _| names.push(pass.name));
        assert_eq!(names, PIPELINE.iter().map(|pass| pass.name).collect::<Vec<_>>());
    }
}
