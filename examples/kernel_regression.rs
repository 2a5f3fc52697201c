//! Kernel regression by gradient descent, stopped early by the rule of Raskutti, Wainwright and Yu, without held-out data.
//!
//! ```sh
//! cargo run --release --no-default-features --example kernel_regression
//! ```

use faer::{Mat, Par};
use ntk_score::kernels::gram::{cross_gram_into, gram};
use ntk_score::regression::closed_form::ClosedForm;
use ntk_score::regression::early_stopping::StoppingRule;

/// N inputs (x, 1) with x in [-1, 1]: the constant makes functions possible that are not homogeneous.
fn inputs(n: usize) -> Mat<f64> {
    Mat::from_fn(n, 2, |i, j| if j == 0 { 2.0 * i as f64 / (n - 1) as f64 - 1.0 } else { 1.0 })
}

fn truth(x: f64) -> f64 {
    (3.0 * x).sin() / 3.0
}

fn main() -> ntk_score::Result<()> {
    // Your data: inputs in rows, labels in the rows of another matrix. Here the labels carry noise of scale 0.2.
    let (n, tested) = (300, 1000);
    let (z, test) = (inputs(n), inputs(tested));
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        0.2 * 3f64.sqrt() * ((state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    };
    let y = Mat::from_fn(n, 1, |i, _| truth(z[(i, 0)]) + noise());

    // One decomposition gives every iteration of gradient descent.
    let regression = ClosedForm::new(gram(z.as_ref(), Par::Seq)?.as_ref(), y.as_ref(), Par::Seq)?;
    let step = regression.default_step()?;
    let stop = regression.stop(StoppingRule::SHARP, step)?;

    let mut cross = Mat::zeros(tested, n);
    cross_gram_into(cross.as_mut(), test.as_ref(), z.as_ref(), Par::Seq)?;
    let predictor = regression.predictor(cross.as_ref())?;
    let error = |iteration| {
        let found = regression.predict(&predictor, step, iteration);
        let squares = (0..tested).map(|i| (found[(i, 0)] - truth(test[(i, 0)])).powi(2));
        (squares.sum::<f64>() / tested as f64).sqrt()
    };
    let (stopped, trained_on, started) = (error(stop.iterations), error(10_000_000), error(0));
    println!("stopped after {} iterations: error {stopped:.4}, at the start {started:.4}", stop.iterations);
    println!("after ten million iterations: error {trained_on:.4}");
    assert!(stopped < trained_on && stopped < 0.25 * started);
    Ok(())
}
