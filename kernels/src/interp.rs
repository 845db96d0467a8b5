//! The reference interpreter: the meaning of the IR, written to be read, not to be fast.
//!
//! Invocations run one after another, x fastest, then y, then z. A reduction combines contributions
//! from left to right, starting with the identity; so does a scan.

mod group;

use std::sync::Arc;
use std::time::Instant;

use crate::error::{Failure, RunError};
use crate::eval;
use crate::exec::{
    Arg, Call, Deadline, Executor, Grid, Measurement, Part, Parts, Version, check_args,
};
use crate::ir::{
    Axis, CallArg, CollectiveKind, Const, Extent, Function, Helper, Inst, Kernel, LocalDef, Param,
    SiteId, Stmt, Type, Value,
};
use crate::passes::tail;

/// An argument, held by the interpreter.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// A scalar.
    Scalar(Const),
    /// A buffer of 32-bit elements, as bits.
    Narrow(Vec<u32>),
    /// A buffer of 64-bit elements, as bits.
    Wide(Vec<u64>),
}

impl Data {
    /// A buffer of `len` zero elements.
    ///
    /// ```
    /// use crossover_kernels::{interp::Data, ir::Type};
    /// assert_eq!(Data::zeroed(Type::F32, 2), Data::Narrow(vec![0, 0]));
    /// assert_eq!(Data::zeroed(Type::F64, 1), Data::Wide(vec![0]));
    /// ```
    pub fn zeroed(element: Type, len: usize) -> Data {
        if element.is_wide() { Data::Wide(vec![0; len]) } else { Data::Narrow(vec![0; len]) }
    }

    /// Number of elements; 0 for a scalar.
    ///
    /// ```
    /// # use crossover_kernels::{interp::Data, ir::Type};
    /// assert_eq!((Data::zeroed(Type::I64, 3).len(), Data::Scalar(1u32.into()).len()), (3, 0));
    /// ```
    pub fn len(&self) -> usize {
        match self {
            Data::Scalar(_) => 0,
            Data::Narrow(v) => v.len(),
            Data::Wide(v) => v.len(),
        }
    }

    /// Whether this holds no elements.
    ///
    /// ```
    /// # use crossover_kernels::{interp::Data, ir::Type};
    /// assert!(Data::zeroed(Type::F32, 0).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn get(&self, index: usize) -> Option<u64> {
        match self {
            Data::Scalar(_) => None,
            Data::Narrow(v) => v.get(index).map(|&b| u64::from(b)),
            Data::Wide(v) => v.get(index).copied(),
        }
    }

    fn set(&mut self, index: usize, bits: u64) -> Option<()> {
        match self {
            Data::Scalar(_) => return None,
            Data::Narrow(v) => *v.get_mut(index)? = bits as u32,
            Data::Wide(v) => *v.get_mut(index)? = bits,
        }
        Some(())
    }
}

/// The grid that the kernel's own extents give for these arguments.
///
/// ```
/// use crossover_kernels::{front, interp::{self, Data}, ir::Type, library::saxpy::saxpy};
/// let kernel = front::kernel(saxpy::DEF, &[], &[])?;
/// let buffer = Data::zeroed(Type::F32, 5);
/// let args = [Data::Scalar(2f32.into()), buffer.clone(), buffer];
/// assert_eq!(interp::default_grid(&kernel, &args), [5, 1, 1], "as long as what it writes");
/// # Ok::<(), crossover_kernels::error::KernelError>(())
/// ```
pub fn default_grid(kernel: &Kernel, args: &[Data]) -> Grid {
    let mut grid = [1; 3];
    for (extent, size) in kernel.grid.iter().zip(&mut grid) {
        *size = match *extent {
            Extent::Len(param) => args.get(param.index()).map_or(0, |data| data.len() as u32),
            Extent::Scalar(param) => match args.get(param.index()) {
                Some(Data::Scalar(c)) => c.bits as u32,
                Some(Data::Narrow(_) | Data::Wide(_)) | None => 0,
            },
            Extent::Fixed(size) => size,
            Extent::Given => 1,
        };
    }
    grid
}

/// Runs a verified kernel over the grid. What invocations wrote before an error stays written.
///
/// # Errors
/// [`RunError::Failed`] for the first check that fails, [`RunError::Deadline`] when it passes.
///
/// ```
/// use crossover_kernels::{front, interp::{self, Data}, library::saxpy::saxpy};
/// let kernel = front::kernel(saxpy::DEF, &[], &[])?;
/// let buffer = |values: [f32; 2]| Data::Narrow(values.map(f32::to_bits).to_vec());
/// let mut args = [Data::Scalar(2f32.into()), buffer([1.0, 2.0]), buffer([10.0, 20.0])];
/// interp::run(&kernel, &mut args, [2, 1, 1], None).expect("no check fails");
/// assert_eq!(args[2], buffer([12.0, 24.0]));
/// assert!(interp::run(&kernel, &mut args, [3, 1, 1], None).is_err(), "there is no third");
/// # Ok::<(), crossover_kernels::error::KernelError>(())
/// ```
pub fn run(
    kernel: &Kernel,
    args: &mut [Data],
    grid: Grid,
    deadline: Option<Deadline>,
) -> Result<(), RunError> {
    run_part(kernel, args, grid, Part::all(grid), deadline)
}

/// The same for a part of the grid, of a kernel that can be cut; a part of whole workgroups.
///
/// # Errors
/// As [`run`].
///
/// ```
/// use crossover_kernels::{exec::Part, front, interp::{self, Data}, library::saxpy::saxpy};
/// let kernel = front::kernel(saxpy::DEF, &[], &[])?;
/// let buffer = |values: [f32; 2]| Data::Narrow(values.map(f32::to_bits).to_vec());
/// let mut args = [Data::Scalar(2f32.into()), buffer([1.0, 2.0]), buffer([10.0, 20.0])];
/// interp::run_part(&kernel, &mut args, [2, 1, 1], Part { from: 1, to: 2 }, None).expect("runs");
/// assert_eq!(args[2], buffer([10.0, 24.0]));
/// # Ok::<(), crossover_kernels::error::KernelError>(())
/// ```
pub fn run_part(
    kernel: &Kernel,
    args: &mut [Data],
    grid: Grid,
    part: Part,
    deadline: Option<Deadline>,
) -> Result<(), RunError> {
    // However often a helper calls itself, this needs no stack for it.
    let looped = tail::without_recursion(kernel);
    let kernel = looped.as_ref().unwrap_or(kernel);
    let shared = kernel.entry.shared().map(|(_, ty, len)| Data::zeroed(ty, len as usize)).collect();
    let invocation = [0; 3];
    let (first, count) = (part.start(grid), part.extent(grid));
    let grid = kernel.whole_groups(grid);
    let mut machine = Machine { kernel, args, shared, grid, invocation, deadline, ticks: 0 };
    if let Some(size) = kernel.workgroup {
        return group::run(&mut machine, size, first, kernel.whole_groups(count));
    }
    let mut running = kernel.collective.zip(kernel.contribution()).map(|(c, ty)| c.op.identity(ty));
    let along = |axis: usize| first[axis]..first[axis] + count[axis];
    for z in along(2) {
        for y in along(1) {
            for x in along(0) {
                machine.invocation = [x, y, z];
                machine.collect(x as usize, &mut running)?;
            }
        }
    }
    if let (Some(collective), Some(total)) = (kernel.collective, running)
        && collective.kind == CollectiveKind::Reduce
    {
        machine.output().set(0, total.bits);
    }
    Ok(())
}

struct Machine<'a> {
    kernel: &'a Kernel,
    args: &'a mut [Data],
    /// The arrays that the workgroup at hand shares.
    shared: Vec<Data>,
    grid: Grid,
    invocation: [u32; 3],
    deadline: Option<Deadline>,
    ticks: u64,
}

/// The state of one function in one invocation.
struct Frame<'f> {
    function: &'f Function,
    /// What the function's parameters are, in terms of the entry's.
    args: Vec<FrameArg>,
    values: Vec<Option<Const>>,
    locals: Vec<Vec<Const>>,
}

#[derive(Clone, Copy)]
enum FrameArg {
    Scalar(Const),
    Buffer(Param),
}

/// How a block ends.
#[derive(Clone, Copy, PartialEq)]
enum Flow {
    Next,
    Break,
    Continue,
    Return,
}

const DEFINED: &str = "a verified kernel defines every value before its use";
const CHECKED: &str = "every access stands behind its check";

impl Machine<'_> {
    fn output(&mut self) -> &mut Data {
        self.args.last_mut().expect("a verified collective has an output parameter")
    }

    /// Runs one invocation and folds what it contributes into the running value.
    fn collect(&mut self, at: usize, running: &mut Option<Const>) -> Result<(), RunError> {
        let kernel = self.kernel;
        let contribution = self.call(&kernel.entry, self.entry_args())?;
        if let (Some(collective), Some(total), Some(c)) =
            (kernel.collective, running.as_mut(), contribution)
        {
            *total = eval::combine(collective.op, *total, c);
            let total = *total;
            if collective.kind == CollectiveKind::Scan {
                self.output().set(at, total.bits);
            }
        }
        Ok(())
    }

    fn entry_args(&self) -> Vec<FrameArg> {
        (0..self.kernel.entry.params.len())
            .map(|i| match self.args.get(i) {
                Some(Data::Scalar(c)) => FrameArg::Scalar(*c),
                Some(Data::Narrow(_) | Data::Wide(_)) | None => FrameArg::Buffer(Param(i as u32)),
            })
            .collect()
    }

    fn call(
        &mut self,
        function: &Function,
        args: Vec<FrameArg>,
    ) -> Result<Option<Const>, RunError> {
        let mut frame = Frame::new(function, args);
        self.block(&mut frame, &function.body)?;
        Ok(function.result.map(|local| frame.locals[local.index()][0]))
    }

    fn block(&mut self, frame: &mut Frame<'_>, block: &[Stmt]) -> Result<Flow, RunError> {
        for stmt in block {
            let flow = self.stmt(frame, stmt)?;
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn stmt(&mut self, frame: &mut Frame<'_>, stmt: &Stmt) -> Result<Flow, RunError> {
        match stmt {
            Stmt::Let(value) => {
                let result = self.inst(frame, *value)?;
                frame.values[value.index()] = Some(result);
            }
            Stmt::Set(local, value) => frame.locals[local.index()][0] = frame.value(*value),
            Stmt::SetElement(local, index, value) => {
                let (index, value) = (frame.index(*index), frame.value(*value));
                *frame.locals[local.index()].get_mut(index).expect(CHECKED) = value;
            }
            Stmt::Store(buffer, index, value) | Stmt::AtomicStore(buffer, index, value) => {
                let (index, bits) = (frame.index(*index), frame.value(*value).bits);
                self.buffer(frame, *buffer).set(index, bits).expect(CHECKED);
            }
            Stmt::Check { condition, site, index } => {
                if frame.value(*condition).bits == 0 {
                    return Err(self.fail(frame, *site, *index));
                }
            }
            Stmt::If { condition, then, otherwise } => {
                let taken = if frame.value(*condition).bits == 1 { then } else { otherwise };
                return self.block(frame, taken);
            }
            Stmt::For { counter, start, end, step, body } => {
                return self.count(frame, *counter, [*start, *end], *step, body);
            }
            Stmt::Loop(body) => loop {
                self.tick()?;
                match self.block(frame, body)? {
                    Flow::Next | Flow::Continue => {}
                    Flow::Break => break,
                    Flow::Return => return Ok(Flow::Return),
                }
            },
            Stmt::CallVoid(helper, args, _) => {
                self.helper(frame, *helper, args)?;
            }
            Stmt::Barrier(_) | Stmt::Each(_) => unreachable!("verified: what a workgroup runs"),
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Continue => return Ok(Flow::Continue),
            Stmt::Return => return Ok(Flow::Return),
        }
        Ok(Flow::Next)
    }

    fn count(
        &mut self,
        frame: &mut Frame<'_>,
        counter: Value,
        range: [Value; 2],
        step: u32,
        body: &[Stmt],
    ) -> Result<Flow, RunError> {
        let ty = frame.function.ty(counter);
        let [start, end] = range.map(|v| frame.value(v).to_int().expect("counters are integers"));
        let mut at = start;
        while at < end {
            self.tick()?;
            frame.values[counter.index()] = Some(Const::new(ty, at as u64));
            match self.block(frame, body)? {
                Flow::Next | Flow::Continue => {}
                Flow::Break => break,
                Flow::Return => return Ok(Flow::Return),
            }
            at += i128::from(step);
        }
        Ok(Flow::Next)
    }

    fn inst(&mut self, frame: &mut Frame<'_>, value: Value) -> Result<Const, RunError> {
        let def = frame.function.def(value);
        let result = match &def.inst {
            Inst::Const(c) => *c,
            Inst::Param(param) => match frame.args[param.index()] {
                FrameArg::Scalar(c) => c,
                FrameArg::Buffer(_) => unreachable!("verified: a scalar parameter"),
            },
            Inst::Id(axis) => self.invocation[axis.index()].into(),
            Inst::Local(axis) => (self.invocation[axis.index()] % self.group_size(*axis)).into(),
            Inst::Group(axis) => (self.invocation[axis.index()] / self.group_size(*axis)).into(),
            Inst::Extent(axis) => self.grid[axis.index()].into(),
            Inst::Len(buffer) => (self.buffer(frame, *buffer).len() as u32).into(),
            Inst::Counter => frame.value(value),
            Inst::Unary(op, a) => eval::unary(*op, frame.value(*a)),
            Inst::Binary(op, a, b) => {
                eval::binary(*op, frame.value(*a), frame.value(*b)).expect(CHECKED)
            }
            Inst::Fma(a, b, c) => eval::fma(frame.value(*a), frame.value(*b), frame.value(*c)),
            Inst::Select(c, a, b) => frame.value(if frame.value(*c).bits == 1 { *a } else { *b }),
            Inst::Cast(a) => eval::cast(frame.value(*a), def.ty),
            Inst::Bitcast(a) => Const::new(def.ty, frame.value(*a).bits),
            Inst::Get(local) => frame.locals[local.index()][0],
            Inst::GetElement(local, index) => {
                let index = frame.index(*index);
                *frame.locals[local.index()].get(index).expect(CHECKED)
            }
            Inst::Load(buffer, index) | Inst::AtomicLoad(buffer, index) => {
                let index = frame.index(*index);
                let bits = self.buffer(frame, *buffer).get(index).expect(CHECKED);
                Const::new(def.ty, bits)
            }
            Inst::Atomic(op, buffer, index, operand) => {
                let (index, operand) = (frame.index(*index), frame.value(*operand));
                let memory = self.buffer(frame, *buffer);
                let old = Const::new(def.ty, memory.get(index).expect(CHECKED));
                memory.set(index, eval::atomic(*op, old, operand).bits).expect(CHECKED);
                old
            }
            Inst::CompareSwap(buffer, index, expected, new) => {
                let (index, expected) = (frame.index(*index), frame.value(*expected));
                let new = frame.value(*new);
                let memory = self.buffer(frame, *buffer);
                let old = Const::new(def.ty, memory.get(index).expect(CHECKED));
                if old == expected {
                    memory.set(index, new.bits).expect(CHECKED);
                }
                old
            }
            Inst::Call(helper, args) => {
                self.helper(frame, *helper, args)?.expect("verified: a helper with a result")
            }
        };
        Ok(result)
    }

    fn helper(
        &mut self,
        frame: &Frame<'_>,
        helper: Helper,
        args: &[CallArg],
    ) -> Result<Option<Const>, RunError> {
        let kernel = self.kernel;
        let args = args
            .iter()
            .map(|arg| match arg {
                CallArg::Value(v) => FrameArg::Scalar(frame.value(*v)),
                CallArg::Buffer(p) => frame.args[p.index()],
            })
            .collect();
        self.call(&kernel.helpers[helper.index()], args)
    }

    fn buffer(&mut self, frame: &Frame<'_>, param: Param) -> &mut Data {
        match frame.args[param.index()] {
            FrameArg::Buffer(own) => self.data(own),
            FrameArg::Scalar(_) => unreachable!("verified: a buffer parameter"),
        }
    }

    /// A buffer of the call, or an array of the workgroup.
    fn data(&mut self, param: Param) -> &mut Data {
        let arity = self.args.len();
        match param.index().checked_sub(arity) {
            None => &mut self.args[param.index()],
            Some(at) => &mut self.shared[at],
        }
    }

    fn group_size(&self, axis: Axis) -> u32 {
        self.kernel.workgroup.map_or(1, |size| size[axis.index()])
    }

    fn fail(&mut self, frame: &Frame<'_>, site: SiteId, index: Option<Value>) -> RunError {
        let index = index.map_or(0, |v| frame.value(v).bits);
        // A helper's site names its own parameters: report them as the entry's.
        let mut kernel = Kernel { entry: frame.function.clone(), ..self.kernel.clone() };
        kernel.entry.name.clone_from(&self.kernel.entry.name);
        let lengths: Vec<u64> = (0..frame.args.len())
            .map(|i| match frame.args[i] {
                FrameArg::Buffer(own) => self.data(own).len() as u64,
                FrameArg::Scalar(_) => 0,
            })
            .collect();
        for (i, arg) in frame.args.iter().enumerate() {
            if let FrameArg::Buffer(own) = arg {
                kernel.entry.params[i].name.clone_from(&self.kernel.entry.params[own.index()].name);
            }
        }
        let length = |param: Param| lengths[param.index()];
        RunError::Failed(Failure::at(&kernel, site, self.invocation, index, length))
    }

    /// Counts loop passages, and looks at the clock now and then.
    fn tick(&mut self) -> Result<(), RunError> {
        self.ticks += 1;
        match self.deadline {
            Some(deadline) if self.ticks.is_multiple_of(1024) && deadline.has_passed() => {
                let kernel = self.kernel.entry.name.clone();
                Err(RunError::Deadline { kernel, limit: deadline.limit })
            }
            _ => Ok(()),
        }
    }
}

impl<'f> Frame<'f> {
    fn new(function: &'f Function, args: Vec<FrameArg>) -> Frame<'f> {
        let locals = function.locals.iter();
        let zeroed = |l: &LocalDef| vec![Const::zero(l.ty); l.array.unwrap_or(1) as usize];
        Frame {
            function,
            args,
            values: vec![None; function.values.len()],
            locals: locals.map(zeroed).collect(),
        }
    }

    fn value(&self, value: Value) -> Const {
        self.values[value.index()].expect(DEFINED)
    }

    fn index(&self, value: Value) -> usize {
        self.value(value).bits as usize
    }
}

/// The interpreter as a back end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interpreter;

impl Executor for Interpreter {
    fn name(&self) -> &str {
        "interp"
    }

    fn compile(&self, kernel: &Arc<Kernel>) -> Result<Arc<dyn Version>, RunError> {
        Ok(Arc::new(Interpreted(kernel.clone())))
    }

    fn runs_parts(&self) -> bool {
        true
    }
}

struct Interpreted(Arc<Kernel>);

impl Version for Interpreted {
    fn run(&self, call: &mut Call<'_, '_>) -> Result<Measurement, RunError> {
        self.run_part(call, Part::all(call.grid))
    }

    fn parts(&self, _: Grid) -> Option<Parts> {
        Some(Parts::alike(1))
    }

    fn run_part(&self, call: &mut Call<'_, '_>, part: Part) -> Result<Measurement, RunError> {
        let kernel = &*self.0;
        check_args(kernel, call.args, call.grid)?;
        let start = Instant::now();
        let mut data: Vec<Data> = call
            .args
            .iter()
            .zip(&kernel.entry.params)
            .map(|(arg, param)| match (arg, param.kind) {
                (Arg::Scalar(c), _) => Data::Scalar(*c),
                (Arg::Buffer { slot, len }, kind) => {
                    let len = *len as usize;
                    match kind {
                        crate::ir::ParamKind::Buffer { element, .. } if element.is_wide() => {
                            Data::Wide(call.claim.slice::<u64>(slot)[..len].to_vec())
                        }
                        _ => Data::Narrow(call.claim.slice::<u32>(slot)[..len].to_vec()),
                    }
                }
            })
            .collect();
        let outcome = run_part(kernel, &mut data, call.grid, part, call.deadline);
        for (param, _, access) in kernel.entry.buffers() {
            if access == crate::ir::Access::Read {
                continue;
            }
            if let Arg::Buffer { slot, len } = &call.args[param.index()] {
                let len = *len as usize;
                match &data[param.index()] {
                    Data::Narrow(v) => call.claim.slice_mut(slot)[..len].copy_from_slice(v),
                    Data::Wide(v) => call.claim.slice_mut(slot)[..len].copy_from_slice(v),
                    Data::Scalar(_) => {}
                }
            }
        }
        outcome.map(|()| Measurement { kernel: start.elapsed(), ..Measurement::default() })
    }
}
