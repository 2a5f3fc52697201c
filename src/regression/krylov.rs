//! Krylov spaces of a symmetric operator: what a few products with it reach, made orthonormal.

use faer::linalg::evd::ComputeEigenvectors;
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::Result;
use crate::regression::operator::SymmetricOperator;
use crate::regression::spectrum::eigen;
use crate::simd::foreign;

/// A direction whose norm falls by more than this when made orthogonal has nothing new in it.
pub(crate) const EXHAUSTED: f64 = 1e-10;

/// An orthonormal basis of a Krylov space, `N` x k, and its images under the operator.
pub(crate) struct Krylov {
    pub(crate) basis: Mat<f64>,
    pub(crate) images: Mat<f64>,
}

/// The space that `first` (`N` x block) and its images under repeated products span, up to `columns` vectors: every product's
/// result is made orthonormal to all before it, twice, and is what the next product multiplies.
pub(crate) fn krylov_space(
    operator: &mut (impl SymmetricOperator + ?Sized),
    first: Mat<f64>,
    columns: usize,
    par: Par,
) -> Result<Krylov> {
    let n = operator.dimension();
    let columns = columns.min(n);
    let (mut basis, mut images) = (Mat::zeros(n, columns), Mat::zeros(n, columns));
    let mut fresh = first.subcols(0, first.ncols().min(columns)).to_owned();
    let mut used = 0;
    while used < columns && fresh.ncols() > 0 {
        let kept = append_orthonormal(&mut basis, used, &fresh, par);
        if kept == 0 {
            break;
        }
        let new = basis.subcols(used, kept);
        operator.apply_into(images.as_mut().subcols_mut(used, kept), new)?;
        check_image(images.subcols(used, kept))?;
        fresh = images.subcols(used, kept.min(columns - used - kept)).to_owned();
        used += kept;
    }
    basis.truncate(n, used);
    images.truncate(n, used);
    Ok(Krylov { basis, images })
}

/// Eigenvalues, rising, and eigenvectors of the operator as the basis sees it.
pub(crate) fn rayleigh_ritz(basis: MatRef<'_, f64>, images: MatRef<'_, f64>, par: Par) -> Result<(Vec<f64>, Mat<f64>)> {
    let used = basis.ncols();
    let mut small = Mat::zeros(used, used);
    foreign(par, || matmul(small.as_mut(), Accum::Replace, basis.transpose(), images, 1.0, par));
    let small = Mat::from_fn(used, used, |i, j| 0.5 * (small[(i, j)] + small[(j, i)]));
    eigen(small.as_ref(), ComputeEigenvectors::Yes)
}

/// Scales to norm one (unless zero) and returns the norm.
pub(crate) fn normalise(v: &mut [f64]) -> f64 {
    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
    if norm > 0.0 {
        v.iter_mut().for_each(|x| *x /= norm);
    }
    norm
}

/// `v -= Q Q^T v`.
pub(crate) fn project_out(v: &mut Mat<f64>, q: MatRef<'_, f64>, par: Par) {
    if q.ncols() > 0 {
        let mut shares = Mat::zeros(q.ncols(), v.ncols());
        foreign(par, || matmul(shares.as_mut(), Accum::Replace, q.transpose(), v.as_ref(), 1.0, par));
        foreign(par, || matmul(v.as_mut(), Accum::Add, q, shares.as_ref(), -1.0, par));
    }
}

/// Appends the columns of `fresh`, made orthonormal to the first `used` columns of `basis` and to each other, from column
/// `used` on; columns with nothing new are left out. Returns how many were appended.
fn append_orthonormal(basis: &mut Mat<f64>, used: usize, fresh: &Mat<f64>, par: Par) -> usize {
    let mut fresh = fresh.clone();
    let before: Vec<f64> = fresh.col_iter().map(|c| c.iter().map(|x| x * x).sum::<f64>().sqrt()).collect();
    for _ in 0..2 {
        project_out(&mut fresh, basis.subcols(0, used), par);
    }
    let mut kept = 0;
    for (column, before) in fresh.col_iter().zip(before) {
        let mut v: Vec<f64> = column.iter().copied().collect();
        for _ in 0..2 {
            for other in basis.subcols(used, kept).col_iter() {
                let share: f64 = other.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(other.iter()).for_each(|(x, o)| *x -= share * o);
            }
        }
        if normalise(&mut v) > EXHAUSTED * before {
            basis.col_mut(used + kept).iter_mut().zip(&v).for_each(|(to, from)| *to = *from);
            kept += 1;
        }
    }
    kept
}

pub(crate) fn check_image(image: MatRef<'_, f64>) -> Result<()> {
    crate::checks::check_finite("a product with the kernel matrix", image)
}
