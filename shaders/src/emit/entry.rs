//! Around the kernel: how an invocation finds its grid points, and how it says that it failed.

use crossover_kernels::ir::{Axis, Kernel, Type};
use naga::{AtomicFunction, BinaryOperator as Op, BuiltIn, Function, Handle, Module, Span};

use super::code::{Code, Node};
use super::layout::{Field, Layout};
use super::{Globals, MAIN, PASSAGES_MAX, SITE_NO_END};
use crate::legality;
use crate::schedule::Schedule;

/// Functions that a failing invocation calls.
#[derive(Clone, Copy)]
pub(super) struct Failing {
    /// `fn fail(site: u32, index: u32, id_x: u32, id_y: u32, id_z: u32)`
    pub(super) fail: Handle<Function>,
    /// `fn gives_up(passages: u32, id_x: u32, id_y: u32, id_z: u32) -> bool`; kernels with
    /// unbounded loops.
    pub(super) gives_up: Option<Handle<Function>>,
}

impl Failing {
    /// Declares what a kernel with a status needs.
    pub(super) fn declare(
        module: &mut Module,
        kernel: &Kernel,
        globals: &Globals,
    ) -> Option<Failing> {
        let status = globals.status?;
        let fail = fail(module, status);
        let gives_up = legality::has_unbounded_loop(kernel).then(|| gives_up(module, status, fail));
        Some(Failing { fail, gives_up })
    }
}

/// ```wgsl
/// fn fail(site: u32, index: u32, id_x: u32, id_y: u32, id_z: u32) {
///     if (atomicOr(&status.failed, 1u) == 0u) {   // the first one
///         status.site = site; …
///     }
/// }
/// ```
fn fail(module: &mut Module, status: Handle<naga::GlobalVariable>) -> Handle<Function> {
    let mut code = Code::new(module, "fail");
    let said = ["site", "index", "id_x", "id_y", "id_z"].map(|name| code.argument(name, Type::U32));
    let status = code.global(status);
    let flag = code.member(status, 0);
    let (zero, one) = (code.u32(0), code.u32(1));
    let before = code.atomic(AtomicFunction::InclusiveOr, flag, one, Type::U32);
    let first = code.binary(Op::Equal, before, zero);
    code.when(first, |code| {
        for (at, value) in said.into_iter().enumerate() {
            let member = code.member(status, at as u32 + 1);
            code.store(member, value);
        }
    });
    code.give(None);
    let function = code.finish();
    module.functions.append(function, Span::UNDEFINED)
}

/// ```wgsl
/// fn gives_up(passages: u32, id_x: u32, id_y: u32, id_z: u32) -> bool {
///     if (passages >= LIMIT) { fail(NO_END, 0u, id…); }
///     return atomicLoad(&status.failed) != 0u;
/// }
/// ```
fn gives_up(
    module: &mut Module,
    status: Handle<naga::GlobalVariable>,
    fail: Handle<Function>,
) -> Handle<Function> {
    let mut code = Code::new(module, "gives_up");
    let passages = code.argument("passages", Type::U32);
    let [x, y, z] = ["id_x", "id_y", "id_z"].map(|name| code.argument(name, Type::U32));
    code.returns(Type::Bool);
    let limit = code.u32(PASSAGES_MAX);
    let endless = code.binary(Op::GreaterEqual, passages, limit);
    code.when(endless, |code| {
        let (site, index) = (code.u32(SITE_NO_END), code.u32(0));
        code.call(fail, vec![site, index, x, y, z]);
    });
    let status = code.global(status);
    let flag = code.member(status, 0);
    let failed = code.load(flag);
    let zero = code.u32(0);
    let failed = code.binary(Op::NotEqual, failed, zero);
    code.give(Some(failed));
    let function = code.finish();
    module.functions.append(function, Span::UNDEFINED)
}

/// The entry point of a kernel that contributes nothing: one invocation, one grid point.
pub(super) fn emit(
    module: &mut Module,
    kernel: &Kernel,
    params: &Layout,
    body: Handle<Function>,
    globals: &Globals,
    schedule: &Schedule,
) {
    let function = if kernel.axes() == 1 {
        linear(module, params, body, globals, schedule)
    } else {
        let axes = &Axis::ALL[..kernel.axes()];
        spatial(module, params, axes, body, globals)
    };
    push(module, MAIN, function, schedule.workgroup);
}

/// ```wgsl
/// let local = local_id.x;
/// let block = group.y * groups.x + group.x;
/// let i = block * 256u + local;
/// if (block < params.blocks && i < params.extent) { kernel(i); }
/// ```
fn linear(
    module: &mut Module,
    params: &Layout,
    body: Handle<Function>,
    globals: &Globals,
    schedule: &Schedule,
) -> Function {
    let mut code = Code::new(module, MAIN);
    let place = Place::declare(&mut code);
    let pointer = code.global(globals.params);
    let block = place.block(&mut code);
    let block = in_whole(&mut code, pointer, params, block);
    let i = index(&mut code, block, schedule.invocations(), place.local);
    let blocks = field(&mut code, pointer, params, Field::Blocks);
    let extent = field(&mut code, pointer, params, Field::Extent(Axis::X));
    // Beyond the last block `i` may have wrapped around.
    let in_blocks = code.binary(Op::Less, block, blocks);
    let in_extent = code.binary(Op::Less, i, extent);
    let inside = code.binary(Op::LogicalAnd, in_blocks, in_extent);
    code.when(inside, |code| {
        code.call(body, vec![i]);
    });
    code.give(None);
    code.finish()
}

/// ```wgsl
/// let x = invocation.x + params.origin_x; …
/// if (x < params.extent_x && …) { kernel(x, …); }
/// ```
fn spatial(
    module: &mut Module,
    params: &Layout,
    axes: &[Axis],
    body: Handle<Function>,
    globals: &Globals,
) -> Function {
    let mut code = Code::new(module, MAIN);
    let invocation = code.builtin("invocation", BuiltIn::GlobalInvocationId);
    let pointer = code.global(globals.params);
    let mut point = Vec::new();
    let mut inside = None;
    for &axis in axes {
        let own = code.member(invocation, axis.index() as u32);
        let origin = field(&mut code, pointer, params, Field::Origin(axis));
        let at = code.binary(Op::Add, own, origin);
        code.name(at, axis.name());
        let extent = field(&mut code, pointer, params, Field::Extent(axis));
        let here = code.binary(Op::Less, at, extent);
        inside = Some(match inside {
            Some(before) => code.binary(Op::LogicalAnd, before, here),
            None => here,
        });
        point.push(at);
    }
    let inside = inside.expect("a verified grid has an axis");
    code.when(inside, |code| {
        code.call(body, point);
    });
    code.give(None);
    code.finish()
}

/// Where an invocation of a kernel with workgroups finds itself, along three axes.
pub(super) struct InGroup {
    pub(super) id: Vec<Node>,
    pub(super) local: Vec<Node>,
    pub(super) group: Vec<Node>,
}

/// In a grid of one axis. Workgroups beyond the last return at once, as a whole.
pub(super) fn place_on_line(
    code: &mut Code<'_>,
    params: &Layout,
    globals: &Globals,
    size: u32,
) -> InGroup {
    let place = Place::declare(code);
    let pointer = code.global(globals.params);
    let block = place.block(code);
    let block = in_whole(code, pointer, params, block);
    let blocks = field(code, pointer, params, Field::Blocks);
    let beyond = code.binary(Op::GreaterEqual, block, blocks);
    code.when(beyond, |code| code.give(None));
    let i = index(code, block, size, place.local);
    let zero = code.u32(0);
    let along = |first: Node| vec![first, zero, zero];
    InGroup { id: along(i), local: along(place.local), group: along(block) }
}

/// In a grid of several axes, which the host enlarges to whole groups.
pub(super) fn place_in_space(
    code: &mut Code<'_>,
    params: &Layout,
    globals: &Globals,
    axes: usize,
    size: [u32; 3],
) -> InGroup {
    let workgroup = code.builtin("group", BuiltIn::WorkGroupId);
    let within = code.builtin("local", BuiltIn::LocalInvocationId);
    let pointer = code.global(globals.params);
    let zero = code.u32(0);
    let mut place = InGroup { id: vec![zero; 3], local: vec![zero; 3], group: vec![zero; 3] };
    for axis in Axis::ALL.into_iter().take(axes) {
        let at = axis.index();
        let own = code.member(workgroup, at as u32);
        let origin = field(code, pointer, params, Field::Origin(axis));
        let extent = code.u32(size[at]);
        let before = code.binary(Op::Divide, origin, extent);
        place.group[at] = code.binary(Op::Add, own, before);
        place.local[at] = code.member(within, at as u32);
        let start = code.binary(Op::Multiply, place.group[at], extent);
        let id = code.binary(Op::Add, start, place.local[at]);
        code.name(id, axis.name());
        place.id[at] = id;
    }
    place
}

/// Where an invocation of a one-axis grid finds itself.
pub(super) struct Place {
    workgroup: Node,
    workgroups: Node,
    /// The number of the invocation in its workgroup.
    pub(super) local: Node,
}

impl Place {
    /// Declares the built-in inputs.
    pub(super) fn declare(code: &mut Code<'_>) -> Place {
        let workgroup = code.builtin("group", BuiltIn::WorkGroupId);
        let workgroups = code.builtin("groups", BuiltIn::NumWorkGroups);
        Place { workgroup, workgroups, local: Place::local(code) }
    }

    /// The number of an invocation in its workgroup alone.
    pub(super) fn local(code: &mut Code<'_>) -> Node {
        // Not the index, which llvmpipe computes anew from three coordinates.
        let within = code.builtin("local_id", BuiltIn::LocalInvocationId);
        let local = code.member(within, 0);
        code.name(local, "local");
        local
    }

    /// The number of the workgroup: dispatches of more than an axis takes are folded into rows.
    pub(super) fn block(&self, code: &mut Code<'_>) -> Node {
        let (row, column) = (code.member(self.workgroup, 1), code.member(self.workgroup, 0));
        let columns = code.member(self.workgroups, 0);
        let before = code.binary(Op::Multiply, row, columns);
        let block = code.binary(Op::Add, before, column);
        code.name(block, "block");
        block
    }
}

/// `block * size + offset`
pub(super) fn index(code: &mut Code<'_>, block: Node, size: u32, offset: Node) -> Node {
    let size = code.u32(size);
    let start = code.binary(Op::Multiply, block, size);
    let i = code.binary(Op::Add, start, offset);
    code.name(i, "i");
    i
}

/// The number of a workgroup among those of the whole grid.
pub(super) fn in_whole(code: &mut Code<'_>, params: Node, layout: &Layout, block: Node) -> Node {
    if layout.find(Field::FirstBlock).is_none() {
        return block;
    }
    let first = field(code, params, layout, Field::FirstBlock);
    code.binary(Op::Add, first, block)
}

/// The value of a field of the block of numbers.
pub(super) fn field(code: &mut Code<'_>, params: Node, layout: &Layout, field: Field) -> Node {
    let at = layout.index(field);
    let pointer = code.member(params, at);
    code.load(pointer)
}

/// Adds an entry point.
pub(super) fn push(module: &mut Module, name: &str, function: Function, workgroup_size: [u32; 3]) {
    module.entry_points.push(naga::EntryPoint {
        name: name.to_owned(),
        stage: naga::ShaderStage::Compute,
        early_depth_test: None,
        workgroup_size,
        workgroup_size_overrides: None,
        function: Function { name: None, ..function },
        mesh_info: None,
        task_payload: None,
        incoming_ray_payload: None,
    });
}
