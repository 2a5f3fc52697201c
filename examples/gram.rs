//! The Gram matrix of your data under the tangent kernel of a two-layer ReLU network of infinite width.
//!
//! ```sh
//! cargo run --release --no-default-features --example gram
//! ```

use std::f64::consts::PI;

use faer::{Mat, Par};
use ntk_score::kernels::gram::gram;

fn main() -> ntk_score::Result<()> {
    // Your data: N samples in rows, D features in columns, f32 or f64.
    let (n, d) = (600, 8);
    let z = Mat::from_fn(n, d, |i, j| ((i * 37 + j * 101) % 997) as f32 / 997.0 - 0.5);

    // K[i, j] = <z_i, z_j> (pi - angle(z_i, z_j)) / (2 pi), on all cores.
    let gram = gram(z.as_ref(), Par::rayon(0))?;
    let k = gram.as_ref();

    // The same by the formula, in 64 bits.
    let inner = |i: usize, j: usize| (0..d).map(|c| f64::from(z[(i, c)]) * f64::from(z[(j, c)])).sum::<f64>();
    let mut worst = 0.0f64;
    for i in 0..n {
        for j in 0..n {
            let norms = (inner(i, i) * inner(j, j)).sqrt();
            let angle = (inner(i, j) / norms).clamp(-1.0, 1.0).acos();
            let exact = inner(i, j) * (PI - angle) / (2.0 * PI);
            worst = worst.max((f64::from(k[(i, j)]) - exact).abs() / norms);
        }
    }
    println!("{n} x {n} entries, none further from the formula than {worst:.1e} |z| |z'|");
    assert!(worst < 1e-6);
    Ok(())
}
