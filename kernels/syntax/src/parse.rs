//! Rust source to tree. Everything outside the subset is a [`Diagnostic`] under its token, with a
//! help that says what to write instead; reading goes on after one, so that all are reported.

mod body;
mod signature;

use proc_macro2::Span;
use syn::ItemFn;

use crate::tree::{Pos, Tree};

/// One violation of the subset.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The token it stands under.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: String,
}

/// A kernel that was read: its tree and the paths that its helper calls name.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree.
    pub tree: Tree,
    /// For each helper, the path as written, to resolve in the caller's scope.
    pub helpers: Vec<syn::Path>,
}

/// Reads a function and the attribute's arguments (`reduce = add`, `grid = (w, h)`).
///
/// # Errors
/// Every violation of the subset, in source order.
pub fn kernel(
    item: &ItemFn,
    attribute: proc_macro2::TokenStream,
) -> Result<Parsed, Vec<Diagnostic>> {
    let mut reader = Reader::default();
    let parsed = signature::read(&mut reader, item, attribute);
    if reader.diagnostics.is_empty() { Ok(parsed) } else { Err(reader.diagnostics) }
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Reader {
    diagnostics: Vec<Diagnostic>,
    helpers: Vec<syn::Path>,
}

impl Reader {
    fn error(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.diagnostics.push(Diagnostic { span, message: message.into(), help: help.into() });
    }
}

fn pos(span: Span) -> Pos {
    let start = span.start();
    Pos { line: start.line as u32, column: start.column as u32 + 1 }
}
