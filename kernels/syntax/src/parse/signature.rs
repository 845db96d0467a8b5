//! The function's signature and the attribute's arguments.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{Parse, ParseStream};
use syn::{
    FnArg, GenericArgument, GenericParam, ItemFn, Pat, PathArguments, ReturnType, Token, Type,
};

use super::{Parsed, Reader, Under, body, pos, tail, under};
use crate::tree::{
    Block, Collective, CollectiveOp, Extent, Generic, GenericKind, Name, Param, ParamKind, Tree,
};

const SCALARS: &str = "f32, f64, i32, u32, i64, u64, usize or bool";

/// The kernel as far as it can be understood, and whether all of its signature and attribute was.
pub(super) fn read(reader: &mut Reader, item: &ItemFn, attribute: TokenStream) -> (Parsed, bool) {
    reader.name = item.sig.ident.to_string();
    let options = attributes(reader, attribute);
    modifiers(reader, item);
    let generics = generics(reader, item);
    let (id, params) = params(reader, item);
    let result = result(reader, item);
    check_result(reader, item, &options);
    check_grid(reader, item, &options);
    check_workgroup(reader, item, &options);
    let signature = reader.diagnostics.is_empty();
    let body = body::block(reader, &item.block);
    check_own_calls(reader, &body, &params, id.is_some(), result.is_some());
    let tree = Tree {
        name: reader.name.clone(),
        generics,
        id,
        params,
        result,
        collective: options.collective,
        grid: options.grid.into_iter().map(|(extent, _)| extent).collect(),
        workgroup: options.workgroup.into_iter().map(|(extent, _)| extent).collect(),
        contract: options.contract,
        body,
        helpers: reader.helpers.iter().map(path_text).collect(),
        pos: pos(item.sig.ident.span()),
    };
    (Parsed { tree, helpers: std::mem::take(&mut reader.helpers) }, signature)
}

/// A helper may call itself as the last thing it does, which is a loop over the same slices.
fn check_own_calls(
    reader: &mut Reader,
    body: &Block,
    params: &[Param],
    is_kernel: bool,
    has_result: bool,
) {
    let last = if is_kernel { Vec::new() } else { tail::calls(body, has_result) };
    let name = reader.name.clone();
    for call in std::mem::take(&mut reader.own_calls) {
        if is_kernel {
            reader.error(call.under, format!("`{name}` calls itself"), "write it as a loop");
            continue;
        }
        if !last.contains(&call.pos) {
            reader.error(
                call.under,
                format!("`{name}` calls itself, and is not done then"),
                "make the call the last thing that it does, as in `return f(…)`, or write a loop",
            );
        }
        for (param, (arg, under)) in params.iter().zip(call.args) {
            let passed_on = arg.is_none_or(|arg| arg == param.name);
            if param.kind != ParamKind::Scalar && !passed_on {
                reader.error(
                    under,
                    format!("`{name}` passes another slice on to itself"),
                    format!("pass `{}`, or write a loop", param.name),
                );
            }
        }
    }
}

fn path_text(path: &impl ToTokens) -> String {
    path.to_token_stream().to_string().replace(' ', "")
}

/// Whether there is an `Id`, wherever it stands.
fn has_id(item: &ItemFn) -> bool {
    item.sig.inputs.iter().any(|input| matches!(input, FnArg::Typed(typed) if is_id(&typed.ty)))
}

fn check_result(reader: &mut Reader, item: &ItemFn, options: &Options) {
    let returns = matches!(&item.sig.output, ReturnType::Type(_, ty)
        if !matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty()));
    match options.collective_under {
        Some(under) if !returns => reader.error(
            under,
            "a reduction or scan combines returned values, but this kernel returns nothing",
            "give it a scalar return type and return what one index contributes",
        ),
        Some(_) if !has_id(item) => reader.error(
            under(&item.sig.ident),
            "a reduction or scan needs to know its index",
            "make `id: Id` the first parameter",
        ),
        None if has_id(item) && returns && !options.refused => reader.error(
            under(&item.sig.output),
            "a kernel with an `Id` returns a value only as a reduction or scan",
            "write `#[kernel(reduce = add)]` or `#[kernel(scan = add)]`, or store the value in a `&mut` slice",
        ),
        _ => {}
    }
}

fn check_grid(reader: &mut Reader, item: &ItemFn, options: &Options) {
    let has_buffer = item.sig.inputs.iter().any(
        |input| matches!(input, FnArg::Typed(typed) if matches!(*typed.ty, Type::Reference(_))),
    );
    if !has_id(item) {
        if let Some(under) = options.grid_under {
            reader.error(
                under,
                "a function without an `Id` has no grid",
                "make `id: Id` the first parameter, or remove the extents",
            );
        }
        return;
    }
    if options.grid_under.is_none() && !options.refused && !has_buffer {
        reader.error(
            under(&item.sig.ident),
            "nothing says how large this kernel's grid is",
            "take a slice, or name the extents: `#[kernel(grid = (w, h))]`",
        );
    }
    for (extent, under) in &options.grid {
        let fits = match extent {
            Extent::Fixed(_) => true,
            Extent::Len(name) => {
                param(item, &name.text).is_some_and(|typed| matches!(*typed.ty, Type::Reference(_)))
            }
            Extent::Name(name) => {
                let consts = &mut item.sig.generics.const_params();
                consts.any(|c| c.ident == name.text)
                    || param(item, &name.text).is_some_and(is_extent)
            }
        };
        if !fits {
            reader.error(
                *under,
                "this is no extent of a grid",
                "name a `u32` or `usize` parameter (not `mut`), or `x.len()` of a slice",
            );
        }
    }
}

fn check_workgroup(reader: &mut Reader, item: &ItemFn, options: &Options) {
    let Some(first) = options.workgroup_under else { return };
    if let Some(under) = options.collective_under {
        reader.error(
            under,
            "a reduction or scan has no workgroups of its own",
            "remove `workgroup`: each device forms the groups that suit it",
        );
    }
    if !has_id(item) {
        reader.error(
            first,
            "a function without an `Id` has no workgroups",
            "make `id: Id` the first parameter, or remove the setting",
        );
        return;
    }
    if options.workgroup.len() > options.grid.len().max(1) {
        reader.error(
            first,
            "the workgroup has more axes than the grid",
            "name as many extents: `#[kernel(grid = (w, h), workgroup = (16, 16))]`",
        );
    }
    for (extent, under) in &options.workgroup {
        let fits = match extent {
            Extent::Fixed(n) => (1..=1024).contains(n),
            Extent::Len(_) => false,
            Extent::Name(name) => item.sig.generics.const_params().any(|c| c.ident == name.text),
        };
        if !fits {
            reader.error(
                *under,
                "this is no size of a workgroup",
                "write a number from 1 to 1024, or a const parameter",
            );
        }
    }
}

/// The parameter of this name.
fn param<'a>(item: &'a ItemFn, name: &str) -> Option<&'a syn::PatType> {
    item.sig.inputs.iter().find_map(|input| match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(binding) if binding.ident == name => Some(typed),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    })
}

fn is_extent(typed: &syn::PatType) -> bool {
    let fixed = matches!(&*typed.pat, Pat::Ident(binding) if binding.mutability.is_none());
    fixed
        && matches!(&*typed.ty, Type::Path(ty)
            if ty.path.is_ident("u32") || ty.path.is_ident("usize"))
}

#[derive(Default)]
struct Options {
    collective: Option<Collective>,
    collective_under: Option<Under>,
    grid: Vec<(Extent, Under)>,
    grid_under: Option<Under>,
    workgroup: Vec<(Extent, Under)>,
    workgroup_under: Option<Under>,
    contract: bool,
    /// Something could not be read: what seems to be missing may be that.
    refused: bool,
}

struct Setting {
    name: syn::Ident,
    values: Vec<syn::Expr>,
}

impl Parse for Setting {
    fn parse(input: ParseStream<'_>) -> syn::Result<Setting> {
        let name = input.parse()?;
        if !input.peek(Token![=]) {
            return Ok(Setting { name, values: Vec::new() });
        }
        input.parse::<Token![=]>()?;
        let values = match input.parse::<syn::Expr>()? {
            syn::Expr::Tuple(tuple) => tuple.elems.into_iter().collect(),
            syn::Expr::Paren(paren) => vec![*paren.expr],
            other => vec![other],
        };
        Ok(Setting { name, values })
    }
}

fn attributes(reader: &mut Reader, tokens: TokenStream) -> Options {
    use syn::parse::Parser;
    let mut options = Options::default();
    let parser = syn::punctuated::Punctuated::<Setting, Token![,]>::parse_terminated;
    let settings = match parser.parse2(tokens) {
        Ok(settings) => settings,
        Err(error) => {
            let at = error.span();
            reader.error(
                Under { start: at, end: at },
                "the arguments of `kernel` are settings",
                "write `#[kernel]`, `#[kernel(reduce = add)]`, `#[kernel(scan = add)]` or `#[kernel(grid = (w, h))]`",
            );
            options.refused = true;
            return options;
        }
    };
    for setting in &settings {
        let name = setting.name.to_string();
        match name.as_str() {
            "reduce" | "scan" => {
                if options.collective_under.is_some() {
                    reader.error(
                        under(&setting.name),
                        "a kernel has one reduction or scan",
                        "split it into two kernels",
                    );
                    continue;
                }
                options.collective_under = Some(under(&setting.name));
                options.collective = collective_op(reader, setting)
                    .map(|op| Collective { scan: name == "scan", op });
            }
            "grid" => {
                if options.grid_under.is_some() || !(1..=3).contains(&setting.values.len()) {
                    reader.error(
                        under(&setting.name),
                        "a kernel has one grid, of one to three axes",
                        "name x, y and z extents: `grid = (w, h)`",
                    );
                }
                options.grid_under = Some(under(&setting.name));
                for value in &setting.values {
                    let extent = extent(reader, value).map(|extent| (extent, under(value)));
                    options.grid.extend(extent);
                }
            }
            "workgroup" => {
                if options.workgroup_under.is_some() || !(1..=3).contains(&setting.values.len()) {
                    reader.error(
                        under(&setting.name),
                        "a kernel has one size of workgroups, of one to three axes",
                        "write `workgroup = 256` or `workgroup = (16, 16)`",
                    );
                }
                options.workgroup_under = Some(under(&setting.name));
                for value in &setting.values {
                    let size = extent(reader, value).map(|extent| (extent, under(value)));
                    options.workgroup.extend(size);
                }
            }
            "contract" => {
                if let Some(value) = setting.values.first() {
                    reader.error(under(value), "`contract` has no value", "write `contract` alone");
                }
                options.contract = true;
            }
            other => {
                reader.error(
                    under(&setting.name),
                    format!("`kernel` has no setting `{other}`"),
                    "the settings are `reduce`, `scan`, `grid`, `workgroup` and `contract`",
                );
                options.refused = true;
            }
        }
    }
    options
}

fn collective_op(reader: &mut Reader, setting: &Setting) -> Option<CollectiveOp> {
    let name = match setting.values.as_slice() {
        [value] => value.to_token_stream().to_string(),
        [] | [_, _, ..] => String::new(),
    };
    let (under, message) = match setting.values.as_slice() {
        [] => (under(&setting.name), format!("`{}` needs an operator", setting.name)),
        [value] => (under(value), format!("values cannot be combined by `{name}`")),
        [_, second, ..] => (under(second), format!("`{}` takes one operator", setting.name)),
    };
    Some(match name.as_str() {
        "add" => CollectiveOp::Add,
        "mul" => CollectiveOp::Mul,
        "min" => CollectiveOp::Min,
        "max" => CollectiveOp::Max,
        "and" => CollectiveOp::And,
        "or" => CollectiveOp::Or,
        "xor" => CollectiveOp::Xor,
        _ => {
            reader.error(under, message, "the operators are add, mul, min, max, and, or, xor");
            return None;
        }
    })
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
        under(expr),
        "an extent of the grid is a parameter, a length or a number",
        "write the name of a `u32` or `usize` parameter, `x.len()`, or a number; compute others before the call and pass them",
    );
    None
}

fn modifiers(reader: &mut Reader, item: &ItemFn) {
    let sig = &item.sig;
    if let Some(token) = &sig.asyncness {
        reader.error(
            under(token),
            "a kernel cannot be `async`",
            "remove `async`: the call is what is awaited",
        );
    }
    if let syn::Safety::Unsafe(token) = &sig.safety {
        reader.error(
            under(token),
            "a kernel cannot be `unsafe`",
            "remove `unsafe`: every access is checked",
        );
    }
    if let Some(token) = &sig.constness {
        reader.error(under(token), "a kernel cannot be `const`", "remove `const`");
    }
    if let Some(abi) = &sig.abi {
        reader.error(under(abi), "a kernel has no ABI of its own", "remove `extern`");
    }
    if let Some(variadic) = &sig.variadic {
        reader.error(under(variadic), "a kernel's arguments are fixed", "name every parameter");
    }
    if let Some(clause) = &sig.generics.where_clause {
        reader.error(
            under(&clause.where_token),
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
                under(lifetime),
                "a kernel has no lifetimes",
                "remove it: slices live for the whole call",
            ),
            GenericParam::Const(constant) => {
                if constant.ty.to_token_stream().to_string() != "usize" {
                    reader.error(
                        under(&constant.ty),
                        "a const parameter is a `usize`",
                        "write `const N: usize`, and convert with `as`",
                    );
                }
                if !has_id(item) {
                    reader.error(
                        under(constant),
                        "a helper takes no const parameters",
                        "pass the number as a parameter of type `usize`",
                    );
                }
                let name = constant.ident.to_string();
                reader.names.insert(name.clone());
                found.push(Generic { name, kind: GenericKind::Const });
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
                            let text = text.replace(' ', "");
                            reader.error(
                                under(bound),
                                format!("`{text}` says nothing about numbers"),
                                "bound it by `Num`, `Float` or `Int`",
                            );
                            kind.or(Some(GenericKind::Num))
                        }
                    };
                }
                if kind.is_none() && item.sig.generics.where_clause.is_none() {
                    reader.error(
                        under(&ty.ident),
                        format!("nothing says what `{}` can do", ty.ident),
                        "bound it by `Num`, `Float` or `Int`",
                    );
                }
                let (name, kind) = (ty.ident.to_string(), kind.unwrap_or(GenericKind::Num));
                reader.types.push(name.clone());
                found.push(Generic { name, kind });
            }
        }
    }
    found
}

fn params(reader: &mut Reader, item: &ItemFn) -> (Option<String>, Vec<Param>) {
    let (mut id, mut ids) = (None, 0);
    let mut params = Vec::new();
    for (at, input) in item.sig.inputs.iter().enumerate() {
        let FnArg::Typed(typed) = input else {
            reader.error(
                under(input),
                "a kernel is a free function",
                "move it out of the `impl` and pass what it needs as parameters",
            );
            continue;
        };
        reader.attributes(&typed.attrs);
        let Pat::Ident(binding) = &*typed.pat else {
            reader.bind_all(&typed.pat);
            reader.error(
                under(&typed.pat),
                "a parameter is one name",
                "name it (`_name` if it is not used), and take one parameter for each value",
            );
            continue;
        };
        reader.names.insert(binding.ident.to_string());
        if is_id(&typed.ty) {
            ids += 1;
            match at {
                0 => id = Some(binding.ident.to_string()),
                _ if ids > 1 => {
                    reader.error(under(typed), "a kernel has one `Id`", "use the first one");
                }
                // A receiver before it is refused already.
                _ if item.sig.receiver().is_some() => {}
                _ => reader.error(
                    under(typed),
                    "the `Id` comes first",
                    "make `id: Id` the first parameter",
                ),
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

/// Whether a parameter of this type is the position in the grid.
pub fn is_id(ty: &Type) -> bool {
    matches!(ty, Type::Path(p) if p.path.segments.last().is_some_and(|s| s.ident == "Id"))
}

fn param_type(reader: &mut Reader, ty: &Type) -> Option<(ParamKind, Name)> {
    match ty {
        Type::Path(_) => Some((ParamKind::Scalar, scalar(reader, ty)?)),
        Type::Reference(reference) => {
            let mutable = reference.mutability.is_some();
            if let Some(lifetime) = &reference.lifetime {
                reader.error(
                    under(lifetime),
                    "a kernel has no lifetimes",
                    "remove it: slices live for the whole call",
                );
            }
            let Type::Slice(slice) = &*reference.elem else {
                reader.error(
                    under(reference),
                    "a reference parameter is a slice",
                    match &*reference.elem {
                        Type::Path(path) if path.path.is_ident("str") => "use numbers in slices",
                        Type::Array(_) => "take `&[T]`; arrays of a fixed size are variables",
                        _ => "pass scalars by value; for results take `&mut [T]`",
                    },
                );
                return None;
            };
            if let Some(inner) = atomic(&slice.elem) {
                if mutable {
                    reader.error(
                        under(ty),
                        "atomics are shared between invocations",
                        "take `&[Atomic<T>]`, without `mut`",
                    );
                }
                let name = scalar(reader, inner)?;
                if !matches!(name.text.as_str(), "u32" | "i32") {
                    reader.error(
                        under(inner),
                        format!("there are no atomics of `{}`", name.text),
                        "use `Atomic<u32>` or `Atomic<i32>`",
                    );
                }
                return Some((ParamKind::Atomics, name));
            }
            let name = scalar(reader, &slice.elem)?;
            if name.text == "bool" {
                reader.error(
                    under(&slice.elem),
                    "slices of `bool` have no layout on a GPU",
                    "use `u32` and compare with 0",
                );
            }
            if name.text == "usize" {
                reader.error(
                    under(&slice.elem),
                    "a `usize` is 32 bits wide in a kernel",
                    "use `u32` elements",
                );
            }
            Some((if mutable { ParamKind::SliceMut } else { ParamKind::Slice }, name))
        }
        _ => {
            reader.error(
                under(ty),
                "this type cannot be passed to a kernel",
                format!("take {SCALARS} by value, or slices of them"),
            );
            None
        }
    }
}

/// The type inside `Atomic<…>`.
pub(super) fn atomic(ty: &Type) -> Option<&Type> {
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
    let segment = match ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    let Some(segment) = segment else {
        reader.error(under(ty), "this type is not a scalar", format!("use {SCALARS}"));
        return None;
    };
    let text = segment.ident.to_string();
    let plain = matches!(ty, Type::Path(path) if path.path.get_ident().is_some());
    if plain && (is_scalar_name(&text) || reader.types.contains(&text)) {
        return Some(Name { text, pos: pos(segment.ident.span()) });
    }
    let help = match text.as_str() {
        "i8" | "i16" | "u8" | "u16" => "use `u32` or `i32`, and mask".to_owned(),
        "i128" | "u128" => "use `u64` or `i64`".to_owned(),
        "isize" => "use `i32` or `i64`".to_owned(),
        "char" => "use `u32`".to_owned(),
        "String" | "Vec" | "Box" | "str" => "use numbers in slices".to_owned(),
        "Option" | "Result" => "use a number and a flag".to_owned(),
        "Atomic" => "atomics are elements of slices: `&[Atomic<u32>]`".to_owned(),
        "Id" => "the `Id` is the kernel's first parameter alone: pass `id.x` on".to_owned(),
        _ => format!("use {SCALARS}, by these names, or a type parameter"),
    };
    let text = path_text(ty);
    reader.error(under(ty), format!("`{text}` is not a type of the kernel language"), help);
    None
}

pub(super) fn is_scalar_name(name: &str) -> bool {
    matches!(name, "f32" | "f64" | "i32" | "u32" | "i64" | "u64" | "usize" | "bool")
}

fn result(reader: &mut Reader, item: &ItemFn) -> Option<Name> {
    match &item.sig.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => match &**ty {
            Type::Tuple(tuple) if tuple.elems.is_empty() => None,
            Type::Tuple(tuple) => {
                reader.error(
                    under(tuple),
                    "a kernel returns one scalar",
                    "split it into two kernels, or store the values in `&mut` slices",
                );
                None
            }
            other => scalar(reader, other),
        },
    }
}
