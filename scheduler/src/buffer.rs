//! Buffers: one allocation that is a Rust slice, a wasm memory and, in place where the driver can import
//! host memory and else through a copy that is made when needed, a GPU buffer.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;
use crossover_kernels::Scalar;
use crossover_memory::{ReadGuard, Slot, WriteGuard};
use crossover_shaders::{DeviceBuffer, DeviceError, Gpu};

use crate::error::Error;
use crate::ledger::Reason;
use crate::transfers::Transfers;

/// A type whose values buffers hold: `f32`, `f64`, `i32`, `u32`, `i64`, `u64`.
pub trait Element: Scalar + Pod {}

impl Element for f32 {}
impl Element for f64 {}
impl Element for i32 {}
impl Element for u32 {}
impl Element for i64 {}
impl Element for u64 {}

/// An array of `T` that kernels work on. Made by [`Runtime::buffer_from`] and [`Runtime::alloc`].
///
/// Its newest content may be on the host or on the GPU; it is moved when somebody looks, and every
/// byte moved is counted. A call that is in flight holds its buffers: [`Buffer::read`] and
/// [`Buffer::write`] wait for it, and dropping the buffer does not disturb it.
///
/// A buffer that a kernel writes cannot be passed twice: that does not compile.
///
/// ```compile_fail,E0502
/// use crossover::{Id, Runtime, kernel};
///
/// #[kernel]
/// fn copy(id: Id, x: &[f32], y: &mut [f32]) {
///     y[id.x] = x[id.x];
/// }
///
/// let rt = Runtime::new().unwrap();
/// let mut y = rt.alloc(10).unwrap();
/// copy::on(&rt).args(&y, &mut y).run().unwrap();
/// ```
///
/// Nor can its content be looked at across a call that writes it:
///
/// ```compile_fail,E0502
/// # use crossover::{Id, Runtime, kernel};
/// # #[kernel]
/// # fn fill(id: Id, y: &mut [f32]) {
/// #     y[id.x] = 1.0;
/// # }
/// # let rt = Runtime::new().unwrap();
/// # let mut y = rt.alloc(10).unwrap();
/// let before = y.read().unwrap();
/// fill::on(&rt).args(&mut y).run().unwrap();
/// println!("{}", before[0]);
/// ```
///
/// [`Runtime::buffer_from`]: crate::Runtime::buffer_from
/// [`Runtime::alloc`]: crate::Runtime::alloc
#[derive(Debug)]
pub struct Buffer<T> {
    pub(crate) storage: Arc<Storage>,
    len: usize,
    element: PhantomData<T>,
}

/// What is behind a buffer, shared with the calls in flight.
#[derive(Debug)]
pub(crate) struct Storage {
    pub(crate) slot: Arc<Slot>,
    device: Mutex<DeviceSide>,
}

/// The buffer on the GPU: a copy, or the slot itself.
#[derive(Debug, Default)]
struct DeviceSide {
    copy: Option<Arc<DeviceBuffer>>,
    /// Whether the copy is the newest content, perhaps beside the host's.
    is_current: bool,
    shared: Shared,
}

/// Whether the GPU works on the slot in place.
#[derive(Debug, Default)]
enum Shared {
    /// Nobody has tried.
    #[default]
    Untried,
    /// It does.
    Yes(Arc<DeviceBuffer>),
    /// Its driver refuses.
    No,
}

/// Where the newest content of a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// In host memory alone.
    Host,
    /// On the GPU alone.
    Gpu,
    /// In both.
    Both,
}

impl Storage {
    fn device(&self) -> MutexGuard<'_, DeviceSide> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn residency(&self) -> Residency {
        let device = self.device();
        let is_current = device.is_current || matches!(device.shared, Shared::Yes(_));
        match (self.slot.is_pending(), is_current) {
            (true, _) => Residency::Gpu,
            (false, true) => Residency::Both,
            (false, false) => Residency::Host,
        }
    }

    /// The host's content is about to change: the copy on the GPU is no longer the newest.
    pub(crate) fn host_changes(&self) {
        self.device().is_current = false;
    }

    /// Whether the GPU will work on the slot in place.
    pub(crate) fn will_share(&self, gpu: &Gpu) -> bool {
        gpu.can_share(&self.slot) && !matches!(self.device().shared, Shared::No)
    }

    /// The slot as a buffer of the GPU; `None` where a copy is needed.
    pub(crate) fn shared(&self, gpu: &Arc<Gpu>) -> Result<Option<Arc<DeviceBuffer>>, DeviceError> {
        if !gpu.can_share(&self.slot) {
            return Ok(None);
        }
        let mut device = self.device();
        if let Shared::Untried = device.shared {
            let over = DeviceBuffer::over(gpu, &self.slot, self.slot.bytes() as u64)?;
            device.shared = over.map_or(Shared::No, |buffer| Shared::Yes(Arc::new(buffer)));
        }
        match &device.shared {
            Shared::Yes(buffer) => Ok(Some(buffer.clone())),
            Shared::No | Shared::Untried => Ok(None),
        }
    }

    /// The copy on the GPU, current; `upload` brings the host's content there if it must.
    pub(crate) fn on_gpu<E>(
        &self,
        make: impl FnOnce() -> Result<DeviceBuffer, E>,
        upload: impl FnOnce(&DeviceBuffer) -> Result<(), E>,
    ) -> Result<Arc<DeviceBuffer>, E> {
        let mut device = self.device();
        let copy = match &device.copy {
            Some(copy) => copy.clone(),
            None => {
                let copy = Arc::new(make()?);
                device.copy = Some(copy.clone());
                copy
            }
        };
        if !device.is_current {
            upload(&copy)?;
            device.is_current = true;
        }
        Ok(copy)
    }

    /// Room for a copy on the GPU, without the content.
    pub(crate) fn room_on_gpu<E>(
        &self,
        make: impl FnOnce() -> Result<DeviceBuffer, E>,
    ) -> Result<Arc<DeviceBuffer>, E> {
        let mut device = self.device();
        device.is_current = false;
        let copy = match device.copy.take() {
            Some(copy) => copy,
            None => Arc::new(make()?),
        };
        device.copy = Some(copy.clone());
        Ok(copy)
    }

    /// The copy on the GPU has the newest content.
    pub(crate) fn gpu_is_current(&self) {
        self.device().is_current = true;
    }

    /// The copy on the GPU has been given up: the device is gone.
    pub(crate) fn forget_gpu(&self) {
        *self.device() = DeviceSide::default();
    }
}

impl<T: Element> Buffer<T> {
    pub(crate) fn new(elements: usize) -> Result<Buffer<T>, Error> {
        let bytes = elements.saturating_mul(size_of::<T>());
        let slot = Arc::new(Slot::zeroed(bytes)?);
        let storage = Arc::new(Storage { slot, device: Mutex::default() });
        Ok(Buffer { storage, len: elements, element: PhantomData })
    }

    /// Waits for calls that change the buffer, then gives its content.
    ///
    /// # Errors
    /// [`Error::Memory`] when the newest content was on a device that is gone.
    pub fn read(&self) -> Result<ReadSlice<'_, T>, Error> {
        let guard = self.storage.slot.read::<T>();
        self.storage.slot.settle(guard.claim())?;
        Ok(ReadSlice { guard, len: self.len, buffer: PhantomData })
    }

    /// Waits for all calls that use the buffer, then gives its content to change.
    ///
    /// # Errors
    /// [`Error::Memory`] when the newest content was on a device that is gone.
    pub fn write(&mut self) -> Result<WriteSlice<'_, T>, Error> {
        let guard = self.storage.slot.write::<T>();
        self.storage.slot.settle(guard.claim())?;
        self.storage.host_changes();
        Ok(WriteSlice { guard, len: self.len, buffer: PhantomData })
    }

    /// The content as a vector.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    pub fn to_vec(&self) -> Result<Vec<T>, Error> {
        Ok(self.read()?.to_vec())
    }
}

impl<T> Buffer<T> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the newest content is. Calls in flight may change it.
    pub fn residency(&self) -> Residency {
        self.storage.residency()
    }
}

/// The content of a buffer. Calls that change the buffer wait until it is dropped.
#[derive(Debug)]
pub struct ReadSlice<'b, T> {
    guard: ReadGuard<T>,
    len: usize,
    buffer: PhantomData<&'b Buffer<T>>,
}

impl<T: Pod> Deref for ReadSlice<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.guard[..self.len]
    }
}

/// The content of a buffer, to change. Calls that use the buffer wait until it is dropped.
#[derive(Debug)]
pub struct WriteSlice<'b, T> {
    guard: WriteGuard<T>,
    len: usize,
    buffer: PhantomData<&'b mut Buffer<T>>,
}

impl<T: Pod> Deref for WriteSlice<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.guard[..self.len]
    }
}

impl<T: Pod> DerefMut for WriteSlice<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let len = self.len;
        &mut self.guard[..len]
    }
}

/// What fetches a buffer's content from the GPU when somebody looks, counting what it costs.
pub(crate) fn fetch(
    copy: Arc<DeviceBuffer>,
    transfers: Arc<Transfers>,
    call: u64,
    blame: impl FnOnce(DeviceError) -> String + Send + 'static,
) -> crossover_memory::Fill {
    Box::new(move |bytes| {
        let start = std::time::Instant::now();
        copy.read(0, bytes, None).map_err(blame)?;
        transfers.count(Reason::HostRead, bytes.len() as u64, start.elapsed(), call);
        Ok(())
    })
}

/// Room on the GPU for a buffer of this many bytes.
pub(crate) fn room(gpu: &Arc<Gpu>, bytes: usize) -> Result<DeviceBuffer, DeviceError> {
    DeviceBuffer::new(gpu, bytes as u64)
}
