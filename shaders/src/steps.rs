//! Which dispatches a call becomes.

use crossover_kernels::exec::Grid;
use crossover_kernels::ir::{CollectiveKind, Type};

use crate::arg::DeviceArg;
use crate::buffer::DeviceBuffer;
use crate::compiled::{Compiled, STEPS_MAX, Scratch, Stage, Tree};
use crate::device::DeviceError;
use crate::emit::{Field, LEVEL_BYTES, Role, STATUS_BYTES};
use crate::underway::{Batch, Step};

/// What a call of a kernel runs on.
#[derive(Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) args: &'a [DeviceArg<'a>],
    pub(crate) grid: Grid,
}

/// The submissions of a call.
pub(crate) struct Batches<'a> {
    launch: Launch<'a>,
    /// The parts of the grid; none for a collective, which is cut otherwise.
    pieces: Vec<Piece>,
    pub(crate) count: usize,
}

impl Compiled {
    /// The submissions of a call over a grid that is not empty.
    pub(crate) fn batches<'a>(&self, launch: Launch<'a>) -> Batches<'a> {
        let launch = Launch { grid: self.kernel.whole_groups(launch.grid), ..launch };
        let limit = self.gpu.capabilities().workgroups_per_axis_max;
        let schedule = &self.shader.schedule;
        let pieces: Vec<Piece> = match self.kernel.collective {
            Some(_) => Vec::new(),
            None if self.kernel.axes() == 1 => {
                let blocks = launch.grid[0].div_ceil(schedule.block());
                vec![Piece { origin: [0; 3], workgroups: fold(blocks, limit) }]
            }
            None => pieces(launch.grid, schedule.workgroup, limit).collect(),
        };
        let count = pieces.len().div_ceil(STEPS_MAX).max(1);
        Batches { launch, pieces, count }
    }

    /// One of them.
    pub(crate) fn batch(&self, batches: &Batches<'_>, at: usize) -> Result<Batch<'_>, DeviceError> {
        match self.kernel.collective.map(|c| c.kind) {
            None => self.map(batches, at),
            Some(CollectiveKind::Reduce) => self.reduce(batches.launch),
            Some(CollectiveKind::Scan) => self.scan(batches.launch),
        }
    }

    fn map(&self, batches: &Batches<'_>, at: usize) -> Result<Batch<'_>, DeviceError> {
        let launch = batches.launch;
        let mut scratch = self.take_scratch()?;
        let pieces = batches.pieces.iter().skip(at * STEPS_MAX).take(STEPS_MAX);
        let steps = pieces.enumerate().map(|(at, piece)| Step {
            stage: &self.main,
            bind_group: self.bind_main(&mut scratch, launch.args, None, at),
            numbers: self.numbers(launch, piece.origin),
            workgroups: piece.workgroups,
        });
        let steps = steps.collect();
        Ok(Batch { scratch, steps, kept: Vec::new() })
    }

    fn reduce(&self, launch: Launch<'_>) -> Result<Batch<'_>, DeviceError> {
        let (Some(Tree::Reduce { fold }), Some(DeviceArg::Buffer { buffer: output, .. })) =
            (&self.tree, launch.args.last())
        else {
            unreachable!("a reduction has its second pass and an output");
        };
        let schedule = &self.shader.schedule;
        let blocks = launch.grid[0].div_ceil(schedule.block()).min(schedule.reduce_workgroups_max);
        let sums = self.sums(blocks)?;
        let mut scratch = self.take_scratch()?;
        let main = self.main_step(&mut scratch, launch, &sums, [blocks, 1, 1], blocks);
        let second = Step {
            stage: fold,
            bind_group: self.bind_tree(&scratch, fold, &sums, output, 1),
            numbers: level(blocks, 1),
            workgroups: [1, 1, 1],
        };
        Ok(Batch { scratch, steps: vec![main, second], kept: vec![sums] })
    }

    fn scan(&self, launch: Launch<'_>) -> Result<Batch<'_>, DeviceError> {
        let (
            Some(Tree::Scan { scan_sums, add_sums }),
            Some(DeviceArg::Buffer { buffer: output, .. }),
        ) = (&self.tree, launch.args.last())
        else {
            unreachable!("a scan has its further passes and an output");
        };
        let limit = self.gpu.capabilities().workgroups_per_axis_max;
        let block = self.shader.schedule.block();
        // counts[0] is the grid, counts[k + 1] the number of workgroups that scan counts[k].
        let mut counts = vec![launch.grid[0], launch.grid[0].div_ceil(block)];
        while counts.last().is_some_and(|&count| count > 1) {
            counts.push(counts[counts.len() - 1].div_ceil(block));
        }
        let sums: Vec<DeviceBuffer> =
            counts[1..].iter().map(|&count| self.sums(count)).collect::<Result<_, _>>()?;
        let mut scratch = self.take_scratch()?;
        let groups = fold(counts[1], limit);
        let mut steps = vec![self.main_step(&mut scratch, launch, &sums[0], groups, counts[1])];
        for k in 1..sums.len() {
            let at = steps.len();
            steps.push(Step {
                stage: scan_sums,
                bind_group: self.bind_tree(&scratch, scan_sums, &sums[k - 1], &sums[k], at),
                numbers: level(counts[k], counts[k + 1]),
                workgroups: fold(counts[k + 1], limit),
            });
        }
        for k in (0..sums.len()).rev().filter(|&k| counts[k + 1] > 1) {
            let data = if k == 0 { output } else { &sums[k - 1] };
            let at = steps.len();
            steps.push(Step {
                stage: add_sums,
                bind_group: self.bind_tree(&scratch, add_sums, data, &sums[k], at),
                numbers: level(counts[k], counts[k + 1]),
                workgroups: fold(counts[k + 1], limit),
            });
        }
        Ok(Batch { scratch, steps, kept: sums })
    }

    /// Memory for partial results.
    fn sums(&self, count: u32) -> Result<DeviceBuffer, DeviceError> {
        let ty = self.shader.contribution.unwrap_or(Type::U32);
        DeviceBuffer::new(&self.gpu, u64::from(count) * ty.bytes() as u64)
    }

    fn main_step(
        &self,
        scratch: &mut Scratch,
        launch: Launch<'_>,
        sums: &DeviceBuffer,
        workgroups: [u32; 3],
        blocks: u32,
    ) -> Step<'_> {
        let bind_group = self.bind_main(scratch, launch.args, Some(sums), 0);
        let mut numbers = self.numbers(launch, [0; 3]);
        // A reduction may have fewer workgroups than blocks of the grid.
        self.shader.params.write_field(&mut numbers, Field::Blocks, u64::from(blocks));
        Step { stage: &self.main, bind_group, numbers, workgroups }
    }

    /// The block of numbers of a dispatch.
    fn numbers(&self, launch: Launch<'_>, origin: [u32; 3]) -> Vec<u8> {
        let Launch { args, grid } = launch;
        let layout = &self.shader.params;
        let mut out = vec![0; layout.bytes() as usize];
        layout.write(&mut out, |field| match field {
            Field::Extent(axis) => u64::from(grid[axis.index()]),
            Field::Origin(axis) => u64::from(origin[axis.index()]),
            Field::Blocks => u64::from(grid[0].div_ceil(self.shader.schedule.block())),
            Field::Len(param) => u64::from(args.get(param.index()).map_or(0, DeviceArg::len)),
            Field::Scalar(param) => match args.get(param.index()) {
                Some(DeviceArg::Scalar(c)) => c.bits,
                Some(DeviceArg::Buffer { .. }) | None => 0,
            },
        });
        out
    }

    /// The bind group of the kernel's own entry point for one step of a submission: the last first one, if
    /// the buffers are the same. The numbers of further steps lie elsewhere, if they are no immediates.
    fn bind_main(
        &self,
        scratch: &mut Scratch,
        args: &[DeviceArg<'_>],
        sums: Option<&DeviceBuffer>,
        step: usize,
    ) -> wgpu::BindGroup {
        let step = if self.shader.immediates { 0 } else { step };
        if step > 0 {
            return self.create_main(scratch, args, sums, step);
        }
        let buffers = args.iter().filter_map(|arg| match arg {
            DeviceArg::Buffer { buffer, .. } => Some(*buffer),
            DeviceArg::Scalar(_) => None,
        });
        let bytes = |buffer: &DeviceBuffer| (buffer.raw().clone(), buffer.bytes());
        let key: Vec<(wgpu::Buffer, u64)> = buffers.chain(sums).map(bytes).collect();
        if let Some((bound, group)) = &scratch.bound
            && *bound == key
        {
            return group.clone();
        }
        let group = self.create_main(scratch, args, sums, step);
        scratch.bound = Some((key, group.clone()));
        group
    }

    fn create_main(
        &self,
        scratch: &Scratch,
        args: &[DeviceArg<'_>],
        sums: Option<&DeviceBuffer>,
        step: usize,
    ) -> wgpu::BindGroup {
        self.create_bind_group(&self.main, |role| match role {
            Role::Buffer(param) => match args.get(param.index())? {
                DeviceArg::Buffer { buffer, .. } => Some(buffer.binding()),
                DeviceArg::Scalar(_) => None,
            },
            Role::Params => self.numbers_at(scratch, step, u64::from(self.shader.params.bytes())),
            Role::Status => Some(part(scratch.report.status(), 0, STATUS_BYTES)),
            Role::Sums => Some(sums?.binding()),
            Role::Data | Role::Level => None,
        })
    }

    /// The bind group of a further pass of a collective.
    fn bind_tree(
        &self,
        scratch: &Scratch,
        stage: &Stage,
        data: &DeviceBuffer,
        sums: &DeviceBuffer,
        step: usize,
    ) -> wgpu::BindGroup {
        self.create_bind_group(stage, |role| match role {
            Role::Data => Some(data.binding()),
            Role::Sums => Some(sums.binding()),
            Role::Level => self.numbers_at(scratch, step, LEVEL_BYTES),
            Role::Buffer(_) | Role::Params | Role::Status => None,
        })
    }

    /// A bind group of what there is for each role.
    fn create_bind_group<'b>(
        &self,
        stage: &Stage,
        resource: impl Fn(Role) -> Option<wgpu::BindingResource<'b>>,
    ) -> wgpu::BindGroup {
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (self.shader.bindings.iter())
            .filter_map(|binding| {
                let resource = resource(binding.role)?;
                Some(wgpu::BindGroupEntry { binding: binding.index, resource })
            })
            .collect();
        self.gpu.device().create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &stage.layout,
            entries: &entries,
        })
    }

    /// The block of numbers of a step, where it lies in a buffer.
    fn numbers_at<'s>(
        &self,
        scratch: &'s Scratch,
        step: usize,
        bytes: u64,
    ) -> Option<wgpu::BindingResource<'s>> {
        Some(part(scratch.numbers.as_ref()?, self.numbers_stride * step as u64, bytes))
    }
}

/// The block of numbers of a further pass.
fn level(count: u32, blocks: u32) -> Vec<u8> {
    [count.to_le_bytes(), blocks.to_le_bytes()].concat()
}

fn part(buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> wgpu::BindingResource<'_> {
    let size = wgpu::BufferSize::new(bytes);
    wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size })
}

/// Workgroups in rows, where they are more than one axis of a dispatch takes.
fn fold(blocks: u32, limit: u32) -> [u32; 3] {
    let rows = blocks.div_ceil(limit);
    [blocks.div_ceil(rows.max(1)), rows, 1]
}

/// A part of a grid of several axes that one dispatch can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    origin: [u32; 3],
    workgroups: [u32; 3],
}

/// The parts of a grid, x fastest.
fn pieces(grid: Grid, workgroup: [u32; 3], limit: u32) -> impl Iterator<Item = Piece> {
    // The workgroups of each axis, cut into runs of at most `limit`.
    let along = move |axis: usize| {
        let groups = grid[axis].div_ceil(workgroup[axis]);
        let starts = (0..groups).step_by(limit as usize);
        starts.map(move |start| (start * workgroup[axis], limit.min(groups - start)))
    };
    along(2).flat_map(move |z| {
        along(1).flat_map(move |y| {
            along(0).map(move |x| Piece { origin: [x.0, y.0, z.0], workgroups: [x.1, y.1, z.1] })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Piece, fold, pieces};

    #[test]
    fn rows_hold_all_workgroups() {
        for blocks in [1, 2, 65_535, 65_536, 70_000, 1 << 24] {
            let [columns, rows, _] = fold(blocks, 65_535);
            assert!(columns <= 65_535 && rows <= 65_535);
            assert!(columns * rows >= blocks && columns * rows - blocks < rows.max(1));
        }
    }

    #[test]
    fn large_grids_fall_into_pieces() {
        let small: Vec<Piece> = pieces([100, 7, 1], [64, 4, 1], 65_535).collect();
        assert_eq!(small, [Piece { origin: [0; 3], workgroups: [2, 2, 1] }]);
        let wide: Vec<Piece> = pieces([u32::MAX, 1, 1], [64, 4, 1], 65_535).collect();
        assert_eq!(wide.len(), 1025);
        assert_eq!(wide[1].origin, [65_535 * 64, 0, 0]);
        let groups: u64 = wide.iter().map(|piece| u64::from(piece.workgroups[0])).sum();
        assert_eq!(groups, 1 << 26);
    }
}
