//! `ntk-score kernel`: samples go in, their analytic neural tangent kernel comes out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::files::matrix::{self, MatrixReader};
use crate::files::output::PendingFile;
use crate::kernels::Real;
use crate::kernels::gram::{cross_gram_into, gram};
use crate::memory;
use clap::{Args, ValueEnum};
use faer::{Mat, MatRef, Par};

use super::fit::parse_threads;
use super::{Failure, Outcome, note, pending, use_threads};

/// Compute the analytic neural tangent kernel of the rows of a matrix
///
/// K(z, z') = <z, z'> (pi - angle(z, z')) / (2 pi), the tangent kernel of a two-layer ReLU network of infinite width whose
/// first layer is trained.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score kernel z.npy --out k.npy
  ntk-score kernel test.npy --other train.npy --out k.npy --precision f64")]
pub struct KernelArgs {
    /// The samples: a matrix saved by numpy, one sample a row
    #[arg(value_name = "Z.npy")]
    samples: PathBuf,
    /// Samples for the columns of the kernel [default: the same]
    #[arg(long, value_name = "Z2.npy")]
    other: Option<PathBuf>,
    /// Where the kernel goes
    #[arg(long, value_name = "K.npy")]
    out: PathBuf,
    /// Precision of arithmetic and result [default: f32 if the samples are f32, else f64]
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Precision {
    F32,
    F64,
}

type Source = MatrixReader<std::io::BufReader<std::fs::File>>;

/// Runs the command.
pub fn run(args: KernelArgs) -> Outcome {
    let par = Par::rayon(use_threads(args.threads)?);
    let started = Instant::now();
    let samples = matrix::open(&args.samples)?;
    let other = args.other.as_deref().map(matrix::open).transpose()?;
    if let (Some(other), Some(path)) = (&other, &args.other)
        && other.columns() != samples.columns()
    {
        return Err(Failure::new(format!(
            "{} has {} columns and {} has {}; give samples of the same dimension",
            args.samples.display(),
            samples.columns(),
            path.display(),
            other.columns()
        )));
    }
    let single = samples.is_single() && other.as_ref().is_none_or(Source::is_single);
    let precision = args.precision.unwrap_or(if single { Precision::F32 } else { Precision::F64 });
    let (rows, columns) = (samples.rows(), other.as_ref().map_or(samples.rows(), Source::rows));
    let name = match precision {
        Precision::F32 => compute::<f32>(samples, other, &args.out, par)?,
        Precision::F64 => compute::<f64>(samples, other, &args.out, par)?,
    };
    let seconds = started.elapsed().as_secs_f64();
    note!("wrote a kernel of {rows} x {columns} {name} numbers to {} in {seconds:.1} s", args.out.display());
    Ok(())
}

fn compute<T: Real>(samples: Source, other: Option<Source>, out: &Path, par: Par) -> Outcome<&'static str> {
    check_memory::<T>(&samples, other.as_ref())?;
    let output = pending(out)?;
    let samples = samples.read::<T>()?;
    match other {
        // The matrix is symmetric: its columns are its rows.
        None => save(output, out, gram(samples.as_ref(), par)?.as_ref().transpose())?,
        Some(other) => {
            let other = other.read::<T>()?;
            let mut kernel = Mat::<T>::zeros(other.nrows(), samples.nrows());
            cross_gram_into(kernel.as_mut().transpose_mut(), samples.as_ref(), other.as_ref(), par)?;
            save(output, out, kernel.as_ref().transpose())?;
        }
    }
    Ok(T::NAME)
}

fn save<T: Real>(output: PendingFile, path: &Path, kernel: MatRef<'_, T>) -> Outcome {
    if kernel.col_iter().any(|column| column.iter().any(|k| !k.finite())) {
        let type_name = T::NAME;
        return Err(Failure::new(format!(
            "entries of the kernel are beyond the range of {type_name}; scale the samples down"
        )));
    }
    Ok(matrix::write(output, path, kernel)?)
}

/// Refuses what will not fit: the kernel, the samples, and the copies of them that reading and the kernel's own layout make.
fn check_memory<T: Real>(samples: &Source, other: Option<&Source>) -> Outcome {
    let numbers = |rows: usize, columns: usize| rows as u128 * columns as u128;
    let size = size_of::<T>() as u128;
    let (rows, columns) = (samples.rows(), other.map_or(samples.rows(), Source::rows));
    let kernel = numbers(rows, columns) * size;
    let inputs = numbers(rows, samples.columns()) + other.map_or(0, |o| numbers(o.rows(), o.columns()));
    let needed = kernel + 3 * inputs * size;
    let free = memory::available().map_or(isize::MAX as u128, u128::from);
    if needed > free {
        return Err(Failure::new(format!(
            "the kernel of {rows} x {columns} {} numbers takes {} with its samples, but {} of memory are free; use fewer rows",
            T::NAME,
            memory::in_words(needed),
            memory::in_words(free)
        )));
    }
    Ok(())
}
