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
use syn::{FnArg, GenericParam, ItemFn, Pat, Type};

/// Makes a function a kernel. Arguments: `reduce = op` or `scan = op` for a function that returns
/// what one index contributes (op: add, mul, min, max, and, or, xor); `grid = (w, h)` for a grid
/// other than the length of the first `&mut` slice; `workgroup = 256` or `workgroup = (16, 16)` for
/// groups that share arrays and wait for each other (`id.shared::<f32, 256>()`, `id.barrier()`,
/// `id.local`, `id.group`): the grid is then enlarged to whole groups; `contract` where a product and
/// a sum may be rounded once.
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

/// What stands beside the function, by the macro that is exported with `Def`. A refused kernel gets
/// it, too, as far as it was understood, so that its uses add no errors of their own.
fn companion(function: &ItemFn, reading: &Reading) -> Tokens {
    let (name, vis) = (&function.sig.ident, &function.vis);
    let text = name.to_string();
    let doc = format!("The kernel [`{text}`](fn@{text}): its definition, and calls of it.");
    let cfgs = function.attrs.iter().filter(|a| a.path().is_ident("cfg"));
    let head = quote!([#(#cfgs)*] [#vis] #name #text #doc);
    if !reading.signature {
        let any = arguments(function).map(|_| quote!(_));
        return quote!(::crossover::Def! { #head refused #(#any)* });
    }
    let tree = match crossover_syntax::encode(&reading.parsed.tree) {
        Ok(bytes) => Literal::byte_string(&bytes),
        Err(message) => return syn::Error::new(name.span(), message).to_compile_error(),
    };
    // What a refused kernel calls may be a closure, which is refused already.
    let accepted = reading.diagnostics.is_empty();
    let helpers = if accepted { reading.parsed.helpers.as_slice() } else { &[] };
    let launch = reading.parsed.tree.id.as_ref().map(|_| launch(function, reading));
    quote!(::crossover::Def! { #head #tree [#(#helpers),*] #launch })
}

/// What `on` and `args` are made of.
fn launch(function: &ItemFn, reading: &Reading) -> Tokens {
    let name = &function.sig.ident;
    let tree = &reading.parsed.tree;
    let generics = &function.sig.generics.params;
    let host = unused("H", tree.generics.iter().map(|g| &g.name));
    let mut shadowed = false;
    let mut params = Vec::new();
    for ((ident, ty), param) in arguments(function).zip(&tree.params) {
        shadowed |= ident == *name;
        let element = element(ty);
        params.push(match param.kind {
            ParamKind::Scalar => quote!(#ident: #ty = scalar),
            ParamKind::Slice => quote!(#ident: &'h #host::Buffer<#element> = read),
            ParamKind::SliceMut => quote!(#ident: &'h mut #host::Buffer<#element> = write),
            ParamKind::Atomics => {
                let element = atomic_element(element);
                quote!(#ident: &'h mut #host::Buffer<#element> = write)
            }
        });
    }
    if tree.collective.is_some()
        && let syn::ReturnType::Type(_, ty) = &function.sig.output
    {
        let out = unused("out", tree.params.iter().map(|p| &p.name));
        params.push(quote!(#out: &'h mut #host::Buffer<#ty> = write));
    }
    let (types, consts) = generic_values(reading);
    // Behind a parameter of the same name the function is out of sight.
    let used = (!shadowed).then(|| {
        let arguments = generic_arguments(function);
        quote!(let _ = #name #arguments;)
    });
    quote! {
        #host [#generics] [#used] [#(#types),*] [#(#consts),*] #(#params),*
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
