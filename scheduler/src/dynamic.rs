//! Calls of kernels that are known only at run time: from kernel files, from text, or generated.

use std::sync::Arc;

use crossover_kernels::Args;
use crossover_kernels::ir::{Const, Kernel};
use crossover_memory::Lent;

use crate::Device;
use crate::buffer::Buffer;
use crate::call::{Bound, BoundArg, Call};
use crate::error::Error;
use crate::runtime::{Runtime, bound};
use crate::version::Prepared;

/// A kernel that a runtime has adopted: see [`Runtime::adopt`].
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Prepared>);

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Handle").field(&self.0.name).finish()
    }
}

/// An argument whose type is known only at run time.
#[derive(Debug)]
#[expect(missing_docs, reason = "each variant is a buffer of the type it names")]
pub enum DynArg {
    /// A scalar.
    Scalar(Const),
    F32(Buffer<f32>),
    F64(Buffer<f64>),
    I32(Buffer<i32>),
    U32(Buffer<u32>),
    I64(Buffer<i64>),
    U64(Buffer<u64>),
}

impl DynArg {
    fn bound(&self) -> Bound<'_> {
        match self {
            DynArg::Scalar(c) => Bound(BoundArg::Scalar(*c)),
            DynArg::F32(b) => bound(b),
            DynArg::F64(b) => bound(b),
            DynArg::I32(b) => bound(b),
            DynArg::U32(b) => bound(b),
            DynArg::I64(b) => bound(b),
            DynArg::U64(b) => bound(b),
        }
    }
}

impl Handle {
    /// Whether both are the same code on a device: what differs is at most the name and the source.
    ///
    /// ```
    /// # use crossover::{Device, kernels::{front, library::saxpy::saxpy}};
    /// # let rt = crossover::Runtime::new()?;
    /// let kernel = front::kernel(saxpy::DEF, &[], &[])?;
    /// let (one, other) = (rt.adopt(kernel.clone(), "one"), rt.adopt(kernel, "other"));
    /// assert!(one.has_same_code(&other, Device::Gpu));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    #[must_use]
    pub fn has_same_code(&self, other: &Handle, device: Device) -> bool {
        let same_layout = device == Device::Gpu || self.0.schedule == other.0.schedule;
        same_layout && self.0.kernel.hash() == other.0.kernel.hash()
    }
}

impl Runtime {
    /// Takes a kernel that was made at run time; it is optimised here and compiled when called.
    ///
    /// ```
    /// # use crossover::{DynArg, kernels::{front, library::saxpy::saxpy}};
    /// # let rt = crossover::Runtime::new()?;
    /// let mine = rt.adopt(front::kernel(saxpy::DEF, &[], &[])?, "mine");
    /// let (x, y) = (DynArg::F32(rt.buffer_from(&[1.0])?), DynArg::F32(rt.alloc(1)?));
    /// rt.call_handle(&mine, &mut [DynArg::Scalar(2f32.into()), x, y]).run()?;
    /// assert_eq!(rt.ledger().last().map(|row| row.kernel.to_string()), Some("mine".into()));
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn adopt(&self, kernel: Kernel, name: impl Into<String>) -> Handle {
        Handle(Arc::new(Prepared::from_kernel(kernel, name.into())))
    }

    /// The same with some optimisations alone: those whose names are enabled, of the passes of
    /// [`crossover_kernels::passes::PIPELINE`] and `simd`, by which the CPU runs several invocations at
    /// a time. What an optimisation is worth is measured so. Passes that back ends need run in any
    /// case, those that are not enabled at the end.
    ///
    /// ```
    /// # use crossover::{Device, kernels::{front, library::saxpy::saxpy}};
    /// # let rt = crossover::Runtime::new()?;
    /// let kernel = front::kernel(saxpy::DEF, &[], &[])?;
    /// let best = rt.adopt(kernel.clone(), "best");
    /// let plain = rt.adopt_with(kernel, "plain", &|name| name != "simd");
    /// assert!(!plain.has_same_code(&best, Device::Cpu), "it runs one invocation at a time");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn adopt_with(
        &self,
        kernel: Kernel,
        name: impl Into<String>,
        enabled: &dyn Fn(&str) -> bool,
    ) -> Handle {
        Handle(Arc::new(Prepared::optimized_with(kernel, name.into(), enabled)))
    }

    /// A call of an adopted kernel: one argument for each parameter of its entry. Types are checked
    /// when the call runs.
    ///
    /// ```
    /// # use crossover::{DynArg, kernels::{front, library::saxpy::saxpy}};
    /// # let rt = crossover::Runtime::new()?;
    /// # let handle = rt.adopt(front::kernel(saxpy::DEF, &[], &[])?, "saxpy");
    /// let mut args = [2f32.into(), 3f32.into()].map(DynArg::Scalar);
    /// let error = rt.call_handle(&handle, &mut args).run().expect_err("two are too few");
    /// assert!(error.to_string().contains("saxpy"), "{error}");
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn call_handle<'b>(&'b self, handle: &'b Handle, args: &'b mut [DynArg]) -> Call<'b> {
        self.call_bound(handle, args.iter().map(DynArg::bound).collect())
    }

    /// The same with arguments that are bound already, by the functions of
    /// [`Host`](crossover_kernels::Host).
    ///
    /// ```
    /// # use crossover::kernels::{front, library::saxpy::saxpy};
    /// use crossover::Host;
    /// # let rt = crossover::Runtime::new()?;
    /// # let handle = rt.adopt(front::kernel(saxpy::DEF, &[], &[])?, "saxpy");
    /// let (x, mut y) = (rt.buffer_from(&[1.0f32, 2.0])?, rt.alloc::<f32>(2)?);
    /// let args = [rt.scalar(2f32), rt.read(&x), rt.write(&mut y)].into_iter().collect();
    /// rt.call_bound(&handle, args).run()?;
    /// assert_eq!(y.to_vec()?, [2.0, 4.0]);
    /// # Ok::<(), crossover::Error>(())
    /// ```
    pub fn call_bound<'b>(&'b self, handle: &'b Handle, args: Args<Bound<'b>>) -> Call<'b> {
        Call::new(self, Ok::<_, Error>(Lent::Lent(&handle.0)), args)
    }
}
