//! Runs one kernel at a chosen size, level and thread count, and sets its speed beside limits measured in the same run.
//!
//! A figure without its limit, its error and the state of the machine says little; so the peaks are measured before and after
//! the kernel with the same level and threads, the answer is checked against the plain reference, and processor time stands
//! beside elapsed time, which other work on the machine lengthens.

mod descent;
mod gram;
mod measure;
mod memory;
mod patterns;
mod report;
mod settings;
mod tangent;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use ntk_score::kernels::Real;
use ntk_score::simd::Level;
use ntk_score::{Error, Result};

use report::Report;
use settings::{COLUMNS, Form, NEURONS, OUTPUTS, Pages, Part, Precision, ROWS, RuleName, Settings, Which, name_of};
use work::{Beside, Work};

fn main() -> ExitCode {
    let outcome = ntk_score::cli::arguments::parse::<Settings>().and_then(|settings| {
        let done = match settings.precision {
            Precision::F32 => run::<f32>(&settings),
            Precision::F64 => run::<f64>(&settings),
        };
        done.map_err(|e| e.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn run<T: Real>(settings: &Settings) -> Result<()> {
    let level = match &settings.level {
        Some(name) => name.parse()?,
        None => Level::from_env()?,
    };
    check(settings)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build();
    let pool = pool.map_err(|_| setting("--threads", settings.threads, "this system cannot start as many threads"))?;
    if settings.sweep {
        let show = |report: &Report| print!("{}", if settings.json { report.json() } else { report.line() });
        return pool.install(|| descent::sweep::<T>(settings, level, show));
    }
    memory::check::<T>(settings)?;
    pool.install(|| {
        let mut work = prepare::<T>(settings, level)?;
        let peaks = || measure::peaks::<T>(level, settings.threads, settings.kernel == Which::Tangent);
        let before = peaks();
        let duration = Duration::from_secs_f64(settings.seconds);
        let beside = prepare_beside::<T>(settings, level)?;
        let (time, beside) = match beside {
            None => (measure::repeat(duration, &mut work.run)?, None),
            Some((name, mut other)) => {
                let (time, other) = measure::alternate(duration, &mut work.run, &mut other)?;
                (time, Some((name, other)))
            }
        };
        let peaks = before.best_with(peaks());
        let report = Report::new::<T>(settings, level, &work, time, peaks).with_beside(beside);
        print!("{}", if settings.json { report.json() } else { report.table() });
        Ok(())
    })
}

fn prepare<T: Real>(settings: &Settings, level: Level) -> Result<Work<'static>> {
    match settings.kernel {
        Which::Gram => gram::prepare::<T>(settings, level),
        Which::Patterns => patterns::prepare::<T>(settings, level),
        Which::Tangent => tangent::prepare::<T>(settings, level),
        Which::Descent => descent::prepare::<T>(settings, level),
    }
}

fn prepare_beside<T: Real>(settings: &Settings, level: Level) -> Result<Beside> {
    if settings.kernel == Which::Tangent { tangent::beside::<T>(settings, level) } else { Ok(None) }
}

fn check(settings: &Settings) -> Result<()> {
    let kernel = match settings.part {
        Part::Step | Part::Forward | Part::Predict | Part::Gradient => Which::Descent,
        Part::Pack | Part::Flips | Part::FlipsBySample => Which::Patterns,
        Part::Block | Part::Same | Part::All | Part::Product => Which::Tangent,
    };
    let is_gram = settings.kernel == Which::Gram;
    if kernel != settings.kernel && !(is_gram && settings.part == Part::Step) {
        return Err(setting("--part", name_of(settings.part), "it is not a part of this kernel's work"));
    }
    // What is left at its default says nothing, whether it was given or not.
    let has_outputs = matches!(settings.kernel, Which::Descent | Which::Tangent);
    let is_descent = settings.kernel == Which::Descent;
    for (name, chosen, belongs, requirement) in [
        ("--neurons", settings.neurons != NEURONS, !is_gram, "the kernel gram has no neurons"),
        ("--outputs", settings.outputs != OUTPUTS, has_outputs, "only the kernels descent and tangent have outputs"),
        ("--rule", settings.rule != RuleName::Descent, is_descent, "only the kernel descent has it"),
        ("--average", settings.average, is_descent, "only the kernel descent has it"),
        ("--sweep", settings.sweep, is_descent, "only the kernel descent has a table of shapes"),
        ("--form", settings.form != Form::Whole, is_gram, "only the kernel gram has forms"),
        ("--columns", settings.columns != COLUMNS, is_gram, "only the kernel gram has it"),
        ("--rows", settings.rows != ROWS, is_gram, "only the kernel gram has it"),
        ("--pages", settings.pages != Pages::Usual, is_gram, "only the kernel gram has it"),
    ] {
        if chosen && !belongs {
            return Err(setting(name, "given", requirement));
        }
    }
    for (name, value, most) in [
        ("--samples", settings.samples, 1 << 32),
        ("--features", settings.features, 1 << 20),
        ("--neurons", settings.neurons, 1 << 32),
        ("--outputs", settings.outputs, 1 << 20),
        ("--columns", settings.columns, 1 << 20),
        ("--rows", settings.rows, 1 << 32),
        ("--threads", settings.threads, 1024),
    ] {
        if value == 0 {
            return Err(setting(name, value, "it must be at least 1"));
        }
        if value > most {
            return Err(setting(name, value, "that is more than this program is made for"));
        }
    }
    if !(settings.seconds.is_finite() && (0.0..=86_400.0).contains(&settings.seconds)) {
        return Err(setting("--seconds", settings.seconds, "it must lie between 0 and 86400"));
    }
    Ok(())
}

fn setting(name: &'static str, value: impl ToString, requirement: &'static str) -> Error {
    Error::Setting { name, value: value.to_string(), requirement }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn options_of_other_kernels_are_refused_by_name() {
        let checked =
            |arguments: &str| check(&Settings::parse_from(["ntk-profile"].into_iter().chain(arguments.split(' '))));
        for fine in [
            "gram --form product --columns 3 --rows 5 --pages huge",
            "tangent --outputs 3 --neurons 5 --part all",
            "descent --rule adam --average --part step",
            "patterns --neurons 9 --part flips",
        ] {
            checked(fine).unwrap();
        }
        for (arguments, name) in [
            ("gram --neurons 5", "--neurons"),
            ("gram --part pack", "--part"),
            ("patterns --outputs 3", "--outputs"),
            ("tangent --rule adam", "--rule"),
            ("patterns --average", "--average"),
            ("gram --sweep", "--sweep"),
            ("descent --form lower", "--form"),
            ("tangent --columns 3", "--columns"),
            ("patterns --rows 3", "--rows"),
            ("descent --pages huge", "--pages"),
        ] {
            let found = checked(arguments).unwrap_err();
            assert!(matches!(found, Error::Setting { name: found, .. } if found == name), "{arguments}: {found}");
        }
    }
}
