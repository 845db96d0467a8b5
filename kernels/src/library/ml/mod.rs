//! Layers, norms and steps of learning.

pub mod adam;
pub mod argmax;
pub mod attention;
pub mod back_propagation;
pub mod cross_entropy;
pub mod embedding;
pub mod gelu;
pub mod k_means;
pub mod layer_norm;
pub mod max_pool;
pub mod quantised_dot;
pub mod softmax;
