//! The objects of the papers.
