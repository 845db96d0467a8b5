//! Copies of buffers on the device, and the pools that their memory comes from: creating memory
//! costs far more than a small dispatch.

use std::ops::Range;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crossover_kernels::exec::Deadline;
use crossover_memory::Slot;

use crate::device::{DeviceError, Gpu, Sharing};
use crate::import;

/// Memory is asked for in powers of two from this size on, so that a freed buffer fits the next.
const BYTES_MIN: u64 = 256;
/// Bytes of free memory that each pool keeps, and the number of pieces.
const POOL_BYTES_MAX: u64 = 256 << 20;
const POOL_BUFFERS_MAX: usize = 64;
/// Bytes that are staged at once on the way to the device. While one part is on its way, the next is staged.
const UPLOAD_BYTES_MAX: usize = 32 << 20;

const STORAGE: wgpu::BufferUsages = import::USAGE;
/// Storage that the host maps: where the adapter shares memory so.
const MAPPED: wgpu::BufferUsages =
    STORAGE.union(wgpu::BufferUsages::MAP_READ).union(wgpu::BufferUsages::MAP_WRITE);
const READBACK: wgpu::BufferUsages =
    wgpu::BufferUsages::MAP_READ.union(wgpu::BufferUsages::COPY_DST);

/// Free buffers of a device.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    storage: Vec<wgpu::Buffer>,
    readback: Vec<wgpu::Buffer>,
}

impl Pool {
    fn shelf(&mut self, usage: wgpu::BufferUsages) -> &mut Vec<wgpu::Buffer> {
        if usage == READBACK { &mut self.readback } else { &mut self.storage }
    }

    fn take(&mut self, bytes: u64, usage: wgpu::BufferUsages) -> Option<wgpu::Buffer> {
        let shelf = self.shelf(usage);
        let at = shelf.iter().position(|buffer| buffer.size() == bytes)?;
        Some(shelf.swap_remove(at))
    }

    fn give(&mut self, buffer: wgpu::Buffer) {
        let shelf = self.shelf(buffer.usage());
        let held: u64 = shelf.iter().map(wgpu::Buffer::size).sum();
        if shelf.len() < POOL_BUFFERS_MAX && held + buffer.size() <= POOL_BYTES_MAX {
            shelf.push(buffer);
        } else {
            // A cached bind group may still name it: free the memory now.
            buffer.destroy();
        }
    }

    fn clear(&mut self) {
        for buffer in self.storage.drain(..).chain(self.readback.drain(..)) {
            buffer.destroy();
        }
    }
}

impl Gpu {
    fn take_buffer(
        &self,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, DeviceError> {
        let limit = self.capabilities().buffer_bytes_max;
        if bytes > limit {
            return Err(DeviceError::Memory { needed: bytes, limit });
        }
        self.healthy()?;
        let size = bytes.max(BYTES_MIN).next_power_of_two();
        // Large buffers are not rounded: half of a large power of two is too much to waste.
        let size = if size > 16 << 20 { bytes.next_multiple_of(4096) } else { size };
        let size = size.min(self.device().limits().max_buffer_size);
        if let Some(buffer) = self.pool().take(size, usage) {
            return Ok(buffer);
        }
        self.create_buffer(size, usage).or_else(|error| match error {
            DeviceError::Memory { .. } => {
                // What the pools hold may be what is missing.
                self.pool().clear();
                self.create_buffer(size, usage)
            }
            DeviceError::Deadline(_) | DeviceError::Failed(_) | DeviceError::Refused(_) => {
                Err(error)
            }
        })
    }

    fn give_buffer(&self, buffer: wgpu::Buffer) {
        if !self.is_lost() {
            self.pool().give(buffer);
        }
    }
}

/// A buffer of the device: a copy, whose memory goes back to a pool when it is dropped, or host memory
/// itself.
#[derive(Debug)]
pub struct DeviceBuffer {
    gpu: Arc<Gpu>,
    buffer: Option<wgpu::Buffer>,
    bytes: u64,
    /// The host memory that it is.
    slot: Option<Arc<Slot>>,
}

impl DeviceBuffer {
    /// Memory for `bytes` bytes of unknown content.
    ///
    /// # Errors
    /// [`DeviceError::Memory`] beyond the device's limits or memory.
    pub fn new(gpu: &Arc<Gpu>, bytes: u64) -> Result<DeviceBuffer, DeviceError> {
        let usage = if gpu.sharing() == Sharing::Mapped { MAPPED } else { STORAGE };
        let buffer = Some(gpu.take_buffer(bytes, usage)?);
        Ok(DeviceBuffer { gpu: gpu.clone(), buffer, bytes, slot: None })
    }

    /// The slot itself as a buffer of the device, the first `bytes` bytes of it in use; `None` where that
    /// cannot be had, and a copy is needed.
    ///
    /// # Errors
    /// [`DeviceError::Failed`] when the device is lost.
    pub fn over(
        gpu: &Arc<Gpu>,
        slot: &Arc<Slot>,
        bytes: u64,
    ) -> Result<Option<DeviceBuffer>, DeviceError> {
        let Some(importer) = gpu.importer().filter(|_| gpu.can_share(slot)) else {
            return Ok(None);
        };
        gpu.healthy()?;
        match gpu.catching(|| importer.import(gpu.device(), slot, STORAGE)) {
            Ok(Ok(buffer)) => {
                let (gpu, slot) = (gpu.clone(), Some(slot.clone()));
                Ok(Some(DeviceBuffer { gpu, buffer: Some(buffer), bytes, slot }))
            }
            Ok(Err(message)) => {
                tracing::debug!(message, "a buffer is copied to the GPU, not shared");
                Ok(None)
            }
            Err(error) => {
                tracing::debug!(%error, "a buffer is copied to the GPU, not shared");
                Ok(None)
            }
        }
    }

    /// The host memory that it is; `None` for a copy. Its content is touched only under a claim.
    pub fn slot(&self) -> Option<&Arc<Slot>> {
        self.slot.as_ref()
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Bytes in use.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The driver's buffer. It has room for an element of any type even if no byte is in use.
    pub(crate) fn raw(&self) -> &wgpu::Buffer {
        self.buffer.as_ref().expect("a device buffer has its memory until it is dropped")
    }

    /// The part of the driver's buffer that shaders see.
    pub(crate) fn binding(&self) -> wgpu::BindingResource<'_> {
        self.binding_from(0, self.bytes)
    }

    /// A part of it that they see, which begins where bindings can.
    pub(crate) fn binding_from(&self, offset: u64, bytes: u64) -> wgpu::BindingResource<'_> {
        let size = wgpu::BufferSize::new(bytes.next_multiple_of(4).max(16));
        wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: self.raw(), offset, size })
    }

    /// Copies bytes to the device, from `offset` on. Both are multiples of 4.
    ///
    /// # Errors
    /// [`DeviceError::Failed`] when the device is lost.
    ///
    /// # Panics
    /// When the range is not within the buffer, or the buffer is host memory.
    pub fn upload(&self, offset: u64, data: &[u8]) -> Result<(), DeviceError> {
        assert!(offset + data.len() as u64 <= self.bytes, "an upload stays within its buffer");
        assert!(self.slot.is_none(), "host memory is written by the host");
        if self.raw().usage().contains(wgpu::BufferUsages::MAP_WRITE) {
            return self.mapped(wgpu::MapMode::Write, offset, data.len(), None, |range| {
                let mut view = self.raw().get_mapped_range_mut(range)?;
                view.slice(view.len() - data.len()..).copy_from_slice(data);
                Ok(())
            });
        }
        let queue = self.gpu.queue();
        let mut at = offset;
        let mut before = None;
        for part in data.chunks(UPLOAD_BYTES_MAX) {
            queue.write_buffer(self.raw(), at, part);
            at += part.len() as u64;
            if part.len() == UPLOAD_BYTES_MAX {
                let submission = self.gpu.submit(None);
                // Frees the staging memory of the part before, so that the next one takes no more.
                if let Some(before) = before.replace(submission) {
                    self.gpu.wait(&before, None)?;
                }
            }
        }
        self.gpu.healthy()
    }

    /// Copies bytes back from the device, from `offset` on. Both are multiples of 4.
    ///
    /// # Errors
    /// [`DeviceError::Failed`] when the device is lost, [`DeviceError::Memory`] when there is no
    /// memory to copy through, [`DeviceError::Deadline`].
    ///
    /// # Panics
    /// When the range is not within the buffer, or the buffer is host memory.
    pub fn read(
        &self,
        offset: u64,
        out: &mut [u8],
        deadline: Option<Deadline>,
    ) -> Result<(), DeviceError> {
        if out.is_empty() {
            return Ok(());
        }
        assert!(self.slot.is_none(), "host memory is read by the host");
        let bytes = out.len() as u64;
        if self.raw().usage().contains(wgpu::BufferUsages::MAP_READ) {
            return self.mapped(wgpu::MapMode::Read, offset, out.len(), deadline, |range| {
                let view = self.raw().get_mapped_range(range)?;
                out.copy_from_slice(&view[view.len() - out.len()..]);
                Ok(())
            });
        }
        let mut readbacks = Readbacks::new(&self.gpu);
        readbacks.add(self, offset, bytes)?;
        readbacks.run(deadline)?;
        readbacks.take(0, out)
    }

    /// Has the host reach the bytes from `offset` on while `copy` runs; it gets the range to look at, which
    /// begins a little before where the offset is not one of a mapping.
    fn mapped(
        &self,
        mode: wgpu::MapMode,
        offset: u64,
        bytes: usize,
        deadline: Option<Deadline>,
        copy: impl FnOnce(Range<u64>) -> Result<(), wgpu::MapRangeError>,
    ) -> Result<(), DeviceError> {
        if bytes == 0 {
            return Ok(());
        }
        let _alone = self.gpu.mapping().write().unwrap_or_else(PoisonError::into_inner);
        let start = offset / wgpu::MAP_ALIGNMENT * wgpu::MAP_ALIGNMENT;
        let range = start..offset + bytes as u64;
        let mapped = Mapped::of(self.raw(), mode, range.clone());
        let waited = self.gpu.wait(&self.gpu.submit(None), deadline);
        let done = waited
            .and_then(|()| mapped.check())
            .and_then(|()| copy(range).map_err(|error| DeviceError::Failed(error.to_string())));
        if !self.gpu.is_lost() {
            self.raw().unmap();
        }
        done
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        match (self.buffer.take(), &self.slot) {
            // A cached bind group may still name it; the slot is let go once the GPU is through.
            (Some(buffer), Some(_)) => buffer.destroy(),
            (Some(buffer), None) => self.gpu.give_buffer(buffer),
            (None, _) => {}
        }
    }
}

impl Gpu {
    /// Whether a slot can be a buffer of the device as it is.
    pub fn can_share(&self, slot: &Slot) -> bool {
        let bytes = slot.bytes() as u64;
        self.importer().is_some() && bytes > 0 && bytes <= self.capabilities().buffer_bytes_max
    }
}

/// Several copies from the device, made with one submission.
pub(crate) struct Readbacks<'g> {
    gpu: &'g Gpu,
    encoder: Option<wgpu::CommandEncoder>,
    staged: Vec<(wgpu::Buffer, u64)>,
    are_mapped: bool,
}

impl<'g> Readbacks<'g> {
    pub(crate) fn new(gpu: &'g Gpu) -> Readbacks<'g> {
        let encoder = gpu.device().create_command_encoder(&Default::default());
        Readbacks { gpu, encoder: Some(encoder), staged: Vec::new(), are_mapped: false }
    }

    /// Adds a copy of bytes that are not none.
    pub(crate) fn add(
        &mut self,
        from: &DeviceBuffer,
        offset: u64,
        bytes: u64,
    ) -> Result<(), DeviceError> {
        assert!(offset + bytes <= from.bytes, "a copy stays within its buffer");
        let staging = self.gpu.take_buffer(bytes, READBACK)?;
        if let Some(encoder) = &mut self.encoder {
            encoder.copy_buffer_to_buffer(from.raw(), offset, &staging, 0, bytes);
        }
        self.staged.push((staging, bytes));
        Ok(())
    }

    /// Makes the copies.
    pub(crate) fn run(&mut self, deadline: Option<Deadline>) -> Result<(), DeviceError> {
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        let submission = self.gpu.submit(Some(encoder.finish()));
        let mapped: Vec<Mapped> =
            self.staged.iter().map(|(staging, bytes)| Mapped::read(staging, *bytes)).collect();
        self.gpu.wait(&submission, deadline)?;
        mapped.iter().try_for_each(Mapped::check)?;
        self.are_mapped = true;
        Ok(())
    }

    /// The bytes of one copy, in the order in which they were added.
    pub(crate) fn take(&self, at: usize, out: &mut [u8]) -> Result<(), DeviceError> {
        let (staging, bytes) = &self.staged[at];
        let view = staging
            .get_mapped_range(..*bytes)
            .map_err(|error| DeviceError::Failed(error.to_string()))?;
        out.copy_from_slice(&view);
        Ok(())
    }
}

impl Drop for Readbacks<'_> {
    fn drop(&mut self) {
        // A buffer whose mapping failed is not used again.
        for (staging, _) in self.staged.drain(..).filter(|_| self.are_mapped) {
            staging.unmap();
            self.gpu.give_buffer(staging);
        }
    }
}

/// A mapping that was asked for.
#[derive(Debug)]
pub(crate) struct Mapped(Receiver<Result<(), wgpu::BufferAsyncError>>);

/// Another thread that polls the device may be the one that calls back, a little after the wait for
/// the submission has ended.
const CALLBACK_MAX: Duration = Duration::from_secs(10);

impl Mapped {
    /// Of the first bytes of a buffer, to read.
    pub(crate) fn read(buffer: &wgpu::Buffer, bytes: u64) -> Mapped {
        Mapped::of(buffer, wgpu::MapMode::Read, 0..bytes)
    }

    fn of(buffer: &wgpu::Buffer, mode: wgpu::MapMode, range: Range<u64>) -> Mapped {
        let (tell, told) = channel();
        buffer.map_async(mode, range, move |result| {
            // Nobody listens where the wait has failed.
            let _ = tell.send(result);
        });
        Mapped(told)
    }

    /// Waits until it is made, after its submission is done.
    pub(crate) fn check(&self) -> Result<(), DeviceError> {
        match self.0.recv_timeout(CALLBACK_MAX) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(DeviceError::Failed(error.to_string())),
            Err(_) => Err(DeviceError::Failed("the driver does not map a buffer".to_owned())),
        }
    }
}
