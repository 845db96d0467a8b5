//! `crossover emit`: what a kernel became, stage by stage, with the lines of Rust that it comes from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::process::ExitCode;

use anyhow::bail;
use crossover::kernels::ir::{Kernel, Span};
use crossover::kernels::{front, passes};
use crossover::shaders::{self, Capabilities};
use crossover_wasm::{Listing, Schedule};
use serde::Serialize;

/// Arguments of `emit`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kernel.
    kernel: String,
    #[command(flatten)]
    stage: Stage,
    /// Which form of the shader, by number; the first is the one with all checks.
    #[arg(long, default_value_t = 1, requires = "wgsl")]
    form: usize,
    /// Print JSON: a list of lines, each with the place in the source that it comes from.
    #[arg(long)]
    json: bool,
}

/// A line of a stage.
#[derive(Debug, Serialize)]
struct Line {
    text: String,
    /// The file and the line of Rust that it comes from.
    source: Option<(String, u32)>,
}

/// Which stage.
#[derive(Clone, Copy, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Stage {
    /// The optimised intermediate representation.
    #[arg(long)]
    ir: bool,
    /// The WebAssembly.
    #[arg(long)]
    wat: bool,
    /// The shader.
    #[arg(long)]
    wgsl: bool,
    /// The machine code.
    #[arg(long)]
    asm: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let (entry, number) = super::named_kernel(&args.kernel)?;
    let kernel = passes::optimize(&front::kernel(entry.kernels()[number], &[], &[])?);
    let mut output = Output::of(&kernel, args.json);
    match args.stage {
        Stage { ir: true, .. } => print_ir(&kernel, &mut output),
        Stage { wat: true, .. } => print_wat(&kernel, &mut output)?,
        Stage { asm: true, .. } => print_asm(&kernel, &mut output)?,
        Stage { .. } => print_wgsl(&kernel, args.form, &mut output)?,
    }
    if args.json {
        println!("{}", serde_json::to_string(&output.lines)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// The lines of a stage, as text with the source between them, or as JSON; and the source files, as far as they
/// are here to be read.
struct Output<'k> {
    kernel: &'k Kernel,
    is_json: bool,
    lines: Vec<Line>,
    texts: HashMap<u32, Option<String>>,
    last: Option<(u32, u32)>,
}

impl Output<'_> {
    fn of(kernel: &Kernel, is_json: bool) -> Output<'_> {
        Output { kernel, is_json, lines: Vec::new(), texts: HashMap::new(), last: None }
    }

    /// A line, and the place that it comes from; comments begin with `start` in its language.
    fn line(&mut self, start: &str, text: &str, place: Option<(u32, u32)>) {
        if !self.is_json {
            self.comment(start, indent(text), place);
            println!("{text}");
            return;
        }
        self.last = place.or(self.last);
        let source = self.last.and_then(|(file, line)| {
            Some((self.kernel.files.get(file as usize)?.to_string(), line))
        });
        self.lines.push(Line { text: text.to_owned(), source });
    }

    /// A comment that names a line, where it is another than before.
    fn comment(&mut self, start: &str, indent: &str, line: Option<(u32, u32)>) {
        let Some((file, number)) = line.filter(|line| Some(*line) != self.last) else { return };
        self.last = line;
        let Some(path) = self.kernel.files.get(file as usize) else { return };
        let text = self.texts.entry(file).or_insert_with(|| std::fs::read_to_string(&**path).ok());
        let text =
            text.as_ref().and_then(|text| text.lines().nth(number.saturating_sub(1) as usize));
        let name = path.rsplit('/').next().unwrap_or(path);
        match text.map(str::trim) {
            Some(text) => println!("{indent}{start} {name}:{number}: {text}"),
            None => println!("{indent}{start} {name}:{number}"),
        }
    }
}

fn place(span: Span) -> Option<(u32, u32)> {
    (span.line > 0).then_some((span.file, span.line))
}

/// The blanks that a line begins with.
fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

fn print_ir(kernel: &Kernel, output: &mut Output<'_>) {
    for line in kernel.to_string().lines() {
        let (code, at) = without_place(line);
        output.line("//", &code, at);
    }
}

/// A line of the IR, and the place ` @file:line:column` that stood at its end, or before the brace that ends it.
fn without_place(line: &str) -> (Cow<'_, str>, Option<(u32, u32)>) {
    let (rest, brace) = line.strip_suffix(" {").map_or((line, ""), |rest| (rest, " {"));
    match rest.rsplit_once(" @").map(|(code, at)| (code, parse_place(at))) {
        Some((code, Some(at))) => (format!("{code}{brace}").into(), Some(at)),
        Some((_, None)) | None => (line.into(), None),
    }
}

fn parse_place(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(':').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

fn print_wgsl(kernel: &Kernel, form: usize, output: &mut Output<'_>) -> anyhow::Result<()> {
    let adapters = shaders::adapters();
    let caps = adapters.first().map_or_else(Capabilities::everything, |a| a.capabilities.clone());
    let schedule = shaders::Schedule::of(kernel, &caps);
    let forms = shaders::shaders(kernel, &caps, &schedule)?;
    for (at, (name, _)) in (1..).zip(&forms) {
        let shown = if at == form { " (below)" } else { "" };
        output.line("//", &format!("// form {at} of {}: {name}{shown}", forms.len()), None);
    }
    let Some((_, shader)) = form.checked_sub(1).and_then(|at| forms.get(at)) else {
        bail!("there is no form {form}: `{}` has {}", kernel.entry.name, forms.len());
    };
    output.line("//", "", None);
    let lines = shader.lines();
    for (at, line) in shader.wgsl.lines().enumerate() {
        output.line("//", line, lines.get(at).copied().flatten());
    }
    Ok(())
}

fn listing(kernel: &Kernel) -> anyhow::Result<Listing> {
    Ok(Listing::new(kernel, Schedule::default_for(kernel))?)
}

fn print_wat(kernel: &Kernel, output: &mut Output<'_>) -> anyhow::Result<()> {
    let module = listing(kernel)?.module;
    let mut storage = String::new();
    let config = wasmprinter::Config::new();
    let mut lines = module.lines.iter().peekable();
    for (offset, line) in config.offsets_and_lines(&module.bytes, &mut storage)? {
        let mut at = None;
        while let Some((from, span)) = lines.peek()
            && offset.is_some_and(|offset| *from as u64 <= offset)
        {
            at = place(*span);
            lines.next();
        }
        output.line(";;", line.trim_end(), at);
    }
    Ok(())
}

fn print_asm(kernel: &Kernel, output: &mut Output<'_>) -> anyhow::Result<()> {
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
    if !cfg!(target_arch = "x86_64") {
        bail!("machine code is shown for x86-64 alone; --wat shows what it is compiled from");
    }
    let listing = listing(kernel)?;
    let mut formatter = IntelFormatter::new();
    formatter.options_mut().set_space_after_operand_separator(true);
    for (name, start, bytes) in &listing.functions {
        output.line(";", &format!("{name}:"), None);
        let code = &listing.text[*start..*start + *bytes];
        let mut decoder = Decoder::with_ip(64, code, *start as u64, DecoderOptions::NONE);
        let mut text = String::new();
        for instruction in &mut decoder {
            let at = instruction.ip() as usize;
            let next = listing.lines.partition_point(|(from, _)| *from <= at);
            let line = next.checked_sub(1).and_then(|before| listing.lines[before].1);
            text.clear();
            formatter.format(&instruction, &mut text);
            output.line(";", &format!("  {at:6x}  {text}"), line.and_then(place));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::without_place;

    #[test]
    fn places_are_taken_off_and_nothing_else() {
        let taken = [
            ("  %1: f32 = add %0 %0 @0:3:9", "  %1: f32 = add %0 %0", Some((0, 3))),
            ("  for %1: u32 in %0..%2 @1:9:1 {", "  for %1: u32 in %0..%2 {", Some((1, 9))),
            ("  if %1 {", "  if %1 {", None),
            ("  call @1()", "  call @1()", None),
        ];
        for (line, code, place) in taken {
            assert_eq!(without_place(line), (code.into(), place));
        }
    }
}
