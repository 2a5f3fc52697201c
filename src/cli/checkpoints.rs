//! Checkpoints of `fit`: where they are, when they are written, and how a fit goes on from one.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;
use crate::files::input;
use crate::files::output::PendingFile;
use crate::fit::{Checkpoint, Progress};
use clap::Args;

use super::{Failure, Outcome, note, signals};

/// At most so much work is lost if the program is killed.
const INTERVAL: Duration = Duration::from_secs(60);
/// At the end of training one more is written unless the last is younger, because calibrating the model can take a while too.
const LAST_INTERVAL: Duration = Duration::from_secs(10);

/// Where a fit can be gone on with.
#[derive(Debug, Args)]
pub struct CheckpointArgs {
    /// Where to keep a checkpoint of the fit, written every minute, on Ctrl-C and on SIGTERM, and removed at the end [default: the
    /// model's name with .checkpoint behind it; none where the model is no file]
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint of an interrupted fit of the same table with the same settings
    #[arg(long)]
    resume: bool,
}

/// The checkpoint of one fit.
pub struct Checkpoints {
    /// Where it is; nowhere if there is to be none.
    path: Option<PathBuf>,
    written: Instant,
    failed: bool,
}

impl CheckpointArgs {
    /// Finds the place of the checkpoint of a fit to `out`, and reads it if the fit is to go on.
    pub fn open(&self, out: &Path) -> Outcome<(Checkpoints, Option<Checkpoint>)> {
        let no_file = out.as_os_str() == "-" || std::fs::metadata(out).is_ok_and(|found| !found.is_file());
        let default = (!no_file).then(|| {
            let mut name = out.as_os_str().to_owned();
            name.push(".checkpoint");
            PathBuf::from(name)
        });
        let path = self.checkpoint.clone().or(default);
        let checkpoints = Checkpoints { path, written: Instant::now(), failed: false };
        let Some(path) = &checkpoints.path else {
            if self.resume {
                return Err(Failure::new("--resume needs --checkpoint FILE where the model is no file"));
            }
            return Ok((checkpoints, None));
        };
        if path == out {
            return Err(Failure::new("--checkpoint and --out name the same file; give the checkpoint another name"));
        }
        match (self.resume, path.exists()) {
            (false, false) => {
                // An unwritable place is known before the work.
                super::pending(path)?;
                Ok((checkpoints, None))
            }
            (true, true) => {
                let bytes = input::read(path).map_err(|e| Failure::file("read", path, &e))?;
                let from =
                    Checkpoint::from_bytes(&bytes).map_err(|e| Failure::new(format!("{}: {e}", path.display())))?;
                note!("going on from {} after {:.0} s of work", path.display(), from.used().as_secs_f64());
                Ok((checkpoints, Some(from)))
            }
            (true, false) => Err(Failure::new(format!(
                "there is no checkpoint at {}; leave --resume out to begin anew",
                path.display()
            ))),
            (false, true) => Err(Failure::new(format!(
                "an interrupted fit has left a checkpoint at {}; go on from it with --resume, or delete it to begin anew",
                path.display()
            ))),
        }
    }
}

impl Checkpoints {
    /// Writes a checkpoint if it is time or the program is to end, which is then an error.
    pub fn observe(&mut self, at: &Progress, state: &dyn Fn() -> Checkpoint) -> Result<(), Error> {
        let over = at.share >= 1.0;
        let interrupted = signals::caught();
        let age = self.written.elapsed();
        if interrupted || age >= INTERVAL || over && age >= LAST_INTERVAL {
            self.write(state);
        }
        // What follows training does not ask.
        signals::will_ask(!over);
        if interrupted { Err(Error::Interrupted) } else { Ok(()) }
    }

    fn write(&mut self, state: &dyn Fn() -> Checkpoint) {
        let Some(path) = &self.path else { return };
        match PendingFile::create(path).and_then(|file| file.finish(|to| state().write(to))) {
            Ok(()) => {
                let path = path.display();
                signals::set_last_words(format!("; the same command with --resume goes on from {path}"));
            }
            // The fit goes on: its model may find a place.
            Err(e) if !self.failed => {
                self.failed = true;
                note!("warning: {}", Failure::file("write", path, &e));
            }
            Err(_) => (),
        }
        self.written = Instant::now();
    }

    /// Removes the checkpoint of a fit whose model is written.
    pub fn remove(self) {
        if let Some(path) = self.path.filter(|path| path.is_file()) {
            let _ = std::fs::remove_file(path);
        }
    }
}
