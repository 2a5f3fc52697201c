//! Any bytes handed to the model reader: an error in words, or a model that is written and read back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ntk_score::store::{from_bytes, to_bytes};

fuzz_target!(|data: &[u8]| {
    match from_bytes(data) {
        Ok(model) => assert_eq!(from_bytes(&to_bytes(&model).unwrap()).unwrap(), model),
        Err(error) => assert!(error.to_string().len() > 20),
    }
});
