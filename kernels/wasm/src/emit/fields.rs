//! Indices that are numbers in memory, or a few bits of them, and lead each lane elsewhere: every lane loads its own.
//!
//! ```text
//! bins[x[id.x] & 255] += 1        four loads of a byte,     where a vector of four numbers is one load,
//! bins[x[id.x] >> 8 & 15] += 1    or of a number, its bits  and twelve instructions take its lanes apart
//! ```
//!
//! Measured on counts of 2²⁴ numbers in memory, one thread of an EPYC (Zen 5): 3.3 ms, where plain Rust takes 3.4 and
//! lanes taken apart 4.2. To touch first what a row loads was quicker on an older Xeon (12.9 ms to 9), and is slower
//! there: by 1.07 a kilobyte ahead, by 1.3 in parts of 16.

use std::collections::{HashMap, HashSet};

use crossover_kernels::ir::{BinaryOp, Function, Inst, Param, Stmt, Type, Value};
use wasm_encoder::MemArg;

use super::body::{Body, Form, Width};
use super::divergence::Variance;
use super::memory::Places;
use super::stride::Linear;

/// Bits of an element of a buffer that nobody writes, as an unsigned number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    buffer: Param,
    index: Value,
    /// The lowest bit, and how many there are: one at least.
    from: u32,
    width: u32,
}

/// What is held so.
#[derive(Debug, Default)]
pub(super) struct Fields {
    fields: HashMap<Value, Field>,
    /// Those, and what nothing else is computed from.
    covered: HashSet<Value>,
}

impl Fields {
    /// The indices of a body of lanes that are used as such alone, and computed where all lanes are active.
    pub(super) fn of(form: Form<'_>, uses: &[u32]) -> Fields {
        let mut fields = Fields::default();
        if form.width == Width::Scalar || form.facts.masked_return {
            return fields;
        }
        let body = &form.function.body;
        let scattered = body.iter().filter_map(|stmt| scattered(form.function, stmt));
        let scattered = scattered.filter(|at| form.facts.variance(*at) == Variance::Varying);
        for index in scattered.filter(|at| uses[at.index()] == 1) {
            let mut chain = Vec::new();
            let Some(field) = field(form, index, &mut chain) else { continue };
            let at_top = |at: &Value| body.iter().any(|s| matches!(s, Stmt::Let(v) if v == at));
            if chain.iter().all(at_top) {
                fields.fields.insert(index, field);
                fields.covered.extend(chain.into_iter().take_while(|at| uses[at.index()] == 1));
            }
        }
        fields
    }

    /// Whether a value has no code of its own.
    pub(super) fn covers(&self, value: Value) -> bool {
        self.covered.contains(&value)
    }
}

/// The index of what is written, which may lead lanes elsewhere.
fn scattered(function: &Function, stmt: &Stmt) -> Option<Value> {
    match stmt {
        Stmt::AtomicStore(_, index, _) | Stmt::Store(_, index, _) => Some(*index),
        Stmt::Let(value) => match function.def(*value).inst {
            Inst::Atomic(_, _, index, _) | Inst::CompareSwap(_, index, ..) => Some(index),
            _ => None,
        },
        _ => None,
    }
}

/// The field that a value is, and what it is computed from, itself first.
fn field(form: Form<'_>, value: Value, chain: &mut Vec<Value>) -> Option<Field> {
    chain.push(value);
    let function = form.function;
    let def = function.def(value);
    if !matches!(def.ty, Type::U32 | Type::I32) {
        return None;
    }
    let constant = |value: Value| function.as_const(value).map(|c| c.bits as u32);
    match def.inst {
        Inst::Load(buffer, index) => {
            let is_linear = matches!(form.facts.variance(index), Variance::Linear(_));
            let whole = Field { buffer, index, from: 0, width: u32::BITS };
            (is_linear && function.is_read_only(buffer)).then_some(whole)
        }
        Inst::Cast(a) | Inst::Bitcast(a) => field(form, a, chain),
        Inst::Binary(BinaryOp::And, a, b) => {
            let (a, mask) = match (constant(a), constant(b)) {
                (None, Some(mask)) => (a, mask),
                (Some(mask), None) => (b, mask),
                (_, _) => return None,
            };
            let inner = field(form, a, chain)?;
            let width = mask.trailing_ones();
            let is_low = mask.leading_zeros() + width == u32::BITS;
            (is_low && width > 0).then(|| Field { width: width.min(inner.width), ..inner })
        }
        Inst::Binary(BinaryOp::Shr, a, by) if def.ty == Type::U32 => {
            let by = constant(by)? % u32::BITS;
            let inner = field(form, a, chain)?;
            // Of no bits nothing is left to load, and the shift to them might be by 32, which is one by none.
            let width = inner.width.checked_sub(by).filter(|width| *width > 0)?;
            Some(Field { from: inner.from + by, width, ..inner })
        }
        _ => None,
    }
}

impl Body<'_> {
    /// What the lanes' addresses are made of, where their indices are in memory.
    pub(super) fn field_places(&self, index: Value, shift: u32) -> Option<Places> {
        let field = *self.fields.fields.get(&index)?;
        let linear = Linear::of(field.index, self.rep(field.index))?;
        Some(Places::Fields { field, linear, shift })
    }

    /// What the lanes' addresses are made of.
    pub(super) fn places(&mut self, index: Value, shift: u32) -> Places {
        let fields = self.field_places(index, shift);
        fields.unwrap_or_else(|| self.code.places(self.rep(index), shift))
    }

    /// Pushes the byte address of a lane's element.
    pub(super) fn lane_address(&mut self, places: Places, lane: u32) {
        let Places::Fields { field, linear, shift } = places else {
            return self.code.lane_address(places, lane);
        };
        self.load_field(field, linear, lane);
        self.code.sink().i32_const(shift.cast_signed()).i32_shl();
    }

    fn load_field(&mut self, Field { buffer, from, width, .. }: Field, linear: Linear, lane: u32) {
        let in_bytes = from % 8 == 0 && matches!(width, 8 | 16);
        let (bytes, skip) = if in_bytes { (width / 8, from / 8) } else { (4, 0) };
        let arg = self.linear_address(buffer, linear, lane, Type::U32, skip);
        let arg = MemArg { align: bytes.ilog2(), ..arg };
        let mut sink = self.code.sink();
        match bytes {
            1 => sink.i32_load8_u(arg),
            2 => sink.i32_load16_u(arg),
            _ => sink.i32_load(arg),
        };
        if !in_bytes && from > 0 {
            sink.i32_const(from.cast_signed()).i32_shr_u();
        }
        if !in_bytes && from + width < u32::BITS {
            let mask = (1u32 << width) - 1;
            sink.i32_const(mask.cast_signed()).i32_and();
        }
    }
}
