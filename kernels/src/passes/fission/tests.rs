//! Kernels in pieces give what they give whole.

use super::fission;
use crate::interp::{self, Data};
use crate::ir::text::parse;
use crate::ir::{Kernel, Stmt};
use crate::verify::verify;

/// Runs the kernel whole and in pieces, and gives what both leave in the last buffer.
fn both(text: &str, grid: [u32; 3], args: &[Data]) -> Data {
    let kernel = parse(text).expect("the text is a kernel");
    let pieces = fission(&kernel);
    verify(&pieces).unwrap_or_else(|error| panic!("{error}\n{pieces}"));
    pieces.entry.walk(&mut |stmt| assert!(!matches!(stmt, Stmt::Barrier(_)), "{pieces}"));
    let run = |kernel: &Kernel| {
        let mut args = args.to_vec();
        let end = interp::run(kernel, &mut args, grid, None);
        (end, args)
    };
    let (whole, cut) = (run(&kernel), run(&pieces));
    assert_eq!(whole, cut, "\n{kernel}\n{pieces}");
    assert_eq!(whole.0, Ok(()));
    whole.1.last().expect("an output").clone()
}

fn numbers(n: u32) -> Data {
    Data::Narrow((0..n).map(|i| i * 7 + 3).collect())
}

/// A head with `%0 = local.x`, `%1 = id.x`, `%2 = group.x` and the constants 0 to 3 in `%3` to `%6`.
fn kernel(shared: &str, size: u32, locals: &str, body: &str) -> String {
    format!(
        "kernel \"k\"(n: u32, x: [u32], y: mut [u32]{shared}) grid (n) workgroup ({size}, 1, 1) {{\n\
         {locals}%0: u32 = local.x\n%1: u32 = id.x\n%2: u32 = group.x\n%3: u32 = const 0\n\
         %4: u32 = const 1\n%5: u32 = const 2\n%6: u32 = const 3\n{body}\n}}"
    )
}

fn arguments(n: u32) -> Vec<Data> {
    vec![Data::Scalar(n.into()), numbers(n), Data::Narrow(vec![9; n as usize])]
}

#[test]
fn a_value_from_before_a_barrier_is_there_after_it() {
    let text = kernel(
        ", t: shared [u32; 8]",
        8,
        "",
        "%7: u32 = load x %1\n%8: u32 = mul %7 %6\nstore t %0 %8\nbarrier\n\
         %9: u32 = const 7\n%10: u32 = sub %9 %0\n%11: u32 = load t %10\n\
         %12: u32 = add %11 %8\nstore y %1 %12",
    );
    let found = both(&text, [24, 1, 1], &arguments(24));
    let x = |i: u32| (i * 7 + 3) * 3;
    let expected = (0..24).map(|i| x(i) + x(i / 8 * 8 + 7 - i % 8)).collect();
    assert_eq!(found, Data::Narrow(expected));
}

#[test]
fn a_tree_of_sums_walks_through_its_loop_together() {
    let text = kernel(
        ", t: shared [u32; 16]",
        16,
        "$0: u32\n",
        "%7: u32 = load x %1\nstore t %0 %7\nbarrier\n%8: u32 = const 8\nset $0 %8\nloop {\n\
         %9: u32 = get $0\n%10: bool = eq %9 %3\nif %10 {\nbreak\n}\n%11: bool = lt %0 %9\n\
         if %11 {\n%12: u32 = add %0 %9\n%13: u32 = load t %12\n%14: u32 = load t %0\n\
         %15: u32 = add %13 %14\nstore t %0 %15\n}\nbarrier\n%16: u32 = shr %9 %4\nset $0 %16\n}\n\
         %17: bool = eq %0 %3\nif %17 {\n%18: u32 = load t %3\nstore y %1 %18\n}",
    );
    let Data::Narrow(found) = both(&text, [48, 1, 1], &arguments(48)) else { panic!("narrow") };
    for group in 0..3 {
        let sum: u32 = (group * 16..group * 16 + 16).map(|i| i * 7 + 3).sum();
        assert_eq!(found[group as usize * 16], sum);
    }
}

#[test]
fn variables_arrays_and_returns_are_kept_for_each_invocation() {
    let text = kernel(
        ", t: shared [u32; 4]",
        4,
        "$0: u32\n$1: u32[3]\n$2: bool\n",
        "%7: u32 = load x %1\nset $0 %7\nset $1[%4] %7\n%8: u32 = and %7 %4\n%9: bool = eq %8 %3\n\
         set $2 %9\nstore t %0 %7\nbarrier\nfor %10: u32 in %3..%6 {\n%11: u32 = get $0\n\
         %12: u32 = add %0 %4\n%13: u32 = and %12 %6\n%14: u32 = load t %13\n\
         %15: u32 = add %11 %14\nset $0 %15\nset $1[%10] %15\nbarrier\n}\n\
         %16: u32 = get $1[%5]\n%17: u32 = get $0\n%18: u32 = add %16 %17\n%19: bool = get $2\n\
         if %19 {\nreturn\n}\nstore y %1 %18",
    );
    let Data::Narrow(found) = both(&text, [8, 1, 1], &arguments(8)) else { panic!("narrow") };
    assert!(found.contains(&9) && found.iter().any(|&v| v != 9), "{found:?}");
}

#[test]
fn whoever_returned_stays_away() {
    let text = kernel(
        "",
        4,
        "$0: u32\n",
        "barrier\n%7: bool = lt %0 %5\nif %7 {\nreturn\n}\n%8: bool = lt %2 %5\nset $0 %6\n\
         if %8 {\n%9: u32 = get $0\nstore y %1 %9\n}\n",
    );
    let found = both(&text, [12, 1, 1], &arguments(12));
    assert_eq!(found, Data::Narrow(vec![9, 9, 3, 3, 9, 9, 3, 3, 9, 9, 9, 9]));
}

#[test]
fn uniform_loads_decide_and_their_checks_stay_before_them() {
    let text = kernel(
        ", t: shared [u32; 4]",
        4,
        "",
        "%7: u32 = load x %2\n%8: u32 = and %7 %6\nfor %9: u32 in %3..%8 {\nstore t %0 %9\n\
         barrier\n%10: u32 = const 3\n%11: u32 = sub %10 %0\n%12: u32 = load t %11\n\
         %13: u32 = add %12 %1\nstore y %1 %13\nbarrier\n}",
    );
    both(&text, [16, 1, 1], &arguments(16));
}

#[test]
fn shared_arrays_begin_as_zeros_in_every_group() {
    let text = kernel(
        ", t: shared [u32; 11], h: shared atomic [u32; 3]",
        4,
        "",
        "%7: u32 = load t %0\n%8: u32 = rem %1 %6\n%9: u32 = atomic add h %8 %4\nbarrier\n\
         %10: u32 = const 7\n%11: u32 = add %0 %10\n%12: u32 = load t %11\nstore t %11 %1\n\
         store t %0 %1\n%13: u32 = atomic_load h %8\n%14: u32 = add %7 %12\n\
         %15: u32 = add %14 %13\nstore y %1 %15",
    );
    let Data::Narrow(found) = both(&text, [12, 1, 1], &arguments(12)) else { panic!("narrow") };
    assert!(found.iter().all(|&v| (1..=2).contains(&v)), "{found:?}");
}

#[test]
fn groups_of_three_axes_count_their_invocations() {
    let text = "kernel \"k\"(w: u32, h: u32, d: u32, y: mut [u32], t: shared [u32; 12]) \
         grid (w, h, d) workgroup (2, 3, 2) {\n\
         %0: u32 = local.x\n%1: u32 = local.y\n%2: u32 = local.z\n%3: u32 = id.x\n%4: u32 = id.y\n\
         %5: u32 = id.z\n%6: u32 = const 2\n%7: u32 = const 6\n%8: u32 = const 4\n\
         %9: u32 = mul %1 %6\n%10: u32 = mul %2 %7\n%11: u32 = add %9 %10\n%12: u32 = add %11 %0\n\
         %13: u32 = mul %12 %12\n%14: u32 = group.y\n%15: u32 = add %13 %14\nstore t %12 %15\n\
         barrier\n%16: u32 = const 11\n%17: u32 = sub %16 %12\n%18: u32 = load t %17\n\
         %19: u32 = mul %4 %8\n%20: u32 = const 24\n%21: u32 = mul %5 %20\n%22: u32 = add %19 %21\n\
         %23: u32 = add %22 %3\n%24: u32 = add %18 %13\nstore y %23 %24\n}";
    let args = [4u32.into(), 6u32.into(), 2u32.into()].map(Data::Scalar);
    let mut args = args.to_vec();
    args.push(Data::Narrow(vec![0; 48]));
    both(text, [4, 6, 2], &args);
}

#[test]
fn nobody_checks_after_all_have_left() {
    // Some return, then all would by a value that only the first group may load.
    let text = kernel(
        ", t: shared [u32; 4]",
        4,
        "",
        "barrier\n%7: bool = lt %1 %4\nif %7 {\n} else {\nreturn\n}\n%8: u32 = len x\n\
         %9: bool = lt %2 %8\ncheck %9 #0 %2\n%10: u32 = load x %2\n%11: bool = eq %10 %3\n\
         if %11 {\nreturn\n}\nstore y %1 %6",
    )
    .replacen("{\n", "{\nsite #0 bounds x\n", 1);
    let mut args = arguments(12);
    args[1] = numbers(1);
    let found = both(&text, [12, 1, 1], &args);
    let mut expected = vec![9; 12];
    expected[0] = 3;
    assert_eq!(found, Data::Narrow(expected));
}

#[test]
fn a_group_that_has_returned_from_a_loop_goes_no_further() {
    let text = kernel(
        ", t: shared [u32; 4]",
        4,
        "$0: u32\n",
        "%7: u32 = param n\nfor %8: u32 in %3..%7 {\n%9: bool = eq %8 %5\nif %9 {\nreturn\n}\n}\n\
         loop {\nbarrier\n%10: u32 = get $0\n%11: u32 = add %10 %7\nset $0 %11\n\
         %12: bool = gt %11 %6\nif %12 {\nbreak\n}\n}\nstore y %1 %4",
    );
    for n in [2, 8] {
        let mut args = arguments(8);
        args[0] = Data::Scalar((n as u32).into());
        let expected = if n > 2 { 9 } else { 1 };
        assert_eq!(both(&text, [8, 1, 1], &args), Data::Narrow(vec![expected; 8]));
    }
}

#[test]
fn random_kernels_give_the_same_in_pieces() {
    let mut rng = crate::random::Random::new(5);
    for _ in 0..300 {
        let (kernel, args, grid) = crate::random::group_kernel(&mut rng);
        both(&kernel.to_string(), grid, &args);
    }
}

#[test]
fn a_grid_is_made_of_whole_groups() {
    let text = kernel("", 4, "", "%7: bool = lt %1 %6\nif %7 {\nstore y %1 %0\n}");
    let found = both(&text, [6, 1, 1], &arguments(8));
    assert_eq!(found, Data::Narrow(vec![0, 1, 2, 9, 9, 9, 9, 9]));
}
