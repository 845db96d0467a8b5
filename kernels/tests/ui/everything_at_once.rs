extern crate crossover_kernels as crossover;

use crossover::{Atomic, Id, kernel};

#[kernel(reduce = avg, tiles = 4)]
async fn f<'a, T, const N: u32>(
    x: &'a [bool],
    id: Id,
    a: i8,
    total: &mut f32,
    bins: &[Atomic<u32>],
    y: &mut [f32],
) -> (f32, f32) {
    let half = |v: f32| v * 0.5;
    let mut sum = 0.0;
    for v in x.iter() {
        println!("{v}");
    }
    'rows: loop {
        if let 3 = id.x {
            break 'rows;
        }
        sum += unsafe { half(*y.get_unchecked(id.x)) };
    }
    let text = "text";
    let pair = (sum, vec![0.0; 4]);
    y[id.x] = match id.x {
        0 => pair.0,
        n => n as f32,
    };
    bins[0].fetch_add(pair.1[0] as u32);
    *total = y.iter().sum::<f32>() + text.len() as f32 + a as f32;
    (sum, 1.0)
}

fn main() {}
