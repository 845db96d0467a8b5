//! Which dispatches a call becomes.

use crossover_kernels::exec::{Grid, Part};
use crossover_kernels::ir::{Access, CollectiveKind, Param, Type};

use crate::arg::DeviceArg;
use crate::buffer::DeviceBuffer;
use crate::compiled::{Compiled, STEPS_MAX, Scratch, Stage, Tree};
use crate::device::DeviceError;
use crate::emit::{Field, LEVEL_BYTES, Role, STATUS_BYTES};
use crate::legality;
use crate::underway::{Batch, Step};
use crate::windows::{Cut, Window};

/// What a call of a kernel runs on.
#[derive(Clone, Copy)]
pub(crate) struct Launch<'a> {
    pub(crate) args: &'a [DeviceArg<'a>],
    pub(crate) grid: Grid,
    /// What of the grid is to be run.
    pub(crate) region: Region,
    /// Its parts, where its buffers are larger than a binding.
    pub(crate) cuts: &'a [Cut],
}

/// Some of a grid: its first point, and how many there are along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) start: Grid,
    pub(crate) extent: Grid,
}

impl Region {
    pub(crate) fn of(part: Part, grid: Grid) -> Region {
        Region { start: part.start(grid), extent: part.extent(grid) }
    }

    /// What both have; nothing where that is nothing.
    pub(crate) fn and(self, other: Region) -> Option<Region> {
        let start = [0, 1, 2].map(|axis| self.start[axis].max(other.start[axis]));
        let end = |of: Region, axis: usize| of.start[axis].saturating_add(of.extent[axis]);
        let extent =
            [0, 1, 2].map(|axis| end(self, axis).min(end(other, axis)).saturating_sub(start[axis]));
        (!extent.contains(&0)).then_some(Region { start, extent })
    }
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
        let whole = |grid: Grid| self.kernel.whole_groups(grid);
        let extent = whole(launch.region.extent);
        let region = Region { extent, ..launch.region };
        let launch = Launch { grid: whole(launch.grid), region, ..launch };
        let pieces: Vec<Piece> = match self.kernel.collective {
            Some(_) => Vec::new(),
            None if launch.cuts.is_empty() => self.pieces(region, None).collect(),
            None => {
                let cuts = launch.cuts.iter().enumerate();
                let within =
                    |cut: &Cut| Region { start: cut.start, extent: cut.extent }.and(region);
                cuts.filter_map(|(at, cut)| Some(self.pieces(within(cut)?, Some(at))))
                    .flatten()
                    .collect()
            }
        };
        let count = pieces.len().div_ceil(STEPS_MAX).max(1);
        Batches { launch, pieces, count }
    }

    /// The parts of a part of the grid that one dispatch can take each.
    fn pieces(
        &self,
        Region { start, extent }: Region,
        cut: Option<usize>,
    ) -> Box<dyn Iterator<Item = Piece>> {
        let limit = self.gpu.capabilities().workgroups_per_axis_max;
        let schedule = &self.shader.schedule;
        if self.kernel.axes() == 1 {
            let count = extent[0].div_ceil(schedule.block());
            let blocks = start[0] / schedule.block() + count;
            let workgroups = fold(count, limit);
            return Box::new(std::iter::once(Piece { origin: start, workgroups, blocks, cut }));
        }
        let from = move |at: [u32; 3]| [0, 1, 2].map(|axis| start[axis] + at[axis]);
        Box::new(pieces(extent, schedule.workgroup, limit).map(move |piece| Piece {
            origin: from(piece.origin),
            cut,
            ..piece
        }))
    }

    /// One of them.
    pub(crate) fn batch(&self, batches: &Batches<'_>, at: usize) -> Result<Batch<'_>, DeviceError> {
        match self.kernel.collective.map(|c| c.kind) {
            None => self.map(batches, at),
            Some(CollectiveKind::Reduce) => self.reduce(batches.launch),
            Some(CollectiveKind::Scan) if self.tree.is_none() => self.scan_once(batches.launch),
            Some(CollectiveKind::Scan) => self.scan(batches.launch),
        }
    }

    fn map(&self, batches: &Batches<'_>, at: usize) -> Result<Batch<'_>, DeviceError> {
        let launch = batches.launch;
        let mut scratch = self.take_scratch()?;
        let pieces = batches.pieces.iter().skip(at * STEPS_MAX).take(STEPS_MAX);
        let steps = pieces.enumerate().map(|(at, piece)| Step {
            stage: &self.main,
            bind_group: match piece.cut {
                Some(cut) => {
                    self.create_main(&scratch, launch.args, None, at, Some(&launch.cuts[cut]))
                }
                None => self.bind_main(&mut scratch, launch.args, None, at),
            },
            numbers: self.numbers_of_piece(launch, piece),
            workgroups: piece.workgroups,
        });
        let steps = steps.collect();
        Ok(Batch { scratch, steps, kept: Vec::new(), zeros: None })
    }

    fn reduce(&self, launch: Launch<'_>) -> Result<Batch<'_>, DeviceError> {
        let (Some(Tree::Reduce { fold: second }), Some(DeviceArg::Buffer { buffer: output, .. })) =
            (&self.tree, launch.args.last())
        else {
            unreachable!("a reduction has its second pass and an output");
        };
        let schedule = &self.shader.schedule;
        let whole = [Cut { start: [0; 3], extent: launch.grid, windows: Vec::new() }];
        let cuts = if launch.cuts.is_empty() { &whole } else { launch.cuts };
        let caps = self.gpu.capabilities();
        // A driver that cuts loops gets as many workgroups as keep each of them short.
        let rounds_max = caps.loop_passages_max.map_or(u32::MAX, |limit| {
            let round = legality::passages_together(&self.kernel).unwrap_or(u64::MAX);
            u32::try_from(u64::from(limit) / round.max(1)).unwrap_or(u32::MAX).max(1)
        });
        let blocks = |cut: &Cut| {
            let all = cut.extent[0].div_ceil(schedule.block());
            all.min(schedule.reduce_workgroups_max.max(all.div_ceil(rounds_max)))
        };
        let count = cuts.iter().map(blocks).sum();
        let sums = self.sums(count)?;
        let mut scratch = self.take_scratch()?;
        let (mut steps, mut before) = (Vec::new(), 0);
        for cut in cuts {
            // Each part leaves its sums behind those of the parts before.
            let mut step = self.main_step(&mut scratch, launch, &sums, cut, steps.len());
            // It may have fewer workgroups than blocks of the grid; and each part has an end of its own.
            let end = cut.start[0] + cut.extent[0];
            for (field, number) in
                [(Field::Blocks, blocks(cut)), (Field::End, end), (Field::FirstSum, before)]
            {
                self.shader.params.write_field(&mut step.numbers, field, u64::from(number));
            }
            step.workgroups = fold(blocks(cut), caps.workgroups_per_axis_max);
            before += blocks(cut);
            steps.push(step);
        }
        steps.push(Step {
            stage: second,
            bind_group: self.bind_tree(&scratch, second, sums.binding(), output, steps.len()),
            numbers: level(count, 1, 0),
            workgroups: [1, 1, 1],
        });
        Ok(Batch { scratch, steps, kept: vec![sums], zeros: None })
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
        let whole = [Cut { start: [0; 3], extent: launch.grid, windows: Vec::new() }];
        let cuts = if launch.cuts.is_empty() { &whole } else { launch.cuts };
        let mut steps = Vec::new();
        for cut in cuts {
            let mut step = self.main_step(&mut scratch, launch, &sums[0], cut, steps.len());
            // Workgroups behind its last, which fill a row of them, are none of the next part.
            let end = (cut.start[0] + cut.extent[0]).div_ceil(block);
            self.shader.params.write_field(&mut step.numbers, Field::Blocks, u64::from(end));
            steps.push(step);
        }
        for k in 1..sums.len() {
            let at = steps.len();
            steps.push(Step {
                stage: scan_sums,
                bind_group: self.bind_tree(
                    &scratch,
                    scan_sums,
                    sums[k - 1].binding(),
                    &sums[k],
                    at,
                ),
                numbers: level(counts[k], counts[k + 1], 0),
                workgroups: fold(counts[k + 1], limit),
            });
        }
        let mut add = |data: wgpu::BindingResource<'_>, k: usize, size: [u32; 3]| {
            let [count, blocks, before] = size;
            let at = steps.len();
            steps.push(Step {
                stage: add_sums,
                bind_group: self.bind_tree(&scratch, add_sums, data, &sums[k], at),
                numbers: level(count, blocks, before),
                workgroups: fold(blocks, limit),
            });
        };
        for k in (1..sums.len()).rev().filter(|&k| counts[k + 1] > 1) {
            add(sums[k - 1].binding(), k, [counts[k], counts[k + 1], 0]);
        }
        for cut in cuts.iter().filter(|_| counts[1] > 1) {
            let (first, count) = (cut.start[0], cut.extent[0]);
            let bytes = self.shader.contribution.map_or(4, Type::bytes) as u64;
            let data = output.binding_from(u64::from(first) * bytes, u64::from(count) * bytes);
            add(data, 0, [count, count.div_ceil(block), first / block]);
        }
        Ok(Batch { scratch, steps, kept: sums, zeros: None })
    }

    /// Memory for partial results.
    fn sums(&self, count: u32) -> Result<DeviceBuffer, DeviceError> {
        let ty = self.shader.contribution.unwrap_or(Type::U32);
        DeviceBuffer::new(&self.gpu, u64::from(count) * ty.bytes() as u64)
    }

    /// The kernel's own pass of a collective; `sums` is what its workgroups leave for others.
    pub(crate) fn main_step(
        &self,
        scratch: &mut Scratch,
        launch: Launch<'_>,
        sums: &DeviceBuffer,
        cut: &Cut,
        step: usize,
    ) -> Step<'_> {
        let limit = self.gpu.capabilities().workgroups_per_axis_max;
        let windows = Some(cut).filter(|cut| !cut.windows.is_empty());
        let bind_group = match windows {
            Some(cut) => self.create_main(scratch, launch.args, Some(sums), step, Some(cut)),
            None => self.bind_main(scratch, launch.args, Some(sums), step),
        };
        let numbers = self.numbers(launch, cut.start, windows);
        let blocks = cut.extent[0].div_ceil(self.shader.schedule.block());
        let workgroups = fold(blocks, limit);
        Step { stage: &self.main, bind_group, numbers, workgroups }
    }

    /// The block of numbers of a dispatch of a map: workgroups behind its last, which fill a row of them, do
    /// nothing.
    fn numbers_of_piece(&self, launch: Launch<'_>, piece: &Piece) -> Vec<u8> {
        let cut = piece.cut.map(|cut| &launch.cuts[cut]);
        let mut numbers = self.numbers(launch, piece.origin, cut);
        self.shader.params.write_field(&mut numbers, Field::Blocks, u64::from(piece.blocks));
        numbers
    }

    /// The block of numbers of a dispatch.
    fn numbers(&self, launch: Launch<'_>, origin: [u32; 3], cut: Option<&Cut>) -> Vec<u8> {
        let Launch { args, grid, .. } = launch;
        let layout = &self.shader.params;
        let window = |param: Param| Some(*cut?.windows.get(param.index())?);
        let mut out = vec![0; layout.bytes() as usize];
        layout.write(&mut out, |field| match field {
            Field::Extent(axis) => u64::from(grid[axis.index()]),
            Field::Origin(axis) => u64::from(origin[axis.index()]),
            Field::Blocks => u64::from(grid[0].div_ceil(self.shader.schedule.block())),
            Field::FirstBlock => u64::from(origin[0] / self.shader.schedule.block()),
            Field::End | Field::FirstSum | Field::Zero => 0,
            Field::First(param) => u64::from(window(param).unwrap_or_default().first),
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
            return self.create_main(scratch, args, sums, step, None);
        }
        let buffers = args.iter().filter_map(|arg| match arg {
            DeviceArg::Buffer { buffer, .. } => Some(*buffer),
            DeviceArg::Scalar(_) => None,
        });
        let key = buffers.chain(sums).map(|buffer| (buffer.raw(), buffer.bytes()));
        if let Some((bound, group)) = &scratch.bound
            && key.clone().eq(bound.iter().map(|(buffer, bytes)| (buffer, *bytes)))
        {
            return group.clone();
        }
        let key = key.map(|(buffer, bytes)| (buffer.clone(), bytes)).collect();
        let group = self.create_main(scratch, args, sums, step, None);
        scratch.bound = Some((key, group.clone()));
        group
    }

    fn create_main(
        &self,
        scratch: &Scratch,
        args: &[DeviceArg<'_>],
        sums: Option<&DeviceBuffer>,
        step: usize,
        cut: Option<&Cut>,
    ) -> wgpu::BindGroup {
        let buffers: Vec<(Param, Type, Access)> = self.kernel.entry.buffers().collect();
        self.create_bind_group(&self.main, |role| match role {
            Role::Buffer(param) => match args.get(param.index())? {
                DeviceArg::Buffer { buffer, .. } => match cut {
                    Some(cut) => {
                        let (_, element, _) = buffers.iter().find(|(p, ..)| *p == param)?;
                        let Window { first, count } = *cut.windows.get(param.index())?;
                        let bytes = |elements: u32| u64::from(elements) * element.bytes() as u64;
                        Some(buffer.binding_from(bytes(first), bytes(count)))
                    }
                    None => Some(buffer.binding()),
                },
                DeviceArg::Scalar(_) => None,
            },
            Role::Params => self.numbers_at(scratch, step, u64::from(self.shader.params.bytes())),
            Role::Status => Some(part(scratch.report.status(), 0, STATUS_BYTES)),
            Role::Sums | Role::States => Some(sums?.binding()),
            Role::Data | Role::Level => None,
        })
    }

    /// The bind group of a further pass of a collective.
    fn bind_tree(
        &self,
        scratch: &Scratch,
        stage: &Stage,
        data: wgpu::BindingResource<'_>,
        sums: &DeviceBuffer,
        step: usize,
    ) -> wgpu::BindGroup {
        self.create_bind_group(stage, |role| match role {
            Role::Data => Some(data.clone()),
            Role::Sums => Some(sums.binding()),
            Role::Level => self.numbers_at(scratch, step, LEVEL_BYTES),
            Role::Buffer(_) | Role::Params | Role::Status | Role::States => None,
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

/// The block of numbers of a further pass: so many elements, in so many workgroups, behind so many.
fn level(count: u32, blocks: u32, before: u32) -> Vec<u8> {
    [count, blocks, before, 0].map(u32::to_le_bytes).concat()
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
    /// Workgroups of the grid up to its last; grids of one axis.
    blocks: u32,
    /// The part of the call that it is of, where that is cut.
    cut: Option<usize>,
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
            along(0).map(move |x| Piece {
                origin: [x.0, y.0, z.0],
                workgroups: [x.1, y.1, z.1],
                blocks: 0,
                cut: None,
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{Piece, Region, fold, pieces};

    #[test]
    fn rows_hold_all_workgroups() {
        for blocks in [1, 2, 65_535, 65_536, 70_000, 1 << 24] {
            let [columns, rows, _] = fold(blocks, 65_535);
            assert!(columns <= 65_535 && rows <= 65_535);
            assert!(columns * rows >= blocks && columns * rows - blocks < rows.max(1));
        }
    }

    #[test]
    fn regions_have_in_common_what_lies_in_both() {
        let region = |start, extent| Region { start, extent };
        let (a, b) = (region([0, 4, 0], [8, 8, 1]), region([0, 8, 0], [8, 100, 1]));
        assert_eq!(a.and(b), Some(region([0, 8, 0], [8, 4, 1])));
        assert_eq!(a.and(region([0, 12, 0], [8, 4, 1])), None);
    }

    #[test]
    fn large_grids_fall_into_pieces() {
        let small: Vec<Piece> = pieces([100, 7, 1], [64, 4, 1], 65_535).collect();
        assert_eq!(small, [Piece { origin: [0; 3], workgroups: [2, 2, 1], blocks: 0, cut: None }]);
        let wide: Vec<Piece> = pieces([u32::MAX, 1, 1], [64, 4, 1], 65_535).collect();
        assert_eq!(wide.len(), 1025);
        assert_eq!(wide[1].origin, [65_535 * 64, 0, 0]);
        let groups: u64 = wide.iter().map(|piece| u64::from(piece.workgroups[0])).sum();
        assert_eq!(groups, 1 << 26);
    }
}
