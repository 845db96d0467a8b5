//! How the CPU's code of a kernel is laid out: what the model of layouts expects, and what calls have shown.
//!
//! A kernel begins with the layout that its shape alone suggests. Where its calls have taken long enough that a better
//! one would have paid for its compilation, the most promising of those whose results are the same is compiled
//! in the background, raced in real calls ([`race`]), and taken for calls of that size if it is the faster.

mod lays;
mod race;

use std::hash::{DefaultHasher, Hasher};
use std::sync::OnceLock;

use crossover_kernels::ir::Kernel;
use crossover_ml::Features;
use crossover_ml::layout::{Expected, Layout, LayoutModel, Outline};
use crossover_ml::optimise::Set;
use crossover_wasm::{Schedule, emit};

use crate::backends::CpuBackend;
use crate::error::Error;
use crate::runtime::Inner;
use crate::version::Prepared;
use lays::Want;

pub use lays::{Laid, Other};
pub(crate) use lays::{Lays, Turn};

/// What comes with the library, trained by `crossover train --layouts` on measured runs of `crossover collect --layouts`.
static SHIPPED: &[u8] = include_bytes!("../../models/layouts.safetensors");

/// The model of layouts that comes with the library, as a safetensors file.
///
/// ```
/// use crossover::ml::layout::LayoutModel;
/// assert!(LayoutModel::from_bytes(crossover::shipped_layouts()).is_ok());
/// ```
pub fn shipped_layouts() -> &'static [u8] {
    SHIPPED
}

/// Says what layouts of a kernel are worth.
#[derive(Debug, Default)]
pub struct LayoutChooser {
    /// Read when it is first asked.
    model: OnceLock<Result<LayoutModel, String>>,
}

impl LayoutChooser {
    /// With the shipped model.
    ///
    /// ```
    /// use crossover::{LayoutChooser, kernels::{front, library::nbody::nbody, passes}};
    /// let kernel = passes::optimize(&front::kernel(nbody::DEF, &[], &[])?);
    /// let features = crossover::ml::Features::missing();
    /// let expected = LayoutChooser::new().forecast(&kernel, &features)?;
    /// assert!(expected.windows(2).all(|two| two[0].log2 >= two[1].log2), "the best first");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn new() -> LayoutChooser {
        LayoutChooser::default()
    }

    /// What is expected in such a call of the layouts that may take the place of the default, the most promising
    /// first.
    ///
    /// # Errors
    /// [`Error::File`] where the model is of another version.
    ///
    /// ```
    /// use crossover::{LayoutChooser, kernels::{front, library::saxpy::saxpy, passes}};
    /// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[])?);
    /// let features = crossover::ml::Features::missing();
    /// let expected = LayoutChooser::new().forecast(&kernel, &features)?;
    /// assert!(expected.iter().all(|expected| expected.code_s > 0.0));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn forecast(&self, kernel: &Kernel, features: &Features) -> Result<Vec<Expected>, Error> {
        let read = || LayoutModel::from_bytes(SHIPPED).map_err(|error| error.to_string());
        let model = self.model.get_or_init(read).as_ref().map_err(|message| Error::File {
            path: "shipped model of layouts".to_owned(),
            message: message.clone(),
        })?;
        let all = Schedule::interchangeable(kernel).into_iter().map(layout_of);
        let default = layout_of(Schedule::default_for(kernel));
        Ok(model.forecast(features, &outline(kernel), default, all))
    }
}

impl Inner {
    /// Whether the layout of a kernel's code is to be learned: not before it has all optimisations, nor where the caller
    /// has chosen.
    pub(crate) fn learns_layout(&self, prepared: &Prepared) -> bool {
        let is_whole = || match prepared.chosen.get() {
            Some(choice) => choice.set == Set::ALL || prepared.later.get().is_some(),
            None => prepared.cpu.get().is_some(),
        };
        self.layouts.is_some() && prepared.schedule.is_none() && is_whole()
    }

    /// Does what the layouts of a kernel want: asks the model, or compiles.
    pub(crate) fn lay_out(&self, prepared: &Prepared) {
        let (Some(chooser), Some(want)) = (&self.layouts, prepared.lays.want()) else { return };
        let kernel = &*prepared.name;
        match want {
            Want::Forecast(features) => match chooser.forecast(&prepared.kernel, &features) {
                Ok(plan) => prepared.lays.plan(plan),
                Err(error) => {
                    tracing::warn!(kernel, %error, "layouts cannot be predicted");
                    prepared.lays.plan(Vec::new());
                }
            },
            Want::Compile(expected) if self.is_known_code(prepared, expected.layout) => {}
            Want::Compile(expected) => {
                let layout = expected.layout;
                let _span =
                    tracing::debug_span!("compile", kernel, device = "cpu", %layout).entered();
                match self.cpu.compile_laid_out(&prepared.kernel, schedule_of(layout)) {
                    Ok(version) => prepared.lays.add(expected, version),
                    // What there is goes on running.
                    Err(error) => {
                        tracing::debug!(kernel, %layout, %error, "not laid out otherwise");
                        prepared.lays.plan(Vec::new());
                    }
                }
            }
        }
        prepared.lays.done();
    }
}

impl Inner {
    /// Whether a layout gives the code of one that was there before: not every number makes a difference to every
    /// kernel.
    fn is_known_code(&self, prepared: &Prepared, layout: Layout) -> bool {
        if !matches!(self.cpu, CpuBackend::Wasm(_)) {
            return false;
        }
        let hash = |schedule: Schedule| {
            let module = emit(&prepared.kernel, schedule).ok()?;
            let mut hasher = DefaultHasher::new();
            hasher.write(&module.bytes);
            Some(hasher.finish())
        };
        let default = || hash(Schedule::default_for(&prepared.kernel));
        hash(schedule_of(layout)).is_some_and(|hash| prepared.lays.is_known(hash, default))
    }
}

/// The other way round.
fn schedule_of(layout: Layout) -> Schedule {
    let Layout { vectors, rows, unroll, depth } = layout;
    Schedule { vectors, rows, unroll, depth, refill: false }
}

/// A schedule as the model of layouts knows it.
///
/// ```
/// use crossover::{ml::layout::Layout, wasm::Schedule};
/// let plain = Layout { vectors: 1, rows: 1, unroll: 1, depth: 0 };
/// assert_eq!(crossover::layout_of(Schedule::PLAIN), plain);
/// ```
pub fn layout_of(schedule: Schedule) -> Layout {
    let Schedule { vectors, rows, unroll, depth, refill: _ } = schedule;
    Layout { vectors, rows, unroll, depth }
}

/// What the model of layouts is told of an optimised kernel beside the features of a call.
///
/// ```
/// use crossover::kernels::{front, library::saxpy::saxpy, passes};
/// let kernel = passes::optimize(&front::kernel(saxpy::DEF, &[], &[])?);
/// let outline = crossover::outline(&kernel);
/// assert_eq!((outline.loads, outline.has_loops), ([2.0, 0.0], false));
/// # Ok::<(), crossover::kernels::error::KernelError>(())
/// ```
pub fn outline(kernel: &Kernel) -> Outline {
    let of = crossover_wasm::Outline::of(kernel);
    Outline {
        instructions: of.instructions as f64,
        in_loops: of.in_loops as f64,
        held: of.held as f64,
        loads: of.loads.map(|loads| loads as f64),
        diverges: of.diverges,
        counts_apart: of.counts_apart,
        is_scattered: of.is_scattered,
        has_loops: of.has_loops,
        has_tiles: of.has_tiles,
    }
}
