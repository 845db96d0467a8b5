//! Which calls can be cut.

extern crate crossover_kernels as crossover;

use std::sync::Arc;

use crossover_kernels::analysis::{Cut, Uncut, cut};
use crossover_kernels::exec::{Arg, Grid, Part};
use crossover_kernels::{Def, Id, front, kernel, passes};
use crossover_memory::Slot;

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    y[id.x] += a * x[x.len() - 1 - id.x];
}

#[kernel]
fn in_place(id: Id, y: &mut [f32]) {
    y[id.x] = if id.x > 0 { y[id.x - 1] } else { 0.0 };
}

#[kernel(grid = n)]
fn pairs(id: Id, n: usize, y: &mut [f32]) {
    let re = y[2 * id.x];
    let im = y[2 * id.x + 1];
    y[2 * id.x] = re * re - im * im;
    y[2 * id.x + 1] = 2.0 * re * im / n as f32;
}

#[kernel(grid = n)]
fn overlapping(id: Id, n: usize, y: &mut [f32]) {
    y[2 * id.x] = y[2 * id.x + 2] / n as f32;
}

#[kernel(grid = (w, h))]
fn rows(id: Id, w: usize, h: usize, y: &mut [f32]) {
    y[id.y * w + id.x] += h as f32;
}

#[kernel(reduce = add)]
fn total(id: Id, x: &[f32]) -> f32 {
    x[id.x]
}

#[kernel(workgroup = 8, grid = n)]
fn in_groups(id: Id, n: usize, y: &mut [f32]) {
    y[id.x] = n as f32;
}

fn of(def: &'static Def, scalars: &[u32], buffers: usize, grid: Grid) -> Result<Cut, Uncut> {
    let kernel = passes::optimize(&front::kernel(def, &[], &[]).expect("typed"));
    let slot = || Arc::new(Slot::zeroed(4096).expect("memory"));
    let scalars = scalars.iter().map(|&n| Arg::Scalar(n.into()));
    let buffers = (0..buffers).map(|_| Arg::Buffer { slot: slot().into(), len: 1024 });
    cut(&kernel, &scalars.chain(buffers).collect::<Vec<_>>(), grid)
}

#[test]
fn parts_that_see_nothing_of_each_other_are_cut() {
    let along = |axis, step| Ok(Cut { axis, step });
    assert_eq!(of(axpy::DEF, &[1], 2, [100, 1, 1]), along(0, 1));
    assert_eq!(of(pairs::DEF, &[100], 1, [100, 1, 1]), along(0, 1));
    assert_eq!(of(rows::DEF, &[8, 16], 1, [8, 16, 1]), along(1, 1));
    assert_eq!(of(in_groups::DEF, &[100], 1, [100, 1, 1]), along(0, 8));
    assert_eq!(of(in_groups::DEF, &[8], 1, [8, 1, 1]), Err(Uncut::Small));
    assert_eq!(of(rows::DEF, &[4, 16], 1, [8, 16, 1]), Err(Uncut::Shared("y".into())));
    assert_eq!(of(in_place::DEF, &[], 1, [100, 1, 1]), Err(Uncut::Shared("y".into())));
    assert_eq!(of(overlapping::DEF, &[100], 1, [100, 1, 1]), Err(Uncut::Shared("y".into())));
    assert_eq!(of(total::DEF, &[], 2, [100, 1, 1]), Err(Uncut::Collective));
}

#[test]
fn parts_lie_along_the_outermost_axis() {
    let (part, grid) = (Part { from: 2, to: 5 }, [7, 8, 1]);
    assert_eq!((part.start(grid), part.extent(grid)), ([0, 2, 0], [7, 3, 1]));
    assert_eq!(part.share(grid), 3.0 / 8.0);
    assert_eq!(Part::all([7, 1, 1]), Part { from: 0, to: 7 });
    assert_eq!(Part::all([0, 8, 1]), Part { from: 0, to: 8 });
}
