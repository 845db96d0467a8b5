//! Tail calls: a helper that calls itself as the last thing it does becomes a loop.
//!
//! ```text
//! h(x) { …; return h(y) }   ==   h(x) { $x = x; loop { locals = 0; …; $x = y; continue } }
//! ```
//!
//! A call is the last thing if nothing follows it on the way to the end, or to a `return`, but moves of
//! its result into the function's own. From inside a loop of the helper a flag leads out first. No
//! device has a stack for what calls itself: helpers call themselves in no other way
//! ([`crate::verify`]).

use std::collections::HashSet;

use super::Pass;
use super::rule::{Hits, Rule};
use crate::ir::{
    Block, CallArg, Const, Function, Helper, Inst, Kernel, Local, LocalDef, Param, ParamKind, Span,
    Stmt, Type, Value, ValueDef, assigned,
};

/// The pass.
pub const PASS: Pass =
    Pass { name: "tail", description: "turns helpers that call themselves into loops", run };

/// Turns every helper that calls itself into a loop.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    for at in 0..kernel.helpers.len() {
        let own = Helper(at as u32);
        let helper = &mut kernel.helpers[at];
        if calls_itself(helper, own) {
            hits.hit(Rule::TailCall);
            Writer::new(helper, own).write();
        }
    }
}

/// The kernel without helpers that call themselves; `None` where there are none.
pub(crate) fn without_recursion(kernel: &Kernel) -> Option<Kernel> {
    let recursive = |(at, helper)| calls_itself(helper, Helper(at as u32));
    let found = kernel.helpers.iter().enumerate().any(recursive);
    found.then(|| {
        let mut kernel = kernel.clone();
        run(&mut kernel, &mut Hits::ignored());
        kernel
    })
}

/// Whether a function calls itself.
pub(crate) fn calls_itself(function: &Function, own: Helper) -> bool {
    let mut found = false;
    function.walk(&mut |stmt| found |= is_own_call(function, stmt, own));
    found
}

fn is_own_call(function: &Function, stmt: &Stmt, own: Helper) -> bool {
    match stmt {
        Stmt::Let(value) => matches!(function.def(*value).inst, Inst::Call(h, _) if h == own),
        Stmt::CallVoid(helper, ..) => *helper == own,
        _ => false,
    }
}

/// Whether every call of a helper by itself is the last thing that it does, with its own buffers.
pub(crate) fn calls_itself_last(function: &Function, own: Helper) -> bool {
    let scan = Scan { function, own };
    let args = |stmt: &Stmt| match stmt {
        Stmt::Let(value) => match &function.def(*value).inst {
            Inst::Call(_, args) => Some(args.clone()),
            _ => None,
        },
        Stmt::CallVoid(_, args, _) => Some(args.clone()),
        _ => None,
    };
    let mut same_buffers = true;
    function.walk(&mut |stmt| {
        if is_own_call(function, stmt, own) {
            let mut args = args(stmt).into_iter().flatten().enumerate();
            same_buffers &= args.all(|(at, arg)| match arg {
                CallArg::Buffer(param) => param.index() == at,
                CallArg::Value(_) => true,
            });
        }
    });
    same_buffers && scan.block(&function.body, None)
}

/// What follows a block: the rest of the one around it.
#[derive(Clone, Copy)]
struct Rest<'a> {
    stmts: &'a [Stmt],
    outer: Option<&'a Rest<'a>>,
    /// Whether the block is run again first.
    repeats: bool,
}

struct Scan<'f> {
    function: &'f Function,
    own: Helper,
}

impl Scan<'_> {
    fn block(&self, block: &[Stmt], rest: Option<&Rest<'_>>) -> bool {
        block.iter().enumerate().all(|(at, stmt)| {
            let after = &block[at + 1..];
            if is_own_call(self.function, stmt, self.own) {
                let values = match stmt {
                    Stmt::Let(value) => HashSet::from([*value]),
                    _ => HashSet::new(),
                };
                return self.is_over(values, HashSet::new(), after, rest);
            }
            let repeats = matches!(stmt, Stmt::For { .. } | Stmt::Loop(_));
            let inner = Rest { stmts: after, outer: rest, repeats };
            stmt.blocks().into_iter().all(|block| self.block(block, Some(&inner)))
        })
    }

    /// Whether only moves of these values and variables follow, and the result is among them.
    fn is_over(
        &self,
        mut values: HashSet<Value>,
        mut locals: HashSet<Local>,
        stmts: &[Stmt],
        rest: Option<&Rest<'_>>,
    ) -> bool {
        let has_result = |locals: &HashSet<Local>| {
            self.function.result.is_none_or(|result| locals.contains(&result))
        };
        for stmt in stmts {
            match stmt {
                Stmt::Set(local, value) if values.contains(value) => drop(locals.insert(*local)),
                Stmt::Let(value) => match &self.function.def(*value).inst {
                    Inst::Get(local) if locals.contains(local) => drop(values.insert(*value)),
                    inst if inst.is_pure() => {}
                    _ => return false,
                },
                Stmt::Return => return has_result(&locals),
                _ => return false,
            }
        }
        match rest {
            None => has_result(&locals),
            Some(Rest { repeats: true, .. }) => false,
            Some(Rest { stmts, outer, .. }) => self.is_over(values, locals, stmts, *outer),
        }
    }
}

struct Writer<'f> {
    function: &'f mut Function,
    own: Helper,
    /// The variable that stands for a scalar parameter.
    params: Vec<Option<Local>>,
    /// Set on the way out of loops.
    again: Local,
}

impl<'f> Writer<'f> {
    fn new(function: &'f mut Function, own: Helper) -> Writer<'f> {
        let mut local = |ty: Type| {
            function.locals.push(LocalDef::new(ty, None));
            Local(function.locals.len() as u32 - 1)
        };
        let kinds: Vec<ParamKind> = function.params.iter().map(|param| param.kind).collect();
        let params = kinds
            .into_iter()
            .map(|kind| match kind {
                ParamKind::Scalar(ty) => Some(local(ty)),
                ParamKind::Buffer { .. } | ParamKind::Shared { .. } => None,
            })
            .collect();
        let again = local(Type::Bool);
        Writer { function, own, params, again }
    }

    fn write(mut self) {
        let body = std::mem::take(&mut self.function.body);
        let mut locals = HashSet::new();
        assigned(&body, &mut locals);
        let mut locals: Vec<Local> = locals.into_iter().collect();
        locals.sort_unstable();
        for def in &mut self.function.values {
            if let Inst::Param(param) = def.inst
                && let Some(local) = self.params[param.index()]
            {
                def.inst = Inst::Get(local);
            }
        }
        let mut out = Vec::new();
        for at in 0..self.params.len() {
            if let Some(local) = self.params[at] {
                let ty = self.function.locals[local.index()].ty;
                let value = self.put(&mut out, ty, Inst::Param(Param(at as u32)));
                out.push(Stmt::Set(local, value));
            }
        }
        let mut passage = Vec::new();
        for local in locals {
            self.clear(&mut passage, local);
        }
        let no = self.put(&mut passage, Type::Bool, Inst::Const(false.into()));
        passage.push(Stmt::Set(self.again, no));
        let (inner, _) = self.block(body, 0);
        passage.extend(inner);
        if !matches!(passage.last(), Some(Stmt::Break | Stmt::Continue | Stmt::Return)) {
            passage.push(Stmt::Break);
        }
        out.push(Stmt::Loop(passage));
        self.function.body = out;
    }

    fn put(&mut self, out: &mut Block, ty: Type, inst: Inst) -> Value {
        self.function.values.push(ValueDef { ty, inst, span: Span::default() });
        let value = Value(self.function.values.len() as u32 - 1);
        out.push(Stmt::Let(value));
        value
    }

    /// As at the start of a call.
    fn clear(&mut self, out: &mut Block, local: Local) {
        let LocalDef { ty, array, .. } = self.function.locals[local.index()];
        let zero = self.put(out, ty, Inst::Const(Const::zero(ty)));
        let Some(len) = array else { return out.push(Stmt::Set(local, zero)) };
        let start = self.put(out, Type::U32, Inst::Const(0u32.into()));
        let end = self.put(out, Type::U32, Inst::Const(len.into()));
        self.function.values.push(ValueDef {
            ty: Type::U32,
            inst: Inst::Counter,
            span: Span::default(),
        });
        let counter = Value(self.function.values.len() as u32 - 1);
        let body = vec![Stmt::SetElement(local, counter, zero)];
        out.push(Stmt::For { counter, start, end, step: 1, body });
    }

    /// The block, and whether it begins again from somewhere.
    fn block(&mut self, block: Block, loops: usize) -> (Block, bool) {
        let mut out = Vec::new();
        let mut begins_again = false;
        for mut stmt in block {
            if is_own_call(self.function, &stmt, self.own) {
                // What follows only moves the result.
                self.begin_again(&mut out, &stmt, loops);
                return (out, true);
            }
            let repeats = matches!(stmt, Stmt::For { .. } | Stmt::Loop(_));
            let mut from_inside = false;
            for inner in stmt.blocks_mut() {
                let (block, again) =
                    self.block(std::mem::take(inner), loops + usize::from(repeats));
                *inner = block;
                from_inside |= again;
            }
            out.push(stmt);
            if repeats && from_inside {
                let condition = self.put(&mut out, Type::Bool, Inst::Get(self.again));
                let jump = if loops > 0 { Stmt::Break } else { Stmt::Continue };
                out.push(Stmt::If { condition, then: vec![jump], otherwise: Vec::new() });
            }
            begins_again |= from_inside;
        }
        (out, begins_again)
    }

    fn begin_again(&mut self, out: &mut Block, call: &Stmt, loops: usize) {
        let args = match call {
            Stmt::Let(value) => match &self.function.def(*value).inst {
                Inst::Call(_, args) => args.clone(),
                _ => return,
            },
            Stmt::CallVoid(_, args, _) => args.clone(),
            _ => return,
        };
        for (arg, local) in args.iter().zip(self.params.clone()) {
            if let (CallArg::Value(value), Some(local)) = (arg, local) {
                out.push(Stmt::Set(local, *value));
            }
        }
        if loops == 0 {
            return out.push(Stmt::Continue);
        }
        let yes = self.put(out, Type::Bool, Inst::Const(true.into()));
        out.extend([Stmt::Set(self.again, yes), Stmt::Break]);
    }
}

#[cfg(test)]
mod tests {
    use super::{PASS, calls_itself_last};
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, CallArg, Function, Helper, Inst, Kernel, Stmt, Type};
    use crate::passes::testing::{kernel_of, outcome, unchanged_by};
    use crate::verify::verify;

    const OWN: Helper = Helper(0);

    /// `gcd(a, b) { if b == 0 { a } else { gcd(b, a % b) } }`, perhaps with one more on top.
    fn gcd(one_more: bool) -> Function {
        let mut b = Builder::new("gcd");
        let [a, d] = ["a", "b"].map(|name| b.scalar(name, Type::U32));
        let result = b.local(Type::U32, None);
        let (a, d, zero) = (b.argument(a), b.argument(d), b.constant(0u32));
        let done = b.binary(BinaryOp::Eq, d, zero);
        let chosen = b.local(Type::U32, None);
        b.if_else(
            done,
            |b| b.set(chosen, a),
            |b| {
                let rest = b.checked_binary(BinaryOp::Rem, a, d);
                let args = [CallArg::Value(d), CallArg::Value(rest)].into();
                let v = b.value(Type::U32, Inst::Call(OWN, args));
                let one = b.constant(1u32);
                let v = if one_more { b.binary(BinaryOp::Add, v, one) } else { v };
                b.set(chosen, v);
            },
        );
        let v = b.get(chosen);
        b.set(result, v);
        let mut function = b.finish();
        function.result = Some(result);
        function
    }

    /// `collatz(n, steps, log)`: writes the steps down from within a loop that it leaves by a call.
    fn collatz() -> Function {
        let mut b = Builder::new("collatz");
        let [n, steps] = ["n", "steps"].map(|name| b.scalar(name, Type::U32));
        let log = b.buffer("log", Type::U32, Access::ReadWrite);
        let seen = b.local(Type::U32, None);
        let (n, steps) = (b.argument(n), b.argument(steps));
        let (zero, one, three) = (b.constant(0u32), b.constant(1u32), b.constant(3u32));
        let done = b.binary(BinaryOp::Le, n, one);
        b.if_else(
            done,
            |b| {
                b.checked_store(log, zero, steps);
                b.stmt(Stmt::Return);
            },
            |_| {},
        );
        b.for_range(zero, three, 1, |b, at| {
            // Zero again at every call.
            let before = b.get(seen);
            let now = b.binary(BinaryOp::Add, before, one);
            b.set(seen, now);
            let third = b.binary(BinaryOp::Eq, now, three);
            b.if_else(
                third,
                |b| {
                    let odd = b.binary(BinaryOp::And, n, one);
                    let odd = b.binary(BinaryOp::Eq, odd, one);
                    let half = b.binary(BinaryOp::Shr, n, one);
                    let triple = b.binary(BinaryOp::Mul, n, three);
                    let triple = b.binary(BinaryOp::Add, triple, one);
                    let next = b.select(odd, triple, half);
                    let steps = b.binary(BinaryOp::Add, steps, one);
                    let args = [next, steps].map(CallArg::Value);
                    let args = [&args[..], &[CallArg::Buffer(log)]].concat().into();
                    b.stmt(Stmt::CallVoid(OWN, args, crate::ir::Span::default()));
                    b.stmt(Stmt::Return);
                },
                |_| {},
            );
            let _passage = at;
        });
        b.finish()
    }

    /// `y[id] = gcd(x[id], 36)`, then `collatz(x[id], 0, log)`.
    fn calling(helper: Function) -> Kernel {
        let mut b = Builder::new("calling");
        let x = b.buffer("x", Type::U32, Access::Read);
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let v = b.checked_load(x, id);
        let (zero, other) = (b.constant(0u32), b.constant(36u32));
        if helper.result.is_some() {
            let args = [v, other].map(CallArg::Value).into();
            let v = b.value(Type::U32, Inst::Call(OWN, args));
            b.checked_store(y, id, v);
        } else {
            let args = [&[v, zero].map(CallArg::Value)[..], &[CallArg::Buffer(y)]].concat();
            b.stmt(Stmt::CallVoid(OWN, args.into(), crate::ir::Span::default()));
        }
        let mut kernel = kernel_of(b.finish(), 4);
        kernel.helpers = vec![helper];
        kernel
    }

    fn data() -> Vec<Data> {
        vec![Data::Narrow(vec![24, 97, 1, 27]), Data::Narrow(vec![5; 4])]
    }

    #[test]
    fn a_call_at_the_end_is_a_loop() {
        let kernel = calling(gcd(false));
        let after = unchanged_by(&PASS, &kernel, &[data()]);
        assert!(after.helpers[0].values.iter().all(|v| !matches!(v.inst, Inst::Call(..))));
        let (end, args) = outcome(&after, data());
        assert_eq!(end, Ok(()));
        assert_eq!(args[1], Data::Narrow(vec![12, 1, 1, 9]));
    }

    #[test]
    fn a_call_out_of_a_loop_is_one_too() {
        let kernel = calling(collatz());
        let after = unchanged_by(&PASS, &kernel, &[data()]);
        // The last invocation's: 27 takes 111 steps.
        assert_eq!(outcome(&after, data()).1[1], Data::Narrow(vec![111, 5, 5, 5]));
    }

    #[test]
    fn a_call_that_is_not_the_last_is_refused() {
        assert!(calls_itself_last(&gcd(false), OWN));
        assert!(!calls_itself_last(&gcd(true), OWN));
        let error = verify(&calling(gcd(true))).expect_err("a stack would be needed");
        assert!(error.to_string().contains("calls itself"), "{error}");
    }

    #[test]
    fn a_million_calls_need_no_stack() {
        let mut b = Builder::new("count");
        let [n, sum] = ["n", "sum"].map(|name| b.scalar(name, Type::U32));
        let result = b.local(Type::U32, None);
        let (n, sum, zero, one) =
            (b.argument(n), b.argument(sum), b.constant(0u32), b.constant(1u32));
        let done = b.binary(BinaryOp::Eq, n, zero);
        b.if_else(
            done,
            |b| b.set(result, sum),
            |b| {
                let (n, sum) = (b.binary(BinaryOp::Sub, n, one), b.binary(BinaryOp::Add, sum, n));
                let args = [n, sum].map(CallArg::Value).into();
                let v = b.value(Type::U32, Inst::Call(OWN, args));
                b.set(result, v);
            },
        );
        let mut function = b.finish();
        function.result = Some(result);
        let data = vec![Data::Narrow(vec![1_000_000; 4]), Data::Narrow(vec![0; 4])];
        let (end, args) = outcome(&calling(function), data);
        assert_eq!(end, Ok(()));
        let expected = (1u32..=1_000_000).fold(36u32, u32::wrapping_add);
        assert_eq!(args[1], Data::Narrow(vec![expected; 4]));
    }
}
