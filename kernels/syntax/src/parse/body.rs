//! Statements and expressions.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{BinOp, Lit, Pat, RangeLimits, UnOp};

use super::signature::{atomic, is_scalar_name, scalar};
use super::{OwnCall, Reader, Under, pos, under};
use crate::tree::{Arm, BinaryOp, Block, Expr, ExprKind, Name, Pattern, Stmt, Ty, UnaryOp};

pub(super) fn block(reader: &mut Reader, block: &syn::Block) -> Block {
    let mut stmts = Vec::new();
    let mut tail = None;
    let last = block.stmts.len().saturating_sub(1);
    for (at, stmt) in block.stmts.iter().enumerate() {
        match stmt {
            syn::Stmt::Local(local) => stmts.extend(let_stmt(reader, local)),
            syn::Stmt::Item(item) => stmts.extend(const_item(reader, item)),
            syn::Stmt::Expr(e, semicolon) => {
                reader.attributes(attributes(e));
                let e = expr(reader, e);
                match semicolon {
                    None if at == last => tail = Some(Box::new(e)),
                    _ => stmts.push(Stmt::Expr(e)),
                }
            }
            syn::Stmt::Macro(m) => macro_call(reader, &m.mac),
        }
    }
    Block { stmts, tail }
}

fn let_stmt(reader: &mut Reader, local: &syn::Local) -> Option<Stmt> {
    reader.attributes(&local.attrs);
    let (pat, ty) = match &local.pat {
        Pat::Type(typed) => (&*typed.pat, annotation(reader, &typed.ty)),
        other => (other, None),
    };
    let init = local.init.as_ref();
    if let Some((token, _)) = init.and_then(|init| init.diverge.as_ref()) {
        reader.error(
            under(token),
            "`let … else` is not available",
            "leave with `if` before a plain `let`",
        );
    }
    let value = init.map(|init| expr(reader, &init.expr));
    let binding = match pat {
        Pat::Ident(binding) if binding.by_ref.is_none() && binding.subpat.is_none() => binding,
        // `let _ = expr;` evaluates for its effect.
        Pat::Wild(_) => return Some(Stmt::Expr(value?)),
        Pat::Ident(binding) if binding.subpat.is_none() => {
            reader.error(
                under(&binding.by_ref),
                "there are no references to numbers",
                "remove `ref`: elements and scalars are values",
            );
            reader.bind_all(binding);
            return None;
        }
        other => {
            if init.is_none_or(|init| init.diverge.is_none()) {
                let help = "write a `let` for each variable";
                reader.error(under(other), "a variable is one name", help);
            }
            reader.bind_all(other);
            return None;
        }
    };
    let name = Name { text: binding.ident.to_string(), pos: pos(binding.ident.span()) };
    reader.names.insert(name.text.clone());
    let Some(init) = value else {
        reader.error(
            under(binding),
            "a variable has a value from the start",
            "write `let mut x = 0.0;`, then assign it",
        );
        return None;
    };
    Some(Stmt::Let { name, mutable: binding.mutability.is_some(), ty, init })
}

fn annotation(reader: &mut Reader, ty: &syn::Type) -> Option<Ty> {
    match ty {
        syn::Type::Array(array) => {
            let element = scalar(reader, &array.elem)?;
            Some(Ty::Array(element, Box::new(expr(reader, &array.len))))
        }
        syn::Type::Infer(_) => None,
        other => scalar(reader, other).map(Ty::Scalar),
    }
}

fn const_item(reader: &mut Reader, item: &syn::Item) -> Option<Stmt> {
    match item {
        syn::Item::Const(c) => {
            reader.attributes(&c.attrs);
            let ty = scalar(reader, &c.ty)?;
            let name = Name { text: c.ident.to_string(), pos: pos(c.ident.span()) };
            reader.names.insert(name.text.clone());
            Some(Stmt::Const { name, ty, init: expr(reader, &c.expr) })
        }
        other => {
            reader.error(
                under(other),
                "only `const` items can stand in a kernel",
                "move it out; make functions `#[kernel]` helpers",
            );
            reader.bind_all(other);
            None
        }
    }
}

fn macro_call(reader: &mut Reader, mac: &syn::Macro) {
    let name = mac.path.to_token_stream().to_string().replace(' ', "");
    let help = match name.as_str() {
        "println" | "print" | "eprintln" | "eprint" | "dbg" => {
            "write the value to a `&mut` slice, or call the function as plain Rust"
        }
        "vec" | "format" => "use a fixed-size array `[0.0; N]`, or a slice parameter",
        "assert" | "assert_eq" | "assert_ne" | "debug_assert" | "debug_assert_eq" | "panic"
        | "todo" | "unimplemented" | "unreachable" => {
            "kernels cannot panic: indices and divisors are checked; check the rest before the call"
        }
        _ => "write out what it expands to",
    };
    let bang = Under { end: mac.bang_token.span, ..under(&mac.path) };
    reader.error(bang, format!("macro `{name}!` cannot run on a device"), help);
}

/// The attributes that can stand before an expression that is a statement.
fn attributes(e: &syn::Expr) -> &[syn::Attribute] {
    match e {
        syn::Expr::Assign(e) => &e.attrs,
        syn::Expr::Binary(e) => &e.attrs,
        syn::Expr::Block(e) => &e.attrs,
        syn::Expr::Break(e) => &e.attrs,
        syn::Expr::Call(e) => &e.attrs,
        syn::Expr::Continue(e) => &e.attrs,
        syn::Expr::ForLoop(e) => &e.attrs,
        syn::Expr::If(e) => &e.attrs,
        syn::Expr::Loop(e) => &e.attrs,
        syn::Expr::Match(e) => &e.attrs,
        syn::Expr::MethodCall(e) => &e.attrs,
        syn::Expr::Return(e) => &e.attrs,
        syn::Expr::While(e) => &e.attrs,
        _ => &[],
    }
}

fn unit(span: Span) -> Expr {
    Expr { kind: ExprKind::Block(Block { stmts: Vec::new(), tail: None }), pos: pos(span) }
}

fn boxed(reader: &mut Reader, e: &syn::Expr) -> Box<Expr> {
    Box::new(expr(reader, e))
}

fn args<'a>(reader: &mut Reader, list: impl IntoIterator<Item = &'a syn::Expr>) -> Vec<Expr> {
    list.into_iter().map(|e| expr(reader, e)).collect()
}

fn expr(reader: &mut Reader, e: &syn::Expr) -> Expr {
    let Some(kind) = expr_kind(reader, e) else { return unit(start(e)) };
    let pos = match &kind {
        _ if matches!(e, syn::Expr::Paren(_) | syn::Expr::Group(_)) => pos(start(e)),
        // It begins where its first part does: to ask the compiler again takes longer.
        ExprKind::Binary(_, first, _)
        | ExprKind::Assign(_, first, _)
        | ExprKind::Index(first, _)
        | ExprKind::Field(first, _)
        | ExprKind::Cast(first, _)
        | ExprKind::Method(first, ..) => first.pos,
        _ => pos(start(e)),
    };
    Expr { kind, pos }
}

/// The first token of an expression: its place. `Spanned::span` finds it too, but walks through all
/// tokens, again for each expression that stands in another.
fn start(e: &syn::Expr) -> Span {
    match e {
        syn::Expr::Assign(e) => start(&e.left),
        syn::Expr::Binary(e) => start(&e.left),
        syn::Expr::Call(e) => start(&e.func),
        syn::Expr::Cast(e) => start(&e.expr),
        syn::Expr::Field(e) => start(&e.base),
        syn::Expr::Index(e) => start(&e.expr),
        syn::Expr::MethodCall(e) => start(&e.receiver),
        syn::Expr::Array(e) => e.bracket_token.span.open(),
        syn::Expr::Block(e) if e.label.is_none() => e.block.brace_token.span.open(),
        syn::Expr::If(e) => e.if_token.span,
        syn::Expr::Lit(e) => e.lit.span(),
        syn::Expr::Match(e) => e.match_token.span,
        syn::Expr::Paren(e) => e.paren_token.span.open(),
        syn::Expr::Path(e) if e.qself.is_none() && e.path.leading_colon.is_none() => {
            e.path.segments.first().map_or_else(Span::call_site, |s| s.ident.span())
        }
        syn::Expr::Repeat(e) => e.bracket_token.span.open(),
        syn::Expr::Return(e) => e.return_token.span,
        syn::Expr::Unary(syn::ExprUnary { op: UnOp::Neg(op), .. }) => op.span,
        syn::Expr::Unary(syn::ExprUnary { op: UnOp::Not(op), .. }) => op.span,
        other => under(other).start,
    }
}

fn expr_kind(reader: &mut Reader, e: &syn::Expr) -> Option<ExprKind> {
    let kind = match e {
        syn::Expr::Lit(lit) => return literal(reader, &lit.lit),
        syn::Expr::Path(path) => return path_expr(reader, path),
        syn::Expr::Paren(inner) => return Some(expr(reader, &inner.expr).kind),
        syn::Expr::Group(inner) => return Some(expr(reader, &inner.expr).kind),
        syn::Expr::Binary(binary) => return binary_expr(reader, binary),
        syn::Expr::Unary(unary) => return unary_expr(reader, unary),
        syn::Expr::Assign(a) => {
            if matches!(&*a.left, syn::Expr::Array(_) | syn::Expr::Tuple(_) | syn::Expr::Struct(_))
            {
                let help = "write an assignment for each variable";
                reader.error(under(&a.left), "one variable is assigned at a time", help);
                return None;
            }
            ExprKind::Assign(None, boxed(reader, &a.left), boxed(reader, &a.right))
        }
        syn::Expr::Index(i) => ExprKind::Index(boxed(reader, &i.expr), boxed(reader, &i.index)),
        syn::Expr::Field(field) => {
            let syn::Member::Named(name) = &field.member else {
                reader.error(
                    Under { start: field.dot_token.span, ..under(&field.member) },
                    "there are no tuples",
                    "use one variable for each value",
                );
                return None;
            };
            ExprKind::Field(boxed(reader, &field.base), name.to_string())
        }
        syn::Expr::Cast(cast) => {
            let value = boxed(reader, &cast.expr);
            ExprKind::Cast(value, scalar(reader, &cast.ty)?)
        }
        syn::Expr::MethodCall(call) => return method(reader, call),
        syn::Expr::Call(call) => return function_call(reader, call),
        syn::Expr::If(branch) => return if_expr(reader, branch),
        syn::Expr::Match(m) => return match_expr(reader, m),
        syn::Expr::ForLoop(f) => return for_expr(reader, f),
        syn::Expr::While(w) => {
            label(reader, w.label.as_ref());
            ExprKind::While(boxed(reader, &w.cond), block(reader, &w.body))
        }
        syn::Expr::Loop(l) => {
            label(reader, l.label.as_ref());
            ExprKind::Loop(block(reader, &l.body))
        }
        syn::Expr::Break(b) => {
            jump_label(reader, b.label.as_ref());
            if let Some(value) = &b.expr {
                reader.error(
                    under(value),
                    "`break` carries no value",
                    "assign a variable before it",
                );
            }
            ExprKind::Break
        }
        syn::Expr::Continue(c) => {
            jump_label(reader, c.label.as_ref());
            ExprKind::Continue
        }
        syn::Expr::Return(r) => ExprKind::Return(r.expr.as_ref().map(|e| boxed(reader, e))),
        syn::Expr::Block(b) => {
            if let Some(label) = &b.label {
                reader.error(
                    under(label),
                    "blocks have no labels",
                    "put what is skipped into an `if`",
                );
            }
            ExprKind::Block(block(reader, &b.block))
        }
        syn::Expr::Array(array) => ExprKind::Array(args(reader, &array.elems)),
        syn::Expr::Repeat(r) => ExprKind::Repeat(boxed(reader, &r.expr), boxed(reader, &r.len)),
        syn::Expr::Reference(r) => return reference(reader, r),
        other => return refused(reader, other),
    };
    Some(kind)
}

/// Constructs that Rust has and kernels do not.
fn refused(reader: &mut Reader, e: &syn::Expr) -> Option<ExprKind> {
    if let syn::Expr::Let(l) = e {
        expr(reader, &l.expr);
        reader.bind_all(&l.pat);
    }
    let (span, message, help) = match e {
        syn::Expr::Closure(c) => (
            Under { start: c.inputs_begin.span, end: c.inputs_end.span },
            "closures are not available",
            "make it a `#[kernel]` helper function",
        ),
        syn::Expr::Macro(m) => {
            macro_call(reader, &m.mac);
            return None;
        }
        syn::Expr::Try(t) => (
            under(&t.question_token),
            "`?` is not available: a kernel cannot return errors",
            "check before the call, or store a flag in a `&mut` slice",
        ),
        syn::Expr::Await(a) => {
            (under(&a.await_token), "a kernel cannot await", "await the call of the kernel instead")
        }
        syn::Expr::Async(a) => (
            under(&a.async_token),
            "a kernel cannot be async",
            "await the call of the kernel instead",
        ),
        syn::Expr::Unsafe(u) => (
            under(&u.unsafe_token),
            "`unsafe` is not available",
            "index the slice: checks that can be proved cost nothing",
        ),
        syn::Expr::Tuple(t) => (under(t), "there are no tuples", "use one variable for each value"),
        syn::Expr::Struct(s) => {
            (under(&s.path), "there are no structs", "use one variable or slice for each field")
        }
        syn::Expr::Range(r) => (
            under(r),
            "ranges stand only in `for`",
            "write `for i in a..b`; sub-slices are not available: pass an offset",
        ),
        syn::Expr::Let(l) => (
            Under { end: l.eq_token.span, ..under(&l.let_token) },
            "`if let` and `while let` are not available",
            "use `match` over integers, or compare with `==`",
        ),
        other => (
            under(other),
            "this expression is not part of the kernel language",
            "write it with `let`, `if`, `for` and arithmetic",
        ),
    };
    reader.error(span, message, help);
    None
}

fn label(reader: &mut Reader, label: Option<&syn::Label>) {
    if let Some(label) = label {
        reader.error(
            under(label),
            "loops have no labels",
            "leave with a flag: `if done { break; }`",
        );
    }
}

fn jump_label(reader: &mut Reader, label: Option<&syn::Lifetime>) {
    if let Some(label) = label {
        reader.error(
            under(label),
            "jumps go to the innermost loop",
            "leave with a flag: `if done { break; }`",
        );
    }
}

fn literal(reader: &mut Reader, lit: &Lit) -> Option<ExprKind> {
    let suffix = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    match lit {
        Lit::Int(int) => {
            if let Some(float) = matches!(int.suffix(), "f32" | "f64").then(|| int.base10_digits())
            {
                let value = float.parse().ok()?;
                return Some(ExprKind::Float { value, suffix: suffix(int.suffix()) });
            }
            match int.base10_parse::<u64>() {
                Ok(value) => {
                    check_suffix(reader, int.suffix(), under(int));
                    Some(ExprKind::Int { value, suffix: suffix(int.suffix()) })
                }
                Err(_) => {
                    reader.error(
                        under(int),
                        "this number does not fit 64 bits",
                        "use a smaller one",
                    );
                    None
                }
            }
        }
        Lit::Float(float) => {
            check_suffix(reader, float.suffix(), under(float));
            let value = float.base10_parse().ok()?;
            Some(ExprKind::Float { value, suffix: suffix(float.suffix()) })
        }
        Lit::Bool(b) => Some(ExprKind::Bool(b.value)),
        other => {
            reader.error(
                under(other),
                "kernels have numbers and truth values only",
                "pass text as a slice of `u32`",
            );
            None
        }
    }
}

fn check_suffix(reader: &mut Reader, suffix: &str, under: Under) {
    if matches!(suffix, "i8" | "i16" | "u8" | "u16" | "i128" | "u128" | "isize") {
        reader.error(
            under,
            format!("`{suffix}` is not a type of the kernel language"),
            "use u32, i32, u64 or i64",
        );
    }
}

fn path_expr(reader: &mut Reader, path: &syn::ExprPath) -> Option<ExprKind> {
    let segments: Vec<String> = path.path.segments.iter().map(|s| s.ident.to_string()).collect();
    match segments.as_slice() {
        [name] if reader.names.contains(name) => Some(ExprKind::Var(name.clone())),
        [ty, name] if is_scalar_name(ty) || reader.types.contains(ty) => {
            Some(ExprKind::Assoc(ty.clone(), name.clone()))
        }
        // `std::f32::consts::PI`, `f32::consts::PI`, `core::f64::consts::E`
        [.., ty, consts, name] if consts == "consts" && is_scalar_name(ty) => {
            Some(ExprKind::Assoc(ty.clone(), name.clone()))
        }
        [none] if none == "None" => {
            no_option(reader, path);
            None
        }
        _ => {
            reader.error(
                under(path),
                "a kernel sees only its own names and constants of number types",
                "pass the value as a parameter, or write a `const` in the kernel",
            );
            None
        }
    }
}

fn no_option(reader: &mut Reader, path: &syn::ExprPath) {
    reader.error(
        under(path),
        "kernels have no `Option` or `Result`",
        "use a flag of type `bool` or `u32`",
    );
}

fn binary_expr(reader: &mut Reader, binary: &syn::ExprBinary) -> Option<ExprKind> {
    let (assign, op) = match binary.op {
        BinOp::Add(_) => (false, BinaryOp::Add),
        BinOp::Sub(_) => (false, BinaryOp::Sub),
        BinOp::Mul(_) => (false, BinaryOp::Mul),
        BinOp::Div(_) => (false, BinaryOp::Div),
        BinOp::Rem(_) => (false, BinaryOp::Rem),
        BinOp::And(_) => (false, BinaryOp::LazyAnd),
        BinOp::Or(_) => (false, BinaryOp::LazyOr),
        BinOp::BitXor(_) => (false, BinaryOp::Xor),
        BinOp::BitAnd(_) => (false, BinaryOp::And),
        BinOp::BitOr(_) => (false, BinaryOp::Or),
        BinOp::Shl(_) => (false, BinaryOp::Shl),
        BinOp::Shr(_) => (false, BinaryOp::Shr),
        BinOp::Eq(_) => (false, BinaryOp::Eq),
        BinOp::Lt(_) => (false, BinaryOp::Lt),
        BinOp::Le(_) => (false, BinaryOp::Le),
        BinOp::Ne(_) => (false, BinaryOp::Ne),
        BinOp::Ge(_) => (false, BinaryOp::Ge),
        BinOp::Gt(_) => (false, BinaryOp::Gt),
        BinOp::AddAssign(_) => (true, BinaryOp::Add),
        BinOp::SubAssign(_) => (true, BinaryOp::Sub),
        BinOp::MulAssign(_) => (true, BinaryOp::Mul),
        BinOp::DivAssign(_) => (true, BinaryOp::Div),
        BinOp::RemAssign(_) => (true, BinaryOp::Rem),
        BinOp::BitXorAssign(_) => (true, BinaryOp::Xor),
        BinOp::BitAndAssign(_) => (true, BinaryOp::And),
        BinOp::BitOrAssign(_) => (true, BinaryOp::Or),
        BinOp::ShlAssign(_) => (true, BinaryOp::Shl),
        BinOp::ShrAssign(_) => (true, BinaryOp::Shr),
        other => {
            reader.error(under(&other), "this operator is not available", "write it out");
            return None;
        }
    };
    let (left, right) = (boxed(reader, &binary.left), boxed(reader, &binary.right));
    Some(if assign {
        ExprKind::Assign(Some(op), left, right)
    } else {
        ExprKind::Binary(op, left, right)
    })
}

fn unary_expr(reader: &mut Reader, unary: &syn::ExprUnary) -> Option<ExprKind> {
    match unary.op {
        UnOp::Neg(_) => Some(ExprKind::Unary(UnaryOp::Neg, boxed(reader, &unary.expr))),
        UnOp::Not(_) => Some(ExprKind::Unary(UnaryOp::Not, boxed(reader, &unary.expr))),
        other => {
            let before = reader.diagnostics.len();
            expr(reader, &unary.expr);
            // What is refused inside tells more.
            if reader.diagnostics.len() == before {
                reader.error(
                    under(&other),
                    "there are no pointers or references to numbers",
                    "remove the `*`: elements and scalars are values",
                );
            }
            None
        }
    }
}

/// `&x` and `&mut x`: a slice that is passed on.
fn reference(reader: &mut Reader, r: &syn::ExprReference) -> Option<ExprKind> {
    let before = reader.diagnostics.len();
    let inner = boxed(reader, &r.expr);
    let slice = matches!(inner.kind, ExprKind::Var(_) | ExprKind::Ref(_));
    if !slice && reader.diagnostics.len() == before {
        reader.error(
            under(r),
            "there are no references to numbers",
            "remove the `&`: elements and scalars are values",
        );
    }
    slice.then_some(ExprKind::Ref(inner))
}

/// The traits of numbers, whose methods can be called as their functions: `Float::erf(x)`.
const NUMBER_TRAITS: [&str; 2] = ["Float", "Num"];

/// Every method a kernel can call; the front end knows their types.
pub const METHODS: &[&str] = &[
    "abs",
    "acos",
    "asin",
    "atan",
    "atan2",
    "barrier",
    "ceil",
    "clamp",
    "compare_and_swap",
    "copysign",
    "cos",
    "count_ones",
    "erf",
    "exp",
    "exp2",
    "fetch_add",
    "fetch_and",
    "fetch_max",
    "fetch_min",
    "fetch_or",
    "fetch_sub",
    "fetch_xor",
    "floor",
    "fract",
    "get",
    "is_finite",
    "is_infinite",
    "is_nan",
    "leading_zeros",
    "len",
    "ln",
    "load",
    "log2",
    "log10",
    "max",
    "min",
    "mul_add",
    "pow",
    "powf",
    "powi",
    "recip",
    "round",
    "round_ties_even",
    "rsqrt",
    "set",
    "shared",
    "signum",
    "sin",
    "sqrt",
    "store",
    "swap",
    "tan",
    "tanh",
    "to_bits",
    "to_degrees",
    "to_radians",
    "trailing_zeros",
    "trunc",
    "wrapping_add",
    "wrapping_mul",
    "wrapping_neg",
    "wrapping_sub",
    "rotate_left",
    "rotate_right",
    "is_empty",
];

fn method(reader: &mut Reader, call: &syn::ExprMethodCall) -> Option<ExprKind> {
    let name = call.method.to_string();
    let before = reader.diagnostics.len();
    let receiver = boxed(reader, &call.receiver);
    if reader.diagnostics.len() > before && matches!(*call.receiver, syn::Expr::MethodCall(_)) {
        // Of a chain, the first method that is refused says it all.
        return None;
    }
    if name == "shared" {
        return shared(reader, call, receiver);
    }
    // `get` of a shared element has no argument, that of a slice has one.
    let of_slice = name == "get" && !call.args.is_empty();
    if of_slice || !METHODS.contains(&name.as_str()) {
        let help = match name.as_str() {
            "iter" | "iter_mut" | "into_iter" | "chunks" | "windows" | "enumerate" | "zip"
            | "map" | "sum" | "fold" => "write `for i in 0..x.len()` and index the slice",
            "get" | "get_mut" | "get_unchecked" | "first" | "last" => {
                "index the slice: a wrong index is an error, not a panic"
            }
            "unwrap" | "expect" | "unwrap_or" | "unwrap_or_default" | "ok_or" | "is_some"
            | "is_none" | "and_then" => "kernels have no `Option` or `Result`: use a flag",
            "clone" | "to_owned" => "remove it: numbers are copied",
            "push" | "collect" | "to_vec" => "kernels cannot allocate: use a fixed array",
            "sinh" | "cosh" | "asinh" | "acosh" | "atanh" => {
                "this function is not there yet: compute it from those that are"
            }
            "sort" | "sort_unstable" | "sort_by" | "sort_unstable_by" => {
                "write the exchange with two variables"
            }
            _ => "see the list of methods in the documentation of `crossover::kernel`",
        };
        reader.error(
            under(&call.method),
            format!("method `{name}` is not available in a kernel"),
            help,
        );
        return None;
    }
    let list = args(reader, &call.args);
    let method = Name { text: name, pos: pos(call.method.span()) };
    Some(ExprKind::Method(receiver, method, list))
}

/// `id.shared::<T, N>()`
fn shared(reader: &mut Reader, call: &syn::ExprMethodCall, id: Box<Expr>) -> Option<ExprKind> {
    let arguments = call.turbofish.as_ref().map(|turbofish| turbofish.args.iter());
    let arguments: Vec<&syn::GenericArgument> = arguments.into_iter().flatten().collect();
    let [syn::GenericArgument::Type(element), len] = arguments.as_slice() else {
        reader.error(
            under(&call.method),
            "a shared array has an element type and a length",
            "write `let tile = id.shared::<f32, 256>();`",
        );
        return None;
    };
    let inner = atomic(element);
    let ty = scalar(reader, inner.unwrap_or(element))?;
    let atomic = inner.is_some();
    let fits = match ty.text.as_str() {
        "bool" | "usize" => false,
        "u32" | "i32" => true,
        _ => !atomic,
    };
    if !fits {
        reader.error(
            under(element),
            "this type cannot be shared",
            "share f32, f64, i32, u32, i64, u64, `Atomic<u32>` or `Atomic<i32>`",
        );
        return None;
    }
    let len = match len {
        syn::GenericArgument::Const(len) => boxed(reader, unbraced(len)),
        syn::GenericArgument::Type(syn::Type::Path(path)) => {
            let path = syn::ExprPath { attrs: Vec::new(), qself: None, path: path.path.clone() };
            boxed(reader, &syn::Expr::Path(path))
        }
        other => {
            let help = "write a number, a `const` or a const parameter";
            reader.error(under(other), "this is no length of an array", help);
            return None;
        }
    };
    Some(ExprKind::Shared { id, ty, atomic, len })
}

/// The expression in `{ … }`.
fn unbraced(e: &syn::Expr) -> &syn::Expr {
    match e {
        syn::Expr::Block(block) => match block.block.stmts.as_slice() {
            [syn::Stmt::Expr(inner, None)] => inner,
            _ => e,
        },
        _ => e,
    }
}

fn function_call(reader: &mut Reader, call: &syn::ExprCall) -> Option<ExprKind> {
    let syn::Expr::Path(path) = &*call.func else {
        reader.error(
            under(&call.func),
            "only named functions can be called",
            "make it a `#[kernel]` helper function",
        );
        return None;
    };
    let mut list = args(reader, &call.args);
    let segments: Vec<String> = path.path.segments.iter().map(|s| s.ident.to_string()).collect();
    if let [ty, function] = segments.as_slice()
        && (is_scalar_name(ty) || reader.types.contains(ty))
    {
        let span = path.path.segments[1].ident.span();
        let known = matches!(function.as_str(), "from_bits" | "lit" | "from")
            || METHODS.contains(&function.as_str());
        if !known {
            reader.error(
                under(&path.path.segments[1].ident),
                format!("`{ty}::{function}` is not available in a kernel"),
                "see the list of methods in the documentation of `crossover::kernel`",
            );
            return None;
        }
        let name = Name { text: function.clone(), pos: pos(span) };
        return Some(ExprKind::TypeCall(ty.clone(), name, list));
    }
    if let [owner, function] = segments.as_slice()
        && NUMBER_TRAITS.contains(&owner.as_str())
        && METHODS.contains(&function.as_str())
        && !list.is_empty()
    {
        let name = Name { text: function.clone(), pos: pos(path.path.segments[1].ident.span()) };
        let receiver = Box::new(list.remove(0));
        return Some(ExprKind::Method(receiver, name, list));
    }
    if matches!(segments.last().map(String::as_str), Some("Some" | "Ok" | "Err" | "None")) {
        no_option(reader, path);
        return None;
    }
    if let Some(types) = path.path.segments.iter().find(|s| !s.arguments.is_none()) {
        reader.error(
            under(&types.arguments),
            "the types of a call are found from its arguments",
            "remove them, and give numbers a suffix where they have no other type",
        );
    }
    if path.path.is_ident(&reader.name) {
        // Whether it stands where it may is known when the whole body is read.
        let args = list.iter().map(variable).zip(call.args.iter().map(under)).collect();
        let pos = pos(path.path.segments[0].ident.span());
        reader.own_calls.push(OwnCall { pos, under: under(path), args });
        return Some(ExprKind::TailCall(list));
    }
    let at = reader.helpers.iter().position(|p| *p == path.path).unwrap_or_else(|| {
        reader.helpers.push(path.path.clone());
        reader.helpers.len() - 1
    });
    Some(ExprKind::Call(at as u32, list))
}

/// The variable that an expression is, borrowed or not.
fn variable(e: &Expr) -> Option<String> {
    match &e.kind {
        ExprKind::Var(name) => Some(name.clone()),
        ExprKind::Ref(inner) => variable(inner),
        _ => None,
    }
}

fn if_expr(reader: &mut Reader, branch: &syn::ExprIf) -> Option<ExprKind> {
    let condition = boxed(reader, &branch.cond);
    let then = block(reader, &branch.then_branch);
    let otherwise = branch.else_branch.as_ref().map(|(_, e)| boxed(reader, e));
    Some(ExprKind::If(condition, then, otherwise))
}

fn match_expr(reader: &mut Reader, m: &syn::ExprMatch) -> Option<ExprKind> {
    let value = boxed(reader, &m.expr);
    let mut arms = Vec::new();
    for arm in &m.arms {
        reader.attributes(&arm.attrs);
        let mut patterns = Vec::new();
        let (pat, guard) = match &arm.pat {
            Pat::Guard(guarded) => (&*guarded.pat, Some(&guarded.guard)),
            plain => (plain, None),
        };
        let wild = pattern(reader, pat, &mut patterns);
        let guard = guard.map(|guard| expr(reader, guard));
        let body = expr(reader, &arm.body);
        if wild {
            patterns.clear();
        }
        arms.push(Arm { patterns, guard, body });
    }
    let complete = arms.last().is_some_and(|a| a.patterns.is_empty() && a.guard.is_none());
    if !complete {
        reader.error(
            under(&m.match_token),
            "the last arm of a `match` takes the rest",
            "end with `_ => …`",
        );
    }
    Some(ExprKind::Match(value, arms))
}

/// Adds the alternatives of a pattern; true for one that takes everything.
fn pattern(reader: &mut Reader, pat: &Pat, into: &mut Vec<Pattern>) -> bool {
    match pat {
        Pat::Wild(_) => return true,
        Pat::Or(or) => {
            let wild: Vec<bool> = or.cases.iter().map(|p| pattern(reader, p, into)).collect();
            return wild.contains(&true);
        }
        Pat::Paren(inner) => return pattern(reader, &inner.pat, into),
        Pat::Lit(lit) => {
            if let Some(value) = integer(&syn::Expr::Lit(lit.clone())) {
                into.push(Pattern { low: value, high: value });
                return false;
            }
        }
        Pat::Range(range) => {
            let low = range.start.as_deref().map_or(Some(i64::MIN), integer);
            let high = range.end.as_deref().map_or(Some(i64::MAX), integer);
            if let (Some(low), Some(high)) = (low, high) {
                let open = matches!(range.limits, RangeLimits::HalfOpen(_)) && range.end.is_some();
                into.push(Pattern { low, high: if open { high.saturating_sub(1) } else { high } });
                return false;
            }
        }
        // syn reads a negative literal as a verbatim or constant expression pattern.
        Pat::Verbatim(tokens) => {
            if let Ok(e) = syn::parse2::<syn::Expr>(tokens.clone())
                && let Some(value) = integer(&e)
            {
                into.push(Pattern { low: value, high: value });
                return false;
            }
        }
        _ => {}
    }
    reader.bind_all(pat);
    reader.error(
        under(pat),
        "a pattern is an integer, a range of integers or `_`",
        "bind with `let` before the `match`; for other things use a guard: `_ if x == N => …`",
    );
    false
}

fn integer(e: &syn::Expr) -> Option<i64> {
    match e {
        syn::Expr::Lit(syn::ExprLit { lit: Lit::Int(int), .. }) => int.base10_parse().ok(),
        syn::Expr::Unary(syn::ExprUnary { op: UnOp::Neg(_), expr, .. }) => {
            integer(expr)?.checked_neg()
        }
        syn::Expr::Paren(p) => integer(&p.expr),
        syn::Expr::Group(g) => integer(&g.expr),
        _ => None,
    }
}

fn for_expr(reader: &mut Reader, f: &syn::ExprForLoop) -> Option<ExprKind> {
    label(reader, f.label.as_ref());
    let range = stepped(reader, &f.expr);
    let name = match &*f.pat {
        Pat::Ident(binding) => {
            Name { text: binding.ident.to_string(), pos: pos(binding.ident.span()) }
        }
        Pat::Wild(wild) => Name { text: "_".into(), pos: pos(wild.underscore_token.span) },
        other => {
            reader.bind_all(other);
            if range.is_some() {
                reader.error(
                    under(other),
                    "a loop has one counter",
                    "count with one name and compute the rest in the body",
                );
            }
            Name { text: "_".into(), pos: pos(f.for_token.span) }
        }
    };
    let ends = range.and_then(|(range, step)| match (&range.start, &range.end) {
        (Some(start), Some(end)) => {
            let inclusive = matches!(range.limits, RangeLimits::Closed(_));
            Some((boxed(reader, start), boxed(reader, end), inclusive, step))
        }
        _ => {
            let help = "write both: `0..n`, or use `loop`";
            reader.error(under(range), "a loop has a start and an end", help);
            None
        }
    });
    reader.names.insert(name.text.clone());
    let body = block(reader, &f.body);
    let (start, end, inclusive, step) = ends?;
    Some(ExprKind::For { name, start, end, inclusive, step, body })
}

/// The range of a `for`, and its step.
fn stepped<'a>(reader: &mut Reader, e: &'a syn::Expr) -> Option<(&'a syn::ExprRange, u32)> {
    match e {
        syn::Expr::Range(range) => Some((range, 1)),
        syn::Expr::Paren(p) => stepped(reader, &p.expr),
        syn::Expr::MethodCall(call) if call.method == "step_by" => {
            let (range, outer) = stepped(reader, &call.receiver)?;
            let step = call.args.first().and_then(integer).and_then(|s| u32::try_from(s).ok());
            match step {
                Some(step) if step > 0 && outer == 1 => Some((range, step)),
                _ => {
                    reader.error(
                        if call.args.is_empty() { under(&call.method) } else { under(&call.args) },
                        "a step is a positive number known here",
                        "for a step known only at run time use `while i < n { …; i += step; }`",
                    );
                    None
                }
            }
        }
        syn::Expr::MethodCall(call) if call.method == "rev" => {
            reader.error(
                under(&call.method),
                "loops count upwards",
                "count up and use `n - 1 - i`",
            );
            None
        }
        other => {
            reader.error(
                under(other),
                "`for` runs over a range of integers",
                "write `for i in 0..x.len()` and index the slice",
            );
            None
        }
    }
}
