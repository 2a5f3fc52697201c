//! The hot routines.
