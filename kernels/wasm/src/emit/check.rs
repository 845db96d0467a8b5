//! Checks: what ends the call with a failure where it does not hold.

use crossover_kernels::ir::{BinaryOp, Inst, SiteId, Type, Value};
use wasm_encoder::ValType;

use super::body::Body;
use super::code::{LANES, Rep};
use super::divergence::Variance;

impl Body<'_> {
    pub(super) fn check(&mut self, condition: Value, site: SiteId, index: Option<Value>) {
        if self.variance(condition) == Variance::Uniform {
            self.code.scalar(self.rep(condition), Type::Bool);
            self.code.sink().i32_eqz();
            self.code.open_if();
            self.first_active_lane();
            self.fail(site, index);
            self.code.close();
            return;
        }
        let quick = self.quick_check(condition);
        let failing = self.code.local(ValType::V128);
        self.push_mask();
        self.code.lanes(self.rep(condition), Type::Bool, 0);
        self.code.sink().v128_andnot().local_tee(failing).v128_any_true();
        self.code.open_if();
        let lane = self.context.failing.lane;
        self.code.sink().local_get(failing).i32x4_bitmask().i32_ctz().local_set(lane);
        self.fail(site, index);
        self.code.close();
        if quick {
            self.code.close();
        }
    }

    /// `linear < uniform`: one scalar comparison says that it holds for the whole group; the lanes
    /// are only looked at where it does not.
    fn quick_check(&mut self, condition: Value) -> bool {
        let Inst::Binary(BinaryOp::Lt, a, b) = self.function.def(condition).inst else {
            return false;
        };
        let unsigned = self.function.ty(a) == Type::U32;
        let (linear, bound) = (self.rep(a), self.rep(b));
        let Rep::Linear { stride, .. } = linear else { return false };
        if !unsigned || !bound.is_uniform() {
            return false;
        }
        // first < max(bound, d) − d: then first + d < bound, and nothing wraps.
        let last = ((LANES - 1) * stride.unsigned_abs()).cast_signed();
        let first = if stride > 0 { 0 } else { LANES - 1 };
        self.code.lane(linear, Type::U32, first);
        self.code.scalar(bound, Type::U32);
        self.code.sink().i32_const(last).i32_sub().i32_const(0);
        self.code.scalar(bound, Type::U32);
        self.code.sink().i32_const(last).i32_gt_u().select().i32_lt_u().i32_eqz();
        self.code.open_if();
        true
    }

    /// The first active lane, from the group's first on.
    fn first_active_lane(&mut self) {
        let lane = self.context.failing.lane;
        let Some(masks) = self.masks else {
            self.code.sink().i32_const(0).local_set(lane);
            return;
        };
        self.code.i32_const(0);
        for vector in self.span.clone() {
            let by = (LANES * (vector - self.at.vector)).cast_signed();
            let mut sink = self.code.sink();
            sink.local_get(masks.at(vector)).i32x4_bitmask().i32_const(by).i32_shl().i32_or();
        }
        self.code.sink().i32_ctz().local_set(lane);
    }

    /// Leaves the call with a failure of the lane in `failing.lane`.
    fn fail(&mut self, site: SiteId, index: Option<Value>) {
        let failing = self.context.failing;
        self.code.i32_const(site.0);
        self.code.set(failing.site);
        match index.map(|v| self.rep(v)) {
            None => self.code.i32_const(0),
            Some(rep) => self.lane_at(rep, failing.lane),
        }
        self.code.set(failing.index);
        match self.place {
            None => {
                let along = (LANES * self.at.vector).cast_signed();
                let mut sink = self.code.sink();
                sink.local_get(failing.lane).i32_const(along).i32_add();
            }
            Some(place) => {
                self.lane_at(self.variable(place.index()), failing.lane);
                self.code.sink().local_get(self.context.axes[0]).i32_sub();
            }
        }
        self.code.set(failing.lane);
        let mut sink = self.code.sink();
        sink.i32_const(self.at.row.cast_signed()).local_set(failing.row);
        self.code.branch(failing.label);
    }

    /// Pushes the lane of a `u32` whose number is in a wasm local.
    fn lane_at(&mut self, rep: Rep, lane: u32) {
        match rep {
            Rep::Const(_) | Rep::Scalar(_) | Rep::Low(_) | Rep::Offset(..) => {
                self.code.scalar(rep, Type::U32);
            }
            Rep::Linear { stride, .. } => {
                self.code.scalar(rep, Type::U32);
                self.code.sink().local_get(lane).i32_const(stride).i32_mul().i32_add();
            }
            Rep::Lanes(_) => {
                self.code.lane(rep, Type::U32, 3);
                for at in (0..3).rev() {
                    self.code.lane(rep, Type::U32, at);
                    // What stands for the lanes above, unless the lane is this one.
                    self.code.sink().local_get(lane).i32_const(at.cast_signed());
                    self.code.sink().i32_ne().select();
                }
            }
        }
    }
}
