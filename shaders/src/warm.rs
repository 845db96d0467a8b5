//! The first dispatch of a pipeline, of no workgroups: drivers that compile when they are given the first, as software
//! ones do, do so off the thread that calls.

use crossover_kernels::exec::Part;
use crossover_kernels::ir::{Const, ParamKind};

use crate::arg::DeviceArg;
use crate::buffer::DeviceBuffer;
use crate::compiled::Compiled;
use crate::steps::{Launch, Region};
use crate::underway::{Running, Stop};

/// Bytes that a buffer of any element type may have.
const BYTES: u64 = 16;

impl Compiled {
    /// Gives the device the pipelines once, and nothing to do. What fails will fail again in a call, which says so.
    pub(crate) fn warm(&self) {
        if let Err(stop) = self.dispatch_nothing() {
            tracing::debug!(kernel = %self.kernel.entry.name, ?stop, "not warmed up");
        }
    }

    fn dispatch_nothing(&self) -> Result<(), Stop> {
        let params = &self.kernel.entry.params;
        let buffer = |kind: &ParamKind| match kind {
            ParamKind::Buffer { .. } => DeviceBuffer::new(&self.gpu, BYTES).map(Some),
            ParamKind::Scalar(_) | ParamKind::Shared { .. } => Ok(None),
        };
        let buffers = params.iter().map(|p| buffer(&p.kind)).collect::<Result<Vec<_>, _>>()?;
        let mut args = Vec::with_capacity(params.len());
        for (param, buffer) in params.iter().zip(&buffers) {
            match (param.kind, buffer) {
                (ParamKind::Scalar(ty), _) => args.push(DeviceArg::Scalar(Const::new(ty, 0))),
                (_, Some(buffer)) => {
                    args.push(DeviceArg::Buffer { buffer, len: 1, is_blank: true })
                }
                (_, None) => {}
            }
        }
        let grid = [1; 3];
        let region = Region::of(Part::all(grid), grid);
        let batches = self.batches(Launch { args: &args, grid, region, cuts: &[] });
        let mut batch = self.batch(&batches, 0)?;
        batch.steps.iter_mut().for_each(|step| step.workgroups = [0; 3]);
        Running::submit(self, batch, &[]).finish(self, None)?;
        Ok(())
    }
}
