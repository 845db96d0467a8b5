//! Types under inference: a union-find over open types.

use crate::ir::Type;

/// A type that may still be open: an index into [`Types`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TypeVar(u32);

/// What is known of an open type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing.
    Any,
    /// An integer; `i32` unless narrowed.
    Int,
    /// A float; `f64` unless narrowed.
    Float,
    /// Settled.
    Known(Type),
}

impl Class {
    /// What both say, or `None` if they contradict.
    fn meet(self, other: Class) -> Option<Class> {
        match (self, other) {
            (Class::Any, c) | (c, Class::Any) => Some(c),
            (Class::Int, Class::Int) => Some(Class::Int),
            (Class::Float, Class::Float) => Some(Class::Float),
            (Class::Known(a), Class::Known(b)) => (a == b).then_some(self),
            (Class::Known(ty), Class::Int) | (Class::Int, Class::Known(ty)) => {
                ty.is_int().then_some(Class::Known(ty))
            }
            (Class::Known(ty), Class::Float) | (Class::Float, Class::Known(ty)) => {
                ty.is_float().then_some(Class::Known(ty))
            }
            (Class::Int, Class::Float) | (Class::Float, Class::Int) => None,
        }
    }

    /// For messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Class::Any => "a number",
            Class::Int => "an integer",
            Class::Float => "a float",
            Class::Known(ty) => ty.name(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Root(Class),
    Same(TypeVar),
}

/// All open types of a function.
#[derive(Debug, Default)]
pub(super) struct Types(Vec<Entry>);

impl Types {
    pub(super) fn open(&mut self, class: Class) -> TypeVar {
        self.0.push(Entry::Root(class));
        TypeVar(self.0.len() as u32 - 1)
    }

    pub(super) fn known(&mut self, ty: Type) -> TypeVar {
        self.open(Class::Known(ty))
    }

    fn root(&self, mut var: TypeVar) -> (TypeVar, Class) {
        loop {
            match self.0[var.0 as usize] {
                Entry::Same(next) => var = next,
                Entry::Root(class) => return (var, class),
            }
        }
    }

    pub(super) fn class(&self, var: TypeVar) -> Class {
        self.root(var).1
    }

    /// Makes two types one; false, changing nothing, if they contradict.
    pub(super) fn unify(&mut self, a: TypeVar, b: TypeVar) -> bool {
        let ((a, class_a), (b, class_b)) = (self.root(a), self.root(b));
        if a == b {
            return true;
        }
        let Some(class) = class_a.meet(class_b) else { return false };
        self.0[b.0 as usize] = Entry::Same(a);
        self.0[a.0 as usize] = Entry::Root(class);
        true
    }

    /// Narrows a type; false, changing nothing, if it contradicts.
    pub(super) fn narrow(&mut self, var: TypeVar, class: Class) -> bool {
        let (root, known) = self.root(var);
        let Some(class) = known.meet(class) else { return false };
        self.0[root.0 as usize] = Entry::Root(class);
        true
    }

    /// The final type: what was found, or Rust's default.
    pub(super) fn resolve(&self, var: TypeVar) -> Type {
        match self.class(var) {
            Class::Known(ty) => ty,
            Class::Any | Class::Int => Type::I32,
            Class::Float => Type::F64,
        }
    }
}
