//! Stopping iterations and critical radii against independently computed ones.

use ntk_score::score::early_stopping::{Noise, StoppingRule};
use ntk_score::score::spectrum::Spectrum;
use serde_json::Value;

#[test]
fn stops_are_exact_and_radii_close() {
    let file: Value = serde_json::from_str(include_str!("data/early_stopping.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        let number = |name: &str| case[name].as_f64().unwrap();
        let values: Vec<f64> =
            case["eigenvalues_of_k_over_n"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        let spectrum = Spectrum::from_eigenvalues(&values).unwrap();
        assert_eq!(spectrum.dimension() as u64, case["n"].as_u64().unwrap());
        let rule = StoppingRule { constant: number("constant"), noise: Noise::Known(number("sigma")) };
        let stop = rule.stop(&spectrum, number("step"), 1, |_| 0.0).unwrap();
        assert_eq!(stop.iterations, case["stop"].as_u64().unwrap());
        let radius = number("critical_radius");
        assert!((stop.critical_radius / radius - 1.0).abs() < 1e-9, "{} against {radius}", stop.critical_radius);
    }
}
