//! The WGSL of a few kernels, for people to read. naga validates each; no GPU is needed.

mod common;

use std::sync::Arc;

use common::{kernel, over};
use crossover_kernels::error::RunError;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{
    Access, AtomicOp, Axis, BinaryOp, Collective, CollectiveKind, CollectiveOp, Extent, Inst,
    Kernel, Span, Stmt, Type, UnaryOp,
};
use crossover_shaders::{Capabilities, Schedule, Shader, emit};

fn shader(kernel: &Kernel, caps: &Capabilities) -> Result<Shader, RunError> {
    emit(kernel, caps, &Schedule::of(kernel, caps))
}

fn wgsl(kernel: &Kernel) -> String {
    match shader(kernel, &Capabilities::everything()) {
        Ok(shader) => shader.wgsl,
        Err(error) => panic!("{error}"),
    }
}

fn axpy() -> Arc<Kernel> {
    let mut b = Builder::new("axpy");
    let a = b.scalar("a", Type::F32);
    let x = b.buffer("x", Type::F32, Access::Read);
    let y = b.buffer("y", Type::F32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let a = b.argument(a);
    let vx = b.checked_load(x, i);
    let vy = b.checked_load(y, i);
    let product = b.binary(BinaryOp::Mul, a, vx);
    let sum = b.binary(BinaryOp::Add, product, vy);
    b.checked_store(y, i, sum);
    over(b, y)
}

#[test]
fn axpy_is_checked() {
    insta::assert_snapshot!("axpy", wgsl(&axpy()));
}

/// Nothing can fail: no status.
#[test]
fn operators_of_f32() {
    let mut b = Builder::new("operators");
    let x = b.buffer("x", Type::F32, Access::Read);
    let y = b.buffer("y", Type::I32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.value(Type::F32, Inst::Load(x, i));
    let rounded = b.unary(UnaryOp::Round, v);
    let limit = b.constant(f32::INFINITY);
    let least = b.binary(BinaryOp::Min, rounded, limit);
    let differs = b.binary(BinaryOp::Ne, least, v);
    let signed = b.binary(BinaryOp::Copysign, least, v);
    let chosen = b.select(differs, signed, v);
    let cast = b.cast(chosen, Type::I32);
    let by = b.constant(35i32);
    let shifted = b.binary(BinaryOp::Shl, cast, by);
    b.stmt(Stmt::Store(y, i, shifted));
    insta::assert_snapshot!("operators_of_f32", wgsl(&over(b, y)));
}

#[test]
fn loops_and_arrays() {
    let mut b = Builder::new("loops");
    let n = b.scalar("n", Type::U32);
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let window = b.local(Type::U32, Some(4));
    let total = b.local(Type::U32, None);
    let n = b.argument(n);
    let (zero, four) = (b.constant(0u32), b.constant(4u32));
    b.for_range(zero, n, 3, |b, k| {
        let slot = b.binary(BinaryOp::Rem, k, four);
        b.checked_set_element(window, slot, i);
        let is_zero = b.binary(BinaryOp::Eq, slot, zero);
        b.if_else(is_zero, |b| b.stmt(Stmt::Continue), |_| {});
        let held = b.checked_get_element(window, slot);
        let sum = b.get(total);
        let sum = b.binary(BinaryOp::Add, sum, held);
        b.set(total, sum);
    });
    b.repeat(|b| {
        let sum = b.get(total);
        let done = b.binary(BinaryOp::Lt, sum, four);
        b.if_else(done, |b| b.stmt(Stmt::Break), |_| {});
        let less = b.binary(BinaryOp::Sub, sum, four);
        b.set(total, less);
    });
    let sum = b.get(total);
    b.checked_store(y, i, sum);
    insta::assert_snapshot!("loops_and_arrays", wgsl(&over(b, y)));
}

#[test]
fn atomics_in_two_axes() {
    let mut b = Builder::new("histogram");
    let image = b.buffer("image", Type::U32, Access::Read);
    let bins = b.buffer("bins", Type::U32, Access::Atomic);
    let (w, h) = (b.scalar("width", Type::U32), b.scalar("height", Type::U32));
    let (x, y) = (b.id(Axis::X), b.id(Axis::Y));
    let width = b.argument(w);
    let row = b.binary(BinaryOp::Mul, y, width);
    let at = b.binary(BinaryOp::Add, row, x);
    let v = b.checked_load(image, at);
    b.check_bounds(bins, v);
    let one = b.constant(1u32);
    b.value(Type::U32, Inst::Atomic(AtomicOp::Add, bins, v, one));
    let k = kernel(b, vec![Extent::Scalar(w), Extent::Scalar(h)], None);
    insta::assert_snapshot!("atomics_in_two_axes", wgsl(&k));
}

fn collective(kind: CollectiveKind, op: CollectiveOp, ty: Type) -> Arc<Kernel> {
    let mut b = Builder::new("contribute");
    let x = b.buffer("x", ty, Access::Read);
    b.buffer("result", ty, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(x, i);
    let own = b.local(ty, None);
    b.set(own, v);
    b.function_mut().result = Some(own);
    kernel(b, vec![Extent::Len(x)], Some(Collective { kind, op }))
}

#[test]
fn reduction() {
    let k = collective(CollectiveKind::Reduce, CollectiveOp::Max, Type::F32);
    insta::assert_snapshot!("reduction", wgsl(&k));
}

#[test]
fn scan() {
    let k = collective(CollectiveKind::Scan, CollectiveOp::Add, Type::U32);
    insta::assert_snapshot!("scan", wgsl(&k));
}

#[test]
fn scan_in_one_pass() {
    let k = collective(CollectiveKind::Scan, CollectiveOp::Max, Type::I32);
    let caps = Capabilities::everything();
    let schedule = Schedule { single_pass: Some(true), ..Schedule::of(&k, &caps) };
    let shader = emit(&k, &caps, &schedule).expect("it emits");
    insta::assert_snapshot!("scan_in_one_pass", shader.wgsl);
}

/// Sums of floats come in an order; what leaves something else than a value is not to be run twice.
#[test]
fn scans_that_cannot_be_one_pass() {
    let caps = Capabilities::everything();
    let refused = |kernel: &Kernel| {
        let usual = Schedule::of(kernel, &caps);
        let is_listed = Schedule::space(kernel, &caps).iter().any(|s| s.single_pass.is_some());
        assert!(!is_listed, "{kernel}");
        match emit(kernel, &caps, &Schedule { single_pass: Some(true), ..usual }) {
            Err(RunError::Unsupported { what, .. }) => assert_eq!(what, "a scan in one pass"),
            other => panic!("expected a refusal, got {other:?}"),
        }
    };
    refused(&collective(CollectiveKind::Scan, CollectiveOp::Add, Type::F32));
    refused(&collective(CollectiveKind::Scan, CollectiveOp::Add, Type::U64));
    refused(&collective(CollectiveKind::Reduce, CollectiveOp::Add, Type::U32));
    let mut b = Builder::new("leaves");
    let x = b.buffer("x", Type::U32, Access::Read);
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    b.buffer("result", Type::U32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(x, i);
    b.checked_store(y, i, v);
    let own = b.local(Type::U32, None);
    b.set(own, v);
    b.function_mut().result = Some(own);
    let c = Collective { kind: CollectiveKind::Scan, op: CollectiveOp::Add };
    refused(&kernel(b, vec![Extent::Len(x)], Some(c)));
    let driver = Capabilities { loop_passages_max: Some(65_535), ..caps.clone() };
    let k = collective(CollectiveKind::Scan, CollectiveOp::Add, Type::U32);
    assert!(Schedule::space(&k, &driver).iter().all(|s| s.single_pass.is_none()));
}

/// Two axes, each of which needs one of the factors alone: groups keep both.
#[test]
fn a_product_with_common_loads() {
    let def = crossover_kernels::library::matmul::matmul::DEF;
    let kernel = crossover_kernels::front::kernel(def, &[], &[]).expect("a standard kernel");
    let kernel = crossover_kernels::passes::optimize(&kernel);
    let caps = Capabilities::baseline();
    let schedule = Schedule {
        workgroup: [8, 8, 1],
        tile: Some([1, 1]),
        stage: Some(16),
        ..Schedule::of(&kernel, &caps)
    };
    let shaders = crossover_shaders::shaders(&kernel, &caps, &schedule).expect("it emits");
    assert_eq!(shaders.len(), 2, "a schedule that asks for a form gets that alone");
    insta::assert_snapshot!("staged", shaders[1].1.wgsl);
}

#[test]
fn wide_types() {
    let mut b = Builder::new("wide");
    let scale = b.scalar("scale", Type::F64);
    let flag = b.scalar("flag", Type::Bool);
    let y = b.buffer("y", Type::I64, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(y, i);
    let scale = b.argument(scale);
    let flag = b.argument(flag);
    let float = b.cast(v, Type::F64);
    let product = b.binary(BinaryOp::Mul, float, scale);
    let cast = b.cast(product, Type::I64);
    let zeros = b.unary(UnaryOp::LeadingZeros, cast);
    let chosen = b.select(flag, zeros, cast);
    b.checked_store(y, i, chosen);
    insta::assert_snapshot!("wide_types", wgsl(&over(b, y)));
}

fn unsupported(kernel: &Kernel, caps: &Capabilities) -> String {
    match shader(kernel, caps) {
        Err(RunError::Unsupported { what, .. }) => what,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[test]
fn what_a_device_cannot_do_is_named_with_its_line() {
    let baseline = Capabilities::baseline();
    let mut b = Builder::new("sine");
    let y = b.buffer("y", Type::F32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(y, i);
    b.at(Span { file: 0, line: 7, column: 13 });
    let s = b.unary(UnaryOp::Sin, v);
    b.checked_store(y, i, s);
    let what = unsupported(&over(b, y), &baseline);
    assert_eq!(what, "`sin` that was not lowered to arithmetic at test.rs:7:13");

    let mut b = Builder::new("double");
    let y = b.buffer("y", Type::F32, Access::ReadWrite);
    let i = b.id(Axis::X);
    let v = b.checked_load(y, i);
    b.at(Span { file: 0, line: 3, column: 5 });
    b.cast(v, Type::F64);
    let what = unsupported(&over(b, y), &baseline);
    assert_eq!(what, "a value of f64 at test.rs:3:5 needs SHADER_F64");

    let mut b = Builder::new("many");
    let buffers: Vec<_> =
        (0..9).map(|n| b.buffer(format!("b{n}"), Type::F32, Access::ReadWrite)).collect();
    let what = unsupported(&over(b, buffers[0]), &baseline);
    assert_eq!(what, "9 storage buffers, max_storage_buffers_per_shader_stage is 8");
}

/// A divisor that is the literal 0 stands behind a check that fails; naga would refuse it.
#[test]
fn division_by_a_literal_zero_is_valid() {
    for (op, ty) in [(BinaryOp::Div, Type::I32), (BinaryOp::Rem, Type::U64)] {
        let mut b = Builder::new("zero");
        let y = b.buffer("y", ty, Access::ReadWrite);
        let i = b.id(Axis::X);
        let v = b.checked_load(y, i);
        let zero = b.constant(crossover_kernels::ir::Const::zero(ty));
        let q = b.checked_binary(op, v, zero);
        b.checked_store(y, i, q);
        wgsl(&over(b, y));
    }
}
