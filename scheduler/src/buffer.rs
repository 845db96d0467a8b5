//! Buffers: one allocation that is a Rust slice, a wasm memory and, in place where the driver can import
//! host memory and else through a copy that is made when needed, a GPU buffer.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;
use crossover_kernels::Scalar;
use crossover_memory::{Lent, Ranges, ReadGuard, Slot, Want, WriteGuard, claim};
use crossover_shaders::{DeviceBuffer, DeviceError, Gpu};
use smallvec::SmallVec;

use crate::bus::{Looks, State};
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
    /// No other has it, in this process.
    pub(crate) number: u64,
    /// Of each GPU that has been given it.
    devices: Mutex<Devices>,
    /// Whether there is something to say of a GPU's side, and whether a driver refuses to share: for those who need to
    /// know no more, without the lock. Both change under it, by those whose claim lets nobody in who must
    /// know of the change.
    has_sides: AtomicBool,
    is_unshared: AtomicBool,
    /// What becomes of results.
    pub(crate) looks: Looks,
}

/// Most runtimes have one GPU.
type Devices = SmallVec<[DeviceSide; 1]>;

/// The buffer on a GPU: a copy, or the slot itself.
#[derive(Debug)]
struct DeviceSide {
    gpu: Arc<Gpu>,
    copy: Option<Arc<DeviceBuffer>>,
    /// Bytes of the copy that are older than the newest.
    stale: Ranges,
    shared: Shared,
    /// Seconds that working on the slot across the bus has cost since the content changed.
    paid_s: f64,
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
    /// On a GPU alone.
    Gpu,
    /// In both.
    Both,
    /// Some of it on the host, some on a GPU.
    Split,
}

impl DeviceSide {
    /// How many of these bytes the copy lacks.
    fn lacks(&self, part: &Range<usize>) -> usize {
        match &self.copy {
            Some(_) => self.stale.within(part).iter().map(Range::len).sum(),
            None => part.len(),
        }
    }

    fn is_current(&self) -> bool {
        match (&self.shared, &self.copy) {
            (Shared::Yes(_), _) if !self.gpu.info().own_memory => true,
            (_, Some(_)) => self.stale.is_empty(),
            (_, None) => false,
        }
    }
}

/// The buffer on this GPU. What was on devices that are gone is forgotten.
fn side<'d>(devices: &'d mut Devices, gpu: &Arc<Gpu>) -> &'d mut DeviceSide {
    devices.retain(|side| !side.gpu.is_lost() || Arc::ptr_eq(&side.gpu, gpu));
    let known = devices.iter().position(|side| Arc::ptr_eq(&side.gpu, gpu));
    let at = known.unwrap_or_else(|| {
        let (copy, stale, shared, paid_s) = Default::default();
        devices.push(DeviceSide { gpu: gpu.clone(), copy, stale, shared, paid_s });
        devices.len() - 1
    });
    &mut devices[at]
}

impl Storage {
    /// So many bytes, all 0.
    pub(crate) fn new(bytes: usize) -> Result<Storage, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let slot = Arc::new(Slot::zeroed(bytes)?);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let (devices, has_sides, is_unshared, looks) = Default::default();
        Ok(Storage { slot, number, devices, has_sides, is_unshared, looks })
    }

    fn devices(&self) -> MutexGuard<'_, Devices> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn residency(&self) -> Residency {
        let is_current = self.devices().iter().any(DeviceSide::is_current);
        match (self.slot.is_pending(), is_current) {
            (true, true) => Residency::Gpu,
            (true, false) => Residency::Split,
            (false, true) => Residency::Both,
            (false, false) => Residency::Host,
        }
    }

    /// How many of these bytes a GPU lacks.
    pub(crate) fn stale_bytes(&self, gpu: Option<&Arc<Gpu>>, part: &Range<usize>) -> usize {
        let (Some(gpu), true) = (gpu, self.has_sides.load(Ordering::Acquire)) else {
            return part.len();
        };
        let devices = self.devices();
        let known = devices.iter().find(|side| Arc::ptr_eq(&side.gpu, gpu));
        known.map_or(part.len(), |side| side.lacks(part))
    }

    /// Changes what is known of every GPU's side, if anything is.
    fn each_side(&self, change: impl FnMut(&mut DeviceSide)) {
        if self.has_sides.load(Ordering::Acquire) {
            self.devices().iter_mut().for_each(change);
        }
    }

    /// The host's content is about to change: no copy on a GPU is the newest any longer.
    pub(crate) fn host_changes(&self) {
        self.host_is_current(&(0..self.slot.bytes()));
    }

    /// The host has the newest content of some bytes.
    pub(crate) fn host_is_current(&self, part: &Range<usize>) {
        // A copy that is yet to be made will lack everything.
        self.each_side(|side| {
            side.stale.insert(part.clone());
            side.paid_s = 0.0;
        });
    }

    /// A GPU changes some bytes where the host has them: all copies are older, its own among them.
    pub(crate) fn changes_in_place(&self, gpu: &Arc<Gpu>, part: &Range<usize>) {
        self.each_side(|side| {
            side.stale.insert(part.clone());
            if !Arc::ptr_eq(&side.gpu, gpu) {
                side.paid_s = 0.0;
            }
        });
    }

    /// Where the bytes of some part are, for a GPU with memory of its own.
    pub(crate) fn state(&self, gpu: &Arc<Gpu>, part: &Range<usize>) -> State {
        let devices = self.devices();
        let known = devices.iter().find(|side| Arc::ptr_eq(&side.gpu, gpu));
        State {
            stale: known.map_or(part.len(), |side| side.lacks(part)) as u64,
            pending: self.slot.pending_bytes() as u64,
            paid_s: known.map_or(0.0, |side| side.paid_s),
            look_chance: self.looks.chance(),
        }
    }

    /// A call has worked on the slot across a GPU's bus, which made it slower by so much.
    pub(crate) fn pay(&self, gpu: &Arc<Gpu>, seconds: f64) {
        side(&mut self.devices(), gpu).paid_s += seconds;
        // That what was paid is forgotten when the content changes.
        self.has_sides.store(true, Ordering::Release);
    }

    /// A GPU has the newest content of some bytes, in its copy or in place.
    pub(crate) fn gpu_is_current(&self, gpu: &Arc<Gpu>, part: &Range<usize>) {
        self.each_side(|side| match Arc::ptr_eq(&side.gpu, gpu) {
            true => side.stale.remove(part),
            false => side.stale.insert(part.clone()),
        });
    }

    /// Whether a GPU will work on the slot in place.
    pub(crate) fn will_share(&self, gpu: &Arc<Gpu>) -> bool {
        let refuses =
            |side: &DeviceSide| Arc::ptr_eq(&side.gpu, gpu) && matches!(side.shared, Shared::No);
        gpu.can_share(&self.slot)
            && !(self.is_unshared.load(Ordering::Acquire) && self.devices().iter().any(refuses))
    }

    /// The slot as a buffer of a GPU; `None` where a copy is needed.
    pub(crate) fn shared(&self, gpu: &Arc<Gpu>) -> Result<Option<Arc<DeviceBuffer>>, DeviceError> {
        if !gpu.can_share(&self.slot) {
            return Ok(None);
        }
        let mut devices = self.devices();
        let side = side(&mut devices, gpu);
        if let Shared::Untried = side.shared {
            let over = DeviceBuffer::over(gpu, &self.slot, self.slot.bytes() as u64)?;
            side.shared = match over {
                Some(buffer) => Shared::Yes(Arc::new(buffer)),
                None => {
                    self.is_unshared.store(true, Ordering::Release);
                    Shared::No
                }
            };
        }
        match &side.shared {
            Shared::Yes(buffer) => Ok(Some(buffer.clone())),
            Shared::No | Shared::Untried => Ok(None),
        }
    }

    /// The copy on a GPU, current in some bytes; `upload` brings what it lacks of them there.
    pub(crate) fn on_gpu<E>(
        &self,
        gpu: &Arc<Gpu>,
        part: &Range<usize>,
        make: impl FnOnce() -> Result<DeviceBuffer, E>,
        mut upload: impl FnMut(&DeviceBuffer, Range<usize>) -> Result<(), E>,
    ) -> Result<Arc<DeviceBuffer>, E> {
        let mut devices = self.devices();
        let side = side(&mut devices, gpu);
        let copy = match &side.copy {
            Some(copy) => copy.clone(),
            None => {
                let copy = Arc::new(make()?);
                side.copy = Some(copy.clone());
                side.stale = Ranges::below(self.slot.bytes());
                self.has_sides.store(true, Ordering::Release);
                copy
            }
        };
        for stale in side.stale.within(part) {
            upload(&copy, stale.clone())?;
            side.stale.remove(&stale);
        }
        Ok(copy)
    }

    /// What a GPU had of it has been given up: the device is gone.
    pub(crate) fn forget_gpu(&self, gpu: &Arc<Gpu>) {
        self.devices().retain(|side| !Arc::ptr_eq(&side.gpu, gpu));
    }
}

impl<T: Element> Buffer<T> {
    pub(crate) fn new(elements: usize) -> Result<Buffer<T>, Error> {
        let storage = Arc::new(Storage::new(elements.saturating_mul(size_of::<T>()))?);
        Ok(Buffer { storage, len: elements, element: PhantomData })
    }

    /// Waits for calls that change the buffer, then gives its content.
    ///
    /// # Errors
    /// [`Error::Memory`] when the newest content was on a device that is gone.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let x = rt.buffer_from(&[1.0f32, 2.0, 3.0])?;
    /// assert_eq!(x.read()?.iter().sum::<f32>(), 6.0);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn read(&self) -> Result<ReadSlice<'_, T>, Error> {
        self.look(Lent::Lent(&self.storage.slot))
    }

    /// The same of a slot that is lent or shared: the claim that the slice holds keeps writers away, and the memory alive,
    /// with the buffer or without it.
    pub(crate) fn look<'b>(&self, slot: Lent<'b, Slot>) -> Result<ReadSlice<'b, T>, Error> {
        let guard = ReadGuard::of(slot, 0..self.storage.slot.bytes());
        guard.settle()?;
        self.storage.looks.look();
        Ok(ReadSlice { guard, len: self.len })
    }

    /// Waits for all calls that use the buffer, then gives its content to change.
    ///
    /// # Errors
    /// [`Error::Memory`] when the newest content was on a device that is gone.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let mut x = rt.buffer_from(&[3u32, 1, 2])?;
    /// x.write()?.sort_unstable();
    /// assert_eq!(*x.read()?, [1, 2, 3]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn write(&mut self) -> Result<WriteSlice<'_, T>, Error> {
        let guard = self.storage.slot.write::<T>();
        guard.settle()?;
        self.storage.looks.look();
        self.storage.host_changes();
        Ok(WriteSlice { guard, len: self.len, buffer: PhantomData })
    }

    /// Waits for calls that change the buffer, then gives some of its elements. Only these are fetched, where
    /// they are elsewhere.
    ///
    /// # Errors
    /// [`Error::Range`] when they are not within the buffer, [`Error::Memory`] as for [`Buffer::read`].
    ///
    /// ```
    /// # fn main() -> Result<(), crossover::Error> {
    /// let rt = crossover::Runtime::new()?;
    /// let mut x = rt.buffer_from(&[1.0f32, 2.0, 3.0, 4.0])?;
    /// x.write_range(1..3)?.fill(0.0);
    /// assert_eq!(*x.read_range(2..4)?, [0.0, 4.0]);
    /// assert!(x.read_range(3..5).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_range(&self, range: Range<usize>) -> Result<ReadSlice<'_, T>, Error> {
        let (part, len) = self.part(range)?;
        let guard = self.storage.slot.read_part::<T>(part.clone());
        guard.settle()?;
        self.storage.looks.look();
        Ok(ReadSlice { guard, len })
    }

    /// Waits for all calls that use the buffer, then gives some of its elements to change. Only these are
    /// fetched, where they are elsewhere, and only these are moved again.
    ///
    /// # Errors
    /// As [`Buffer::read_range`].
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// let mut x = rt.alloc::<i32>(4)?;
    /// x.write_range(0..2)?.copy_from_slice(&[-1, -2]);
    /// assert_eq!(x.to_vec()?, [-1, -2, 0, 0]);
    /// assert!(x.write_range(3..5).is_err());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn write_range(&mut self, range: Range<usize>) -> Result<WriteSlice<'_, T>, Error> {
        let (part, len) = self.part(range)?;
        let guard = self.storage.slot.write_part::<T>(part.clone());
        guard.settle()?;
        self.storage.looks.look();
        self.storage.host_is_current(&part);
        Ok(WriteSlice { guard, len, buffer: PhantomData })
    }

    /// Waits for all calls that use the buffer, then puts elements into it, from one on. What was there is not
    /// fetched, wherever it is.
    ///
    /// # Errors
    /// [`Error::Range`] when they go beyond the buffer's end, [`Error::Memory`] when content beside them is lost,
    /// or a device that hangs may still write there.
    ///
    /// ```
    /// # fn main() -> Result<(), crossover::Error> {
    /// let rt = crossover::Runtime::new()?;
    /// let mut x = rt.alloc(4)?;
    /// x.put(1, &[7u32, 8])?;
    /// assert_eq!(x.to_vec()?, [0, 7, 8, 0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&mut self, start: usize, elements: &[T]) -> Result<(), Error> {
        let (part, _) = self.part(start..start.saturating_add(elements.len()))?;
        let slot = &self.storage.slot;
        let mut claim = claim([(slot.clone(), Want::Write)]);
        claim.overwrite(slot, &part);
        slot.settle_part(&claim, &part)?;
        claim.slice_part_mut(slot, &part).copy_from_slice(elements);
        self.storage.host_is_current(&part);
        Ok(())
    }

    /// The bytes of some elements, and how many elements they are.
    fn part(&self, range: Range<usize>) -> Result<(Range<usize>, usize), Error> {
        if range.start > range.end || range.end > self.len {
            return Err(Error::Range { range, length: self.len });
        }
        Ok((range.start * size_of::<T>()..range.end * size_of::<T>(), range.len()))
    }

    /// The content as a vector.
    ///
    /// # Errors
    /// As [`Buffer::read`].
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// assert_eq!(rt.buffer_from(&[1.5f64, 2.5])?.to_vec()?, vec![1.5, 2.5]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn to_vec(&self) -> Result<Vec<T>, Error> {
        Ok(self.read()?.to_vec())
    }
}

impl<T> Buffer<T> {
    /// Number of elements.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// assert_eq!(rt.alloc::<f64>(1000)?.len(), 1000);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no elements.
    ///
    /// ```
    /// # let rt = crossover::Runtime::new()?;
    /// assert!(rt.buffer_from::<f32>(&[])?.is_empty());
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the newest content is. Calls in flight may change it.
    ///
    /// ```
    /// use crossover::Residency;
    /// # let rt = crossover::Runtime::new()?;
    /// let mut x = rt.alloc::<f32>(100)?;
    /// x.write()?.fill(1.0);
    /// assert_eq!(x.residency(), Residency::Host);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn residency(&self) -> Residency {
        self.storage.residency()
    }
}

/// The content of a buffer. Calls that change the buffer wait until it is dropped.
#[derive(Debug)]
pub struct ReadSlice<'b, T> {
    guard: ReadGuard<'b, T>,
    len: usize,
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
    guard: WriteGuard<'b, T>,
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
    blame: impl Fn(DeviceError) -> String + Send + 'static,
) -> crossover_memory::Fill {
    Box::new(move |at, bytes| {
        let start = std::time::Instant::now();
        copy.read(at as u64, bytes, None).map_err(&blame)?;
        transfers.count(Reason::HostRead, bytes.len() as u64, start.elapsed(), call);
        Ok(())
    })
}

/// Room on the GPU for a buffer of this many bytes.
pub(crate) fn room(gpu: &Arc<Gpu>, bytes: usize) -> Result<DeviceBuffer, DeviceError> {
    DeviceBuffer::new(gpu, bytes as u64)
}
