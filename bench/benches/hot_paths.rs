//! What the library itself costs: a decision, a small call, buffer guards, compiling a kernel.
//! `cargo bench -p crossover-bench`; with `-- --test` each runs once, as a smoke test.

#![allow(missing_docs, reason = "criterion's macros make functions without docs")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use crossover::kernels::exec::Executor;
use crossover::kernels::{front, library, passes};
use crossover::ml::{CostModel, Features};
use crossover::wasm::WasmExecutor;
use crossover::{Device, GpuUse, Id, Runtime, Settings, kernel};

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

fn runtime() -> Runtime {
    let settings = Settings { gpu: GpuUse::Off, learn: false, ..Settings::default() };
    Runtime::builder().settings(settings).build().expect("the CPU side starts")
}

fn calls(c: &mut Criterion) {
    let rt = runtime();
    let x = rt.buffer_from(&[1.0; 64]).expect("memory");
    let mut y = rt.buffer_from(&[1.0; 64]).expect("memory");
    let (long, mut to) = (rt.alloc(4096).expect("memory"), rt.alloc(4096).expect("memory"));
    c.bench_function("decision", |b| {
        b.iter(|| axpy::on(&rt).args(2.0, &x, &mut y).place().expect("predicted"));
    });
    let mut points = 0;
    c.bench_function("features and decision, a new shape", |b| {
        b.iter(|| {
            // More shapes than are kept.
            points = points % 4096 + 1;
            axpy::on(&rt).args(2.0, &long, &mut to).grid([points, 1, 1]).place().expect("predicted")
        });
    });
    c.bench_function("explanation", |b| {
        b.iter(|| axpy::on(&rt).args(2.0, &x, &mut y).explain().expect("predicted").chosen);
    });
    c.bench_function("call of 64 elements, one thread", |b| {
        b.iter(|| axpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).threads(1).run());
    });
    c.bench_function("submit and wait", |b| {
        b.iter(|| axpy::on(&rt).args(2.0, &x, &mut y).submit().wait());
    });
    c.bench_function("read guard", |b| b.iter(|| black_box(y.read().expect("content")[0])));
    c.bench_function("write guard", |b| {
        b.iter(|| y.write().expect("content")[0] = black_box(1.0));
    });
}

fn compile(c: &mut Criterion) {
    let wasm = WasmExecutor::new().expect("wasmtime starts");
    c.bench_function("front end and passes, black_scholes", |b| {
        b.iter(|| {
            let kernel = front::kernel(library::black_scholes::black_scholes::DEF, &[], &[]);
            passes::optimize(&kernel.expect("typed"))
        });
    });
    let kernel = front::kernel(library::saxpy::saxpy::DEF, &[], &[]).expect("typed");
    let kernel = std::sync::Arc::new(passes::optimize(&kernel));
    c.bench_function("wasm compile, saxpy", |b| {
        b.iter(|| wasm.compile(&kernel).expect("compiles"))
    });
}

fn predict(c: &mut Criterion) {
    let model = crossover::ml::weights::from_bytes(crossover::shipped_model());
    let model = model.unwrap_or_default();
    let features = Features::missing();
    c.bench_function("network", |b| b.iter(|| model.predict(black_box(&features))));
}

criterion_group!(benches, calls, compile, predict);
criterion_main!(benches);
