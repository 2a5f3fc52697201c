//! True scores of Gaussian mixtures against an independent computation by automatic differentiation.

use faer::Mat;
use ntk_score::diffusion::mixture::GaussianMixture;
use ntk_score::diffusion::process::{ForwardProcess, Schedule};
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

fn close(found: f64, wanted: f64, scale: f64) {
    assert!((found - wanted).abs() <= 1e-12 * scale, "{found} against {wanted}");
}

#[test]
fn scores_posterior_means_and_densities_meet_the_reference() {
    let file: Value = serde_json::from_str(include_str!("../data/gaussian_mixture.json")).unwrap();
    let means: Vec<Vec<f64>> = file["means"].as_array().unwrap().iter().map(numbers).collect();
    let means = Mat::from_fn(means.len(), means[0].len(), |i, j| means[i][j]);
    let mixture = GaussianMixture::new(&numbers(&file["weights"]), means.as_ref(), &numbers(&file["std"])).unwrap();
    let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.01, 3.0).unwrap();
    let points = file["points"].as_array().unwrap();
    assert!(points.len() >= 12);
    let mut out = vec![0.0; mixture.dimension()];
    for point in points {
        let law = mixture.at(&process, point["t"].as_f64().unwrap());
        let x = numbers(&point["x"]);
        for (name, write) in [("score", 0), ("posterior_mean", 1)] {
            let wanted = numbers(&point[name]);
            let norm = wanted.iter().map(|w| w * w).sum::<f64>().sqrt();
            if write == 0 {
                law.score_into(&mut out, &x)
            } else {
                law.posterior_mean_into(&mut out, &x)
            }
            out.iter().zip(&wanted).for_each(|(&a, &b)| close(a, b, norm));
        }
        let wanted = point["log_density"].as_f64().unwrap();
        close(law.log_density(&x), wanted, wanted.abs());
    }
}
