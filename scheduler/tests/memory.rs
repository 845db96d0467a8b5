//! Where the bytes of buffers are, and what is copied: nothing, where the GPU works on host memory.

mod common;

use common::{with_gpu, with_gpu_memory};
use crossover::kernels::random::Random;
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

/// Parts that the host changes or looks at are all that moves.
#[test]
fn parts_of_a_buffer_move_alone() {
    for memory in [GpuMemory::Mapped, GpuMemory::Staged] {
        let Some(rt) = with_gpu_memory(memory) else { return };
        let n = 100_000;
        let x = rt.buffer_from(&vec![1.0; n]).expect("memory");
        let mut y = rt.buffer_from(&vec![0.0; n]).expect("memory");
        let on_gpu = |y: &mut _| axpy::on(&rt).args(1.0, &x, y).device(Device::Gpu).run();
        on_gpu(&mut y).expect("runs");
        let moved = || [Reason::Upload, Reason::HostRead].map(|reason| rt.copied(reason).bytes);
        let [up, _] = moved();
        assert_eq!(*y.read_range(10..20).expect("within"), [1.0; 10]);
        assert_eq!((moved(), y.residency()), ([up, 40], Residency::Gpu));
        y.write_range(50..60).expect("within").fill(5.0);
        assert_eq!((moved(), y.residency()), ([up, 80], Residency::Split));
        on_gpu(&mut y).expect("runs");
        assert_eq!((moved(), y.residency()), ([up + 40, 80], Residency::Gpu));
        let all = y.to_vec().expect("content");
        assert!(
            all.iter()
                .enumerate()
                .all(|(i, &v)| v == if (50..60).contains(&i) { 6.0 } else { 2.0 })
        );
        assert_eq!(moved(), [up + 40, 80 + 4 * n as u64]);
        // A call on the CPU fetches what it lacks, and the parts that the host has stay.
        on_gpu(&mut y).expect("runs");
        y.write_range(0..1).expect("within")[0] = -1.0;
        axpy::on(&rt).args(1.0, &x, &mut y).device(Device::Cpu).run().expect("runs");
        let all = y.to_vec().expect("content");
        assert_eq!((all[0], all[1], all[55], all[n - 1]), (0.0, 4.0, 8.0, 4.0));
        let error = y.read_range(0..n + 1).expect_err("beyond the end");
        assert!(error.to_string().contains("100001"), "{error}");
    }
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

#[kernel]
fn scale(id: Id, a: u32, y: &mut [u32]) {
    y[id.x] *= a;
}

#[kernel]
fn shift(id: Id, b: u32, x: &[u32], y: &mut [u32]) {
    y[id.x] = x[id.x] + b;
}

/// Calls on both devices, submitted at once, see each other's results in the order in which they were made,
/// with many on the GPU at a time.
#[test]
fn chains_of_tickets_keep_their_order() {
    for memory in [GpuMemory::Imported, GpuMemory::Staged] {
        let Some(rt) = with_gpu_memory(memory) else { return };
        let mut rng = Random::new(12345);
        for round in 0..20 {
            let mut buffers = [1, 2, 3].map(|v| rt.buffer_from(&vec![v; 3000]).expect("memory"));
            let mut expected = [1u32, 2, 3];
            let mut tickets = Vec::new();
            for _ in 0..40 {
                let device = if rng.below(4) == 0 { Device::Cpu } else { Device::Gpu };
                let (from, to, by) = (rng.below(3), rng.below(3), rng.below(9) as u32 + 1);
                let ticket = if from == to {
                    expected[to] = expected[to].wrapping_mul(by);
                    scale::on(&rt).args(by, &mut buffers[to]).device(device).submit()
                } else {
                    expected[to] = expected[from].wrapping_add(by);
                    let [x, y] = buffers.get_disjoint_mut([from, to]).expect("two buffers");
                    shift::on(&rt).args(by, &*x, y).device(device).submit()
                };
                tickets.push(ticket);
                if rng.below(16) == 0 {
                    let seen = buffers[to].read_range(7..8).expect("content")[0];
                    assert_eq!(seen, expected[to], "{memory:?}, round {round}");
                }
            }
            for (buffer, expected) in buffers.iter().zip(expected) {
                assert!(buffer.read().expect("content").iter().all(|&v| v == expected));
            }
            for ticket in tickets {
                ticket.wait().expect("it ran");
            }
        }
    }
}

#[kernel(grid = n)]
fn grows(id: Id, n: usize, y: &mut [u32]) {
    y[id.x] += n as u32;
}

/// Prefixes of one buffer that grow from call to call, many in flight: each waits for the part that the host
/// still has to give, and nobody waits for ever.
#[test]
fn growing_prefixes_of_a_buffer_in_flight() {
    for memory in [GpuMemory::Mapped, GpuMemory::Staged] {
        let Some(rt) = with_gpu_memory(memory) else { return };
        let mut y = rt.buffer_from(&vec![0u32; 4096]).expect("memory");
        grows::on(&rt).args(1, &mut y).compile().expect("compiles");
        let mut expected = vec![0u32; 4096];
        let mut tickets = Vec::new();
        for n in (0..64).map(|turn| 64 * (turn % 32 + 1)) {
            tickets.push(grows::on(&rt).args(n, &mut y).device(Device::Gpu).submit());
            expected[..n].iter_mut().for_each(|v| *v += n as u32);
        }
        // Writing waits for them all, and what is written stays.
        y.write().expect("content")[0] = 7;
        expected[0] = 7;
        grows::on(&rt).args(1, &mut y).device(Device::Gpu).run().expect("runs");
        expected[0] += 1;
        assert!(y.to_vec().expect("content") == expected, "{memory:?}");
        for ticket in tickets {
            ticket.wait().expect("it ran");
        }
    }
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
