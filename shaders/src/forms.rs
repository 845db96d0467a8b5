//! The forms of a kernel: with its checks as it is, and for calls where none can fail without them, as it is and
//! laid out for large calls by the passes [`tile`], [`stage`], [`halo`], [`quads`] and [`privatize`].

use std::sync::Arc;

use crossover_kernels::error::RunError;
use crossover_kernels::exec::Grid;
use crossover_kernels::ir::{Block, Kernel, Param, Stmt};
use crossover_kernels::passes::rule::Hits;
use crossover_kernels::passes::stage::{self, Stage};
use crossover_kernels::passes::tile::{self, Size};
use crossover_kernels::passes::{dce, halo, privatize, quads};

use crate::emit::{Shader, emit};
use crate::legality::Capabilities;
use crate::schedule::Schedule;
use crate::single_pass;
use crate::steps::Region;

/// A form without checks.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) kernel: Arc<Kernel>,
    pub(crate) layout: Layout,
    pub(crate) schedule: Schedule,
    /// Scalar arguments that must be multiples of four.
    pub(crate) pitches: Vec<Param>,
    /// Whether the kernel's schedule names this layout.
    pub(crate) is_asked_for: bool,
}

impl Form {
    /// At multiples of which position along an axis parts of the grid may begin; `None` where the form is one of
    /// the whole grid.
    pub(crate) fn part_step(&self, axis: usize, axes: usize) -> Option<u32> {
        let group = self.schedule.along(axis, axes);
        match self.layout {
            Layout::Points | Layout::Halo { .. } => Some(group),
            Layout::Quads { rows: 1 } if axis == 0 => group.checked_mul(quads::POINTS),
            Layout::Quads { rows: 1 } => Some(group),
            // Points of a tile lie as far apart as the grid is large; the rest is of kernels that are not cut.
            Layout::Tiles(_)
            | Layout::Quads { .. }
            | Layout::Staged { .. }
            | Layout::Collective { .. }
            | Layout::Private(_) => None,
        }
    }
}

/// How a form covers the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// A point for each invocation.
    Points,
    /// So many points along x and y.
    Tiles(Size),
    /// The same, in workgroups that make common loads once.
    Staged { size: Size, stage: Stage, axes: usize },
    /// A point for each invocation, in workgroups of so many that keep what lies around their points.
    Halo { group: [u32; 2], axes: usize },
    /// Four points beside each other, of so many rows.
    Quads { rows: u32 },
    /// A collective whose invocations take four points at a time, or a scan in one pass, or both.
    Collective { vectors: bool, single_pass: bool },
    /// Workgroups that count in memory of their own, for this buffer.
    Private(Param),
}

impl Layout {
    /// The numbers that follow the kernel's arguments, and the form's own grid.
    pub(crate) fn adapt(&self, grid: Grid) -> (Vec<u32>, Grid) {
        match *self {
            Layout::Points | Layout::Collective { .. } => (Vec::new(), grid),
            Layout::Tiles(size) => (vec![grid[0], grid[1]], tile::grid(grid, size)),
            Layout::Staged { size, axes, .. } => {
                let small = tile::grid(grid, size);
                let mut numbers = Vec::new();
                if size != [1, 1] {
                    numbers.extend([grid[0], grid[1]]);
                }
                numbers.extend(&small[..axes]);
                (numbers, small)
            }
            Layout::Halo { axes, .. } => (grid[..axes].to_vec(), grid),
            Layout::Quads { rows } => {
                let [x, y, z] = grid;
                (vec![x, y], [x / quads::POINTS, y.div_ceil(rows), z])
            }
            Layout::Private(_) => {
                let (points, rounds) = privatize::grid(grid[0]);
                (vec![grid[0], rounds], [points, 1, 1])
            }
        }
    }

    /// What of the form's own grid a part of the call's is.
    pub(crate) fn region(&self, Region { start, extent }: Region) -> Region {
        let few = |[x, y, z]: Grid| match self {
            Layout::Quads { .. } => [x / quads::POINTS, y, z],
            _ => [x, y, z],
        };
        Region { start: few(start), extent: few(extent) }
    }

    /// In words, for those who look at shaders.
    fn describe(&self) -> String {
        match self {
            Layout::Points => "without checks".to_owned(),
            Layout::Tiles([x, y]) => format!("tiles of {x} × {y} points"),
            Layout::Staged { size: [x, y], stage: Stage { group, depth }, .. } => format!(
                "tiles of {x} × {y} points, loads kept by groups of {} × {} for {depth} passages",
                group[0], group[1]
            ),
            Layout::Halo { group: [x, y], .. } => {
                format!("what lies around {x} × {y} points kept by their group")
            }
            Layout::Quads { rows: 1 } => "four points beside each other".to_owned(),
            Layout::Quads { rows } => format!("four points beside each other of {rows} rows"),
            Layout::Collective { vectors, single_pass } => {
                let vectors = vectors.then_some("four points beside each other");
                let single_pass = single_pass.then_some("a scan in one pass");
                single_pass.into_iter().chain(vectors).collect::<Vec<_>>().join(", ")
            }
            Layout::Private(_) => "counters of each workgroup's own".to_owned(),
        }
    }
}

/// The forms of a kernel without checks: single points, where that is another form than the kernel itself, then
/// those for large calls.
pub(crate) fn of(
    plain: &Arc<Kernel>,
    has_checks: bool,
    schedule: Schedule,
    caps: &Capabilities,
) -> Vec<Form> {
    let size = schedule.tile.unwrap_or_else(|| tile::best(plain));
    let tiled = tile::run(plain, size);
    let stage = schedule.staged(plain.axes());
    let base = tiled.as_ref().unwrap_or(plain);
    let staged = stage::run(base, stage, caps.workgroup_bytes_max);
    let around = match schedule.halo {
        Some(false) => None,
        None if schedule.tile.is_some() || schedule.stage.is_some() => None,
        Some(true) | None => {
            let group = schedule.around(plain.axes());
            halo::run(plain, group, caps.workgroup_bytes_max).map(|kernel| (kernel, group))
        }
    };
    let side = if tiled.is_some() { size } else { [1, 1] };
    let private = match tiled.is_none() && schedule.tile.is_none() {
        true => privatize::run(plain),
        false => None,
    };
    let quads = match schedule.quads && schedule.tile.is_none() && schedule.stage.is_none() {
        // Those of a collective are combined in the same order whether they are vectors or not.
        true if plain.collective.is_none() || schedule.elements.is_multiple_of(quads::POINTS) => {
            quads::run(plain, size[1]).map(Arc::new)
        }
        true | false => None,
    };
    let once = schedule.single_pass.is_none() && single_pass::is_legal(plain, caps);
    // A schedule that asks for a tile, for common loads or for what lies around gets no other form, where there is
    // one.
    let only_around = schedule.halo == Some(true) && around.is_some();
    let only_staged = !only_around && schedule.stage.is_some() && staged.is_some();
    let only_tiled = !only_around && schedule.tile.is_some() && tiled.is_some();
    let asked_for = only_around || only_staged || only_tiled;
    let mut forms = Vec::new();
    let mut add = |kernel: Arc<Kernel>, layout: Layout, [x, y]: [u32; 2]| {
        let (workgroup, is_asked_for) = ([x, y, schedule.workgroup[2]], asked_for);
        let vectors =
            matches!(layout, Layout::Quads { .. } | Layout::Collective { vectors: true, .. });
        let once = matches!(layout, Layout::Collective { single_pass: true, .. });
        let single_pass = schedule.single_pass.or(Some(once));
        let schedule = Schedule { workgroup, vectors, single_pass, ..schedule };
        let pitches = if vectors { quads::pitches(&kernel) } else { Vec::new() };
        forms.push(Form { kernel, layout, schedule, pitches, is_asked_for });
    };
    let own = [schedule.workgroup[0], schedule.workgroup[1]];
    if (has_checks || once) && !asked_for {
        add(plain.clone(), Layout::Points, own);
    }
    if once {
        add(plain.clone(), Layout::Collective { vectors: false, single_pass: true }, own);
    }
    if let Some(tiled) = tiled.filter(|_| !only_staged && !only_around) {
        add(Arc::new(tiled), Layout::Tiles(size), own);
    }
    if let Some(quads) = quads.filter(|_| !only_around) {
        if plain.collective.is_none() {
            add(quads, Layout::Quads { rows: size[1] }, own);
        } else {
            let layout = |single_pass| Layout::Collective { vectors: true, single_pass };
            add(quads.clone(), layout(schedule.single_pass == Some(true)), own);
            if once {
                add(quads, layout(true), own);
            }
        }
    }
    if let Some(private) = private {
        let layout = Layout::Private(private.bins);
        add(Arc::new(private.kernel), layout, [privatize::WORKGROUP, 1]);
    }
    if let Some((kernel, group)) = around {
        add(Arc::new(kernel), Layout::Halo { group, axes: plain.axes() }, group);
    }
    if let Some(staged) = staged.filter(|_| !only_around) {
        let layout = Layout::Staged { size: side, stage, axes: plain.axes() };
        add(Arc::new(staged), layout, stage.group);
    }
    forms
}

/// The shaders of a kernel, each with what tells it from the others in words; that with its checks first.
///
/// # Errors
/// As [`emit`].
pub fn shaders(
    kernel: &Kernel,
    caps: &Capabilities,
    schedule: &Schedule,
) -> Result<Vec<(String, Shader)>, RunError> {
    let (plain, has_checks) = without_checks(&Arc::new(kernel.clone()));
    let first = if has_checks { "with its checks" } else { "as it is" };
    let mut shaders = vec![(first.to_owned(), emit(kernel, caps, schedule)?)];
    for form in of(&plain, has_checks, *schedule, caps) {
        let shader = emit(&form.kernel, caps, &form.schedule)?;
        shaders.push((form.layout.describe(), shader));
    }
    Ok(shaders)
}

/// The kernel without its checks, and whether it has any.
pub(crate) fn without_checks(kernel: &Arc<Kernel>) -> (Arc<Kernel>, bool) {
    let mut found = false;
    let mut plain = Kernel::clone(kernel);
    strip(&mut plain.entry.body, &mut found);
    if !found {
        return (kernel.clone(), false);
    }
    dce::run(&mut plain, &mut Hits::ignored());
    plain.entry.compact();
    (Arc::new(plain), true)
}

fn strip(block: &mut Block, found: &mut bool) {
    let before = block.len();
    block.retain(|stmt| !matches!(stmt, Stmt::Check { .. }));
    *found |= block.len() < before;
    block.iter_mut().flat_map(Stmt::blocks_mut).for_each(|block| strip(block, found));
}
