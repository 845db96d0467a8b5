//! What a call uses: lent to one that runs on the calling thread, so that nothing is counted, and shared
//! with one that goes to another.

use std::ops::Deref;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) enum Lent<'c, T> {
    Lent(&'c Arc<T>),
    Shared(Arc<T>),
}

impl<T> Lent<'_, T> {
    pub(crate) fn arc(&self) -> &Arc<T> {
        match self {
            Lent::Lent(lent) => lent,
            Lent::Shared(shared) => shared,
        }
    }

    /// The same for whoever outlives the lender.
    pub(crate) fn share(&self) -> Lent<'static, T> {
        Lent::Shared(self.arc().clone())
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
