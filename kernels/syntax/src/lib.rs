//! The untyped syntax tree of a kernel: what `#[kernel]` stores in the program and what the front
//! end types.
//!
//! The tree is Rust cut down to the kernel subset, with the position of every expression. It is
//! kept as one byte string (postcard): encoding costs the compiler far less than building the tree
//! by generated code. [`parse`] reads Rust source into it, for the macro and for kernel files that
//! are read at run time, and reports *all* violations of the subset at once.

#![forbid(unsafe_code)]

#[cfg(feature = "parse")]
pub mod parse;
pub mod tree;

pub use tree::Tree;

/// The tree as bytes.
///
/// # Errors
/// A description of what cannot be encoded; trees from [`parse`] always can.
pub fn encode(tree: &Tree) -> Result<Vec<u8>, String> {
    postcard::to_allocvec(tree).map_err(|error| error.to_string())
}

/// The tree that [`encode`] made these bytes from.
///
/// # Errors
/// A description of what is wrong with the bytes: they are of another version, or cut.
pub fn decode(bytes: &[u8]) -> Result<Tree, String> {
    postcard::from_bytes(bytes).map_err(|error| error.to_string())
}
