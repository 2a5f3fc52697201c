//! The analytic neural tangent kernel of a two-layer ReLU network of infinite width:
//! `K(z, z') = <z, z'> (pi - angle(z, z')) / (2 pi)` (Cho, Saul 2009; HRX section 3), and 0 with a zero vector.
//!
//! Gram matrices go into caller memory ([`gram_into`], [`gram_lower_into`], [`gram_rows_into`], [`cross_gram_into`]) or an
//! owned [`GramMatrix`]; [`KernelProduct`] applies the kernel without ever forming it. Samples are rows, with any strides.
//!
//! Errors are stated relative to `|z| |z'|`. They hold for norms from twice the type's smallest normal number on; below, a norm
//! itself has fewer digits.

pub(crate) mod arccos;
pub(super) mod dense;
mod entry;
pub(super) mod owned;
pub(super) mod product;
pub(crate) mod reference;
pub(super) mod samples;
mod store;
mod tile;

pub use entry::{cross_gram_into, gram, gram_into, gram_lower_into, gram_rows_into};
// For the crate's own tests and benchmarks, some of them with an explicit level.
#[doc(hidden)]
pub use entry::{cross_gram_with, diagonal_into, gram_lower_with, gram_rows_with, gram_with, row_norms_into};
pub use owned::GramMatrix;
pub use product::{KernelProduct, ProductWorkspace};

#[cfg(test)]
mod tests;
