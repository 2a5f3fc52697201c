//! A fit that goes on from a checkpoint makes the model that the uninterrupted one makes; what is no whole checkpoint of this fit is
//! refused.

use std::ops::ControlFlow;

use faer::Par;
use ntk_score::fit::{Checkpoint, FitSettings, Length, OptimizerKind, Preset, Stopping, Times, resume};
use ntk_score::table::Table;
use ntk_score::{Error, store};

/// Numbers with ties, codes and words.
fn table(rows: usize, seed: u64) -> Table {
    let mut state = seed;
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % bound
    };
    let mut columns = vec![Vec::new(); 3];
    for _ in 0..rows {
        let income = 1000 + next(9000);
        columns[0].push(income.to_string());
        columns[1].push(if next(3) == 0 { 0 } else { income / 10 + next(50) }.to_string());
        columns[2].push(["Aachen", "Bath", "Como"][next(3) as usize].to_owned());
    }
    Table::new(["income", "paid", "town"].map(String::from).to_vec(), columns).unwrap()
}

fn settings(preset: Preset, iterations: usize, stop: Stopping, optimizer: OptimizerKind) -> FitSettings {
    let mut settings = FitSettings::new(preset, Length::Iterations(iterations));
    // Two blocks of neurons, and a batch that does not divide the rows.
    (settings.width, settings.batch, settings.seed) = (128, 100, 3);
    (settings.stop, settings.optimizer) = (Some(stop), Some(optimizer));
    settings
}

/// The settings with one thing changed.
fn with(settings: &FitSettings, change: impl FnOnce(&mut FitSettings)) -> FitSettings {
    let mut settings = settings.clone();
    change(&mut settings);
    settings
}

fn bytes(checkpoint: &Checkpoint) -> Vec<u8> {
    let mut bytes = Vec::new();
    checkpoint.write(&mut bytes).unwrap();
    bytes
}

/// The model's bytes, and those of the checkpoints after the iterations `at`.
fn fitted(
    table: &Table,
    settings: &FitSettings,
    from: Option<Checkpoint>,
    at: &[usize],
) -> (Vec<u8>, Vec<(usize, Vec<u8>)>) {
    let mut taken = Vec::new();
    let fitted = resume(table, settings, from, &mut |progress, state| {
        if at.contains(&progress.iteration) {
            taken.push((progress.iteration, bytes(&state())));
        }
        Ok(ControlFlow::Continue(()))
    });
    (store::to_bytes(&fitted.unwrap()).unwrap(), taken)
}

#[test]
fn a_fit_goes_on_to_the_same_bytes_on_any_number_of_threads() {
    let table = table(330, 7);
    let sharp = settings(Preset::Best, 60, Stopping::Sharp, OptimizerKind::Nesterov);
    let two_stages = with(&sharp, |settings| (settings.stages, settings.stop) = (2, Some(Stopping::None)));
    let recoverable = |settings| with(&settings, |settings| settings.times = Times::Recoverable);
    for (settings, at) in [
        // Beyond the first iteration at which rows held out can stop it.
        (settings(Preset::Best, 340, Stopping::HoldOut, OptimizerKind::Adam), &[1, 304, 340][..]),
        // The rule stops after few iterations.
        (sharp, &[1]),
        // In the first network, between the two, and in the second.
        (two_stages.clone(), &[7, 30, 44]),
        (settings(Preset::Ntk, 50, Stopping::None, OptimizerKind::Descent), &[20]),
        // Before and after times are learnt from the error, at 32 and 64 iterations; of rows held out and of the others.
        (recoverable(settings(Preset::Best, 70, Stopping::HoldOut, OptimizerKind::Adam)), &[7, 31, 32, 33, 64]),
        (recoverable(settings(Preset::Ntk, 50, Stopping::None, OptimizerKind::Descent)), &[31, 40]),
        (recoverable(two_stages.clone()), &[20, 44]),
        (settings(Preset::Paper, 50, Stopping::Sharp, OptimizerKind::Descent), &[1, 20, 50]),
        (settings(Preset::Paper, 50, Stopping::HoldOut, OptimizerKind::Adam), &[25]),
    ] {
        let (whole, checkpoints) = fitted(&table, &settings, None, at);
        assert!(!checkpoints.is_empty(), "{settings:?}");
        for (threads, (iteration, checkpoint)) in checkpoints.iter().enumerate() {
            let settings = with(&settings, |settings| settings.par = Par::rayon(threads + 1));
            let from = Checkpoint::from_bytes(checkpoint).unwrap();
            // What a resumed fit writes in its turn is as good.
            let (model, again) = fitted(&table, &settings, Some(from), &[iteration + 5]);
            assert!(model == whole, "{:?} from iteration {iteration}", settings.preset);
            if let Some((at, later)) = again.first() {
                let from = Checkpoint::from_bytes(later).unwrap();
                assert!(fitted(&table, &settings, Some(from), &[]).0 == whole, "{:?} from {at}", settings.preset);
            }
        }
    }
}

#[test]
fn rows_held_out_have_the_same_times_however_training_draws_them() {
    let table = table(330, 7);
    let losses = |times| {
        let settings = settings(Preset::Best, 40, Stopping::HoldOut, OptimizerKind::Adam);
        let settings = with(&settings, |settings| settings.times = times);
        let fitted = resume(&table, &settings, None, &mut |_, _| Ok(ControlFlow::Continue(()))).unwrap();
        (fitted.record.held_out_losses[0], fitted.record.losses)
    };
    let [even, fixed, recoverable] = [Times::Even, Times::Fixed, Times::Recoverable].map(losses);
    // Of the base alone, and of batches.
    assert!(even.0 == fixed.0 && fixed.0 == recoverable.0, "{even:?} {fixed:?} {recoverable:?}");
    assert!(even.1 != fixed.1 && fixed.1 != recoverable.1 && recoverable.1 != even.1);
}

#[test]
fn a_checkpoint_of_something_else_and_one_that_is_not_whole_are_refused() {
    let (table, other) = (table(60, 7), table(60, 8));
    let settings = settings(Preset::Paper, 10, Stopping::None, OptimizerKind::Adam);
    let mut taken = None;
    let interrupted = resume(&table, &settings, None, &mut |_, state| {
        taken = Some(state());
        Err(Error::Interrupted)
    });
    assert_eq!(interrupted.unwrap_err(), Error::Interrupted);
    let checkpoint = taken.unwrap();
    let refused = |table: &Table, settings: &FitSettings| {
        let from = Some(checkpoint.clone());
        let result = resume(table, settings, from, &mut |_, _| Ok(ControlFlow::Continue(())));
        match result {
            Err(Error::Checkpoint(why)) => why,
            result => panic!("{:?}", result.map(|_| ())),
        }
    };
    assert!(refused(&other, &settings).contains("another table"));
    for changed in [
        with(&settings, |settings| settings.seed = 4),
        with(&settings, |settings| settings.width = 130),
        with(&settings, |settings| settings.length = Length::Iterations(11)),
        with(&settings, |settings| settings.times = Times::Even),
    ] {
        assert!(refused(&table, &changed).contains("other settings"));
    }
    let bytes = bytes(&checkpoint);
    assert!(Checkpoint::from_bytes(&bytes).unwrap() == checkpoint);
    for cut in [0, 1, 22, 23, 40, bytes.len() / 2, bytes.len() - 17, bytes.len() - 1] {
        assert!(matches!(Checkpoint::from_bytes(&bytes[..cut]), Err(Error::Checkpoint(_))), "cut to {cut}");
    }
    for at in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
        let mut altered = bytes.clone();
        altered[at] ^= 4;
        assert!(matches!(Checkpoint::from_bytes(&altered), Err(Error::Checkpoint(_))), "altered at {at}");
    }
}
