//! Every construct of the kernel language: the kernel in the interpreter against the same function
//! called as plain Rust.

#![allow(
    clippy::assign_op_pattern,
    clippy::needless_range_loop,
    clippy::needless_return,
    clippy::precedence,
    clippy::manual_clamp,
    reason = "the constructs that clippy would rewrite are what is tested"
)]

extern crate crossover_kernels as crossover;

mod common;

use common::Reference;
use crossover_kernels::error::{Cause, KernelError, RunError};
use crossover_kernels::ir::{Collective, CollectiveKind, CollectiveOp, Type};
use crossover_kernels::{Atomic, Float, Id, Int, Num, front, kernel};

#[kernel]
fn axpy(id: Id, a: f32, x: &[f32], y: &mut [f32]) {
    let i = id.x;
    y[i] = a * x[i] + y[i];
}

#[test]
fn a_call_does_what_the_function_does() {
    let x: Vec<f32> = (0..100).map(|i| i as f32 * 0.5).collect();
    let mut y: Vec<f32> = (0..100).map(|i| 100.0 - i as f32).collect();
    let mut native = y.clone();
    axpy::on(&Reference).args(2.0, &x, &mut y).run().expect("in range");
    for i in 0..100 {
        axpy(Id::at(i), 2.0, &x, &mut native);
    }
    assert_eq!(y, native);
}

#[test]
fn an_empty_grid_runs_nothing() {
    let mut y = Vec::new();
    axpy::on(&Reference).args(2.0, &vec![], &mut y).run().expect("nothing to do");
}

#[test]
fn an_index_out_of_range_names_everything() {
    let mut y = vec![0.0; 8];
    let error = axpy::on(&Reference).args(2.0, &vec![1.0; 5], &mut y).run();
    let Err(RunError::Failed(failure)) = error else { panic!("{error:?}") };
    assert_eq!(failure.invocation, [5, 0, 0]);
    let cause = Cause::OutOfBounds { buffer: "x".into(), index: 5, length: 5 };
    assert_eq!(failure.cause, cause);
    assert!(failure.location.ends_with("tests/language.rs:25:16"), "{}", failure.location);
    assert!(failure.to_string().contains("kernel `axpy`"));
}

#[kernel]
fn control(id: Id, n: u32, x: &[i32], y: &mut [i32]) {
    let i = id.x;
    let mut total = 0;
    for k in 0..n {
        if k == 3 {
            continue;
        }
        if x[i] > 50 && k > 5 {
            break;
        }
        total += x[i] * k as i32;
    }
    let mut left = x[i].abs() % 7;
    while left > 0 {
        total -= left;
        left -= 2;
    }
    loop {
        total += 1;
        if total % 3 == 0 || total > 1000 {
            break;
        }
    }
    for k in (0..=10u32).step_by(4) {
        total ^= k as i32;
    }
    if total < 0 {
        y[i] = -total;
        return;
    }
    let scaled = if total > 100 { total / 10 } else { total * 10 };
    y[i] = match scaled % 5 {
        0 => scaled,
        1 | 2 => scaled + 1,
        3..=4 if scaled > 20 => scaled - 1,
        _ => 0,
    };
}

#[test]
fn control_flow() {
    let x: Vec<i32> = (-60..90).collect();
    let mut y = vec![7; x.len()];
    let mut native = y.clone();
    control::on(&Reference).args(9, &x, &mut y).run().expect("in range");
    for i in 0..x.len() {
        control(Id::at(i), 9, &x, &mut native);
    }
    assert_eq!(y, native);
}

#[kernel]
fn inclusive(id: Id, low: &[i32], high: &[i32], y: &mut [i32]) {
    let i = id.x;
    let mut sum = 0i32;
    for k in low[i]..=high[i] {
        if k == 3 {
            continue;
        }
        sum = sum.wrapping_mul(31).wrapping_add(k) % 1_000_003;
    }
    for k in (low[i]..=high[i]).step_by(3) {
        sum = sum.wrapping_mul(7).wrapping_add(k % 100) % 1_000_003;
    }
    y[i] = sum;
}

#[test]
fn inclusive_ranges_reach_the_largest_value() {
    let low = vec![0, 5, i32::MAX - 3, i32::MIN, i32::MAX, -2, 1];
    let high = vec![9, 4, i32::MAX, i32::MIN + 2, i32::MAX, 6, 1];
    let mut y = vec![0; low.len()];
    let mut native = y.clone();
    inclusive::on(&Reference).args(&low, &high, &mut y).run().expect("in range");
    (0..low.len()).for_each(|i| inclusive(Id::at(i), &low, &high, &mut native));
    assert_eq!(y, native);
}

/// Ranges of all numbers of their type, left early: from below, and in the last passage but two.
#[kernel]
fn whole(id: Id, low: &[u32], high: &[u32], least: i32, y: &mut [u32]) {
    let i = id.x;
    let mut sum = 1u32;
    for k in low[i]..=high[i] {
        if sum > 1000 {
            break;
        }
        if k % 3 == 1 {
            continue;
        }
        sum = sum.wrapping_mul(3).wrapping_add(k);
    }
    for k in least..=i32::MAX {
        if k > least + 9 {
            break;
        }
        sum = sum.wrapping_add(k as u32);
    }
    for k in 0..=u64::MAX {
        sum = sum.wrapping_add(k as u32);
        if k == 5 {
            break;
        }
    }
    for _ in 0..2 {
        for k in 0..=high[i] {
            sum = sum.wrapping_add(k);
            if k >= 3 {
                break;
            }
        }
    }
    y[i] = sum;
}

#[test]
fn inclusive_ranges_hold_every_number_of_their_type() {
    let low = vec![0, 0, 1, u32::MAX, u32::MAX, 1, 7, 0];
    let high = vec![u32::MAX, 4, u32::MAX, u32::MAX, 0, 0, 6, 0];
    let mut y = vec![0; low.len()];
    let mut native = y.clone();
    whole::on(&Reference).args(&low, &high, i32::MIN, &mut y).run().expect("in range");
    (0..low.len()).for_each(|i| whole(Id::at(i), &low, &high, i32::MIN, &mut native));
    assert_eq!(y, native);
}

#[kernel]
fn square_plus<T: Num>(v: T, w: T) -> T {
    if v < w {
        return v * v;
    }
    let mut s = w;
    s += T::lit(2.0);
    s * v
}

#[kernel]
fn pick(x: &[f64], at: usize) -> f64 {
    for k in 0..x.len() {
        if k == at {
            return x[k];
        }
    }
    -1.0
}

#[kernel]
fn generic<T: Num>(id: Id, w: T, x: &[T], y: &mut [T]) {
    let i = id.x;
    y[i] = square_plus(x[i], w) - square_plus(w, x[i]);
}

#[kernel]
fn picked(id: Id, x: &[f64], y: &mut [f64]) {
    y[id.x] = pick(x, id.x) + pick(x, 1000);
}

#[test]
fn helpers_and_generics() {
    fn check<T: Num + std::fmt::Debug>(values: &[f64]) {
        let x: Vec<T> = values.iter().map(|&v| T::lit(v)).collect();
        let mut y = vec![T::default(); x.len()];
        let mut native = y.clone();
        generic::on(&Reference).args(T::lit(3.0), &x, &mut y).run().expect("in range");
        for i in 0..x.len() {
            generic(Id::at(i), T::lit(3.0), &x, &mut native);
        }
        assert!(y == native, "{y:?} {native:?}");
    }
    check::<f32>(&[0.5, 1.5, 3.25, 9.0]);
    check::<f64>(&[0.5, 1.5, 3.25, 9.0]);
    check::<i32>(&[-4.0, 0.0, 7.0]);
    check::<i64>(&[-4.0, 0.0, 7.0]);
    check::<u32>(&[5.0, 7.0]);
    check::<u64>(&[5.0, 7.0]);
    let x = vec![1.5, 2.5, 3.5];
    let mut y = vec![0.0; 3];
    picked::on(&Reference).args(&x, &mut y).run().expect("in range");
    assert_eq!(y, [0.5, 1.5, 2.5]);
}

#[kernel]
fn arrays(id: Id, x: &[f32], y: &mut [f32]) {
    const N: usize = 4;
    let mut window = [0.0f32; N];
    let weights = [0.1, 0.2, 0.3, 0.4];
    for k in 0..N {
        let at = id.x + k;
        window[k] = if at < x.len() { x[at] } else { 0.0 };
    }
    window[0] += 1.0;
    let mut sum = 0.0;
    for k in 0..window.len() {
        sum += window[k] * weights[k];
    }
    y[id.x] = sum;
}

#[test]
fn fixed_arrays() {
    let x: Vec<f32> = (0..20).map(|i| (i * i) as f32).collect();
    let mut y = vec![0.0; 20];
    let mut native = y.clone();
    arrays::on(&Reference).args(&x, &mut y).run().expect("in range");
    for i in 0..20 {
        arrays(Id::at(i), &x, &mut native);
    }
    assert_eq!(y, native);
}

#[kernel(grid = (w, h))]
fn transpose(id: Id, w: usize, h: usize, x: &[u32], y: &mut [u32]) {
    y[id.x * h + id.y] = x[id.y * w + id.x];
}

#[kernel(grid = (w, 3, x.len()))]
fn three_axes(id: Id, w: u32, x: &[u32], y: &mut [u32]) {
    let at = (id.z * 3 + id.y) * w as usize + id.x;
    y[at] = x[id.z] * 100 + id.y as u32 * 10 + id.x as u32;
}

#[test]
fn grids_of_two_and_three_axes() {
    let x: Vec<u32> = (0..12).collect();
    let mut y = vec![0; 12];
    transpose::on(&Reference).args(4, 3, &x, &mut y).run().expect("in range");
    assert_eq!(y, [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]);
    let mut y = vec![0; 12];
    three_axes::on(&Reference).args(2, &vec![5, 6], &mut y).run().expect("in range");
    assert_eq!(y, [500, 501, 510, 511, 520, 521, 600, 601, 610, 611, 620, 621]);
}

#[kernel]
fn histogram(id: Id, x: &[u32], bins: &[Atomic<u32>]) {
    let bin = x[id.x] as usize % bins.len();
    bins[bin].fetch_add(1);
}

#[test]
fn atomics() {
    let x: Vec<u32> = (0..1000).map(|i| i * 7 % 13).collect();
    let mut bins = vec![0u32; 13];
    histogram::on(&Reference).args(&x, &mut bins).run().expect("in range");
    let native: Vec<Atomic<u32>> = (0..13).map(Atomic::<u32>::new).collect();
    native.iter().for_each(|a| a.store(0));
    for i in 0..x.len() {
        histogram(Id::at(i), &x, &native);
    }
    assert_eq!(bins, native.iter().map(Atomic::<u32>::load).collect::<Vec<_>>());
    assert_eq!(bins.iter().sum::<u32>(), 1000);
}

#[kernel(reduce = add)]
fn dot(id: Id, x: &[f32], y: &[f32]) -> f32 {
    x[id.x] * y[id.x]
}

#[kernel(reduce = max)]
fn longest_run(id: Id, x: &[u32]) -> u32 {
    let i = id.x;
    if i > 0 && x[i - 1] == x[i] {
        return 0;
    }
    let mut length = 1;
    while i + length < x.len() && x[i + length] == x[i] {
        length += 1;
    }
    length as u32
}

#[kernel(scan = add)]
fn prefix_sum<T: Num>(id: Id, x: &[T]) -> T {
    x[id.x]
}

#[test]
fn collectives() {
    let x = vec![1.0, 2.0, 3.0];
    let mut out = vec![0.0];
    dot::on(&Reference).args(&x, &x, &mut out).run().expect("in range");
    assert_eq!(out, [14.0]);
    let mut out = vec![0];
    let runs = vec![1, 1, 2, 2, 2, 1, 3, 3];
    longest_run::on(&Reference).args(&runs, &mut out).run().expect("in range");
    assert_eq!(out, [3]);
    let mut out = vec![0i64; 4];
    prefix_sum::on(&Reference).args(&vec![5, -2, 9, 1], &mut out).run().expect("in range");
    assert_eq!(out, [5, 3, 12, 13]);
    let kernel = front::kernel(prefix_sum::DEF, &[Type::I64], &[]).expect("typed");
    let scan = Collective { kind: CollectiveKind::Scan, op: CollectiveOp::Add };
    assert_eq!(kernel.collective, Some(scan));
}

#[kernel]
fn methods<T: Float>(id: Id, x: &[T], y: &mut [T]) {
    let v = x[id.x];
    let mut r = v.abs().sqrt() + v.floor() * v.ceil() - v.trunc();
    r += v.min(T::lit(0.5)).max(T::lit(-0.5)) + v.powi(3) + v.round();
    r += v.mul_add(T::lit(2.0), T::lit(1.0)) + T::lit(1.0).copysign(v) + v.powi(-2);
    r += v.atan() * v.atan2(T::lit(-2.0)) + v.erf() + (v.abs() + T::lit(0.5)).rsqrt();
    let sine = v.sin();
    r += sine.asin() - sine.acos();
    y[id.x] = r + v.exp() * sine - v.cos() + v.tanh() + (v.abs() + T::lit(1.0)).ln();
}

/// On a concrete float, `rsqrt` and `erf` are the trait's, the others the standard library's.
#[kernel]
fn concrete_methods(id: Id, x: &[f32], y: &mut [f32]) {
    let v = x[id.x];
    y[id.x] = Float::erf(v)
        + (v * v + 1.0).rsqrt() * f32::rsqrt(2.0)
        + v.atan2(0.5)
        + f32::asin(0.25)
        + v.cos().acos();
}

#[kernel]
fn bits<T: Int>(id: Id, x: &[T], y: &mut [T]) {
    let v = x[id.x];
    y[id.x] = (v << 3) ^ (v >> 1) | (v & T::lit(12.0)) + v % T::lit(7.0);
}

#[kernel]
fn bit_methods(id: Id, x: &[u32], y: &mut [u32]) {
    let v = x[id.x];
    let w = v.rotate_left(5).wrapping_mul(2654435761) ^ v.rotate_right(7);
    y[id.x] = w.count_ones()
        + v.leading_zeros() * 3
        + v.trailing_zeros()
        + w.min(9).max(2)
        + v.pow(2) % 5
        + f32::from_bits(v).to_bits()
        + (v as f32).to_bits()
        + w.clamp(3, 8)
        + i32::MAX as u32 / 2;
}

#[test]
fn numeric_methods() {
    fn check<T: Float + std::fmt::Debug>() {
        let x: Vec<T> = [-7.5, -1.5, -0.5, 0.25, 0.5, 1.0, 2.5, 3.75].map(T::lit).to_vec();
        let mut y = vec![T::default(); x.len()];
        let mut native = y.clone();
        methods::on(&Reference).args(&x, &mut y).run().expect("in range");
        for i in 0..x.len() {
            methods(Id::at(i), &x, &mut native);
            let size = native[i].abs().max(T::lit(1.0));
            assert!((y[i] - native[i]).abs() < size * T::lit(1e-5), "{:?} {:?}", y[i], native[i]);
        }
    }
    check::<f32>();
    check::<f64>();
    let x: Vec<f32> = (-40..40).map(|i| i as f32 / 8.0).collect();
    let (mut y, mut native) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    concrete_methods::on(&Reference).args(&x, &mut y).run().expect("in range");
    (0..x.len()).for_each(|i| concrete_methods(Id::at(i), &x, &mut native));
    assert!(y.iter().zip(&native).all(|(y, native)| (y - native).abs() < 1e-6));
    let x: Vec<i64> = (-20..20).collect();
    let mut y = vec![0; x.len()];
    let mut native = y.clone();
    bits::on(&Reference).args(&x, &mut y).run().expect("in range");
    (0..x.len()).for_each(|i| bits(Id::at(i), &x, &mut native));
    assert_eq!(y, native);
    let x: Vec<u32> = (0..200).map(|i| i * i).collect();
    let mut y = vec![0; x.len()];
    let mut native = y.clone();
    bit_methods::on(&Reference).args(&x, &mut y).run().expect("in range");
    (0..x.len()).for_each(|i| bit_methods(Id::at(i), &x, &mut native));
    assert_eq!(y, native);
}

#[kernel]
fn sized<const N: usize>(id: Id, x: &[u32], y: &mut [u32]) {
    let mut sum = 0;
    for k in 0..N {
        sum += x[(id.x + k) % x.len()];
    }
    y[id.x] = sum;
}

#[test]
fn const_parameters() {
    let x = vec![1, 2, 3, 4];
    let mut y = vec![0; 4];
    sized::on(&Reference).args::<3>(&x, &mut y).run().expect("in range");
    assert_eq!(y, [6, 9, 8, 7]);
}

#[kernel]
fn divides(id: Id, x: &[i32], y: &mut [i32]) {
    y[id.x] = 100 / x[id.x];
}

#[test]
fn a_zero_divisor_is_an_error() {
    let mut y = vec![0; 3];
    let error = divides::on(&Reference).args(&vec![5, 0, 2], &mut y).run();
    let Err(RunError::Failed(failure)) = error else { panic!("{error:?}") };
    assert_eq!((failure.invocation, failure.cause), ([1, 0, 0], Cause::ZeroDivisor));
    assert_eq!(y, [20, 0, 0]);
}

#[kernel]
fn mutable_parameter(id: Id, mut n: u32, y: &mut [u32]) {
    n += id.x as u32;
    n *= 2;
    y[id.x] = n;
}

#[test]
fn scalars_bound_mut_start_afresh() {
    let mut y = vec![0; 3];
    mutable_parameter::on(&Reference).args(5, &mut y).run().expect("in range");
    assert_eq!(y, [10, 12, 14]);
}

#[test]
fn a_truncated_definition_is_an_error() {
    let def = crossover_kernels::Def { tree: &axpy::DEF.tree[..20], ..*axpy::DEF };
    assert_eq!(front::kernel(&def, &[], &[]), Err(KernelError::Blob { kernel: "axpy".into() }));
}

#[kernel(workgroup = 64, grid = x.len())]
fn group_sums(id: Id, x: &[f32], sums: &mut [f32]) {
    let tile = id.shared::<f32, 64>();
    let at = id.local.x;
    tile[at].set(if id.x < x.len() { x[id.x] } else { 0.0 });
    id.barrier();
    let mut half = tile.len() / 2;
    while half > 0 {
        if at < half {
            tile[at].set(tile[at].get() + tile[at + half].get());
        }
        id.barrier();
        half /= 2;
    }
    if at == 0 {
        sums[id.group.x] = tile[0].get();
    }
}

#[test]
fn a_workgroup_sums_what_its_invocations_load() {
    let x: Vec<f32> = (0..200).map(|i| i as f32).collect();
    let mut sums = vec![-1.0; 4];
    group_sums::on(&Reference).args(&x, &mut sums).run().expect("in range");
    let expected: Vec<f32> = x.chunks(64).map(|part| part.iter().sum()).collect();
    assert_eq!(sums, expected);
}

#[kernel(workgroup = (N, 2), grid = (w, h))]
fn counted<const N: usize>(id: Id, w: usize, h: usize, x: &[u32], y: &mut [u32]) {
    const ROWS: usize = 2;
    let counts = id.shared::<Atomic<u32>, ROWS>();
    let columns = id.shared::<u32, N>();
    let inside = id.x < w && id.y < h;
    if inside {
        counts[id.local.y].fetch_add(x[id.y * w + id.x]);
    }
    if id.local.y == 0 {
        columns[id.local.x].set(id.group.x as u32 * 1000);
    }
    id.barrier();
    if inside {
        let other = counts[1 - id.local.y].load();
        y[id.y * w + id.x] = other + columns[N - 1 - id.local.x].get();
    }
}

#[test]
fn workgroups_have_two_axes_atomics_and_const_sizes() {
    let (w, h) = (7, 3);
    let x: Vec<u32> = (0..w * h).map(|i| i as u32).collect();
    let mut y = vec![0; w * h];
    counted::on(&Reference).args::<4>(w, h, &x, &mut y).run().expect("in range");
    for row in 0..h {
        for column in 0..w {
            let group = column / 4;
            let other = row ^ 1;
            let columns = group * 4..(group * 4 + 4).min(w);
            let sum: u32 = if other < h { columns.map(|c| x[other * w + c]).sum() } else { 0 };
            assert_eq!(y[row * w + column], sum + group as u32 * 1000, "{row} {column}");
        }
    }
}

#[kernel(workgroup = 8)]
fn parted(id: Id, y: &mut [u32]) {
    if id.local.x < 4 {
        id.barrier();
    }
    y[id.x] = 1;
}

#[kernel]
fn alone(id: Id, y: &mut [u32]) {
    id.barrier();
    y[id.x] = id.local.x as u32;
}

#[test]
fn barriers_that_not_all_reach_and_groups_that_are_not_there_are_refused() {
    let complaint = |def| match front::kernel(def, &[], &[]) {
        Err(KernelError::Source { diagnostics, .. }) => {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }
        other => panic!("{other:?}"),
    };
    let text = complaint(parted::DEF);
    assert!(text.contains("language.rs") && text.contains("not all invocations"), "{text}");
    let text = complaint(alone::DEF);
    assert_eq!(text.matches("this kernel has no workgroups").count(), 2, "{text}");
}

/// Called as plain Rust, an invocation is a group of its own.
#[test]
fn a_group_of_one_is_plain_rust() {
    let mut sums = [0.0; 3];
    group_sums(Id::at(2), &[1.0, 2.0, 4.0], &mut sums);
    assert_eq!(sums, [0.0, 0.0, 4.0]);
}

// Helpers that call themselves as the last thing they do.

#[kernel]
fn gcd<T: Int>(a: T, b: T) -> T {
    if b == T::lit(0.0) {
        return a;
    }
    gcd(b, a % b)
}

/// The first place at or behind `from` with a number below `limit`; the end, if there is none.
#[kernel]
fn first_below(x: &[i32], from: usize, limit: i32) -> usize {
    for k in 0..3 {
        let at = from + k;
        if at >= x.len() || x[at] < limit {
            return at;
        }
        if x[at] > 1000 {
            // From inside a loop, and with one more parameter changed.
            return first_below(x, at + 1, limit + 1);
        }
    }
    first_below(x, from + 3, limit)
}

/// Halves a number until it is small, in so many steps at most.
#[kernel]
fn settle(x: &mut [i32], at: usize, left: u32) {
    // Zero at every call, though not at the end of one.
    let mut seen = 0;
    if left == 0 {
        return;
    }
    let n = x[at];
    match n {
        -4..=4 => {}
        _ if n % 2 == 0 => {
            x[at] = n / 2;
            settle(x, at, left - 1);
            return;
        }
        _ => {
            for k in 0..left {
                seen += k as i32;
            }
            x[at] = (n - 1) / 2 + seen;
            settle(x, at, left - 1)
        }
    }
}

#[kernel]
fn recursive<T: Int>(id: Id, a: &[T], b: &[T], x: &[i32], out: &mut [T], found: &mut [i32]) {
    let i = id.x;
    out[i] = gcd(a[i], b[i]);
    found[i] = first_below(x, i, -5) as i32 * 1000;
    settle(found, i, 5 + id.x as u32 % 7);
}

#[test]
fn helpers_may_call_themselves_last() {
    fn check<T: Int + PartialEq + std::fmt::Debug>(number: impl Fn(i32) -> T) {
        let n = 97;
        let a: Vec<T> = (0..n).map(|i| number(i * 6)).collect();
        let b: Vec<T> = (0..n).map(|i| number((i * 35) % 60)).collect();
        let x: Vec<i32> = (0..n).map(|i| (i * 7919) % 1100 - (i % 23)).collect();
        let (mut out, mut found) = (vec![number(77); n as usize], vec![77; n as usize]);
        recursive::on(&Reference).args(&a, &b, &x, &mut out, &mut found).run().expect("in range");
        let (mut native, mut native_found) = (vec![number(77); n as usize], vec![77; n as usize]);
        for i in 0..n as usize {
            recursive(Id::at(i), &a, &b, &x, &mut native, &mut native_found);
        }
        assert_eq!((out, found), (native, native_found));
    }
    check(|i| i);
    check(|i| i as u32);
    check(i64::from);
}

const COUNTS_DOWN: u32 = line!();
#[kernel]
fn counts_down(x: &[f32], n: usize) -> f32 {
    if n == 0 { x[0] } else { counts_down(x, n - 1) }
}

#[kernel]
fn deep(id: Id, x: &[f32], y: &mut [f32]) {
    y[id.x] = counts_down(x, 3_000_000 + id.x);
}

#[test]
fn however_often_it_is_no_stack_is_needed() {
    let mut y = vec![0.0; 2];
    deep::on(&Reference).args(&vec![2.5], &mut y).run().expect("a loop");
    assert_eq!(y, [2.5, 2.5]);
}

#[test]
fn what_calls_itself_is_priced_as_a_loop() {
    let kernel = front::kernel(deep::DEF, &[], &[]).expect("typed");
    let found = crossover_kernels::analysis::profile(&kernel, &|_| None, &|_| None);
    assert_eq!((found.loops, found.unknown_loops), (1, 1));
}

#[test]
fn a_failure_in_a_later_round_names_its_line() {
    let mut y = vec![0.0; 1];
    let error = deep::on(&Reference).args(&vec![], &mut y).run();
    let Err(RunError::Failed(failure)) = error else { panic!("{error:?}") };
    assert_eq!(failure.cause, Cause::OutOfBounds { buffer: "x".into(), index: 0, length: 0 });
    let line = format!("tests/language.rs:{}:17", COUNTS_DOWN + 3);
    assert!(failure.location.ends_with(&line), "{}", failure.location);
}

#[kernel]
fn add_to(sums: &[Atomic<u32>], at: usize, v: f32) {
    let mut held = sums[at].load();
    loop {
        let sum = f32::from_bits(held) + v;
        let found = sums[at].compare_and_swap(held, sum.to_bits());
        if found == held {
            break;
        }
        held = found;
    }
}

#[kernel]
fn float_histogram(id: Id, x: &[f32], sums: &[Atomic<u32>]) {
    add_to(sums, id.x % sums.len(), x[id.x]);
}

#[test]
fn floats_are_summed_by_compare_and_swap() {
    let x: Vec<f32> = (0..100).map(|i| (i % 13) as f32).collect();
    let mut sums = vec![0u32; 7];
    float_histogram::on(&Reference).args(&x, &mut sums).run().expect("in range");
    let native: Vec<Atomic<u32>> = (0..7).map(|_| Atomic::<u32>::new(0)).collect();
    for i in 0..x.len() {
        float_histogram(Id::at(i), &x, &native);
    }
    assert_eq!(sums, native.iter().map(Atomic::<u32>::load).collect::<Vec<_>>());
    assert!(sums.iter().all(|bits| f32::from_bits(*bits) > 10.0));
}
