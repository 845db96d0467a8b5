//! Waiting for submissions without wgpu: a timeline semaphore of our own, signalled by each.
//!
//! A wait through wgpu holds its locks, so that threads that release buffers stop all others meanwhile,
//! and one with a timeout can panic (gfx-rs/wgpu#9958). A wait for a semaphore holds nothing, takes a
//! timeout, and sleeps in the driver.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ash::vk;
use wgpu::hal::api::Vulkan;

/// Signalled with a larger value by each submission.
pub(crate) struct Timeline {
    raw: ash::Device,
    semaphore: vk::Semaphore,
    /// The value of the last submission.
    last: Mutex<u64>,
}

impl std::fmt::Debug for Timeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Timeline").field("last", &self.last).finish_non_exhaustive()
    }
}

/// What a wait found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// The submission is done.
    Done,
    /// It was not, within the time.
    TimedOut,
}

impl Timeline {
    /// A timeline of a device of this adapter; `None` where the driver has none.
    pub(crate) fn new(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Option<Timeline> {
        // SAFETY: nothing of the adapter is destroyed.
        let capable = unsafe { adapter.as_hal::<Vulkan>() }?;
        // From this version on every driver has them, and wgpu switches them on.
        let version = capable.physical_device_capabilities().properties().api_version;
        if version < vk::API_VERSION_1_2 {
            return None;
        }
        let mut ty = vk::SemaphoreTypeCreateInfo::default()
            .semaphore_type(vk::SemaphoreType::TIMELINE)
            .initial_value(0);
        let info = vk::SemaphoreCreateInfo::default().push_next(&mut ty);
        // SAFETY: the handle is cloned and used only while the device lives: see `destroy`.
        unsafe {
            let hal = device.as_hal::<Vulkan>()?;
            let raw = hal.raw_device().clone();
            let semaphore = raw.create_semaphore(&info, None).ok()?;
            Some(Timeline { raw, semaphore, last: Mutex::new(0) })
        }
    }

    /// Submits, and gives wgpu's number of the submission and the timeline's value when it is done.
    pub(crate) fn submit(
        &self,
        queue: &wgpu::Queue,
        commands: Option<wgpu::CommandBuffer>,
    ) -> (wgpu::SubmissionIndex, u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last += 1;
        // SAFETY: the queue's handle is not touched but to leave a semaphore of its device for its next
        // submission; the lock sees to it that this is ours.
        let hal = unsafe { queue.as_hal::<Vulkan>() };
        if let Some(hal) = &hal {
            hal.add_signal_semaphore(self.semaphore, Some(*last));
        }
        let index = queue.submit(commands);
        if let Some(hal) = &hal
            && hal.remove_signal_semaphore(self.semaphore)
        {
            // The submission was refused, and nobody will signal its value: there is nothing to wait for but
            // what came before.
            *last -= 1;
        }
        (index, *last)
    }

    /// The value of the last submission.
    pub(crate) fn last(&self) -> u64 {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the value is reached, at most this long.
    pub(crate) fn wait(&self, value: u64, limit: Duration) -> Result<Waited, String> {
        let (semaphores, values) = ([self.semaphore], [value]);
        let info = vk::SemaphoreWaitInfo::default().semaphores(&semaphores).values(&values);
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        // SAFETY: the semaphore lives until `destroy`, which wants `self` for itself.
        match unsafe { self.raw.wait_semaphores(&info, nanos) } {
            Ok(()) => Ok(Waited::Done),
            Err(vk::Result::TIMEOUT) => Ok(Waited::TimedOut),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Frees the semaphore. Nothing that signals it is under way, and the device still lives.
    pub(crate) fn destroy(&mut self) {
        let semaphore = std::mem::take(&mut self.semaphore);
        // SAFETY: `semaphore` is this value's own, and is never used again: a null handle takes its place.
        unsafe { self.raw.destroy_semaphore(semaphore, None) };
    }
}
