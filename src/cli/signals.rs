//! Ctrl-C and SIGTERM: the program ends with nothing left over, and what it is doing may be asked to end by itself first.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::{Failure, Outcome};

/// The signal that has come; zero for none.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// Whether something asks for signals often enough to end by itself.
static ASKED: AtomicBool = AtomicBool::new(false);
/// What is said where it does not.
static LAST_WORDS: Mutex<String> = Mutex::new(String::new());

/// Waits for signals on a thread of its own. A second one ends the program at once.
#[cfg(unix)]
pub fn watch() -> Outcome {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|e| Failure::new(format!("cannot take care of Ctrl-C and SIGTERM: {e}")))?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            let first = CAUGHT.swap(signal, Ordering::SeqCst) == 0;
            if !(first && ASKED.load(Ordering::SeqCst)) {
                crate::files::output::abandon();
                super::note!("{}", interrupted());
                std::process::exit(128 + signal);
            }
        }
    });
    Ok(())
}

/// Elsewhere the system ends the program.
#[cfg(not(unix))]
pub fn watch() -> Outcome {
    Ok(())
}

/// Says from now on whether [`caught`] is asked often enough for a signal to wait for it.
pub fn will_ask(asked: bool) {
    ASKED.store(asked, Ordering::SeqCst);
}

/// What is said after "interrupted" from now on.
pub fn set_last_words(words: String) {
    if let Ok(mut last) = LAST_WORDS.lock() {
        *last = words;
    }
}

fn interrupted() -> String {
    format!("interrupted{}", LAST_WORDS.lock().map(|words| words.clone()).unwrap_or_default())
}

/// Whether a signal has come.
pub fn caught() -> bool {
    CAUGHT.load(Ordering::SeqCst) != 0
}

/// How a command fails that was interrupted.
pub fn failure() -> Failure {
    // 128 and the number of the signal, as shells have it.
    Failure::interrupted(interrupted(), (128 + CAUGHT.load(Ordering::SeqCst)) as u8)
}
