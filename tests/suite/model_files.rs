//! Model files with absurd fields: an error in words or a table, whatever stands in them.

use std::ops::ControlFlow;

use faer::Par;
use ntk_score::fit::{FitSettings, Length, Preset, SampleSettings, fit};
use ntk_score::store::{from_bytes, to_bytes};
use ntk_score::table::{Missing, SchemaOptions, Table};
use serde_json::{Value, json};

/// Numbers with decimals and missing cells, whole numbers beyond 2^53, dates, a sum, categories and identifiers.
fn model(preset: Preset) -> Vec<u8> {
    let row = |i: usize| {
        let (a, b) = (i * i % 97, i * 7 % 31);
        let price = if i.is_multiple_of(9) { "NA".to_owned() } else { format!("{a}.{b:02}") };
        let large = (9_007_199_254_740_993u64 + (i * i * i) as u64).to_string();
        let date = format!("2024-{:02}-{:02} {:02}:30", 1 + i % 12, 1 + i % 28, i % 24);
        [
            price,
            large,
            date,
            a.to_string(),
            b.to_string(),
            (a + b).to_string(),
            ["x", "y", "z"][i % 3].into(),
            format!("id{i:04}"),
        ]
    };
    let rows: Vec<[String; 8]> = (0..60).map(row).collect();
    let names = ["price", "large", "date", "a", "b", "sum", "kind", "id"].map(String::from).to_vec();
    let table = Table::new(names, (0..8).map(|j| rows.iter().map(|row| row[j].clone()).collect()).collect()).unwrap();
    let mut settings = FitSettings::new(preset, Length::Iterations(2));
    (settings.width, settings.batch, settings.par) = (64, 64, Par::rayon(0));
    let identifier = vec!["id".to_owned()];
    settings.schema = SchemaOptions { missing: Missing::Level, identifier, ..SchemaOptions::default() };
    to_bytes(&fit(&table, &settings, &mut |_| ControlFlow::Continue(())).unwrap()).unwrap()
}

/// The header of the format, and the tensors behind it.
fn split(bytes: &[u8]) -> (Value, &[u8]) {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    (serde_json::from_slice(&bytes[8..8 + length]).unwrap(), &bytes[8 + length..])
}

fn joined(header: &Value, tensors: &[u8]) -> Vec<u8> {
    let mut text = header.to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    [&(text.len() as u64).to_le_bytes(), text.as_slice(), tensors].concat()
}

/// Reads the bytes, and samples from what they hold: neither may panic. Whether there was a model.
fn tried(bytes: &[u8]) -> bool {
    let Ok(model) = from_bytes(bytes) else { return false };
    let mut settings = SampleSettings::new(3);
    settings.steps = 2;
    let _ = model.sample(&settings, &mut |_, _| ());
    true
}

/// The paths of everything below `value` that is no object.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| leaves(field, &format!("{path}/{name}"), found))
        }
        Value::Array(items) => {
            found.push(path.to_owned());
            // Long lists hold the same kind of thing throughout.
            items.iter().take(2).enumerate().for_each(|(i, item)| leaves(item, &format!("{path}/{i}"), found));
        }
        _ => found.push(path.to_owned()),
    }
}

#[test]
fn absurd_fields_are_an_error_or_a_table() {
    let absurd = [
        json!(0),
        json!(1),
        json!(-1),
        json!(341),
        json!(10u64.pow(15)),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1e300),
        json!(-0.5),
        json!(null),
        json!(""),
        json!("%"),
        json!([]),
        json!([9_223_372_036_854_775_808u64, 9_223_372_036_854_775_811u64]),
        json!([0, 0, 0]),
        json!({}),
    ];
    for preset in [Preset::Best, Preset::Ntk, Preset::Paper] {
        let bytes = model(preset);
        let (header, tensors) = split(&bytes);
        assert!(tried(&joined(&header, tensors)));
        let own: Value = serde_json::from_str(header["__metadata__"]["ntk_score"].as_str().unwrap()).unwrap();
        let mut paths = Vec::new();
        leaves(&own, "", &mut paths);
        assert!(paths.len() > 50, "{preset:?}: {}", paths.len());
        for path in paths {
            for value in &absurd {
                let mut own = own.clone();
                *own.pointer_mut(&path).unwrap() = value.clone();
                let mut header = header.clone();
                header["__metadata__"]["ntk_score"] = own.to_string().into();
                let altered = joined(&header, tensors);
                let result = std::panic::catch_unwind(|| tried(&altered));
                assert!(result.is_ok(), "{preset:?}: {path} = {value}");
            }
        }
    }
}

#[test]
fn fields_that_cannot_be_are_refused() {
    let bytes = model(Preset::Best);
    let (header, tensors) = split(&bytes);
    let own: Value = serde_json::from_str(header["__metadata__"]["ntk_score"].as_str().unwrap()).unwrap();
    let format = "/schema/columns/0/kind/Numerical/format";
    for (path, value) in [
        (format!("{format}/minimum_decimals"), json!(10u64.pow(15))),
        (format!("{format}/maximum_decimals"), json!(341)),
        ("/blocks".into(), json!([9_223_372_036_854_775_808u64, 9_223_372_036_854_775_811u64])),
        ("/blocks/0".into(), json!(u64::MAX)),
        ("/numerical".into(), json!(0)),
        ("/networks".into(), json!(u64::MAX)),
        ("/times/1".into(), json!(-1)),
    ] {
        let mut own = own.clone();
        *own.pointer_mut(&path).unwrap_or_else(|| panic!("no {path}")) = value;
        let mut header = header.clone();
        header["__metadata__"]["ntk_score"] = own.to_string().into();
        assert!(from_bytes(&joined(&header, tensors)).is_err(), "{path}");
    }
}

#[test]
fn numbers_that_are_none_are_an_error_or_a_table() {
    let bytes = model(Preset::Best);
    let (header, tensors) = split(&bytes);
    for (name, tensor) in header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__") {
        let [from, to] = [0, 1].map(|i| tensor["data_offsets"][i].as_u64().unwrap() as usize);
        for byte in [0x00, 0x7f, 0x80, 0xff] {
            for range in [from..to.min(from + 8), from..to] {
                let mut tensors = tensors.to_vec();
                tensors[range].fill(byte);
                let altered = joined(&header, &tensors);
                let result = std::panic::catch_unwind(|| tried(&altered));
                assert!(result.is_ok(), "{name} filled with {byte:#x}");
            }
        }
    }
}
