//! The kernels of a runtime, by what identifies them. They are only ever added, so that looking one up
//! takes no lock and gives a reference.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use crossover_kernels::Def;
use crossover_kernels::ir::Type;

use crate::version::Prepared;
use crate::words::Words;

/// Lists of kernels: enough that most hold one or none.
const LISTS: usize = 256;

/// Kernels with their identities, in lists by a hash of these.
pub(crate) struct Kernels([Link; LISTS]);

type Link = OnceLock<Box<Node>>;

struct Node {
    key: Key,
    prepared: Arc<Prepared>,
    next: Link,
}

/// What identifies a kernel: its definition, types and constants.
struct Key {
    def: usize,
    types: Vec<Type>,
    consts: Vec<usize>,
}

impl Key {
    fn is(&self, def: &'static Def, types: &[Type], consts: &[usize]) -> bool {
        // Element by element: most kernels have neither types nor constants, and for nothing at all the C
        // library's comparison, which that of slices calls, takes as long as the rest of the look-up.
        self.def == address(def)
            && self.types.iter().eq(types.iter())
            && self.consts.iter().eq(consts.iter())
    }
}

impl Default for Kernels {
    fn default() -> Kernels {
        Kernels(std::array::from_fn(|_| Link::new()))
    }
}

impl Kernels {
    /// The kernel, made now if there is none yet.
    pub(crate) fn get<E>(
        &self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
        make: impl FnOnce() -> Result<Prepared, E>,
    ) -> Result<&Arc<Prepared>, E> {
        let mut hash = Words::default();
        hash.write_usize(address(def));
        types.iter().for_each(|ty| ty.hash(&mut hash));
        consts.iter().for_each(|c| hash.write_usize(*c));
        let mut link = &self.0[hash.finish() as usize % LISTS];
        while let Some(node) = link.get() {
            if node.key.is(def, types, consts) {
                return Ok(&node.prepared);
            }
            link = &node.next;
        }
        let key = Key { def: address(def), types: types.to_vec(), consts: consts.to_vec() };
        let mut new = Some((key, Arc::new(make()?)));
        // Others may have added some meanwhile, perhaps this one.
        loop {
            let node = link.get_or_init(|| {
                let (key, prepared) = new.take().expect("it is added once");
                Box::new(Node { key, prepared, next: Link::new() })
            });
            if node.key.is(def, types, consts) {
                return Ok(&node.prepared);
            }
            link = &node.next;
        }
    }
}

fn address(def: &'static Def) -> usize {
    std::ptr::from_ref(def) as usize
}

#[cfg(test)]
mod tests {
    use super::Kernels;
    use crate::version::Prepared;
    use crossover_kernels::error::KernelError;
    use crossover_kernels::ir::Type;
    use crossover_kernels::{Id, Num, kernel};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[kernel]
    fn scale<T: Num, const N: usize>(id: Id, a: T, y: &mut [T]) {
        if id.x >= N {
            y[id.x] *= a;
        }
    }

    #[test]
    fn each_kernel_is_made_once_and_found_by_all_threads() {
        let (kernels, made) = (Kernels::default(), AtomicUsize::new(0));
        let get = |n: usize| {
            let (types, consts) = ([Type::F32], [n]);
            let make = || {
                made.fetch_add(1, Ordering::Relaxed);
                Prepared::new(scale::DEF, &types, &consts)
            };
            kernels.get::<KernelError>(scale::DEF, &types, &consts, make).expect("typed")
        };
        // More than there are lists.
        let seen: Vec<Vec<_>> = std::thread::scope(|scope| {
            let look = || (0..600).map(|n| Arc::as_ptr(get(n)) as usize).collect();
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(look)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(seen[0], seen[1]);
        let made_first = made.load(Ordering::Relaxed);
        assert!((600..=1200).contains(&made_first));
        assert_eq!(&*get(599).name, "scale<f32, 599>");
        assert_eq!(made.load(Ordering::Relaxed), made_first);
    }
}
