//! What a kernel became, for people to read: WebAssembly and machine code, each place with the line of the
//! source that it comes from.

use crossover_kernels::error::RunError;
use crossover_kernels::ir::{Kernel, Span};

use crate::emit::{WasmModule, emit};
use crate::engine::{Engines, machine_code};
use crate::schedule::Schedule;

/// A kernel as WebAssembly and as machine code.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The WebAssembly.
    pub module: WasmModule,
    /// The machine code of all functions.
    pub text: Vec<u8>,
    /// Each function's name, its first byte in the text, and its number of bytes.
    pub functions: Vec<(String, usize, usize)>,
    /// Bytes from the start of the text to the code for a place in the source, in order; `None` for code that
    /// comes from none.
    pub lines: Vec<(usize, Option<Span>)>,
}

impl Listing {
    /// Compiles a kernel as the executor would: optimised, and laid out in this way.
    ///
    /// # Errors
    /// [`RunError::Unsupported`] where this back end does not take the kernel, [`RunError::Device`] where the
    /// compiler fails.
    ///
    /// ```
    /// use crossover_kernels::{front, library::saxpy::saxpy, passes};
    /// use crossover_wasm::{Listing, Schedule};
    /// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[]).expect("it is right"));
    /// let listing = Listing::new(&kernel, Schedule::default_for(&kernel))?;
    /// assert!(listing.module.bytes.starts_with(b"\0asm") && !listing.text.is_empty());
    /// # Ok::<(), crossover_kernels::error::RunError>(())
    /// ```
    pub fn new(kernel: &Kernel, schedule: Schedule) -> Result<Listing, RunError> {
        let name = &kernel.entry.name;
        let module = emit(kernel, schedule).map_err(|error| RunError::Unsupported {
            kernel: name.clone(),
            device: "wasm".to_owned(),
            what: error.to_string(),
        })?;
        let fail = |error: wasmtime::Error| RunError::Device {
            kernel: name.clone(),
            device: "wasm".to_owned(),
            message: format!("{error:#}"),
        };
        let engine = Engines::new().and_then(|engines| engines.get(module.unbounded));
        let code = machine_code(&engine.map_err(fail)?, &module.bytes).map_err(fail)?;
        let line = |at: usize| {
            let next = module.lines.partition_point(|(from, _)| *from <= at);
            Some(module.lines[next.checked_sub(1)?].1)
        };
        let lines = code.places.iter().map(|(at, of)| (*at, of.and_then(line))).collect();
        Ok(Listing { module, text: code.text, functions: code.functions, lines })
    }
}
