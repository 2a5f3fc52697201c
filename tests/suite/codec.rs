//! The codec against its contract: encode then decode returns the table, and decoding keeps marginals, types and range.

use faer::Mat;
use ntk_score::internals::normal_quantile;
use ntk_score::table::{Codec, ColumnKind, Decode, Missing, Schema, SchemaOptions, Table, TieCode};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

fn table(columns: Vec<(&str, Vec<String>)>) -> Table {
    let (names, columns) = columns.into_iter().map(|(name, cells)| (name.to_owned(), cells)).unzip();
    Table::new(names, columns).unwrap()
}

fn fit(table: &Table) -> Codec {
    Codec::fit(table, &Schema::infer(table, &SchemaOptions::default()).unwrap()).unwrap()
}

/// Amounts with a point mass at zero, round sums, and otherwise distinct whole numbers.
fn amounts(rows: usize) -> Vec<f64> {
    let spread = |i: usize| ((i * 7919) % 100_003) as f64;
    (0..rows)
        .map(|i| match i % 5 {
            0 => 0.0,
            1 => ((i % 7) * 1000) as f64,
            _ => spread(i) - 20_000.0,
        })
        .collect()
}

fn column() -> impl Strategy<Value = Vec<String>> {
    let rows = 40;
    prop_oneof![
        proptest::collection::vec((-5i32..5).prop_map(|v| v.to_string()), rows),
        proptest::collection::vec((-1_000_000i32..1_000_000).prop_map(|v| (v * 10).to_string()), rows),
        proptest::collection::vec((-1e6f64..1e6).prop_map(|v| v.to_string()), rows),
        proptest::collection::vec((-1e-3f64..1e-3).prop_map(|v| format!("{v:.4}")), rows)
            .prop_map(|cells| cells.into_iter().map(|cell| cell.replace("-0.0000", "0.0000")).collect()),
        proptest::collection::vec((0..300i32).prop_map(|v| format!("{v}.0")), rows),
        proptest::collection::vec("[a-c]{1,2}", rows),
        Just(vec!["the same".to_owned(); rows]),
        Just(vec!["7".to_owned(); rows]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn encode_then_decode_returns_the_table(columns in proptest::collection::vec(column(), 1..6)) {
        let names = (0..columns.len()).map(|index| format!("column {index}")).collect();
        let table = Table::new(names, columns).unwrap();
        let codec = fit(&table);
        let matrix = codec.encode(&table, TieCode::Middle).unwrap();
        prop_assert_eq!((matrix.nrows(), matrix.ncols()), (40, codec.width()));
        for how in [Decode::Observed, Decode::Interpolate] {
            prop_assert_eq!(&codec.decode(matrix.as_ref(), how).unwrap(), &table);
        }
    }

    #[test]
    fn decoded_values_keep_range_and_grid(scores in proptest::collection::vec(-9.0f64..9.0, 1..50)) {
        let values = amounts(2000);
        let table = table(vec![("amount", values.iter().map(|v| v.to_string()).collect())]);
        let codec = fit(&table);
        let matrix = Mat::from_fn(scores.len(), 1, |row, _| scores[row]);
        let (low, high) = values.iter().fold((f64::MAX, f64::MIN), |(l, h), &v| (l.min(v), h.max(v)));
        let observed = codec.decode(matrix.as_ref(), Decode::Observed).unwrap();
        let between = codec.decode(matrix.as_ref(), Decode::Interpolate).unwrap();
        for (exact, free) in observed.columns()[0].iter().zip(&between.columns()[0]) {
            prop_assert!(values.contains(&exact.parse().unwrap()));
            let free: f64 = free.parse().unwrap();
            prop_assert!(free.fract() == 0.0 && (low..=high).contains(&free));
        }
    }
}

#[test]
fn an_even_grid_of_scores_reproduces_the_marginal() {
    let values = amounts(5000);
    let table = table(vec![("amount", values.iter().map(|v| v.to_string()).collect())]);
    let codec = fit(&table);
    let draws = 20_000;
    let scores = Mat::from_fn(draws, 1, |row, _| normal_quantile((row as f64 + 0.5) / draws as f64));
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    for how in [Decode::Observed, Decode::Interpolate] {
        let decoded = codec.decode(scores.as_ref(), how).unwrap();
        let decoded: Vec<f64> = decoded.columns()[0].iter().map(|cell| cell.parse().unwrap()).collect();
        let zeros = |list: &[f64]| list.iter().filter(|&&v| v == 0.0).count() as f64 / list.len() as f64;
        assert!((zeros(&decoded) - zeros(&values)).abs() < 1e-4, "the point mass keeps its mass");
        for &at in sorted.iter().step_by(37) {
            let real = sorted.partition_point(|&v| v <= at) as f64 / sorted.len() as f64;
            let made = decoded.iter().filter(|&&v| v <= at).count() as f64 / draws as f64;
            assert!((real - made).abs() <= 1.5 / 5000.0, "at {at}: {real} against {made} with {how:?}");
        }
        let copies = decoded.iter().filter(|&&v| sorted.binary_search_by(|p| p.total_cmp(&v)).is_ok()).count();
        match how {
            Decode::Observed => assert_eq!(copies, draws),
            Decode::Interpolate => {
                assert!(copies < draws * 3 / 4, "{copies} of {draws} are copies")
            }
        }
    }
}

#[test]
fn spread_ties_stay_in_their_interval_and_come_back() {
    let values = amounts(3000);
    let table = table(vec![
        ("amount", values.iter().map(|v| v.to_string()).collect()),
        ("level", (0..3000).map(|i| ["low", "mid", "high"][i % 3].to_owned()).collect()),
    ]);
    let codec = fit(&table);
    assert_eq!((codec.numerical(), codec.blocks(), codec.width()), (1, &[3][..], 4));
    let first = codec.encode(&table, TieCode::Spread { seed: 1 }).unwrap();
    assert_eq!(first, codec.encode(&table, TieCode::Spread { seed: 1 }).unwrap(), "the seed decides");
    assert_ne!(first, codec.encode(&table, TieCode::Spread { seed: 2 }).unwrap());
    assert_eq!(codec.decode(first.as_ref(), Decode::Observed).unwrap(), table);

    // Spread over the intervals, the scores of a column with large ties are normal.
    let scores = first.col_as_slice(0);
    let mean = scores.iter().sum::<f64>() / 3000.0;
    let variance = scores.iter().map(|z| (z - mean) * (z - mean)).sum::<f64>() / 3000.0;
    assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");

    let encoded = codec.ranks(&table).unwrap();
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    let (mut scores, mut levels) = ([0f32; 1], [9u32; 1]);
    for row in 0..3000 {
        encoded.draw_row_into(row, &mut rng, &mut scores, &mut levels);
        assert_eq!(first[(row, 1 + levels[0] as usize)], 1.0);
        let mut matrix = Mat::zeros(1, 4);
        matrix[(0, 0)] = f64::from(scores[0]);
        let back: f64 = codec.decode(matrix.as_ref(), Decode::Observed).unwrap().columns()[0][0].parse().unwrap();
        let [low, high] = codec.numerical_codes()[0].rank_interval(values[row]);
        let [at, _] = codec.numerical_codes()[0].rank_interval(back);
        // Seven digits of the score may cross the edge of the interval, by one rank at most.
        assert!(at + 1 >= low && at <= high, "row {row}: {} became {back}", values[row]);
    }
}

#[test]
fn missing_cells_come_back_missing() {
    let cells = |every: usize, name: &str| -> Vec<String> {
        (0..200).map(|i| if i % every == 0 { String::new() } else { format!("{name}{}", i % 150) }).collect()
    };
    let table = table(vec![
        ("v", cells(4, "")),
        ("full", (0..200).map(|i| (i * i).to_string()).collect()),
        ("c", cells(3, "x")),
    ]);
    let options = SchemaOptions { missing: Missing::Level, ..Default::default() };
    let codec = Codec::fit(&table, &Schema::infer(&table, &options).unwrap()).unwrap();
    assert_eq!(codec.numerical(), 2);
    assert_eq!(codec.blocks().last(), Some(&2), "the indicator is the last block");
    assert_eq!(codec.level_counts().last(), Some(&vec![150, 50]));
    for ties in [TieCode::Middle, TieCode::Spread { seed: 5 }] {
        let matrix = codec.encode(&table, ties).unwrap();
        assert_eq!(codec.decode(matrix.as_ref(), Decode::Observed).unwrap(), table);
    }
}

#[test]
fn other_tables_are_encoded_between_the_known_values() {
    let codec = fit(&table(vec![("v", ["10", "20", "30", "40"].map(String::from).to_vec())]));
    let matrix =
        codec.encode(&table(vec![("v", ["5", "15", "30", "99"].map(String::from).to_vec())]), TieCode::Middle).unwrap();
    let expected = [0.125, 0.25, 0.625, 0.875].map(normal_quantile);
    assert_eq!(matrix.col_as_slice(0), expected);
}

#[test]
fn parts_are_checked() {
    let table = table(vec![
        ("v", amounts(300).iter().map(|v| v.to_string()).collect()),
        ("c", (0..300).map(|i| ["a", "b"][i % 2].to_owned()).collect()),
    ]);
    let codec = fit(&table);
    assert_eq!(Codec::from_parts(codec.to_parts()).unwrap(), codec);
    let broken = |change: fn(&mut ntk_score::internals::CodecParts)| {
        let mut parts = codec.to_parts();
        change(&mut parts);
        Codec::from_parts(parts).unwrap_err().to_string()
    };
    assert!(broken(|p| p.levels[0].swap(0, 1)).contains("damaged"));
    assert!(broken(|p| p.levels[0][0] = f64::NAN).contains("damaged"));
    assert!(broken(|p| p.counts[0][3] = 0).contains("damaged"));
    assert!(broken(|p| p.counts[0][3] = u32::MAX).contains("damaged"));
    assert!(broken(|p| p.levels.clear()).contains("damaged"));
    assert!(broken(|p| p.level_counts[0].push(1)).contains("damaged"));
    assert!(broken(|p| p.schema.columns.clear()).contains("damaged"));
    assert!(broken(|p| p.schema.columns[1].kind = ColumnKind::Categorical { levels: Vec::new() }).contains("damaged"));
}

#[test]
fn wrong_matrices_are_refused() {
    let codec = fit(&table(vec![("v", ["10", "20", "30", "40"].map(String::from).to_vec())]));
    assert!(codec.decode(Mat::zeros(3, 2).as_ref(), Decode::Observed).is_err());
    assert!(codec.decode(Mat::from_fn(3, 1, |_, _| f64::NAN).as_ref(), Decode::Observed).is_err());
    assert_eq!(codec.decode(Mat::zeros(0, 1).as_ref(), Decode::Observed).unwrap().rows(), 0);
}

#[cfg(feature = "cli")]
#[test]
fn a_codec_survives_json() {
    let codec = fit(&table(vec![
        ("v", amounts(300).iter().map(|v| (v / 3.0).to_string()).collect()),
        ("c", (0..300).map(|i| ["a", "b"][i % 2].to_owned()).collect()),
    ]));
    let text = serde_json::to_string(&codec).unwrap();
    assert_eq!(serde_json::from_str::<Codec>(&text).unwrap(), codec);
}
