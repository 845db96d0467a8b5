//! `#[kernel]`: a Rust function that Crossover can place.
//!
//! The function's tokens are emitted unchanged (but for an `allow` at parameters that only the grid
//! names), so that rustc types it, its errors are the user's, and it stays callable as plain Rust.
//! Beside it stands an empty `enum` of the same name (types and functions have separate name
//! spaces: one `use` brings both) with
//!
//! - `DEF`: the untyped syntax tree as a byte string, and the helpers it calls;
//! - `on(host)`: begins a call; `.args(…)` then takes what the function takes, slices as buffers.

#![forbid(unsafe_code)]

use crossover_syntax::parse::{self, Diagnostic, Reading};
use crossover_syntax::tree::{Extent, GenericKind, ParamKind};
use proc_macro::TokenStream;
use proc_macro2::{Ident, Literal, Span, TokenStream as Tokens};
use quote::{format_ident, quote};
use syn::{Attribute, FnArg, GenericParam, ItemFn, Pat, Type};

/// Makes a function a kernel. Arguments: `reduce = op` or `scan = op` for a function that returns
/// what one index contributes (op: add, mul, min, max, and, or, xor); `grid = (w, h)` for a grid
/// other than the length of the first `&mut` slice.
#[proc_macro_attribute]
pub fn kernel(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let original = Tokens::from(item.clone());
    let function = match syn::parse::<ItemFn>(item) {
        Ok(function) => function,
        Err(error) => {
            let error = error_at(
                [error.span(); 2],
                "only functions are kernels",
                "put `#[kernel]` on a free function with a body",
            );
            return quote!(#original #error).into();
        }
    };
    let reading = parse::read(&function, attribute.into());
    let errors = reading.diagnostics.iter().map(compile_error);
    // In an `impl` nothing can stand beside the function.
    let companion = match function.sig.receiver() {
        Some(_) => Tokens::new(),
        None => companion(&function, &reading),
    };
    // What is refused goes to rustc as it was written, for its own errors.
    let function = if reading.diagnostics.is_empty() {
        with_extents_used(function.clone(), &reading)
    } else {
        original
    };
    quote!(#function #companion #(#errors)*).into()
}

/// The function, where a parameter that only the grid names is no unused variable.
fn with_extents_used(mut function: ItemFn, reading: &Reading) -> Tokens {
    let grid = &reading.parsed.tree.grid;
    for input in &mut function.sig.inputs {
        let FnArg::Typed(typed) = input else { continue };
        let Pat::Ident(binding) = &*typed.pat else { continue };
        let is_extent = grid.iter().any(|extent| match extent {
            Extent::Name(name) | Extent::Len(name) => binding.ident == name.text,
            Extent::Fixed(_) => false,
        });
        if is_extent {
            typed.attrs.push(syn::parse_quote!(#[allow(unused_variables)]));
        }
    }
    quote!(#function)
}

fn compile_error(diagnostic: &Diagnostic) -> Tokens {
    error_at([diagnostic.span, diagnostic.end], &diagnostic.message, &diagnostic.help)
}

/// An error under everything from one token to another. (Only nightly compilers join spans.)
fn error_at(ends: [Span; 2], message: &str, help: &str) -> Tokens {
    let [start, end] = ends.map(|span| Ident::new("token", span));
    let message = format!("kernel: {message}\nhelp: {help}");
    syn::Error::new_spanned(quote!(#start #end), message).to_compile_error()
}

/// What stands beside the function. A refused kernel gets it, too, as far as it was understood, so
/// that its uses add no errors of their own.
fn companion(function: &ItemFn, reading: &Reading) -> Tokens {
    let (name, vis) = (&function.sig.ident, &function.vis);
    let text = name.to_string();
    let parsed = &reading.parsed;
    let accepted = reading.diagnostics.is_empty();
    let bytes = match crossover_syntax::encode(&parsed.tree) {
        Ok(bytes) => Literal::byte_string(&bytes),
        Err(message) => return syn::Error::new(name.span(), message).to_compile_error(),
    };
    // What a refused kernel calls may be a closure, which is refused already.
    let helpers = if accepted { parsed.helpers.as_slice() } else { &[] };
    let launch = match (&parsed.tree.id, reading.signature) {
        (_, false) => launch_refused(function),
        (Some(_), true) => launch(function, reading),
        (None, true) => Tokens::new(),
    };
    let doc = format!("The kernel [`{text}`](fn@{text}): its definition, and calls of it.");
    let conditions: Vec<&Attribute> =
        function.attrs.iter().filter(|a| a.path().is_ident("cfg")).collect();
    quote! {
        #(#conditions)*
        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code)]
        #vis enum #name {}

        #(#conditions)*
        const _: () = {
            #[allow(dead_code)]
            impl #name {
                /// The kernel's definition.
                pub const DEF: &'static ::crossover::Def = &::crossover::Def {
                    name: #text,
                    file: ::core::file!(),
                    tree: #bytes,
                    helpers: &[#(<#helpers>::DEF),*],
                };
            }
            #launch
        };
    }
}

/// `on` and the typed `args`.
fn launch(function: &ItemFn, reading: &Reading) -> Tokens {
    let name = &function.sig.ident;
    let tree = &reading.parsed.tree;
    let generics = &function.sig.generics.params;
    let host = unused("H", tree.generics.iter().map(|g| &g.name));
    let mut inputs = Vec::new();
    let mut values = Vec::new();
    for ((ident, ty), param) in arguments(function).zip(&tree.params) {
        let element = element(ty);
        let (input, method) = match param.kind {
            ParamKind::Scalar => (quote!(#ty), "scalar"),
            ParamKind::Slice => (quote!(&'b #host::Buffer<#element>), "read"),
            ParamKind::SliceMut => (quote!(&'b mut #host::Buffer<#element>), "write"),
            ParamKind::Atomics => {
                let element = atomic_element(element);
                (quote!(&'b mut #host::Buffer<#element>), "write")
            }
        };
        let method = Ident::new(method, Span::call_site());
        inputs.push(quote!(#ident: #input));
        values.push(quote!(::crossover::Host::#method(self.0, #ident)));
    }
    if tree.collective.is_some()
        && let syn::ReturnType::Type(_, ty) = &function.sig.output
    {
        let out = unused("out", tree.params.iter().map(|p| &p.name));
        inputs.push(quote!(#out: &'b mut #host::Buffer<#ty>));
        values.push(quote!(::crossover::Host::write(self.0, #out)));
    }
    let (types, consts) = generic_values(reading);
    let arguments = generic_arguments(function);
    let begin = begin(function, &host);
    quote! {
        #begin

        // A function that is only called in this way is used, too.
        #[allow(dead_code)]
        fn __used<#generics>() {
            let _ = #name #arguments;
        }

        #[allow(dead_code)]
        impl<'h, #host: ::crossover::Host> On<'h, #host> {
            /// The kernel's arguments; a reduction or scan takes its output buffer last.
            #[allow(clippy::too_many_arguments)]
            pub fn args<'b, #generics>(self, #(#inputs),*) -> #host::Call<'b>
            where
                'h: 'b,
            {
                ::crossover::Host::call(
                    self.0,
                    #name::DEF,
                    &[#(#types),*],
                    &[#(#consts),*],
                    ::std::vec![#(#values),*],
                )
            }
        }
    }
}

/// `on` and an `args` that takes anything, for a signature that was refused.
fn launch_refused(function: &ItemFn) -> Tokens {
    let host = format_ident!("H");
    let begin = begin(function, &host);
    let inputs = arguments(function).map(|_| quote!(_: impl Sized));
    quote! {
        #begin

        #[allow(dead_code)]
        impl<'h, #host: ::crossover::Host> On<'h, #host> {
            /// Any arguments: the kernel is refused.
            #[allow(clippy::too_many_arguments)]
            pub fn args<'b>(self, #(#inputs),*) -> #host::Call<'b>
            where
                'h: 'b,
            {
                ::core::unreachable!()
            }
        }
    }
}

fn begin(function: &ItemFn, host: &Ident) -> Tokens {
    let name = &function.sig.ident;
    quote! {
        #[allow(dead_code)]
        impl #name {
            /// Begins a call on a host: give the arguments next.
            pub fn on<#host: ::crossover::Host>(host: &#host) -> On<'_, #host> {
                On(host)
            }
        }

        #[allow(dead_code)]
        pub struct On<'h, #host>(&'h #host);
    }
}

/// A name that is not taken.
fn unused<'a>(name: &str, taken: impl Iterator<Item = &'a String> + Clone) -> Ident {
    let mut name = name.to_owned();
    while taken.clone().any(|other| *other == name) {
        name.push('_');
    }
    Ident::new(&name, Span::call_site())
}

/// The values that a kernel's generic parameters have in a call.
fn generic_values(reading: &Reading) -> (Vec<Tokens>, Vec<Tokens>) {
    let mut types = Vec::new();
    let mut consts = Vec::new();
    for generic in &reading.parsed.tree.generics {
        let ident = Ident::new(&generic.name, Span::call_site());
        match generic.kind {
            GenericKind::Const => consts.push(quote!(#ident)),
            GenericKind::Num | GenericKind::Float | GenericKind::Int => {
                types.push(quote!(<#ident as ::crossover::Scalar>::TYPE));
            }
        }
    }
    (types, consts)
}

/// The generic parameters as arguments: `::<T, N>`.
fn generic_arguments(function: &ItemFn) -> Tokens {
    let names = function.sig.generics.params.iter().filter_map(|param| match param {
        GenericParam::Type(ty) => Some(&ty.ident),
        GenericParam::Const(constant) => Some(&constant.ident),
        GenericParam::Lifetime(_) => None,
    });
    if function.sig.generics.params.is_empty() { Tokens::new() } else { quote!(::<#(#names),*>) }
}

/// Name and type of every parameter but the `Id`.
fn arguments(function: &ItemFn) -> impl Iterator<Item = (Ident, &Type)> {
    function.sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) if !parse::is_id(&typed.ty) => match &*typed.pat {
            Pat::Ident(binding) => Some((binding.ident.clone(), &*typed.ty)),
            _ => Some((format_ident!("_value"), &*typed.ty)),
        },
        FnArg::Typed(_) | FnArg::Receiver(_) => None,
    })
}

fn element(ty: &Type) -> &Type {
    match ty {
        Type::Reference(reference) => match &*reference.elem {
            Type::Slice(slice) => &slice.elem,
            other => other,
        },
        other => other,
    }
}

fn atomic_element(ty: &Type) -> Tokens {
    if let Type::Path(path) = ty
        && let Some(segment) = path.path.segments.last()
        && let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments
    {
        let inner = &arguments.args;
        return quote!(#inner);
    }
    quote!(#ty)
}
