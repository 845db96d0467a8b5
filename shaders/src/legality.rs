//! What an adapter can do, and whether that is enough for a kernel: the one table that decides.
//! naga's validator and the drivers are no help here, as they accept more than they compute.

use crossover_kernels::error::RunError;
use crossover_kernels::ir::{
    Access, BinaryOp, Block, Const, Inst, Kernel, Span, Stmt, Type, Value,
};

use crate::schedule::SCAN_ELEMENTS;

/// What an adapter can do, as far as kernels can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// The name of the device, for error messages.
    pub device: String,
    /// Whether it computes on the CPU: then an invocation is cheap, and a barrier dear.
    pub is_software: bool,
    /// 64-bit integers in shaders.
    pub int64: bool,
    /// `f64` in shaders.
    pub float64: bool,
    /// `f16` in shaders; the kernel language has no such type.
    pub float16: bool,
    /// The least and the most invocations of a subgroup, where shaders can exchange values within one.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// Invocations of one workgroup.
    pub workgroup_invocations_max: u32,
    /// Invocations of one workgroup along each axis.
    pub workgroup_size_max: [u32; 3],
    /// Bytes that the invocations of a workgroup can share.
    pub workgroup_bytes_max: u32,
    /// Workgroups of one dispatch along one axis.
    pub workgroups_per_axis_max: u32,
    /// Storage buffers that one shader can bind.
    pub storage_buffers_max: u32,
    /// Bytes of a storage buffer that a shader sees at once.
    pub storage_buffer_bytes_max: u64,
    /// Bytes of a buffer.
    pub buffer_bytes_max: u64,
    /// What a shader sees of a buffer begins at a multiple of so many bytes.
    pub storage_alignment: u32,
    /// Bytes between the starts of two parameter blocks in one buffer.
    pub uniform_alignment: u32,
    /// Bytes of numbers that stand in the commands themselves.
    pub immediate_bytes_max: u32,
    /// Passages of all loops of an invocation together after which the driver ends them in silence; `None` where
    /// it does not.
    pub loop_passages_max: Option<u32>,
}

impl Capabilities {
    /// What every WebGPU device has, and nothing more.
    ///
    /// ```
    /// use crossover_shaders::Capabilities;
    /// assert!(!Capabilities::baseline().float64);
    /// ```
    pub fn baseline() -> Capabilities {
        Capabilities {
            device: "a WebGPU device".to_owned(),
            is_software: false,
            int64: false,
            float64: false,
            float16: false,
            subgroup_sizes: None,
            workgroup_invocations_max: 256,
            workgroup_size_max: [256, 256, 64],
            workgroup_bytes_max: 16_384,
            workgroups_per_axis_max: 65_535,
            storage_buffers_max: 8,
            storage_buffer_bytes_max: 128 << 20,
            buffer_bytes_max: 256 << 20,
            storage_alignment: 256,
            uniform_alignment: 256,
            immediate_bytes_max: 0,
            loop_passages_max: None,
        }
    }

    /// The baseline and all that a kernel can ask for.
    ///
    /// ```
    /// use crossover_shaders::Capabilities;
    /// assert!(Capabilities::everything().float64);
    /// ```
    pub fn everything() -> Capabilities {
        Capabilities {
            device: "a full device".to_owned(),
            int64: true,
            float64: true,
            float16: true,
            subgroup_sizes: Some([4, 64]),
            storage_buffers_max: 64,
            immediate_bytes_max: 128,
            ..Capabilities::baseline()
        }
    }

    /// naga's names for these.
    pub(crate) fn naga(&self) -> naga::valid::Capabilities {
        let mut caps = naga::valid::Capabilities::empty();
        caps.set(naga::valid::Capabilities::SHADER_INT64, self.int64);
        caps.set(naga::valid::Capabilities::FLOAT64, self.float64);
        caps.set(naga::valid::Capabilities::SUBGROUP, self.subgroup_sizes.is_some());
        caps.set(naga::valid::Capabilities::IMMEDIATES, self.immediate_bytes_max > 0);
        caps
    }

    /// What is missing for values of a type.
    fn missing(&self, ty: Type) -> Option<&'static str> {
        match ty {
            Type::Bool | Type::I32 | Type::U32 | Type::F32 => None,
            Type::I64 | Type::U64 => (!self.int64).then_some("SHADER_INT64"),
            // NaN is told by its bits, which are a `u64`.
            Type::F64 if !self.float64 => Some("SHADER_F64"),
            Type::F64 => (!self.int64).then_some("SHADER_INT64"),
        }
    }
}

/// Checks that a device can run a kernel.
///
/// # Errors
/// [`RunError::Unsupported`] with the first construct that it cannot run, and where that stands.
///
/// ```
/// use crossover_kernels::{front, ir::Type, library::saxpy::saxpy};
/// use crossover_shaders::{Capabilities, legality};
/// let kernel = front::kernel(saxpy::DEF, &[], &[]).expect("it is right");
/// assert!(legality::check(&kernel, &Capabilities::baseline()).is_ok());
/// let few = Capabilities { storage_buffers_max: 1, ..Capabilities::baseline() };
/// assert!(legality::check(&kernel, &few).is_err(), "it has two");
/// ```
pub fn check(kernel: &Kernel, caps: &Capabilities) -> Result<(), RunError> {
    let refuse = |what: String| {
        Err(RunError::Unsupported {
            kernel: kernel.entry.name.clone(),
            device: caps.device.clone(),
            what,
        })
    };
    let at = |span: Span| match kernel.location(span) {
        place if span.line > 0 => format!(" at {place}"),
        _ => String::new(),
    };
    let entry = &kernel.entry;
    for (param, element, access) in entry.buffers() {
        let name = &entry.params[param.index()].name;
        if let Some(feature) = caps.missing(element) {
            return refuse(format!("buffer `{name}` of {element} needs {feature}"));
        }
        if access == Access::Atomic && !matches!(element, Type::I32 | Type::U32) {
            return refuse(format!("buffer `{name}` of atomic {element}"));
        }
    }
    for (param, element, _) in entry.shared() {
        if let Some(feature) = caps.missing(element) {
            let name = &entry.params[param.index()].name;
            return refuse(format!("shared array `{name}` of {element} needs {feature}"));
        }
    }
    if let Some(what) = too_large(kernel, caps) {
        return refuse(what);
    }
    for (param, ty) in entry.scalars() {
        if let Some(feature) = caps.missing(ty) {
            let name = &entry.params[param.index()].name;
            return refuse(format!("scalar `{name}` of {ty} needs {feature}"));
        }
    }
    for local in &entry.locals {
        if let Some(feature) = caps.missing(local.ty) {
            return refuse(format!("a variable of {} needs {feature}", local.ty));
        }
    }
    for def in &entry.values {
        if let Some(feature) = caps.missing(def.ty) {
            return refuse(format!("a value of {}{} needs {feature}", def.ty, at(def.span)));
        }
        if let Some(what) = refused(&def.inst) {
            return refuse(format!("{what}{}", at(def.span)));
        }
    }
    let mut call = None;
    entry.walk(&mut |stmt| {
        if let Stmt::CallVoid(_, _, span) = stmt {
            call = call.or(Some(*span));
        }
    });
    if let Some(span) = call {
        return refuse(format!("a call that was not inlined{}", at(span)));
    }
    if let Some(limit) = caps.loop_passages_max
        && let Err(span) = passages_together(kernel).and_then(|all| match all {
            all if all <= u64::from(limit) => Ok(()),
            _ => Err(Span::default()),
        })
    {
        return refuse(format!(
            "a loop of more than {limit} passages, or of unknown length, which this driver cuts in \
             silence{}",
            at(span)
        ));
    }
    let needed = storage_buffers(kernel);
    if needed > caps.storage_buffers_max {
        let limit = caps.storage_buffers_max;
        return refuse(format!(
            "{needed} storage buffers, max_storage_buffers_per_shader_stage is {limit}"
        ));
    }
    Ok(())
}

/// Passages of all loops of an invocation together, at most; in the error, a loop of unknown length. An invocation of
/// a collective takes several points in a loop of its own.
pub(crate) fn passages_together(kernel: &Kernel) -> Result<u64, Span> {
    let of_point = passages(kernel, &kernel.entry.body)?;
    Ok(match kernel.collective {
        Some(_) => of_point.saturating_add(1).saturating_mul(u64::from(SCAN_ELEMENTS[1])),
        None => of_point,
    })
}

fn passages(kernel: &Kernel, block: &Block) -> Result<u64, Span> {
    let entry = &kernel.entry;
    let mut all = 0u64;
    for stmt in block {
        let inside = stmt.blocks().into_iter().map(|block| passages(kernel, block));
        let inside: u64 = inside.sum::<Result<u64, Span>>()?;
        all = all.saturating_add(match stmt {
            Stmt::For { counter, start, end, step, .. } => {
                let (Some(start), Some(end)) = (least(kernel, *start), most(kernel, *end)) else {
                    return Err(entry.def(*counter).span);
                };
                let trips = (end - start).max(0).unsigned_abs().div_ceil(u128::from(*step));
                u64::try_from(trips).unwrap_or(u64::MAX).saturating_mul(inside.saturating_add(1))
            }
            Stmt::Loop(_) => return Err(Span::default()),
            _ => inside,
        });
    }
    Ok(all)
}

/// The least that an integer can be, as far as its own instruction says.
fn least(kernel: &Kernel, value: Value) -> Option<i128> {
    let known = kernel.entry.as_const(value).and_then(Const::to_int);
    let is_unsigned = matches!(kernel.entry.ty(value), Type::U32 | Type::U64);
    known.or(is_unsigned.then_some(0))
}

/// The most that an integer can be: `n.min(1000)` is as good as a number to those who must know.
fn most(kernel: &Kernel, value: Value) -> Option<i128> {
    let entry = &kernel.entry;
    match entry.def(value).inst {
        Inst::Binary(BinaryOp::Min, a, b) => match (most(kernel, a), most(kernel, b)) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        },
        _ => entry.as_const(value).and_then(Const::to_int),
    }
}

/// What of the kernel's workgroups is beyond the device, in words.
fn too_large(kernel: &Kernel, caps: &Capabilities) -> Option<String> {
    let size = kernel.workgroup?;
    let invocations: u32 = size.iter().product();
    let limit = caps.workgroup_invocations_max;
    if invocations > limit {
        return Some(format!(
            "a workgroup of {invocations}, max_compute_invocations_per_workgroup is {limit}"
        ));
    }
    let limits = caps.workgroup_size_max;
    if size.iter().zip(limits).any(|(&size, limit)| size > limit) {
        return Some(format!("a workgroup of {size:?}, max_compute_workgroup_size is {limits:?}"));
    }
    let bytes = kernel.entry.shared().map(|(_, ty, len)| u64::from(len) * ty.bytes() as u64);
    let (bytes, limit) = (bytes.sum::<u64>(), caps.workgroup_bytes_max);
    (bytes > u64::from(limit)).then(|| {
        format!("{bytes} bytes of shared arrays, max_compute_workgroup_storage_size is {limit}")
    })
}

/// An instruction that no shader can express, in words.
fn refused(inst: &Inst) -> Option<String> {
    match inst {
        Inst::Unary(op, _) if op.is_transcendental() => {
            Some(format!("`{op}` that was not lowered to arithmetic"))
        }
        Inst::Binary(op, ..) if op.is_transcendental() => {
            Some(format!("`{op}` that was not lowered to arithmetic"))
        }
        Inst::Call(..) => Some("a call that was not inlined".to_owned()),
        Inst::Const(_)
        | Inst::Param(_)
        | Inst::Id(_)
        | Inst::Local(_)
        | Inst::Group(_)
        | Inst::Extent(_)
        | Inst::Len(_)
        | Inst::Counter
        | Inst::Unary(..)
        | Inst::Binary(..)
        | Inst::Fma(..)
        | Inst::Select(..)
        | Inst::Cast(_)
        | Inst::Bitcast(_)
        | Inst::Get(_)
        | Inst::GetElement(..)
        | Inst::Load(..)
        | Inst::AtomicLoad(..)
        | Inst::Atomic(..)
        | Inst::CompareSwap(..) => None,
    }
}

/// Storage buffers that the shader of a kernel binds at once.
fn storage_buffers(kernel: &Kernel) -> u32 {
    let buffers = kernel.entry.buffers().count() as u32;
    buffers + u32::from(needs_status(kernel)) + u32::from(kernel.collective.is_some())
}

/// Whether an invocation can end otherwise than well: by a check, or by looping forever.
pub(crate) fn needs_status(kernel: &Kernel) -> bool {
    let mut checks = false;
    kernel.entry.walk(&mut |stmt| checks |= matches!(stmt, Stmt::Check { .. }));
    checks || has_unbounded_loop(kernel)
}

/// Whether a loop has no bound of its own.
pub(crate) fn has_unbounded_loop(kernel: &Kernel) -> bool {
    let mut found = false;
    kernel.entry.walk(&mut |stmt| found |= matches!(stmt, Stmt::Loop(_)));
    found
}
