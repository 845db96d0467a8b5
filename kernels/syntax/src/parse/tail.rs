//! Which calls of a function by itself are the last thing that it does.

use crate::tree::{Block, Expr, ExprKind, Pos, Stmt};

/// The places of such calls.
pub(super) fn calls(body: &Block, has_result: bool) -> Vec<Pos> {
    let mut found = Found { places: Vec::new(), has_result };
    found.block(body, true);
    found.places
}

struct Found {
    places: Vec<Pos>,
    has_result: bool,
}

impl Found {
    /// `last`: whether the function is over when the block is.
    fn block(&mut self, block: &Block, last: bool) {
        for (at, stmt) in block.stmts.iter().enumerate() {
            match stmt {
                Stmt::Let { init, .. } | Stmt::Const { init, .. } => self.expr(init, false),
                Stmt::Expr(e) => {
                    // Without a result nothing is left to do behind the last statement, and before a
                    // `return` that follows.
                    let rest = &block.stmts[at + 1..];
                    let ends = rest.is_empty() && block.tail.is_none() && last;
                    let returns = matches!(rest, [Stmt::Expr(next)] if is_bare_return(next))
                        || rest.is_empty() && block.tail.as_deref().is_some_and(is_bare_return);
                    self.expr(e, !self.has_result && (ends || returns));
                }
            }
        }
        if let Some(tail) = &block.tail {
            self.expr(tail, last);
        }
    }

    fn expr(&mut self, e: &Expr, last: bool) {
        match &e.kind {
            ExprKind::TailCall(args) => {
                if last {
                    self.places.push(e.pos);
                }
                args.iter().for_each(|arg| self.expr(arg, false));
            }
            ExprKind::Return(Some(value)) => self.expr(value, true),
            ExprKind::If(condition, then, otherwise) => {
                self.expr(condition, false);
                self.block(then, last);
                if let Some(otherwise) = otherwise {
                    self.expr(otherwise, last);
                }
            }
            ExprKind::Match(value, arms) => {
                self.expr(value, false);
                for arm in arms {
                    if let Some(guard) = &arm.guard {
                        self.expr(guard, false);
                    }
                    self.expr(&arm.body, last);
                }
            }
            ExprKind::Block(block) => self.block(block, last),
            ExprKind::For { start, end, body, .. } => {
                self.expr(start, false);
                self.expr(end, false);
                self.block(body, false);
            }
            ExprKind::While(condition, body) => {
                self.expr(condition, false);
                self.block(body, false);
            }
            ExprKind::Loop(body) => self.block(body, false),
            ExprKind::Binary(_, a, b)
            | ExprKind::Assign(_, a, b)
            | ExprKind::Index(a, b)
            | ExprKind::Repeat(a, b)
            | ExprKind::Shared { id: a, len: b, .. } => {
                self.expr(a, false);
                self.expr(b, false);
            }
            ExprKind::Unary(_, a)
            | ExprKind::Field(a, _)
            | ExprKind::Cast(a, _)
            | ExprKind::Ref(a) => self.expr(a, false),
            ExprKind::Method(a, _, list) => {
                self.expr(a, false);
                list.iter().for_each(|e| self.expr(e, false));
            }
            ExprKind::TypeCall(_, _, list) | ExprKind::Call(_, list) | ExprKind::Array(list) => {
                list.iter().for_each(|e| self.expr(e, false));
            }
            ExprKind::Int { .. }
            | ExprKind::Float { .. }
            | ExprKind::Bool(_)
            | ExprKind::Var(_)
            | ExprKind::Assoc(..)
            | ExprKind::Break
            | ExprKind::Continue
            | ExprKind::Return(None) => {}
        }
    }
}

fn is_bare_return(e: &Expr) -> bool {
    matches!(e.kind, ExprKind::Return(None))
}
