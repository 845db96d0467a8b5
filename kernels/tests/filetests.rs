//! What each pass makes of a small kernel: `filetests/NAME.kir` in, one text per stage out. A file
//! begins with a comment that says why it exists.

use std::fmt::Write as _;
use std::fs;

use crossover_kernels::ir::Kernel;
use crossover_kernels::ir::text::parse;
use crossover_kernels::passes::PIPELINE;
use crossover_kernels::passes::rule::Hits;
use crossover_kernels::verify::verify;

#[test]
fn passes() {
    insta::glob!("filetests/*.kir", |path| {
        let name = path.display();
        let text = fs::read_to_string(path).expect("a file test is a readable file");
        assert!(text.starts_with("// "), "{name} does not begin by saying why it exists");
        let kernel = parse(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        insta::assert_snapshot!(stages(kernel));
    });
}

/// The kernel as read, and after each pass of the pipeline.
fn stages(mut kernel: Kernel) -> String {
    compact(&mut kernel);
    let mut out = format!("== parsed\n{kernel}");
    for pass in PIPELINE {
        let before = kernel.clone();
        (pass.run)(&mut kernel, &mut Hits::ignored());
        compact(&mut kernel);
        let name = pass.name;
        verify(&kernel).unwrap_or_else(|error| panic!("{name} gives\n{kernel}{error}"));
        let text = if kernel == before { "unchanged\n".to_owned() } else { kernel.to_string() };
        write!(out, "\n== {name}\n{text}").expect("a string takes any text");
    }
    out
}

fn compact(kernel: &mut Kernel) {
    kernel.entry.compact();
    kernel.helpers.iter_mut().for_each(|helper| helper.compact());
}
