//! The two-layer ReLU network on a regression problem of your own, trained by full-batch gradient descent.
//!
//! ```sh
//! cargo run --release --no-default-features --example network
//! ```

use faer::{Mat, Par};
use ntk_score::kernels::Panels;
use ntk_score::kernels::descent::Rule;
use ntk_score::network::{Network, Trainer, least_squares};
use ntk_score::regression::kernel_regression::{KernelRegression, Storage};

fn main() -> ntk_score::Result<()> {
    // Your problem: N samples of D inputs, and their labels with d outputs. Here the product of two coordinates, and a constant
    // input.
    let (n, inputs, outputs, neurons, steps) = (256, 3, 1, 16_384, 400);
    let place = |i: usize, j: usize| ((i * (31 + 18 * j)) % 257) as f64 / 128.5 - 1.0;
    let z = Mat::from_fn(n, inputs, |i, j| if j == 2 { 1.0 } else { place(i, j) });
    let y = Mat::from_fn(n, outputs, |i, _| place(i, 0) * place(i, 1));

    // What the theory says of a wide network: it stays close to regression with the analytic kernel.
    let mut kernel = KernelRegression::new(z.as_ref(), y.as_ref(), Storage::Stored, None, Par::Seq)?;
    let rate = kernel.step();
    kernel.advance(steps)?;

    // Samples and labels in blocks of 64 rows, as the kernels read them.
    let samples = Panels::from_matrix("the samples", z.as_ref())?;
    let labels = Panels::from_matrix("the labels", y.as_ref())?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let network = Network::<f64>::symmetric(inputs, outputs, neurons, 0)?;
    let mut trainer = Trainer::new(network, Rule::Descent, false, workers)?;
    let mut losses = Vec::new();
    for _ in 0..=steps {
        // Any loss whose derivative by the outputs is cheap fits here; least squares is at hand.
        losses.push(trainer.step(&samples, rate, 0.0, |found, errors| least_squares(found, &labels, errors))?);
    }

    let (first, last) = (losses[0], losses[steps as usize]);
    let fitted = kernel.fitted()?;
    let square = |i: usize| (trainer.outputs().get(i, 0) - fitted[(i, 0)]).powi(2);
    let distance = ((0..n).map(square).sum::<f64>() / fitted.squared_norm_l2()).sqrt();
    println!("loss {first:.3} at the start and {last:.5} after {steps} steps, {} of which raised it", trainer.rises());
    println!("the network is within {:.1} % of kernel regression after as many steps", 100.0 * distance);
    assert!(last < 0.1 * first && trainer.rises() == 0 && distance < 0.1);
    Ok(())
}
