//! What the columns of a table are said to be, as a JSON file for people to change.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::input;
use crate::table::Declared;
use crate::{Error, Result};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    columns: Vec<Declared>,
}

/// The declarations as the text of a file.
///
/// # Errors
/// [`Error::Table`] if they cannot be written as JSON.
pub fn to_text(columns: &[Declared]) -> Result<String> {
    let document = Document { columns: columns.to_vec() };
    let text = serde_json::to_string_pretty(&document);
    Ok(text.map_err(|e| Error::Table(format!("the schema cannot be written as JSON: {e}")))? + "\n")
}

/// Reads what [`to_text`] wrote, or what somebody made of it.
///
/// # Errors
/// [`Error::Table`] with the file's name and the place if it cannot be read.
pub fn read(path: &Path) -> Result<Vec<Declared>> {
    let fail = |what: String| Error::Table(format!("cannot read {}: {what}", path.display()));
    let text = input::read(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => fail("there is no such file".into()),
        _ => fail(e.to_string()),
    })?;
    let document: Document = serde_json::from_slice(&text).map_err(|e| fail(format!("it is no schema: {e}")))?;
    let mut names: Vec<&str> = document.columns.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(fail(format!("it names the column '{}' twice", pair[0])));
    }
    Ok(document.columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Wanted;

    #[test]
    fn what_is_written_reads_back_and_mistakes_are_named() {
        let age = Declared {
            name: "age".into(),
            kind: Some(Wanted::Number),
            missing: vec!["?".into()],
            decimals: Some([0, 2]),
            ..Declared::default()
        };
        let columns = [age, Declared { name: "id".into(), kind: Some(Wanted::LeftOut), ..Declared::default() }];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schema.json");
        std::fs::write(&path, to_text(&columns).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), columns);
        for (text, words) in [
            ("{}", "columns"),
            (r#"{"columns":[{"name":"a","kind":"nummer"}]}"#, "left_out"),
            (r#"{"columns":[{"name":"a","knid":"number"}]}"#, "knid"),
            (r#"{"columns":[{"name":"a"},{"name":"a"}]}"#, "'a' twice"),
        ] {
            std::fs::write(&path, text).unwrap();
            let said = read(&path).unwrap_err().to_string();
            assert!(said.contains("schema.json") && said.contains(words), "{said}");
        }
    }
}
