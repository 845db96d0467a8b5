//! The examples' pipelines on parts of their pictures: on the CPU, on the GPU, and placed call by
//! call, each compared with plain Rust.

#![forbid(unsafe_code)]

#[path = "../photo.rs"]
#[expect(dead_code, reason = "a test uses what `main` calls, not `main`")]
mod photo;
#[path = "../terrain.rs"]
#[expect(dead_code, reason = "a test uses what `main` calls, not `main`")]
mod terrain;

use crossover::{Device, Runtime, Why};
use crossover_examples::{Placed, data};
use photo::Photo;
use terrain::Land;

/// A part of a picture: odd sizes, so that no row fills whole vectors.
const PART: [usize; 2] = [125, 83];

fn part<T: Copy>(elements: &[T], width: usize, corner: [usize; 2]) -> Vec<T> {
    let rows = elements.chunks(width).skip(corner[1]).take(PART[1]);
    rows.flat_map(|row| &row[corner[0]..][..PART[0]]).copied().collect()
}

fn face() -> Photo {
    let photo = Photo::open(&data("photo.jpg")).expect("the photograph is in the repository");
    let pixels = part(&photo.pixels, photo.width, [170, 140]);
    Photo { width: PART[0], height: PART[1], pixels }
}

fn valley() -> Land {
    let land = Land::open(&data("elevation.png")).expect("the heights are in the repository");
    let z = part(&land.z, land.width, [150, 120]);
    Land { width: PART[0], height: PART[1], z }
}

fn placed(device: Option<Device>) -> Placed {
    Placed { runtime: Runtime::new().expect("a runtime starts without a GPU"), device }
}

/// A runtime that sends every call to the GPU. Where there is none, the test is skipped, or fails
/// under `CROSSOVER_GPU=require`.
fn on_gpu() -> Option<Placed> {
    let rt = placed(Some(Device::Gpu));
    if let Some(why) = rt.why_no_gpu() {
        let required = std::env::var("CROSSOVER_GPU").is_ok_and(|v| v == "require");
        assert!(!required, "a GPU is required: {why}");
        eprintln!("skipped: {why}");
        return None;
    }
    Some(rt)
}

#[track_caller]
fn ran_on(rt: &Placed, device: Device) {
    let rows = rt.ledger().rows();
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!((row.chosen, &row.why), (device, &Why::Forced), "{}", row.kernel);
    }
}

fn check_photo(rt: &Placed) {
    let photo = face();
    let stages = photo::process(rt, &photo).expect("the pipeline runs");
    photo::check(&stages, &photo::plain(&photo)).expect("plain Rust agrees");
}

fn check_terrain(rt: &Placed) {
    let land = valley();
    let tokio = tokio::runtime::Builder::new_current_thread().build().expect("an executor");
    let stages = tokio.block_on(terrain::process(rt, &land)).expect("the pipeline runs");
    terrain::check(&stages, &terrain::plain(&land)).expect("plain Rust agrees");
}

#[test]
fn photo_on_the_cpu() {
    let rt = placed(Some(Device::Cpu));
    check_photo(&rt);
    ran_on(&rt, Device::Cpu);
}

#[test]
fn photo_on_the_gpu() {
    let Some(rt) = on_gpu() else { return };
    check_photo(&rt);
    ran_on(&rt, Device::Gpu);
}

#[test]
fn photo_placed_by_prediction() {
    let rt = placed(None);
    (0..3).for_each(|_| check_photo(&rt));
}

#[test]
fn terrain_on_the_cpu() {
    let rt = placed(Some(Device::Cpu));
    check_terrain(&rt);
    ran_on(&rt, Device::Cpu);
}

#[test]
fn terrain_on_the_gpu() {
    let Some(rt) = on_gpu() else { return };
    check_terrain(&rt);
    ran_on(&rt, Device::Gpu);
}

#[test]
fn terrain_placed_by_prediction() {
    let rt = placed(None);
    check_terrain(&rt);
}
