//! `#[kernel]`: a Rust function that Crossover can place.
//!
//! The function's tokens are emitted unchanged, so that rustc types it, its errors are the user's,
//! and it stays callable as plain Rust. Beside it stands an empty `enum` of the same name (types
//! and functions have separate name spaces: one `use` brings both) with
//!
//! - `DEF`: the untyped syntax tree as a byte string, and the helpers it calls;
//! - `on(host)`: begins a call; `.args(…)` then takes what the function takes, slices as buffers.

#![forbid(unsafe_code)]

use crossover_syntax::parse::{self, Diagnostic, Parsed};
use crossover_syntax::tree::{GenericKind, ParamKind};
use proc_macro::TokenStream;
use proc_macro2::{Literal, Span, TokenStream as Tokens};
use quote::{format_ident, quote};
use syn::{FnArg, ItemFn, Pat, Type};

/// Makes a function a kernel. Arguments: `reduce = op` or `scan = op` for a function that returns
/// what one index contributes (op: add, mul, min, max, and, or, xor); `grid = (w, h)` for a grid
/// other than the length of the first `&mut` slice.
#[proc_macro_attribute]
pub fn kernel(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let original = Tokens::from(item.clone());
    let function = match syn::parse::<ItemFn>(item) {
        Ok(function) => function,
        Err(error) => {
            let error = error.to_compile_error();
            return quote!(#original #error).into();
        }
    };
    match parse::kernel(&function, attribute.into()) {
        Ok(parsed) => {
            let companion = companion(&function, &parsed);
            quote!(#original #companion).into()
        }
        Err(diagnostics) => {
            let errors = diagnostics.iter().map(compile_error);
            let stub = stub(&function);
            quote!(#original #stub #(#errors)*).into()
        }
    }
}

fn compile_error(diagnostic: &Diagnostic) -> Tokens {
    let message = format!("kernel: {}\nhelp: {}", diagnostic.message, diagnostic.help);
    syn::Error::new(diagnostic.span, message).to_compile_error()
}

/// What keeps uses of a refused kernel from adding errors of their own.
fn stub(function: &ItemFn) -> Tokens {
    let (name, vis) = (&function.sig.ident, &function.vis);
    quote! {
        #[doc(hidden)] #[allow(non_camel_case_types, dead_code)]
        #vis enum #name {}
    }
}

fn companion(function: &ItemFn, parsed: &Parsed) -> Tokens {
    let (name, vis) = (&function.sig.ident, &function.vis);
    let text = name.to_string();
    let bytes = match crossover_syntax::encode(&parsed.tree) {
        Ok(bytes) => Literal::byte_string(&bytes),
        Err(message) => return syn::Error::new(name.span(), message).to_compile_error(),
    };
    let helpers = &parsed.helpers;
    let launch = if parsed.tree.id.is_some() { launch(function, parsed) } else { Tokens::new() };
    let doc = format!("The kernel [`{text}`](fn@{text}): its definition, and calls of it.");
    quote! {
        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code)]
        #vis enum #name {}

        const _: () = {
            #[allow(dead_code)]
            impl #name {
                /// The kernel's definition.
                pub const DEF: &'static ::crossover::Def = &::crossover::Def {
                    name: #text,
                    file: ::core::file!(),
                    tree: #bytes,
                    helpers: &[#(#helpers::DEF),*],
                };
            }
            #launch
        };
    }
}

/// `on` and the typed `args`.
fn launch(function: &ItemFn, parsed: &Parsed) -> Tokens {
    let name = &function.sig.ident;
    let generics = &function.sig.generics.params;
    let mut inputs = Vec::new();
    let mut values = Vec::new();
    for (input, param) in arguments(function).zip(&parsed.tree.params) {
        let (ident, ty) = input;
        let bound = format_ident!("{}", param.name, span = ident.span());
        inputs.push(match param.kind {
            ParamKind::Scalar => quote!(#bound: #ty),
            ParamKind::Slice => {
                let element = element(ty);
                quote!(#bound: &'b H::Buffer<#element>)
            }
            ParamKind::Atomics => {
                let element = atomic_element(ty);
                quote!(#bound: &'b mut H::Buffer<#element>)
            }
            ParamKind::SliceMut => {
                let element = element(ty);
                quote!(#bound: &'b mut H::Buffer<#element>)
            }
        });
        values.push(match param.kind {
            ParamKind::Scalar => quote!(::crossover::Host::scalar(self.0, #bound)),
            ParamKind::Slice => quote!(::crossover::Host::read(self.0, #bound)),
            ParamKind::Atomics | ParamKind::SliceMut => {
                quote!(::crossover::Host::write(self.0, #bound))
            }
        });
    }
    if parsed.tree.collective.is_some()
        && let syn::ReturnType::Type(_, ty) = &function.sig.output
    {
        inputs.push(quote!(out: &'b mut H::Buffer<#ty>));
        values.push(quote!(::crossover::Host::write(self.0, out)));
    }
    let (types, consts) = generic_values(parsed);
    quote! {
        #[allow(dead_code)]
        impl #name {
            /// Begins a call on a host: give the arguments next.
            pub fn on<H: ::crossover::Host>(host: &H) -> On<'_, H> {
                On(host)
            }
        }

        #[allow(dead_code)]
        pub struct On<'h, H>(&'h H);

        #[allow(dead_code)]
        impl<'h, H: ::crossover::Host> On<'h, H> {
            /// The kernel's arguments; a reduction or scan takes its output buffer last.
            #[allow(clippy::too_many_arguments)]
            pub fn args<'b, #generics>(self, #(#inputs),*) -> H::Call<'b>
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

fn generic_values(parsed: &Parsed) -> (Vec<Tokens>, Vec<Tokens>) {
    let mut types = Vec::new();
    let mut consts = Vec::new();
    for generic in &parsed.tree.generics {
        let ident = syn::Ident::new(&generic.name, Span::call_site());
        match generic.kind {
            GenericKind::Const => consts.push(quote!(#ident)),
            GenericKind::Num | GenericKind::Float | GenericKind::Int => {
                types.push(quote!(<#ident as ::crossover::Scalar>::TYPE));
            }
        }
    }
    (types, consts)
}

/// Name and type of every parameter after the `Id`.
fn arguments(function: &ItemFn) -> impl Iterator<Item = (&syn::Ident, &Type)> {
    function.sig.inputs.iter().skip(1).filter_map(|input| match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(binding) => Some((&binding.ident, &*typed.ty)),
            _ => None,
        },
        FnArg::Receiver(_) => None,
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
    if let Type::Path(path) = element(ty)
        && let Some(segment) = path.path.segments.last()
        && let syn::PathArguments::AngleBracketed(arguments) = &segment.arguments
    {
        let inner = &arguments.args;
        return quote!(#inner);
    }
    quote!(#ty)
}
