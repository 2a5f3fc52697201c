//! Small tables of arbitrary cells: the schema is refused in words, or encoding and decoding return the table.
#![no_main]

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use ntk_score::table::{
    Codec, ColumnKind, ColumnSchema, ColumnValues, Decode, Missing, Schema, SchemaOptions, Table, TieCode,
};

/// What the cells of one column are drawn from.
#[derive(Debug, Clone, Copy, arbitrary::Arbitrary)]
enum Kind {
    FewWholeNumbers,
    WholeNumbers,
    Cents,
    Doubles,
    Exponents,
    Words,
    Codes,
    Constant,
    Gaps,
    Dates,
    LongIntegers,
    Anything,
}

fn cell(u: &mut Unstructured<'_>, kind: Kind, row: usize) -> Result<String> {
    Ok(match kind {
        Kind::FewWholeNumbers => u.int_in_range(-2..=3)?.to_string(),
        Kind::WholeNumbers => u.arbitrary::<i32>()?.to_string(),
        Kind::Cents => format!("{:.2}", f64::from(u.arbitrary::<i16>()?) / 100.0),
        Kind::Doubles => {
            let value = f64::from_bits(u.arbitrary()?);
            if value.is_finite() { value.to_string() } else { row.to_string() }
        }
        Kind::Exponents => format!("{}e{}", u.arbitrary::<i8>()?, u.int_in_range(-330..=330)?),
        Kind::Words => ["a", "b", "aa", "A", "-", "é"][u.choose_index(6)?].into(),
        Kind::Codes => ["007", "7", "07", "7.0", "+7", " 7", "-0", "0", "1e0"][u.choose_index(9)?].into(),
        Kind::Constant => "the same".into(),
        Kind::Gaps => ["", "1", "2", "NA", "nan", "3.5", " ", "null"][u.choose_index(8)?].into(),
        Kind::Dates => format!(
            "{:02}/{:02}/{}",
            u.int_in_range(1..=28)?,
            u.int_in_range(1..=14)?,
            ["2023", "1999", "24"][u.choose_index(3)?]
        ),
        Kind::LongIntegers => u.arbitrary::<u64>()?.to_string(),
        Kind::Anything => u.arbitrary::<&str>()?.chars().take(12).collect(),
    })
}

fn table(u: &mut Unstructured<'_>) -> Result<(Table, SchemaOptions)> {
    let (rows, columns) = (u.int_in_range(0..=80)?, u.int_in_range(1..=5)?);
    let names: Vec<String> = (0..columns).map(|i| format!("c{i}")).collect();
    let mut options =
        SchemaOptions { missing: if u.arbitrary()? { Missing::Level } else { Missing::Fail }, ..Default::default() };
    let mut cells = Vec::new();
    for name in &names {
        let kind = u.arbitrary()?;
        match u.int_in_range(0..=9)? {
            0 => options.categorical.push(name.clone()),
            1 => options.numerical.push(name.clone()),
            2 => options.drop.push(name.clone()),
            3 => options.identifier.push(name.clone()),
            _ => {}
        }
        cells.push((0..rows).map(|row| cell(u, kind, row)).collect::<Result<Vec<_>>>()?);
    }
    Ok((Table::new(names, cells).unwrap(), options))
}

fn in_words(error: &ntk_score::Error) {
    let sentence = error.to_string();
    assert!(sentence.len() > 20 && !sentence.contains("Error"), "'{sentence}' is no sentence");
}

/// Whether a cell is one of the marks that mean a missing one everywhere.
fn missing(cell: &str) -> bool {
    ["", "na", "n/a", "nan", "null"].contains(&cell.trim().to_lowercase().as_str())
}

/// Whether a column came back: the same texts, or where it is numbers inside the same numbers.
fn assert_same(column: &ColumnSchema, written: &Table, found: &Table) {
    match (column.read(written).unwrap(), column.read(found).unwrap(), &column.kind) {
        (_, _, ColumnKind::Identifier { .. }) => {}
        // A column without a single filled cell comes back empty, however its missing cells were written.
        (_, _, ColumnKind::Constant { .. })
            if written.column(&column.name).is_some_and(|cells| cells.iter().all(|c| missing(c))) => {}
        (ColumnValues::Numbers(a), ColumnValues::Numbers(b), _) => {
            let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
            assert!(a.iter().zip(&b).all(same), "{column:?}: wrote {a:?}, found {b:?}");
        }
        _ => assert_eq!(written.column(&column.name), found.column(&column.name), "{column:?}"),
    }
}

fn check(table: &Table, options: &SchemaOptions) {
    let schema = match Schema::infer(table, options) {
        Ok(schema) => schema,
        Err(error) => return in_words(&error),
    };
    let codec = Codec::fit(table, &schema).unwrap();
    let matrix = codec.encode(table, TieCode::Middle).unwrap();
    assert_eq!((matrix.nrows(), matrix.ncols()), (table.rows(), codec.width()));
    for how in [Decode::Observed, Decode::Interpolate] {
        let decoded = codec.decode(matrix.as_ref(), how).unwrap();
        for column in &schema.columns {
            assert_same(column, table, &decoded);
        }
    }
    // Spread over their ranks, cells still decode to values of their own column, and what is stored is what was learned.
    let spread = codec.encode(table, TieCode::Spread { seed: 7 }).unwrap();
    let decoded = codec.decode(spread.as_ref(), Decode::Observed).unwrap();
    for column in &schema.columns {
        if let ColumnKind::Categorical { levels } = &column.kind {
            assert!(decoded.column(&column.name).unwrap().iter().all(|cell| levels.contains(cell)));
        }
    }
    assert_eq!(Codec::from_parts(codec.to_parts()).unwrap(), codec);
    // A table of the same columns always reads back through the schema it gave.
    schema.read(&decoded).unwrap();
}

fuzz_target!(|data: &[u8]| {
    if let Ok((table, options)) = table(&mut Unstructured::new(data)) {
        check(&table, &options);
    }
});
