//! Any bytes handed to the matrix reader: an error in words, or a matrix that is written and read back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ntk_score::files::matrix::{MatrixReader, write_to};
use ntk_score::kernels::Real;

fn check<T: Real>(data: &[u8]) {
    let matrix = match MatrixReader::new("fuzz.npy", data).and_then(MatrixReader::read::<T>) {
        Ok(matrix) => matrix,
        Err(error) => {
            return assert!(
                error.to_string().starts_with("cannot read fuzz.npy: ") || error.to_string().contains("row")
            );
        }
    };
    let mut bytes = Vec::new();
    write_to(&mut bytes, matrix.as_ref()).unwrap();
    let again = MatrixReader::new("again.npy", &bytes[..]).and_then(MatrixReader::read::<T>).unwrap();
    assert_eq!(again, matrix);
}

fuzz_target!(|data: &[u8]| {
    check::<f32>(data);
    check::<f64>(data);
});
