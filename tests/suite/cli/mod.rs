//! The command line as a person or a script meets it.

mod evaluate;
mod fit;
mod info;
mod kernel;
mod verify;
