//! What pointers point at: variables, buffers, shared arrays.

use naga::TypeInner;

use super::body::Body;
use super::expr::Scalars;
use super::layout::Leaf;
use super::{Refusal, Taken};
use crate::ir::{BinaryOp, Inst, Local, Param, ParamKind, Stmt, Trap, Type, Value};

/// The variable or parameter that a pointer leads into.
#[derive(Clone, Debug)]
pub(super) enum Root {
    /// A variable for each scalar.
    Locals(Vec<Local>),
    /// An array of all scalars.
    Array(Local),
    /// A buffer or shared array, and the type of its elements.
    Memory(Param, Type),
    /// A scalar parameter for each scalar.
    Uniforms(Vec<Param>),
}

/// What a pointer points at.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) root: Root,
    pub(super) inner: TypeInner,
    /// The first scalar, and the bytes before it.
    pub(super) leaf: u32,
    pub(super) offset: u32,
    /// Scalars (in variables) or words (in memory) beyond that.
    pub(super) dynamic: Option<Value>,
}

impl Body<'_> {
    /// The part of a place at a constant position.
    pub(super) fn place_part(&self, place: Place, at: u32, span: naga::Span) -> Taken<Place> {
        // The elements of an array without a size are counted in memory alone.
        if let Some((base, 0, stride)) = self.types.repeated(&place.inner)
            && matches!(place.inner, TypeInner::Array { .. })
        {
            let offset = at.checked_mul(stride).and_then(|by| by.checked_add(place.offset));
            let Some(offset) = offset else {
                let message = format!("element {at} is beyond every buffer");
                return Err(Refusal { message, span });
            };
            return Ok(Place { inner: base, offset, ..place });
        }
        if let TypeInner::Struct { members, .. } = &place.inner
            && self.types.repeated(&place.inner).is_some()
        {
            let member = &members[at as usize];
            let (inner, offset) = (self.types.inner(member.ty), place.offset + member.offset);
            return Ok(Place { inner, offset, ..place });
        }
        let part = self.types.part(&place.inner, at, span)?;
        Ok(Place {
            inner: part.inner,
            leaf: place.leaf + part.leaf,
            offset: place.offset + part.offset,
            ..place
        })
    }

    /// The element of a place at an index.
    pub(super) fn place_element(
        &mut self,
        place: Place,
        index: Value,
        span: naga::Span,
    ) -> Taken<Place> {
        let index = self.as_u32(index);
        let (inner, leaves, stride) = self.types.element(&place.inner, span)?;
        let by = match &place.root {
            Root::Memory(_, ty) => stride / ty.bytes() as u32,
            Root::Array(_) => leaves,
            Root::Locals(_) | Root::Uniforms(_) => {
                let message = "an index that is not constant into these variables".to_owned();
                return Err(Refusal { message, span });
            }
        };
        self.check_length(&place.inner, index);
        if let (Root::Memory(param, _), TypeInner::Array { size: naga::ArraySize::Dynamic, .. }) =
            (&place.root, &place.inner)
            && (place.offset > 0 || by > 1)
        {
            // Elements and what stands before them are counted in words, which may wrap.
            let param = *param;
            let length = self.length(&place, span)?;
            let condition = self.b.binary(BinaryOp::Lt, index, length);
            self.b.check(condition, Trap::Bounds(param), Some(index));
        }
        let step = self.scaled(index, by);
        let dynamic = match place.dynamic {
            Some(before) => self.b.binary(BinaryOp::Add, before, step),
            None => step,
        };
        Ok(Place { inner, dynamic: Some(dynamic), ..place })
    }

    /// An index into an array or vector of fixed length is below it.
    pub(super) fn check_length(&mut self, inner: &TypeInner, index: Value) {
        let length = match inner {
            TypeInner::Array { size: naga::ArraySize::Constant(n), .. } => n.get(),
            TypeInner::Vector { size, .. } => *size as u32,
            TypeInner::Matrix { columns, .. } => *columns as u32,
            _ => return,
        };
        let bound = self.b.constant(length);
        let condition = self.b.binary(BinaryOp::Lt, index, bound);
        self.b.check(condition, Trap::ArrayBounds(length), Some(index));
    }

    fn scaled(&mut self, index: Value, by: u32) -> Value {
        if by == 1 {
            return index;
        }
        let by = self.b.constant(by);
        self.b.binary(BinaryOp::Mul, index, by)
    }

    /// The index of a scalar of the place in its array or memory.
    fn index(&mut self, place: &Place, at: u32) -> Value {
        let fixed = self.b.constant(at);
        match place.dynamic {
            Some(dynamic) if at == 0 => dynamic,
            Some(dynamic) => self.b.binary(BinaryOp::Add, dynamic, fixed),
            None => fixed,
        }
    }

    fn word(&mut self, place: &Place, leaf: Leaf, ty: Type) -> Value {
        self.index(place, (place.offset + leaf.offset) / ty.bytes() as u32)
    }

    pub(super) fn load(&mut self, place: &Place, span: naga::Span) -> Taken<Scalars> {
        let leaves = self.types.leaves(&place.inner, span)?;
        let mut scalars = Vec::with_capacity(leaves.len());
        for (at, leaf) in leaves.into_iter().enumerate() {
            let at = place.leaf + at as u32;
            scalars.push(match &place.root {
                Root::Locals(locals) => self.b.get(locals[at as usize]),
                Root::Uniforms(params) => self.uniform(params[at as usize], leaf.ty),
                Root::Array(local) => {
                    let index = self.index(place, at);
                    let value = self.b.checked_get_element(*local, index);
                    self.as_type(value, leaf.ty)
                }
                Root::Memory(param, ty) => {
                    let index = self.word(place, leaf, *ty);
                    let value = if self.is_atomic(*param) {
                        self.b.check_bounds(*param, index);
                        self.b.value(*ty, Inst::AtomicLoad(*param, index))
                    } else {
                        self.b.checked_load(*param, index)
                    };
                    self.as_type(value, leaf.ty)
                }
            });
        }
        Ok(scalars)
    }

    fn uniform(&mut self, param: Param, ty: Type) -> Value {
        let value = self.b.argument(param);
        self.as_type(value, ty)
    }

    pub(super) fn store(
        &mut self,
        place: &Place,
        scalars: &[Value],
        span: naga::Span,
    ) -> Taken<()> {
        let leaves = self.types.leaves(&place.inner, span)?;
        for ((at, leaf), &value) in leaves.into_iter().enumerate().zip(scalars) {
            let at = place.leaf + at as u32;
            match &place.root {
                Root::Locals(locals) => self.b.set(locals[at as usize], value),
                Root::Array(local) => {
                    let ty = self.b.function().locals[local.index()].ty;
                    let value = self.as_type(value, ty);
                    let index = self.index(place, at);
                    self.b.checked_set_element(*local, index, value);
                }
                Root::Memory(param, ty) => {
                    let value = self.as_type(value, *ty);
                    let index = self.word(place, leaf, *ty);
                    if self.is_atomic(*param) {
                        self.b.check_bounds(*param, index);
                        self.b.stmt(Stmt::AtomicStore(*param, index, value));
                    } else {
                        self.b.checked_store(*param, index, value);
                    }
                }
                Root::Uniforms(_) => {
                    let message = "a uniform is not written".to_owned();
                    return Err(Refusal { message, span });
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_atomic(&self, param: Param) -> bool {
        match self.b.function().params[param.index()].kind {
            ParamKind::Buffer { access, .. } => access == crate::ir::Access::Atomic,
            ParamKind::Shared { atomic, .. } => atomic,
            ParamKind::Scalar(_) => false,
        }
    }

    /// An atomic operation on the one scalar of a place; gives the value before.
    pub(super) fn atomic(
        &mut self,
        op: crate::ir::AtomicOp,
        place: &Place,
        operand: Value,
        span: naga::Span,
    ) -> Taken<Value> {
        let Root::Memory(param, ty) = place.root else {
            let message = "an atomic operation on a variable".to_owned();
            return Err(Refusal { message, span });
        };
        let index = self.word(place, Leaf { ty, offset: 0 }, ty);
        self.b.check_bounds(param, index);
        Ok(self.b.value(ty, Inst::Atomic(op, param, index, operand)))
    }

    /// Compares the one scalar of a place with what is expected and replaces it; gives the value before.
    pub(super) fn compare_swap(
        &mut self,
        place: &Place,
        [expected, new]: [Value; 2],
        span: naga::Span,
    ) -> Taken<Value> {
        let Root::Memory(param, ty) = place.root else {
            let message = "an atomic operation on a variable".to_owned();
            return Err(Refusal { message, span });
        };
        let index = self.word(place, Leaf { ty, offset: 0 }, ty);
        self.b.check_bounds(param, index);
        Ok(self.b.value(ty, Inst::CompareSwap(param, index, expected, new)))
    }

    /// The elements of the array without a size that a place is.
    pub(super) fn length(&mut self, place: &Place, span: naga::Span) -> Taken<Value> {
        let repeated = self.types.repeated(&place.inner);
        let (Root::Memory(param, ty), Some((_, _, stride))) = (&place.root, repeated) else {
            let message = "the length of something that has a fixed one".to_owned();
            return Err(Refusal { message, span });
        };
        let (param, bytes) = (*param, ty.bytes() as u32);
        let words = self.b.len(param);
        // A buffer may be shorter than what stands before the array.
        let before = self.b.constant(place.offset / bytes);
        let words = self.b.binary(BinaryOp::Max, words, before);
        let words = self.b.binary(BinaryOp::Sub, words, before);
        let each = self.b.constant(stride / bytes);
        Ok(self.b.binary(BinaryOp::Div, words, each))
    }
}
