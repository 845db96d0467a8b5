//! Compute shaders as kernels: WGSL, SPIR-V and GLSL, read by naga, become the same IR as functions
//! under `#[kernel]`, and run, are placed and are explained like them.
//!
//! ```text
//! var<storage>            a buffer parameter, in the order of group and binding; its elements are
//!                         scalars: vectors and structures are several of them
//! var<uniform>            a scalar parameter for each scalar in it, behind the buffers; a buffer, where
//!                         some index into it is found at run time
//! var<workgroup>          a shared array
//! var<private>, var       variables
//! a function              its body, where it is called
//! vec2, vec3, vec4, mat…  that many values
//! override                a constant: see [`Module::with_constants`]
//! for (i = a; i < b; …)   a counted loop, where that can be seen
//! ```
//!
//! An index out of range and a division by zero are errors here as in every kernel, and not clamped.
//! What cannot be taken (textures, subgroups, …) is refused with the construct and its
//! line. A grid of one axis is as long as the first buffer that the shader writes, if its elements are
//! scalars; others have the extents that the call gives: in invocations, rounded up to whole
//! workgroups.

mod bits;
mod body;
mod counted;
mod expr;
mod layout;
mod math;
mod matrix;
mod place;

use std::sync::Arc;

use naga::back::PipelineConstants;
use naga::back::pipeline_constants::{PipelineConstantError, process_overrides};

use crate::error::{Diagnostic, KernelError};
use crate::ir::{Access, Extent, Kernel, ParamKind};
use crate::verify::verify;
use body::Body;

/// A shader with its compute entry points.
#[derive(Debug)]
pub struct Module {
    naga: naga::Module,
    info: naga::valid::ModuleInfo,
    file: Arc<str>,
    source: String,
    /// What a pipeline sets.
    constants: PipelineConstants,
}

/// A complaint before it has a location: what and where.
#[derive(Debug)]
struct Refusal {
    message: String,
    span: naga::Span,
}

type Taken<T> = Result<T, Refusal>;

impl Module {
    fn naga(&self) -> &naga::Module {
        &self.naga
    }

    /// Reads WGSL. `file` stands in messages.
    ///
    /// # Errors
    /// [`KernelError::Source`] with what does not parse or is not valid, and its line.
    ///
    /// ```
    /// use crossover_kernels::shader::Module;
    /// let text = "@compute @workgroup_size(64)\nfn main() {}";
    /// assert_eq!(Module::from_wgsl("nothing.wgsl", text)?.entries().count(), 1);
    /// let error = Module::from_wgsl("torn.wgsl", "fn main(").expect_err("it does not end");
    /// assert!(error.to_string().contains("torn.wgsl:1:"), "{error}");
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn from_wgsl(file: &str, source: &str) -> Result<Module, KernelError> {
        let naga = naga::front::wgsl::parse_str(source).map_err(|error| {
            let place = error.location(source);
            complaint(file, place, error.message().to_owned())
        })?;
        Module::validated(naga, file, source)
    }

    /// Reads SPIR-V, as bytes. `file` stands in messages.
    ///
    /// # Errors
    /// [`KernelError::Source`] with what cannot be read.
    ///
    /// ```
    /// use crossover_kernels::shader::Module;
    /// let error = Module::from_spirv("text.spv", b"no words").expect_err("this is text");
    /// assert!(error.to_string().contains("text.spv"), "{error}");
    /// ```
    pub fn from_spirv(file: &str, bytes: &[u8]) -> Result<Module, KernelError> {
        let options = naga::front::spv::Options::default();
        let naga = naga::front::spv::parse_u8_slice(bytes, &options)
            .map_err(|error| complaint(file, None, error.to_string()))?;
        Module::validated(naga, file, "")
    }

    /// Reads a GLSL compute shader. `file` stands in messages.
    ///
    /// # Errors
    /// [`KernelError::Source`] with what does not parse or is not valid, and its line.
    ///
    /// ```
    /// use crossover_kernels::shader::Module;
    /// let module = Module::from_glsl("ones.comp", "#version 450
    ///     layout(local_size_x = 64) in;
    ///     layout(set = 0, binding = 0) buffer Y { float y[]; };
    ///     void main() {
    ///         if (gl_GlobalInvocationID.x < y.length()) { y[gl_GlobalInvocationID.x] = 1.0; }
    ///     }")?;
    /// assert_eq!(module.kernel("main")?.workgroup, Some([64, 1, 1]));
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn from_glsl(file: &str, source: &str) -> Result<Module, KernelError> {
        let options = naga::front::glsl::Options::from(naga::ShaderStage::Compute);
        let parsed = naga::front::glsl::Frontend::default().parse(&options, source);
        let naga = parsed.map_err(|errors| {
            let first = errors.errors.first();
            let place = first.map(|error| error.meta.location(source));
            let message = first.map_or_else(String::new, |error| error.kind.to_string());
            complaint(file, place, message)
        })?;
        Module::validated(naga, file, source)
    }

    fn validated(naga: naga::Module, file: &str, source: &str) -> Result<Module, KernelError> {
        // Barriers are judged by `analysis::uniform`, which sees more than naga does.
        let flags = naga::valid::ValidationFlags::all()
            - naga::valid::ValidationFlags::CONTROL_FLOW_UNIFORMITY;
        let capabilities = naga::valid::Capabilities::all();
        let info = naga::valid::Validator::new(flags, capabilities).validate(&naga);
        let info = info.map_err(|error| {
            complaint(file, error.location(source), error.as_inner().to_string())
        })?;
        let constants = PipelineConstants::default();
        Ok(Module { naga, info, file: file.into(), source: source.to_owned(), constants })
    }

    /// The module with values for constants that a pipeline sets (`override N = 4u;`), by name, or by
    /// number where they have one (`@id(7)`). Booleans are 0 and 1.
    ///
    /// ```
    /// use crossover_kernels::shader::Module;
    /// let text = "override SIZE: u32;
    ///     @compute @workgroup_size(64) fn main() { var left = SIZE; }";
    /// let module = Module::from_wgsl("size.wgsl", text)?;
    /// assert!(module.kernel("main").is_err(), "`SIZE` has no value");
    /// assert!(module.with_constants([("SIZE", 4.0)]).kernel("main").is_ok());
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn with_constants<'n>(
        mut self,
        constants: impl IntoIterator<Item = (&'n str, f64)>,
    ) -> Module {
        let constants = constants.into_iter().map(|(name, value)| (name.to_owned(), value));
        self.constants.extend(constants);
        self
    }

    /// The names of the compute entry points.
    ///
    /// ```
    /// use crossover_kernels::shader::Module;
    /// let text = "@compute @workgroup_size(1) fn up() {}
    ///     @compute @workgroup_size(1) fn down() {}";
    /// let module = Module::from_wgsl("two.wgsl", text)?;
    /// assert_eq!(module.entries().collect::<Vec<_>>(), ["up", "down"]);
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn entries(&self) -> impl Iterator<Item = &str> {
        let compute = |point: &&naga::EntryPoint| point.stage == naga::ShaderStage::Compute;
        self.naga.entry_points.iter().filter(compute).map(|point| point.name.as_str())
    }

    /// The kernel of an entry point, verified but not optimised.
    ///
    /// # Errors
    /// [`KernelError::Source`] with what cannot be taken, and its line, and for constants that have no
    /// value or one that does not fit.
    ///
    /// ```
    /// use crossover_kernels::shader::Module;
    /// let module = Module::from_wgsl("fill.wgsl", "
    ///     @group(0) @binding(0) var<storage, read_write> y: array<f32>;
    ///     @compute @workgroup_size(64)
    ///     fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    ///         if (id.x < arrayLength(&y)) { y[id.x] = 1.0; }
    ///     }")?;
    /// assert_eq!(module.kernel("main")?.entry.params[0].name, "y");
    /// let error = module.kernel("mian").expect_err("there is none").to_string();
    /// assert!(error.contains("there are: main"), "{error}");
    /// # Ok::<(), crossover_kernels::error::KernelError>(())
    /// ```
    pub fn kernel(&self, entry: &str) -> Result<Kernel, KernelError> {
        let stage = naga::ShaderStage::Compute;
        let points = &self.naga.entry_points;
        let at = points.iter().position(|point| point.name == entry && point.stage == stage);
        let Some(at) = at else {
            let names: Vec<&str> = self.entries().collect();
            let message = format!("there is no compute entry point `{entry}`");
            let help = Some(format!("there are: {}", names.join(", ")));
            let location = self.file.to_string();
            let diagnostics = vec![Diagnostic { location, message, help }];
            return Err(KernelError::Source { kernel: entry.to_owned(), diagnostics });
        };
        let kernel = match self.specialized(entry)? {
            None => self.lowered(at)?,
            // Nothing but the entry point is left.
            Some(module) => module.lowered(0)?,
        };
        crate::front::refuse_divergent_barrier(&kernel)?;
        verify(&kernel)?;
        Ok(kernel)
    }

    /// The module with its constants in their places; `None` where it has none.
    fn specialized(&self, entry: &str) -> Result<Option<Module>, KernelError> {
        if self.naga.overrides.is_empty() && self.constants.is_empty() {
            return Ok(None);
        }
        let point = Some((naga::ShaderStage::Compute, entry));
        let done = process_overrides(&self.naga, &self.info, point, &self.constants);
        let (naga, info) = done.map_err(|error| {
            let message = match error {
                PipelineConstantError::MissingValue(name) => {
                    format!("the constant `{name}` has no value: give it one (`with_constants`)")
                }
                PipelineConstantError::NotFound(name) => {
                    format!("there is no constant `{name}` that a pipeline could set")
                }
                other => other.to_string(),
            };
            complaint(&self.file, None, message)
        })?;
        let (naga, info) = (naga.into_owned(), info.into_owned());
        let (file, source) = (self.file.clone(), self.source.clone());
        Ok(Some(Module { naga, info, file, source, constants: PipelineConstants::default() }))
    }

    fn lowered(&self, at: usize) -> Result<Kernel, KernelError> {
        self.lower(at).map_err(|refusal| {
            // What comes as bytes has no lines.
            let known = refusal.span.is_defined() && !self.source.is_empty();
            let place = known.then(|| refusal.span.location(&self.source));
            complaint(&self.file, place, refusal.message)
        })
    }

    fn lower(&self, at: usize) -> Taken<Kernel> {
        let point = &self.naga.entry_points[at];
        let mut body = Body::new(self, point, at)?;
        body.run()?;
        let (axes, plain) = (body.axes(), body.plain_buffers());
        let entry = body.finish();
        let written = entry.params.iter().position(|param| match param.kind {
            ParamKind::Buffer { access, .. } => access != Access::Read,
            ParamKind::Scalar(_) | ParamKind::Shared { .. } => false,
        });
        let first = match written {
            Some(at) if axes == 1 && plain.contains(&(at as u32)) => {
                Extent::Len(crate::ir::Param(at as u32))
            }
            Some(_) | None => Extent::Given,
        };
        let mut grid = vec![first];
        grid.resize(axes, Extent::Given);
        Ok(Kernel {
            entry,
            helpers: Vec::new(),
            grid,
            workgroup: Some(point.workgroup_size),
            collective: None,
            contract: false,
            files: vec![self.file.clone()],
        })
    }
}

fn complaint(file: &str, place: Option<naga::SourceLocation>, message: String) -> KernelError {
    let location = match place {
        Some(place) => format!("{file}:{}:{}", place.line_number, place.line_position),
        None => file.to_owned(),
    };
    let diagnostics = vec![Diagnostic { location, message, help: None }];
    KernelError::Source { kernel: file.to_owned(), diagnostics }
}

#[cfg(test)]
mod tests;
