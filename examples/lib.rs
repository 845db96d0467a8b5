//! What the examples share: the command line, pictures as files, the comparison with plain Rust, the
//! ledger as tables.

#![forbid(unsafe_code)]

use std::fmt::{Display, Formatter, Result as Written};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use crossover::kernels::ir::Type;
use crossover::{
    Args, Bound, Buffer, Call, Def, Device, Host, Id, Row, Runtime, Scalar, show_seconds,
};
use image::ColorType;

/// What the command line says: `[--device cpu|gpu] [output folder [input file]]`.
#[derive(Debug)]
pub struct Options {
    /// Where all calls run; `None` for where each is predicted to be fastest.
    pub device: Option<Device>,
    /// The folder for results.
    pub output: PathBuf,
    /// The file to work on.
    pub input: PathBuf,
}

impl Options {
    /// Reads the command line; what it does not say is taken from here.
    ///
    /// # Errors
    /// For a device that is neither `cpu` nor `gpu`.
    pub fn parse(output: &str, input: &str) -> Result<Options> {
        let (mut device, mut paths) = (None, Vec::new());
        let mut args = std::env::args_os().skip(1);
        while let Some(arg) = args.next() {
            if arg == "--device" {
                let name = args.next().unwrap_or_default();
                device = Device::ALL.into_iter().find(|device| name == device.name());
                ensure!(device.is_some(), "--device takes `cpu` or `gpu`, not {name:?}");
            } else if arg.to_string_lossy().starts_with('-') {
                bail!("unknown option {arg:?}; there is --device cpu|gpu");
            } else {
                paths.push(PathBuf::from(arg));
            }
        }
        let mut paths = paths.into_iter();
        let output = paths.next().unwrap_or_else(|| output.into());
        let input = paths.next().unwrap_or_else(|| data(input));
        Ok(Options { device, output, input })
    }
}

/// A runtime whose calls all go to one device, where one is given. An application that leaves the
/// choice to the prediction calls kernels on the [`Runtime`] itself.
#[derive(Debug)]
pub struct Placed {
    /// The runtime.
    pub runtime: Runtime,
    /// The device; `None` for the predicted one.
    pub device: Option<Device>,
}

impl Deref for Placed {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.runtime
    }
}

impl Host for Placed {
    type Buffer<T: Scalar> = Buffer<T>;
    type Arg<'b> = Bound<'b>;
    type Call<'b> = Call<'b>;

    fn scalar<'b, T: Scalar>(&'b self, value: T) -> Bound<'b> {
        self.runtime.scalar(value)
    }

    fn read<'b, T: Scalar>(&'b self, buffer: &'b Buffer<T>) -> Bound<'b> {
        self.runtime.read(buffer)
    }

    fn write<'b, T: Scalar>(&'b self, buffer: &'b mut Buffer<T>) -> Bound<'b> {
        self.runtime.write(buffer)
    }

    fn call<'b>(
        &'b self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
        args: Args<Bound<'b>>,
    ) -> Call<'b> {
        let call = self.runtime.call(def, types, consts, args);
        match self.device {
            Some(device) => call.device(device),
            None => call,
        }
    }
}

/// The GPU in a line, or why there is none.
pub fn show_gpu(rt: &Runtime) -> String {
    match rt.adapter() {
        Some(gpu) => format!("GPU: {}", gpu.name),
        None => format!("no GPU: {}", rt.why_no_gpu().unwrap_or_default()),
    }
}

/// A file of the examples' data.
pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

/// Writes a PNG from planes of values in 0..=1: one for a grey picture, three for a coloured one.
///
/// # Errors
/// When the file cannot be written.
pub fn save_png(path: &Path, width: usize, planes: &[&[f32]]) -> Result<()> {
    let pixels = planes.first().map_or(0, |plane| plane.len());
    let bytes: Vec<u8> = (0..pixels)
        .flat_map(|at| planes.iter().map(move |plane| (plane[at] * 255.0 + 0.5) as u8))
        .collect();
    let color = if planes.len() == 3 { ColorType::Rgb8 } else { ColorType::L8 };
    let height = pixels / width;
    image::save_buffer(path, &bytes, u32::try_from(width)?, u32::try_from(height)?, color)
        .with_context(|| path.display().to_string())
}

/// The positions of a grid of two axes, to call a kernel as plain Rust at each.
pub fn grid(width: usize, height: usize) -> impl Iterator<Item = Id> {
    (0..height).flat_map(move |y| (0..width).map(move |x| Id::at2(x, y)))
}

/// Fails where a stage's result is further than `tolerance` from what plain Rust gives; otherwise
/// the largest difference.
///
/// # Errors
/// Another length, or the first element that is too far off.
pub fn compare<T>(stage: &str, found: &[T], expected: &[T], tolerance: f64) -> Result<f64>
where
    T: Copy + Into<f64>,
{
    let (length, wanted) = (found.len(), expected.len());
    ensure!(length == wanted, "{stage}: {length} elements, not {wanted}");
    let mut largest = 0.0;
    for (at, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let (found, expected) = (found.into(), expected.into());
        let difference = (found - expected).abs();
        // Not `difference > tolerance`, which is false for NaN.
        ensure!(difference <= tolerance, "{stage}: element {at} is {found}, not {expected}");
        largest = f64::max(largest, difference);
    }
    Ok(largest)
}

/// The ledger with a line for each call: where it ran and why, what was expected and what it took,
/// in time and copied bytes.
#[derive(Debug)]
pub struct Calls<'a>(pub &'a [Row]);

impl Display for Calls<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        writeln!(
            f,
            "{:<14} {:<13} {:<8} {:>9} {:>9} {:>9} {:>9}  why",
            "kernel", "grid", "ran on", "predicted", "took", "up", "down"
        )?;
        for row in self.0 {
            let [x, y, _] = row.grid;
            let took = row.measured.map_or("failed".to_owned(), |m| show_seconds(m.total_s));
            let predicted = row.estimates.iter().find(|e| e.device == row.chosen);
            writeln!(
                f,
                "{:<14} {:<13} {:<8} {:>9} {took:>9} {:>9} {:>9}  {}",
                row.kernel,
                format!("{x} × {y}"),
                side(row.chosen, row.threads),
                predicted.map_or("–".to_owned(), |e| show_seconds(e.total_s())),
                show_bytes(row.upload_bytes),
                show_bytes(row.readback_bytes),
                row.why,
            )?;
        }
        Ok(())
    }
}

/// The ledger with a line for each kernel: how its calls were split, how long they took on each
/// device, and how far the prediction of the run time was off at first and at last.
#[derive(Debug)]
pub struct Kernels<'a>(pub &'a [Row]);

impl Display for Kernels<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Written {
        writeln!(
            f,
            "{:<14} {:>6} {:>6} {:>9} {:>9} {:>9} {:>9} {:>12} {:>12}  last because",
            "kernel",
            "cpu",
            "gpu",
            "cpu time",
            "gpu time",
            "up",
            "down",
            "off at first",
            "off at last"
        )?;
        let mut names: Vec<&str> = Vec::new();
        for row in self.0 {
            if !names.contains(&&*row.kernel) {
                names.push(&row.kernel);
            }
        }
        for name in names {
            let rows: Vec<&Row> = self.0.iter().filter(|row| &*row.kernel == name).collect();
            let times = |device| {
                let rows = rows.iter().filter(|row| row.chosen == device);
                let times: Vec<f64> = rows.filter_map(|r| Some(r.measured?.run_s)).collect();
                (times.len(), median(times).map_or("–".to_owned(), show_seconds))
            };
            let ((cpu, cpu_time), (gpu, gpu_time)) = (times(Device::Cpu), times(Device::Gpu));
            let some = rows.len().div_ceil(10);
            writeln!(
                f,
                "{name:<14} {cpu:>6} {gpu:>6} {cpu_time:>9} {gpu_time:>9} {:>9} {:>9} {:>12} {:>12}  {}",
                show_bytes(rows.iter().map(|row| row.upload_bytes).sum()),
                show_bytes(rows.iter().map(|row| row.readback_bytes).sum()),
                off(&rows[..some]),
                off(&rows[rows.len() - some..]),
                rows[rows.len() - 1].why,
            )?;
        }
        Ok(())
    }
}

/// By what factor run times and predictions differ, at the median.
fn off(rows: &[&Row]) -> String {
    let factors = rows.iter().filter_map(|row| {
        let estimate = row.estimates.iter().find(|e| e.device == row.chosen)?;
        let ratio = row.measured?.run_s / estimate.run_s;
        Some(ratio.max(1.0 / ratio))
    });
    median(factors.collect()).map_or("–".to_owned(), |factor| format!("× {factor:.2}"))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn side(device: Device, threads: usize) -> String {
    match device {
        Device::Cpu => format!("cpu × {threads}"),
        Device::Gpu => "gpu".to_owned(),
    }
}

/// Bytes, with the unit that suits them.
pub fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "–".to_owned(),
        1..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
