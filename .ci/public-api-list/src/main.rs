//! Prints the public items that a rustdoc JSON file describes, as `cargo public-api --simplified` does.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: public-api-list FILE");
        return ExitCode::from(2);
    };
    match public_api::Builder::from_rustdoc_json(path).omit_blanket_impls(true).build() {
        Ok(api) => {
            print!("{api}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
