//! The module around the functions: its types, memories, globals and exports.

use crossover_kernels::ir::{Kernel, ParamKind, Span};
use wasm_encoder::{
    CodeSection, ConstExpr, ExportKind, ExportSection, FunctionSection, GlobalSection, GlobalType,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};

use super::code::{Written, val_type};
use super::grid::Mode;
use super::layout::{Layout, RANGE_PARAMS};
use super::{GLOBALS, PARTIAL, PARTIAL_NAME};

/// Pages of 64 KiB that every memory has: all of its 4 GiB.
const PAGES: u64 = 1 << 16;

/// The module around the functions of these modes.
pub(super) fn module(
    kernel: &Kernel,
    layout: &Layout,
    scratch_bytes: usize,
    modes: &[Mode],
    functions: &[Written],
) -> (Vec<u8>, Vec<(usize, Span)>) {
    let mut module = Module::new();
    module.section(&types(kernel, layout, modes));
    let mut section = FunctionSection::new();
    for at in 0..modes.len() {
        section.function(at as u32);
    }
    module.section(&section);
    module.section(&memories(layout, scratch_bytes));
    module.section(&globals(kernel));
    module.section(&exports(kernel, memories_count(layout, scratch_bytes), modes));
    let mut code = CodeSection::new();
    for written in functions {
        code.function(&written.function);
    }
    module.section(&code);
    let bytes = module.finish();
    // The functions are the end of the module, each behind its length.
    let mut end = bytes.len();
    let mut lines = Vec::new();
    for written in functions.iter().rev() {
        let start = end - written.function.byte_len();
        lines.extend(written.lines.iter().rev().map(|(at, span)| (start + at, *span)));
        end = start - leb_bytes(written.function.byte_len());
    }
    lines.reverse();
    (bytes, lines)
}

/// Bytes of a number in LEB128.
fn leb_bytes(number: usize) -> usize {
    (number.max(1).ilog2() as usize + 7) / 7
}

/// Every parameter of the function of this mode.
fn signature(kernel: &Kernel, layout: &Layout, mode: Mode) -> Vec<ValType> {
    let mut params = vec![ValType::I32; RANGE_PARAMS as usize];
    let arguments = &kernel.entry.params[..kernel.entry.arity()];
    params.extend(arguments.iter().map(|param| match param.kind {
        ParamKind::Scalar(ty) => val_type(ty),
        ParamKind::Buffer { .. } | ParamKind::Shared { .. } => ValType::I32,
    }));
    if layout.has_extents {
        params.extend([ValType::I32; 3]);
    }
    if mode == Mode::Scan {
        params.extend(kernel.contribution().map(val_type));
    }
    params
}

fn types(kernel: &Kernel, layout: &Layout, modes: &[Mode]) -> TypeSection {
    let mut types = TypeSection::new();
    for mode in modes {
        types.ty().function(signature(kernel, layout, *mode), [ValType::I32]);
    }
    types
}

fn memories_count(layout: &Layout, scratch_bytes: usize) -> u32 {
    layout.buffers + u32::from(scratch_bytes > 0)
}

fn memories(layout: &Layout, scratch_bytes: usize) -> MemorySection {
    let mut memories = MemorySection::new();
    for _ in 0..memories_count(layout, scratch_bytes) {
        memories.memory(MemoryType {
            minimum: PAGES,
            maximum: Some(PAGES),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
    }
    memories
}

fn globals(kernel: &Kernel) -> GlobalSection {
    let mut globals = GlobalSection::new();
    let of = |val_type| GlobalType { val_type, mutable: true, shared: false };
    for _ in 0..PARTIAL {
        globals.global(of(ValType::I32), &ConstExpr::i32_const(0));
    }
    if let Some(ty) = kernel.contribution() {
        let zero = match val_type(ty) {
            ValType::I64 => ConstExpr::i64_const(0),
            ValType::F32 => ConstExpr::f32_const(0.0.into()),
            ValType::F64 => ConstExpr::f64_const(0.0.into()),
            ValType::I32 | ValType::V128 | ValType::Ref(_) => ConstExpr::i32_const(0),
        };
        globals.global(of(val_type(ty)), &zero);
    }
    globals
}

/// The name under which a memory is exported, for the host to lay it over a slot.
pub(crate) fn memory_name(at: usize) -> String {
    format!("memory{at}")
}

fn exports(kernel: &Kernel, memories: u32, modes: &[Mode]) -> ExportSection {
    let mut exports = ExportSection::new();
    for at in 0..memories {
        exports.export(&memory_name(at as usize), ExportKind::Memory, at);
    }
    for (at, mode) in modes.iter().enumerate() {
        exports.export(mode.name(), ExportKind::Func, at as u32);
    }
    for (at, name) in GLOBALS.iter().enumerate() {
        exports.export(name, ExportKind::Global, at as u32);
    }
    if kernel.contribution().is_some() {
        exports.export(PARTIAL_NAME, ExportKind::Global, PARTIAL);
    }
    exports
}
