//! Any bytes as a CSV file: an error in words that names the file, or a table that is written and read back as it was.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntk_score::files::csv;
use ntk_score::files::output::PendingFile;
use ntk_score::table::{Schema, SchemaOptions};

/// A folder of this process, in memory where the system has such a place.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = parent.join(format!("ntk-score-fuzz-csv-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
});

fuzz_target!(|data: &[u8]| {
    let (path, copy) = (FOLDER.join("in.csv"), FOLDER.join("out.csv"));
    std::fs::write(&path, data).unwrap();
    let table = match csv::read(&path) {
        Ok(table) => table,
        Err(error) => return assert!(error.to_string().contains("in.csv"), "{error}"),
    };
    csv::write(PendingFile::create(&copy).unwrap(), &copy, &table).unwrap();
    assert_eq!(csv::read(&copy).unwrap(), table);
    if let Err(error) = Schema::infer(&table, &SchemaOptions::default()) {
        assert!(error.to_string().len() > 20);
    }
});
