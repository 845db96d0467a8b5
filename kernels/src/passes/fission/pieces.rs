//! Cutting the body into the group's statements and pieces for each invocation.

use crate::ir::{BinaryOp, Block, Function, Inst, Stmt, Value};

use super::scope::Scope;

/// The body, its barriers replaced by the ends of pieces.
pub(super) fn pieces(function: &Function, scope: &Scope) -> Block {
    let mut cut = Cut { function, scope, of_group: vec![false; function.values.len()] };
    cut.block(&function.body)
}

struct Cut<'a> {
    function: &'a Function,
    scope: &'a Scope,
    /// Values that the group computes.
    of_group: Vec<bool>,
}

/// Where a statement goes.
enum Home {
    /// To the piece at hand.
    Piece,
    /// To the group; where in the piece at hand it stood makes no difference.
    Group,
    /// To the group, behind the piece at hand.
    GroupAfter,
}

impl Cut<'_> {
    fn block(&mut self, block: &Block) -> Block {
        let (mut out, mut piece) = (Vec::new(), Vec::new());
        for stmt in block {
            match self.home(stmt) {
                Home::Piece => piece.push(stmt.clone()),
                Home::Group => out.push(stmt.clone()),
                Home::GroupAfter => {
                    end_piece(&mut out, &mut piece);
                    out.extend(self.of_group(stmt));
                }
            }
        }
        end_piece(&mut out, &mut piece);
        out
    }

    fn home(&mut self, stmt: &Stmt) -> Home {
        match stmt {
            Stmt::Let(value) => {
                let home = self.let_home(*value);
                self.of_group[value.index()] = !matches!(home, Home::Piece);
                home
            }
            Stmt::Set(local, _) if self.scope.has_local(*local) => Home::GroupAfter,
            // What a needed load is behind.
            Stmt::Check { condition, index, .. }
                if self.scope.uniform.together(stmt)
                    && self.has(*condition)
                    && index.is_none_or(|index| self.has(index))
                    && self.scope.needed.iter().any(|value| self.may_fail(*value)) =>
            {
                Home::GroupAfter
            }
            Stmt::Barrier(_) | Stmt::Break | Stmt::Continue | Stmt::Return => Home::GroupAfter,
            _ if self.scope.is_control(stmt) => Home::GroupAfter,
            _ => Home::Piece,
        }
    }

    fn let_home(&self, value: Value) -> Home {
        let inst = &self.function.def(value).inst;
        let known = match inst {
            Inst::Get(local) => self.scope.has_local(*local),
            _ => self.scope.uniform.value(value),
        };
        if !known || !inst.operands().iter().all(|&operand| self.has(operand)) {
            return Home::Piece;
        }
        match (self.may_fail(value), self.scope.needed.contains(&value)) {
            (false, _) => Home::Group,
            (true, true) => Home::GroupAfter,
            (true, false) => Home::Piece,
        }
    }

    /// Whether the group computes the value.
    fn has(&self, value: Value) -> bool {
        self.of_group[value.index()]
    }

    /// Whether the value stands behind a check.
    fn may_fail(&self, value: Value) -> bool {
        let def = self.function.def(value);
        match def.inst {
            Inst::Load(..) => true,
            Inst::Binary(BinaryOp::Div | BinaryOp::Rem, ..) => def.ty.is_int(),
            _ => false,
        }
    }

    /// The statement as the group runs it.
    fn of_group(&mut self, stmt: &Stmt) -> Option<Stmt> {
        match stmt {
            Stmt::Barrier(_) => None,
            Stmt::If { condition, then, otherwise } => Some(Stmt::If {
                condition: *condition,
                then: self.block(then),
                otherwise: self.block(otherwise),
            }),
            Stmt::For { counter, start, end, step, body } => {
                self.of_group[counter.index()] = true;
                let (counter, start, end, step) = (*counter, *start, *end, *step);
                Some(Stmt::For { counter, start, end, step, body: self.block(body) })
            }
            Stmt::Loop(body) => Some(Stmt::Loop(self.block(body))),
            _ => Some(stmt.clone()),
        }
    }
}

fn end_piece(out: &mut Block, piece: &mut Block) {
    if !piece.is_empty() {
        out.push(Stmt::Each(std::mem::take(piece)));
    }
}
