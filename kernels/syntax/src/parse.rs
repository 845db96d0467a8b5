//! Rust source to tree. Everything outside the subset is a [`Diagnostic`] under its token, with a
//! help that says what to write instead; reading goes on after one, so that all are reported.

mod body;
mod signature;
mod tail;

use std::collections::HashSet;

pub use body::METHODS;
use proc_macro2::{Span, TokenStream, TokenTree};
use quote::ToTokens;
pub use signature::is_id;
use syn::ItemFn;

use crate::tree::{Pos, Tree};

/// One violation of the subset.
#[derive(Clone, Debug)]
pub struct Diagnostic {
    /// The first token it stands under.
    pub span: Span,
    /// The last token it stands under.
    pub end: Span,
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

/// All that was read of a function, whether it is a kernel or not.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The tree; where there are diagnostics, of what could be understood.
    pub parsed: Parsed,
    /// Every violation of the subset, in source order.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the tree holds the signature and the attribute as they are written.
    pub signature: bool,
}

/// Reads a function and the attribute's arguments (`reduce = add`, `grid = (w, h)`).
///
/// # Errors
/// Every violation of the subset, in source order.
pub fn kernel(item: &ItemFn, attribute: TokenStream) -> Result<Parsed, Vec<Diagnostic>> {
    let reading = read(item, attribute);
    if reading.diagnostics.is_empty() { Ok(reading.parsed) } else { Err(reading.diagnostics) }
}

/// Reads what can be understood of a function, for those who go on after violations.
pub fn read(item: &ItemFn, attribute: TokenStream) -> Reading {
    let mut reader = Reader::default();
    let (parsed, signature) = signature::read(&mut reader, item, attribute);
    let mut diagnostics = reader.diagnostics;
    diagnostics.sort_by_key(|d| (d.span.start().line, d.span.start().column));
    Reading { parsed, diagnostics, signature }
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Reader {
    /// The function's own name.
    name: String,
    /// The names of its type parameters.
    types: Vec<String>,
    /// Parameters, variables and constants so far. Scopes are left to the front end: this is for
    /// names that are nowhere in the kernel.
    names: HashSet<String>,
    diagnostics: Vec<Diagnostic>,
    helpers: Vec<syn::Path>,
    /// Where the function calls itself.
    own_calls: Vec<OwnCall>,
}

#[derive(Debug)]
struct OwnCall {
    pos: Pos,
    under: Under,
    /// For each argument the variable that it is, borrowed or not, and where it stands.
    args: Vec<(Option<String>, Under)>,
}

impl Reader {
    fn error(&mut self, under: Under, message: impl Into<String>, help: impl Into<String>) {
        let Under { start: span, end } = under;
        self.diagnostics.push(Diagnostic { span, end, message: message.into(), help: help.into() });
    }

    /// Takes every word of a refused pattern or item for a name: its uses are not to be blamed.
    fn bind_all(&mut self, tokens: &impl ToTokens) {
        for token in tokens.to_token_stream() {
            match token {
                TokenTree::Ident(ident) => _ = self.names.insert(ident.to_string()),
                TokenTree::Group(group) => self.bind_all(&group.stream()),
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// Refuses attributes that would make Rust and the kernel see different code.
    fn attributes(&mut self, attributes: &[syn::Attribute]) {
        for attribute in attributes {
            if attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr") {
                self.error(
                    under(attribute),
                    "parts of a kernel cannot be conditional",
                    "put the attribute on the whole kernel",
                );
            }
        }
    }
}

/// The tokens that a diagnostic stands under: from one to another.
#[derive(Clone, Copy, Debug)]
struct Under {
    start: Span,
    end: Span,
}

/// All of these tokens.
fn under(tokens: &impl ToTokens) -> Under {
    let mut tokens = tokens.to_token_stream().into_iter();
    let start = tokens.next().map_or_else(Span::call_site, |token| token.span());
    Under { start, end: tokens.last().map_or(start, |token| token.span()) }
}

fn pos(span: Span) -> Pos {
    let start = span.start();
    Pos { line: start.line as u32, column: start.column as u32 + 1 }
}
