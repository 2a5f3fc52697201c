//! Gradient descent on the analytic kernel against an independent computation with 40-digit kernels.

use faer::{Mat, MatRef, Par};
use ntk_score::kernels::gram::{cross_gram_into, gram};
use ntk_score::regression::closed_form::ClosedForm;
use ntk_score::regression::kernel_regression::{KernelRegression, Storage};
use serde_json::Value;

fn matrix(value: &Value) -> Mat<f64> {
    let rows = value.as_array().unwrap();
    Mat::from_fn(rows.len(), rows[0].as_array().unwrap().len(), |i, j| rows[i][j].as_f64().unwrap())
}

fn close(found: MatRef<'_, f64>, wanted: &Mat<f64>) {
    assert!((found - wanted.as_ref()).norm_max() <= 1e-12 * wanted.norm_max(), "{found:?} against {wanted:?}");
}

#[test]
fn every_route_meets_the_reference() {
    let file: Value = serde_json::from_str(include_str!("../data/kernel_regression.json")).unwrap();
    let (z, test, y) = (matrix(&file["z"]), matrix(&file["z_test"]), matrix(&file["y"]));
    let eta = file["eta"].as_f64().unwrap();
    let new = |storage| KernelRegression::new(z.as_ref(), y.as_ref(), storage, Some(eta), Par::Seq).unwrap();
    let mut routes = [new(Storage::Stored), new(Storage::MatrixFree)];
    let k = gram(z.as_ref(), Par::Seq).unwrap();
    let closed = ClosedForm::new(k.as_ref(), y.as_ref(), Par::Seq).unwrap();
    let mut cross = Mat::zeros(test.nrows(), z.nrows());
    cross_gram_into(cross.as_mut(), test.as_ref(), z.as_ref(), Par::Seq).unwrap();
    let predictor = closed.predictor(cross.as_ref()).unwrap();
    for tau in [0, 1, 7, 100, 1000] {
        let wanted = &file["at"][tau.to_string()];
        let (train, tested) = (matrix(&wanted["train"]), matrix(&wanted["test"]));
        for route in &mut routes {
            route.advance(tau - route.iterations()).unwrap();
            close(route.fitted().unwrap(), &train);
            close(route.predict(test.as_ref()).unwrap().as_ref(), &tested);
        }
        close(closed.fitted(eta, tau).as_ref(), &train);
        close(closed.predict(&predictor, eta, tau).as_ref(), &tested);
    }
}
