//! The kernels by which a machine is measured, and the timing of each.

use std::time::{Duration, Instant};

use crossover_kernels::{Atomic, Id, kernel};

use crate::buffer::Buffer;
use crate::call::Call;
use crate::device::Device;
use crate::error::Error;
use crate::runtime::Runtime;
use crate::transfers::Link;

/// Elements of the streams, twice beyond most last-level caches.
const STREAM: usize = 1 << 23;

/// Bytes that a stream moves.
pub(crate) const STREAM_BYTES: f64 = (STREAM * 12) as f64;

/// Elements that stay in the first-level cache.
const CACHED: usize = 1 << 11;

/// Elements that are shared between threads, and still lie in a cache.
const SHARED: usize = 1 << 15;

/// Passages of the arithmetic kernel, and operations of one.
const PASSAGES: u32 = 512;
const PASSAGE_OPS: f64 = 16.0;

/// Points of the arithmetic kernel.
const POINTS: usize = 1 << 14;

/// Operations of a run of it.
pub(crate) const ARITHMETIC_OPS: f64 = POINTS as f64 * PASSAGES as f64 * PASSAGE_OPS;

/// Passages that take far longer than a dispatch, even of one group alone, and the invocations of a group.
const PASSAGES_LONG: u32 = 1 << 13;
const GROUP: u32 = 256;

/// Passages of the chain of scalar operations, and operations of one.
const CHAIN: u32 = 1 << 16;
const CHAIN_OPS: f64 = 2.0;

/// Points that gather, and that count.
const GATHERS: usize = 1 << 20;

/// Counters that they share.
const COUNTERS: usize = 1 << 10;

/// Passages of the transcendental kernel, and functions of one.
const FUNCTION_PASSAGES: u32 = 32;
const FUNCTIONS: f64 = 2.0;

/// Time for the repetitions of one number.
const BUDGET: Duration = Duration::from_millis(40);

/// The same for one of many numbers.
const BUDGET_SHORT: Duration = Duration::from_millis(15);

/// Two loads and a store.
#[kernel]
fn probe_stream(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] += x[id.x];
}

/// Eight independent chains of multiplications and additions. That there are not too many passages has to be said to
/// drivers that end long loops in silence.
#[kernel]
fn probe_arithmetic(id: Id, passages: u32, y: &mut [f32]) {
    let s = y[id.x];
    let mut a = s;
    let mut b = s + 1.0;
    let mut c = s + 2.0;
    let mut d = s + 3.0;
    let mut e = s + 4.0;
    let mut f = s + 5.0;
    let mut g = s + 6.0;
    let mut h = s + 7.0;
    for _ in 0..passages.min(32_768) {
        a = a * 0.5 + s;
        b = b * 0.5 + s;
        c = c * 0.5 + s;
        d = d * 0.5 + s;
        e = e * 0.5 + s;
        f = f * 0.5 + s;
        g = g * 0.5 + s;
        h = h * 0.5 + s;
    }
    y[id.x] = a + b + c + d + e + f + g + h;
}

/// Operations each of which waits for the one before.
#[kernel]
fn probe_chain(id: Id, passages: u32, y: &mut [u32]) {
    let mut a = y[id.x];
    for _ in 0..passages.min(32_768) {
        a = a * 1_664_525 + 1_013_904_223;
    }
    y[id.x] = a;
}

/// Loads at random places.
#[kernel]
fn probe_gather(id: Id, at: &[u32], x: &[f32], y: &mut [f32]) {
    y[id.x] = x[at[id.x] as usize];
}

/// Two transcendental functions in a passage.
#[kernel]
fn probe_functions(id: Id, passages: u32, y: &mut [f32]) {
    let mut a = y[id.x];
    for _ in 0..passages.min(32_768) {
        a = (a.sin() * 0.5).exp();
    }
    y[id.x] = a;
}

/// Additions to counters that are shared.
#[kernel]
fn probe_count(id: Id, at: &[u32], counts: &[Atomic<u32>]) {
    counts[at[id.x] as usize & 1023].fetch_add(1);
}

/// The kernels' buffers, made once.
pub(crate) struct Probe<'r> {
    rt: &'r Runtime,
    gpu: usize,
    x: Buffer<f32>,
    y: Buffer<f32>,
    points: Buffer<f32>,
    small: [Buffer<f32>; 2],
    cached: [Buffer<f32>; 2],
}

impl<'r> Probe<'r> {
    pub(crate) fn new(rt: &'r Runtime, gpu: usize) -> Result<Probe<'r>, Error> {
        Ok(Probe {
            rt,
            gpu,
            x: rt.buffer_from(&vec![1.0; STREAM])?,
            y: rt.buffer_from(&vec![1.0; STREAM])?,
            points: rt.buffer_from(&vec![1.0; POINTS])?,
            small: [rt.alloc(64)?, rt.alloc(64)?],
            cached: [rt.alloc(CACHED)?, rt.alloc(CACHED)?],
        })
    }

    /// The least run time of a kernel within the budget, in seconds.
    fn best(run: impl FnMut() -> Result<f64, Error>) -> Result<f64, Error> {
        Probe::best_within(BUDGET, run)
    }

    fn best_within(
        budget: Duration,
        mut run: impl FnMut() -> Result<f64, Error>,
    ) -> Result<f64, Error> {
        // Compiles, uploads, and touches the pages.
        run()?;
        let start = Instant::now();
        let mut best = f64::INFINITY;
        let mut runs = 0;
        while runs < 3 || (start.elapsed() < budget && runs < 1000) {
            best = best.min(run()?);
            runs += 1;
        }
        Ok(best.max(1e-9))
    }

    pub(crate) fn arithmetic(&mut self, device: Device, threads: usize) -> Result<f64, Error> {
        let gpu = self.gpu;
        Probe::best(|| {
            let call = probe_arithmetic::on(self.rt).args(PASSAGES, &mut self.points);
            Ok(on(call, device, gpu).threads(threads).run()?.measured.run_s)
        })
    }

    pub(crate) fn stream(&mut self, device: Device, threads: usize) -> Result<f64, Error> {
        let gpu = self.gpu;
        Probe::best(|| {
            let call = probe_stream::on(self.rt).args(&self.x, &mut self.y);
            Ok(on(call, device, gpu).threads(threads).run()?.measured.run_s)
        })
    }

    /// The same by a GPU with memory of its own, in host memory.
    pub(crate) fn stream_across(&mut self) -> Result<f64, Error> {
        let gpu = self.gpu;
        Probe::best(|| {
            let call = probe_stream::on(self.rt).args(&self.x, &mut self.y);
            Ok(call.adapter(gpu).in_place(true).run()?.measured.run_s)
        })
    }

    pub(crate) fn small(&mut self, device: Device, threads: usize) -> Result<f64, Error> {
        let gpu = self.gpu;
        let [x, y] = &mut self.small;
        Probe::best(|| {
            let call = probe_stream::on(self.rt).args(x, y);
            Ok(on(call, device, gpu).threads(threads).run()?.measured.run_s)
        })
    }

    /// What waking the other threads and waiting for them costs: the time on all threads above the
    /// share of one.
    pub(crate) fn wake(&mut self, threads: usize) -> Result<f64, Error> {
        let mut shared = [self.rt.alloc(SHARED)?, self.rt.alloc(SHARED)?];
        let rt = self.rt;
        let mut time = |threads: usize| {
            let [x, y] = &mut shared;
            Probe::best(|| {
                let call = probe_stream::on(rt).args(x, y);
                Ok(call.device(Device::Cpu).threads(threads).run()?.measured.run_s)
            })
        };
        Ok(time(threads)? - time(1)? / threads as f64)
    }

    /// Bytes a second of one thread in the cache: what 2,048 elements cost above 64.
    pub(crate) fn cached(&mut self) -> Result<f64, Error> {
        let floor = self.small(Device::Cpu, 1)?;
        let [x, y] = &mut self.cached;
        let rt = self.rt;
        let time = Probe::best(|| {
            let call = probe_stream::on(rt).args(x, y);
            Ok(call.device(Device::Cpu).threads(1).run()?.measured.run_s)
        })?;
        Ok(((CACHED - 64) * 12) as f64 / (time - floor).max(2e-8))
    }

    /// Bandwidths of one thread by working set, with `floor_s` for what a call costs by itself.
    pub(crate) fn bandwidths(&mut self, floor_s: f64) -> Result<Vec<(f64, f64)>, Error> {
        let mut found = Vec::new();
        for log2 in 14..=STREAM.ilog2() {
            let n = 1u32 << log2;
            let time = Probe::best_within(BUDGET_SHORT, || {
                let call = probe_stream::on(self.rt).args(&self.x, &mut self.y);
                Ok(call.grid([n, 1, 1]).device(Device::Cpu).threads(1).run()?.measured.run_s)
            })?;
            let n = f64::from(n);
            found.push((8.0 * n, 12.0 * n / (time - floor_s).max(0.1 * time)));
        }
        Ok(found)
    }

    /// Seconds of a scalar operation that waits for the one before.
    pub(crate) fn scalar_op(&mut self) -> Result<f64, Error> {
        let mut y = self.rt.alloc::<u32>(1)?;
        let time = Probe::best_within(BUDGET_SHORT, || {
            let call = probe_chain::on(self.rt).args(CHAIN, &mut y);
            Ok(call.device(Device::Cpu).threads(1).run()?.measured.run_s)
        })?;
        Ok(time / (f64::from(CHAIN) * CHAIN_OPS))
    }

    /// Seconds to have a small kernel compiled for the GPU: what its first call takes above the second.
    /// Drivers compile as late as in the first dispatch, so that no part of that call can be left out.
    pub(crate) fn compile(&mut self) -> Result<f64, Error> {
        let gpu = self.gpu;
        let [x, y] = &mut self.small;
        let rt = self.rt;
        let mut time = || -> Result<f64, Error> {
            let start = Instant::now();
            probe_stream::on(rt).args(x, y).adapter(gpu).run()?;
            Ok(start.elapsed().as_secs_f64())
        };
        let first_s = time()?;
        Ok((first_s - time()?).max(1e-5))
    }

    /// Invocations of a group over operations that it does in a second: its seconds for an operation of
    /// each, with `dispatch_s` for what a dispatch costs by itself. Times the rate of the whole GPU these
    /// are the invocations that it has room for.
    pub(crate) fn group(&mut self, dispatch_s: f64) -> Result<f64, Error> {
        let gpu = self.gpu;
        let time = Probe::best(|| {
            let call = probe_arithmetic::on(self.rt).args(PASSAGES_LONG, &mut self.points);
            Ok(on(call.grid([GROUP, 1, 1]), Device::Gpu, gpu).run()?.measured.run_s)
        })?;
        let time = (time - dispatch_s).max(0.1 * time);
        Ok(time / (f64::from(PASSAGES_LONG) * PASSAGE_OPS))
    }

    /// Bytes a second of loads at random places on the GPU.
    pub(crate) fn gathers(&mut self) -> Result<f64, Error> {
        let gpu = self.gpu;
        let at = self.places(STREAM)?;
        let mut to = self.rt.alloc::<f32>(GATHERS)?;
        let time = Probe::best(|| {
            let call = probe_gather::on(self.rt).args(&at, &self.x, &mut to);
            Ok(on(call, Device::Gpu, gpu).run()?.measured.run_s)
        })?;
        Ok((GATHERS * 4) as f64 / time)
    }

    /// Transcendental functions a second on the GPU.
    pub(crate) fn transcendentals(&mut self) -> Result<f64, Error> {
        let gpu = self.gpu;
        let time = Probe::best(|| {
            let call = probe_functions::on(self.rt).args(FUNCTION_PASSAGES, &mut self.points);
            Ok(on(call, Device::Gpu, gpu).run()?.measured.run_s)
        })?;
        Ok(POINTS as f64 * f64::from(FUNCTION_PASSAGES) * FUNCTIONS / time)
    }

    /// Additions a second to shared counters on the GPU.
    pub(crate) fn atomics(&mut self) -> Result<f64, Error> {
        let gpu = self.gpu;
        let at = self.places(COUNTERS)?;
        let mut counts = self.rt.alloc::<u32>(COUNTERS)?;
        let time = Probe::best(|| {
            let call = probe_count::on(self.rt).args(&at, &mut counts);
            Ok(on(call, Device::Gpu, gpu).run()?.measured.run_s)
        })?;
        Ok(GATHERS as f64 / time)
    }

    /// Seconds until the host has a word that the GPU has written.
    pub(crate) fn readback(&mut self) -> Result<f64, Error> {
        let gpu = self.gpu;
        let [x, y] = &mut self.small;
        let rt = self.rt;
        Probe::best_within(BUDGET_SHORT, || {
            on(probe_stream::on(rt).args(x, y), Device::Gpu, gpu).run()?;
            let start = Instant::now();
            let word = y.read()?[0];
            std::hint::black_box(word);
            Ok(start.elapsed().as_secs_f64())
        })
    }

    /// Random places below a power of two.
    fn places(&self, below: usize) -> Result<Buffer<u32>, Error> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // The low bits repeat soon.
            (state >> 8) as usize & (below - 1)
        };
        self.rt.buffer_from(&(0..GATHERS).map(|_| next() as u32).collect::<Vec<u32>>())
    }

    /// Upload and download: a large and a small copy each.
    pub(crate) fn links(&mut self) -> Result<(Link, Link), Error> {
        let mut large = [f64::INFINITY; 2];
        let mut small = [f64::INFINITY; 2];
        for _ in 0..3 {
            copy(self.rt, self.gpu, &self.x, &mut self.y, &mut large)?;
        }
        let [x, y] = &mut self.small;
        for _ in 0..5 {
            copy(self.rt, self.gpu, x, y, &mut small)?;
        }
        let bytes = (STREAM * 4) as f64;
        let link = |at: usize| Link {
            latency_s: small[at].max(1e-7),
            bandwidth: bytes / (large[at] - small[at]).max(1e-6),
        };
        Ok((link(0), link(1)))
    }
}

/// The call on that device, and on that GPU if it is one.
fn on(call: Call<'_>, device: Device, gpu: usize) -> Call<'_> {
    match device {
        Device::Cpu => call.device(device),
        // On copies, where it has memory of its own.
        Device::Gpu => call.adapter(gpu).in_place(false),
    }
}

/// Times an upload of `y` and the way back; keeps the least.
fn copy(
    rt: &Runtime,
    gpu: usize,
    x: &Buffer<f32>,
    y: &mut Buffer<f32>,
    least: &mut [f64; 2],
) -> Result<(), Error> {
    y.write()?[0] = 1.0;
    let call = probe_stream::on(rt).args(x, y);
    let up = on(call, Device::Gpu, gpu).run()?.measured.transfer_s;
    let start = Instant::now();
    drop(y.read()?);
    *least = [least[0].min(up), least[1].min(start.elapsed().as_secs_f64())];
    Ok(())
}
