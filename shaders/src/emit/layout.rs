//! The block of numbers that a dispatch gets: the grid, the lengths, the scalars. The shader sees it
//! as a structure among the immediates, or in a uniform buffer where they have no room for it; the host
//! writes it from the same description.

use crossover_kernels::analysis::begun;
use crossover_kernels::ir::{Access, Axis, Collective, CollectiveKind, Inst, Kernel, Param, Type};
use naga::{Handle, Module, Span, StructMember, TypeInner};

use super::code::scalar_type;
use crate::schedule::Schedule;

/// What a member of the block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// The extent of the grid along an axis.
    Extent(Axis),
    /// The position of the dispatch's first grid point along an axis; grids of several axes.
    Origin(Axis),
    /// The number of workgroups up to the dispatch's last; grids of one axis.
    Blocks,
    /// The number of the dispatch's first workgroup; grids of one axis, of maps and of cut collectives.
    FirstBlock,
    /// Cut reductions: where the dispatch's part of the grid ends.
    End,
    /// Cut reductions: where the dispatch's partial results begin.
    FirstSum,
    /// A zero that drivers do not know.
    Zero,
    /// Cut calls: the element of a buffer at which the part begins that the shader sees.
    First(Param),
    /// The length of a buffer.
    Len(Param),
    /// A scalar argument; `bool` as 0 or 1.
    Scalar(Param),
}

/// A member of the block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name in the shader.
    pub name: String,
    /// What it holds.
    pub field: Field,
    /// Its type in the block: never `bool`.
    pub ty: Type,
    /// Bytes from the start of the block.
    pub offset: u32,
}

/// The members of a block, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The members.
    pub members: Vec<Member>,
}

impl Layout {
    /// The block of a kernel: only lengths that are asked for, and places of parts where there are parts.
    pub(super) fn of(kernel: &Kernel, schedule: &Schedule) -> Layout {
        let windows = schedule.windows;
        let mut layout = Layout::default();
        let axes = &Axis::ALL[..kernel.axes()];
        if let [axis] = axes {
            layout.push("extent", Field::Extent(*axis), Type::U32);
            layout.push("blocks", Field::Blocks, Type::U32);
            // Maps may be run in parts, collectives are cut where their buffers are too large alone.
            if windows || kernel.collective.is_none() {
                layout.push("first_block", Field::FirstBlock, Type::U32);
            }
            let is_reduction = |c: Collective| c.kind == CollectiveKind::Reduce;
            if windows && kernel.collective.is_some_and(is_reduction) {
                layout.push("end", Field::End, Type::U32);
                layout.push("first_sum", Field::FirstSum, Type::U32);
            }
        } else {
            for &axis in axes {
                layout.push(&format!("extent_{}", axis.name()), Field::Extent(axis), Type::U32);
            }
            for &axis in axes {
                layout.push(&format!("origin_{}", axis.name()), Field::Origin(axis), Type::U32);
            }
        }
        let entry = &kernel.entry;
        if schedule.hides_starts && !begun(entry).is_empty() {
            layout.push("zero", Field::Zero, Type::U32);
        }
        for (param, _, _) in entry.buffers() {
            let asked = entry.values.iter().any(|def| def.inst == Inst::Len(param));
            let name = &entry.params[param.index()].name;
            if asked {
                layout.push(&format!("{name}_len"), Field::Len(param), Type::U32);
            }
            if windows {
                layout.push(&format!("{name}_first"), Field::First(param), Type::U32);
            }
        }
        for (param, ty) in entry.scalars() {
            let ty = if ty == Type::Bool { Type::U32 } else { ty };
            layout.push(&entry.params[param.index()].name, Field::Scalar(param), ty);
        }
        layout
    }

    fn push(&mut self, name: &str, field: Field, ty: Type) {
        let offset = self.end().next_multiple_of(ty.bytes() as u32);
        self.members.push(Member { name: name.to_owned(), field, ty, offset });
    }

    fn end(&self) -> u32 {
        self.members.last().map_or(0, |last| last.offset + last.ty.bytes() as u32)
    }

    /// Bytes of the block.
    pub fn bytes(&self) -> u32 {
        let align = self.members.iter().map(|m| m.ty.bytes() as u32).max().unwrap_or(4);
        self.end().next_multiple_of(align)
    }

    /// The block with these values, written to the start of `out`.
    pub fn write(&self, out: &mut [u8], value: impl Fn(Field) -> u64) {
        for member in &self.members {
            self.write_field(out, member.field, value(member.field));
        }
    }

    /// Changes one field of a written block.
    pub(crate) fn write_field(&self, out: &mut [u8], field: Field, value: u64) {
        for member in self.members.iter().filter(|member| member.field == field) {
            let (at, bytes) = (member.offset as usize, member.ty.bytes());
            out[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
        }
    }

    /// The position of a field among the members.
    pub(super) fn index(&self, field: Field) -> u32 {
        self.find(field).expect("the block holds every field that its kernel asks for")
    }

    /// The position of a field that may not be there.
    pub(super) fn find(&self, field: Field) -> Option<u32> {
        let at = self.members.iter().position(|member| member.field == field)?;
        Some(at as u32)
    }

    /// The structure type of the block.
    pub(super) fn structure(&self, module: &mut Module) -> Handle<naga::Type> {
        let members = self
            .members
            .iter()
            .map(|member| StructMember {
                name: Some(member.name.clone()),
                ty: scalar_type(module, member.ty),
                binding: None,
                offset: member.offset,
            })
            .collect();
        structure(module, "Params", members, self.bytes())
    }
}

/// A structure of `u32` members.
pub(super) fn words(module: &mut Module, name: &str, names: &[&str]) -> Handle<naga::Type> {
    let ty = scalar_type(module, Type::U32);
    let member = |(at, name): (usize, &&str)| StructMember {
        name: Some((*name).to_owned()),
        ty,
        binding: None,
        offset: at as u32 * 4,
    };
    let members = names.iter().enumerate().map(member).collect();
    structure(module, name, members, names.len() as u32 * 4)
}

/// A structure type.
pub(super) fn structure(
    module: &mut Module,
    name: &str,
    members: Vec<StructMember>,
    span: u32,
) -> Handle<naga::Type> {
    let inner = TypeInner::Struct { members, span };
    module.types.insert(naga::Type { name: Some(name.to_owned()), inner }, Span::UNDEFINED)
}

/// What a binding of a shader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A buffer argument.
    Buffer(Param),
    /// The block of numbers, where it is no immediate.
    Params,
    /// Where a failing invocation says why.
    Status,
    /// Collectives: one partial result of each workgroup.
    Sums,
    /// Collectives: the partial results that a further pass combines.
    Data,
    /// Collectives: the block of numbers of a further pass, where it is no immediate.
    Level,
    /// Scans in one pass: how many blocks have begun, and what each has come to.
    States,
}

/// A binding of group 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The number of the binding.
    pub index: u32,
    /// What it is.
    pub role: Role,
    /// Whether the shader writes it.
    pub writable: bool,
}

impl Binding {
    /// The bindings of a kernel's shader, in order: those of the kernel's own entry point, then
    /// those that only the further passes of a collective use.
    pub(super) fn of(
        kernel: &Kernel,
        needs_status: bool,
        immediates: bool,
        single_pass: bool,
    ) -> Vec<Binding> {
        let mut roles: Vec<(Role, bool)> = kernel
            .entry
            .buffers()
            .map(|(param, _, access)| (Role::Buffer(param), access != Access::Read))
            .collect();
        roles.push((Role::Params, false));
        if needs_status {
            roles.push((Role::Status, true));
        }
        if single_pass {
            roles.push((Role::States, true));
        } else if kernel.collective.is_some() {
            roles.extend([(Role::Sums, true), (Role::Data, true), (Role::Level, false)]);
        }
        roles.retain(|(role, _)| !immediates || !matches!(role, Role::Params | Role::Level));
        let number = |(index, (role, writable))| Binding { index: index as u32, role, writable };
        roles.into_iter().enumerate().map(number).collect()
    }
}
