//! Measuring the machine: a few small kernels on each side, about a second in all. Every number is
//! the best of some repetitions: rates are what the machine can do, and noise only ever slows.

use std::time::{Duration, Instant};

use crossover_kernels::{Id, kernel};
use crossover_shaders::Sharing;

use crate::buffer::Buffer;
use crate::calibration::Calibration;
use crate::call::Call;
use crate::device::Device;
use crate::error::Error;
use crate::runtime::Runtime;
use crate::transfers::Link;

/// Elements of the streams, twice beyond most last-level caches.
const STREAM: usize = 1 << 23;

/// Elements that stay in the first-level cache.
const CACHED: usize = 1 << 11;

/// Elements that are shared between threads, and still lie in a cache.
const SHARED: usize = 1 << 15;

/// Passages of the arithmetic kernel, and operations of one.
const PASSAGES: u32 = 512;
const PASSAGE_OPS: f64 = 16.0;

/// Points of the arithmetic kernel.
const POINTS: usize = 1 << 14;

/// Time for the repetitions of one number.
const BUDGET: Duration = Duration::from_millis(40);

/// Two loads and a store.
#[kernel]
fn probe_stream(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] += x[id.x];
}

/// Eight independent chains of multiplications and additions.
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
    for _ in 0..passages {
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

/// Measures what the runtime's CPU and one of its GPUs can do.
pub(crate) fn measure(rt: &Runtime, gpu: usize) -> Result<Calibration, Error> {
    let side = rt.inner().gpus.get(gpu);
    let (threads, adapter) = (rt.threads(), side.map(|side| side.adapter()));
    let software = adapter.as_ref().is_some_and(|a| a.software);
    let mut found =
        Calibration::assumed(threads, adapter.as_ref().map(|a| a.name.as_str()), software);
    let mut probe = Probe::new(rt, gpu)?;
    let ops = POINTS as f64 * f64::from(PASSAGES) * PASSAGE_OPS;
    let stream_bytes = (STREAM * 12) as f64;
    let cpu = &mut found.cpu;
    cpu.flops_one = ops / probe.arithmetic(Device::Cpu, 1)?;
    cpu.flops_all = ops / probe.arithmetic(Device::Cpu, threads)?;
    cpu.bandwidth_one = stream_bytes / probe.stream(Device::Cpu, 1)?;
    cpu.bandwidth_all = stream_bytes / probe.stream(Device::Cpu, threads)?;
    let small_s = probe.small(Device::Cpu, 1)?;
    cpu.inline_s = small_s;
    cpu.wake_s = probe.wake(threads)?.max(small_s);
    cpu.bandwidth_cache = (probe.cached()?).max(cpu.bandwidth_one);
    cpu.llc_bytes = llc_bytes().unwrap_or(cpu.llc_bytes);
    if adapter.is_some() {
        let gpu = &mut found.gpu;
        let start = Instant::now();
        probe.small(Device::Gpu, 1)?;
        gpu.compile_s = (start.elapsed().saturating_sub(BUDGET)).as_secs_f64().max(1e-4);
        gpu.dispatch_s = probe.small(Device::Gpu, 1)?;
        gpu.flops = ops / probe.arithmetic(Device::Gpu, 1)?;
        gpu.bandwidth = stream_bytes / probe.stream(Device::Gpu, 1)?;
        // Where the GPU works on host memory, nothing goes up and down that could be timed.
        let opened = side.and_then(|side| side.gpu());
        if opened.is_none_or(|gpu| gpu.sharing() != Sharing::Imported) {
            (gpu.upload, gpu.download) = probe.links()?;
        }
    }
    found.is_measured = true;
    Ok(found)
}

/// The kernels' buffers, made once.
struct Probe<'r> {
    rt: &'r Runtime,
    gpu: usize,
    x: Buffer<f32>,
    y: Buffer<f32>,
    points: Buffer<f32>,
    small: [Buffer<f32>; 2],
    cached: [Buffer<f32>; 2],
}

impl<'r> Probe<'r> {
    fn new(rt: &'r Runtime, gpu: usize) -> Result<Probe<'r>, Error> {
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
    fn best(mut run: impl FnMut() -> Result<f64, Error>) -> Result<f64, Error> {
        // Compiles, uploads, and touches the pages.
        run()?;
        let start = Instant::now();
        let mut best = f64::INFINITY;
        let mut runs = 0;
        while runs < 3 || (start.elapsed() < BUDGET && runs < 1000) {
            best = best.min(run()?);
            runs += 1;
        }
        Ok(best.max(1e-9))
    }

    fn arithmetic(&mut self, device: Device, threads: usize) -> Result<f64, Error> {
        let gpu = self.gpu;
        Probe::best(|| {
            let call = probe_arithmetic::on(self.rt).args(PASSAGES, &mut self.points);
            Ok(on(call, device, gpu).threads(threads).run()?.measured.run_s)
        })
    }

    fn stream(&mut self, device: Device, threads: usize) -> Result<f64, Error> {
        let gpu = self.gpu;
        Probe::best(|| {
            let call = probe_stream::on(self.rt).args(&self.x, &mut self.y);
            Ok(on(call, device, gpu).threads(threads).run()?.measured.run_s)
        })
    }

    fn small(&mut self, device: Device, threads: usize) -> Result<f64, Error> {
        let gpu = self.gpu;
        let [x, y] = &mut self.small;
        Probe::best(|| {
            let call = probe_stream::on(self.rt).args(x, y);
            Ok(on(call, device, gpu).threads(threads).run()?.measured.run_s)
        })
    }

    /// What waking the other threads and waiting for them costs: the time on all threads above the
    /// share of one.
    fn wake(&mut self, threads: usize) -> Result<f64, Error> {
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
    fn cached(&mut self) -> Result<f64, Error> {
        let floor = self.small(Device::Cpu, 1)?;
        let [x, y] = &mut self.cached;
        let rt = self.rt;
        let time = Probe::best(|| {
            let call = probe_stream::on(rt).args(x, y);
            Ok(call.device(Device::Cpu).threads(1).run()?.measured.run_s)
        })?;
        Ok(((CACHED - 64) * 12) as f64 / (time - floor).max(2e-8))
    }

    /// Upload and download: a large and a small copy each.
    fn links(&mut self) -> Result<(Link, Link), Error> {
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
        Device::Gpu => call.adapter(gpu),
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
    let up = probe_stream::on(rt).args(x, y).adapter(gpu).run()?.measured.transfer_s;
    let start = Instant::now();
    drop(y.read()?);
    *least = [least[0].min(up), least[1].min(start.elapsed().as_secs_f64())];
    Ok(())
}

/// The size of the largest cache of the first core, as Linux tells it.
fn llc_bytes() -> Option<f64> {
    let folder = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let sizes = folder.filter_map(|entry| {
        let text = std::fs::read_to_string(entry.ok()?.path().join("size")).ok()?;
        let text = text.trim();
        let (digits, scale) = match text.strip_suffix('K') {
            Some(digits) => (digits, 1024.0),
            None => (text.strip_suffix('M')?, 1024.0 * 1024.0),
        };
        Some(digits.parse::<f64>().ok()? * scale)
    });
    sizes.reduce(f64::max)
}
