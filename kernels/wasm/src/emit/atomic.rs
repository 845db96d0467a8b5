//! Atomic operations, lane by lane: locked ones, and ordinary ones on copies that a worker has to itself.

use crossover_kernels::ir::{AtomicOp, BinaryOp, Param, Type, Value};
use wasm_encoder::{MemArg, ValType};

use super::body::{Body, Width};
use super::code::{Code, Rep};
use super::memory::Places;

impl Code {
    fn atomic_rmw(&mut self, op: AtomicOp, arg: MemArg) {
        let mut sink = self.sink();
        match op {
            AtomicOp::Add => sink.i32_atomic_rmw_add(arg),
            AtomicOp::Sub => sink.i32_atomic_rmw_sub(arg),
            AtomicOp::And => sink.i32_atomic_rmw_and(arg),
            AtomicOp::Or => sink.i32_atomic_rmw_or(arg),
            AtomicOp::Xor => sink.i32_atomic_rmw_xor(arg),
            AtomicOp::Swap => sink.i32_atomic_rmw_xchg(arg),
            // By compare-and-exchange.
            AtomicOp::Min | AtomicOp::Max => sink.unreachable(),
        };
    }
}

impl Body<'_> {
    pub(super) fn atomic_load_scalar(&mut self, buffer: Param, index: Value) {
        let arg = self.buffer_arg(buffer, Type::U32, 0);
        self.code.address(self.rep(index), 2);
        self.code.sink().i32_atomic_load(arg);
    }

    pub(super) fn atomic_load_lanes(&mut self, target: Rep, buffer: Param, index: Value, ty: Type) {
        let arg = self.buffer_arg(buffer, ty, 0);
        let index = self.rep(index);
        let index = self.safe_index(index);
        let places = self.code.places(index, 2);
        self.lanes_into(target, ty, |code, part| {
            code.assemble(ty, part, |code, lane| {
                code.lane_address(places, lane);
                code.sink().i32_atomic_load(arg);
            });
        });
    }

    pub(super) fn atomic_store(&mut self, buffer: Param, index: Value, value: Value) {
        let ty = self.function.ty(value);
        let arg = self.buffer_arg(buffer, ty, 0);
        let places = self.places(index, 2);
        let value = self.rep(value);
        if self.form.width == Width::Scalar {
            return self.atomic_store_lane(places, value, ty, arg, 0);
        }
        self.each_lane(|body, lane| body.atomic_store_lane(places, value, ty, arg, lane));
    }

    fn atomic_store_lane(&mut self, places: Places, value: Rep, ty: Type, arg: MemArg, lane: u32) {
        self.lane_address(places, lane);
        self.code.lane(value, ty, lane);
        self.code.sink().i32_atomic_store(arg);
    }

    pub(super) fn atomic_scalar(
        &mut self,
        op: AtomicOp,
        buffer: Param,
        index: Value,
        operand: Value,
    ) {
        let (index, operand_rep) = (self.rep(index), self.rep(operand));
        let places = self.code.places(index, 2);
        if self.context.layout.private[buffer.index()] {
            self.private_lane(op, buffer, places, operand_rep, 0);
            // Nobody uses the result.
            return self.code.i32_const(0);
        }
        self.atomic_lane(op, buffer, self.function.ty(operand), places, operand_rep, 0);
    }

    pub(super) fn atomic_lanes(
        &mut self,
        target: Rep,
        op: AtomicOp,
        buffer: Param,
        index: Value,
        operand: Value,
    ) {
        let ty = self.function.ty(operand);
        let places = self.places(index, 2);
        let operand = self.rep(operand);
        if self.context.layout.private[buffer.index()] {
            return self
                .each_lane(|body, lane| body.private_lane(op, buffer, places, operand, lane));
        }
        self.results_of_lanes(target, ty, |body, lane| {
            body.atomic_lane(op, buffer, ty, places, operand, lane);
        });
    }

    /// What each active lane pushes, in order.
    pub(super) fn results_of_lanes(
        &mut self,
        target: Rep,
        ty: Type,
        mut push: impl FnMut(&mut Self, u32),
    ) {
        let Rep::Lanes([result, _]) = target else { return };
        let old = self.code.local(ValType::I32);
        self.each_lane(|body, lane| {
            push(body, lane);
            body.code.sink().local_set(old).local_get(result).local_get(old);
            body.code.replace_lane(ty, lane);
            body.code.set(result);
        });
    }

    /// Compares and swaps for one lane; pushes the value before.
    pub(super) fn compare_swap_lane(
        &mut self,
        buffer: Param,
        ty: Type,
        places: Places,
        [expected, new]: [Rep; 2],
        lane: u32,
    ) {
        let arg = self.buffer_arg(buffer, ty, 0);
        self.lane_address(places, lane);
        self.code.lane(expected, ty, lane);
        self.code.lane(new, ty, lane);
        self.code.sink().i32_atomic_rmw_cmpxchg(arg);
    }

    /// The operation without a lock, for one lane, on a copy that is this worker's own.
    fn private_lane(
        &mut self,
        op: AtomicOp,
        buffer: Param,
        places: Places,
        operand: Rep,
        lane: u32,
    ) {
        let arg = self.buffer_arg(buffer, Type::U32, 0);
        let address = self.code.local(ValType::I32);
        self.lane_address(places, lane);
        self.code.sink().local_tee(address).local_get(address).i32_load(arg);
        self.code.lane(operand, Type::U32, lane);
        let mut sink = self.code.sink();
        match op {
            AtomicOp::Add => sink.i32_add(),
            AtomicOp::Sub => sink.i32_sub(),
            AtomicOp::Or => sink.i32_or(),
            AtomicOp::Xor => sink.i32_xor(),
            // The analysis takes no others.
            AtomicOp::And | AtomicOp::Min | AtomicOp::Max | AtomicOp::Swap => sink.unreachable(),
        };
        sink.i32_store(arg);
    }

    /// Pushes the element before the operation, done for one lane.
    fn atomic_lane(
        &mut self,
        op: AtomicOp,
        buffer: Param,
        ty: Type,
        places: Places,
        operand: Rep,
        lane: u32,
    ) {
        let arg = self.buffer_arg(buffer, ty, 0);
        let choice = match op {
            AtomicOp::Min => Some(BinaryOp::Min),
            AtomicOp::Max => Some(BinaryOp::Max),
            AtomicOp::Add
            | AtomicOp::Sub
            | AtomicOp::And
            | AtomicOp::Or
            | AtomicOp::Xor
            | AtomicOp::Swap => None,
        };
        let Some(choice) = choice else {
            self.lane_address(places, lane);
            self.code.lane(operand, ty, lane);
            return self.code.atomic_rmw(op, arg);
        };
        let address = self.code.local(ValType::I32);
        let by = self.code.local(ValType::I32);
        self.lane_address(places, lane);
        self.code.set(address);
        self.code.lane(operand, ty, lane);
        self.code.set(by);
        self.atomic_choice(choice, ty, address, by, arg);
    }

    /// `loop: seen = cmpxchg(old, choose(old, by)); if seen != old: old = seen, again`
    fn atomic_choice(&mut self, choice: BinaryOp, ty: Type, address: u32, by: u32, arg: MemArg) {
        let (old, seen) = (self.code.local(ValType::I32), self.code.local(ValType::I32));
        self.code.sink().local_get(address).i32_atomic_load(arg).local_set(seen);
        let again = self.code.open_loop();
        self.code.sink().local_get(seen).local_set(old);
        self.code.sink().local_get(address).local_get(old);
        self.code.scalar_binary(choice, ty, Rep::Scalar(old), Rep::Scalar(by));
        self.code.sink().i32_atomic_rmw_cmpxchg(arg).local_tee(seen).local_get(old).i32_ne();
        self.code.branch_if(again);
        self.code.close();
        self.code.get(old);
    }
}
