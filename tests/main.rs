//! The tests of the public face, in one program: each further program would compile the kernels it uses once more.
//!
//! Every SIMD level is tried inside this process, through the functions that take a level. The environment variable
//! `NTK_SCORE_SIMD` is read once per process, so that it is tested by running `ntk-score` (`suite/cli/info.rs`).

mod suite;
