// SPDX-License-Identifier: GPL-2.0-only
//! Numbers, times and verdicts as people write them.
//!
//! Parts of one number are joined by no-break spaces, so that no table or
//! browser breaks a line inside it.

use crate::comparison::{Verdict, Versus};
use crate::record::{Better, Metric};

const NO_BREAK_SPACE: char = '\u{a0}';

/// Stands where there is no number.
pub const NONE: &str = "–";

/// Three significant digits, thousands apart: `0.0123`, `4.56`, `12 000`.
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return NONE.into();
    }
    if value == 0.0 {
        return "0".into();
    }
    // Rounded first: 999.6 becomes 1 000, which has no digit after the point.
    let scientific = format!("{value:.2e}");
    let exponent = scientific
        .split_once('e')
        .and_then(|(_, exponent)| exponent.parse::<i32>().ok())
        .unwrap_or(0);
    if !(-4..12).contains(&exponent) {
        return scientific;
    }
    let rounded = scientific.parse().unwrap_or(value);
    let decimals = usize::try_from(2 - exponent).unwrap_or(0);
    apart(&format!("{rounded:.decimals$}"))
}

/// A number at an axis whose ticks are about `step` apart: as many decimals as
/// tell them from each other.
pub fn tick(value: f64, step: f64) -> String {
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    // Adding 0 makes a negative zero positive.
    let rounded: f64 = format!("{value:.decimals$}").parse().unwrap_or(value);
    apart(&format!("{:.decimals$}", rounded + 0.0))
}

/// Sets the thousands of a decimal number apart.
fn apart(decimal: &str) -> String {
    let (whole, fraction) = match decimal.find('.') {
        Some(point) => decimal.split_at(point),
        None => (decimal, ""),
    };
    let digits = whole.trim_start_matches('-').len();
    let mut text = String::new();
    for (i, c) in whole.chars().rev().enumerate() {
        if i > 0 && i < digits && i % 3 == 0 {
            text.push(NO_BREAK_SPACE);
        }
        text.push(c);
    }
    text.chars().rev().chain(fraction.chars()).collect()
}

/// From one number to another: `8 280..12 000`.
pub fn range(low: f64, high: f64) -> String {
    format!("{}..{}", number(low), number(high))
}

/// A probability. Below a thousandth, how far does not matter.
pub fn probability(p: f64) -> String {
    match p {
        p if p < 0.001 => "<0.001".into(),
        p if p < 0.1 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// A point of time of the run, in seconds: `1:05`, `2:00:00`.
pub fn clock(at_s: f64) -> String {
    let s = at_s.max(0.0).round() as u64;
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    if h > 0 {
        format!("{h}:{m:02}:{s:02}")
    } else {
        format!("{m}:{s:02}")
    }
}

/// A span of time, in seconds: `350 ms`, `2.5 s`, `12 min 30 s`.
pub fn span(s: f64) -> String {
    let text = if s > 0.0 && s < 0.9995 {
        format!("{:.0} ms", s * 1e3)
    } else if s < 120.0 {
        format!("{} s", (s * 10.0).round() / 10.0)
    } else {
        let s = s.round() as u64;
        match (s / 3600, s / 60 % 60, s % 60) {
            (0, m, 0) => format!("{m} min"),
            (0, m, s) => format!("{m} min {s} s"),
            (h, m, _) => format!("{h} h {m} min"),
        }
    };
    text.replace(' ', &NO_BREAK_SPACE.to_string())
}

/// An amount of memory: `7.8 GiB`.
pub fn bytes(bytes: u64) -> String {
    const GIB: f64 = (1u64 << 30) as f64;
    format!("{:.1}{NO_BREAK_SPACE}GiB", bytes as f64 / GIB)
}

/// `no windows`, `one window`, `2 windows`, `2 switches`.
pub fn count(n: usize, thing: &str) -> String {
    let plural = if thing.ends_with("ch") { "es" } else { "s" };
    match n {
        0 => format!("no {thing}{plural}"),
        1 => format!("one {thing}"),
        n => format!("{n} {thing}{plural}"),
    }
}

/// A command line as a shell would take it.
pub fn command(words: &[String]) -> String {
    // No shell can take a NUL.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

/// `a, b and c`.
pub fn list(items: &[&str]) -> String {
    match items {
        [] => String::new(),
        [one] => (*one).into(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A metric's name with its unit.
pub fn with_unit(metric: &Metric) -> String {
    if metric.unit.is_empty() {
        metric.name.clone()
    } else {
        format!("{}, {}", metric.name, metric.unit)
    }
}

/// Which way a metric should go.
pub fn better(better: Better) -> &'static str {
    match better {
        Better::Higher => "higher is better",
        Better::Lower => "lower is better",
        Better::Neither => "for information",
    }
}

/// What a test has told.
pub fn verdict(versus: &Versus) -> String {
    match (versus.verdict, versus.detectable) {
        (Verdict::Better, _) => "better".into(),
        (Verdict::Worse, _) => "worse".into(),
        (Verdict::Different, _) => "different".into(),
        (Verdict::NoDifferenceShown, None) => "no difference shown".into(),
        (Verdict::NoDifferenceShown, Some(ratio)) => {
            format!("no difference shown; {} would have been", change(ratio))
        }
    }
}

/// A ratio above 1 as a change: `8 %`, `a factor of 2.5`.
fn change(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    if ratio >= 2.0 {
        format!("a factor of {ratio:.1}")
    } else if percent < 1.0 {
        format!("{percent:.1}{NO_BREAK_SPACE}%")
    } else {
        format!("{percent:.0}{NO_BREAK_SPACE}%")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With plain spaces, for a person to compare.
    fn plain(text: String) -> String {
        text.replace(NO_BREAK_SPACE, " ")
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.012_34, "0.0123"),
            (0.5, "0.500"),
            (1.999, "2.00"),
            (50.04, "50.0"),
            (999.6, "1 000"),
            (12_038.0, "12 000"),
            (-1_234_567.0, "-1 230 000"),
            (-123.0, "-123"),
            (1.5e-7, "1.50e-7"),
            (2.5e13, "2.50e13"),
            (f64::NAN, NONE),
            (f64::INFINITY, NONE),
        ] {
            assert_eq!(plain(number(value)), text, "{value}");
        }
    }

    #[test]
    fn ticks_are_told_from_each_other() {
        assert_eq!(plain(tick(15_000.0, 5_000.0)), "15 000");
        assert_eq!(tick(49.85, 0.05), "49.85");
        assert_eq!(tick(-1e-12, 0.5), "0.0");
    }

    #[test]
    fn times_are_read_at_a_glance() {
        assert_eq!(clock(0.0), "0:00");
        assert_eq!(clock(65.2), "1:05");
        assert_eq!(clock(7_200.0), "2:00:00");
        for (s, text) in [
            (0.0, "0 s"),
            (0.35, "350 ms"),
            (0.9999, "1 s"),
            (8.0, "8 s"),
            (2.5, "2.5 s"),
            (119.0, "119 s"),
            (120.0, "2 min"),
            (750.0, "12 min 30 s"),
            (7_260.0, "2 h 1 min"),
        ] {
            assert_eq!(plain(span(s)), text, "{s}");
        }
    }

    #[test]
    fn probabilities_below_a_thousandth_are_not_told_apart() {
        assert_eq!(probability(0.000_2), "<0.001");
        assert_eq!(probability(0.034_4), "0.034");
        assert_eq!(probability(0.314), "0.31");
        assert_eq!(probability(1.0), "1.00");
    }

    #[test]
    fn a_change_is_a_percentage_until_it_is_a_factor() {
        assert_eq!(plain(change(1.005)), "0.5 %");
        assert_eq!(plain(change(1.08)), "8 %");
        assert_eq!(change(2.5), "a factor of 2.5");
    }

    #[test]
    fn a_command_can_be_pasted() {
        let words = ["vmland", "--arm", "a b=scx 'x'"].map(str::to_owned);
        let split = shlex::split(&command(&words));
        assert_eq!(split.as_deref(), Some(words.as_slice()));
    }

    #[test]
    fn things_are_counted_and_listed() {
        assert_eq!(count(0, "window"), "no windows");
        assert_eq!(count(1, "window"), "one window");
        assert_eq!(count(2, "window"), "2 windows");
        assert_eq!(count(2, "switch"), "2 switches");
        assert_eq!(list(&[]), "");
        assert_eq!(list(&["a"]), "a");
        assert_eq!(list(&["a", "b", "c"]), "a, b and c");
    }
}
