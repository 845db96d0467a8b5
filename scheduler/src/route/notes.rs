//! What baselines keep of the calls they have seen, by kernel and shape.

use std::sync::{Mutex, PoisonError};

use super::policy::CallKey;
use crate::words::WordMap;

/// Shapes that are kept, at most: then all is forgotten, or a server of many sizes would never stop
/// to grow.
const SHAPES_MAX: usize = 1 << 16;

/// Notes of type `T` for each shape of call.
pub(super) struct Notes<T>(Mutex<WordMap<CallKey, T>>);

impl<T: Default> Notes<T> {
    pub(super) fn new() -> Notes<T> {
        Notes(Mutex::default())
    }

    /// What is kept of a call, or what is kept of none.
    pub(super) fn read<R>(&self, call: CallKey, look: impl Fn(&T) -> R) -> R {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.get(&call).map_or_else(|| look(&T::default()), &look)
    }

    pub(super) fn write(&self, call: CallKey, change: impl FnOnce(&mut T)) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() >= SHAPES_MAX && !notes.contains_key(&call) {
            notes.clear();
        }
        change(notes.entry(call).or_default());
    }
}
