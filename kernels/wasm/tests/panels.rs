//! Products in blocks: what tiles of several rows load, copied into panels first.

mod support;

use std::sync::Arc;

use crossover_kernels::exec::Executor;
use crossover_kernels::interp::Interpreter;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Axis, BinaryOp, Extent, Kernel, Param, Type};
use crossover_wasm::{Schedule, emit};
use support::{Data, WASM, buffer, check_layouts, grid_kernel, run, values, zeros};

/// What the test's kernel does.
#[derive(Clone, Copy, Debug)]
struct Form {
    ty: Type,
    /// Distance of the loop's counters.
    step: u32,
    /// Whether the output is added to: then no invocation may run twice.
    adds: bool,
    /// A second variable that the loop assigns.
    two: bool,
    /// Whether what rows load is computed with before lanes are.
    twice: bool,
}

/// `out[y w + x] (+)= Σ a[y m + k] · b[k w + x]` for k from 1 to m, and the largest `b` beside it.
fn product(form: Form) -> Arc<Kernel> {
    let Form { ty, step, adds, two, twice } = form;
    let mut b = Builder::new("product");
    let out = b.buffer("out", ty, Access::ReadWrite);
    let (left, right) = (b.buffer("a", ty, Access::Read), b.buffer("b", ty, Access::Read));
    let [w, _, m] = ["w", "h", "m"].map(|name| b.scalar(name, Type::U32));
    let (x, y) = (b.id(Axis::X), b.id(Axis::Y));
    let (w, m) = (b.argument(w), b.argument(m));
    let first = b.binary(BinaryOp::Mul, y, m);
    let (total, most) = (b.local(ty, None), b.local(ty, None));
    let one = b.constant(1u32);
    b.for_range(one, m, step, |b, k| {
        let at = b.binary(BinaryOp::Add, first, k);
        let mut l = b.checked_load(left, at);
        if twice {
            l = b.binary(BinaryOp::Add, l, l);
        }
        let row = b.binary(BinaryOp::Mul, k, w);
        let at = b.binary(BinaryOp::Add, row, x);
        let r = b.checked_load(right, at);
        let product = b.binary(BinaryOp::Mul, l, r);
        let old = b.get(total);
        let sum = b.binary(BinaryOp::Add, old, product);
        b.set(total, sum);
        if two {
            let old = b.get(most);
            let new = b.binary(BinaryOp::Max, old, r);
            b.set(most, new);
        }
    });
    let row = b.binary(BinaryOp::Mul, y, w);
    let at = b.binary(BinaryOp::Add, row, x);
    let (sum, most) = (b.get(total), b.get(most));
    let mut result = b.binary(BinaryOp::Add, sum, most);
    if adds {
        let old = b.checked_load(out, at);
        result = b.binary(BinaryOp::Add, old, result);
    }
    b.checked_store(out, at, result);
    grid_kernel(b.finish(), vec![Extent::Scalar(Param(3)), Extent::Scalar(Param(4))])
}

fn layout(vectors: u8, rows: u8, unroll: u8, depth: u16) -> Schedule {
    Schedule { vectors, rows, unroll, depth, refill: false }
}

fn check(kernel: &Arc<Kernel>, ty: Type, [w, h, m]: [u32; 3], layouts: &[Schedule]) {
    let numbers = |len: u32, seed| buffer(ty, values(ty, len as usize, seed));
    let data = [
        numbers(w * h, 1),
        numbers(h * m, 2),
        numbers(m * w, 3),
        Data::Scalar(w.into()),
        Data::Scalar(h.into()),
        Data::Scalar(m.into()),
    ];
    let layouts: Vec<_> =
        layouts.iter().flat_map(|&schedule| [(1, Some(schedule)), (2, Some(schedule))]).collect();
    check_layouts(kernel, &data, None, &layouts);
}

#[test]
fn every_form_around_the_sizes_of_tiles() {
    let layouts =
        [layout(2, 5, 4, 256), layout(3, 2, 1, 2), layout(1, 4, 3, 5), layout(2, 3, 2, 0)];
    let sizes = [[1, 1, 1], [1, 7, 3], [8, 5, 4], [8, 5, 0], [9, 6, 5], [40, 11, 2], [33, 27, 13]];
    for ty in [Type::U32, Type::F32, Type::U64, Type::F64] {
        for (step, adds, two, twice) in [
            (1, false, false, false),
            (3, true, false, true),
            (1, true, true, false),
            (2, false, true, true),
        ] {
            let kernel = product(Form { ty, step, adds, two, twice });
            for size in sizes {
                check(&kernel, ty, size, &layouts);
            }
        }
    }
}

#[test]
fn more_than_one_block_along_every_axis() {
    let layouts = [layout(2, 5, 4, 256), layout(4, 2, 2, 7)];
    for (ty, adds, two) in [(Type::F32, false, false), (Type::U32, true, true)] {
        let kernel = product(Form { ty, step: 1, adds, two, twice: false });
        for size in
            [[11, 9, 700], [530, 13, 9], [13, 270, 17], [1050, 261, 3], [811, 5, 4], [9, 400, 2]]
        {
            check(&kernel, ty, size, &layouts);
        }
    }
}

#[test]
fn only_products_in_tiles_have_panels() {
    let kernel = product(Form { ty: Type::F32, step: 1, adds: false, two: false, twice: false });
    let scratch = |schedule| emit(&kernel, schedule).expect("a lowered kernel").scratch_bytes;
    assert!(scratch(Schedule::default_for(&kernel)) > 0);
    assert!(scratch(layout(2, 5, 4, 16)) > 0);
    assert_eq!(scratch(layout(2, 5, 4, 0)), 0);
    assert_eq!(scratch(layout(2, 1, 4, 256)), 0);
}

#[test]
fn an_index_out_of_range_is_found_in_a_block_as_elsewhere() {
    let kernel = product(Form { ty: Type::F32, step: 1, adds: false, two: false, twice: false });
    let (w, h, m) = (64u32, 40u32, 30u32);
    let data = [
        zeros(Type::F32, (w * h) as usize),
        zeros(Type::F32, (h * m) as usize),
        // The last row is not whole.
        zeros(Type::F32, (m * w - 3) as usize),
        Data::Scalar(w.into()),
        Data::Scalar(h.into()),
        Data::Scalar(m.into()),
    ];
    let outcome = |executor: &dyn Executor| {
        run(executor, &kernel, &data, None, 1, None).1.expect_err("it is out of range")
    };
    let expected = outcome(&Interpreter).to_string();
    assert!(expected.contains("index 1917"), "{expected}");
    assert_eq!(outcome(&*WASM).to_string(), expected);
}
