//! Fits a score model to a table and generates another one that looks like it.
//!
//! ```sh
//! cargo run --release --no-default-features --example table
//! ```

use std::ops::ControlFlow;

use ntk_score::fit::{FitSettings, Length, Preset, SampleSettings, fit};
use ntk_score::table::Table;

fn main() -> ntk_score::Result<()> {
    // Your table: column names, and the cells of each column as text. Here a group decides about how large an amount is.
    let rows = 2000;
    let groups: Vec<String> = (0..rows).map(|i| ["low", "high"][i % 2].to_owned()).collect();
    let amounts = (0..rows).map(|i| (i * i % 977 + 2000 * (i % 2)).to_string()).collect();
    let table = Table::new(vec!["group".into(), "amount".into()], vec![groups, amounts])?;

    // A number of iterations makes the result the same everywhere; `Length::Budget` bounds the time instead.
    let mut settings = FitSettings::new(Preset::Best, Length::Iterations(4000));
    (settings.width, settings.batch) = (512, 512);
    let fitted = fit(&table, &settings, &mut |_progress| ControlFlow::Continue(()))?;

    let generated = fitted.sample(&SampleSettings::new(1000), &mut |_done, _total| ())?;
    for row in 0..5 {
        println!("{:>5} {:>5}", generated.columns()[0][row], generated.columns()[1][row]);
    }

    // Amounts stay whole numbers within their range, and the groups keep theirs apart.
    let cells = generated.columns()[0].iter().zip(&generated.columns()[1]);
    let fits = cells.filter(|(group, amount)| {
        let amount: u32 = amount.parse().expect("whole numbers stay whole");
        assert!(amount <= 2976);
        (amount >= 2000) == (*group == "high")
    });
    let share = fits.count() as f64 / 1000.0;
    println!("the amount fits its group in {:.1} % of the generated rows", 100.0 * share);
    assert!(share > 0.9);
    Ok(())
}
