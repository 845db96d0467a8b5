//! Shadow runs: the same call on the other device, on copies, compared element by element.

use std::sync::Arc;

use crossover_kernels::exec::{self, Arg, Deadline};
use crossover_kernels::ir::{Access, Const, Param, Type};
use crossover_memory::{Claim, Slot};

use crate::call::Job;
use crate::device::Device;
use crate::error::Error;
use crate::run;
use crate::version::{Code, GpuCode};

/// What the buffers that a call writes held before it.
pub(crate) struct Before(Vec<(Param, Arc<Slot>)>);

/// Copies the buffers that the call will write.
pub(crate) fn snapshot(job: &Job, claim: &Claim<'_>) -> Result<Before, Error> {
    run::settle(job, claim)?;
    let mut copies = Vec::new();
    for (param, _, access) in job.prepared.kernel.entry.buffers() {
        if access == Access::Read {
            continue;
        }
        if let Some(storage) = job.storage(param) {
            let copy = Arc::new(Slot::zeroed(storage.slot.bytes())?);
            copy.write::<u8>().copy_from_slice(claim.slice(&storage.slot));
            copies.push((param, copy));
        }
    }
    Ok(Before(copies))
}

/// Runs the call on the device that has not run it, from the state before, and compares.
pub(crate) fn compare(
    job: &Job,
    ran: Device,
    claim: &mut Claim<'_>,
    before: Before,
    tolerance: f64,
) -> Result<(), Error> {
    let device = ran.other();
    let version: Arc<dyn exec::Version> = match device {
        Device::Cpu => job.inner.cpu_code(&job.prepared, Some(&job.decision))?.clone(),
        Device::Gpu => match job.compile_gpu() {
            GpuCode::Ready(Code::Host(version)) => version,
            GpuCode::Ready(Code::Gpu(version)) => version,
            // Nothing to compare with: the device cannot run the kernel.
            GpuCode::Refused(..) | GpuCode::Unasked | GpuCode::Compiling => return Ok(()),
        },
    };
    run::settle(job, claim)?;
    // The shadow works on copies of all buffers: the claim on the originals is in use.
    let mut plain = job.plain.clone();
    for (at, arg) in plain.iter_mut().enumerate() {
        if let Arg::Buffer { slot, .. } = arg {
            let copied = before.0.iter().find(|(p, _)| p.index() == at).map(|(_, s)| s.clone());
            let copy = match copied {
                Some(copy) => copy,
                None => {
                    let copy = Arc::new(Slot::zeroed(slot.bytes())?);
                    copy.write::<u8>().copy_from_slice(claim.slice(slot));
                    copy
                }
            };
            *slot = copy.into();
        }
    }
    let mut shadow_claim = exec::claim_args(&job.prepared.kernel, &plain);
    let deadline = Some(Deadline::after(job.deadline));
    let (args, threads) = (&plain[..], job.decision.threads);
    let (grid, start, claimed) = (job.grid, None, &mut shadow_claim);
    version.run(&mut exec::Call { args, grid, threads, deadline, start, claim: claimed })?;
    for (param, copy) in &before.0 {
        let Some(storage) = job.storage(*param) else { continue };
        let Some(ty) = job.prepared.kernel.entry.element(*param) else { continue };
        let (a, b) = (claim.slice::<u8>(&storage.slot), shadow_claim.slice::<u8>(copy));
        if let Some((index, expected, found, count)) = differences(ty, a, b, tolerance) {
            return Err(Error::Mismatch {
                kernel: job.prepared.name.to_string(),
                device: device.name().to_owned(),
                buffer: job.prepared.kernel.entry.params[param.index()].name.clone(),
                index,
                expected,
                found,
                count,
            });
        }
    }
    Ok(())
}

/// The first element that differs by more than the tolerance, and how many do.
fn differences(ty: Type, a: &[u8], b: &[u8], tolerance: f64) -> Option<(usize, f64, f64, usize)> {
    let value = |bytes: &[u8]| {
        let mut bits = [0; 8];
        bits[..bytes.len()].copy_from_slice(bytes);
        Const::new(ty, u64::from_le_bytes(bits)).to_f64()
    };
    let mut first = None;
    let mut count = 0;
    let elements = a.chunks_exact(ty.bytes()).zip(b.chunks_exact(ty.bytes()));
    for (index, (x, y)) in elements.enumerate() {
        if x == y {
            continue;
        }
        let (x, y) = (value(x), value(y));
        let close = (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * x.abs().max(y.abs());
        if !close {
            count += 1;
            first.get_or_insert((index, x, y));
        }
    }
    first.map(|(index, x, y)| (index, x, y, count))
}
