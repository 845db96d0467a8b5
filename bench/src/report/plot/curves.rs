//! What there is to draw of a kernel's rows, before it is drawn: the curves, and where they cross.

use crossover::Device;

use crate::baseline::Baseline;
use crate::report::html::count;
use crate::report::model::Row;

/// The curves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::report) enum Series {
    Cpu,
    Gpu,
    Baseline(Baseline),
}

impl Series {
    /// All, in the order of [`Row::spread`].
    pub(in crate::report) const ALL: [Series; 6] = [
        Series::Cpu,
        Series::Gpu,
        Series::Baseline(Baseline::ALL[0]),
        Series::Baseline(Baseline::ALL[1]),
        Series::Baseline(Baseline::ALL[2]),
        Series::Baseline(Baseline::ALL[3]),
    ];

    /// What the page calls it.
    pub(in crate::report) fn name(self) -> &'static str {
        match self {
            Series::Cpu => "CPU",
            Series::Gpu => "GPU",
            Series::Baseline(baseline) => baseline.name(),
        }
    }

    /// Its class, which is its colour.
    pub(in crate::report) fn class(self) -> &'static str {
        match self {
            Series::Cpu => "cpu",
            Series::Gpu => "gpu",
            Series::Baseline(Baseline::Native) => "native",
            Series::Baseline(Baseline::NativeDefault) => "native-default",
            Series::Baseline(Baseline::Native128) => "native-128",
            Series::Baseline(Baseline::RawWgpu) => "raw-wgpu",
        }
    }

    pub(in crate::report) fn seconds(self, row: &Row) -> Option<f64> {
        let time = match self {
            Series::Cpu => row.wasm_s,
            Series::Gpu => row.gpu_s,
            Series::Baseline(baseline) => row.baseline(baseline),
        };
        time.filter(|t| drawable(*t))
    }

    pub(in crate::report) fn spread(self, row: &Row) -> Option<[f64; 2]> {
        let at = Series::ALL.iter().position(|series| *series == self)?;
        let spread = row.spread.get(at).copied().flatten();
        spread.filter(|bounds| bounds.iter().all(|t| drawable(*t)))
    }

    /// The time predicted before the first run, and its interval.
    pub(in crate::report) fn predicted(self, row: &Row) -> Option<(f64, Option<[f64; 2]>)> {
        let (time, interval) = match self {
            Series::Cpu => (row.predicted_wasm_s, row.predicted_wasm_interval),
            Series::Gpu => (row.predicted_gpu_s, row.predicted_gpu_interval),
            Series::Baseline(_) => (None, None),
        };
        let interval = interval.filter(|bounds| bounds.iter().all(|t| drawable(*t)));
        time.filter(|t| drawable(*t)).map(|time| (time, interval))
    }
}

impl From<Device> for Series {
    fn from(device: Device) -> Series {
        match device {
            Device::Cpu => Series::Cpu,
            Device::Gpu => Series::Gpu,
        }
    }
}

/// Whether a time has a place on a logarithmic axis.
fn drawable(time: f64) -> bool {
    time.is_finite() && time > 0.0
}

/// A size as the axis has it.
pub(super) fn position(row: &Row) -> f64 {
    row.n.max(1) as f64
}

/// What the curves of CPU and GPU do to each other.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) enum Meeting {
    /// No size was measured on both.
    Unknown,
    /// Equal wherever both were measured.
    Even,
    /// One is faster at every size, or as fast.
    Faster(Device),
    /// They cross.
    Cross(Vec<Crossover>),
}

/// A point where the curves cross.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) struct Crossover {
    /// The size.
    pub(in crate::report) n: f64,
    /// The time of both.
    pub(in crate::report) seconds: f64,
    /// Which is faster above.
    pub(in crate::report) above: Device,
}

/// Where the curves cross, for rows ordered by size. Between sizes they are straight lines, in
/// logarithms. Curves that only touch do not cross.
pub(in crate::report) fn meeting(rows: &[&Row]) -> Meeting {
    let point = |row: &&Row| {
        let (cpu, gpu) = (Series::Cpu.seconds(row)?, Series::Gpu.seconds(row)?);
        Some([position(row).ln(), cpu.ln(), gpu.ln()])
    };
    let points: Vec<[f64; 3]> = rows.iter().filter_map(point).collect();
    let lead = |p: &[f64; 3]| p[1] - p[2];
    // Of points where both are equal, none says who was ahead: the crossover is at the first.
    let ahead: Vec<usize> = (0..points.len()).filter(|&i| lead(&points[i]) != 0.0).collect();
    let Some(&first) = ahead.first() else {
        return if points.is_empty() { Meeting::Unknown } else { Meeting::Even };
    };
    let crossovers: Vec<Crossover> = ahead
        .windows(2)
        .filter(|pair| lead(&points[pair[0]]) * lead(&points[pair[1]]) < 0.0)
        .map(|pair| between(&points[pair[0]], &points[pair[0] + 1]))
        .collect();
    if crossovers.is_empty() {
        Meeting::Faster(faster(lead(&points[first])))
    } else {
        Meeting::Cross(crossovers)
    }
}

/// Who is faster, by the logarithm of CPU time over GPU time.
fn faster(lead: f64) -> Device {
    if lead < 0.0 { Device::Cpu } else { Device::Gpu }
}

/// Where two lines cross, given their logarithms (size, CPU, GPU) at two sizes. At the second they
/// have crossed or are equal.
fn between(a: &[f64; 3], b: &[f64; 3]) -> Crossover {
    let (from, to) = (a[1] - a[2], b[1] - b[2]);
    let share = from / (from - to);
    let at = |axis: usize| (a[axis] + share * (b[axis] - a[axis])).exp();
    Crossover { n: at(0), seconds: at(1), above: faster(from).other() }
}

/// What the curves do, in words.
pub(in crate::report) fn caption(rows: &[&Row]) -> String {
    let both =
        |row: &&Row| Series::Cpu.seconds(row).is_some() && Series::Gpu.seconds(row).is_some();
    let sizes = if rows.iter().all(both) { "measured size" } else { "size measured on both" };
    match meeting(rows) {
        Meeting::Unknown => "CPU and GPU were measured together at no size".to_owned(),
        Meeting::Even => format!("CPU and GPU equally fast at every {sizes}"),
        Meeting::Faster(device) => format!("{} faster at every {sizes}", name(device)),
        Meeting::Cross(points) => {
            let one = |p: &Crossover| format!("{}: {} faster above", label(p), name(p.above));
            points.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    }
}

pub(super) fn name(device: Device) -> &'static str {
    Series::from(device).name()
}

/// A crossover's label; its size is an interpolation, and gets three digits.
pub(super) fn label(point: &Crossover) -> String {
    let unit = 10f64.powf((point.n.log10().floor() - 2.0).max(0.0));
    format!("crossover at n ≈ {}", count(((point.n / unit).round() * unit) as u64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::plot::tests::row;

    fn rows(times: &[(u64, f64, f64)]) -> Vec<Row> {
        times.iter().map(|&(n, cpu, gpu)| row(n, Some(cpu), Some(gpu))).collect()
    }

    fn meet(times: &[(u64, f64, f64)]) -> Meeting {
        meeting(&rows(times).iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_crossing_is_interpolated_in_logarithms() {
        // CPU time n, GPU time 10 √n: equal at n = 100.
        let line = |n: u64| (n, n as f64, 10.0 * (n as f64).sqrt());
        let Meeting::Cross(points) = meet(&[line(10), line(40), line(1000)]) else { panic!() };
        assert_eq!(points.len(), 1);
        assert!((points[0].n - 100.0).abs() < 1e-9, "{points:?}");
        assert!((points[0].seconds - 100.0).abs() < 1e-9, "{points:?}");
        assert_eq!(points[0].above, Device::Gpu);
    }

    #[test]
    fn curves_that_do_not_cross_have_a_faster_one() {
        assert_eq!(meet(&[(1, 1.0, 2.0), (9, 2.0, 3.0)]), Meeting::Faster(Device::Cpu));
        assert_eq!(meet(&[(1, 3.0, 2.0)]), Meeting::Faster(Device::Gpu));
        assert_eq!(meet(&[]), Meeting::Unknown);
        assert_eq!(meet(&[(1, 2.0, 2.0)]), Meeting::Even);
    }

    #[test]
    fn touching_is_not_crossing() {
        let touch = meet(&[(1, 1.0, 2.0), (10, 3.0, 3.0), (100, 4.0, 5.0)]);
        assert_eq!(touch, Meeting::Faster(Device::Cpu));
        let cross = meet(&[(1, 1.0, 2.0), (10, 3.0, 3.0), (20, 3.0, 3.0), (100, 6.0, 5.0)]);
        let Meeting::Cross(points) = cross else { panic!("{cross:?}") };
        assert!(points.len() == 1 && (points[0].n - 10.0).abs() < 1e-9, "{points:?}");
    }

    #[test]
    fn captions_say_what_the_curves_do() {
        let say = |rows: &[Row]| caption(&rows.iter().collect::<Vec<_>>());
        let crossing = rows(&[(1000, 1e-6, 1e-5), (100_000, 1e-3, 1e-4)]);
        assert_eq!(say(&crossing), "crossover at n ≈ 10\u{202f}000: GPU faster above");
        let mut some = rows(&[(1, 1.0, 2.0)]);
        assert_eq!(say(&some), "CPU faster at every measured size");
        some.push(row(2, Some(1.0), None));
        assert_eq!(say(&some), "CPU faster at every size measured on both");
    }
}
