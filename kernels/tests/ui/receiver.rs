extern crate crossover_kernels as crossover;

use crossover::{Id, kernel};

struct Scene;

impl Scene {
    #[kernel]
    fn f(&self, id: Id, y: &mut [f32]) {
        y[id.x] = 1.0;
    }
}

fn main() {}
