//! IR to WGSL. A kernel becomes
//!
//! ```wgsl
//! struct Params { extent: u32, blocks: u32, x_len: u32, a: f32 }
//!
//! @group(0) @binding(0) var<storage> x: array<f32>;              // one for each buffer
//! @group(0) @binding(1) var<storage, read_write> y: array<f32>;
//! @group(0) @binding(2) var<uniform> params: Params;
//! @group(0) @binding(3) var<storage, read_write> status: Status; // where something can fail
//!
//! fn axpy(id: u32) { … }              // the entry function, for one grid point
//!
//! @compute @workgroup_size(256)
//! fn main(…) { … axpy(i); }           // which grid points an invocation runs
//! ```
//!
//! The kernel is a function of its own, so that an invocation which fails a check can `return` from
//! it and still reach the barriers of a collective. A kernel with workgroups of its own is the entry
//! point itself; where it has barriers, an invocation that fails goes on, its accesses held inside
//! the buffers, so that the others do not wait for it.

mod body;
mod code;
mod collective;
mod entry;
mod layout;
mod lines;
mod ops;

use crossover_kernels::error::RunError;
use crossover_kernels::ir::{Access, Kernel, Param, ParamKind, Type};
use crossover_kernels::passes::quads;
use naga::{AddressSpace, Handle, Module, StorageAccess, TypeInner};

use crate::legality::{self, Capabilities};
use crate::schedule::Schedule;
use crate::single_pass;

pub use layout::{Binding, Field, Layout, Member, Role};

/// The entry point that runs the kernel.
pub(crate) const MAIN: &str = "main";
/// The entry point that combines the partial results of a reduction.
pub(crate) const FOLD: &str = "fold";
/// The entry point that scans partial results, in place.
pub(crate) const SCAN_SUMS: &str = "scan_sums";
/// The entry point that adds the scanned partial results of the blocks before.
pub(crate) const ADD_SUMS: &str = "add_sums";

/// The site in a status that stands for a loop without end.
pub(crate) const SITE_NO_END: u32 = u32::MAX;
/// Bytes of a status on the device: `failed`, `site`, `index`, `x`, `y`, `z`, and padding.
pub(crate) const STATUS_BYTES: u64 = 32;
/// Bytes of the block of numbers of a further pass: `count`, `blocks` and `before`, and padding.
pub(crate) const LEVEL_BYTES: u64 = 16;
/// Passages through unbounded loops after which an invocation gives up.
const PASSAGES_MAX: u32 = 1 << 26;
/// Passages between two looks at whether the call has failed: a power of two.
const PASSAGES_BETWEEN_LOOKS: u32 = 1 << 16;

/// A kernel in WGSL, for one schedule.
#[derive(Clone, Debug)]
pub struct Shader {
    /// What wgpu gets.
    pub module: Module,
    /// What people read.
    pub wgsl: String,
    /// How it is spread over the device.
    pub schedule: Schedule,
    /// The bindings of group 0.
    pub bindings: Vec<Binding>,
    /// The block of numbers, among the immediates or in the binding [`Role::Params`].
    pub params: Layout,
    /// Whether numbers are immediates.
    pub immediates: bool,
    /// The type that a collective combines.
    pub contribution: Option<Type>,
    /// Whether an invocation goes on after a check has failed: its accesses must be held inside.
    pub goes_on: bool,
    /// Whether the kernel shares arrays, which begin as zeros.
    pub shares: bool,
}

impl Shader {
    /// Whether an invocation can end otherwise than well, and says so.
    pub(crate) fn has_status(&self) -> bool {
        self.bindings.iter().any(|binding| binding.role == Role::Status)
    }

    /// For each line of the WGSL, from the first, the number of a file of the kernel and a line in it that it
    /// comes from, where that is known.
    pub fn lines(&self) -> Vec<Option<(u32, u32)>> {
        lines::lines(&self.module, &self.wgsl)
    }
}

/// Emits a verified kernel whose helpers are inlined and whose transcendental functions are
/// arithmetic.
///
/// # Errors
/// [`RunError::Unsupported`] for what the device cannot do; [`RunError::Device`] where naga refuses
/// the shader, which is an error of this crate.
pub fn emit(kernel: &Kernel, caps: &Capabilities, schedule: &Schedule) -> Result<Shader, RunError> {
    legality::check(kernel, caps)?;
    if schedule.single_pass == Some(true) && !single_pass::is_legal(kernel, caps) {
        return Err(RunError::Unsupported {
            kernel: kernel.entry.name.clone(),
            device: caps.device.clone(),
            what: "a scan in one pass".to_owned(),
        });
    }
    let needs_status = legality::needs_status(kernel);
    let params = Layout::of(kernel, schedule);
    let immediates = params.bytes().max(LEVEL_BYTES as u32) <= caps.immediate_bytes_max;
    let once = schedule.single_pass == Some(true);
    let bindings = Binding::of(kernel, needs_status, immediates, once);

    let mut module = Module::default();
    let globals = Globals::declare(&mut module, kernel, &bindings, &params, schedule);
    let functions = entry::Failing::declare(&mut module, kernel, &globals);
    if kernel.workgroup.is_some() {
        let main = body::emit_main(&mut module, kernel, &params, &globals, functions);
        entry::push(&mut module, MAIN, main, schedule.workgroup);
        return finish(module, kernel, caps, schedule, bindings, params);
    }
    let body = body::emit(&mut module, kernel, &params, &globals, functions);
    match (kernel.collective, kernel.contribution()) {
        (Some(collective), Some(ty)) => {
            let combine = collective::Combine { op: collective.op, ty };
            collective::emit(
                &mut module,
                collective.kind,
                combine,
                body,
                &params,
                &globals,
                schedule,
            );
        }
        _ => entry::emit(&mut module, kernel, &params, body, &globals, schedule),
    }
    finish(module, kernel, caps, schedule, bindings, params)
}

fn finish(
    module: Module,
    kernel: &Kernel,
    caps: &Capabilities,
    schedule: &Schedule,
    bindings: Vec<Binding>,
    params: Layout,
) -> Result<Shader, RunError> {
    let wgsl = validate(&module, caps).map_err(|message| RunError::Device {
        kernel: kernel.entry.name.clone(),
        device: "the WGSL back end".to_owned(),
        message,
    })?;
    let contribution = kernel.contribution();
    let goes_on = body::has_barrier(&kernel.entry.body);
    let shares = kernel.entry.shared().next().is_some();
    let immediates = bindings.iter().all(|binding| binding.role != Role::Params);
    let schedule = *schedule;
    Ok(Shader {
        module,
        wgsl,
        schedule,
        bindings,
        params,
        immediates,
        contribution,
        goes_on,
        shares,
    })
}

/// The text of a module that naga accepts.
fn validate(module: &Module, caps: &Capabilities) -> Result<String, String> {
    let flags = naga::valid::ValidationFlags::all();
    let info = naga::valid::Validator::new(flags, caps.naga())
        .validate(module)
        .map_err(|error| format!("naga refuses the shader: {}", chain(error.as_inner())))?;
    naga::back::wgsl::write_string(module, &info, naga::back::wgsl::WriterFlags::empty())
        .map_err(|error| format!("naga cannot print the shader: {}", chain(&error)))
}

/// An error and what caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The module's variables.
struct Globals {
    /// One for each parameter that is a buffer.
    buffers: Vec<Option<Handle<naga::GlobalVariable>>>,
    /// Those that are seen as vectors of four elements.
    vectors: Vec<Param>,
    params: Handle<naga::GlobalVariable>,
    status: Option<Handle<naga::GlobalVariable>>,
    collective: Option<CollectiveGlobals>,
}

#[derive(Clone, Copy)]
struct CollectiveGlobals {
    /// The result of the reduction, or of the scan.
    output: Handle<naga::GlobalVariable>,
    /// One value of each invocation of a workgroup.
    shared: Handle<naga::GlobalVariable>,
    between: Between,
}

/// What workgroups of a collective leave for each other.
#[derive(Clone, Copy)]
enum Between {
    /// For further passes.
    Passes(PassGlobals),
    /// For those at work at the same time.
    Blocks(BlockGlobals),
}

#[derive(Clone, Copy)]
struct PassGlobals {
    sums: Handle<naga::GlobalVariable>,
    data: Handle<naga::GlobalVariable>,
    level: Handle<naga::GlobalVariable>,
}

#[derive(Clone, Copy)]
struct BlockGlobals {
    states: Handle<naga::GlobalVariable>,
    /// Of a workgroup: the number of its block, and what the blocks before come to.
    own_block: Handle<naga::GlobalVariable>,
    carry: Handle<naga::GlobalVariable>,
}

impl Globals {
    fn declare(
        module: &mut Module,
        kernel: &Kernel,
        bindings: &[Binding],
        params: &Layout,
        schedule: &Schedule,
    ) -> Globals {
        let index = |role: Role| bindings.iter().find(|b| b.role == role).map(|b| b.index);
        let mut buffers = vec![None; kernel.entry.params.len()];
        let vectors = if schedule.vectors { quads::buffers(kernel) } else { Vec::new() };
        for (param, element, access) in kernel.entry.buffers() {
            let name = &kernel.entry.params[param.index()].name;
            let ty = match vectors.contains(&param) {
                true => vectors_of(module, element),
                false => elements(module, element, access),
            };
            let space = storage(access != Access::Read);
            let binding = index(Role::Buffer(param));
            buffers[param.index()] = Some(code::global(module, name, space, binding, ty));
        }
        for (param, element, len) in kernel.entry.shared() {
            let def = &kernel.entry.params[param.index()];
            let atomic = matches!(def.kind, ParamKind::Shared { atomic: true, .. });
            let ty = if atomic {
                let base = code::anonymous(module, TypeInner::Atomic(code::scalar(element)));
                fixed(module, base, element, len)
            } else {
                array(module, element, len)
            };
            let global = code::global(module, &def.name, AddressSpace::WorkGroup, None, ty);
            buffers[param.index()] = Some(global);
        }
        let block = params.structure(module);
        let binding = index(Role::Params);
        let numbers = binding.map_or(AddressSpace::Immediate, |_| AddressSpace::Uniform);
        let params = code::global(module, "params", numbers, binding, block);
        let status = index(Role::Status).map(|binding| {
            let ty = status_type(module);
            code::global(module, "status", storage(true), Some(binding), ty)
        });
        let collective = kernel.contribution().and_then(|ty| {
            let output = (*buffers.last()?)?;
            let between = match index(Role::States) {
                Some(binding) => Between::Blocks(BlockGlobals::declare(module, binding, ty)),
                None => Between::Passes(PassGlobals::declare(module, &index, numbers, ty)),
            };
            let shared = shared(module, ty, schedule.invocations());
            Some(CollectiveGlobals { output, shared, between })
        });
        Globals { buffers, vectors, params, status, collective }
    }

    fn buffer(&self, param: Param) -> Handle<naga::GlobalVariable> {
        self.buffers[param.index()].expect("a verified access names a buffer")
    }
}

impl PassGlobals {
    fn declare(
        module: &mut Module,
        index: &impl Fn(Role) -> Option<u32>,
        numbers: AddressSpace,
        ty: Type,
    ) -> PassGlobals {
        let ty = elements(module, ty, Access::ReadWrite);
        let mut plain =
            |name: &str, role: Role| code::global(module, name, storage(true), index(role), ty);
        let (sums, data) = (plain("sums", Role::Sums), plain("data", Role::Data));
        let level = layout::words(module, "Level", &["count", "blocks", "before", "unused"]);
        let level = code::global(module, "level", numbers, index(Role::Level), level);
        PassGlobals { sums, data, level }
    }
}

impl BlockGlobals {
    /// ```wgsl
    /// struct State { low: atomic<u32>, high: atomic<u32> }
    /// struct States { begun: atomic<u32>, blocks: array<State> }
    /// ```
    fn declare(module: &mut Module, binding: u32, ty: Type) -> BlockGlobals {
        let word = code::anonymous(module, TypeInner::Atomic(naga::Scalar::U32));
        let member = |name: &str, ty, offset| naga::StructMember {
            name: Some(name.to_owned()),
            ty,
            binding: None,
            offset,
        };
        let halves = vec![member("low", word, 0), member("high", word, 4)];
        let base = layout::structure(module, "State", halves, 8);
        let array = TypeInner::Array { base, size: naga::ArraySize::Dynamic, stride: 8 };
        let blocks = code::anonymous(module, array);
        let members = vec![member("begun", word, 0), member("blocks", blocks, 4)];
        let states = layout::structure(module, "States", members, 12);
        let states = code::global(module, "states", storage(true), Some(binding), states);
        let mut own = |name: &str, ty: Type| {
            let ty = code::scalar_type(module, ty);
            code::global(module, name, AddressSpace::WorkGroup, None, ty)
        };
        let (own_block, carry) = (own("own_block", Type::U32), own("carry", ty));
        BlockGlobals { states, own_block, carry }
    }
}

fn storage(writable: bool) -> AddressSpace {
    let access =
        if writable { StorageAccess::LOAD | StorageAccess::STORE } else { StorageAccess::LOAD };
    AddressSpace::Storage { access }
}

/// `array<ty>`, or `array<atomic<ty>>`.
fn elements(module: &mut Module, ty: Type, access: Access) -> Handle<naga::Type> {
    let base = if access == Access::Atomic {
        code::anonymous(module, TypeInner::Atomic(code::scalar(ty)))
    } else {
        code::scalar_type(module, ty)
    };
    let size = naga::ArraySize::Dynamic;
    code::anonymous(module, TypeInner::Array { base, size, stride: ty.bytes() as u32 })
}

/// `array<vec4<ty>>`
fn vectors_of(module: &mut Module, ty: Type) -> Handle<naga::Type> {
    let base = code::vector_type(module, ty);
    let size = naga::ArraySize::Dynamic;
    let stride = quads::POINTS * ty.bytes() as u32;
    code::anonymous(module, TypeInner::Array { base, size, stride })
}

/// `array<ty, count>`
fn array(module: &mut Module, ty: Type, count: u32) -> Handle<naga::Type> {
    let base = code::scalar_type(module, ty);
    fixed(module, base, ty, count)
}

/// `array<base, count>` of elements as wide as the type.
fn fixed(
    module: &mut Module,
    base: Handle<naga::Type>,
    ty: Type,
    count: u32,
) -> Handle<naga::Type> {
    let count = std::num::NonZeroU32::new(count).expect("a verified array has elements");
    let size = naga::ArraySize::Constant(count);
    let stride = u32::from(code::scalar(ty).width);
    code::anonymous(module, TypeInner::Array { base, size, stride })
}

fn shared(module: &mut Module, ty: Type, count: u32) -> Handle<naga::GlobalVariable> {
    let ty = array(module, ty, count);
    code::global(module, "shared_values", AddressSpace::WorkGroup, None, ty)
}

/// `struct Status { failed: atomic<u32>, site: u32, index: u32, x: u32, y: u32, z: u32 }`
fn status_type(module: &mut Module) -> Handle<naga::Type> {
    let word = code::scalar_type(module, Type::U32);
    let flag = code::anonymous(module, TypeInner::Atomic(naga::Scalar::U32));
    let names = ["failed", "site", "index", "x", "y", "z"];
    let members = names
        .iter()
        .enumerate()
        .map(|(at, name)| naga::StructMember {
            name: Some((*name).to_owned()),
            ty: if at == 0 { flag } else { word },
            binding: None,
            offset: at as u32 * 4,
        })
        .collect();
    layout::structure(module, "Status", members, names.len() as u32 * 4)
}
