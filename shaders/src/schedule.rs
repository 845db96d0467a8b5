//! How a kernel is spread over the device: part of what a version is.

use std::sync::Arc;

use crossover_kernels::analysis::begun;
use crossover_kernels::ir::{CollectiveKind, Kernel, Stmt};
use crossover_kernels::passes::stage::Stage;
use crossover_kernels::passes::tile::Size;
use crossover_kernels::passes::{halo, quads};
#[cfg(doc)]
use crossover_kernels::passes::{stage, tile};

use crate::forms::without_checks;
use crate::legality::Capabilities;
use crate::single_pass;

/// Consecutive elements of a scan that one invocation combines: few, which are registers, so that neighbours read
/// beside each other; or more, so that a workgroup of few invocations has as many elements between barriers.
/// Drivers write the loop over them out: with 32, llvmpipe compiled kernels of a dozen values for ten seconds.
pub(crate) const SCAN_ELEMENTS: [u32; 2] = [4, 8];
/// Invocations of a scan's workgroup where barriers are dear, as on software adapters.
const SCAN_INVOCATIONS_SOFTWARE: u32 = 32;

/// Workgroups of a reduction at most, with many invocations each; and where barriers are dear, few with fewer, which
/// are still more than processors of the machine.
const REDUCE_WORKGROUPS: u32 = 256;
const REDUCE_WORKGROUPS_SOFTWARE: u32 = 16;
const REDUCE_INVOCATIONS_SOFTWARE: u32 = 64;

/// Passages that are staged at a time along one axis, where all of a group load the same, and along two; the
/// usual ones second.
const STAGE_DEPTHS: [[u32; 3]; 2] = [[16, 64, 256], [8, 16, 32]];

/// Invocations along x of a workgroup that keeps what lies around its points, where the grid has two axes: the more
/// like a square, the less lies around; the wider, the more of a line of memory is loaded together.
const HALO_WIDTH: u32 = 32;

/// The choices of a shader that do not change what it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Schedule {
    /// Invocations of a workgroup along x, y and z: what the kernel says, or powers of two, so that
    /// the last workgroup of the largest grid does not wrap around.
    pub workgroup: [u32; 3],
    /// Consecutive grid points that one invocation of a collective combines first: more than one in scans, and in
    /// reductions that can take four as vectors.
    pub elements: u32,
    /// The most workgroups of a reduction's first pass; beyond that each takes more grid points.
    pub reduce_workgroups_max: u32,
    /// Points of an invocation along x and y in large calls whose checks are proved, for kernels that allow it
    /// ([`tile`]); `None` for what saves most loads.
    pub tile: Option<[u32; 2]>,
    /// Passages of a loop whose common loads a workgroup makes at a time and keeps in memory of its own, in large
    /// calls whose checks are proved ([`stage`]); `None` for what is usual where the adapter is no software.
    pub stage: Option<u32>,
    /// Workgroups keep what lies around their points in memory of their own ([`halo`]), in large calls whose checks
    /// are proved; `None` for what turns out to be faster where the adapter is no software.
    pub halo: Option<bool>,
    /// Invocations of large calls whose checks are proved may take four points beside each other, with vectors in
    /// place of their loads and stores ([`quads`]); in collectives where their elements are as many.
    pub quads: bool,
    /// Workgroups of a collective combine values within subgroups first, without memory.
    pub subgroups: bool,
    /// Scans make one pass over the grid, their workgroups waiting for each other's totals, where that gives the same
    /// (`single_pass.rs`), or several; `None` for what turns out to be faster, where calls are large enough to tell.
    pub single_pass: Option<bool>,
    /// Variables that loops begin as constants and compute with ([`begun`]) begin with what drivers do not know.
    pub hides_starts: bool,
    /// The shader sees buffers as vectors, where all accesses are part of some: for calls on whole vectors.
    pub vectors: bool,
    /// The shader sees parts of its buffers, and works on a part of the grid: for calls on more than a binding can
    /// hold.
    pub windows: bool,
}

/// Values of a kernel that is repeated for each of many elements: what is written out as often has to be
/// small.
const BRIEF_VALUES: usize = 16;

fn is_brief(kernel: &Kernel) -> bool {
    let is_straight = |stmt: &Stmt| stmt.blocks().into_iter().flatten().next().is_none();
    let entry = &kernel.entry;
    entry.values.len() <= BRIEF_VALUES && entry.body.iter().all(is_straight)
}

/// Whether a reduction can take four points at a time, and is small enough to be written out as often where they are
/// no vectors.
fn takes_vectors(kernel: &Kernel) -> bool {
    let plain = without_checks(&Arc::new(kernel.clone())).0;
    is_brief(&plain) && quads::run(&plain, 1).is_some()
}

impl Schedule {
    /// The schedule of a kernel when nothing better is known.
    pub fn of(kernel: &Kernel, caps: &Capabilities) -> Schedule {
        let invocations = caps.workgroup_invocations_max.clamp(1, 256);
        let invocations = 1 << invocations.ilog2();
        let scan = kernel.collective.is_some_and(|c| c.kind == CollectiveKind::Scan);
        let is_in_loop = caps.is_software && is_brief(kernel);
        let reduces = kernel.collective.is_some_and(|c| c.kind == CollectiveKind::Reduce);
        let workgroup = if let Some(size) = kernel.workgroup {
            size
        } else if reduces && caps.is_software {
            [invocations.min(REDUCE_INVOCATIONS_SOFTWARE), 1, 1]
        } else if scan && is_in_loop {
            [invocations.min(SCAN_INVOCATIONS_SOFTWARE), 1, 1]
        } else if kernel.axes() == 1 {
            [invocations, 1, 1]
        } else {
            // Wide along x: neighbours along x are neighbours in memory.
            let x = invocations.min(64);
            [x, invocations / x, 1]
        };
        let elements = match kernel.collective.map(|c| c.kind) {
            Some(CollectiveKind::Scan) => SCAN_ELEMENTS[usize::from(is_in_loop)],
            Some(CollectiveKind::Reduce) if takes_vectors(kernel) => quads::POINTS,
            Some(CollectiveKind::Reduce) | None => 1,
        };
        Schedule {
            workgroup,
            elements,
            reduce_workgroups_max: match caps.is_software {
                true => REDUCE_WORKGROUPS_SOFTWARE,
                false => REDUCE_WORKGROUPS,
            },
            tile: None,
            stage: None,
            halo: None,
            quads: true,
            // Lanes that part cost where lanes are those of the CPU's vectors.
            hides_starts: caps.is_software,
            vectors: false,
            subgroups: exchanges(kernel, caps, workgroup),
            single_pass: None,
            windows: false,
        }
    }

    /// All schedules that make sense for a kernel: what models and tuners choose from, the usual one first.
    pub fn space(kernel: &Kernel, caps: &Capabilities) -> Vec<Schedule> {
        let usual = Schedule::of(kernel, caps);
        let limit = caps.workgroup_invocations_max.clamp(1, 1024);
        let sizes = [32, 64, 128, 256, 512, 1024].into_iter().filter(|size| *size <= limit);
        let workgroups: Vec<[u32; 3]> = match (kernel.workgroup, kernel.axes()) {
            (Some(size), _) => vec![size],
            (None, 1) => sizes.map(|size| [size, 1, 1]).collect(),
            (None, _) => sizes
                .flat_map(|size| [8, 16, 32, 64].map(|x| [x, size / x, 1]))
                .filter(|[_, y, _]| (1..=caps.workgroup_size_max[1]).contains(y))
                .collect(),
        };
        let tiles: &[Size] = match kernel.axes() {
            _ if kernel.collective.is_some() || kernel.workgroup.is_some() => &[[1, 1]],
            1 => &[[1, 1], [2, 1], [4, 1]],
            _ => &[[1, 1], [2, 1], [1, 2], [2, 2], [4, 2], [2, 4], [4, 4]],
        };
        let mut space = vec![usual];
        let looks_around = {
            let plain = without_checks(&Arc::new(kernel.clone())).0;
            move |[x, y, _]: [u32; 3]| halo::run(&plain, [x, y], caps.workgroup_bytes_max).is_some()
        };
        if usual.subgroups {
            space.push(Schedule { subgroups: false, ..usual });
        }
        let elements: &[u32] = match (kernel.collective.map(|c| c.kind), usual.elements) {
            (Some(CollectiveKind::Scan), _) => &SCAN_ELEMENTS,
            (Some(CollectiveKind::Reduce), quads::POINTS) => &[1, quads::POINTS],
            (Some(CollectiveKind::Reduce) | None, _) => &[1],
        };
        let passes: &[Option<bool>] = match single_pass::is_legal(kernel, caps) {
            true => &[Some(false), Some(true)],
            false => &[None],
        };
        if !begun(&kernel.entry).is_empty() {
            space.push(Schedule { hides_starts: !usual.hides_starts, ..usual });
        }
        if kernel.axes() <= 2 && kernel.workgroup.is_none() {
            space.push(Schedule { quads: false, ..usual });
        }
        for workgroup in workgroups {
            for tile in tiles {
                let subgroups = exchanges(kernel, caps, workgroup);
                let schedule = Schedule { workgroup, tile: Some(*tile), subgroups, ..usual };
                for &elements in elements {
                    let of = |&single_pass| Schedule { elements, single_pass, ..schedule };
                    space.extend(passes.iter().map(of));
                }
                let depths = STAGE_DEPTHS[usize::from(kernel.axes() > 1)].iter();
                let groups = kernel.axes() == 1 || workgroup[0] <= 32;
                let depths = depths.filter(|_| groups && has_loops(kernel));
                space.extend(depths.map(|&depth| Schedule { stage: Some(depth), ..schedule }));
            }
            if looks_around(workgroup) {
                space.push(Schedule { workgroup, halo: Some(true), ..usual });
            }
        }
        space
    }

    /// The workgroup and the depth of a form that keeps common loads.
    pub(crate) fn staged(&self, axes: usize) -> Stage {
        let [width, height, _] = self.workgroup;
        let usual = STAGE_DEPTHS[usize::from(axes > 1)][1];
        let depth = self.stage.unwrap_or(usual);
        let group = match (self.stage, axes) {
            // As square as can be: each side is loaded for the other.
            (None, 2) => {
                let side = 1 << (self.invocations().ilog2() / 2);
                [self.invocations() / side, side]
            }
            _ => [width, height],
        };
        Stage { group, depth }
    }

    /// The workgroup of a form that keeps what lies around its points.
    pub(crate) fn around(&self, axes: usize) -> [u32; 2] {
        let [width, height, _] = self.workgroup;
        match (self.halo, axes) {
            (None, 2) => {
                let width = self.invocations().min(HALO_WIDTH);
                [width, self.invocations() / width]
            }
            _ => [width, height],
        }
    }

    /// Invocations of a workgroup.
    pub fn invocations(&self) -> u32 {
        self.workgroup.iter().product()
    }

    /// Grid points of a workgroup with one axis.
    pub fn block(&self) -> u32 {
        self.invocations() * self.elements
    }

    /// Grid points of a workgroup along an axis of so many.
    pub(crate) fn along(&self, axis: usize, axes: usize) -> u32 {
        if axes == 1 { self.block() } else { self.workgroup[axis] }
    }
}

/// Whether workgroups of a collective can exchange values within subgroups: of 32 bits alone, of others drivers
/// exchange some.
fn exchanges(kernel: &Kernel, caps: &Capabilities, workgroup: [u32; 3]) -> bool {
    let divides = |[_, most]: [u32; 2]| most > 0 && workgroup[0].is_multiple_of(most);
    kernel.contribution().is_some_and(|ty| !ty.is_wide())
        && caps.subgroup_sizes.is_some_and(divides)
}

fn has_loops(kernel: &Kernel) -> bool {
    let mut found = false;
    kernel.entry.walk(&mut |stmt| found |= matches!(stmt, Stmt::For { .. }));
    found
}
