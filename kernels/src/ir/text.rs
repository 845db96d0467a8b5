//! The text form of a kernel: what snapshots show, what file tests are written in, what fuzzers
//! change. `Display` writes it and [`parse`] reads it; each undoes the other for kernels whose
//! values are numbered in program order ([`Function::compact`]).
//!
//! ```text
//! file "examples/axpy.rs"                 one line per file that spans name
//! kernel "axpy"(a: f32, x: [f32], y: mut [f32], h: atomic [u32]) grid (len y) {
//!   site #0 bounds x @0:3:9               sites, then variables, each numbered from 0
//!   $0: f32
//!   $1: f32[8]                            an array
//!   %0: u32 = id.x @0:3:13                value, type, instruction, span if it has one
//!   check %2 #0 %0                        condition, site, and the index where there is one
//!   for %15: u32 in %0..%1 step 2 {
//!   …
//! }
//! helper "square"(v: f32) -> $0 {         `->` names the variable that is the result
//! ```
//!
//! A line holds one statement; `//` starts a comment. A collective says after the grid what becomes
//! of the result: `grid (len x) reduce add -> $0`; `workgroup (64, 1, 1)` and `contract` stand
//! before it. Parameters go by name if every name is a plain
//! identifier, not like `p3`, and no two are the same. Otherwise the names stand as strings in the
//! head, and elsewhere parameters go by position: `p0`, `p1`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use super::{
    Access, AtomicOp, Axis, BinaryOp, Block, CallArg, Collective, CollectiveKind, CollectiveOp,
    Const, Extent, Function, Helper, Inst, Kernel, Local, LocalDef, Param, ParamDef, ParamKind,
    Site, SiteId, Span, Stmt, Trap, Type, UnaryOp, Value, ValueDef,
};
use crate::error::KernelError;
use crate::verify::verify;

/// The largest number of a value, parameter, variable, site or helper in a text.
const ID_MAX: u32 = 1 << 20;

/// How deep blocks can be nested in a text: the parser and all that follows recurse as deep.
const DEPTH_MAX: usize = 256;

impl Display for Kernel {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for file in &self.files {
            writeln!(f, "file {}", Quoted(file))?;
        }
        let printer = Printer::new(&self.entry);
        write!(f, "kernel ")?;
        printer.head(f)?;
        write!(f, " grid ({})", list(&self.grid, |extent| printer.extent(*extent)))?;
        if let Some([x, y, z]) = self.workgroup {
            write!(f, " workgroup ({x}, {y}, {z})")?;
        }
        if self.contract {
            write!(f, " contract")?;
        }
        if let Some(Collective { kind, op }) = self.collective {
            write!(f, " {} {op}", kind_name(kind))?;
        }
        printer.function(f)?;
        for helper in &self.helpers {
            let printer = Printer::new(helper);
            write!(f, "helper ")?;
            printer.head(f)?;
            printer.function(f)?;
        }
        Ok(())
    }
}

/// A string literal.
struct Quoted<'t>(&'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"")?;
        for c in self.0.chars() {
            match c {
                '"' => write!(f, "\\\"")?,
                '\\' => write!(f, "\\\\")?,
                '\n' => write!(f, "\\n")?,
                '\r' => write!(f, "\\r")?,
                c => write!(f, "{c}")?,
            }
        }
        write!(f, "\"")
    }
}

/// A span after a space, nothing if it is unknown.
struct At(Span);

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Span { file, line, column } = self.0;
        if self.0 == Span::default() { Ok(()) } else { write!(f, " @{file}:{line}:{column}") }
    }
}

fn list<T>(items: &[T], text: impl Fn(&T) -> String) -> String {
    items.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn kind_name(kind: CollectiveKind) -> &'static str {
    match kind {
        CollectiveKind::Reduce => "reduce",
        CollectiveKind::Scan => "scan",
    }
}

/// Writes one function.
struct Printer<'k> {
    function: &'k Function,
    /// Whether parameters go by name.
    named: bool,
}

impl<'k> Printer<'k> {
    fn new(function: &'k Function) -> Printer<'k> {
        let names: BTreeSet<&str> = function.params.iter().map(|p| p.name.as_str()).collect();
        let plain = names.iter().all(|name| is_identifier(name) && position(name).is_none());
        Printer { function, named: plain && names.len() == function.params.len() }
    }

    fn head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let params = list(&self.function.params, |def| self.param_def(def));
        write!(f, "{}({params})", Quoted(&self.function.name))
    }

    fn param_def(&self, def: &ParamDef) -> String {
        let name = if self.named { def.name.clone() } else { Quoted(&def.name).to_string() };
        match def.kind {
            ParamKind::Scalar(ty) => format!("{name}: {ty}"),
            ParamKind::Buffer { element, access: Access::Read } => format!("{name}: [{element}]"),
            ParamKind::Buffer { element, access: Access::ReadWrite } => {
                format!("{name}: mut [{element}]")
            }
            ParamKind::Buffer { element, access: Access::Atomic } => {
                format!("{name}: atomic [{element}]")
            }
            ParamKind::Shared { element, len, atomic } => {
                let atomic = if atomic { "atomic " } else { "" };
                format!("{name}: shared {atomic}[{element}; {len}]")
            }
        }
    }

    fn param(&self, param: Param) -> String {
        match self.function.params.get(param.index()) {
            Some(def) if self.named => def.name.clone(),
            Some(_) | None => param.to_string(),
        }
    }

    fn extent(&self, extent: Extent) -> String {
        match extent {
            Extent::Len(p) => format!("len {}", self.param(p)),
            Extent::Scalar(p) => self.param(p),
            Extent::Fixed(size) => size.to_string(),
            Extent::Given => "_".to_owned(),
        }
    }

    /// The result, the tables and the body.
    fn function(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Function { result, sites, locals, body, .. } = self.function;
        if let Some(result) = result {
            write!(f, " -> {result}")?;
        }
        writeln!(f, " {{")?;
        for (at, Site { trap, span }) in sites.iter().enumerate() {
            let trap = match trap {
                Trap::Bounds(p) => format!("bounds {}", self.param(*p)),
                Trap::ArrayBounds(len) => format!("array {len}"),
                Trap::ZeroDivisor => "zero_divisor".to_owned(),
            };
            writeln!(f, "  site #{at} {trap}{}", At(*span))?;
        }
        for (at, LocalDef { ty, array, name }) in locals.iter().enumerate() {
            let name = name.as_ref().map_or_else(String::new, |name| format!(" {name}"));
            match array {
                Some(len) => writeln!(f, "  ${at}{name}: {ty}[{len}]")?,
                None => writeln!(f, "  ${at}{name}: {ty}")?,
            }
        }
        self.block(f, body, 1)?;
        writeln!(f, "}}")
    }

    fn block(&self, f: &mut Formatter<'_>, block: &Block, depth: usize) -> fmt::Result {
        for stmt in block {
            let indent = depth * 2;
            write!(f, "{:indent$}", "")?;
            self.stmt(f, stmt, depth)?;
        }
        Ok(())
    }

    /// The rest of the statement's line, and what is inside it.
    fn stmt(&self, f: &mut Formatter<'_>, stmt: &Stmt, depth: usize) -> fmt::Result {
        let indent = depth * 2;
        match stmt {
            Stmt::Let(value) => self.let_value(f, *value),
            Stmt::Set(local, value) => writeln!(f, "set {local} {value}"),
            Stmt::SetElement(local, index, value) => writeln!(f, "set {local}[{index}] {value}"),
            Stmt::Store(p, index, value) => {
                writeln!(f, "store {} {index} {value}", self.param(*p))
            }
            Stmt::AtomicStore(p, index, value) => {
                writeln!(f, "atomic_store {} {index} {value}", self.param(*p))
            }
            Stmt::Check { condition, site, index: None } => writeln!(f, "check {condition} {site}"),
            Stmt::Check { condition, site, index: Some(index) } => {
                writeln!(f, "check {condition} {site} {index}")
            }
            Stmt::If { condition, then, otherwise } => {
                writeln!(f, "if {condition} {{")?;
                self.block(f, then, depth + 1)?;
                if !otherwise.is_empty() {
                    writeln!(f, "{:indent$}}} else {{", "")?;
                    self.block(f, otherwise, depth + 1)?;
                }
                writeln!(f, "{:indent$}}}", "")
            }
            Stmt::For { counter, start, end, step, body } => {
                let span = self
                    .function
                    .values
                    .get(counter.index())
                    .map_or(At(Span::default()), |d| At(d.span));
                let ty = self.ty(*counter);
                write!(f, "for {counter}: {ty} in {start}..{end}")?;
                if *step != 1 {
                    write!(f, " step {step}")?;
                }
                writeln!(f, "{span} {{")?;
                self.block(f, body, depth + 1)?;
                writeln!(f, "{:indent$}}}", "")
            }
            Stmt::Loop(body) => {
                writeln!(f, "loop {{")?;
                self.block(f, body, depth + 1)?;
                writeln!(f, "{:indent$}}}", "")
            }
            Stmt::CallVoid(helper, args, span) => {
                writeln!(f, "call {helper}({}){}", self.args(args), At(*span))
            }
            Stmt::Barrier(span) => writeln!(f, "barrier{}", At(*span)),
            Stmt::Each(body) => {
                writeln!(f, "each {{")?;
                self.block(f, body, depth + 1)?;
                writeln!(f, "{:indent$}}}", "")
            }
            Stmt::Break => writeln!(f, "break"),
            Stmt::Continue => writeln!(f, "continue"),
            Stmt::Return => writeln!(f, "return"),
        }
    }

    /// The type of a value, `?` for one that does not exist: invalid kernels are printed too.
    fn ty(&self, value: Value) -> &'static str {
        self.function.values.get(value.index()).map_or("?", |def| def.ty.name())
    }

    fn let_value(&self, f: &mut Formatter<'_>, value: Value) -> fmt::Result {
        write!(f, "{value}: {} = ", self.ty(value))?;
        match self.function.values.get(value.index()) {
            Some(def) => {
                self.inst(f, &def.inst)?;
                writeln!(f, "{}", At(def.span))
            }
            None => writeln!(f, "?"),
        }
    }

    fn inst(&self, f: &mut Formatter<'_>, inst: &Inst) -> fmt::Result {
        match inst {
            Inst::Const(c) => write!(f, "const {c}"),
            Inst::Param(p) => write!(f, "param {}", self.param(*p)),
            Inst::Id(axis) => write!(f, "id.{}", axis.name()),
            Inst::Local(axis) => write!(f, "local.{}", axis.name()),
            Inst::Group(axis) => write!(f, "group.{}", axis.name()),
            Inst::Extent(axis) => write!(f, "extent.{}", axis.name()),
            Inst::Len(p) => write!(f, "len {}", self.param(*p)),
            Inst::Counter => write!(f, "counter"),
            Inst::Unary(op, a) => write!(f, "{op} {a}"),
            Inst::Binary(op, a, b) => write!(f, "{op} {a} {b}"),
            Inst::Fma(a, b, c) => write!(f, "fma {a} {b} {c}"),
            Inst::Select(c, a, b) => write!(f, "select {c} {a} {b}"),
            Inst::Cast(a) => write!(f, "cast {a}"),
            Inst::Bitcast(a) => write!(f, "bitcast {a}"),
            Inst::Get(local) => write!(f, "get {local}"),
            Inst::GetElement(local, index) => write!(f, "get {local}[{index}]"),
            Inst::Load(p, index) => write!(f, "load {} {index}", self.param(*p)),
            Inst::AtomicLoad(p, index) => write!(f, "atomic_load {} {index}", self.param(*p)),
            Inst::Atomic(op, p, index, operand) => {
                write!(f, "atomic {op} {} {index} {operand}", self.param(*p))
            }
            Inst::CompareSwap(p, index, expected, new) => {
                write!(f, "compare_swap {} {index} {expected} {new}", self.param(*p))
            }
            Inst::Call(helper, args) => write!(f, "call {helper}({})", self.args(args)),
        }
    }

    fn args(&self, args: &[CallArg]) -> String {
        list(args, |arg| match arg {
            CallArg::Value(v) => v.to_string(),
            CallArg::Buffer(p) => self.param(*p),
        })
    }
}

pub(super) fn is_identifier(name: &str) -> bool {
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(in_word)
}

fn in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The position that a word like `p3` means.
fn position(word: &str) -> Option<u32> {
    let digits = word.strip_prefix('p')?;
    let all = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit());
    // One too large to be a position is still none to be taken for a name.
    all.then(|| digits.parse().unwrap_or(u32::MAX))
}

/// Reads a kernel from its text form. The kernel is valid ([`verify`]).
///
/// # Errors
/// [`KernelError::Text`] with the line that does not parse, [`KernelError::Invalid`] if the kernel
/// breaks a rule of the IR.
pub fn parse(text: &str) -> Result<Kernel, KernelError> {
    let mut parser = Parser::new(text);
    let kernel = parser.kernel()?;
    verify(&kernel)?;
    Ok(kernel)
}

type Parsed<T> = Result<T, KernelError>;

/// What is left of a line.
#[derive(Clone, Copy)]
struct Line<'t> {
    rest: &'t str,
    number: usize,
}

impl<'t> Line<'t> {
    fn fail<T>(&self, message: impl Into<String>) -> Parsed<T> {
        Err(KernelError::Text { line: self.number, message: message.into() })
    }

    fn expected<T>(&self, what: &str) -> Parsed<T> {
        let found: String = self.rest.trim_start().chars().take(20).collect();
        let found = if found.is_empty() { "the end".to_owned() } else { format!("`{found}`") };
        self.fail(format!("expected {what}, found {found}"))
    }

    fn at(&self, token: &str) -> bool {
        self.rest.trim_start().starts_with(token)
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Parsed<()> {
        if self.eat(token) { Ok(()) } else { self.expected(&format!("`{token}`")) }
    }

    fn word(&mut self) -> Option<&'t str> {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !in_word(c)).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        if !is_identifier(word) {
            return None;
        }
        self.rest = rest;
        Some(word)
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let mut ahead = *self;
        let found = ahead.word() == Some(word);
        if found {
            *self = ahead;
        }
        found
    }

    /// What `read` makes of the next word.
    fn named<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Parsed<T> {
        let mut ahead = *self;
        match ahead.word().and_then(read) {
            Some(found) => {
                *self = ahead;
                Ok(found)
            }
            None => self.expected(what),
        }
    }

    fn ty(&mut self) -> Parsed<Type> {
        self.named("a type", Type::from_name)
    }

    fn number(&mut self) -> Parsed<u32> {
        let text = self.rest.trim_start();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, rest) = text.split_at(end);
        if digits.is_empty() {
            return self.expected("a number");
        }
        match digits.parse() {
            Ok(number) => {
                self.rest = rest;
                Ok(number)
            }
            Err(_) => self.fail(format!("{digits} is too large")),
        }
    }

    fn id(&mut self, prefix: &str) -> Parsed<u32> {
        self.expect(prefix)?;
        let number = self.number()?;
        if number > ID_MAX {
            return self.fail(format!("{prefix}{number} is too large"));
        }
        Ok(number)
    }

    fn value(&mut self) -> Parsed<Value> {
        self.id("%").map(Value)
    }

    fn local(&mut self) -> Parsed<Local> {
        self.id("$").map(Local)
    }

    /// `[%0]` or nothing.
    fn element(&mut self) -> Parsed<Option<Value>> {
        if !self.eat("[") {
            return Ok(None);
        }
        let index = self.value()?;
        self.expect("]")?;
        Ok(Some(index))
    }

    fn span(&mut self) -> Parsed<Span> {
        if !self.eat("@") {
            return Ok(Span::default());
        }
        let file = self.number()?;
        self.expect(":")?;
        let line = self.number()?;
        self.expect(":")?;
        Ok(Span { file, line, column: self.number()? })
    }

    fn string(&mut self) -> Parsed<String> {
        self.expect("\"")?;
        let mut text = String::new();
        let mut chars = self.rest.chars();
        while let Some(c) = chars.next() {
            match c {
                '"' => {
                    self.rest = chars.as_str();
                    return Ok(text);
                }
                '\\' => match chars.next() {
                    Some(c @ ('"' | '\\')) => text.push(c),
                    Some('n') => text.push('\n'),
                    Some('r') => text.push('\r'),
                    Some(_) | None => return self.fail(r#"escapes are \" \\ \n \r"#),
                },
                c => text.push(c),
            }
        }
        self.fail("a string is not closed")
    }

    fn constant(&mut self, ty: Type) -> Parsed<Const> {
        let text = self.rest.trim_start();
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (literal, rest) = text.split_at(end);
        match from_bits(literal, ty).or_else(|| from_decimal(literal, ty)) {
            Some(c) => {
                self.rest = rest;
                Ok(c)
            }
            None => self.expected(&format!("a constant of type {ty}")),
        }
    }

    fn end(&self) -> Parsed<()> {
        if self.rest.trim().is_empty() { Ok(()) } else { self.expected("the end of the line") }
    }
}

/// A constant from `0x…`, if it has no more bits than the type.
fn from_bits(literal: &str, ty: Type) -> Option<Const> {
    let bits = u64::from_str_radix(literal.strip_prefix("0x")?, 16).ok()?;
    let c = Const::new(ty, bits);
    (c.bits == bits).then_some(c)
}

fn from_decimal(literal: &str, ty: Type) -> Option<Const> {
    Some(match ty {
        Type::Bool => literal.parse::<bool>().ok()?.into(),
        Type::I32 => literal.parse::<i32>().ok()?.into(),
        Type::U32 => literal.parse::<u32>().ok()?.into(),
        Type::I64 => literal.parse::<i64>().ok()?.into(),
        Type::U64 => literal.parse::<u64>().ok()?.into(),
        // `inf` and what rounds to it would be read, but never written.
        Type::F32 => literal.parse::<f32>().ok().filter(|v| v.is_finite())?.into(),
        Type::F64 => literal.parse::<f64>().ok().filter(|v| v.is_finite())?.into(),
    })
}

/// The line up to its comment; `//` in a string starts none.
fn without_comment(line: &str) -> &str {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '/' if !quoted && line[at..].starts_with("//") => return &line[..at],
            _ => {}
        }
    }
    line
}

struct Parser<'t> {
    /// The lines that say something, without comments.
    lines: Vec<Line<'t>>,
    at: usize,
    /// What stands after the last line.
    end: Line<'t>,
    /// The function at hand, without its values.
    function: Function,
    /// Its values so far, in any order.
    values: BTreeMap<u32, ValueDef>,
    /// The parameters that go by name.
    names: Vec<Option<&'t str>>,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Parser<'t> {
        let lines: Vec<Line<'t>> = text
            .lines()
            .enumerate()
            .map(|(at, line)| Line { rest: without_comment(line).trim(), number: at + 1 })
            .collect();
        let end = Line { rest: "", number: lines.len().max(1) };
        Parser {
            lines: lines.into_iter().filter(|line| !line.rest.is_empty()).collect(),
            at: 0,
            end,
            function: Function::default(),
            values: BTreeMap::new(),
            names: Vec::new(),
        }
    }

    fn peek(&self) -> Line<'t> {
        self.lines.get(self.at).copied().unwrap_or(self.end)
    }

    fn next(&mut self) -> Line<'t> {
        let line = self.peek();
        self.at += 1;
        line
    }

    /// The next line after its first word, if that is this one.
    fn next_if(&mut self, word: &str) -> Option<Line<'t>> {
        let mut line = self.peek();
        if !line.eat_word(word) {
            return None;
        }
        self.at += 1;
        Some(line)
    }

    fn kernel(&mut self) -> Parsed<Kernel> {
        let mut files: Vec<Arc<str>> = Vec::new();
        while let Some(mut line) = self.next_if("file") {
            files.push(line.string()?.into());
            line.end()?;
        }
        let Some(mut line) = self.next_if("kernel") else {
            return self.peek().expected("`kernel`");
        };
        self.head(&mut line)?;
        let grid = self.grid(&mut line)?;
        let workgroup = workgroup(&mut line)?;
        let contract = line.eat_word("contract");
        let collective = collective(&mut line)?;
        let entry = self.function(line)?;
        let mut helpers = Vec::new();
        while let Some(mut line) = self.next_if("helper") {
            self.head(&mut line)?;
            helpers.push(self.function(line)?);
        }
        if self.at < self.lines.len() {
            return self.peek().expected("`helper`");
        }
        Ok(Kernel { entry, helpers, grid, workgroup, collective, contract, files })
    }

    /// Starts a function: its name and parameters.
    fn head(&mut self, line: &mut Line<'t>) -> Parsed<()> {
        self.function = Function { name: line.string()?, ..Function::default() };
        self.values.clear();
        self.names.clear();
        line.expect("(")?;
        if line.eat(")") {
            return Ok(());
        }
        loop {
            self.param_def(line)?;
            if line.eat(")") {
                return Ok(());
            }
            line.expect(",")?;
        }
    }

    fn param_def(&mut self, line: &mut Line<'t>) -> Parsed<()> {
        let (name, plain) = if line.at("\"") {
            (line.string()?, None)
        } else {
            match line.word() {
                Some(name) => (name.to_owned(), Some(name)),
                None => return line.expected("a parameter"),
            }
        };
        if plain.is_some() && self.names.contains(&plain) {
            return line.fail(format!("there are two parameters `{name}`"));
        }
        line.expect(":")?;
        if line.eat_word("shared") {
            let kind = shared(line)?;
            self.names.push(plain);
            self.function.params.push(ParamDef { name, kind });
            return Ok(());
        }
        let access = if line.eat_word("mut") {
            Some(Access::ReadWrite)
        } else if line.eat_word("atomic") {
            Some(Access::Atomic)
        } else {
            line.at("[").then_some(Access::Read)
        };
        let kind = match access {
            None => ParamKind::Scalar(line.ty()?),
            Some(access) => {
                line.expect("[")?;
                let element = line.ty()?;
                line.expect("]")?;
                ParamKind::Buffer { element, access }
            }
        };
        self.names.push(plain);
        self.function.params.push(ParamDef { name, kind });
        Ok(())
    }

    fn grid(&self, line: &mut Line<'t>) -> Parsed<Vec<Extent>> {
        if !line.eat_word("grid") {
            return line.expected("`grid`");
        }
        line.expect("(")?;
        let mut grid = Vec::new();
        loop {
            grid.push(self.extent(line)?);
            if line.eat(")") {
                return Ok(grid);
            }
            line.expect(",")?;
        }
    }

    fn extent(&self, line: &mut Line<'t>) -> Parsed<Extent> {
        if line.rest.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(Extent::Fixed(line.number()?));
        }
        // A scalar may be called `_`, too.
        let mut ahead = *line;
        if ahead.eat_word("_") && self.names.iter().all(|name| *name != Some("_")) {
            *line = ahead;
            return Ok(Extent::Given);
        }
        // A scalar may be called `len`.
        let mut ahead = *line;
        if ahead.eat_word("len") && !ahead.at(",") && !ahead.at(")") {
            *line = ahead;
            return Ok(Extent::Len(self.param(line)?));
        }
        Ok(Extent::Scalar(self.param(line)?))
    }

    fn param(&self, line: &mut Line<'t>) -> Parsed<Param> {
        let Some(word) = line.word() else {
            return line.expected("a parameter");
        };
        let named = self.names.iter().position(|name| *name == Some(word)).map(|at| at as u32);
        let found = named.or_else(|| position(word).filter(|at| (*at as usize) < self.names.len()));
        match found {
            Some(at) => Ok(Param(at)),
            None => line.fail(format!("there is no parameter `{word}`")),
        }
    }

    /// The rest of a function after its head.
    fn function(&mut self, mut line: Line<'t>) -> Parsed<Function> {
        if line.eat("->") {
            self.function.result = Some(line.local()?);
        }
        let result = line;
        line.expect("{")?;
        line.end()?;
        self.tables()?;
        let body = self.block(0)?;
        let close = self.next();
        self.close(close)?;
        if self.function.result.is_some_and(|l| l.index() >= self.function.locals.len()) {
            return result.fail("the result is no variable");
        }
        if let Some(hole) = (0u32..).zip(self.values.keys()).find(|(at, key)| at != *key) {
            return close.fail(format!("%{} is not defined", hole.0));
        }
        let mut function = std::mem::take(&mut self.function);
        function.values = std::mem::take(&mut self.values).into_values().collect();
        function.body = body;
        Ok(function)
    }

    /// Sites and variables.
    fn tables(&mut self) -> Parsed<()> {
        loop {
            let mut line = self.peek();
            if line.eat_word("site") {
                self.site(&mut line)?;
            } else if line.at("$") {
                self.local_def(&mut line)?;
            } else {
                return Ok(());
            }
            line.end()?;
            self.at += 1;
        }
    }

    fn site(&mut self, line: &mut Line<'t>) -> Parsed<()> {
        let next = self.function.sites.len();
        if line.id("#")? as usize != next {
            return line.fail(format!("the next site is #{next}"));
        }
        let trap = if line.eat_word("bounds") {
            Trap::Bounds(self.param(line)?)
        } else if line.eat_word("array") {
            Trap::ArrayBounds(line.number()?)
        } else if line.eat_word("zero_divisor") {
            Trap::ZeroDivisor
        } else {
            return line.expected("`bounds`, `array` or `zero_divisor`");
        };
        self.function.sites.push(Site { trap, span: line.span()? });
        Ok(())
    }

    fn local_def(&mut self, line: &mut Line<'t>) -> Parsed<()> {
        let next = self.function.locals.len();
        if line.local()?.index() != next {
            return line.fail(format!("the next variable is ${next}"));
        }
        let name = line.word().map(Arc::from);
        line.expect(":")?;
        let ty = line.ty()?;
        let mut array = None;
        if line.eat("[") {
            array = Some(line.number()?);
            line.expect("]")?;
        }
        self.function.locals.push(LocalDef { ty, array, name });
        Ok(())
    }

    /// Statements up to a `}`, which stays.
    fn block(&mut self, depth: usize) -> Parsed<Block> {
        let mut block = Vec::new();
        while self.at < self.lines.len() && !self.peek().at("}") {
            block.push(self.stmt(depth)?);
        }
        Ok(block)
    }

    /// A `}` alone on its line.
    fn close(&self, mut line: Line<'t>) -> Parsed<()> {
        line.expect("}")?;
        line.end()
    }

    /// A block that opens at the end of `line`, up to its `}`, which stays.
    fn inner(&mut self, mut line: Line<'t>, depth: usize) -> Parsed<Block> {
        line.expect("{")?;
        line.end()?;
        if depth >= DEPTH_MAX {
            return line.fail(format!("more than {DEPTH_MAX} blocks are nested"));
        }
        self.block(depth + 1)
    }

    fn stmt(&mut self, depth: usize) -> Parsed<Stmt> {
        let mut line = self.next();
        if line.at("%") {
            return self.let_value(line);
        }
        let Some(word) = line.word() else {
            return line.expected("a statement");
        };
        let stmt = match word {
            "if" => return self.if_else(line, depth),
            "for" => return self.count(line, depth),
            "loop" | "each" => {
                let body = self.inner(line, depth)?;
                let close = self.next();
                self.close(close)?;
                return Ok(if word == "loop" { Stmt::Loop(body) } else { Stmt::Each(body) });
            }
            "check" => check(&mut line)?,
            "set" => set(&mut line)?,
            "store" => Stmt::Store(self.param(&mut line)?, line.value()?, line.value()?),
            "atomic_store" => {
                Stmt::AtomicStore(self.param(&mut line)?, line.value()?, line.value()?)
            }
            "call" => {
                let (helper, args) = self.call(&mut line)?;
                Stmt::CallVoid(helper, args, line.span()?)
            }
            "barrier" => Stmt::Barrier(line.span()?),
            "break" => Stmt::Break,
            "continue" => Stmt::Continue,
            "return" => Stmt::Return,
            _ => return line.fail(format!("`{word}` starts no statement")),
        };
        line.end()?;
        Ok(stmt)
    }

    fn if_else(&mut self, mut line: Line<'t>, depth: usize) -> Parsed<Stmt> {
        let condition = line.value()?;
        let then = self.inner(line, depth)?;
        let mut close = self.next();
        let mut ahead = close;
        let mut otherwise = Vec::new();
        if ahead.eat("}") && ahead.eat_word("else") {
            otherwise = self.inner(ahead, depth)?;
            close = self.next();
        }
        self.close(close)?;
        Ok(Stmt::If { condition, then, otherwise })
    }

    fn count(&mut self, mut line: Line<'t>, depth: usize) -> Parsed<Stmt> {
        let counter = line.value()?;
        line.expect(":")?;
        let ty = line.ty()?;
        if !line.eat_word("in") {
            return line.expected("`in`");
        }
        let start = line.value()?;
        line.expect("..")?;
        let end = line.value()?;
        let step = if line.eat_word("step") { line.number()? } else { 1 };
        let span = line.span()?;
        self.define(&line, counter, ValueDef { ty, inst: Inst::Counter, span })?;
        let body = self.inner(line, depth)?;
        let close = self.next();
        self.close(close)?;
        Ok(Stmt::For { counter, start, end, step, body })
    }

    fn define(&mut self, line: &Line<'t>, value: Value, def: ValueDef) -> Parsed<()> {
        match self.values.insert(value.0, def) {
            None => Ok(()),
            Some(_) => line.fail(format!("{value} is defined twice")),
        }
    }

    fn let_value(&mut self, mut line: Line<'t>) -> Parsed<Stmt> {
        let value = line.value()?;
        line.expect(":")?;
        let ty = line.ty()?;
        line.expect("=")?;
        let inst = self.inst(&mut line, ty)?;
        let span = line.span()?;
        line.end()?;
        self.define(&line, value, ValueDef { ty, inst, span })?;
        Ok(Stmt::Let(value))
    }

    fn inst(&self, line: &mut Line<'t>, ty: Type) -> Parsed<Inst> {
        let start = *line;
        let Some(word) = line.word() else {
            return line.expected("an instruction");
        };
        Ok(match word {
            "const" => Inst::Const(line.constant(ty)?),
            "param" => Inst::Param(self.param(line)?),
            "id" => Inst::Id(axis(line)?),
            "local" => Inst::Local(axis(line)?),
            "group" => Inst::Group(axis(line)?),
            "extent" => Inst::Extent(axis(line)?),
            "len" => Inst::Len(self.param(line)?),
            "fma" => Inst::Fma(line.value()?, line.value()?, line.value()?),
            "select" => Inst::Select(line.value()?, line.value()?, line.value()?),
            "cast" => Inst::Cast(line.value()?),
            "bitcast" => Inst::Bitcast(line.value()?),
            "get" => {
                let local = line.local()?;
                match line.element()? {
                    Some(index) => Inst::GetElement(local, index),
                    None => Inst::Get(local),
                }
            }
            "load" => Inst::Load(self.param(line)?, line.value()?),
            "atomic_load" => Inst::AtomicLoad(self.param(line)?, line.value()?),
            "atomic" => {
                let op = line.named("an atomic operator", AtomicOp::from_text)?;
                Inst::Atomic(op, self.param(line)?, line.value()?, line.value()?)
            }
            "compare_swap" => {
                let (param, index) = (self.param(line)?, line.value()?);
                Inst::CompareSwap(param, index, line.value()?, line.value()?)
            }
            "call" => {
                let (helper, args) = self.call(line)?;
                Inst::Call(helper, args)
            }
            _ => {
                if let Some(op) = UnaryOp::from_text(word) {
                    Inst::Unary(op, line.value()?)
                } else if let Some(op) = BinaryOp::from_text(word) {
                    Inst::Binary(op, line.value()?, line.value()?)
                } else {
                    return start.expected("an instruction");
                }
            }
        })
    }

    fn call(&self, line: &mut Line<'t>) -> Parsed<(Helper, Box<[CallArg]>)> {
        let helper = Helper(line.id("@")?);
        line.expect("(")?;
        let mut args: Vec<CallArg> = Vec::new();
        if line.eat(")") {
            return Ok((helper, args.into()));
        }
        loop {
            args.push(if line.at("%") {
                CallArg::Value(line.value()?)
            } else {
                CallArg::Buffer(self.param(line)?)
            });
            if line.eat(")") {
                return Ok((helper, args.into()));
            }
            line.expect(",")?;
        }
    }
}

/// `.x`, `.y` or `.z`.
fn axis(line: &mut Line<'_>) -> Parsed<Axis> {
    line.expect(".")?;
    line.named("an axis", |name| Axis::ALL.into_iter().find(|axis| axis.name() == name))
}

/// `[f32; 256]` or `atomic [u32; 256]`.
fn shared(line: &mut Line<'_>) -> Parsed<ParamKind> {
    let atomic = line.eat_word("atomic");
    line.expect("[")?;
    let element = line.ty()?;
    line.expect(";")?;
    let len = line.number()?;
    line.expect("]")?;
    Ok(ParamKind::Shared { element, len, atomic })
}

/// `workgroup (x, y, z)` or nothing.
fn workgroup(line: &mut Line<'_>) -> Parsed<Option<[u32; 3]>> {
    if !line.eat_word("workgroup") {
        return Ok(None);
    }
    line.expect("(")?;
    let x = line.number()?;
    line.expect(",")?;
    let y = line.number()?;
    line.expect(",")?;
    let z = line.number()?;
    line.expect(")")?;
    Ok(Some([x, y, z]))
}

fn collective(line: &mut Line<'_>) -> Parsed<Option<Collective>> {
    let kind = if line.eat_word("reduce") {
        CollectiveKind::Reduce
    } else if line.eat_word("scan") {
        CollectiveKind::Scan
    } else {
        return Ok(None);
    };
    let op = line.named("a collective operator", CollectiveOp::from_text)?;
    Ok(Some(Collective { kind, op }))
}

fn check(line: &mut Line<'_>) -> Parsed<Stmt> {
    let condition = line.value()?;
    let site = SiteId(line.id("#")?);
    let index = if line.at("%") { Some(line.value()?) } else { None };
    Ok(Stmt::Check { condition, site, index })
}

fn set(line: &mut Line<'_>) -> Parsed<Stmt> {
    let local = line.local()?;
    Ok(match line.element()? {
        Some(index) => Stmt::SetElement(local, index, line.value()?),
        None => Stmt::Set(local, line.value()?),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::error::KernelError;

    const EVERY: &str = r#"file "examples/every \"thing\".rs"
file "a // b.rs"
kernel "every"(a: f32, n: u32, x: [f32], y: mut [f32], h: atomic [u32]) grid (n, 16, len x) {
  site #0 bounds x @0:3:9
  site #1 zero_divisor
  site #2 array 8
  $0: f32
  $1: f32[8]
  %0: u32 = id.x @0:3:13
  %1: u32 = len x
  %2: bool = lt %0 %1
  check %2 #0 %0
  %3: f32 = load x %0
  %4: f32 = const -1.5
  %5: f32 = const 0x7fc00000
  %6: f32 = fma %3 %4 %5
  %7: f32 = select %2 %3 %6
  %8: u32 = cast %7
  %9: u32 = bitcast %7
  %10: bool = ne %8 %9
  check %10 #1
  set $0 %7
  set $1[%0] %7
  %11: f32 = get $0
  %12: f32 = get $1[%0]
  %13: u32 = atomic_load h %0
  %14: u32 = atomic add h %0 %13
  %15: f32 = call @0(%11, x)
  call @1() @1:9:1
  call @1()
  %16: f32 = param a
  %17: f32 = sqrt %16
  atomic_store h %0 %13
  if %2 {
    store y %0 %17
  } else {
    store y %0 %15
  }
  for %18: u32 in %0..%1 step 2 @0:9:1 {
    if %10 {
      continue
    }
    %19: f32 = load y %18
  }
  for %20: u32 in %0..%1 {
  }
  loop {
    break
  }
  return
}
helper "square"(v: f32, x: [f32]) -> $0 {
  $0: f32
  %0: f32 = param v
  %1: f32 = mul %0 %0
  set $0 %1
}
helper "nothing"() {
}
"#;

    /// Workgroups.
    const GROUPS: &str = r#"kernel "groups"(x: [f32], y: mut [f32], tile: shared [f32; 64], bins: shared atomic [u32; 8]) grid (len x, _) workgroup (64, 1, 1) contract {
  %0: u32 = local.x
  %1: u32 = group.x @0:1:2
  %2: f32 = load tile %0
  %3: u32 = atomic_load bins %1
  barrier @0:3:4
  each {
    store y %0 %2
  }
  barrier
}
"#;

    /// Names that cannot stand for themselves, and a collective.
    const POSITIONS: &str = r#"kernel "\\ \n \r"("p1": f64, "p0": [i64], "": mut [i64]) grid (len p1) scan max -> $0 {
  $0: i64
  %0: f64 = param p0
  %1: i64 = cast %0
  set $0 %1
}
"#;

    #[test]
    fn text_round_trips() {
        for text in [EVERY, POSITIONS, GROUPS] {
            let kernel = parse(text).expect("the text is valid");
            assert_eq!(kernel.to_string(), text);
            assert_eq!(parse(&kernel.to_string()), Ok(kernel));
        }
    }

    #[test]
    fn comments_and_order_do_not_matter() {
        let text = "\n// why\nkernel \"k\"(len: u32) grid (len) { // head\n\n %1: u32 = const 0x2 \n\
                    %0:u32=add %1 %1\n}";
        let kernel = parse(text).expect("the text is valid");
        assert_eq!(kernel.entry.values.len(), 2);
    }

    #[test]
    fn errors_name_the_line() {
        let body = |line: &str| format!("kernel \"k\"(a: f32, x: [f32]) grid (1) {{\n{line}\n}}");
        let wrong = [
            (String::new(), 1),
            ("\n\nkernel k".to_owned(), 3),
            ("kernel \"k".to_owned(), 1),
            ("kernel \"\\x\"".to_owned(), 1),
            ("kernel \"k\"(a: f32, a: f32) grid (1) {\n}".to_owned(), 1),
            ("kernel \"k\"() grid (99999999999) {\n}".to_owned(), 1),
            ("kernel \"k\"() grid (1) -> $0 {\n}".to_owned(), 1),
            ("kernel \"k\"() grid (1) {\n\n".to_owned(), 2),
            ("kernel \"k\"() grid (1) {\n}\n}".to_owned(), 3),
            (body("%0: f32 = const 1e99"), 2),
            (body("%0: f32 = const nan"), 2),
            (body("%0: u32 = const 0x100000000"), 2),
            (body("%0: u32 = const 1 1"), 2),
            (body("%0: u33 = const 1"), 2),
            (body("%1048577: u32 = const 1"), 2),
            (body("%0: f32 = param b"), 2),
            (body("%0: f32 = param p2"), 2),
            (body("%0: u32 = id.w"), 2),
            (body("%0: u32 = frobnicate %1"), 2),
            (body("$1: f32"), 2),
            (body("site #1 zero_divisor"), 2),
            (body("frobnicate"), 2),
            (body("loop {\n}}"), 3),
            (body("%1: u32 = const 1"), 3),
            (body("%0: u32 = const 1\n%0: u32 = const 1"), 3),
        ];
        for (text, expected) in wrong {
            match parse(&text) {
                Err(KernelError::Text { line, .. }) => assert_eq!(line, expected, "{text}"),
                other => panic!("{text}\ngives {other:?}"),
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| {
            let (open, close) = ("loop {\n".repeat(depth), "}\n".repeat(depth));
            parse(&format!("kernel \"k\"() grid (1) {{\n{open}{close}}}"))
        };
        assert!(nested(256).is_ok());
        assert!(matches!(nested(257), Err(KernelError::Text { line: 258, .. })));
    }

    #[test]
    fn truncated_text_is_an_error_or_a_kernel() {
        for text in [EVERY, POSITIONS, GROUPS] {
            for (at, _) in text.char_indices() {
                let _ = parse(&text[..at]);
            }
        }
    }
}
