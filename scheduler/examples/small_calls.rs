//! What a call costs beside its kernel: `cargo run --release -p crossover --example small_calls`, with
//! the names of ways to call as arguments, or all.
//!
//! Runs calls of 64 elements in rounds, the ways in turns, and prints the median round and the
//! fastest, in nanoseconds a call. On a machine with other work the fastest tells more.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its result is what it prints")]

use std::time::Instant;

use crossover::{Buffer, Device, Error, GpuUse, Id, Runtime, Settings, kernel};

const CALLS: u32 = 1000;
const ROUNDS: usize = 60;

#[kernel]
fn saxpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[id.x];
}

/// The loop's end is data: the kernel can be interrupted.
#[kernel]
fn halvings(id: Id, y: &mut [u32]) {
    let mut n = y[id.x];
    while n > 1 {
        n /= 2;
    }
    y[id.x] = n;
}

struct Bench {
    rt: Runtime,
    x: Buffer<f32>,
    ys: Vec<Buffer<f32>>,
    n: Buffer<u32>,
}

type Way = (&'static str, fn(&mut Bench) -> Result<(), Error>);

const WAYS: [Way; 6] = [
    ("run", |b| saxpy::on(&b.rt).args(2.0, &b.x, &mut b.ys[0]).run().map(|_| ())),
    ("run, other buffers at every call", |b| {
        b.ys.rotate_left(1);
        saxpy::on(&b.rt).args(2.0, &b.x, &mut b.ys[0]).run().map(|_| ())
    }),
    ("run on one thread of the CPU", |b| {
        let call = saxpy::on(&b.rt).args(2.0, &b.x, &mut b.ys[0]);
        call.device(Device::Cpu).threads(1).run().map(|_| ())
    }),
    ("run, interruptible", |b| halvings::on(&b.rt).args(&mut b.n).run().map(|_| ())),
    ("explain", |b| saxpy::on(&b.rt).args(2.0, &b.x, &mut b.ys[0]).explain().map(|_| ())),
    ("submit and wait", |b| {
        saxpy::on(&b.rt).args(2.0, &b.x, &mut b.ys[0]).submit().wait().map(|_| ())
    }),
];

fn main() -> Result<(), Error> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let ways: Vec<Way> = WAYS
        .into_iter()
        .filter(|(name, _)| asked.is_empty() || asked.iter().any(|asked| asked == name))
        .collect();
    for learn in [false, true] {
        let settings = Settings { gpu: GpuUse::Off, learn, ..Settings::default() };
        let rt = Runtime::builder().settings(settings).build()?;
        let ys = (0..8).map(|_| rt.buffer_from(&[1.0; 64])).collect::<Result<_, _>>()?;
        let (x, n) = (rt.buffer_from(&[1.0; 64])?, rt.buffer_from(&[1; 64])?);
        let mut bench = Bench { rt, x, ys, n };
        println!("learning {}", if learn { "on" } else { "off" });
        let mut times: Vec<Vec<u128>> = vec![Vec::new(); ways.len()];
        for _ in 0..ROUNDS {
            for ((_, call), times) in ways.iter().zip(&mut times) {
                let start = Instant::now();
                for _ in 0..CALLS {
                    call(&mut bench)?;
                }
                times.push(start.elapsed().as_nanos() / u128::from(CALLS));
            }
        }
        for ((name, _), times) in ways.iter().zip(&mut times) {
            times.sort_unstable();
            println!("  {name:<34} {:>7} ns, at best {:>7}", times[ROUNDS / 2], times[0]);
        }
    }
    Ok(())
}
