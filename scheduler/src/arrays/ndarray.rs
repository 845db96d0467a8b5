//! Buffers and `ndarray`: views of a buffer's content in some shape, and buffers from arrays of any.

use std::time::Instant;

use ndarray::{ArrayRef, ArrayView, ArrayViewMut, Dimension, ShapeBuilder};

use crate::buffer::{Buffer, Element, ReadSlice, WriteSlice};
use crate::error::Error;
use crate::runtime::Runtime;

impl Runtime {
    /// A buffer with a copy of an array's elements, in the order of its axes: the last varies fastest, whatever
    /// the array's own layout is. [`Runtime::copied_in`] counts it.
    ///
    /// # Errors
    /// [`Error::Memory`] when there is none.
    ///
    /// ```
    /// use ndarray::array;
    ///
    /// # fn main() -> Result<(), crossover::Error> {
    /// let rt = crossover::Runtime::new()?;
    /// let x = array![[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]];
    /// assert_eq!(rt.buffer_from_array(&x)?.to_vec()?, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    /// assert_eq!(rt.buffer_from_array(&x.t())?.to_vec()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn buffer_from_array<T: Element, D: Dimension>(
        &self,
        array: &ArrayRef<T, D>,
    ) -> Result<Buffer<T>, Error> {
        if let Some(elements) = array.as_slice() {
            return self.buffer_from(elements);
        }
        let began = Instant::now();
        let mut buffer = Buffer::new(array.len())?;
        for (to, from) in std::iter::zip(&mut *buffer.write()?, array) {
            *to = *from;
        }
        self.inner().taken.count(array.len() * size_of::<T>(), began);
        Ok(buffer)
    }
}

impl<T: Element> ReadSlice<'_, T> {
    /// The elements as an array of this shape, the last axis varying fastest (with `.f()`, the first). It is
    /// the buffer's own memory: nothing is copied.
    ///
    /// # Errors
    /// [`Error::Shape`] when the shape has another number of elements.
    ///
    /// ```
    /// use ndarray::{Axis, array};
    ///
    /// # fn main() -> Result<(), crossover::Error> {
    /// let rt = crossover::Runtime::new()?;
    /// let x = rt.buffer_from(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// let content = x.read()?;
    /// assert_eq!(content.as_array((2, 3))?.sum_axis(Axis(1)), array![6.0, 15.0]);
    /// assert!(content.as_array((2, 2)).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn as_array<S: ShapeBuilder>(&self, shape: S) -> Result<ArrayView<'_, T, S::Dim>, Error> {
        let shape = shape.into_shape_with_order();
        let refused = unfit(shape.raw_dim(), self.len());
        match ArrayView::from_shape(shape, self) {
            Ok(array) if array.len() == self.len() => Ok(array),
            _ => Err(refused),
        }
    }
}

impl<T: Element> WriteSlice<'_, T> {
    /// The elements as an array of this shape, to change, as [`ReadSlice::as_array`].
    ///
    /// # Errors
    /// As there.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let mut x = rt.buffer_from(&[1.0f32, 2.0, 3.0, 4.0])?;
    /// x.write()?.as_array_mut((2, 2))?.swap((0, 1), (1, 0));
    /// assert_eq!(x.to_vec()?, [1.0, 3.0, 2.0, 4.0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn as_array_mut<S: ShapeBuilder>(
        &mut self,
        shape: S,
    ) -> Result<ArrayViewMut<'_, T, S::Dim>, Error> {
        let shape = shape.into_shape_with_order();
        let length = self.len();
        let refused = unfit(shape.raw_dim(), length);
        match ArrayViewMut::from_shape(shape, self) {
            Ok(array) if array.len() == length => Ok(array),
            _ => Err(refused),
        }
    }
}

fn unfit(shape: &impl Dimension, length: usize) -> Error {
    Error::Shape { shape: shape.slice().to_vec(), length }
}
