//! What pieces leave to each other: values, variables, arrays and returns, each in a shared array
//! with an element for every invocation, and the zeroing of shared arrays.

use std::collections::{HashMap, HashSet};

use super::{add, constant, number_in_group};
use crate::ir::{
    BinaryOp, Block, Const, Function, Inst, Local, Param, ParamDef, ParamKind, Stmt, Type, Value,
    defined,
};

/// Steps that a value may take to be computed again rather than kept.
const STEPS_MAX: usize = 6;

/// Makes pieces independent of what wasm locals or registers hold between them.
pub(super) fn thread(function: &mut Function, size: [u32; 3]) {
    let mut body = std::mem::take(&mut function.body);
    let pieces = survey(function, &body);
    let mut state = State {
        values: HashMap::new(),
        locals: HashMap::new(),
        arrays: HashMap::new(),
        left: None,
        width: size.iter().product(),
        line: size[1..] == [1, 1],
    };
    state.plan(function, &pieces);
    let zeroed = state.zeroed(function, &pieces);
    let before = function.clone();
    let mut thread = Thread { function, before, state, pieces, at: 0, size };
    thread.block(&mut body);
    if let Some(prologue) = thread.zero(&zeroed) {
        body.insert(0, Stmt::Each(prologue));
    }
    function.body = body;
}

/// What a piece does with what others may know.
#[derive(Default)]
struct Piece {
    /// It runs once, first to last, whatever happens.
    straight: bool,
    in_loop: bool,
    defined: HashSet<Value>,
    used: HashSet<Value>,
    locals: HashMap<Local, Use>,
    /// Shared arrays whose first use fills them, or does not.
    shared: HashMap<Param, bool>,
    returns: bool,
}

/// How a piece uses a variable.
#[derive(Clone, Copy, Default)]
struct Use {
    /// It may look at what the variable held before.
    looks: bool,
    writes: bool,
}

fn survey(function: &Function, body: &Block) -> Vec<Piece> {
    let mut pieces = Vec::new();
    survey_block(function, body, true, false, &mut pieces);
    pieces
}

fn survey_block(
    function: &Function,
    block: &Block,
    straight: bool,
    in_loop: bool,
    pieces: &mut Vec<Piece>,
) {
    for stmt in block {
        if let Stmt::Each(body) = stmt {
            let mut piece = Piece { straight, in_loop, ..Piece::default() };
            for stmt in body {
                defined(stmt, &mut piece.defined);
                note(function, stmt, true, &mut piece);
            }
            pieces.push(piece);
            continue;
        }
        let loops = matches!(stmt, Stmt::For { .. } | Stmt::Loop(_));
        for inner in stmt.blocks() {
            survey_block(function, inner, false, in_loop || loops, pieces);
        }
    }
}

/// Notes a statement and those inside it; `always` where it is reached by all invocations.
fn note(function: &Function, stmt: &Stmt, always: bool, piece: &mut Piece) {
    let mut looks = None;
    match stmt {
        Stmt::Let(value) => {
            let inst = &function.def(*value).inst;
            piece.used.extend(inst.operands());
            match inst {
                Inst::Get(local) | Inst::GetElement(local, _) => looks = Some(*local),
                Inst::Load(param, _)
                | Inst::AtomicLoad(param, _)
                | Inst::Atomic(_, param, ..)
                | Inst::CompareSwap(param, ..) => {
                    piece.shared.entry(*param).or_insert(false);
                }
                _ => {}
            }
        }
        Stmt::Set(local, _) => {
            let held = piece.locals.entry(*local).or_insert(Use { looks: !always, writes: true });
            held.writes = true;
        }
        Stmt::SetElement(local, ..) => {
            let held = piece.locals.entry(*local).or_insert(Use { looks: true, writes: true });
            held.writes = true;
        }
        Stmt::Store(param, index, _) => {
            let fills = always && !piece.returns && fills(function, *param, *index);
            piece.shared.entry(*param).or_insert(fills);
        }
        Stmt::AtomicStore(param, ..) => {
            piece.shared.entry(*param).or_insert(false);
        }
        Stmt::Return => piece.returns = true,
        _ => {}
    }
    if let Some(local) = looks {
        piece.locals.entry(local).or_insert(Use { looks: true, writes: false });
    }
    piece.used.extend(stmt.uses());
    for inner in stmt.blocks() {
        for stmt in inner {
            note(function, stmt, false, piece);
        }
    }
}

/// Whether a store by all invocations of a group of one axis at this index reaches an element for
/// each of them.
fn fills(function: &Function, param: Param, index: Value) -> bool {
    let own = matches!(function.def(index).inst, Inst::Local(crate::ir::Axis::X));
    own && matches!(function.params[param.index()].kind, ParamKind::Shared { .. })
}

/// Where something is kept between pieces.
#[derive(Clone, Copy)]
struct Slot {
    param: Param,
    ty: Type,
}

struct State {
    values: HashMap<Value, Slot>,
    locals: HashMap<Local, Slot>,
    arrays: HashMap<Local, Slot>,
    /// Whether the invocation has returned.
    left: Option<Slot>,
    /// Invocations of a group.
    width: u32,
    /// Whether groups have one axis.
    line: bool,
}

impl State {
    fn plan(&mut self, function: &mut Function, pieces: &[Piece]) {
        let mut values: Vec<Value> = Vec::new();
        for piece in pieces {
            for other in pieces {
                let shared = other.used.iter().filter(|value| piece.defined.contains(value));
                if !std::ptr::eq(piece, other) {
                    values.extend(shared);
                }
            }
        }
        values.sort_unstable();
        values.dedup();
        let own: HashSet<Value> = pieces.iter().flat_map(|piece| &piece.defined).copied().collect();
        for value in values {
            if steps(function, &own, value).is_none() {
                let slot = self.slot(function, function.ty(value), 1);
                self.values.insert(value, slot);
            }
        }
        for at in 0..function.locals.len() {
            let local = Local(at as u32);
            let uses: Vec<(&Piece, Use)> =
                pieces.iter().filter_map(|p| Some((p, *p.locals.get(&local)?))).collect();
            let writers = uses.iter().filter(|(_, used)| used.writes).count();
            let crosses = uses.iter().any(|(piece, used)| {
                let others = writers - usize::from(used.writes);
                used.looks && (others > 0 || (piece.in_loop && used.writes))
            });
            if !crosses {
                continue;
            }
            let def = function.locals[at].clone();
            let slot = self.slot(function, def.ty, def.array.unwrap_or(1));
            match def.array {
                None => self.locals.insert(local, slot),
                Some(_) => self.arrays.insert(local, slot),
            };
        }
        let first = pieces.iter().position(|piece| piece.returns);
        if first.is_some_and(|at| at + 1 < pieces.len() || pieces[at].in_loop) {
            self.left = Some(self.slot(function, Type::Bool, 1));
        }
    }

    fn slot(&self, function: &mut Function, ty: Type, elements: u32) -> Slot {
        let element = if ty == Type::Bool { Type::U32 } else { ty };
        let len = self.width.saturating_mul(elements);
        let kind = ParamKind::Shared { element, len, atomic: false };
        let name = format!("state{}", function.params.len());
        function.params.push(ParamDef { name, kind });
        Slot { param: Param(function.params.len() as u32 - 1), ty }
    }

    /// The arrays that must be zero at the start of a group.
    fn zeroed(&self, function: &Function, pieces: &[Piece]) -> Vec<Param> {
        let mut zeroed = Vec::new();
        for (param, _, len) in function.shared() {
            let first = pieces.iter().position(|piece| piece.shared.contains_key(&param));
            let filled = first.is_some_and(|at| {
                // Whoever has returned before fills nothing.
                let all = pieces[..at].iter().all(|piece| !piece.returns);
                all && pieces[at].straight && pieces[at].shared[&param]
            });
            if first.is_some() && !(filled && self.line && len == self.width) {
                zeroed.push(param);
            }
        }
        for (local, slot) in &self.locals {
            let first = pieces.iter().find(|piece| piece.locals.contains_key(local));
            let set = first.is_some_and(|piece| piece.straight && !piece.locals[local].looks);
            if !set {
                zeroed.push(slot.param);
            }
        }
        zeroed.extend(self.arrays.values().chain(&self.left).map(|slot| slot.param));
        zeroed.sort_unstable();
        zeroed
    }
}

/// The values to compute, in order, to have this one again from what the group knows; `None` where
/// that cannot be, or takes too long.
fn steps(function: &Function, own: &HashSet<Value>, value: Value) -> Option<Vec<Value>> {
    let mut steps = Vec::new();
    add_steps(function, own, value, &mut steps).then_some(steps)
}

fn add_steps(
    function: &Function,
    own: &HashSet<Value>,
    value: Value,
    steps: &mut Vec<Value>,
) -> bool {
    if !own.contains(&value) || steps.contains(&value) {
        return true;
    }
    let def = function.def(value);
    let divides =
        matches!(def.inst, Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..)) && def.ty.is_int();
    if !def.inst.is_pure() || divides {
        return false;
    }
    let operands = def.inst.operands();
    let known = operands.iter().all(|&operand| add_steps(function, own, operand, steps));
    steps.push(value);
    known && steps.len() <= STEPS_MAX
}

struct Thread<'f> {
    function: &'f mut Function,
    /// The function as it was: pieces that are through name their own copies of values.
    before: Function,
    state: State,
    pieces: Vec<Piece>,
    at: usize,
    size: [u32; 3],
}

impl Thread<'_> {
    fn block(&mut self, block: &mut Block) {
        for stmt in block {
            if let Stmt::Each(body) = stmt {
                *body = self.piece(std::mem::take(body));
                self.at += 1;
                continue;
            }
            for inner in stmt.blocks_mut() {
                self.block(inner);
            }
        }
    }

    fn piece(&mut self, body: Block) -> Block {
        let (number, mut out) = number_in_group(self.function, self.size);
        if let (Some(left), true) = (self.state.left, self.at > 0) {
            let gone = self.load(left, number, &mut out);
            let then = vec![Stmt::Return];
            out.push(Stmt::If { condition: gone, then, otherwise: Vec::new() });
        }
        let renamed = self.fetch_values(number, &mut out);
        let locals = self.kept_locals();
        for &(local, slot, used) in &locals {
            if used.looks {
                let value = self.load(slot, number, &mut out);
                out.push(Stmt::Set(local, value));
            }
        }
        let body = self.rewrite(body, number, &renamed);
        let ends = matches!(body.last(), Some(Stmt::Return));
        out.extend(body);
        for (local, slot, used) in locals {
            if used.writes && !ends {
                let ty = self.function.locals[local.index()].ty;
                let value = add(self.function, ty, Inst::Get(local));
                out.push(Stmt::Let(value));
                self.store(slot, number, value, &mut out);
            }
        }
        out
    }

    /// The variables of the piece that are kept, in order.
    fn kept_locals(&self) -> Vec<(Local, Slot, Use)> {
        let piece = &self.pieces[self.at];
        let mut locals: Vec<_> = piece
            .locals
            .iter()
            .filter_map(|(local, used)| Some((*local, *self.state.locals.get(local)?, *used)))
            .collect();
        locals.sort_unstable_by_key(|(local, ..)| *local);
        locals
    }

    /// Computes or loads what the piece uses of other pieces; gives the new names.
    fn fetch_values(&mut self, number: Value, out: &mut Block) -> HashMap<Value, Value> {
        let own: HashSet<Value> = self.pieces.iter().flat_map(|p| &p.defined).copied().collect();
        let piece = &self.pieces[self.at];
        let mut foreign: Vec<Value> = piece
            .used
            .iter()
            .filter(|value| own.contains(value) && !piece.defined.contains(value))
            .copied()
            .collect();
        foreign.sort_unstable();
        let mut renamed = HashMap::new();
        for value in foreign {
            if let Some(slot) = self.state.values.get(&value).copied() {
                let loaded = self.load(slot, number, out);
                renamed.insert(value, loaded);
                continue;
            }
            for step in steps(&self.before, &own, value).unwrap_or_default() {
                if renamed.contains_key(&step) {
                    continue;
                }
                let def = self.before.def(step).clone();
                let mut inst = def.inst;
                inst.map_operands(&mut |v| renamed.get(&v).copied().unwrap_or(v));
                let again = add(self.function, def.ty, inst);
                self.function.values[again.index()].span = def.span;
                out.push(Stmt::Let(again));
                renamed.insert(step, again);
            }
        }
        renamed
    }

    fn rewrite(&mut self, block: Block, number: Value, renamed: &HashMap<Value, Value>) -> Block {
        let rename = |v: Value| renamed.get(&v).copied().unwrap_or(v);
        let mut out = Vec::new();
        for mut stmt in block {
            stmt.map_values(&mut |v| rename(v));
            for inner in stmt.blocks_mut() {
                *inner = self.rewrite(std::mem::take(inner), number, renamed);
            }
            match stmt {
                Stmt::Let(value) => {
                    self.function.values[value.index()].inst.map_operands(&mut |v| rename(v));
                    self.let_value(value, number, &mut out);
                }
                Stmt::SetElement(local, index, value) if self.state.arrays.contains_key(&local) => {
                    let slot = self.state.arrays[&local];
                    let at = self.element(index, number, &mut out);
                    self.store(slot, at, value, &mut out);
                }
                Stmt::Return => {
                    if let Some(left) = self.state.left {
                        let gone = add(self.function, Type::Bool, Inst::Const(true.into()));
                        out.push(Stmt::Let(gone));
                        self.store(left, number, gone, &mut out);
                    }
                    out.push(Stmt::Return);
                }
                _ => out.push(stmt),
            }
        }
        out
    }

    fn let_value(&mut self, value: Value, number: Value, out: &mut Block) {
        if let Inst::GetElement(local, index) = self.function.def(value).inst
            && let Some(slot) = self.state.arrays.get(&local).copied()
        {
            let at = self.element(index, number, out);
            let mut element = Inst::Load(slot.param, at);
            if slot.ty == Type::Bool {
                let bits = add(self.function, Type::U32, element);
                let zero = constant(self.function, 0);
                out.extend([bits, zero].map(Stmt::Let));
                element = Inst::Binary(BinaryOp::Ne, bits, zero);
            }
            self.function.values[value.index()].inst = element;
        }
        out.push(Stmt::Let(value));
        if let Some(slot) = self.state.values.get(&value).copied() {
            self.store(slot, number, value, out);
        }
    }

    /// `index · width + number`: neighbours in the group are neighbours in memory.
    fn element(&mut self, index: Value, number: Value, out: &mut Block) -> Value {
        let width = constant(self.function, self.state.width);
        let row = add(self.function, Type::U32, Inst::Binary(BinaryOp::Mul, index, width));
        let at = add(self.function, Type::U32, Inst::Binary(BinaryOp::Add, row, number));
        out.extend([width, row, at].map(Stmt::Let));
        at
    }

    fn load(&mut self, slot: Slot, at: Value, out: &mut Block) -> Value {
        let stored = if slot.ty == Type::Bool { Type::U32 } else { slot.ty };
        let value = add(self.function, stored, Inst::Load(slot.param, at));
        out.push(Stmt::Let(value));
        if slot.ty != Type::Bool {
            return value;
        }
        let zero = constant(self.function, 0);
        let bool = add(self.function, Type::Bool, Inst::Binary(BinaryOp::Ne, value, zero));
        out.extend([zero, bool].map(Stmt::Let));
        bool
    }

    fn store(&mut self, slot: Slot, at: Value, value: Value, out: &mut Block) {
        let stored = if slot.ty == Type::Bool {
            let (one, zero) = (constant(self.function, 1), constant(self.function, 0));
            let bits = add(self.function, Type::U32, Inst::Select(value, one, zero));
            out.extend([one, zero, bits].map(Stmt::Let));
            bits
        } else {
            value
        };
        out.push(Stmt::Store(slot.param, at, stored));
    }

    /// A piece that zeroes these arrays, each invocation its elements.
    fn zero(&mut self, params: &[Param]) -> Option<Block> {
        if params.is_empty() {
            return None;
        }
        let (number, mut out) = number_in_group(self.function, self.size);
        let width = self.state.width;
        for &param in params {
            let ParamKind::Shared { element, len, atomic } =
                self.function.params[param.index()].kind
            else {
                continue;
            };
            let zero = add(self.function, element, Inst::Const(Const::zero(element)));
            out.push(Stmt::Let(zero));
            let write = |at: Value| match atomic {
                true => Stmt::AtomicStore(param, at, zero),
                false => Stmt::Store(param, at, zero),
            };
            let rounds = len / width;
            if rounds == 1 {
                out.push(write(number));
            } else if rounds > 1 {
                let (from, to) = (constant(self.function, 0), constant(self.function, rounds));
                let counter = add(self.function, Type::U32, Inst::Counter);
                let mut body = Vec::new();
                let at = self.element(counter, number, &mut body);
                body.push(write(at));
                out.extend([from, to].map(Stmt::Let));
                out.push(Stmt::For { counter, start: from, end: to, step: 1, body });
            }
            if !len.is_multiple_of(width) {
                let (base, rest) =
                    (constant(self.function, rounds * width), constant(self.function, len % width));
                let last = add(self.function, Type::Bool, Inst::Binary(BinaryOp::Lt, number, rest));
                let at = add(self.function, Type::U32, Inst::Binary(BinaryOp::Add, number, base));
                out.extend([base, rest, last, at].map(Stmt::Let));
                let then = vec![write(at)];
                out.push(Stmt::If { condition: last, then, otherwise: Vec::new() });
            }
        }
        Some(out)
    }
}
