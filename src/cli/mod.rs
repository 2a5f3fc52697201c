//! The command line: words, progress bars and files; no mathematics.

pub mod arguments;
mod checkpoints;
mod columns;
pub mod commands;
mod demo;
mod dimension;
mod dimension_plot;
mod evaluate;
mod evaluate_plots;
mod evaluate_report;
mod evaluate_words;
mod fit;
mod impute;
mod info;
mod kernel;
mod plots;
mod rows;
mod sample;
mod signals;
mod verify;
mod verify_page;
mod verify_plots;

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::files::output::PendingFile;
use indicatif::{ProgressBar, ProgressStyle};

/// What a command says when it cannot do its work: one sentence, and how it ends.
#[derive(Debug)]
pub struct Failure {
    sentence: String,
    code: u8,
}

/// The result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// The code of a command that could not do its work.
    const ERROR: u8 = 2;
    /// The code of a fit that wrote a model without training.
    const UNTRAINED: u8 = 3;

    /// A failure with this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: Self::ERROR }
    }

    /// A command that was interrupted.
    pub fn interrupted(sentence: String, code: u8) -> Self {
        Self { sentence, code }
    }

    /// A fit whose time was over before its first iteration; the model is written.
    pub fn untrained() -> Self {
        let sentence =
            "warning: the time was over before the first iteration, so the model is untrained; give a longer --budget";
        Self { sentence: sentence.into(), code: Self::UNTRAINED }
    }

    /// Says it, and gives the code to exit with.
    pub fn say(&self) -> ExitCode {
        let error = if self.code == Self::ERROR { "error: " } else { "" };
        note!("{error}{self}");
        ExitCode::from(self.code)
    }

    /// A failure of reading or writing the file at `path`.
    pub fn file(verb: &str, path: &Path, problem: &std::io::Error) -> Self {
        let reason = match problem.kind() {
            std::io::ErrorKind::NotFound => "there is no such file or folder".into(),
            std::io::ErrorKind::PermissionDenied => "permission is denied".into(),
            _ => problem.to_string(),
        };
        Self::new(format!("cannot {verb} {}: {reason}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<crate::Error> for Failure {
    fn from(error: crate::Error) -> Self {
        Self::new(with_flags(&error.to_string()))
    }
}

/// A message of the library with the names of settings as options of the command line.
pub fn with_flags(message: &str) -> String {
    let settings =
        ["categorical", "numerical", "drop", "identifier", "dates", "missing_marks", "missing", "no_header", "header"];
    settings.iter().fold(message.to_owned(), |message, setting| {
        message.replace(&format!("`{setting}`"), &format!("--{}", setting.replace('_', "-")))
    })
}

/// Starts the output file, so that an unwritable place is known before the work.
pub fn pending(path: &Path) -> Outcome<PendingFile> {
    PendingFile::create(path).map_err(|e| Failure::file("write", path, &e))
}

/// Writes bytes to a pending file and gives it its name.
pub fn finish(file: PendingFile, path: &Path, bytes: &[u8]) -> Outcome {
    file.finish(|w| w.write_all(bytes)).map_err(|e| Failure::file("write", path, &e))
}

/// Prints to standard output. A reader who has gone away has seen what he wanted, so a closed pipe is no failure; a full
/// disk is. Commands write their files before they print.
pub fn print(text: &str) -> Outcome {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot print the result to standard output: {e}")))
        }
        _ => Ok(()),
    }
}

/// Says something on standard error, in passing: where it cannot be said, the work goes on.
pub fn remark(words: fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// [`remark`] with the arguments of `format!`.
macro_rules! note {
    ($($words:tt)*) => { $crate::cli::remark(format_args!($($words)*)) };
}
pub(crate) use note;

/// Sets the number of threads everything runs on: the given one, or one per core.
pub fn use_threads(threads: Option<usize>) -> Outcome<usize> {
    if let Some(threads) = threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        pool.map_err(|e| Failure::new(format!("cannot start {threads} threads: {e}")))?;
    }
    Ok(rayon::current_num_threads())
}

/// A progress bar over `length` parts; hidden where standard error is no terminal.
pub fn progress_bar(length: u64, template: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    let style = ProgressStyle::with_template(template).expect("the template is fixed");
    bar.set_style(style.progress_chars("=> "));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
