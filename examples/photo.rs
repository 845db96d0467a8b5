//! A photograph through seven kernels: Gaussian blur of the colours, edges, and histogram
//! equalisation of the luminance. Each call is placed on CPU or GPU by its predicted time.
//!
//!     cargo run --release --bin photo -- [--device cpu|gpu] [output folder [photograph]]
//!
//! Every stage is compared with the same kernels called as plain Rust functions.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the program's output")]
#![expect(clippy::needless_range_loop, reason = "kernels count; they have no iterators")]

use std::path::Path;

use anyhow::Context;
use crossover::{Atomic, Error, Id, Reason, Runtime, kernel};
use crossover_examples::{Calls, Options, Placed, compare, grid, save_png, show_bytes, show_gpu};

/// Takes packed pixels apart: colours in 0..=1, and the luminance as a level in 0..=255. The level
/// is computed in integers, so that its histogram is the same on every device.
#[kernel]
fn planes(id: Id, rgb: &[u32], r: &mut [f32], g: &mut [f32], b: &mut [f32], level: &mut [u32]) {
    let i = id.x;
    let red = rgb[i] >> 16;
    let green = rgb[i] >> 8 & 255;
    let blue = rgb[i] & 255;
    r[i] = red as f32 / 255.0;
    g[i] = green as f32 / 255.0;
    b[i] = blue as f32 / 255.0;
    level[i] = (54 * red + 183 * green + 19 * blue + 128) >> 8;
}

/// One pass of a separable filter, along the rows; beyond the border lies the nearest pixel.
#[kernel(grid = (w, h))]
fn blur_rows(id: Id, w: usize, h: usize, weights: &[f32], x: &[f32], y: &mut [f32]) {
    let radius = weights.len() / 2;
    let mut sum = 0.0;
    for k in 0..weights.len() {
        let column = (id.x + k).clamp(radius, radius + w - 1) - radius;
        sum += weights[k] * x[id.y * w + column];
    }
    y[id.y * w + id.x] = sum;
}

/// The other pass, along the columns.
#[kernel(grid = (w, h))]
fn blur_columns(id: Id, w: usize, h: usize, weights: &[f32], x: &[f32], y: &mut [f32]) {
    let radius = weights.len() / 2;
    let mut sum = 0.0;
    for k in 0..weights.len() {
        let row = (id.y + k).clamp(radius, radius + h - 1) - radius;
        sum += weights[k] * x[row * w + id.x];
    }
    y[id.y * w + id.x] = sum;
}

/// The brightness at a position that is counted from 1; 0 and beyond is the nearest pixel.
#[kernel]
fn near(level: &[u32], w: usize, h: usize, column: usize, row: usize) -> f32 {
    level[(row.clamp(1, h) - 1) * w + column.clamp(1, w) - 1] as f32 / 255.0
}

/// How steep the brightness is, by Sobel's two filters.
#[kernel(grid = (w, h))]
fn sobel(id: Id, w: usize, h: usize, level: &[u32], edge: &mut [f32]) {
    let x = id.x;
    let y = id.y;
    let north = near(level, w, h, x, y) + 2.0 * near(level, w, h, x + 1, y);
    let south = near(level, w, h, x, y + 2) + 2.0 * near(level, w, h, x + 1, y + 2);
    let west = near(level, w, h, x, y) + 2.0 * near(level, w, h, x, y + 1);
    let east = near(level, w, h, x + 2, y) + 2.0 * near(level, w, h, x + 2, y + 1);
    let corner = near(level, w, h, x + 2, y + 2);
    let down = south + corner - north - near(level, w, h, x + 2, y);
    let right = east + corner - west - near(level, w, h, x, y + 2);
    edge[y * w + x] = (0.5 * (down * down + right * right).sqrt()).min(1.0);
}

/// Counts the pixels of each level.
#[kernel]
fn histogram(id: Id, level: &[u32], bins: &[Atomic<u32>]) {
    bins[level[id.x] as usize].fetch_add(1);
}

/// Pixels of each level or a darker one.
#[kernel(scan = add)]
fn cumulate(id: Id, bins: &[u32]) -> u32 {
    bins[id.x]
}

/// Gives each pixel the share of pixels that are darker: every brightness becomes equally frequent.
#[kernel]
fn equalise(id: Id, level: &[u32], total: &[u32], y: &mut [f32]) {
    let darkest = total[0] as f32;
    let all = total[total.len() - 1] as f32;
    y[id.x] = (total[level[id.x] as usize] as f32 - darkest) / (all - darkest).max(1.0);
}

/// A photograph, its pixels packed as 0xRRGGBB.
pub(crate) struct Photo {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u32>,
}

/// What the stages give.
pub(crate) struct Stages {
    levels: Vec<u32>,
    blurred: [Vec<f32>; 3],
    edges: Vec<f32>,
    bins: Vec<u32>,
    totals: Vec<u32>,
    equalised: Vec<f32>,
}

impl Photo {
    pub(crate) fn open(path: &Path) -> anyhow::Result<Photo> {
        let image = image::open(path).with_context(|| path.display().to_string())?.to_rgb8();
        let pixels = image.pixels().map(|p| u32::from_be_bytes([0, p[0], p[1], p[2]])).collect();
        Ok(Photo { width: image.width() as usize, height: image.height() as usize, pixels })
    }
}

/// The weights of a Gaussian of this standard deviation, in pixels; together 1.
fn gaussian(deviation: f32) -> Vec<f32> {
    let radius = (3.0 * deviation).ceil() as i32;
    let bell = |x: i32| (-0.5 * (x as f32 / deviation).powi(2)).exp();
    let sum: f32 = (-radius..=radius).map(bell).sum();
    (-radius..=radius).map(|x| bell(x) / sum).collect()
}

/// The pipeline, each call where it is predicted to be fastest.
pub(crate) fn process(rt: &Placed, photo: &Photo) -> Result<Stages, Error> {
    let (w, h, n) = (photo.width, photo.height, photo.pixels.len());
    let rgb = rt.buffer_from(&photo.pixels)?;
    let [mut r, mut g, mut b] = [rt.alloc(n)?, rt.alloc(n)?, rt.alloc(n)?];
    let mut levels = rt.alloc(n)?;
    planes::on(rt).args(&rgb, &mut r, &mut g, &mut b, &mut levels).run()?;

    let weights = rt.buffer_from(&gaussian(3.0))?;
    let mut between = rt.alloc(n)?;
    for plane in [&mut r, &mut g, &mut b] {
        blur_rows::on(rt).args(w, h, &weights, plane, &mut between).run()?;
        blur_columns::on(rt).args(w, h, &weights, &between, plane).run()?;
    }

    let mut edges = rt.alloc(n)?;
    sobel::on(rt).args(w, h, &levels, &mut edges).run()?;

    let (mut bins, mut totals, mut equalised) = (rt.alloc(256)?, rt.alloc(256)?, rt.alloc(n)?);
    histogram::on(rt).args(&levels, &mut bins).run()?;
    cumulate::on(rt).args(&bins, &mut totals).run()?;
    equalise::on(rt).args(&levels, &totals, &mut equalised).run()?;

    Ok(Stages {
        levels: levels.to_vec()?,
        blurred: [r.to_vec()?, g.to_vec()?, b.to_vec()?],
        edges: edges.to_vec()?,
        bins: bins.to_vec()?,
        totals: totals.to_vec()?,
        equalised: equalised.to_vec()?,
    })
}

/// The same in plain Rust: a kernel is also the function that it is written as.
pub(crate) fn plain(photo: &Photo) -> Stages {
    let (w, h, n) = (photo.width, photo.height, photo.pixels.len());
    let ([mut r, mut g, mut b], mut levels) = ([(); 3].map(|()| vec![0.0; n]), vec![0; n]);
    for i in 0..n {
        planes(Id::at(i), &photo.pixels, &mut r, &mut g, &mut b, &mut levels);
    }
    let (weights, mut between) = (gaussian(3.0), vec![0.0; n]);
    for plane in [&mut r, &mut g, &mut b] {
        grid(w, h).for_each(|id| blur_rows(id, w, h, &weights, plane, &mut between));
        grid(w, h).for_each(|id| blur_columns(id, w, h, &weights, &between, plane));
    }
    let mut edges = vec![0.0; n];
    grid(w, h).for_each(|id| sobel(id, w, h, &levels, &mut edges));
    let counts: Vec<Atomic<u32>> = (0..256).map(|_| Atomic::<u32>::new(0)).collect();
    (0..n).for_each(|i| histogram(Id::at(i), &levels, &counts));
    let bins: Vec<u32> = counts.iter().map(Atomic::<u32>::load).collect();
    let sums = (0..256).scan(0, |sum, i| {
        *sum += cumulate(Id::at(i), &bins);
        Some(*sum)
    });
    let (totals, mut equalised) = (sums.collect::<Vec<u32>>(), vec![0.0; n]);
    (0..n).for_each(|i| equalise(Id::at(i), &levels, &totals, &mut equalised));
    Stages { levels, blurred: [r, g, b], edges, bins, totals, equalised }
}

/// Compares every stage: whole numbers exactly, the rest within rounding (values are up to 1, and a
/// device may fuse a multiplication with an addition). Gives the largest difference.
pub(crate) fn check(found: &Stages, expected: &Stages) -> anyhow::Result<f64> {
    compare("levels", &found.levels, &expected.levels, 0.0)?;
    compare("bins", &found.bins, &expected.bins, 0.0)?;
    compare("totals", &found.totals, &expected.totals, 0.0)?;
    let mut largest = compare("edges", &found.edges, &expected.edges, 1e-5)?;
    largest = largest.max(compare("equalised", &found.equalised, &expected.equalised, 1e-5)?);
    for (found, expected) in found.blurred.iter().zip(&expected.blurred) {
        largest = largest.max(compare("blurred", found, expected, 1e-5)?);
    }
    Ok(largest)
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse("target/photo", "photo.jpg")?;
    let photo = Photo::open(&options.input)?;
    let rt = Placed { runtime: Runtime::from_env()?, device: options.device };
    println!("{}", show_gpu(&rt));

    // The first pass meets kernels that nobody has compiled; the second shows the steady state.
    process(&rt, &photo)?;
    let before = rt.ledger().rows().len();
    let stages = process(&rt, &photo)?;
    let rows = rt.ledger().rows();
    println!("\nfirst pass\n{}\nsecond pass\n{}", Calls(&rows[..before]), Calls(&rows[before..]));
    for reason in Reason::ALL {
        let copied = rt.copied(reason);
        println!("{reason:?}: {} in {} copies", show_bytes(copied.bytes), copied.count);
    }

    let output = options.output;
    std::fs::create_dir_all(&output)?;
    let [r, g, b] = &stages.blurred;
    save_png(&output.join("blurred.png"), photo.width, &[r, g, b])?;
    save_png(&output.join("edges.png"), photo.width, &[&stages.edges])?;
    save_png(&output.join("equalised.png"), photo.width, &[&stages.equalised])?;
    println!("wrote blurred.png, edges.png and equalised.png to {}", output.display());

    let largest = check(&stages, &plain(&photo))?;
    println!("plain Rust gives the same, within {largest:.1e}");
    Ok(())
}
