//! What a fit needs to go on where it stood: taken out of it, stored, and put back.
//!
//! What follows from the table and the settings alone is made again (codec, rows held out, output signs, step sizes, spectra);
//! only the base denoiser, which takes long to fit, is stored although it does.

use std::hash::Hash;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use siphasher::sip128::{Hasher128, SipHasher13};

use super::record::Progress;
use super::settings::FitSettings;
use super::training::Going;
use crate::model::preconditioner::PreconditionerParts;
use crate::network::Network;
use crate::table::Table;
use crate::{Error, Result};

/// Told after every iteration where the fit stands, with a function that takes out its state. Breaking ends the fit with the
/// model as it is; an error ends it at once.
pub(super) type Observe<'a> = &'a mut dyn FnMut(&Progress, &dyn Fn() -> Checkpoint) -> Result<ControlFlow<()>>;

/// The state of a fit between two iterations. With the same table and settings, on any number of threads, the fit that
/// [goes on](super::resume) from it makes the model that the uninterrupted one makes, byte for byte if its length is in iterations.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Checkpoint {
    identity: Identity,
    /// Time used by the whole fit.
    used: Duration,
    /// The base denoiser, where it takes long to fit.
    pub(super) base: Option<PreconditionerParts>,
    /// The networks before the one in training: weights in the order of memory.
    pub(super) stages: Vec<Vec<f32>>,
    pub(super) done: Done,
    pub(super) going: Going,
}

/// What is known of the networks before the one in training.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Done {
    /// Losses on the rows held out, with the base alone and after each network.
    pub held_out_losses: Vec<[f64; 2]>,
    /// Iterations over all networks.
    pub iterations: usize,
    /// How long the forward pass of a row takes in all of them, in seconds.
    pub pass: f64,
}

/// Which fit a checkpoint is of.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
struct Identity {
    program: String,
    table: u128,
    settings: u128,
}

impl Identity {
    /// Of the fit of this table with these settings; the number of threads is not among them.
    fn of(table: &Table, settings: &FitSettings) -> Self {
        let FitSettings {
            preset,
            schema,
            rules,
            width,
            stages,
            optimizer,
            length,
            stop,
            batch,
            times,
            draws,
            seed,
            par: _,
        } = settings;
        let settings =
            format!("{:?}", (preset, schema, rules, width, stages, optimizer, length, stop, batch, times, draws, seed));
        Self {
            program: env!("CARGO_PKG_VERSION").into(),
            table: fingerprint(&(table.names(), table.columns())),
            settings: fingerprint(&settings),
        }
    }

    /// Checks that `found` is of this fit.
    fn check(&self, found: &Self) -> Result<()> {
        let problem = if found.program != self.program {
            format!("it was written by version {} of this program, and this is {}", found.program, self.program)
        } else if found.table != self.table {
            "it is of a fit of another table".into()
        } else if found.settings != self.settings {
            "it is of a fit with other settings; give the same ones".into()
        } else {
            return Ok(());
        };
        Err(Error::Checkpoint(problem))
    }
}

fn fingerprint(value: &impl Hash) -> u128 {
    let mut hasher = SipHasher13::new();
    value.hash(&mut hasher);
    hasher.finish128().as_u128()
}

impl Checkpoint {
    /// The same in a later network, after `stages`.
    pub(super) fn after(mut self, stages: &[Network<f32>], done: &Done) -> Self {
        self.stages = stages.iter().map(|network| network.w().values().to_vec()).collect();
        self.done = done.clone();
        self
    }

    /// Time that the fit had used.
    pub fn used(&self) -> Duration {
        self.used
    }
}

/// Which fit this is, when it began, and what it goes on from.
pub(super) struct Start {
    identity: Identity,
    begun: Instant,
    before: Duration,
    pub from: Option<Checkpoint>,
}

impl Start {
    /// A fit that begins now, or goes on.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if `from` is of another fit.
    pub fn new(table: &Table, settings: &FitSettings, from: Option<Checkpoint>) -> Result<Self> {
        let identity = Identity::of(table, settings);
        from.as_ref().map_or(Ok(()), |from| identity.check(&from.identity))?;
        let before = from.as_ref().map_or(Duration::ZERO, |from| from.used);
        Ok(Self { identity, begun: Instant::now(), before, from })
    }

    /// Time that the fit has used, before an interruption too.
    pub fn used(&self) -> Duration {
        self.before + self.begun.elapsed()
    }

    /// A checkpoint of this fit in its first network.
    pub fn checkpoint(&self, base: Option<&PreconditionerParts>, going: Going) -> Checkpoint {
        let (identity, base) = (self.identity.clone(), base.cloned());
        Checkpoint { identity, used: self.used(), base, stages: Vec::new(), done: Done::default(), going }
    }
}

#[cfg(feature = "model-file")]
mod bytes {
    use std::hash::Hasher;
    use std::io::{self, Write};

    use super::*;

    /// What a file of a checkpoint begins with; the number is that of the layout behind it.
    const MAGIC: &[u8] = b"ntk-score checkpoint 2\n";
    /// Bytes of the hash at the end.
    const HASH: usize = 16;

    /// Passes bytes on and hashes them.
    struct Hashed<'a> {
        to: &'a mut dyn Write,
        hasher: SipHasher13,
    }

    impl Write for Hashed<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let written = self.to.write(bytes)?;
            self.hasher.write(&bytes[..written]);
            Ok(written)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.to.flush()
        }
    }

    impl Checkpoint {
        /// Writes the checkpoint: a first line, the state, and a hash of both, so that what is cut off or altered is known.
        ///
        /// # Errors
        /// Those of `to`.
        pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
            let mut hashed = Hashed { to, hasher: SipHasher13::new() };
            hashed.write_all(MAGIC)?;
            // A buffer, because every number is written on its own, and a hash of few bytes takes as long as one of many.
            let mut buffer = io::BufWriter::with_capacity(1 << 16, &mut hashed);
            postcard::to_io(self, &mut buffer).map_err(io::Error::other)?;
            buffer.flush()?;
            drop(buffer);
            let hash = hashed.hasher.finish128().as_u128();
            to.write_all(&hash.to_le_bytes())
        }

        /// A checkpoint from the bytes that [`Checkpoint::write`] wrote.
        ///
        /// # Errors
        /// [`Error::Checkpoint`] if they are not whole or of another version.
        pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
            let no = |problem: &str| Error::Checkpoint(problem.into());
            if !bytes.starts_with(MAGIC) {
                return Err(no("it is no checkpoint of this version of the program"));
            }
            let (rest, hash) = bytes.split_last_chunk::<HASH>().ok_or_else(|| no("it is cut off"))?;
            let mut hasher = SipHasher13::new();
            // In the pieces in which it was written or any other: the hash is of the bytes.
            hasher.write(rest);
            if hasher.finish128().as_u128() != u128::from_le_bytes(*hash) {
                return Err(no("it is cut off or has been altered"));
            }
            let state = rest.strip_prefix(MAGIC).unwrap_or_default();
            postcard::from_bytes(state).map_err(|e| no(&format!("it does not read ({e})")))
        }
    }
}
