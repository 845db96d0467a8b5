//! Real land through a dozen kernels: hill shading, colour by height, and where the rain flows. Water
//! is followed by two iterations of hundreds of steps; each step is a call, submitted and awaited.
//!
//!     cargo run --release --bin terrain -- [--device cpu|gpu] [output folder]
//!
//! Every stage is compared with the same kernels called as plain Rust functions.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the program's output")]
#![expect(clippy::too_many_arguments, reason = "every buffer of a kernel is an argument")]

use std::mem::swap;
use std::path::Path;

use anyhow::Context;
use crossover::{Buffer, Element, Error, Id, Num, Reason, Runtime, kernel};
use crossover_examples::{Kernels, Options, Placed, compare, grid, save_png, show_bytes, show_gpu};

/// The lowest value.
#[kernel(reduce = min)]
fn lowest(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

/// The highest value.
#[kernel(reduce = max)]
fn highest(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

/// The sum of all values.
#[kernel(reduce = add)]
fn sum(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

/// How many elements differ.
#[kernel(reduce = add)]
fn changed<T: Num>(id: Id, x: &[T], y: &[T]) -> u32 {
    if x[id.x] == y[id.x] { 0 } else { 1 }
}

/// A step of Jacobi's iteration for a smoother surface: half the old value, half the mean of the
/// four neighbours; borders stay. It takes the steps of whole metres off the slopes.
#[kernel(grid = (w, h))]
fn smooth(id: Id, w: usize, h: usize, x: &[f32], y: &mut [f32]) {
    let at = id.y * w + id.x;
    if id.x == 0 || id.y == 0 || id.x + 1 == w || id.y + 1 == h {
        y[at] = x[at];
    } else {
        y[at] = 0.5 * x[at] + 0.125 * (x[at - 1] + x[at + 1] + x[at - w] + x[at + w]);
    }
}

/// Light on the slopes, from the angle between the ground's normal and the sun.
#[kernel(grid = (w, h))]
fn shade(
    id: Id,
    w: usize,
    h: usize,
    east_m: f32,
    north_m: f32,
    azimuth: f32,
    altitude: f32,
    z: &[f32],
    light: &mut [f32],
) {
    const EXAGGERATION: f32 = 2.5;
    let row = id.y * w;
    let east = z[row + (id.x + 1).min(w - 1)] - z[row + id.x.max(1) - 1];
    let north = z[(id.y.max(1) - 1) * w + id.x] - z[(id.y + 1).min(h - 1) * w + id.x];
    let dx = EXAGGERATION * east / (2.0 * east_m);
    let dy = EXAGGERATION * north / (2.0 * north_m);
    let level = altitude.cos() * (azimuth.sin() * dx + azimuth.cos() * dy);
    light[row + id.x] = ((altitude.sin() - level) / (1.0 + dx * dx + dy * dy).sqrt()).max(0.0);
}

/// The start of `fill`: everything but the border stands under water.
#[kernel(grid = (w, h))]
fn flood(id: Id, w: usize, h: usize, high: f32, z: &[f32], y: &mut [f32]) {
    let at = id.y * w + id.x;
    let border = id.x == 0 || id.y == 0 || id.x + 1 == w || id.y + 1 == h;
    y[at] = if border { z[at] } else { high };
}

/// A step of Planchon and Darboux's filling of pits: the water sinks as long as a neighbour is lower
/// and the ground lets it. In the end every point has a way down to the border.
#[kernel(grid = (w, h))]
fn fill(id: Id, w: usize, h: usize, z: &[f32], x: &[f32], y: &mut [f32]) {
    let at = id.y * w + id.x;
    let mut water = x[at];
    if id.x > 0 && id.y > 0 && id.x + 1 < w && id.y + 1 < h {
        let north = x[at - w - 1].min(x[at - w]).min(x[at - w + 1]);
        let south = x[at + w - 1].min(x[at + w]).min(x[at + w + 1]);
        let lowest = north.min(south).min(x[at - 1]).min(x[at + 1]);
        water = water.min(z[at].max(lowest + 0.0078125));
    }
    y[at] = water;
}

/// Which of the nine points around goes down steepest, numbered row by row; 4, the point itself, on
/// the border.
#[kernel(grid = (w, h))]
fn downhill(id: Id, w: usize, h: usize, z: &[f32], way: &mut [u32]) {
    let at = id.y * w + id.x;
    let mut best = 4;
    if id.x > 0 && id.y > 0 && id.x + 1 < w && id.y + 1 < h {
        let mut steepest = 0.0;
        for k in 0..9 {
            let drop = z[at] - z[at - w - 1 + k / 3 * w + k % 3];
            let slope = if k % 2 == 0 { drop * 0.70710677 } else { drop };
            if slope > steepest {
                steepest = slope;
                best = k as u32;
            }
        }
    }
    way[at] = best;
}

/// A step of the rain on its way down: a point's own, and what the points above it had.
#[kernel(grid = (w, h))]
fn drain(id: Id, w: usize, h: usize, way: &[u32], x: &[u32], y: &mut [u32]) {
    let at = id.y * w + id.x;
    let mut water = 0;
    if id.x > 0 && id.y > 0 && id.x + 1 < w && id.y + 1 < h {
        water = 1;
        for k in 0..9 {
            let from = at - w - 1 + k / 3 * w + k % 3;
            // The neighbour's way leads here; a way of 4 leads nowhere.
            if k != 4 && way[from] == 8 - k as u32 {
                water += x[from];
            }
        }
    }
    y[at] = water;
}

/// One channel of the map: a colour by height, in the sun's light, under rivers the darker the more
/// points they drain.
#[kernel]
fn paint(
    id: Id,
    low: f32,
    high: f32,
    river: f32,
    colors: &[f32],
    z: &[f32],
    light: &[f32],
    water: &[u32],
    channel: &mut [f32],
) {
    let i = id.x;
    let last = colors.len() - 1;
    let height = ((z[i] - low) / (high - low)).clamp(0.0, 1.0) * last as f32;
    let below = (height as usize).min(last - 1);
    let color = colors[below] + (colors[below + 1] - colors[below]) * (height - below as f32);
    let land = (color * (0.25 + light[i])).min(1.0);
    let depth = (0.3 * ((water[i] as f32 + 1.0).ln() - 4.5)).clamp(0.0, 1.0);
    channel[i] = land + (river - land) * depth;
}

/// Azimuth and altitude of the sun: in the north-west, as on printed maps.
const SUN: [f32; 2] = [315.0, 40.0];

/// Red, green and blue of the lowest land, of the highest, and of heights between.
const COLORS: [[f32; 5]; 3] = [
    [0.40, 0.62, 0.85, 0.72, 0.96],
    [0.60, 0.74, 0.82, 0.60, 0.94],
    [0.38, 0.46, 0.56, 0.44, 0.90],
];
const RIVER: [f32; 3] = [0.10, 0.30, 0.62];

/// Steps of smoothing.
const SMOOTH: usize = 4;

/// Steps of an iteration between two looks at whether anything still changes.
const STEPS: usize = 32;

/// A piece of land: heights in metres, row by row from the north.
pub(crate) struct Land {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) z: Vec<f32>,
}

/// Distance of two points in metres, to the east and to the north.
const SPACING_M: [f32; 2] = [74.4, 92.7];

/// What the stages give.
pub(crate) struct Stages {
    pub(crate) low: f32,
    pub(crate) high: f32,
    pub(crate) mean: f32,
    smoothed: Vec<f32>,
    light: Vec<f32>,
    filled: Vec<f32>,
    ways: Vec<u32>,
    water: Vec<u32>,
    map: [Vec<f32>; 3],
}

impl Land {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Land> {
        let image = image::open(path).with_context(|| path.display().to_string())?.to_luma16();
        let z = image.pixels().map(|p| f32::from(p[0])).collect();
        Ok(Land { width: image.width() as usize, height: image.height() as usize, z })
    }
}

/// Steps from `x` until `step(x, y)` changes nothing, a batch at a time: the calls of a batch are
/// under way together, and each waits for the buffers of the one before.
async fn settle<T: Element + Num>(
    rt: &Placed,
    mut x: Buffer<T>,
    step: impl Fn(&Buffer<T>, &mut Buffer<T>) -> crossover::Ticket,
) -> Result<Buffer<T>, Error> {
    let mut y = rt.alloc(x.len())?;
    let mut changes = rt.alloc(1)?;
    loop {
        let mut tickets = Vec::new();
        for _ in 0..STEPS {
            tickets.push(step(&x, &mut y));
            swap(&mut x, &mut y);
        }
        for ticket in tickets {
            ticket.await?;
        }
        changed::on(rt).args(&x, &y, &mut changes).submit().await?;
        if changes.read()?[0] == 0 {
            return Ok(x);
        }
    }
}

/// The pipeline, each call where it is predicted to be fastest.
pub(crate) async fn process(rt: &Placed, land: &Land) -> Result<Stages, Error> {
    let (w, h, n) = (land.width, land.height, land.z.len());
    let z = rt.buffer_from(&land.z)?;
    let [mut low, mut high, mut total] = [rt.alloc(1)?, rt.alloc(1)?, rt.alloc(1)?];
    let extremes = [
        lowest::on(rt).args(&z, &mut low).submit(),
        highest::on(rt).args(&z, &mut high).submit(),
        sum::on(rt).args(&z, &mut total).submit(),
    ];

    // Nobody waits for these until the map is painted.
    let (mut smoothed, mut other) = (rt.buffer_from(&land.z)?, rt.alloc(n)?);
    let mut sunlit = Vec::new();
    for _ in 0..SMOOTH {
        sunlit.push(smooth::on(rt).args(w, h, &smoothed, &mut other).submit());
        swap(&mut smoothed, &mut other);
    }
    let mut light = rt.alloc(n)?;
    let ([east, north], [azimuth, altitude]) = (SPACING_M, SUN.map(f32::to_radians));
    let args = shade::on(rt).args(w, h, east, north, azimuth, altitude, &smoothed, &mut light);
    sunlit.push(args.submit());

    for ticket in extremes {
        ticket.await?;
    }
    let (low, high, total) = (low.read()?[0], high.read()?[0], total.read()?[0]);

    let mut flooded = rt.alloc(n)?;
    flood::on(rt).args(w, h, high, &z, &mut flooded).submit().await?;
    let filled = settle(rt, flooded, |x, y| fill::on(rt).args(w, h, &z, x, y).submit()).await?;
    let mut ways = rt.alloc(n)?;
    downhill::on(rt).args(w, h, &filled, &mut ways).submit().await?;
    let dry = rt.alloc(n)?;
    let water = settle(rt, dry, |x, y| drain::on(rt).args(w, h, &ways, x, y).submit()).await?;

    for ticket in sunlit {
        ticket.await?;
    }
    let mut map = [rt.alloc(n)?, rt.alloc(n)?, rt.alloc(n)?];
    for ((channel, colors), river) in map.iter_mut().zip(&COLORS).zip(RIVER) {
        let colors = rt.buffer_from(colors)?;
        let call = paint::on(rt).args(low, high, river, &colors, &z, &light, &water, channel);
        call.submit().await?;
    }
    let [r, g, b] = &map;
    Ok(Stages {
        low,
        high,
        mean: total / n as f32,
        smoothed: smoothed.to_vec()?,
        light: light.to_vec()?,
        filled: filled.to_vec()?,
        ways: ways.to_vec()?,
        water: water.to_vec()?,
        map: [r.to_vec()?, g.to_vec()?, b.to_vec()?],
    })
}

/// The same in plain Rust: a kernel is also the function that it is written as.
pub(crate) fn plain(land: &Land) -> Stages {
    let (w, h, n, z) = (land.width, land.height, land.z.len(), &land.z);
    let all = || (0..n).map(Id::at);
    let low = all().map(|id| lowest(id, z)).fold(f32::INFINITY, f32::min);
    let high = all().map(|id| highest(id, z)).fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = all().map(|id| f64::from(sum(id, z))).sum();

    let (mut smoothed, mut other, mut light) = (z.clone(), vec![0.0; n], vec![0.0; n]);
    for _ in 0..SMOOTH {
        grid(w, h).for_each(|id| smooth(id, w, h, &smoothed, &mut other));
        swap(&mut smoothed, &mut other);
    }
    let ([east, north], [azimuth, altitude]) = (SPACING_M, SUN.map(f32::to_radians));
    for id in grid(w, h) {
        shade(id, w, h, east, north, azimuth, altitude, &smoothed, &mut light);
    }

    let mut filled = vec![0.0; n];
    grid(w, h).for_each(|id| flood(id, w, h, high, z, &mut filled));
    settle_plain(&mut filled, |x, y| grid(w, h).for_each(|id| fill(id, w, h, z, x, y)));
    let mut ways = vec![0; n];
    grid(w, h).for_each(|id| downhill(id, w, h, &filled, &mut ways));
    let mut water = vec![0; n];
    settle_plain(&mut water, |x, y| grid(w, h).for_each(|id| drain(id, w, h, &ways, x, y)));

    let mut map = [vec![0.0; n], vec![0.0; n], vec![0.0; n]];
    for ((channel, colors), river) in map.iter_mut().zip(&COLORS).zip(RIVER) {
        all().for_each(|id| paint(id, low, high, river, colors, z, &light, &water, channel));
    }
    let mean = (total / n as f64) as f32;
    Stages { low, high, mean, smoothed, light, filled, ways, water, map }
}

fn settle_plain<T: Num>(x: &mut Vec<T>, step: impl Fn(&[T], &mut [T])) {
    let mut y = vec![T::default(); x.len()];
    loop {
        step(x, &mut y);
        swap(x, &mut y);
        if *x == y {
            return;
        }
    }
}

/// Compares every stage. The filled heights are multiples of 1/128 m, so that they are exact, and
/// with them the ways and the water; light and colours are up to 1, within the rounding of a
/// sine and a logarithm that each device computes in its own way. Gives the largest difference.
pub(crate) fn check(found: &Stages, expected: &Stages) -> anyhow::Result<f64> {
    compare("extremes", &[found.low, found.high], &[expected.low, expected.high], 0.0)?;
    compare("mean", &[found.mean], &[expected.mean], 0.01)?;
    compare("filled", &found.filled, &expected.filled, 0.0)?;
    compare("ways", &found.ways, &expected.ways, 0.0)?;
    compare("water", &found.water, &expected.water, 0.0)?;
    let mut largest = compare("smoothed", &found.smoothed, &expected.smoothed, 1e-3)?;
    largest = largest.max(compare("light", &found.light, &expected.light, 1e-4)?);
    for (found, expected) in found.map.iter().zip(&expected.map) {
        largest = largest.max(compare("map", found, expected, 1e-4)?);
    }
    Ok(largest)
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse("target/terrain", "elevation.png")?;
    let land = Land::open(&options.input)?;
    let rt = Placed { runtime: Runtime::from_env()?, device: options.device };
    println!("{}", show_gpu(&rt));

    let start = std::time::Instant::now();
    let stages = process(&rt, &land).await?;
    let took = start.elapsed();
    let Stages { low, high, mean, .. } = stages;
    println!("{} × {} points from {low} to {high} m, mean {mean:.1} m", land.width, land.height);
    let rows = rt.ledger().rows();
    println!("\n{}\n{} calls in {took:.2?}", Kernels(&rows), rows.len());
    let moves = rows.windows(2).filter(|pair| pair[0].chosen != pair[1].chosen).count();
    let last = rows.windows(2).rposition(|pair| pair[0].chosen != pair[1].chosen);
    println!("{moves} changes of device, the last before call {}", last.map_or(0, |at| at + 1));
    for reason in Reason::ALL {
        let copied = rt.copied(reason);
        println!("{reason:?}: {} in {} copies", show_bytes(copied.bytes), copied.count);
    }

    let output = options.output;
    std::fs::create_dir_all(&output)?;
    let [r, g, b] = &stages.map;
    save_png(&output.join("map.png"), land.width, &[r, g, b])?;
    save_png(&output.join("light.png"), land.width, &[&stages.light])?;
    println!("wrote map.png and light.png to {}", output.display());

    let largest = check(&stages, &plain(&land))?;
    println!("plain Rust gives the same, within {largest:.1e}");
    Ok(())
}
