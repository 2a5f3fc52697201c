//! Dates and times: how they are written, found by looking, and the whole numbers that they are inside.

use crate::{Error, Result};
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::Offset;

/// Ways to write a date, the likelier first. Those with month before day come after those with day before month.
const DATES: [&str; 23] = [
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d/%m/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%d/%m/%y",
    "%d.%m.%y",
    "%d-%m-%y",
    "%m/%d/%Y",
    "%m-%d-%Y",
    "%m.%d.%Y",
    "%m/%d/%y",
    "%m-%d-%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d/%b/%Y",
    "%b %d, %Y",
    "%d %B %Y",
    "%B %d, %Y",
    "%Y-%m",
    "%Y%m%d",
];
/// Ways to write what follows a date.
const TIMES: [&str; 8] =
    ["%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p", "%I:%M:%S %P", "%I:%M %P", "%H%M%S"];
const ZONES: [&str; 5] = ["", "Z", "%:z", "%z", " UTC"];
/// Cells that must hold dates before a column is called one in which a few cells are wrong.
const MOSTLY: f64 = 0.9;

/// How the dates or times of one column are written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct TimeFormat {
    /// A pattern as of `strftime`, such as `%d/%m/%Y`; `%s` are seconds since 1970.
    pattern: String,
    /// Seconds east of Greenwich with which times are written; none where no zone is.
    offset: Option<i32>,
    /// Decimals of a second that are kept.
    decimals: u32,
}

/// What looking at cells for dates came to.
pub(super) enum Sighting {
    None,
    Found(TimeFormat),
    /// Found but for the cell at this position.
    Stray(TimeFormat, usize),
    /// Day and month cannot be told apart; the two formats.
    Ambiguous,
}

/// What the number counts.
#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Months,
    Days,
    /// Parts of a second since midnight.
    Clock,
    /// Parts of a second since 1970.
    Instant,
}

impl TimeFormat {
    /// The pattern, as of `strftime`.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// What one step of the number is, in words.
    pub(super) fn unit(&self) -> &'static str {
        match (self.unit_of(), self.decimals) {
            (Unit::Months, _) => "month",
            (Unit::Days, _) => "day",
            (_, 0) => "s",
            (_, 3) => "ms",
            (_, 6) => "us",
            (_, 9) => "ns",
            _ => "part of a second",
        }
    }

    /// A date of this format, to show what is meant.
    pub(super) fn example(&self) -> String {
        match self.unit_of() {
            Unit::Months => self.write(24_299),
            Unit::Days => self.write(19_812),
            Unit::Clock => self.write(49_530 * self.ticks()),
            Unit::Instant => self.write(1_711_804_530 * self.ticks()),
        }
    }

    /// The number of a cell: months since year 0, days since 1970, or parts of a second since 1970 or midnight.
    pub(super) fn read(&self, cell: &str) -> Option<i128> {
        let cell = cell.trim();
        if self.pattern == "%s" {
            return cell.parse::<i64>().ok().map(i128::from);
        }
        let nanoseconds = 10i128.pow(9 - self.decimals);
        match self.unit_of() {
            Unit::Months => {
                let date = BrokenDownTime::parse(format!("{} %d", self.pattern), format!("{cell} 01")).ok()?;
                let date = date.to_date().ok()?;
                Some(12 * i128::from(date.year()) + i128::from(date.month()) - 1)
            }
            Unit::Days => {
                let date = BrokenDownTime::parse(&self.pattern, cell).ok()?.to_date().ok()?;
                let midnight = Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).ok()?;
                Some(i128::from(midnight.as_second().div_euclid(86_400)))
            }
            Unit::Clock => {
                let time = BrokenDownTime::parse(&self.pattern, cell).ok()?.to_time().ok()?;
                let at = Offset::UTC.to_timestamp(DateTime::from_parts(Date::constant(1970, 1, 1), time)).ok()?;
                Some(at.as_nanosecond() / nanoseconds)
            }
            Unit::Instant => {
                let parts = BrokenDownTime::parse(&self.pattern, cell).ok()?;
                let at = parts.offset().unwrap_or(Offset::UTC).to_timestamp(parts.to_datetime().ok()?).ok()?;
                Some(at.as_nanosecond().div_euclid(nanoseconds))
            }
        }
    }

    /// The cell of a number; empty for one that no calendar has.
    pub(super) fn write(&self, value: i128) -> String {
        if self.pattern == "%s" {
            return value.to_string();
        }
        self.written(value).unwrap_or_default()
    }

    /// Whether times can have so many decimals: they are counted in nanoseconds.
    pub(super) fn is_sound(&self) -> bool {
        self.decimals <= 9
    }

    fn written(&self, value: i128) -> Option<String> {
        let offset = Offset::from_seconds(self.offset.unwrap_or(0)).ok()?;
        let at = match self.unit_of() {
            Unit::Months => {
                let (year, month) = (value.div_euclid(12), value.rem_euclid(12) + 1);
                Date::new(year.try_into().ok()?, month as i8, 1).ok()?.to_datetime(Time::midnight())
            }
            Unit::Days => {
                let at = jiff::Timestamp::from_second(value.checked_mul(86_400)?.try_into().ok()?).ok()?;
                Offset::UTC.to_datetime(at)
            }
            Unit::Clock | Unit::Instant => {
                let at = jiff::Timestamp::from_nanosecond(value.checked_mul(10i128.pow(9 - self.decimals))?).ok()?;
                offset.to_datetime(at)
            }
        };
        let mut parts = BrokenDownTime::from(at);
        parts.set_offset(Some(offset));
        parts.to_string(&self.pattern).ok()
    }

    fn ticks(&self) -> i128 {
        10i128.pow(self.decimals)
    }

    fn unit_of(&self) -> Unit {
        let has = |parts: &[&str]| parts.iter().any(|part| self.pattern.contains(part));
        let date = has(&["%Y", "%y", "%s"]);
        match (date, has(&["%H", "%-H", "%I", "%-I", "%s"])) {
            (true, true) => Unit::Instant,
            (false, _) => Unit::Clock,
            (true, false) if has(&["%d", "%-d"]) => Unit::Days,
            (true, false) => Unit::Months,
        }
    }

    /// The format of a pattern for these cells, with the decimals and the commonest zone that they show.
    fn of(pattern: &str, cells: &[&str]) -> Self {
        let mut format = Self { pattern: pattern.to_owned(), offset: None, decimals: 0 };
        if pattern.contains("%.f") {
            let digits = |cell: &&str| {
                let fraction = cell.rsplit_once('.').map_or("", |(_, rest)| rest);
                fraction.bytes().take_while(u8::is_ascii_digit).count()
            };
            let most = cells.iter().map(digits).max().unwrap_or(0).min(9);
            format.decimals = most as u32;
            if cells.iter().all(|cell| digits(cell) == most) && most > 0 {
                format.pattern = pattern.replace("%.f", &format!("%.{most}f"));
            }
        }
        if let Some(digits) = pattern.split("%.").nth(1).and_then(|rest| rest.strip_suffix('f').or(rest.get(..1))) {
            format.decimals = digits.parse().map_or(format.decimals, |digits: u32| digits.min(9));
        }
        if pattern.contains('z') {
            let mut offsets: Vec<i32> = Vec::new();
            for cell in cells {
                let parts = BrokenDownTime::parse(&format.pattern, cell.trim()).ok();
                offsets.extend(parts.and_then(|parts| parts.offset()).map(|offset| offset.seconds()));
            }
            let often = |own: &i32| offsets.iter().filter(|other| *other == own).count();
            let mut distinct = offsets.clone();
            distinct.sort_unstable();
            distinct.dedup();
            format.offset = distinct.into_iter().max_by_key(often);
        }
        format
    }

    /// A format that the user asked for.
    pub(super) fn asked(name: &str, how: &str, cells: &[&str]) -> Result<Self> {
        let first = |wanted: &str| {
            let order = |pattern: &str| {
                let place = |parts: [&str; 2]| parts.iter().filter_map(|part| pattern.find(part)).min();
                let mut order = [('d', place(["%d", "%-d"])), ('m', place(["%m", "%-m"])), ('y', place(["%Y", "%y"]))];
                order.sort_by_key(|(_, place)| *place);
                order.iter().map(|(letter, _)| letter).collect::<String>()
            };
            candidates(cells).into_iter().find(|pattern| order(pattern) == wanted)
        };
        let pattern = match how {
            "epoch" => Some("%s".to_owned()),
            "dmy" | "mdy" | "ymd" => first(how),
            pattern if pattern.contains('%') => Some(pattern.to_owned()),
            _ => {
                return Err(Error::Table(format!(
                    "`dates` says '{how}' of column '{name}'; say dmy, mdy, ymd, epoch or a pattern such as %d.%m.%Y"
                )));
            }
        };
        let pattern = pattern.ok_or_else(|| {
            let first = cells.first().copied().unwrap_or("");
            Error::Table(format!("column '{name}' holds no dates that read as {how} ('{first}'); say another order"))
        })?;
        Ok(Self::of(&pattern, cells))
    }
}

impl Sighting {
    /// Looks whether cells, none of them missing, are dates or times.
    pub fn of(cells: &[&str]) -> Self {
        let formats = candidates(cells);
        let Some(best) = formats.first() else { return Self::None };
        let format = TimeFormat::of(best, cells);
        if let Some(stray) = cells.iter().position(|cell| format.read(cell).is_none()) {
            return Self::Stray(format, stray);
        }
        // The same pattern with day and month exchanged, if it reads every cell as well and some of them otherwise.
        let exchanged = best.replace("%d", "%_").replace("%-d", "%-_").replace("%m", "%d").replace("%-m", "%-d");
        let exchanged = exchanged.replace("%_", "%m").replace("%-_", "%-m");
        let other = TimeFormat { pattern: exchanged, ..format.clone() };
        let numeric = !best.contains("%b") && !best.contains("%B") && best.contains('d') && !best.starts_with("%Y");
        if numeric
            && cells.iter().all(|cell| other.read(cell).is_some())
            && cells.iter().any(|cell| other.read(cell) != format.read(cell))
        {
            return Self::Ambiguous;
        }
        Self::Found(format)
    }
}

/// The patterns that read nearly all of these cells and write nearly all of them back as they were, the best first.
fn candidates(cells: &[&str]) -> Vec<String> {
    let Some(first) = cells.iter().copied().find(|cell| looks_like_time(cell)) else { return Vec::new() };
    if cells.iter().take(20).filter(|cell| looks_like_time(cell)).count() * 10 < 9 * cells.len().min(20) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for pattern in patterns() {
        if BrokenDownTime::parse(&pattern, first.trim()).is_err() && pattern != "%Y-%m" {
            continue;
        }
        let format = TimeFormat::of(&pattern, cells);
        let compact = pattern.starts_with("%Y%m%d");
        let (mut read, mut kept) = (0usize, 0usize);
        let enough = |count: usize, of: usize| count as f64 >= MOSTLY * of as f64;
        for (row, cell) in cells.iter().enumerate() {
            if let Some(value) = format.read(cell).filter(|_| !compact || is_usual_year(cell)) {
                read += 1;
                let written = format.write(value);
                // A zone other than the commonest is read but written in the commonest.
                kept += usize::from(written == cell.trim() || (pattern.contains('z') && written.len() == cell.len()));
            }
            if row == 200 && !enough(kept, row) {
                break;
            }
        }
        // Numbers of eight digits are dates only if all of them are.
        let enough_read = if compact { read == cells.len() } else { enough(read, cells.len()) };
        if enough_read && enough(kept, cells.len()) {
            found.push((read + kept, pattern));
        }
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.0));
    found.into_iter().map(|(_, pattern)| pattern).collect()
}

fn patterns() -> Vec<String> {
    let mut patterns = Vec::new();
    let loose = |pattern: &str| {
        let day = pattern.replace("%d", "%-d").replace("%m", "%-m");
        let hour = |pattern: &str| pattern.replace("%H", "%-H").replace("%I", "%-I");
        let mut all = vec![pattern.to_owned(), day.clone(), hour(pattern), hour(&day)];
        all.dedup();
        all
    };
    for date in DATES {
        patterns.extend(loose(date));
        for time in TIMES {
            let compact = (date == "%Y%m%d") == (time == "%H%M%S");
            for separator in ["T", " ", ""].into_iter().filter(|s| compact && (s.is_empty() == (date == "%Y%m%d"))) {
                for zone in ZONES {
                    patterns.extend(loose(&format!("{date}{separator}{time}{zone}")));
                }
            }
        }
    }
    for time in &TIMES[..7] {
        patterns.extend(loose(time));
    }
    patterns
}

/// Whether it is worth trying to read a cell as a date.
fn looks_like_time(cell: &str) -> bool {
    let cell = cell.trim();
    let digits = cell.bytes().filter(u8::is_ascii_digit).count();
    let separators = cell.bytes().filter(|byte| b"-/.: ".contains(byte)).count();
    let compact = digits == cell.len() && (digits == 8 || digits == 14) && is_usual_year(cell);
    let spaced = (3..=40).contains(&cell.len()) && digits >= 3 && separators >= 1 && cell.is_ascii();
    compact || spaced && cell.starts_with(|c: char| c.is_ascii_alphanumeric()) && cell.parse::<f64>().is_err()
}

/// Whether a number that starts with a year is one of a date and not just any number.
fn is_usual_year(cell: &str) -> bool {
    let year = cell.trim().get(..4).and_then(|year| year.parse::<u16>().ok());
    year.is_some_and(|year| (1800..=2200).contains(&year) || year == 9999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cells: &[&str]) -> TimeFormat {
        match Sighting::of(cells) {
            Sighting::Found(format) => format,
            Sighting::None => panic!("no dates in {cells:?}"),
            Sighting::Stray(format, at) => panic!("{format:?} but for {at} in {cells:?}"),
            Sighting::Ambiguous => panic!("ambiguous: {cells:?}"),
        }
    }

    #[test]
    fn formats_are_found_and_cells_written_back_as_they_were() {
        for (cells, pattern) in [
            (&["2023-01-31", "2024-02-29", "1999-12-01"][..], "%Y-%m-%d"),
            (&["31/01/2023", "01/02/2023", "05/06/2023"], "%d/%m/%Y"),
            (&["01/31/2023", "01/02/2023", "05/06/2023"], "%m/%d/%Y"),
            (&["1/31/2023", "10/2/2023", "5/6/2023"], "%-m/%-d/%Y"),
            (&["31.01.23", "01.02.23"], "%d.%m.%y"),
            (&["20230131", "20240229", "20230201"], "%Y%m%d"),
            (&["20230131235959", "20240229000000"], "%Y%m%d%H%M%S"),
            (&["2023-01", "2023-12", "2024-02"], "%Y-%m"),
            (&["2023-01-31 07:05:00", "2023-01-31 17:05:30"], "%Y-%m-%d %H:%M:%S"),
            (&["2023-01-31T07:05", "2023-01-31T17:05"], "%Y-%m-%dT%H:%M"),
            (&["2023-01-31T07:05:00Z", "2023-01-31T17:05:30Z"], "%Y-%m-%dT%H:%M:%SZ"),
            (&["2023-01-31T07:05:00.125Z", "2023-01-31T17:05:30.000Z"], "%Y-%m-%dT%H:%M:%S%.3fZ"),
            (&["2023-01-31 07:05:00.5", "2023-01-31 17:05:30", "2023-01-31 17:05:30.25"], "%Y-%m-%d %H:%M:%S%.f"),
            (&["2023-01-31T07:05:00+02:00", "2023-01-31T17:05:30+02:00"], "%Y-%m-%dT%H:%M:%S%:z"),
            (&["2023-01-31 07:05:00+0530", "2023-01-31 17:05:30+0530"], "%Y-%m-%d %H:%M:%S%z"),
            (&["31 Jan 2023", "01 Feb 2023"], "%d %b %Y"),
            (&["Jan 31, 2023", "Feb 1, 2023"], "%b %-d, %Y"),
            (&["07:05", "17:45", "00:00"], "%H:%M"),
            (&["1/31/2023 7:05 AM", "2/1/2023 12:15 PM"], "%-m/%-d/%Y %-I:%M %p"),
        ] {
            let format = found(cells);
            assert_eq!(format.pattern(), pattern);
            let mut before = None;
            for cell in cells {
                let value = format.read(cell).unwrap();
                assert_eq!(format.write(value), *cell);
                assert_ne!(before, Some(value));
                before = Some(value);
            }
            assert!(format.read(&format.example()).is_some(), "{}", format.example());
        }
    }

    #[test]
    fn days_follow_each_other_through_the_calendar() {
        let format = found(&["20230930", "20240229"]);
        let start = format.read("20230930").unwrap();
        assert_eq!(format.write(start + 1), "20231001");
        assert_eq!(format.write(start + 152), "20240229");
        let zoned = found(&["2023-03-26T00:30:00+01:00", "2023-03-26T03:30:00+02:00", "2023-03-27T03:30:00+02:00"]);
        let [first, second] =
            ["2023-03-26T00:30:00+01:00", "2023-03-26T03:30:00+02:00"].map(|c| zoned.read(c).unwrap());
        assert_eq!(second - first, 7200, "an instant, whatever the zone");
    }

    #[test]
    fn what_is_no_date_is_none_and_what_is_unclear_is_asked() {
        for cells in [
            &["12345678", "20230101"][..],
            &["20230943", "20230101"],
            &["1.5", "2.5"],
            &["a-b", "c-d"],
            &["555-1234", "555-9876"],
            &["192.168.0.1", "10.0.0.1"],
            &["3:7:5", "x"],
            &["2023", "2024"],
            &["10-20", "30-40"],
        ] {
            assert!(matches!(Sighting::of(cells), Sighting::None), "{cells:?}");
        }
        assert!(matches!(Sighting::of(&["01/02/2023", "03/04/2023"]), Sighting::Ambiguous));
        let mut days: Vec<String> = (1..=28).map(|day| format!("2023-02-{day:02}")).collect();
        days.push("2023-02-30".into());
        let days: Vec<&str> = days.iter().map(String::as_str).collect();
        assert!(matches!(Sighting::of(&days), Sighting::Stray(_, 28)));
        let asked = |how: &str| TimeFormat::asked("x", how, &["01/02/2023", "03/04/2023"]);
        assert_eq!(asked("mdy").unwrap().pattern(), "%m/%d/%Y");
        assert_eq!(asked("dmy").unwrap().pattern(), "%d/%m/%Y");
        assert!(asked("ymd").unwrap_err().to_string().contains("no dates that read as ymd"));
        assert!(asked("who").unwrap_err().to_string().contains("say dmy"));
        assert_eq!(asked("epoch").unwrap().read("1700000000"), Some(1_700_000_000));
    }
}
