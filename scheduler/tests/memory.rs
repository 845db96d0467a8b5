//! Where the bytes of buffers are, and what is copied: nothing, where the GPU works on host memory.

mod common;

use common::{with_gpu, with_gpu_memory};
use crossover::{Device, GpuMemory, Id, Reason, Residency, Runtime, kernel};

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

#[kernel]
fn copy(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = x[id.x];
}

#[test]
fn data_moves_once_and_every_byte_is_counted() {
    for memory in [GpuMemory::Mapped, GpuMemory::Staged] {
        let Some(rt) = with_gpu_memory(memory) else { return };
        moves_once(&rt);
    }
}

fn moves_once(rt: &Runtime) {
    let n = 4096;
    let bytes = (n * 4) as u64;
    let x = rt.buffer_from(&vec![1.0; n]).expect("memory");
    let mut y = rt.buffer_from(&vec![0.0; n]).expect("memory");
    let on_gpu = |y: &mut _| axpy::on(rt).args(1.0, &x, y).device(Device::Gpu).run();
    on_gpu(&mut y).expect("runs");
    assert_eq!(rt.copied(Reason::Upload).bytes, 2 * bytes);
    assert_eq!((x.residency(), y.residency()), (Residency::Both, Residency::Gpu));
    for _ in 0..5 {
        on_gpu(&mut y).expect("runs");
    }
    assert_eq!(rt.copied(Reason::Upload).bytes, 2 * bytes, "a chain on the GPU moves nothing");
    assert_eq!(rt.copied(Reason::HostRead).bytes, 0);
    assert_eq!(y.read().expect("content")[n - 1], 6.0);
    assert_eq!(rt.copied(Reason::HostRead).bytes, bytes);
    assert_eq!(y.residency(), Residency::Both);
    let row = rt.ledger().last().expect("a row");
    assert_eq!((row.upload_bytes, row.readback_bytes), (0, bytes));
    // The CPU changes it: the copy on the GPU is stale, and goes there again when needed.
    axpy::on(rt).args(1.0, &x, &mut y).device(Device::Cpu).run().expect("runs");
    assert_eq!(y.residency(), Residency::Host);
    on_gpu(&mut y).expect("runs");
    assert_eq!(rt.copied(Reason::Upload).bytes, 3 * bytes);
    assert_eq!(y.to_vec().expect("content"), vec![8.0; n]);
    // What a call overwrites without looking is not uploaded.
    let mut fresh = rt.alloc(n).expect("memory");
    copy::on(rt).args(&x, &mut fresh).device(Device::Gpu).run().expect("runs");
    assert_eq!(rt.copied(Reason::Upload).bytes, 3 * bytes);
    assert_eq!(fresh.to_vec().expect("content"), vec![1.0; n]);
}

/// One allocation: Rust, WebAssembly and the GPU in turns change the very same bytes, and none is copied.
#[test]
fn the_gpu_works_on_the_bytes_of_the_slice() {
    let Some(rt) = with_gpu() else { return };
    if !rt.adapter().is_some_and(|adapter| adapter.in_place) {
        return eprintln!("skipped: {:?}", rt.adapter());
    }
    for n in [1, 3, 1000, 1 << 20] {
        let x = rt.buffer_from(&vec![1.0; n]).expect("memory");
        let mut y = rt.buffer_from(&vec![0.0; n]).expect("memory");
        let at = y.read().expect("content").as_ptr();
        for turn in 0..4 {
            axpy::on(&rt).args(1.0, &x, &mut y).device(Device::Gpu).run().expect("the GPU runs");
            axpy::on(&rt).args(2.0, &x, &mut y).device(Device::Cpu).run().expect("the CPU runs");
            let mut slice = y.write().expect("content");
            assert_eq!(slice.as_ptr(), at);
            assert!(slice.iter().all(|&v| v == 7.0 * turn as f32 + 3.0), "turn {turn} of {n}");
            slice.iter_mut().for_each(|v| *v += 4.0);
        }
        assert_eq!(y.residency(), Residency::Both);
    }
    assert_eq!(rt.copied(Reason::Upload).bytes + rt.copied(Reason::HostRead).bytes, 0);
    assert!(rt.ledger().rows().iter().all(|row| row.upload_bytes + row.readback_bytes == 0));
}

/// A buffer that is dropped while the GPU has it, and its memory used again for others.
#[test]
fn memory_of_dropped_buffers_is_used_again() {
    let Some(rt) = with_gpu() else { return };
    let mut tickets = Vec::new();
    for turn in 0..200 {
        let x = rt.buffer_from(&vec![turn as f32; 5000]).expect("memory");
        let mut y = rt.alloc(5000).expect("memory");
        tickets.push(copy::on(&rt).args(&x, &mut y).device(Device::Gpu).submit());
        drop(x);
        if turn % 3 == 0 {
            assert!(y.read().expect("content").iter().all(|&v| v == turn as f32));
        }
    }
    for ticket in tickets {
        ticket.wait().expect("it runs");
    }
}
