//! `ntk-score`: fit a score model to a table, generate a table from it, see how good it is.

fn main() -> std::process::ExitCode {
    ntk_score::cli::commands::main()
}
