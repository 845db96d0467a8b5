//! Buffers from and as arrays of `ndarray` and Arrow: the same values, the same memory, and nobody writes what
//! somebody else looks at.

mod common;

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use arrow_array::{Array, Float32Array, Int64Array, TimestampSecondArray, UInt32Array};
use common::{cpu_only, with_gpu_memory};
use crossover::{Device, Error, GpuMemory, Id, Reason, Runtime, kernel};
use ndarray::{Array1, Array3, ArrayD, Axis, ShapeBuilder, arr0, s};

/// Ends near two, in as much time as wanted.
#[kernel]
fn steps(id: Id, count: u32, y: &mut [f32]) {
    let mut v = y[id.x];
    for _ in 0..count {
        v = v * 0.5 + 1.0;
    }
    y[id.x] = v;
}

#[kernel]
fn doubled(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = 2.0 * x[id.x];
}

fn numbers(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

#[test]
fn arrays_of_any_layout_are_copied_in_the_order_of_their_axes() -> Result<(), Error> {
    let rt = cpu_only();
    for shape in [(0, 3, 4), (1, 1, 1), (3, 5, 7), (2, 1, 9)] {
        let (a, b, c) = shape;
        let x = Array3::from_shape_vec(shape, numbers(a * b * c)).expect("a shape");
        let swapped = x.view().permuted_axes([2, 0, 1]);
        let (every_other, backwards) = (x.slice(s![.., .., ..;2]), x.slice(s![.., ..;-1, ..]));
        for array in [x.view(), swapped, every_other, backwards] {
            let elements: Vec<f32> = array.iter().copied().collect();
            let before = rt.copied_in();
            let buffer = rt.buffer_from_array(&array)?;
            assert_eq!(buffer.to_vec()?, elements);
            let after = rt.copied_in();
            assert_eq!(after.bytes - before.bytes, 4 * elements.len() as u64);
            assert_eq!(after.count - before.count, 1);
            assert_eq!(buffer.read()?.as_array(array.raw_dim())?, array);
        }
    }
    assert_eq!(rt.buffer_from_array(&arr0(7u64))?.to_vec()?, [7]);
    let dynamic = ArrayD::<i32>::zeros(vec![2, 0, 5]);
    assert!(rt.buffer_from_array(&dynamic)?.is_empty());
    Ok(())
}

#[test]
fn views_are_the_buffers_memory_in_another_shape() -> Result<(), Error> {
    let rt = cpu_only();
    let mut x = rt.buffer_from(&numbers(35))?;
    let mut content = x.write()?;
    let start = content.as_ptr();
    let mut array = content.as_array_mut((5, 7))?;
    assert_eq!(array.as_ptr(), start);
    array.index_axis_mut(Axis(0), 2).fill(-1.0);
    drop(content);
    let content = x.read()?;
    assert_eq!(content[14..21], [-1.0; 7]);
    let columns = content.as_array((7, 5).f())?;
    assert_eq!((columns.as_ptr(), columns[[6, 0]], columns[[0, 1]]), (start, 6.0, 7.0));
    assert_eq!(content.as_array(vec![5, 1, 7])?.ndim(), 3);
    assert_eq!(x.read_range(7..14)?.as_array(7)?, Array1::from_iter(numbers(14).drain(7..)));
    let empty = rt.alloc::<f64>(0)?;
    assert_eq!(empty.read()?.as_array((0, 4))?.shape(), [0, 4]);
    Ok(())
}

#[test]
fn shapes_that_do_not_fit_are_refused() -> Result<(), Error> {
    let rt = cpu_only();
    let mut x = rt.alloc::<f32>(12)?;
    let content = x.read()?;
    for shape in [
        vec![],
        vec![0, 12],
        vec![11],
        vec![2, 5],
        vec![13],
        vec![usize::MAX, 2],
        vec![1 << 40, 1 << 40],
    ] {
        let refused = content.as_array(shape.clone()).expect_err("not twelve");
        assert_eq!(refused, Error::Shape { shape, length: 12 });
    }
    drop(content);
    let refused = x.write()?.as_array_mut((3, 5)).expect_err("not twelve");
    assert_eq!(refused.to_string(), "an array of shape [3, 5] over 12 elements");
    Ok(())
}

#[test]
fn arrow_arrays_are_the_buffers_memory() -> Result<(), Error> {
    let rt = cpu_only();
    for n in [0, 1, 7, 4097] {
        let x = rt.buffer_from(&numbers(n))?;
        let copied = rt.copied_in();
        let column: Float32Array = x.to_arrow()?;
        assert_eq!(column.values().as_ptr(), x.read()?.as_ptr());
        assert_eq!((column.len(), column.null_count()), (n, 0));
        assert_eq!(&**column.values(), numbers(n));
        assert_eq!(rt.copied_in(), copied, "nothing is copied");
        let back = rt.buffer_from_arrow(&column.slice(n / 2, n - n / 2))?;
        assert_eq!(back.to_vec()?, numbers(n)[n / 2..]);
        assert_eq!(rt.copied_in().bytes - copied.bytes, 4 * (n - n / 2) as u64);
    }
    let times: TimestampSecondArray = rt.buffer_from(&[1i64, 2])?.into_arrow()?;
    assert_eq!(times.value(1), 2);
    let nulls = Int64Array::from(vec![Some(1), None, Some(3), None]);
    let refused = rt.buffer_from_arrow(&nulls).expect_err("two nulls");
    assert_eq!(refused, Error::Nulls { count: 2 });
    assert_eq!(rt.buffer_from_arrow(&nulls.slice(2, 1))?.to_vec()?, [3], "without the nulls");
    Ok(())
}

#[test]
fn arrow_arrays_outlive_buffer_and_runtime() -> Result<(), Error> {
    let rt = cpu_only();
    let mut y = rt.buffer_from(&numbers(1000))?;
    let ticket = steps::on(&rt).args(100_000, &mut y).submit();
    // It waits for the call that writes.
    let column: Float32Array = y.into_arrow()?;
    let part = column.slice(10, 5);
    drop((column, rt));
    ticket.wait()?;
    assert!(part.values().iter().all(|&v| v == 2.0), "{part:?}");
    // What is given back is not what is still looked at.
    let other = cpu_only();
    let more: Vec<_> = (0..8).map(|_| other.buffer_from(&[9.0f32; 1000])).collect();
    assert!(part.values().iter().all(|&v| v == 2.0), "{part:?}");
    assert!(more.iter().all(Result::is_ok));
    Ok(())
}

#[test]
fn a_call_on_the_gpu_is_waited_for_and_fetched_once() -> Result<(), Error> {
    for memory in [GpuMemory::Imported, GpuMemory::Mapped, GpuMemory::Staged] {
        let Some(rt) = with_gpu_memory(memory) else { return Ok(()) };
        let mut y = rt.buffer_from(&vec![0.0; 5001])?;
        let submit = |y: &mut _| steps::on(&rt).args(1000, y).device(Device::Gpu).submit();
        let ticket = submit(&mut y);
        let column: Float32Array = y.to_arrow()?;
        assert!(column.values().iter().all(|&v| v == 2.0), "{memory:?}: {column:?}");
        ticket.wait()?;
        let fetched = rt.copied(Reason::HostRead).bytes;
        assert!(fetched == 0 || fetched == 4 * 5001, "{memory:?}: {fetched}");
        let again: Float32Array = y.to_arrow()?;
        assert_eq!(again.values().as_ptr(), column.values().as_ptr());
        assert_eq!(rt.copied(Reason::HostRead).bytes, fetched, "{memory:?}");
        // Kernels read it meanwhile, on both devices.
        let mut z = rt.alloc(5001)?;
        for device in Device::ALL {
            doubled::on(&rt).args(&y, &mut z).device(device).run()?;
            assert_eq!(z.read()?.as_array((3, 1667))?[[2, 1666]], 4.0, "{memory:?}");
        }
        drop((column, again));
        let ticket = submit(&mut y);
        assert!(y.read()?.as_array(5001)?.iter().all(|&v| v == 2.0), "{memory:?}");
        ticket.wait()?;
    }
    Ok(())
}

/// Whether something that ought to wait for an array does, and goes on when the array is gone.
fn waits_for<T: Send>(array: impl Array, write: impl FnOnce() -> T + Send) -> T {
    let (done, is_done) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || done.send(write()));
        let early = is_done.recv_timeout(Duration::from_millis(50));
        assert!(matches!(early, Err(RecvTimeoutError::Timeout)), "nobody writes what is looked at");
        drop(array);
        is_done.recv().expect("the writer goes on")
    })
}

#[test]
fn whoever_writes_waits_for_the_last_clone_of_an_array() -> Result<(), Error> {
    let rt = Runtime::builder().settings(common::quiet()).build()?;
    let mut x = rt.buffer_from(&[1u32, 2, 3])?;
    let column: UInt32Array = x.to_arrow()?;
    let clone = column.slice(1, 1);
    drop(column);
    waits_for(clone, || x.write().map(|mut content| content[1] = 5))?;
    assert_eq!(x.to_vec()?, [1, 5, 3]);
    let column: UInt32Array = x.to_arrow()?;
    waits_for(column, || x.put(0, &[7]))?;
    assert_eq!(x.to_vec()?, [7, 5, 3]);
    let mut y = rt.buffer_from(&[0.0f32; 9])?;
    for &device in if rt.adapter().is_some() { &Device::ALL[..] } else { &[Device::Cpu] } {
        let column: Float32Array = y.to_arrow()?;
        waits_for(column, || steps::on(&rt).args(50, &mut y).device(device).run())?;
        assert_eq!(y.to_vec()?, [2.0; 9]);
    }
    Ok(())
}
