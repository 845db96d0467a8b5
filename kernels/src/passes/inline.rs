//! Inlining: every helper call becomes the helper's body.
//!
//! ```text
//! let v = h(a, p)   ==   $x = 0; body of h[scalars := a, buffers := p]; let v = get $result
//! ```
//!
//! - The variables of a helper are zero at each call: where the call is inside a loop, they are set
//!   to zero before it; outside, they still are.
//! - A `return` at the end of the helper is dropped. One before the end leaves a loop of one trip:
//!   `loop { body[return := break]; break }`. Inside the helper's own loops it sets a flag first, and
//!   each such loop is followed by `if flag { break }`.
//! - Each copy has values and sites of its own; spans stay those of the helper.
//!
//! Helpers are inlined into one another from the last to the first, since a helper calls only later
//! ones. In the end there are none, but where one still calls itself: [`tail`] comes before.

use std::collections::HashMap;

use super::rewrite::Replacements;
use super::rule::{Hits, Rule};
use super::{Pass, tail};
use crate::ir::builder::Builder;
use crate::ir::{
    Block, CallArg, Const, Function, Helper, Inst, Kernel, Local, Param, Site, SiteId, Stmt, Trap,
    Type, Value,
};

/// The pass.
pub const PASS: Pass =
    Pass { name: "inline", description: "replaces every helper call by the helper's body", run };

/// Inlines every call.
pub fn run(kernel: &mut Kernel, hits: &mut Hits) {
    let mut helpers = std::mem::take(&mut kernel.helpers);
    let stays = |(helper, at)| tail::calls_itself(helper, Helper(at));
    let stays: Vec<bool> = helpers.iter().zip(0..).map(stays).collect();
    for at in (0..helpers.len()).rev() {
        let mut caller = std::mem::take(&mut helpers[at]);
        inline_calls(&mut caller, &helpers, &stays, hits);
        helpers[at] = caller;
    }
    inline_calls(&mut kernel.entry, &helpers, &stays, hits);
    if stays.contains(&true) {
        kernel.helpers = helpers;
    }
}

fn inline_calls(caller: &mut Function, helpers: &[Function], stays: &[bool], hits: &mut Hits) {
    let body = std::mem::take(&mut caller.body);
    let mut b = Builder::resume(std::mem::take(caller));
    let mut inliner = Inliner { helpers, stays, replaced: Replacements::default(), hits };
    inliner.block(&mut b, body, false);
    *caller = b.finish();
}

/// What the blocks of a caller share.
struct Inliner<'a> {
    helpers: &'a [Function],
    /// Those whose calls are left as they are.
    stays: &'a [bool],
    replaced: Replacements,
    hits: &'a mut Hits,
}

impl Inliner<'_> {
    fn block(&mut self, b: &mut Builder, block: Block, in_loop: bool) {
        for mut stmt in block {
            self.replaced.stmt(&mut stmt);
            if let Stmt::Let(value) = stmt {
                self.replaced.inst(&mut b.function_mut().values[value.index()].inst);
                match b.function().def(value).inst.clone() {
                    Inst::Call(helper, args) if !self.stays[helper.index()] => {
                        self.hits.hit(Rule::InlineCall);
                        let result = self.call(b, helper, &args, in_loop);
                        let result = result.expect("verified: a helper with a result");
                        self.replaced.insert(value, result);
                    }
                    _ => b.stmt(stmt),
                }
                continue;
            }
            if let Stmt::CallVoid(helper, args, _) = &stmt
                && !self.stays[helper.index()]
            {
                self.hits.hit(Rule::InlineVoid);
                self.call(b, *helper, args, in_loop);
                continue;
            }
            let in_loop = in_loop || matches!(stmt, Stmt::For { .. } | Stmt::Loop(_));
            for inner in stmt.blocks_mut() {
                let block = std::mem::take(inner);
                b.open();
                self.block(b, block, in_loop);
                *inner = b.close();
            }
            b.stmt(stmt);
        }
    }

    /// Writes the helper's body and gives back its result.
    fn call(
        &mut self,
        b: &mut Builder,
        helper: Helper,
        args: &[CallArg],
        in_loop: bool,
    ) -> Option<Value> {
        let callee = &self.helpers[helper.index()];
        let first = b.function().locals.len() as u32;
        b.function_mut().locals.extend(callee.locals.iter().cloned());
        let (values, hits) = (HashMap::new(), &mut *self.hits);
        let mut copy = Copy { callee, args, first, values, exit: Exit::End, hits };
        if in_loop {
            copy.clear_locals(b);
        }
        if returns_early(&callee.body) {
            copy.hits.hit(Rule::InlineReturn);
            let flag = b.local(Type::Bool, None);
            let no = b.constant(false);
            b.set(flag, no);
            copy.exit = Exit::Leave(flag);
            b.open();
            copy.block(b, &callee.body, 0);
            if callee.body.last() != Some(&Stmt::Return) {
                b.stmt(Stmt::Break);
            }
            let body = b.close();
            b.stmt(Stmt::Loop(body));
        } else {
            copy.block(b, &callee.body, 0);
        }
        callee.result.map(|local| b.get(copy.local(local)))
    }
}

fn returns(block: &[Stmt]) -> usize {
    block
        .iter()
        .map(|stmt| {
            let own = usize::from(*stmt == Stmt::Return);
            own + stmt.blocks().into_iter().map(|inner| returns(inner)).sum::<usize>()
        })
        .sum()
}

fn returns_early(body: &[Stmt]) -> bool {
    returns(body) > usize::from(body.last() == Some(&Stmt::Return))
}

/// What a `return` of the helper becomes.
#[derive(Clone, Copy)]
enum Exit {
    /// Nothing: it stands at the end.
    End,
    /// A `break` out of the loop of one trip; from inner loops with the help of this flag.
    Leave(Local),
}

/// One copy of a helper's body in the making.
struct Copy<'c> {
    callee: &'c Function,
    args: &'c [CallArg],
    /// The caller's number of the helper's first variable.
    first: u32,
    values: HashMap<Value, Value>,
    exit: Exit,
    hits: &'c mut Hits,
}

impl Copy<'_> {
    fn value(&self, value: Value) -> Value {
        self.values[&value]
    }

    fn local(&self, local: Local) -> Local {
        Local(self.first + local.0)
    }

    fn buffer(&self, param: Param) -> Param {
        match self.args[param.index()] {
            CallArg::Buffer(own) => own,
            CallArg::Value(_) => unreachable!("verified: a buffer argument"),
        }
    }

    /// Of a call that stays.
    fn buffers(&self, args: &mut [CallArg]) {
        for arg in args {
            if let CallArg::Buffer(buffer) = arg {
                *buffer = self.buffer(*buffer);
            }
        }
    }

    fn clear_locals(&mut self, b: &mut Builder) {
        self.hits.hit(Rule::InlineClear);
        for (at, def) in self.callee.locals.iter().enumerate() {
            let local = self.local(Local(at as u32));
            let zero = b.constant(Const::zero(def.ty));
            match def.array {
                None => b.set(local, zero),
                Some(len) => {
                    let (start, end) = (b.constant(0u32), b.constant(len));
                    b.for_range(start, end, 1, |b, counter| {
                        b.stmt(Stmt::SetElement(local, counter, zero));
                    });
                }
            }
        }
    }

    fn block(&mut self, b: &mut Builder, block: &[Stmt], loops: usize) {
        for stmt in block {
            self.stmt(b, stmt, loops);
        }
    }

    fn inner(&mut self, b: &mut Builder, block: &[Stmt], loops: usize) -> Block {
        b.open();
        self.block(b, block, loops);
        b.close()
    }

    fn stmt(&mut self, b: &mut Builder, stmt: &Stmt, loops: usize) {
        match stmt {
            Stmt::Let(value) => self.let_value(b, *value),
            Stmt::Set(local, value) => b.set(self.local(*local), self.value(*value)),
            Stmt::SetElement(local, index, value) => {
                b.stmt(Stmt::SetElement(self.local(*local), self.value(*index), self.value(*value)))
            }
            Stmt::Store(buffer, index, value) => {
                b.stmt(Stmt::Store(self.buffer(*buffer), self.value(*index), self.value(*value)))
            }
            Stmt::AtomicStore(buffer, index, value) => b.stmt(Stmt::AtomicStore(
                self.buffer(*buffer),
                self.value(*index),
                self.value(*value),
            )),
            Stmt::Check { condition, site, index } => {
                let site = self.site(b, *site);
                let index = index.map(|value| self.value(value));
                b.stmt(Stmt::Check { condition: self.value(*condition), site, index });
            }
            Stmt::If { condition, then, otherwise } => {
                let condition = self.value(*condition);
                let then = self.inner(b, then, loops);
                let otherwise = self.inner(b, otherwise, loops);
                b.stmt(Stmt::If { condition, then, otherwise });
            }
            Stmt::For { counter, start, end, step, body } => {
                let def = self.callee.def(*counter);
                b.at(def.span);
                let own = b.counter(def.ty);
                self.values.insert(*counter, own);
                let (start, end) = (self.value(*start), self.value(*end));
                let inner = self.inner(b, body, loops + 1);
                b.stmt(Stmt::For { counter: own, start, end, step: *step, body: inner });
                self.pass_on(b, body);
            }
            Stmt::Loop(body) => {
                let inner = self.inner(b, body, loops + 1);
                b.stmt(Stmt::Loop(inner));
                self.pass_on(b, body);
            }
            Stmt::CallVoid(helper, args, span) => {
                let mut args = args.clone();
                for arg in &mut args {
                    if let CallArg::Value(value) = arg {
                        *value = self.value(*value);
                    }
                }
                self.buffers(&mut args);
                b.stmt(Stmt::CallVoid(*helper, args, *span));
            }
            Stmt::Barrier(_) | Stmt::Each(_) => unreachable!("verified: helpers have no workgroup"),
            Stmt::Break => b.stmt(Stmt::Break),
            Stmt::Continue => b.stmt(Stmt::Continue),
            Stmt::Return => self.leave(b, loops),
        }
    }

    fn let_value(&mut self, b: &mut Builder, value: Value) {
        let def = self.callee.def(value);
        let mut inst = def.inst.clone();
        inst.map_operands(&mut |value| self.value(value));
        match &mut inst {
            Inst::Param(param) => {
                match self.args[param.index()] {
                    CallArg::Value(own) => self.values.insert(value, own),
                    CallArg::Buffer(_) => unreachable!("verified: a scalar argument"),
                };
                return;
            }
            Inst::Get(local) | Inst::GetElement(local, _) => *local = self.local(*local),
            Inst::Len(buffer)
            | Inst::Load(buffer, _)
            | Inst::AtomicLoad(buffer, _)
            | Inst::Atomic(_, buffer, ..)
            | Inst::CompareSwap(buffer, ..) => *buffer = self.buffer(*buffer),
            Inst::Const(_)
            | Inst::Id(_)
            | Inst::Local(_)
            | Inst::Group(_)
            | Inst::Extent(_)
            | Inst::Counter
            | Inst::Unary(..)
            | Inst::Binary(..)
            | Inst::Fma(..)
            | Inst::Select(..)
            | Inst::Cast(_)
            | Inst::Bitcast(_) => {}
            Inst::Call(_, args) => self.buffers(args),
        }
        b.at(def.span);
        let own = b.value(def.ty, inst);
        self.values.insert(value, own);
    }

    fn site(&self, b: &mut Builder, site: SiteId) -> SiteId {
        let Site { trap, span } = self.callee.sites[site.index()];
        let trap = match trap {
            Trap::Bounds(buffer) => Trap::Bounds(self.buffer(buffer)),
            Trap::ArrayBounds(_) | Trap::ZeroDivisor => trap,
        };
        let sites = &mut b.function_mut().sites;
        sites.push(Site { trap, span });
        SiteId(sites.len() as u32 - 1)
    }

    fn leave(&self, b: &mut Builder, loops: usize) {
        let Exit::Leave(flag) = self.exit else { return };
        if loops > 0 {
            let yes = b.constant(true);
            b.set(flag, yes);
        }
        b.stmt(Stmt::Break);
    }

    /// After a loop of the helper: leaves the loop around as well if the helper has returned.
    fn pass_on(&mut self, b: &mut Builder, body: &[Stmt]) {
        if let Exit::Leave(flag) = self.exit
            && returns(body) > 0
        {
            self.hits.hit(Rule::InlineReturnLoop);
            let returned = b.get(flag);
            b.if_else(returned, |b| b.stmt(Stmt::Break), |_| {});
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PASS;
    use crate::interp::Data;
    use crate::ir::builder::Builder;
    use crate::ir::{Access, Axis, BinaryOp, CallArg, Helper, Inst, Kernel, Stmt, Type, Value};
    use crate::passes::testing::{kernel_of, unchanged_by};

    fn add(b: &mut Builder, x: Value, y: Value) -> Value {
        b.binary(BinaryOp::Add, x, y)
    }

    /// `first(x, limit)`: the first k below `limit` with k · k ≥ x, else 100 + a sum that starts
    /// at zero in each call.
    fn helper() -> crate::ir::Function {
        let mut b = Builder::new("first");
        let x = b.scalar("x", Type::U32);
        let limit = b.scalar("limit", Type::U32);
        let result = b.local(Type::U32, None);
        let sum = b.local(Type::U32, None);
        let (x, limit) = (b.argument(x), b.argument(limit));
        let zero = b.constant(0u32);
        b.for_range(zero, limit, 1, |b, k| {
            let square = b.binary(BinaryOp::Mul, k, k);
            let found = b.binary(BinaryOp::Ge, square, x);
            b.if_else(
                found,
                |b| {
                    b.set(result, k);
                    b.stmt(Stmt::Return);
                },
                |_| {},
            );
            let old = b.get(sum);
            let new = add(b, old, k);
            b.set(sum, new);
        });
        let hundred = b.constant(100u32);
        let old = b.get(sum);
        let total = add(&mut b, old, hundred);
        b.set(result, total);
        b.function_mut().result = Some(result);
        b.finish()
    }

    /// `y[id] += first(id · 5, 4)`, twice in a loop.
    fn caller(loops: u32) -> Kernel {
        let mut b = Builder::new("caller");
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let (five, four) = (b.constant(5u32), b.constant(4u32));
        let x = b.binary(BinaryOp::Mul, id, five);
        let (start, end) = (b.constant(0u32), b.constant(loops));
        b.for_range(start, end, 1, |b, _| {
            let args = [CallArg::Value(x), CallArg::Value(four)];
            let found = b.value(Type::U32, Inst::Call(Helper(0), Box::new(args)));
            let old = b.checked_load(y, id);
            let new = add(b, old, found);
            b.checked_store(y, id, new);
        });
        let mut kernel = kernel_of(b.finish(), 5);
        kernel.helpers.push(helper());
        kernel
    }

    #[test]
    fn early_returns_leave_the_copy_only() {
        let after = unchanged_by(&PASS, &caller(2), &[vec![Data::Narrow(vec![0; 5])]]);
        assert!(after.helpers.is_empty());
    }

    #[test]
    fn buffers_and_sites_are_those_of_the_caller() {
        let mut b = Builder::new("put");
        let out = b.buffer("out", Type::U32, Access::ReadWrite);
        let at = b.scalar("at", Type::U32);
        let at = b.argument(at);
        b.checked_store(out, at, at);
        b.stmt(Stmt::Return);
        let put = b.finish();

        let mut b = Builder::new("caller");
        b.buffer("x", Type::U32, Access::Read);
        let y = b.buffer("y", Type::U32, Access::ReadWrite);
        let id = b.id(Axis::X);
        let args = [CallArg::Buffer(y), CallArg::Value(id)];
        b.stmt(Stmt::CallVoid(Helper(0), Box::new(args), crate::ir::Span::default()));
        let mut kernel = kernel_of(b.finish(), 3);
        kernel.helpers.push(put);
        let args = |len| vec![Data::Narrow(vec![7]), Data::Narrow(vec![9; len])];
        let after = unchanged_by(&PASS, &kernel, &[args(3), args(2)]);
        assert_eq!(after.entry.sites.len(), 1);
    }
}
