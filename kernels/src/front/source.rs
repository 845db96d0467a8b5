//! Kernels from Rust source that is read at run time: every `#[kernel]` function of a file, with the
//! same front end and the same complaints as the macro.

use std::collections::HashMap;
use std::sync::Arc;

use crossover_syntax::parse;

use super::Definition;
use crate::error::{Diagnostic, KernelError};

/// The kernels and helpers of a source text; `file` is named in complaints. Functions without
/// `#[kernel]` and other items are passed over. Helpers are looked up by name in the same text.
///
/// # Errors
/// [`KernelError::Source`] with every complaint; syntax errors count.
///
/// ```
/// use crossover_kernels::front::{instantiate, source};
/// let text = "#[kernel] fn twice(id: Id, y: &mut [f32]) { y[id.x] *= 2.0; }";
/// let found = source::parse(text, "twice.rs")?;
/// assert_eq!(instantiate(&found[0], &[], &[])?.entry.name, "twice");
/// let error = source::parse("#[kernel] fn f(id: Id, y: &mut [String]) {}", "f.rs");
/// assert!(error.expect_err("no buffer holds these").to_string().contains("f.rs:1:"));
/// # Ok::<(), crossover_kernels::error::KernelError>(())
/// ```
pub fn parse(text: &str, file: &str) -> Result<Vec<Arc<Definition>>, KernelError> {
    let path: Arc<str> = file.into();
    let fail = |diagnostics| Err(KernelError::Source { kernel: file.to_owned(), diagnostics });
    let items = match syn::parse_file(text) {
        Ok(parsed) => parsed.items,
        Err(error) => return fail(vec![diagnostic(&path, error.span(), &error.to_string(), None)]),
    };
    let mut diagnostics = Vec::new();
    let mut parsed = Vec::new();
    for item in &items {
        let syn::Item::Fn(function) = item else { continue };
        let Some(attribute) = function.attrs.iter().find(|a| is_kernel(a)) else { continue };
        let arguments = match &attribute.meta {
            syn::Meta::List(list) => list.tokens.clone(),
            syn::Meta::Path(_) | syn::Meta::NameValue(_) => Default::default(),
        };
        match parse::kernel(function, arguments) {
            Ok(kernel) => parsed.push(kernel),
            Err(found) => diagnostics
                .extend(found.iter().map(|d| diagnostic(&path, d.span, &d.message, Some(&d.help)))),
        }
    }
    let mut linker = Linker { path, parsed: &parsed, done: HashMap::new(), open: Vec::new() };
    let mut definitions = Vec::new();
    for kernel in &parsed {
        match linker.link(&kernel.tree.name) {
            Ok(definition) => definitions.push(definition),
            Err(complaint) => diagnostics.push(complaint),
        }
    }
    if diagnostics.is_empty() { Ok(definitions) } else { fail(diagnostics) }
}

fn is_kernel(attribute: &syn::Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|s| s.ident == "kernel")
}

fn diagnostic(
    path: &str,
    span: proc_macro2::Span,
    message: &str,
    help: Option<&str>,
) -> Diagnostic {
    let start = span.start();
    let location = format!("{path}:{}:{}", start.line, start.column + 1);
    Diagnostic { location, message: message.to_owned(), help: help.map(ToOwned::to_owned) }
}

/// Resolves helpers by name.
struct Linker<'a> {
    path: Arc<str>,
    parsed: &'a [parse::Parsed],
    done: HashMap<String, Arc<Definition>>,
    open: Vec<String>,
}

impl Linker<'_> {
    fn link(&mut self, name: &str) -> Result<Arc<Definition>, Diagnostic> {
        if let Some(done) = self.done.get(name) {
            return Ok(done.clone());
        }
        let found = self.parsed.iter().find(|p| p.tree.name == name);
        let Some(kernel) = found else {
            let message = format!("function `{name}` is not a kernel helper of this file");
            return Err(self.complaint(message, "put `#[kernel]` on it"));
        };
        if self.open.iter().any(|open| open == name) {
            let message = format!("`{name}` calls itself");
            return Err(self.complaint(message, "write it as a loop"));
        }
        self.open.push(name.to_owned());
        let mut helpers = Vec::new();
        for path in &kernel.tree.helpers {
            let last = path.rsplit("::").next().unwrap_or(path);
            helpers.push(self.link(last)?);
        }
        self.open.pop();
        let tree = kernel.tree.clone();
        let definition = Arc::new(Definition { tree, file: self.path.clone(), helpers });
        self.done.insert(name.to_owned(), definition.clone());
        Ok(definition)
    }

    fn complaint(&self, message: String, help: &str) -> Diagnostic {
        Diagnostic { location: self.path.to_string(), message, help: Some(help.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::front::instantiate;

    #[test]
    fn a_file_of_kernels_is_read() {
        let text = "
            #[kernel] fn twice(v: f32) -> f32 { v + v }
            fn plain() {}
            #[kernel(grid = (w, h))]
            fn fill(id: Id, w: u32, h: u32, y: &mut [f32]) { y[id.y * w as usize + id.x] = twice(1.5); }
        ";
        let found = parse(text, "kernels.rs").expect("a valid file");
        assert_eq!(found.len(), 2);
        let kernel = instantiate(&found[1], &[], &[]).expect("typed");
        assert_eq!((kernel.entry.name.as_str(), kernel.axes()), ("fill", 2));
    }

    #[test]
    fn complaints_are_located() {
        let text = "#[kernel] fn f(id: Id, y: &mut [f32]) {\n    y[id.x] = missing(1.0);\n}";
        let error = parse(text, "f.rs").expect_err("no such helper");
        assert!(error.to_string().contains("`missing`"), "{error}");
        let error = parse("#[kernel] fn f(", "f.rs").expect_err("no syntax");
        assert!(error.to_string().contains("f.rs:1:"), "{error}");
        let text = "#[kernel]\nfn f(id: Id, y: &mut [u32]) {\n    y[id.x] = 1.5;\n}";
        let found = parse(text, "f.rs").expect("syntax alone");
        let error = instantiate(&found[0], &[], &[]).expect_err("does not type");
        assert!(error.to_string().contains("f.rs:3:15: expected u32, found a float"), "{error}");
    }
}
