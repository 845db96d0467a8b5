//! Variables of loops that need no mask: what lanes that have left a loop would see of them is never
//! looked at.
//!
//! ```text
//! x = 0;  for … { if |x| > 2 { break };  x = f(x) }      nobody reads x behind the loop
//! ```
//!
//! A variable is free in a loop if it is read nowhere else, and is assigned in the same block before
//! the loop, or the loop is in no other: then a lane finds nothing in it that it left there in an
//! earlier passage of a loop around.

use std::collections::{HashMap, HashSet};

use crossover_kernels::ir::{Block, Function, Inst, Local, Stmt};

/// For each loop, by address, the variables that are free in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Free(HashMap<*const Stmt, HashSet<Local>>);

impl Free {
    pub(super) fn of(function: &Function) -> Free {
        let mut free = Free::default();
        let mut reads = HashMap::new();
        count_reads(function, &function.body, &mut reads);
        if let Some(result) = function.result {
            // It is read at the end.
            *reads.entry(result).or_default() += 1;
        }
        free.block(function, &function.body, &reads, false);
        free
    }

    /// Whether a variable is free in a loop.
    pub(super) fn has(&self, id: *const Stmt, local: Local) -> bool {
        self.0.get(&id).is_some_and(|locals| locals.contains(&local))
    }

    fn block(
        &mut self,
        function: &Function,
        block: &Block,
        reads: &HashMap<Local, usize>,
        in_loop: bool,
    ) {
        let mut set = HashSet::new();
        for stmt in block {
            if let Stmt::Set(local, _) = stmt {
                set.insert(*local);
            }
            let loops = matches!(stmt, Stmt::For { .. } | Stmt::Loop(_));
            for inner in stmt.blocks() {
                if loops {
                    let mut inside = HashMap::new();
                    count_reads(function, inner, &mut inside);
                    let all = |(local, count): (&Local, &usize)| {
                        (reads[local] == *count && (!in_loop || set.contains(local)))
                            .then_some(*local)
                    };
                    self.0
                        .insert(std::ptr::from_ref(stmt), inside.iter().filter_map(all).collect());
                }
                self.block(function, inner, reads, in_loop || loops);
            }
        }
    }
}

fn count_reads(function: &Function, block: &Block, reads: &mut HashMap<Local, usize>) {
    for stmt in block {
        if let Stmt::Let(value) = stmt
            && let Inst::Get(local) = function.def(*value).inst
        {
            *reads.entry(local).or_default() += 1;
        }
        for inner in stmt.blocks() {
            count_reads(function, inner, reads);
        }
    }
}
