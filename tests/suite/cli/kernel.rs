//! `ntk-score kernel` as a person at a terminal meets it: files in every form, and one sentence for everything that is wrong.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use faer::Mat;
use ntk_score::files::matrix;
use ntk_score::internals::reference::gram as reference;

fn kernel(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntk-score"));
    command.current_dir(folder).arg("kernel").args(arguments).output().unwrap()
}

fn samples<T: ntk_score::kernels::Real>(rows: usize, columns: usize) -> Mat<T> {
    Mat::from_fn(rows, columns, |i, j| T::from_f64(((i * 37 + j * 101) % 53) as f64 / 7.0 - 3.0))
}

fn save<T: ntk_score::kernels::Real>(path: &Path, m: &Mat<T>) {
    let mut bytes = Vec::new();
    matrix::write_to(&mut bytes, m.as_ref()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn succeed(output: Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn assert_near(found: &Mat<f64>, expected: &Mat<f64>, tolerance: f64) {
    assert_eq!((found.nrows(), found.ncols()), (expected.nrows(), expected.ncols()));
    let size = expected.norm_max();
    for j in 0..found.ncols() {
        for i in 0..found.nrows() {
            let difference = (found[(i, j)] - expected[(i, j)]).abs();
            assert!(difference <= tolerance * size, "entry {i}, {j}: {} and {}", found[(i, j)], expected[(i, j)]);
        }
    }
}

#[test]
fn the_kernel_of_a_matrix_agrees_with_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (z, other) = (samples::<f32>(70, 5), samples::<f32>(33, 5));
    save(&path("z.npy"), &z);
    save(&path("z2.npy"), &other);
    succeed(kernel(folder.path(), &["z.npy", "--out", "k.npy"]));
    let found = matrix::open(&path("k.npy")).unwrap();
    assert!(found.is_single(), "f32 samples give an f32 kernel");
    assert_near(&found.read().unwrap(), &reference::gram(z.as_ref()), 1e-6);

    let cross = reference::cross_gram(z.as_ref(), other.as_ref());
    for (precision, tolerance) in [("f32", 1e-6), ("f64", 1e-14)] {
        let arguments = ["z.npy", "--other", "z2.npy", "--out", "k.npy", "--precision", precision, "--threads", "2"];
        succeed(kernel(folder.path(), &arguments));
        let found = matrix::open(&path("k.npy")).unwrap();
        assert_eq!(found.is_single(), precision == "f32");
        assert_near(&found.read().unwrap(), &cross, tolerance);
    }

    // f64 samples keep their precision without being told to.
    let z = samples::<f64>(9, 3);
    save(&path("z.npy"), &z);
    succeed(kernel(folder.path(), &["z.npy", "--out", "k.npy"]));
    assert_near(&matrix::open(&path("k.npy")).unwrap().read().unwrap(), &reference::gram(z.as_ref()), 1e-14);
}

#[test]
fn everything_that_is_wrong_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    save(&path("z.npy"), &samples::<f32>(4, 3));
    save(&path("wide.npy"), &samples::<f32>(4, 5));
    // Four megabytes whose kernel takes four terabytes.
    save(&path("long.npy"), &samples::<f32>(1_000_000, 1));
    let mut spoilt = samples::<f64>(4, 3);
    spoilt[(2, 1)] = f64::NAN;
    save(&path("nan.npy"), &spoilt);
    fs::write(path("table.csv"), "a,b\n1,2\n").unwrap();
    let whole = fs::read(path("z.npy")).unwrap();
    fs::write(path("cut.npy"), &whole[..whole.len() - 1]).unwrap();
    fs::write(path("kept.npy"), "as it was").unwrap();

    let cases: [(&[&str], &[&str]); 9] = [
        (&["none.npy", "--out", "kept.npy"], &["none.npy", "no such file"]),
        (&["table.csv", "--out", "kept.npy"], &["table.csv", "no .npy file"]),
        (&["cut.npy", "--out", "kept.npy"], &["cut.npy", "cut off"]),
        (&["nan.npy", "--out", "kept.npy"], &["nan.npy", "row 2, column 1"]),
        (&["z.npy", "--other", "wide.npy", "--out", "kept.npy"], &["z.npy", "wide.npy", "5", "same dimension"]),
        (&["z.npy", "--other", "none.npy", "--out", "kept.npy"], &["none.npy", "no such file"]),
        (&["long.npy", "--out", "kept.npy"], &["1000000 x 1000000", "4.0 TB", "fewer rows"]),
        (&["z.npy", "--out", "missing/k.npy"], &["missing", "no such file or folder"]),
        (&["z.npy", "--out", "."], &["folder"]),
    ];
    for (arguments, words) in cases {
        let output = kernel(folder.path(), arguments);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty() && message.trim_end().lines().count() == 1, "{arguments:?}: {message}");
        for word in words {
            assert!(message.contains(word), "{arguments:?} should say '{word}': {message}");
        }
        assert_eq!(fs::read_to_string(path("kept.npy")).unwrap(), "as it was", "{arguments:?}");
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 7, "failures leave no files behind");
}
