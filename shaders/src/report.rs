//! What a submission says when it is done: whether an invocation failed and why, and how long it took by
//! the device's clock.

use std::sync::Arc;

use crossover_memory::{Claim, Slot, Want, claim};

use crate::buffer::Mapped;
use crate::device::{DeviceError, Gpu};
use crate::emit::STATUS_BYTES;
use crate::import;

/// Where the timestamps are, aligned as resolving them asks.
const TICKS_AT: u64 = 256;
const TICKS_BYTES: u64 = 16;
const BYTES: u64 = TICKS_AT + TICKS_BYTES;

/// What was said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(crate) failed: bool,
    pub(crate) site: u32,
    pub(crate) index: u32,
    pub(crate) invocation: [u32; 3],
    /// The time between the timestamps, in the device's unit.
    pub(crate) ticks: u64,
}

/// Memory for reports, used again and again.
#[derive(Debug)]
pub(crate) struct Report {
    memory: Memory,
    /// The device's clock, where it has one.
    queries: Option<wgpu::QuerySet>,
    has_status: bool,
    /// Whether the status holds an earlier failure.
    is_set: bool,
}

#[derive(Debug)]
enum Memory {
    /// The device writes to host memory.
    Host { buffer: wgpu::Buffer, slot: Arc<Slot>, claim: Claim<'static> },
    /// It writes to its own, and copies.
    Copied { buffer: wgpu::Buffer, readback: wgpu::Buffer },
}

impl Report {
    pub(crate) fn new(gpu: &Gpu, has_status: bool) -> Result<Report, DeviceError> {
        let queries = gpu.timestamp_ns().map(|_| create_queries(gpu)).transpose()?;
        Ok(Report { memory: Memory::new(gpu)?, queries, has_status, is_set: false })
    }

    /// The buffer of the status: its first bytes.
    pub(crate) fn status(&self) -> &wgpu::Buffer {
        match &self.memory {
            Memory::Host { buffer, .. } | Memory::Copied { buffer, .. } => buffer,
        }
    }

    /// Before the work: nothing has failed yet.
    pub(crate) fn begin(&mut self, encoder: &mut wgpu::CommandEncoder) {
        if !std::mem::replace(&mut self.is_set, false) {
            return;
        }
        match &mut self.memory {
            Memory::Host { slot, claim, .. } => claim.slice_mut::<u8>(slot).fill(0),
            Memory::Copied { buffer, .. } => encoder.clear_buffer(buffer, 0, Some(STATUS_BYTES)),
        }
    }

    /// Has the device note the time around a pass, if it is asked to.
    pub(crate) fn timestamps(&self, timed: bool) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let query_set = self.queries.as_ref().filter(|_| timed)?;
        Some(wgpu::ComputePassTimestampWrites {
            query_set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        })
    }

    /// After the work: brings it here. Gives the buffer that is to become visible to the host, if any.
    pub(crate) fn end(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        timed: bool,
    ) -> Option<&wgpu::Buffer> {
        let is_timed = timed && self.queries.is_some();
        if let Some(queries) = self.queries.as_ref().filter(|_| timed) {
            encoder.resolve_query_set(queries, 0..2, self.status(), TICKS_AT);
        }
        match &self.memory {
            Memory::Host { buffer, .. } => Some(buffer).filter(|_| is_timed || self.has_status),
            Memory::Copied { buffer, readback } => {
                if is_timed {
                    encoder.copy_buffer_to_buffer(
                        buffer,
                        TICKS_AT,
                        readback,
                        TICKS_AT,
                        TICKS_BYTES,
                    );
                }
                if self.has_status {
                    encoder.copy_buffer_to_buffer(buffer, 0, readback, 0, STATUS_BYTES);
                }
                None
            }
        }
    }

    /// Asks for it, after the submission; `None` where it comes by itself, or there is none.
    pub(crate) fn ask(&self, timed: bool) -> Option<Mapped> {
        match &self.memory {
            Memory::Copied { readback, .. } if timed || self.has_status => {
                Some(Mapped::read(readback, BYTES))
            }
            Memory::Copied { .. } | Memory::Host { .. } => None,
        }
    }

    /// What it says, once the submission is done and what was asked for has come.
    pub(crate) fn read(&mut self, asked: bool, timed: bool) -> Result<Said, DeviceError> {
        let said = match &self.memory {
            Memory::Host { slot, claim, .. } => self.parse(claim.slice(slot), timed),
            Memory::Copied { readback, .. } if asked => {
                let view = readback.get_mapped_range(..BYTES);
                let view = view.map_err(|error| DeviceError::Failed(error.to_string()))?;
                self.parse(&view, timed)
            }
            Memory::Copied { .. } => Said::default(),
        };
        self.is_set = said.failed;
        Ok(said)
    }

    /// Nobody knows what a submission that did not end well has left.
    pub(crate) fn distrust(&mut self) {
        self.is_set = true;
    }

    /// Takes back what was asked for, when nobody looks at it any more.
    pub(crate) fn let_go(&self, asked: bool) {
        if let (Memory::Copied { readback, .. }, true) = (&self.memory, asked) {
            readback.unmap();
        }
    }

    fn parse(&self, bytes: &[u8], timed: bool) -> Said {
        let word = |at: u64| {
            let at = at as usize;
            bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        };
        let long = |at: u64| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
        let ticks = match timed && self.queries.is_some() {
            true => long(TICKS_AT + 8).saturating_sub(long(TICKS_AT)),
            false => 0,
        };
        Said {
            failed: self.has_status && word(0) != 0,
            site: word(4),
            index: word(8),
            invocation: [word(12), word(16), word(20)],
            ticks,
        }
    }
}

impl Memory {
    fn new(gpu: &Gpu) -> Result<Memory, DeviceError> {
        let usage = import::USAGE | wgpu::BufferUsages::QUERY_RESOLVE;
        if let Some(importer) = gpu.importer()
            && let Ok(slot) = Slot::zeroed(BYTES as usize)
        {
            let slot = Arc::new(slot);
            if let Ok(Ok(buffer)) = gpu.catching(|| importer.import(gpu.device(), &slot, usage)) {
                let claim = claim([(slot.clone(), Want::Write)]);
                return Ok(Memory::Host { buffer, slot, claim });
            }
        }
        let reading = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let (buffer, readback) =
            (gpu.create_buffer(BYTES, usage)?, gpu.create_buffer(BYTES, reading)?);
        Ok(Memory::Copied { buffer, readback })
    }
}

fn create_queries(gpu: &Gpu) -> Result<wgpu::QuerySet, DeviceError> {
    let descriptor =
        wgpu::QuerySetDescriptor { label: None, ty: wgpu::QueryType::Timestamp, count: 2 };
    gpu.catching(|| gpu.device().create_query_set(&descriptor))
        .map_err(|error| DeviceError::Failed(error.to_string()))
}
