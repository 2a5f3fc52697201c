use super::*;
use crate::table::number::NumberFormat;
use crate::table::schema::MissingMarks;

fn table(columns: &[(&str, &[&str])]) -> Table {
    Table::new(
        columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
        columns.iter().map(|(_, cells)| cells.iter().map(|cell| (*cell).to_owned()).collect()).collect(),
    )
    .unwrap()
}

/// The findings on a column 'x', beside one that can be learnt.
fn one(cells: &[&str], options: &SchemaOptions) -> Result<Finding> {
    let other: Vec<String> = (0..cells.len()).map(|row| (row * row).to_string()).collect();
    let other: Vec<&str> = other.iter().map(String::as_str).collect();
    Findings::of(&table(&[("x", cells), ("other", &other)]), options).map(|findings| findings.columns[0].clone())
}

fn kind(cells: &[&str]) -> ColumnKind {
    one(cells, &SchemaOptions::default()).unwrap().kind.unwrap()
}

fn sentence(cells: &[&str], options: &SchemaOptions) -> String {
    one(cells, options).unwrap_err().to_string()
}

fn named(kind: &str) -> SchemaOptions {
    let mut options = SchemaOptions::default();
    match kind {
        "categorical" => options.categorical.push("x".into()),
        "numerical" => options.numerical.push("x".into()),
        "identifier" => options.identifier.push("x".into()),
        _ => options.drop.push("x".into()),
    }
    options
}

fn cells(count: usize, cell: impl Fn(usize) -> String) -> Vec<String> {
    (0..count).map(cell).collect()
}

fn refs(cells: &[String]) -> Vec<&str> {
    cells.iter().map(String::as_str).collect()
}

fn levels(kind: ColumnKind) -> Vec<String> {
    match kind {
        ColumnKind::Categorical { levels } => levels,
        other => panic!("{other:?}"),
    }
}

#[test]
fn kinds_are_found() {
    let ColumnKind::Numerical { integer, format, .. } = kind(&["20000", "5.00E+05", "30000"]) else { panic!() };
    assert!(integer);
    assert_eq!(format.write(500_000.0), "500000");
    assert!(matches!(kind(&["0.5", "1", "2"]), ColumnKind::Numerical { integer: false, .. }));
    assert!(matches!(kind(&["7", "7", "7"]), ColumnKind::Constant { .. }));
    assert_eq!(levels(kind(&["no", "yes", "no", "Maybe"])), ["Maybe", "no", "yes"]);
    assert_eq!(levels(kind(&["10", "-2", "-2.0", "10"])), ["-2", "-2.0", "10"], "every spelling is a level");
    assert_eq!(levels(kind(&["01", "1", "01", "1"])), ["01", "1"], "leading zeros make a code");
    let codes = cells(200, |i| (i as i32 % 20 - 5).to_string());
    let sorted = levels(kind(&refs(&codes)));
    assert_eq!(sorted.len(), 20);
    assert!(sorted.windows(2).all(|pair| pair[0].parse::<i32>().unwrap() < pair[1].parse().unwrap()));
    assert!(matches!(kind(&refs(&codes)[1..]), ColumnKind::Numerical { .. }), "fewer than ten rows per code");
}

#[test]
fn categories_are_their_text() {
    let versions = cells(180, |i| ["1.1", "1.10", "1.2"][i % 3].into());
    assert_eq!(levels(kind(&refs(&versions))), ["1.1", "1.10", "1.2"]);
    let many = cells(300, |i| format!("{}.{}", i % 6, [1, 10, 2, 20, 3, 11, 12][i % 7]));
    let finding = one(&refs(&many), &SchemaOptions::default()).unwrap();
    assert!(finding.note.unwrap().contains("written differently"));
    assert_eq!(levels(finding.kind.unwrap()).len(), 42);
    let ids = cells(60, |i| (90_071_992_547_409_920 + i as u64 % 4).to_string());
    assert_eq!(levels(kind(&refs(&ids))).len(), 4);
    assert_eq!(levels(one(&["1.1", "1.10", "x", " x"], &named("categorical")).unwrap().kind.unwrap()).len(), 4);
}

#[test]
fn the_user_overrides() {
    let cells = ["1", "2", "1", "2", "3"];
    assert!(matches!(one(&cells, &named("categorical")).unwrap().kind, Some(ColumnKind::Categorical { .. })));
    let two = one(&["1", "0", "1", "0"], &named("numerical")).unwrap();
    assert!(matches!(two.kind, Some(ColumnKind::Numerical { .. })));
    assert!(sentence(&["1", "x", "3"], &named("numerical")).contains("row 2 of column 'x' holds the text 'x'"));
    let mut all = named("drop");
    all.drop.push("other".into());
    assert!(sentence(&cells, &all).contains("every column is dropped"));
    let mut both = named("categorical");
    both.numerical.push("x".into());
    assert!(sentence(&cells, &both).contains("both in `categorical` and in `numerical`"));
    let unknown = SchemaOptions { drop: vec!["ID".into()], ..Default::default() };
    assert!(sentence(&cells, &unknown).contains("'ID', which the table does not have; its columns are x, other"));
}

#[test]
fn bad_tables_are_refused_in_a_sentence() {
    let strict = SchemaOptions { missing: Missing::Fail, ..Default::default() };
    let bad = |cells: &[&str]| sentence(cells, &strict);
    assert!(bad(&[]).contains("no rows"));
    assert!(bad(&["1"]).contains("only one row"));
    assert!(bad(&["", "", ""]).contains("column 'x' is empty in every row"));
    assert!(bad(&["1", "2", "", "4"]).contains("row 3 of column 'x' is missing"));
    assert!(bad(&["1", "2", "NaN", "4"]).contains("row 3 of column 'x' is missing ('NaN')"));
    assert!(bad(&["a", "b", "", "a"]).contains("row 3 of column 'x' is missing"));
    assert!(bad(&["1", "inf", "3", "4"]).contains("row 2 of column 'x' is not a finite number ('inf')"));
    assert!(bad(&["1", "18446744073709551616", "3", "4"]).contains("beyond 64 bits"));
    let stray = cells(300, |i| if i == 41 { "12,5".into() } else { i.to_string() });
    assert!(bad(&refs(&stray)).contains("row 42 of column 'x' holds the text '12,5'"));
    let thousands = cells(60, |i| format!("${},{:03}.50", i + 1, i * 7));
    assert!(bad(&refs(&thousands)).contains("row 1 of column 'x' holds '$1,000.50', a number with other signs"));
    let dates = cells(28, |i| format!("{:02}/02/2023", i % 12 + 1));
    assert!(bad(&refs(&dates)).contains("say in `dates` which it is: 'x=dmy' or 'x=mdy'"));
    let empty = table(&[("a", &["", "NA"]), ("b", &["1", "2"]), ("c", &["", ""])]);
    let said = Findings::of(&empty, &strict).unwrap_err().to_string();
    assert!(said.contains("columns 'a', 'c' are empty in every row"), "{said}");
    assert_eq!(Findings::of(&empty, &SchemaOptions::default()).unwrap().schema.columns.len(), 3);
}

#[test]
fn missing_cells_are_learnt() {
    let options = SchemaOptions::default();
    assert_eq!(levels(kind(&["a", "", "b", "NA"])), ["", "NA", "a", "b"]);
    let ColumnKind::Numerical { missing, .. } = kind(&["1", "", "2.5", "3"]) else { panic!() };
    assert_eq!(missing.unwrap().written(), "");
    let ages = cells(200, |i| if i % 7 == 0 { "?".into() } else { (i * 37 % 101).to_string() });
    let found = one(&refs(&ages), &options).unwrap();
    assert_eq!((found.missing, found.left_out), (29, false));
    assert!(matches!(found.kind, Some(ColumnKind::Numerical { integer: true, missing: Some(_), .. })));
    for mark in ["-", "None", ".", "n/a", "NaT"] {
        let marked: Vec<&str> = refs(&ages).into_iter().map(|cell| if cell == "?" { mark } else { cell }).collect();
        assert!(matches!(kind(&marked), ColumnKind::Numerical { missing: Some(_), .. }), "{mark}");
    }
    let unknown: Vec<&str> = refs(&ages).into_iter().map(|cell| if cell == "?" { "unknown" } else { cell }).collect();
    let found = one(&unknown, &options).unwrap();
    let note = found.note.unwrap();
    assert!(note.contains("levels, not numbers: 29 cells are 'unknown', the first in row 1"), "{note}");
    let marks = SchemaOptions { missing_marks: vec!["unknown".into(), "-999".into()], ..Default::default() };
    let found = one(&unknown, &marks).unwrap();
    assert_eq!(found.kind.unwrap().missing(), Some(&MissingMarks(vec!["unknown".into()])));
}

#[test]
fn codes_among_numbers_are_said() {
    let one_code = cells(300, |i| if i == 41 { "007".into() } else { (i * i).to_string() });
    let found = one(&refs(&one_code), &SchemaOptions::default()).unwrap();
    assert!(matches!(found.kind, Some(ColumnKind::Numerical { .. })));
    assert!(found.note.unwrap().starts_with("row 42 is '007'"));
    let zips = cells(300, |i| format!("{:05}", 1000 + i % 60 * 997));
    let found = one(&refs(&zips), &SchemaOptions::default()).unwrap();
    assert!(found.note.unwrap().starts_with("60 levels, not numbers: row 1 is '01000', with a leading zero"));
}

#[test]
fn identifiers_are_left_out_or_made_anew() {
    let names = cells(61, |i| format!("Ann {}", i.max(1)));
    let found = one(&refs(&names), &SchemaOptions::default()).unwrap();
    assert!(found.left_out && found.note.unwrap().contains("60 different texts in 61 rows"));
    let found = one(&refs(&names), &named("identifier")).unwrap();
    assert!(!found.left_out && matches!(found.kind, Some(ColumnKind::Identifier { .. })));
    let found = one(&refs(&names), &named("categorical")).unwrap();
    assert_eq!(levels(found.kind.unwrap()).len(), 60);
    let counts = cells(100, |i| (i + 1).to_string());
    assert!(one(&refs(&counts), &SchemaOptions::default()).unwrap().left_out);
    assert!(!one(&refs(&counts), &named("numerical")).unwrap().left_out);
    let years = cells(100, |i| (i + 1920).to_string());
    assert!(!one(&refs(&years), &SchemaOptions::default()).unwrap().left_out);
    // Alone in the table, numbers that count are learnt and names are refused.
    let alone = |cells: &[String]| Findings::of(&table(&[("x", &refs(cells))]), &SchemaOptions::default());
    assert_eq!(alone(&counts).unwrap().schema.columns.len(), 1);
    assert!(alone(&names).unwrap_err().to_string().contains("as an identifier does"));
}

#[test]
fn whole_numbers_stay_whole() {
    let large = cells(151, |i| (1_234_567_890_123_450_000 + 1000 * i as u64).to_string());
    let found = one(&refs(&large), &SchemaOptions::default()).unwrap();
    assert!(!found.left_out);
    assert!(matches!(found.kind, Some(ColumnKind::Numerical { integer: true, .. })));
    let format = NumberFormat { minimum_decimals: 0, maximum_decimals: 0 };
    let cents = cells(151, |i| if i == 70 { "9999999999999999".into() } else { i.to_string() });
    assert_eq!(kind(&refs(&cents)), ColumnKind::Numerical { integer: true, format, missing: None });
}

#[test]
fn declarations_give_the_same_findings() {
    let ids = cells(120, |i| format!("user-{i}"));
    let days = cells(120, |i| format!("{:02}/{:02}/2024", i % 28 + 1, i % 12 + 1));
    let ages = cells(120, |i| if i % 9 == 0 { "?".into() } else { format!("{}.50", i * 7 % 101) });
    let codes = cells(120, |i| ["a", "b", ""][i % 3].into());
    let fixed = vec!["EU"; 120];
    let table = table(&[
        ("id", &refs(&ids)),
        ("day", &refs(&days)),
        ("age", &refs(&ages)),
        ("code", &refs(&codes)),
        ("k", &fixed),
    ]);
    let found = Findings::of(&table, &SchemaOptions::default()).unwrap();
    assert_eq!(found.schema.columns.len(), 4);
    let options = SchemaOptions { declared: found.declared(), ..Default::default() };
    assert_eq!(Findings::of(&table, &options).unwrap().schema, found.schema);
    let lines = found.described(&Codec::fit(&table, &found.schema).unwrap());
    assert_eq!(lines[1][..4], ["day", "date", "01/01/2024 to 28/12/2024", "day"].map(String::from));
    assert_eq!(lines[2][..5], ["age", "number", "0.50 to 99.50", "1.00", "11.7 %"].map(String::from));
    let mut declared = found.declared();
    declared[3].levels.pop();
    let options = SchemaOptions { declared, ..Default::default() };
    assert!(Findings::of(&table, &options).unwrap_err().to_string().contains("none of the levels of the schema"));
}
