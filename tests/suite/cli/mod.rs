//! The command line as a person or a script meets it.

mod dimension;
mod evaluate;
mod fit;
mod info;
#[cfg(unix)]
mod interruption;
mod kernel;
#[cfg(target_os = "linux")]
mod limits;
mod verify;
