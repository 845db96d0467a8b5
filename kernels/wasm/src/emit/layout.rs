//! Where a kernel's arguments and arrays are, as numbers of wasm locals, memories and addresses.

use crossover_kernels::ir::{Axis, Function, Inst, Param, ParamKind, Stmt, Type, Value};
use wasm_encoder::{MemArg, MemArgTarget};

use crate::private::Merge;

/// Parameters of `run` before the kernel's own: the ranges of x, y and z.
pub(super) const RANGE_PARAMS: u32 = 6;

/// Arrays whose indices are all constants live in registers, up to this many elements together.
const REGISTER_ELEMENTS_MAX: u32 = 64;

/// Where a variable of the kernel lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrayPlace {
    /// No array.
    Plain,
    /// One register, or one for each part of a vector, for each of so many elements.
    Registers(u32),
    /// At this address of the scratch memory.
    Scratch(u64),
}

/// The layout of a kernel.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The memory of each parameter; meaningless for scalars.
    memories: Vec<u32>,
    /// Memories of buffers; the scratch memory follows.
    pub(super) buffers: u32,
    /// Where each parameter begins in its memory: 0 but for shared arrays.
    bases: Vec<u64>,
    /// Bytes of shared arrays, at the start of the scratch memory.
    pub(super) shared_bytes: u64,
    /// Whether workers have copies of their own of a parameter.
    pub(super) private: Vec<bool>,
    /// A place for each local of the function.
    pub(super) arrays: Vec<ArrayPlace>,
    /// Bytes of arrays in scratch memory for one group of lanes.
    pub(super) scratch_bytes: u64,
    /// The parameters of `run` that are the ranges and the kernel's own.
    arguments_end: u32,
    /// Whether the extents of the grid follow.
    pub(super) has_extents: bool,
}

impl Layout {
    pub(super) fn of(function: &Function, privates: &[Option<Merge>]) -> Layout {
        let (mut buffers, mut shared_bytes) = (0, 0);
        let (mut memories, mut bases) = (Vec::new(), Vec::new());
        for param in &function.params {
            memories.push(buffers);
            bases.push(shared_bytes);
            match param.kind {
                ParamKind::Scalar(_) => {}
                ParamKind::Buffer { .. } => buffers += 1,
                // All arguments come before the first of these: `buffers` is the scratch memory.
                ParamKind::Shared { element, len, .. } => {
                    let bytes = u64::from(len) * element.bytes() as u64;
                    shared_bytes += bytes.next_multiple_of(16);
                }
            }
        }
        let private = privates.iter().map(Option::is_some).collect();
        let mut layout = Layout {
            memories,
            buffers,
            bases,
            shared_bytes,
            private,
            arrays: Vec::new(),
            scratch_bytes: 0,
            arguments_end: RANGE_PARAMS + function.arity() as u32,
            has_extents: has_extents(function),
        };
        let dynamic = dynamic_arrays(function);
        let mut registers = 0;
        for (def, dynamic) in function.locals.iter().zip(dynamic) {
            let place = match def.array {
                None => ArrayPlace::Plain,
                Some(count) if !dynamic && registers + count <= REGISTER_ELEMENTS_MAX => {
                    registers += count;
                    ArrayPlace::Registers(count)
                }
                Some(count) => {
                    let offset = shared_bytes + layout.scratch_bytes;
                    layout.scratch_bytes += u64::from(count) * u64::from(Layout::stride(def.ty));
                    ArrayPlace::Scratch(offset)
                }
            };
            layout.arrays.push(place);
        }
        layout
    }

    /// Bytes of arrays, shared ones and those of so many groups of lanes.
    pub(super) fn array_bytes(&self, groups: usize) -> u64 {
        self.shared_bytes + self.scratch_bytes * groups as u64
    }

    /// Bytes of one array element: four lanes side by side.
    pub(super) fn stride(ty: Type) -> u32 {
        if ty.is_wide() { 32 } else { 16 }
    }

    /// The wasm local of a scalar's value or a buffer's length.
    pub(super) fn param(&self, param: Param) -> u32 {
        RANGE_PARAMS + param.0
    }

    /// The wasm local of an extent of the grid.
    pub(super) fn extent(&self, axis: Axis) -> u32 {
        self.arguments_end + axis.index() as u32
    }

    /// The parameters of `run`; a carry follows.
    pub(super) fn params(&self) -> u32 {
        self.arguments_end + if self.has_extents { Axis::ALL.len() as u32 } else { 0 }
    }

    /// Access to a buffer at the address on the stack plus `offset`.
    pub(super) fn buffer_arg(&self, param: Param, ty: Type, offset: u64) -> MemArg {
        let memory = self.memories[param.index()];
        let align = if ty.is_wide() { 3 } else { 2 };
        let offset = offset + self.bases[param.index()];
        MemArg { offset, align, target: MemArgTarget::Memory(memory), ordering: None }
    }

    /// Access to the scratch memory at the address on the stack plus `offset`.
    pub(super) fn scratch_arg(&self, offset: u64) -> MemArg {
        MemArg { offset, align: 2, target: MemArgTarget::Memory(self.buffers), ordering: None }
    }
}

/// Whether some value is an extent of the grid.
fn has_extents(function: &Function) -> bool {
    let mut found = false;
    function.walk(&mut |stmt| {
        if let Stmt::Let(value) = stmt {
            found |= matches!(function.def(*value).inst, Inst::Extent(_));
        }
    });
    found
}

/// For each local, whether some index into it is not a constant inside its range.
fn dynamic_arrays(function: &Function) -> Vec<bool> {
    let mut dynamic = vec![false; function.locals.len()];
    let mut note = |local: usize, index: Value| {
        let inside = function
            .as_const(index)
            .is_some_and(|c| c.bits < u64::from(function.locals[local].array.unwrap_or(0)));
        dynamic[local] |= !inside;
    };
    function.walk(&mut |stmt| match stmt {
        Stmt::SetElement(local, index, _) => note(local.index(), *index),
        Stmt::Let(value) => {
            if let Inst::GetElement(local, index) = function.def(*value).inst {
                note(local.index(), index);
            }
        }
        Stmt::Set(..)
        | Stmt::Store(..)
        | Stmt::AtomicStore(..)
        | Stmt::Check { .. }
        | Stmt::If { .. }
        | Stmt::For { .. }
        | Stmt::Loop(_)
        | Stmt::CallVoid(..)
        | Stmt::Barrier(_)
        | Stmt::Each(_)
        | Stmt::Break
        | Stmt::Continue
        | Stmt::Return => {}
    });
    dynamic
}
