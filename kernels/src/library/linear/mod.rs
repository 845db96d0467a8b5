//! Products, factors and transforms of matrices and vectors.

pub mod atax;
pub mod bicg;
pub mod fft;
pub mod gemver;
pub mod gesummv;
pub mod lu;
pub mod mat_vec;
pub mod syrk;
pub mod transpose;
pub mod two_mm;
