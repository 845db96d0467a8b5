//! What stands beside every kernel function, as one macro that `#[kernel]` calls: the compiler
//! expands it in a small part of the time that the attribute would take to write it out.
//!
//! Not to be called by hand: `#[kernel]` and this file are one.
//!
//! Definitions are statics: hosts know a kernel by the address of its definition, and a constant may have
//! another in each part of a program, so that a kernel would be compiled, and learned of, several times.

use crate::ir::Type;
use crate::lang::{Args, Def, Host, Scalar};

/// Binds the arguments of a call, in order.
#[expect(missing_debug_implementations, reason = "lives within one expression")]
pub struct Binder<'b, H: Host> {
    host: &'b H,
    args: Args<H::Arg<'b>>,
}

// Arguments are written where they stay: to move them right after waits for each to be written.
#[expect(missing_docs, reason = "each method is the host's of the same name")]
impl<'b, H: Host> Binder<'b, H> {
    #[inline]
    pub fn new(host: &'b H) -> Self {
        Binder { host, args: Args::new() }
    }

    #[inline]
    pub fn scalar<T: Scalar>(&mut self, value: T) {
        self.args.push(self.host.scalar(value));
    }

    #[inline]
    pub fn read<T: Scalar>(&mut self, buffer: &'b H::Buffer<T>) {
        self.args.push(self.host.read(buffer));
    }

    #[inline]
    pub fn write<T: Scalar>(&mut self, buffer: &'b mut H::Buffer<T>) {
        self.args.push(self.host.write(buffer));
    }

    #[inline]
    pub fn call(self, def: &'static Def, types: &[Type], consts: &[usize]) -> H::Call<'b> {
        self.host.call(def, types, consts, self.args)
    }
}

/// The companion of a kernel: `Def!` has the name of the type so that whoever re-exports the one
/// re-exports the other.
#[doc(hidden)]
#[macro_export]
macro_rules! Def {
    // A function without an `Id` has a definition only.
    ([$($conditions:tt)*] [$($vis:tt)*] $name:ident $text:literal $doc:literal $tree:literal
     [$($helper:ty),*]) => {
        $($conditions)*
        #[doc = $doc]
        #[allow(non_camel_case_types, dead_code, reason = "has the name of the function")]
        $($vis)* enum $name {}

        $($conditions)*
        #[allow(dead_code, reason = "not every helper is called")]
        const _: () = {
            static DEFINITION: $crate::Def = $crate::Def {
                name: $text,
                file: ::core::file!(),
                tree: $tree,
                helpers: &[$(<$helper>::DEF),*],
            };

            impl $name {
                /// The kernel's definition.
                pub const DEF: &'static $crate::Def = &DEFINITION;
            }
        };
    };
    // A kernel can be called on hosts, too: `host` is a name that no type parameter has, `args` are
    // the statements of `args`.
    ([$($conditions:tt)*] [$($vis:tt)*] $name:ident $text:literal $doc:literal $tree:literal
     [$($helper:ty),*]
     $host:ident [$($generics:tt)*] [$($used:tt)*] [$($types:tt)*] [$($consts:tt)*]
     $($param:ident: $ty:ty = $bind:ident),*) => {
        $($conditions)*
        #[doc = $doc]
        #[allow(non_camel_case_types, dead_code, reason = "has the name of the function")]
        $($vis)* enum $name {}

        $($conditions)*
        #[allow(dead_code, clippy::too_many_arguments, reason = "as the function is written")]
        const _: () = {
            static DEFINITION: $crate::Def = $crate::Def {
                name: $text,
                file: ::core::file!(),
                tree: $tree,
                helpers: &[$(<$helper>::DEF),*],
            };

            impl $name {
                /// The kernel's definition.
                pub const DEF: &'static $crate::Def = &DEFINITION;

                /// Begins a call on a host: give the arguments next.
                pub fn on<$host: $crate::Host>(host: &$host) -> On<'_, $host> {
                    On(host)
                }
            }

            pub struct On<'h, $host>(&'h $host);

            impl<'h, $host: $crate::Host> On<'h, $host> {
                /// The kernel's arguments; a reduction or scan takes its output buffer last.
                pub fn args<$($generics)*>(self, $($param: $ty),*) -> $host::Call<'h> {
                    // A function that is only called in this way is used, too.
                    $($used)*
                    #[allow(unused_mut, reason = "there may be no arguments")]
                    let mut binder = $crate::companion::Binder::new(self.0);
                    $(binder.$bind($param);)*
                    binder.call($name::DEF, &[$($types)*], &[$($consts)*])
                }
            }
        };
    };
    // A kernel whose signature is refused: `args` takes anything.
    ([$($conditions:tt)*] [$($vis:tt)*] $name:ident $text:literal $doc:literal refused $($any:tt)*) => {
        $($conditions)*
        #[doc = $doc]
        #[allow(non_camel_case_types, dead_code, reason = "has the name of the function")]
        $($vis)* enum $name {}

        $($conditions)*
        #[allow(dead_code, clippy::too_many_arguments, reason = "as the function is written")]
        const _: () = {
            impl $name {
                pub const DEF: &'static $crate::Def =
                    &$crate::Def { name: $text, file: ::core::file!(), tree: b"", helpers: &[] };

                pub fn on<H: $crate::Host>(host: &H) -> On<'_, H> {
                    On(host)
                }
            }

            pub struct On<'h, H>(&'h H);

            impl<'h, H: $crate::Host> On<'h, H> {
                pub fn args(self, $($any: impl Sized),*) -> H::Call<'h> {
                    ::core::unreachable!()
                }
            }
        };
    };
}
