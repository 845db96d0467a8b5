//! What a call uses: lent to one that runs on the calling thread, so that nothing is counted, and shared
//! with one that goes to another.

use std::ops::Deref;
use std::sync::Arc;

/// A reference to something shared, lent or counted.
#[derive(Debug)]
pub enum Lent<'c, T> {
    /// Somebody else keeps it.
    Lent(&'c Arc<T>),
    /// This keeps it.
    Shared(Arc<T>),
}

impl<'c, T> Lent<'c, T> {
    /// What is lent or shared.
    pub fn arc(&self) -> &Arc<T> {
        match self {
            Lent::Lent(lent) => lent,
            Lent::Shared(shared) => shared,
        }
    }

    /// Whether both are the same thing.
    pub fn is(&self, other: &Lent<'_, T>) -> bool {
        Arc::ptr_eq(self.arc(), other.arc())
    }

    /// The same for another thread.
    pub fn share<'a>(&self) -> Lent<'a, T> {
        Lent::Shared(self.arc().clone())
    }

    /// A part of it that is shared in its own right.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// use crossover_memory::Lent;
    /// let pair = Arc::new((Arc::new(1), Arc::new(2)));
    /// let second = Lent::Lent(&pair).part(|(_, second)| second);
    /// assert_eq!((*second, Arc::strong_count(&pair.1)), (2, 1));
    /// ```
    pub fn part<U>(&self, of: impl FnOnce(&T) -> &Arc<U>) -> Lent<'c, U> {
        match self {
            Lent::Lent(lent) => Lent::Lent(of(lent)),
            Lent::Shared(shared) => Lent::Shared(of(shared).clone()),
        }
    }
}

impl<T> Clone for Lent<'_, T> {
    fn clone(&self) -> Self {
        match self {
            Lent::Lent(lent) => Lent::Lent(lent),
            Lent::Shared(shared) => Lent::Shared(shared.clone()),
        }
    }
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.arc()
    }
}

impl<T> From<Arc<T>> for Lent<'_, T> {
    fn from(shared: Arc<T>) -> Self {
        Lent::Shared(shared)
    }
}
