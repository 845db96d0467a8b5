//! A host that runs every call in the reference interpreter, on plain vectors.

#![allow(
    unreachable_pub,
    missing_docs,
    dead_code,
    clippy::type_complexity,
    reason = "shared by test binaries"
)]

use crossover_kernels::error::RunError;
use crossover_kernels::exec::Grid;
use crossover_kernels::interp::{self, Data};
use crossover_kernels::ir::{Const, Extent, Kernel, Type};
use crossover_kernels::{Args, Def, Host, Scalar, front};

/// Runs calls in the interpreter.
pub struct Reference;

pub enum Arg<'b> {
    Scalar(Const),
    Buffer(Data, Option<Box<dyn FnMut(&Data) + 'b>>),
}

pub struct Call<'b> {
    pub kernel: Kernel,
    args: Args<Arg<'b>>,
}

impl Host for Reference {
    type Buffer<T: Scalar> = Vec<T>;
    type Arg<'b> = Arg<'b>;
    type Call<'b> = Call<'b>;

    fn scalar<'b, T: Scalar>(&'b self, value: T) -> Arg<'b> {
        Arg::Scalar(value.to_const().expect("a value of 32 bits"))
    }

    fn read<'b, T: Scalar>(&'b self, buffer: &'b Vec<T>) -> Arg<'b> {
        Arg::Buffer(to_data(buffer), None)
    }

    fn write<'b, T: Scalar>(&'b self, buffer: &'b mut Vec<T>) -> Arg<'b> {
        let data = to_data(buffer);
        let back = move |data: &Data| {
            for (at, element) in buffer.iter_mut().enumerate() {
                *element = T::from_const(Const::new(T::TYPE, bits(data, at)));
            }
        };
        Arg::Buffer(data, Some(Box::new(back)))
    }

    fn call<'b>(
        &'b self,
        def: &'static Def,
        types: &[Type],
        consts: &[usize],
        args: Args<Arg<'b>>,
    ) -> Call<'b> {
        let kernel = front::kernel(def, types, consts).unwrap_or_else(|e| panic!("{e}"));
        Call { kernel, args }
    }
}

impl Call<'_> {
    /// Runs over the kernel's own grid.
    pub fn run(mut self) -> Result<(), RunError> {
        let mut data: Vec<Data> = self
            .args
            .iter()
            .map(|arg| match arg {
                Arg::Scalar(c) => Data::Scalar(*c),
                Arg::Buffer(data, _) => data.clone(),
            })
            .collect();
        let grid = grid(&self.kernel, &data);
        let outcome = interp::run(&self.kernel, &mut data, grid, None);
        for (arg, data) in self.args.iter_mut().zip(&data) {
            if let Arg::Buffer(_, Some(back)) = arg {
                back(data);
            }
        }
        outcome
    }
}

/// The kernel's own grid for these arguments.
pub fn grid(kernel: &Kernel, data: &[Data]) -> Grid {
    let mut grid = [1; 3];
    for (extent, size) in kernel.grid.iter().zip(&mut grid) {
        *size = match *extent {
            Extent::Len(param) => data[param.index()].len() as u32,
            Extent::Scalar(param) => match &data[param.index()] {
                Data::Scalar(c) => c.bits as u32,
                Data::Narrow(_) | Data::Wide(_) => 0,
            },
            Extent::Fixed(n) => n,
            Extent::Given => 1,
        };
    }
    grid
}

fn to_data<T: Scalar>(elements: &[T]) -> Data {
    let bits = elements.iter().map(|e| e.to_const().expect("a storable element").bits);
    if T::TYPE.is_wide() {
        Data::Wide(bits.collect())
    } else {
        Data::Narrow(bits.map(|b| b as u32).collect())
    }
}

fn bits(data: &Data, at: usize) -> u64 {
    match data {
        Data::Scalar(c) => c.bits,
        Data::Narrow(v) => u64::from(v[at]),
        Data::Wide(v) => v[at],
    }
}
