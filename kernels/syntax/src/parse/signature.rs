//! The function's signature and the attribute's arguments.

use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{
    FnArg, GenericArgument, GenericParam, ItemFn, Pat, PathArguments, ReturnType, Token, Type,
};

use super::{Parsed, Reader, body, pos};
use crate::tree::{
    Block, Collective, CollectiveOp, Extent, Generic, GenericKind, Name, Param, ParamKind, Tree,
};

const SCALARS: &str = "f32, f64, i32, u32, i64, u64, usize or bool";

pub(super) fn read(
    reader: &mut Reader,
    item: &ItemFn,
    attribute: proc_macro2::TokenStream,
) -> Parsed {
    let options = attributes(reader, attribute);
    modifiers(reader, item);
    let generics = generics(reader, item);
    let (id, params) = params(reader, item);
    let result = result(reader, item);
    if let (Some(span), None) = (options.collective_span, &result) {
        reader.error(
            span,
            "a reduction or scan combines returned values, but this kernel returns nothing",
            "give it a scalar return type and return what one index contributes",
        );
    }
    let body = body::block(reader, &item.block);
    let tree = Tree {
        name: item.sig.ident.to_string(),
        generics,
        id,
        params,
        result,
        collective: options.collective,
        grid: options.grid,
        body: Block { ..body },
        helpers: reader.helpers.iter().map(|p| path_text(p)).collect(),
        pos: pos(item.sig.ident.span()),
    };
    check_grid(reader, item, &tree);
    Parsed { tree, helpers: std::mem::take(&mut reader.helpers) }
}

pub(super) fn path_text(path: &syn::Path) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}

fn check_grid(reader: &mut Reader, item: &ItemFn, tree: &Tree) {
    let is_entry = tree.id.is_some();
    if tree.collective.is_some() && !is_entry {
        reader.error(
            item.sig.ident.span(),
            "a reduction or scan needs to know its index",
            "make `id: Id` the first parameter",
        );
    }
    if is_entry && tree.result.is_some() && tree.collective.is_none() {
        reader.error(
            item.sig.output.span(),
            "a kernel with an `Id` returns a value only as a reduction or scan",
            "write `#[kernel(reduce = add)]` or `#[kernel(scan = add)]`, or store the value in a `&mut` slice",
        );
    }
    let has_buffer = tree.params.iter().any(|p| p.kind != ParamKind::Scalar);
    if is_entry && tree.grid.is_empty() && !has_buffer {
        reader.error(
            item.sig.ident.span(),
            "nothing says how large this kernel's grid is",
            "take a slice, or name the extents: `#[kernel(grid = (w, h))]`",
        );
    }
}

#[derive(Default)]
struct Options {
    collective: Option<Collective>,
    collective_span: Option<proc_macro2::Span>,
    grid: Vec<Extent>,
}

struct Setting {
    name: syn::Ident,
    values: Vec<syn::Expr>,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Setting> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        let values = match input.parse::<syn::Expr>()? {
            syn::Expr::Tuple(tuple) => tuple.elems.into_iter().collect(),
            syn::Expr::Paren(paren) => vec![*paren.expr],
            other => vec![other],
        };
        Ok(Setting { name, values })
    }
}

fn attributes(reader: &mut Reader, tokens: proc_macro2::TokenStream) -> Options {
    use syn::parse::Parser;
    let mut options = Options::default();
    let parser = syn::punctuated::Punctuated::<Setting, Token![,]>::parse_terminated;
    let settings = match parser.parse2(tokens) {
        Ok(settings) => settings,
        Err(error) => {
            reader.error(
                error.span(),
                "the arguments of `kernel` are settings",
                "write `#[kernel]`, `#[kernel(reduce = add)]`, `#[kernel(scan = add)]` or `#[kernel(grid = (w, h))]`",
            );
            return options;
        }
    };
    for setting in settings {
        match setting.name.to_string().as_str() {
            name @ ("reduce" | "scan") => {
                let Some(op) = collective_op(reader, &setting) else { continue };
                options.collective = Some(Collective { scan: name == "scan", op });
                options.collective_span = Some(setting.name.span());
            }
            "grid" => {
                options.grid = setting.values.iter().filter_map(|e| extent(reader, e)).collect();
                if !(1..=3).contains(&setting.values.len()) {
                    reader.error(
                        setting.name.span(),
                        "a grid has one to three axes",
                        "name x, y and z extents: `grid = (w, h)`",
                    );
                }
            }
            other => reader.error(
                setting.name.span(),
                format!("`kernel` has no setting `{other}`"),
                "the settings are `reduce`, `scan` and `grid`",
            ),
        }
    }
    options
}

fn collective_op(reader: &mut Reader, setting: &Setting) -> Option<CollectiveOp> {
    let name = setting.values.first().map(|v| v.to_token_stream().to_string()).unwrap_or_default();
    let op = match name.as_str() {
        "add" => CollectiveOp::Add,
        "mul" => CollectiveOp::Mul,
        "min" => CollectiveOp::Min,
        "max" => CollectiveOp::Max,
        "and" => CollectiveOp::And,
        "or" => CollectiveOp::Or,
        "xor" => CollectiveOp::Xor,
        _ => {
            let span = setting.values.first().map_or(setting.name.span(), Spanned::span);
            reader.error(
                span,
                format!("values cannot be combined by `{name}`"),
                "the operators are add, mul, min, max, and, or, xor",
            );
            return None;
        }
    };
    Some(op)
}

fn extent(reader: &mut Reader, expr: &syn::Expr) -> Option<Extent> {
    match expr {
        syn::Expr::Path(path) => {
            if let Some(ident) = path.path.get_ident() {
                return Some(Extent::Name(Name {
                    text: ident.to_string(),
                    pos: pos(ident.span()),
                }));
            }
        }
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(int), .. }) => {
            if let Ok(value) = int.base10_parse::<u32>() {
                return Some(Extent::Fixed(value));
            }
        }
        syn::Expr::MethodCall(call) if call.method == "len" && call.args.is_empty() => {
            if let syn::Expr::Path(path) = &*call.receiver
                && let Some(ident) = path.path.get_ident()
            {
                return Some(Extent::Len(Name { text: ident.to_string(), pos: pos(ident.span()) }));
            }
        }
        _ => {}
    }
    reader.error(
        expr.span(),
        "an extent of the grid is a parameter, a length or a number",
        "write the name of a `u32` or `usize` parameter, `x.len()`, or a number; compute others before the call and pass them",
    );
    None
}

fn modifiers(reader: &mut Reader, item: &ItemFn) {
    let sig = &item.sig;
    if let Some(token) = &sig.asyncness {
        reader.error(
            token.span(),
            "a kernel cannot be `async`",
            "remove `async`: the call is what is awaited",
        );
    }
    if let syn::Safety::Unsafe(token) = &sig.safety {
        reader.error(
            token.span(),
            "a kernel cannot be `unsafe`",
            "remove `unsafe`: every access is checked",
        );
    }
    if let Some(token) = &sig.constness {
        reader.error(token.span(), "a kernel cannot be `const`", "remove `const`");
    }
    if let Some(abi) = &sig.abi {
        reader.error(abi.span(), "a kernel has no ABI of its own", "remove `extern`");
    }
    if let Some(variadic) = &sig.variadic {
        reader.error(variadic.span(), "a kernel's arguments are fixed", "name every parameter");
    }
    if let Some(clause) = &sig.generics.where_clause {
        reader.error(
            clause.where_token.span(),
            "`where` clauses are not read",
            "put the bound on the parameter: `<T: Num>`, `<T: Float>` or `<T: Int>`",
        );
    }
}

fn generics(reader: &mut Reader, item: &ItemFn) -> Vec<Generic> {
    let mut found = Vec::new();
    for param in &item.sig.generics.params {
        match param {
            GenericParam::Lifetime(lifetime) => reader.error(
                lifetime.span(),
                "a kernel has no lifetimes",
                "remove it: slices live for the whole call",
            ),
            GenericParam::Const(constant) => {
                if constant.ty.to_token_stream().to_string() != "usize" {
                    reader.error(
                        constant.ty.span(),
                        "a const parameter is a `usize`",
                        "write `const N: usize`, and convert with `as`",
                    );
                }
                found.push(Generic { name: constant.ident.to_string(), kind: GenericKind::Const });
            }
            GenericParam::Type(ty) => {
                let mut kind = None;
                for bound in &ty.bounds {
                    let text = bound.to_token_stream().to_string();
                    kind = match text.rsplit("::").next().unwrap_or("").trim() {
                        "Num" => kind.or(Some(GenericKind::Num)),
                        "Float" => Some(GenericKind::Float),
                        "Int" => Some(GenericKind::Int),
                        "Copy" => kind,
                        _ => {
                            reader.error(
                                bound.span(),
                                format!("`{text}` says nothing about numbers"),
                                "bound it by `Num`, `Float` or `Int`",
                            );
                            kind.or(Some(GenericKind::Num))
                        }
                    };
                }
                let kind = kind.unwrap_or_else(|| {
                    reader.error(
                        ty.ident.span(),
                        format!("nothing says what `{}` can do", ty.ident),
                        "bound it by `Num`, `Float` or `Int`",
                    );
                    GenericKind::Num
                });
                found.push(Generic { name: ty.ident.to_string(), kind });
            }
        }
    }
    found
}

fn params(reader: &mut Reader, item: &ItemFn) -> (Option<String>, Vec<Param>) {
    let mut id = None;
    let mut params = Vec::new();
    for (at, input) in item.sig.inputs.iter().enumerate() {
        let FnArg::Typed(typed) = input else {
            reader.error(
                input.span(),
                "a kernel is a free function",
                "move it out of the `impl` and pass what it needs as parameters",
            );
            continue;
        };
        let Pat::Ident(binding) = &*typed.pat else {
            reader.error(
                typed.pat.span(),
                "a parameter is one name",
                "name it, and take it apart in the body",
            );
            continue;
        };
        if is_id(&typed.ty) {
            if at == 0 {
                id = Some(binding.ident.to_string());
            } else {
                reader.error(
                    typed.ty.span(),
                    "the `Id` comes first",
                    "make `id: Id` the first parameter",
                );
            }
            continue;
        }
        if let Some((kind, ty)) = param_type(reader, &typed.ty) {
            params.push(Param {
                name: binding.ident.to_string(),
                mutable: binding.mutability.is_some(),
                kind,
                ty,
            });
        }
    }
    (id, params)
}

fn is_id(ty: &Type) -> bool {
    matches!(ty, Type::Path(p) if p.path.segments.last().is_some_and(|s| s.ident == "Id"))
}

fn param_type(reader: &mut Reader, ty: &Type) -> Option<(ParamKind, Name)> {
    match ty {
        Type::Path(_) => Some((ParamKind::Scalar, scalar(reader, ty)?)),
        Type::Reference(reference) => {
            let mutable = reference.mutability.is_some();
            if let Some(lifetime) = &reference.lifetime {
                reader.error(
                    lifetime.span(),
                    "a kernel has no lifetimes",
                    "remove it: slices live for the whole call",
                );
            }
            let Type::Slice(slice) = &*reference.elem else {
                reader.error(
                    reference.elem.span(),
                    "a reference parameter is a slice",
                    "pass scalars by value; for results take `&mut [T]`",
                );
                return None;
            };
            if let Some(inner) = atomic(&slice.elem) {
                if mutable {
                    reader.error(
                        ty.span(),
                        "atomics are shared between invocations",
                        "take `&[Atomic<T>]`, without `mut`",
                    );
                }
                let name = scalar(reader, inner)?;
                if !matches!(name.text.as_str(), "u32" | "i32") {
                    reader.error(
                        inner.span(),
                        format!("there are no atomics of `{}`", name.text),
                        "use `Atomic<u32>` or `Atomic<i32>`",
                    );
                }
                return Some((ParamKind::Atomics, name));
            }
            let name = scalar(reader, &slice.elem)?;
            if name.text == "bool" {
                reader.error(
                    slice.elem.span(),
                    "slices of `bool` have no layout on a GPU",
                    "use `u32` and compare with 0",
                );
            }
            if name.text == "usize" {
                reader.error(
                    slice.elem.span(),
                    "a `usize` is 32 bits wide in a kernel",
                    "use `u32` elements",
                );
            }
            Some((if mutable { ParamKind::SliceMut } else { ParamKind::Slice }, name))
        }
        _ => {
            reader.error(
                ty.span(),
                "this type cannot be passed to a kernel",
                format!("take {SCALARS} by value, or slices of them"),
            );
            None
        }
    }
}

fn atomic(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) if segment.ident == "Atomic" => Some(inner),
        _ => None,
    }
}

/// A scalar type, or the name of a type parameter.
pub(super) fn scalar(reader: &mut Reader, ty: &Type) -> Option<Name> {
    let Type::Path(path) = ty else {
        reader.error(ty.span(), "this type is not a scalar", format!("use {SCALARS}"));
        return None;
    };
    let Some(ident) = path.path.get_ident() else {
        reader.error(ty.span(), "this type is not a scalar", format!("use {SCALARS}"));
        return None;
    };
    let text = ident.to_string();
    let refused = match text.as_str() {
        "i8" | "i16" | "u8" | "u16" => Some("use `u32` or `i32`, and mask"),
        "i128" | "u128" => Some("use `u64` or `i64`"),
        "isize" => Some("use `i32` or `i64`"),
        "char" => Some("use `u32`"),
        "String" | "Vec" | "Option" | "Box" | "str" => Some("use numbers in slices"),
        "Id" => Some("the `Id` is the kernel's first parameter alone: pass `id.x` on"),
        _ => None,
    };
    if let Some(help) = refused {
        reader.error(ty.span(), format!("`{text}` is not a type of the kernel language"), help);
        return None;
    }
    Some(Name { text, pos: pos(ident.span()) })
}

fn result(reader: &mut Reader, item: &ItemFn) -> Option<Name> {
    match &item.sig.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => match &**ty {
            Type::Tuple(tuple) if tuple.elems.is_empty() => None,
            Type::Tuple(tuple) => {
                reader.error(
                    tuple.span(),
                    "a kernel returns one scalar",
                    "split it into two kernels, or store the values in `&mut` slices",
                );
                None
            }
            other => scalar(reader, other),
        },
    }
}
