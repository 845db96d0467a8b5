//! Buffers that are larger than what a shader sees at once: calls run on the GPU in parts, and those that cannot
//! be cut run on the CPU from the start, which the ledger explains.

mod common;

use common::quiet;
use crossover::shaders::{Gpu, GpuOptions, Sharing};
use crossover::{Device, Error, Id, Runtime, Why, kernel, route};

/// Bytes that a shader sees at once here, and elements that are several times as many.
const BINDING: u64 = 1 << 16;
const N: usize = 100_003;

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

#[kernel]
fn pick(id: Id, at: &[u32], x: &[f32], y: &mut [f32]) {
    y[id.x] = x[at[id.x] as usize];
}

fn small_bindings(sharing: Sharing) -> Option<Runtime> {
    common::with_gpu()?;
    let binding_bytes_max = Some(BINDING);
    let options = GpuOptions { binding_bytes_max, sharing: Some(sharing), ..GpuOptions::default() };
    let builder = Runtime::builder()
        .settings(quiet())
        .gpu(move || Gpu::open(&options))
        .policy(route::by_name("always-gpu").expect("a policy"));
    Some(builder.build().expect("starts"))
}

#[test]
fn calls_on_large_buffers_run_in_parts() {
    for sharing in [Sharing::Imported, Sharing::Mapped, Sharing::Staged] {
        let Some(rt) = small_bindings(sharing) else { return };
        let values: Vec<f32> = (0..N).map(|i| (i % 1000) as f32).collect();
        let x = rt.buffer_from(&values).expect("memory");
        let mut y = rt.buffer_from(&vec![1.0f32; N]).expect("memory");
        axpy::on(&rt).args(2.0, &x, &mut y).compile().expect("compiles");
        // Checked, then without checks.
        for turn in 1..=3 {
            let outcome = axpy::on(&rt).args(2.0, &x, &mut y).run().expect("runs");
            assert_eq!(outcome.device, Device::Gpu, "{sharing}");
            let row = rt.ledger().last().expect("a row");
            assert_eq!(row.error, None);
            let y = y.read().expect("content");
            let wrong = (0..N).find(|&i| y[i] != 1.0 + 2.0 * turn as f32 * values[i]);
            assert_eq!(wrong, None, "{sharing}, turn {turn}");
        }
    }
}

#[test]
fn calls_that_cannot_be_cut_run_on_the_cpu() {
    let Some(rt) = small_bindings(Sharing::Imported) else { return };
    let places: Vec<u32> = (0..N as u32).rev().collect();
    let at = rt.buffer_from(&places).expect("memory");
    let x = rt.buffer_from(&(0..N).map(|i| i as f32).collect::<Vec<_>>()).expect("memory");
    let mut y = rt.alloc::<f32>(N).expect("memory");
    pick::on(&rt).args(&at, &x, &mut y).compile().expect("compiles");
    let outcome = pick::on(&rt).args(&at, &x, &mut y).run().expect("runs");
    assert_eq!(outcome.device, Device::Cpu);
    assert_eq!(y.read().expect("content")[0], (N - 1) as f32);
    let row = rt.ledger().last().expect("a row");
    let Why::Only(why) = &row.why else { panic!("{}", row.why) };
    assert!(why.contains("buffer `") && why.contains("binding_size is 65536"), "{why}");
    let explained = pick::on(&rt).args(&at, &x, &mut y).explain().expect("predicted").to_string();
    assert!(explained.contains("binding_size"), "{explained}");
    // Who forces it is told.
    let forced = pick::on(&rt).args(&at, &x, &mut y).device(Device::Gpu).run();
    assert!(matches!(&forced, Err(Error::Run(_))), "{forced:?}");
    // A smaller call of the same kernel runs there.
    let (at, x) = (rt.buffer_from(&[1u32, 0]).expect("memory"), rt.buffer_from(&[5.0f32, 6.0]));
    let (x, mut y) = (x.expect("memory"), rt.alloc::<f32>(2).expect("memory"));
    let outcome = pick::on(&rt).args(&at, &x, &mut y).run().expect("runs");
    assert_eq!((outcome.device, y.to_vec().expect("content")), (Device::Gpu, vec![6.0, 5.0]));
}

#[kernel(grid = (w, h))]
fn corners(id: Id, w: usize, h: usize, y: &mut [u32]) {
    if (id.x == 0 || id.x == w - 1) && (id.y == 0 || id.y == h - 1) {
        y[id.x / (w - 1) + 2 * (id.y / (h - 1))] = 7;
    }
}

/// A grid of 2³² invocations, more than 32 bits count.
#[test]
fn a_grid_of_all_numbers_runs() {
    let Some(rt) = common::with_gpu() else { return };
    let mut y = rt.buffer_from(&[0u32; 4]).expect("memory");
    let call = corners::on(&rt).args(65_536, 65_536, &mut y);
    call.device(Device::Gpu).run().expect("runs");
    assert_eq!(y.to_vec().expect("content"), [7; 4]);
}
