//! Which line of the source each line of WGSL comes from.
//!
//! A statement of the module carries its place in the source in the span that naga has for offsets of a
//! text. naga prints a module without spans, but statement by statement: the stores, branches and loops of the
//! text are those of the module, in the same order.

use crossover_kernels::ir::Span;
use naga::{Block, Module, Statement};

/// Bits of a line in an offset; above them is the file.
const LINE_BITS: u32 = 24;

/// A place in the source as naga keeps it.
pub(super) fn naga_span(span: Span) -> naga::Span {
    let line = span.line.min((1 << LINE_BITS) - 1);
    let at = (span.file.min(126) + 1) << LINE_BITS | line;
    naga::Span::new(at, at + 1)
}

/// The file and the line of a place.
fn source(span: naga::Span) -> Option<(u32, u32)> {
    let at = span.to_range()?.start as u32;
    Some(((at >> LINE_BITS).checked_sub(1)?, at & ((1 << LINE_BITS) - 1)))
}

/// A statement that stands on a line of its own, whatever naga makes of the expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    If,
    Loop,
    Store,
}

/// For each line of the WGSL, from the first, the number of a file and a line of the source. Functions whose
/// text cannot be held against the module have none.
pub(super) fn lines(module: &Module, wgsl: &str) -> Vec<Option<(u32, u32)>> {
    let text: Vec<&str> = wgsl.lines().collect();
    let mut found = vec![None; text.len()];
    let functions = module.functions.iter().map(|(_, f)| f);
    let functions = functions.chain(module.entry_points.iter().map(|entry| &entry.function));
    let heads = (0..text.len()).filter(|&at| text[at].starts_with("fn "));
    for (function, head) in functions.zip(heads) {
        let end = (head..text.len()).find(|&at| text[at] == "}").unwrap_or(text.len());
        let kinds = (head..end).filter_map(|at| Some((at, kind_of_line(text[at].trim())?)));
        let theirs: Vec<(usize, Kind)> = kinds.collect();
        let mut ours = Vec::new();
        statements(&function.body, &mut ours);
        let alike = ours.iter().map(|(kind, _)| kind).eq(theirs.iter().map(|(_, kind)| kind));
        for ((_, span), (at, _)) in ours.into_iter().zip(theirs).filter(|_| alike) {
            found[at] = source(span);
        }
    }
    found
}

fn kind_of_line(line: &str) -> Option<Kind> {
    let declares = ["let ", "var ", "const "].iter().any(|word| line.starts_with(word));
    match line {
        _ if line.starts_with("if ") => Some(Kind::If),
        "loop {" => Some(Kind::Loop),
        _ if line.ends_with(';') && !declares && line.contains(" = ") => Some(Kind::Store),
        _ => None,
    }
}

/// The statements of a block and those inside, in order, each as its kind and its place.
fn statements(block: &Block, into: &mut Vec<(Kind, naga::Span)>) {
    for (statement, span) in block.span_iter() {
        match statement {
            Statement::Store { .. } => into.push((Kind::Store, *span)),
            Statement::Block(inside) => statements(inside, into),
            Statement::If { accept, reject, .. } => {
                into.push((Kind::If, *span));
                statements(accept, into);
                statements(reject, into);
            }
            Statement::Loop { body, continuing, .. } => {
                into.push((Kind::Loop, *span));
                statements(body, into);
                statements(continuing, into);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Capabilities, Schedule, emit};
    use crossover_kernels::{front, library, passes};

    /// The text of every standard kernel is held against its module, and names lines of its file.
    #[test]
    fn standard_kernels_know_their_lines() {
        for def in library::kernels() {
            let kernel = passes::optimize(&front::kernel(def, &[], &[]).expect("typed"));
            let caps = Capabilities::everything();
            let shader = emit(&kernel, &caps, &Schedule::of(&kernel, &caps)).expect("it is legal");
            let lines = shader.lines();
            let known = lines.iter().flatten().count();
            assert!(known > 0, "{}: {}", def.name, shader.wgsl);
            let file = &kernel.files[0];
            assert!(file.contains("/library/"), "{file}");
        }
    }
}
