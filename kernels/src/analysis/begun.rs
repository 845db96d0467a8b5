//! Variables that loops begin as constants, and compute with at the head of each passage.
//!
//! ```text
//! let mut x = 0.0;
//! for … {
//!     let xx = x * x;     a compiler that knows the first x knows the first xx as well, and may carry xx
//!     …                   from passage to passage beside x, computed at the end of the one before
//!     x = …;
//! }
//! ```
//!
//! What is carried costs nothing where there are registers, and an instruction or two where lanes of a vector leave
//! the loop at different times and must keep what they left with: Mesa's compiler does this whatever the driver.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::ir::{Block, Function, Inst, Local, Stmt, Value, assigned, defined};

/// Such variables of each loop that has some, by the address of its statement.
pub fn begun(function: &Function) -> HashMap<*const Stmt, Vec<Local>> {
    let mut found = HashMap::new();
    let known = vec![true; function.locals.len()];
    block(function, &function.body, known, &mut found);
    found
}

/// Walks a block; `known` are the variables that are constants where it begins.
fn block(
    function: &Function,
    stmts: &Block,
    mut known: Vec<bool>,
    found: &mut HashMap<*const Stmt, Vec<Local>>,
) {
    for stmt in stmts {
        if let Stmt::Set(local, value) = stmt {
            known[local.index()] = function.as_const(*value).is_some();
            continue;
        }
        let mut inside = HashSet::new();
        stmt.blocks().into_iter().for_each(|block| assigned(block, &mut inside));
        if let Stmt::For { body, .. } | Stmt::Loop(body) = stmt {
            let mut locals = at_head(function, body, &inside);
            locals.retain(|local| known[local.index()]);
            if !locals.is_empty() {
                found.insert(std::ptr::from_ref(stmt), locals.into_iter().collect());
            }
            inside.iter().for_each(|local| known[local.index()] = false);
        }
        for inner in stmt.blocks() {
            block(function, inner, known.clone(), found);
        }
        inside.iter().for_each(|local| known[local.index()] = false);
    }
}

/// The variables, of those that a loop carries, from which its body computes before anything but leaving can happen.
fn at_head(function: &Function, body: &Block, carried: &HashSet<Local>) -> BTreeSet<Local> {
    let mut inside = HashSet::new();
    body.iter().for_each(|stmt| defined(stmt, &mut inside));
    let mut from: HashMap<Value, BTreeSet<Local>> = HashMap::new();
    let mut set = HashSet::new();
    let mut found = BTreeSet::new();
    for stmt in body {
        match stmt {
            Stmt::Let(value) => match function.def(*value).inst {
                Inst::Get(local) if set.contains(&local) => {}
                Inst::Get(local) => {
                    let own = carried.contains(&local).then_some(local);
                    from.insert(*value, own.into_iter().collect());
                }
                ref inst if inst.is_pure() => {
                    let of = |operand: &Value| match inside.contains(operand) {
                        true => from.get(operand).cloned(),
                        false => Some(BTreeSet::new()),
                    };
                    let operands: Option<Vec<_>> = inst.operands().iter().map(of).collect();
                    let Some(operands) = operands else { continue };
                    let own: BTreeSet<Local> = operands.into_iter().flatten().collect();
                    if !only_counts(function, *value, &own) {
                        found.extend(&own);
                    }
                    from.insert(*value, own);
                }
                _ => {}
            },
            Stmt::Set(local, _) => drop(set.insert(*local)),
            Stmt::If { then, otherwise, .. }
                if [then, otherwise].into_iter().flatten().all(|s| *s == Stmt::Break) => {}
            _ => break,
        }
    }
    found
}

/// Whether a value is of no use but to be what one of these variables is next.
fn only_counts(function: &Function, value: Value, own: &BTreeSet<Local>) -> bool {
    let mut only = true;
    function.walk(&mut |stmt| {
        only &= match stmt {
            Stmt::Set(local, _) if own.contains(local) => true,
            Stmt::Let(by) => !function.def(*by).inst.operands().contains(&value),
            other => !other.uses().contains(&value),
        }
    });
    only
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "kernels are written for whoever calls them")]
mod tests {
    use super::begun;
    use crate::library::mandelbrot::mandelbrot;
    use crate::{Def, Id, front, kernel, passes};

    #[kernel]
    fn sums(id: Id, n: u32, x: &[f32], out: &mut [f32]) {
        let mut sum = 0.0;
        for i in 0..n {
            sum += x[(id.x + i as usize) % x.len()];
        }
        out[id.x] = sum;
    }

    #[kernel]
    fn given(id: Id, n: u32, out: &mut [u32]) {
        let mut x = id.x as u32;
        for _ in 0..n {
            if x * x % 7 == 1 {
                break;
            }
            x += 3;
        }
        out[id.x] = x;
    }

    #[kernel]
    fn nested(id: Id, n: u32, out: &mut [u32]) {
        let mut most = 0;
        for k in 0..n {
            let mut x = 1;
            for _ in 0..k {
                if x * x > 1000 {
                    break;
                }
                x = x * 5 + 1;
            }
            most = most.max(x);
        }
        out[id.x] = most;
    }

    /// How many variables each loop has.
    fn counts(def: &'static Def) -> Vec<usize> {
        let kernel = passes::optimize(&front::kernel(def, &[], &[]).expect("typed"));
        let mut counts: Vec<usize> = begun(&kernel.entry).values().map(Vec::len).collect();
        counts.sort_unstable();
        counts
    }

    #[test]
    fn what_is_computed_with_at_the_head_is_found() {
        assert_eq!(counts(mandelbrot::DEF), [2], "x and y, not the count");
        assert_eq!(counts(nested::DEF), [1], "x begins anew in each passage around");
    }

    #[test]
    fn sums_and_what_begins_with_what_is_given_are_left_alone() {
        assert_eq!(counts(sums::DEF), []);
        assert_eq!(counts(given::DEF), []);
    }
}
