//! Filters, resampling and statistics of images.

pub mod bilateral;
pub mod equalise;
pub mod gaussian;
pub mod integral;
pub mod luma;
pub mod median3x3;
pub mod resize;
pub mod sobel;
