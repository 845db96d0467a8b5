//! Lanes that part ways: branches, loops and jumps under masks.

mod support;

use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::{Access, Axis, BinaryOp, Const, Local, Stmt, Type, UnaryOp, Value};
use support::{Data, LENGTHS, buffer, check, kernel, values, with_output, zeros};

/// `out[i] = what the body leaves in total`, from a loaded number of small size.
fn counted(body: impl Fn(&mut Builder, Value, Value, Local)) {
    let (mut b, out) = with_output("counted", Type::I32);
    let input = b.buffer("input", Type::U32, Access::Read);
    let i = b.id(Axis::X);
    let loaded = b.checked_load(input, i);
    let total = b.local(Type::I32, None);
    body(&mut b, i, loaded, total);
    let sum = b.get(total);
    b.checked_store(out, i, sum);
    let kernel = kernel(b.finish());
    for len in LENGTHS {
        for seed in [0, 7, 12] {
            let small = (0..len).map(|i| Const::from(((i as u32 * 7 + seed) ^ (seed << 1)) % 13));
            check(&kernel, &[zeros(Type::I32, len), buffer(Type::U32, small)]);
        }
    }
}

fn add(b: &mut Builder, total: Local, amount: i32) {
    let (old, amount) = (b.get(total), b.constant(amount));
    let new = b.binary(BinaryOp::Add, old, amount);
    b.set(total, new);
}

fn bit(b: &mut Builder, v: Value, bit: u32) -> Value {
    let (mask, zero) = (b.constant(1u32 << bit), b.constant(0u32));
    let v = b.binary(BinaryOp::And, v, mask);
    b.binary(BinaryOp::Ne, v, zero)
}

fn above(b: &mut Builder, v: Value, limit: u32) -> Value {
    let limit = b.constant(limit);
    b.binary(BinaryOp::Gt, v, limit)
}

#[test]
fn nested_branches() {
    counted(|b, i, v, total| {
        let (one, two, four) = (bit(b, v, 0), bit(b, v, 1), bit(b, i, 2));
        b.if_else(
            one,
            |b| {
                add(b, total, 1);
                b.if_else(two, |b| add(b, total, 10), |b| add(b, total, 20));
                add(b, total, 100);
            },
            |b| b.if_else(four, |b| add(b, total, 1000), |_| {}),
        );
        b.if_else(two, |_| {}, |b| add(b, total, 5000));
    });
}

#[test]
fn loops_of_varying_count() {
    for step in [1, 2, 5] {
        counted(|b, i, v, total| {
            let zero = b.constant(0u32);
            b.for_range(zero, v, step, |b, k| {
                let odd = bit(b, k, 0);
                b.if_else(odd, |b| add(b, total, 3), |b| add(b, total, 7));
            });
            let limit = b.constant(9u32);
            let start = b.binary(BinaryOp::Min, i, limit);
            b.for_range(start, limit, step, |b, _| add(b, total, 100));
        });
    }
}

#[test]
fn break_and_continue_under_masks() {
    counted(|b, i, v, total| {
        let (zero, ten) = (b.constant(0u32), b.constant(10u32));
        b.for_range(zero, ten, 1, |b, k| {
            let same = b.binary(BinaryOp::Eq, k, v);
            b.if_else(same, |b| b.stmt(Stmt::Break), |_| {});
            let parity = b.binary(BinaryOp::Xor, k, i);
            let odd = bit(b, parity, 0);
            b.if_else(odd, |b| b.stmt(Stmt::Continue), |b| add(b, total, 1));
            add(b, total, 10);
            let last = above(b, k, 7);
            b.if_else(last, |b| b.stmt(Stmt::Break), |_| {});
            add(b, total, 100);
        });
        add(b, total, 1000);
    });
}

#[test]
fn uniform_jumps_stay_branches_and_agree() {
    counted(|b, _, v, total| {
        let (zero, ten) = (b.constant(0u32), b.constant(10u32));
        b.for_range(zero, ten, 1, |b, k| {
            let odd = bit(b, k, 0);
            b.if_else(odd, |b| b.stmt(Stmt::Continue), |_| {});
            add(b, total, 1);
            let high = above(b, k, 5);
            b.if_else(high, |b| b.stmt(Stmt::Break), |_| {});
            let small = bit(b, v, 0);
            b.if_else(small, |b| add(b, total, 10), |_| {});
        });
    });
}

#[test]
fn return_under_masks() {
    counted(|b, i, v, total| {
        add(b, total, 1);
        let big = above(b, v, 9);
        b.if_else(big, |b| b.stmt(Stmt::Return), |_| {});
        let (zero, five) = (b.constant(0u32), b.constant(5u32));
        b.for_range(zero, five, 1, |b, k| {
            let sum = b.binary(BinaryOp::Add, k, i);
            let at_end = bit(b, sum, 3);
            b.if_else(at_end, |b| b.stmt(Stmt::Return), |b| add(b, total, 10));
            add(b, total, 100);
        });
        add(b, total, 1000);
    });
}

#[test]
fn nested_loops_with_jumps_out_of_both() {
    counted(|b, i, v, total| {
        let zero = b.constant(0u32);
        b.for_range(zero, v, 1, |b, k| {
            b.repeat(|b| {
                add(b, total, 1);
                let count = b.get(total);
                let count = b.bitcast(count, Type::U32);
                let sum = b.binary(BinaryOp::Add, count, i);
                let third = bit(b, sum, 1);
                b.if_else(third, |b| b.stmt(Stmt::Break), |_| {});
                let far = above(b, sum, 900);
                b.if_else(far, |b| b.stmt(Stmt::Return), |_| {});
                let odd = bit(b, count, 0);
                b.if_else(odd, |b| b.stmt(Stmt::Continue), |_| {});
                add(b, total, 2);
            });
            let odd = bit(b, k, 0);
            b.if_else(odd, |b| b.stmt(Stmt::Continue), |_| {});
            add(b, total, 50);
        });
    });
}

#[test]
fn while_loop_of_escaping_lanes() {
    counted(|b, i, v, total| {
        let steps = b.local(Type::U32, None);
        b.set(steps, v);
        b.repeat(|b| {
            let (n, limit) = (b.get(steps), b.constant(40u32));
            let done = b.binary(BinaryOp::Ge, n, limit);
            b.if_else(done, |b| b.stmt(Stmt::Break), |_| {});
            let sum = b.binary(BinaryOp::Add, n, i);
            let one = b.constant(1u32);
            let more = b.binary(BinaryOp::Or, sum, one);
            let small = b.constant(7u32);
            let more = b.binary(BinaryOp::And, more, small);
            let next = b.binary(BinaryOp::Add, n, more);
            b.set(steps, next);
            add(b, total, 1);
        });
    });
}

#[test]
fn counters_at_the_ends_of_their_types() {
    for ty in [Type::I32, Type::U32, Type::I64, Type::U64] {
        let (min, max) = match ty {
            Type::I32 => (Const::from(i32::MIN), Const::from(i32::MAX)),
            Type::I64 => (Const::from(i64::MIN), Const::from(i64::MAX)),
            Type::U32 | Type::U64 | Type::Bool | Type::F32 | Type::F64 => {
                (Const::zero(ty), Const::new(ty, u64::MAX))
            }
        };
        for step in [1, 3, u32::MAX] {
            counted(|b, i, v, total| {
                let (two, max, min) =
                    (b.constant(Const::new(ty, 2)), b.constant(max), b.constant(min));
                let start = b.binary(BinaryOp::Sub, max, two);
                b.for_range(start, max, step, |b, _| add(b, total, 1));
                let end = b.binary(BinaryOp::Add, min, two);
                b.for_range(min, end, step, |b, _| add(b, total, 10));
                b.for_range(max, min, step, |b, _| add(b, total, 10_000));
                let v = b.cast(v, ty);
                let varying = b.binary(BinaryOp::Sub, max, v);
                b.for_range(varying, max, step, |b, _| add(b, total, 100));
                let odd = bit(b, i, 0);
                let last = b.select(odd, min, max);
                b.for_range(start, last, step, |b, _| add(b, total, 1000));
            });
        }
    }
}

#[test]
fn arrays_by_constants_and_by_lanes() {
    for ty in Type::ALL {
        for dynamic in [false, true] {
            arrays(ty, dynamic);
        }
    }
}

fn arrays(ty: Type, dynamic: bool) {
    let held = if ty == Type::Bool { Type::U32 } else { ty };
    let (mut b, out) = with_output("arrays", held);
    let input = b.buffer("input", held, Access::Read);
    let i = b.id(Axis::X);
    let loaded = b.checked_load(input, i);
    let value = if ty == Type::Bool {
        let zero = b.constant(0u32);
        b.binary(BinaryOp::Gt, loaded, zero)
    } else {
        loaded
    };
    let array = b.local(ty, Some(8));
    let seven = b.constant(7u32);
    let lane = if dynamic { b.binary(BinaryOp::And, i, seven) } else { seven };
    let odd = bit(&mut b, i, 0);
    b.if_else(odd, |b| b.checked_set_element(array, lane, value), |_| {});
    let three = b.constant(3u32);
    let fixed = b.constant(Const::one(ty));
    b.if_else(odd, |_| {}, |b| b.checked_set_element(array, three, fixed));
    let a = b.checked_get_element(array, lane);
    let c = b.checked_get_element(array, three);
    let result = b.select(odd, a, c);
    let result = if ty == Type::Bool { b.cast(result, Type::U32) } else { result };
    b.checked_store(out, i, result);
    let kernel = kernel(b.finish());
    for len in LENGTHS {
        check(&kernel, &[zeros(held, len), buffer(held, values(held, len, 8))]);
    }
}

/// Inactive lanes hold indices far outside and zero divisors: nothing of that may be touched.
#[test]
fn inactive_lanes_never_trap_or_write() {
    for ty in [Type::I32, Type::U64] {
        let (mut b, out) = with_output("guarded", ty);
        let input = b.buffer("input", ty, Access::ReadWrite);
        let index = b.buffer("index", Type::U32, Access::Read);
        let i = b.id(Axis::X);
        let (at, len) = (b.checked_load(index, i), b.len(input));
        let inside = b.binary(BinaryOp::Lt, at, len);
        b.if_else(
            inside,
            |b| {
                let v = b.checked_load(input, at);
                let zero = b.constant(Const::zero(ty));
                let some = b.binary(BinaryOp::Ne, v, zero);
                b.if_else(
                    some,
                    |b| {
                        let big = b.constant(Const::new(ty, 1000));
                        let quotient = b.checked_binary(BinaryOp::Div, big, v);
                        let rest = b.checked_binary(BinaryOp::Rem, v, v);
                        let sum = b.binary(BinaryOp::Add, quotient, rest);
                        b.checked_store(out, i, sum);
                        b.checked_store(input, at, sum);
                    },
                    |_| {},
                );
            },
            |b| {
                let far = b.constant(1u32 << 31);
                let before = b.binary(BinaryOp::Sub, i, far);
                let fine = b.binary(BinaryOp::Lt, before, len);
                b.if_else(
                    fine,
                    |b| {
                        b.checked_load(input, before);
                    },
                    |_| {},
                );
                let one = b.constant(Const::one(ty));
                b.checked_store(out, i, one);
            },
        );
        let kernel = kernel(b.finish());
        for len in LENGTHS {
            let order = (0..len as u32).map(|i| match i % 3 {
                0 => Const::from(u32::MAX - i),
                1 => (len as u32).into(),
                _ => i.into(),
            });
            let data = [
                zeros(ty, len),
                buffer(ty, (0..len).map(|i| Const::new(ty, i as u64 % 4))),
                buffer(Type::U32, order),
            ];
            check(&kernel, &data);
        }
    }
}

/// Neighbours loaded and stored where only a part of a group is active.
#[test]
fn linear_accesses_under_masks() {
    for ty in Type::STORABLE {
        let (mut b, out) = with_output("masked", ty);
        let input = b.buffer("input", ty, Access::Read);
        let i = b.id(Axis::X);
        let two = b.constant(2u32);
        let odd = b.unary(UnaryOp::CountOnes, i);
        let odd = bit(&mut b, odd, 0);
        let late = b.binary(BinaryOp::Ge, i, two);
        let both = b.binary(BinaryOp::And, odd, late);
        b.if_else(
            both,
            |b| {
                let at = b.binary(BinaryOp::Sub, i, two);
                let v = b.checked_load(input, at);
                b.checked_store(out, at, v);
            },
            |_| {},
        );
        b.if_else(
            late,
            |b| {
                let v = b.checked_load(out, i);
                b.checked_store(out, i, v);
            },
            |_| {},
        );
        let kernel = kernel(b.finish());
        for len in LENGTHS {
            // Element i − 2 is written by one invocation and loaded by another: keep them apart.
            if len > 4 {
                continue;
            }
            let data = [buffer(ty, values(ty, len, 1)), buffer(ty, values(ty, len, 2))];
            check(&kernel, &data);
        }
    }
}

/// `if mode > 0 { z[i] = 1 }`, and a loop with the same condition, which is written twice for its sake: lanes that have
/// left the loop, or the passage, stay out behind what the condition decides.
#[test]
fn jumps_under_a_condition_that_is_decided_before() {
    let mut b = Builder::new("decided");
    let y = b.buffer("y", Type::U32, Access::ReadWrite);
    let z = b.buffer("z", Type::U32, Access::ReadWrite);
    let (mode, n) = (b.scalar("mode", Type::U32), b.scalar("n", Type::U32));
    let (i, zero, one) = (b.id(Axis::X), b.constant(0u32), b.constant(1u32));
    let (mode, n) = (b.argument(mode), b.argument(n));
    let on = b.binary(BinaryOp::Gt, mode, zero);
    b.if_else(on, |b| b.checked_store(z, i, one), |_| {});
    let sum = b.local(Type::U32, None);
    b.for_range(zero, n, 1, |b, k| {
        let past = b.binary(BinaryOp::Lt, i, k);
        b.if_else(past, |b| b.stmt(Stmt::Break), |_| {});
        b.if_else(
            on,
            |b| {
                let high = b.binary(BinaryOp::Gt, k, mode);
                b.if_else(high, |b| b.stmt(Stmt::Continue), |_| {});
                let same = b.binary(BinaryOp::Eq, i, k);
                b.if_else(same, |b| b.stmt(Stmt::Continue), |_| {});
                b.set(sum, k);
            },
            |_| {},
        );
        let before = b.get(sum);
        let after = b.binary(BinaryOp::Add, before, one);
        b.set(sum, after);
    });
    let found = b.get(sum);
    b.checked_store(y, i, found);
    let kernel = kernel(b.finish());
    for len in LENGTHS {
        for mode in [0u32, 1, 2, 5] {
            for n in [0u32, 1, 6, 11] {
                let scalars = [mode, n].map(|c| Data::Scalar(c.into()));
                let [mode, n] = scalars;
                check(&kernel, &[zeros(Type::U32, len), zeros(Type::U32, len), mode, n]);
            }
        }
    }
}
