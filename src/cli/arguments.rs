//! Reading arguments: what cannot be read is told in one sentence, for both binaries.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Command, Parser};

/// The arguments of this program; `Err` holds one sentence that says what is wrong with them. Asked for help or the version,
/// it prints that and ends the program.
pub fn parse<A: Parser>() -> Result<A, String> {
    read(std::env::args_os()).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
        // No arguments at all: the help is the answer.
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ => sentence(&error),
    })
}

fn read<A: Parser>(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<A, clap::Error> {
    let mut command = takes_negative_numbers(A::command());
    let matches = command.try_get_matches_from_mut(arguments)?;
    A::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// No option is a number: `--seed -1` is a value out of range, not an option that does not exist.
fn takes_negative_numbers(command: Command) -> Command {
    command.allow_negative_numbers(true).mut_subcommands(takes_negative_numbers)
}

/// What stands before the usage in a message of several lines, put on one.
fn sentence(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let told = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let parts: Vec<&str> = told.map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut sentence = String::new();
    for part in parts {
        let part = part.trim_start_matches("error: ").trim_start_matches("tip: ");
        if !sentence.is_empty() {
            sentence.push_str(if sentence.ends_with(':') || part.starts_with('[') { " " } else { "; " });
        }
        sentence.push_str(part);
    }
    if text.contains("--help") {
        sentence.push_str(" (--help tells what can be given)");
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Example {
        /// A file
        file: String,
        /// How many
        #[arg(long, value_name = "N")]
        count: usize,
    }

    fn told(arguments: &[&str]) -> String {
        sentence(&read::<Example>([&["example"], arguments].concat()).unwrap_err())
    }

    #[test]
    fn every_mistake_is_one_line_that_names_it() {
        for (arguments, wanted) in [
            (&["--count", "3"][..], "<FILE>"),
            (&["a", "--count", "many"], "'many'"),
            (&["a", "--count", "-1"], "'-1' for '--count <N>'"),
            (&["a", "--coun", "3"], "'--count'"),
            (&["a", "b", "--count", "3"], "'b'"),
        ] {
            let sentence = told(arguments);
            assert!(sentence.contains(wanted) && sentence.lines().count() == 1, "{sentence}");
            assert!(!sentence.contains("Usage") && !sentence.starts_with("error"), "{sentence}");
        }
    }
}
