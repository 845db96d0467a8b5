//! Buffers and Arrow: a buffer's content as a primitive array over the very same memory, and buffers from
//! arrays.
//!
//! The array owns a look at the buffer, as a [`ReadSlice`] is one: it keeps the memory alive, and nobody
//! writes there before the last clone of the array is gone.

use arrow_array::PrimitiveArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_buffer::{ArrowNativeType, ScalarBuffer};
use bytes::Bytes;
use crossover_memory::Lent;

use crate::buffer::{Buffer, Element, ReadSlice};
use crate::error::Error;
use crate::runtime::Runtime;

/// A look at a buffer that does not end with the handle of it.
struct Look<T: 'static>(ReadSlice<'static, T>);

impl<T: Element> AsRef<[u8]> for Look<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl Runtime {
    /// A buffer with a copy of an array's values. [`Runtime::copied_in`] counts it.
    ///
    /// # Errors
    /// [`Error::Nulls`] when the array has nulls, which kernels know nothing of; [`Error::Memory`] when there is
    /// no memory.
    ///
    /// ```
    /// use arrow_array::Int32Array;
    ///
    /// # fn main() -> Result<(), crossover::Error> {
    /// let rt = crossover::Runtime::new()?;
    /// let column = Int32Array::from(vec![1, 2, 3]);
    /// assert_eq!(rt.buffer_from_arrow(&column)?.to_vec()?, [1, 2, 3]);
    /// assert!(rt.buffer_from_arrow(&Int32Array::from(vec![Some(1), None])).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn buffer_from_arrow<A>(
        &self,
        array: &PrimitiveArray<A>,
    ) -> Result<Buffer<A::Native>, Error>
    where
        A: ArrowPrimitiveType,
        A::Native: Element,
    {
        match arrow_array::Array::null_count(array) {
            0 => self.buffer_from(array.values()),
            count => Err(Error::Nulls { count }),
        }
    }
}

impl<T: Element + ArrowNativeType> Buffer<T> {
    /// Waits for calls that change the buffer, then gives its content as an Arrow array. It is the buffer's own
    /// memory: nothing is copied.
    ///
    /// As long as the array or a clone or a slice of it lives, kernels can read the buffer, but whatever writes
    /// it waits: [`Buffer::write`], and calls. Where the thread that writes is the one that holds the
    /// array, that wait has no end; [`Buffer::into_arrow`] leaves nobody who could write.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    ///
    /// ```
    /// use arrow_array::{Float32Array, TimestampSecondArray};
    ///
    /// # fn main() -> Result<(), crossover::Error> {
    /// let rt = crossover::Runtime::new()?;
    /// let x = rt.buffer_from(&[1.0f32, 2.0])?;
    /// let column: Float32Array = x.to_arrow()?;
    /// assert_eq!(column.values().as_ptr(), x.read()?.as_ptr());
    /// // Any type of column that is made of such elements.
    /// let times: TimestampSecondArray = rt.buffer_from(&[0i64, 1])?.into_arrow()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_arrow<A>(&self) -> Result<PrimitiveArray<A>, Error>
    where
        A: ArrowPrimitiveType<Native = T>,
    {
        let length = self.len();
        let memory = Bytes::from_owner(Look(self.look(Lent::Shared(self.storage.slot.clone()))?));
        let values = ScalarBuffer::new(memory.into(), 0, length);
        Ok(PrimitiveArray::new(values, None))
    }

    /// The same for a buffer that nobody needs any more, so that nobody can wait for the array's end.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    ///
    /// ```
    /// use arrow_array::UInt32Array;
    ///
    /// # let rt = crossover::Runtime::new()?;
    /// let column: UInt32Array = rt.buffer_from(&[7u32, 8])?.into_arrow()?;
    /// assert_eq!(column.value(1), 8);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn into_arrow<A>(self) -> Result<PrimitiveArray<A>, Error>
    where
        A: ArrowPrimitiveType<Native = T>,
    {
        self.to_arrow()
    }
}
