//! What the tests of passes share: small kernels, and the interpreter before and after.

use crate::error::RunError;
use crate::interp::{Data, run};
use crate::ir::{Extent, Function, Kernel, Stmt};
use crate::passes::Pass;
use crate::passes::rule::Hits;
use crate::verify::verify;

/// A kernel of this entry over `items` invocations.
pub(super) fn kernel_of(entry: Function, items: u32) -> Kernel {
    Kernel {
        entry,
        helpers: Vec::new(),
        grid: vec![Extent::Fixed(items)],
        collective: None,
        workgroup: None,
        contract: false,
        files: Vec::new(),
    }
}

/// What a run over the kernel's fixed grid gives.
pub(super) fn outcome(kernel: &Kernel, mut args: Vec<Data>) -> (Result<(), RunError>, Vec<Data>) {
    let Extent::Fixed(items) = kernel.grid[0] else { panic!("tests have a fixed grid") };
    let result = run(kernel, &mut args, [items, 1, 1], None);
    (result, args)
}

/// The kernel after the pass, which must be valid and do the same for each list of arguments.
pub(super) fn unchanged_by(pass: &Pass, kernel: &Kernel, args: &[Vec<Data>]) -> Kernel {
    verify(kernel).expect("the kernel of a test is valid");
    let mut after = kernel.clone();
    (pass.run)(&mut after, &mut Hits::ignored());
    crate::passes::rewrite::each_function(&mut after, |function| function.compact());
    verify(&after).expect("a pass keeps a kernel valid");
    for args in args {
        assert_eq!(outcome(kernel, args.clone()), outcome(&after, args.clone()));
    }
    after
}

/// Statements of a kind.
pub(super) fn count(kernel: &Kernel, mut which: impl FnMut(&Stmt) -> bool) -> usize {
    let mut count = 0;
    kernel.entry.walk(&mut |stmt| count += usize::from(which(stmt)));
    count
}
