//! Stencils, lattices and random walks.

pub mod fdtd2d;
pub mod heat3d;
pub mod hotspot;
pub mod lattice;
pub mod life;
pub mod monte_carlo_pi;
pub mod reaction;
pub mod springs;
