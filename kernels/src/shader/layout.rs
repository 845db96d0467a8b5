//! Types as rows of scalars: what a vector, array or structure is made of, and where each scalar lies
//! in memory.

use std::num::NonZeroU32;

use naga::{ArraySize, TypeInner};

use super::{Refusal, Taken};
use crate::ir::Type;

/// Scalars that a value or variable may have; larger ones belong into buffers.
const LEAVES_MAX: usize = 1 << 14;

/// A scalar of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    pub(super) ty: Type,
    /// Bytes from the start.
    pub(super) offset: u32,
}

/// A part of a type: its type, the number of its first scalar, and where it starts.
pub(super) struct Part {
    pub(super) inner: TypeInner,
    pub(super) leaf: u32,
    pub(super) offset: u32,
}

/// Looks types up.
#[derive(Clone, Copy)]
pub(super) struct Types<'a>(pub(super) &'a naga::Module);

/// The IR's type of a scalar.
pub(super) fn scalar(scalar: naga::Scalar, span: naga::Span) -> Taken<Type> {
    use naga::ScalarKind;
    Ok(match (scalar.kind, scalar.width) {
        (ScalarKind::Bool, _) => Type::Bool,
        (ScalarKind::Sint, 4) => Type::I32,
        (ScalarKind::Uint, 4) => Type::U32,
        (ScalarKind::Float, 4) => Type::F32,
        (ScalarKind::Sint, 8) => Type::I64,
        (ScalarKind::Uint, 8) => Type::U64,
        (ScalarKind::Float, 8) => Type::F64,
        (kind, width) => {
            let message = format!("scalars of {width} bytes ({kind:?}) are not taken");
            return Err(Refusal { message, span });
        }
    })
}

impl Types<'_> {
    pub(super) fn inner(&self, handle: naga::Handle<naga::Type>) -> TypeInner {
        self.sized(self.0.types[handle].inner.clone())
    }

    /// The type with its size as a number, where a pipeline sets it.
    pub(super) fn sized(&self, mut inner: TypeInner) -> TypeInner {
        if let TypeInner::Array { size: size @ ArraySize::Pending(_), .. } = &mut inner
            && let Ok(naga::proc::IndexableLength::Known(n)) = size.resolve(self.0.to_ctx())
            && let Some(n) = NonZeroU32::new(n)
        {
            *size = ArraySize::Constant(n);
        }
        inner
    }

    /// The scalars of a type of fixed size, in order.
    pub(super) fn leaves(&self, inner: &TypeInner, span: naga::Span) -> Taken<Vec<Leaf>> {
        let mut leaves = Vec::new();
        self.add(inner, 0, span, &mut leaves)?;
        Ok(leaves)
    }

    fn add(&self, inner: &TypeInner, at: u32, span: naga::Span, out: &mut Vec<Leaf>) -> Taken<()> {
        let refuse = |message: String| Err(Refusal { message, span });
        match inner {
            TypeInner::Scalar(s) | TypeInner::Atomic(s) => {
                out.push(Leaf { ty: scalar(*s, span)?, offset: at });
            }
            TypeInner::Vector { size, scalar: s } => {
                let ty = scalar(*s, span)?;
                for lane in 0..*size as u32 {
                    out.push(Leaf { ty, offset: at + lane * u32::from(s.width) });
                }
            }
            TypeInner::Matrix { columns, .. } => {
                let (column, _, stride) = self.element(inner, span)?;
                for at_column in 0..*columns as u32 {
                    self.add(&column, at + at_column * stride, span, out)?;
                }
            }
            TypeInner::Array { base, size: ArraySize::Constant(n), stride } => {
                let base = self.inner(*base);
                for i in 0..n.get() {
                    self.add(&base, at + i * stride, span, out)?;
                    if out.len() > LEAVES_MAX {
                        return refuse(format!("a value of more than {LEAVES_MAX} scalars"));
                    }
                }
            }
            TypeInner::Struct { members, .. } => {
                for member in members {
                    self.add(&self.inner(member.ty), at + member.offset, span, out)?;
                }
            }
            other => return refuse(format!("{} are not taken here", describe(other))),
        }
        Ok(())
    }

    /// The type of an element of an array or vector or of a column of a matrix, its scalars, and its
    /// bytes.
    pub(super) fn element(
        &self,
        inner: &TypeInner,
        span: naga::Span,
    ) -> Taken<(TypeInner, u32, u32)> {
        match inner {
            TypeInner::Vector { scalar, .. } => {
                Ok((TypeInner::Scalar(*scalar), 1, u32::from(scalar.width)))
            }
            TypeInner::Matrix { rows, scalar, .. } => {
                let column = TypeInner::Vector { size: *rows, scalar: *scalar };
                // A column of three is laid out like one of four.
                let width = u32::from(scalar.width);
                let stride = (*rows as u32).next_power_of_two() * width;
                Ok((column, *rows as u32, stride))
            }
            TypeInner::Array { base, stride, .. } => {
                let base = self.inner(*base);
                let leaves = self.leaves(&base, span)?.len() as u32;
                Ok((base, leaves, *stride))
            }
            other => {
                let message = format!("an index into {}", describe(other));
                Err(Refusal { message, span })
            }
        }
    }

    /// A part of a vector, array or structure.
    pub(super) fn part(&self, inner: &TypeInner, at: u32, span: naga::Span) -> Taken<Part> {
        if let TypeInner::Struct { members, .. } = inner {
            let member = &members[at as usize];
            let mut leaf = 0;
            for before in &members[..at as usize] {
                leaf += self.leaves(&self.inner(before.ty), span)?.len() as u32;
            }
            let (inner, offset) = (self.inner(member.ty), member.offset);
            return Ok(Part { inner, leaf, offset });
        }
        let (element, leaves, stride) = self.element(inner, span)?;
        Ok(Part { inner: element, leaf: leaves * at, offset: stride * at })
    }

    /// What a runtime-sized array at the end of the type is made of; the type itself without one.
    pub(super) fn repeated(&self, inner: &TypeInner) -> Option<(TypeInner, u32, u32)> {
        match inner {
            TypeInner::Array { base, size: ArraySize::Dynamic, stride } => {
                Some((self.inner(*base), 0, *stride))
            }
            TypeInner::Struct { members, .. } => {
                let last = members.last()?;
                let (base, offset, stride) = self.repeated(&self.inner(last.ty))?;
                Some((base, offset + last.offset, stride))
            }
            _ => None,
        }
    }

    /// The scalars of a type in memory, with one element of each array.
    pub(super) fn memory_leaves(&self, inner: &TypeInner, span: naga::Span) -> Taken<Vec<Leaf>> {
        match inner {
            TypeInner::Array { base, .. } => self.memory_leaves(&self.inner(*base), span),
            TypeInner::Struct { members, .. } => {
                let mut leaves = Vec::new();
                for member in members {
                    leaves.extend(self.memory_leaves(&self.inner(member.ty), span)?);
                }
                Ok(leaves)
            }
            other => self.leaves(other, span),
        }
    }
}

/// What a type is, in words.
pub(super) fn describe(inner: &TypeInner) -> &'static str {
    match inner {
        TypeInner::Scalar(_) => "scalars",
        TypeInner::Vector { .. } => "vectors",
        TypeInner::Matrix { .. } => "matrices",
        TypeInner::Atomic(_) => "atomics",
        TypeInner::Pointer { .. } | TypeInner::ValuePointer { .. } => "pointers",
        TypeInner::Array { .. } => "arrays",
        TypeInner::Struct { .. } => "structures",
        TypeInner::Image { .. } => "textures",
        TypeInner::Sampler { .. } => "samplers",
        TypeInner::BindingArray { .. } => "arrays of bindings",
        _ => "values of this type",
    }
}
