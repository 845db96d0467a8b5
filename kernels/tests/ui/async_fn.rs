extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

#[kernel]
async fn f(id: Id, y: &mut [f32]) {
    y[id.x] = later().await;
}

async fn later() -> f32 {
    1.0
}

fn main() {}
