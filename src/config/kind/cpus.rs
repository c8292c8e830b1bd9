// SPDX-License-Identifier: GPL-2.0-only
//! Amounts of CPU, in CPUs.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Given, Host, Kind};

/// Most CPUs that Linux can be built for (`NR_CPUS` of x86).
pub const CPUS_MAX: u32 = 8192;

const MILLI: u64 = 1000;

/// More than 0 CPUs, at most those of the host, in thousandths.
#[derive(Debug, Default)]
pub struct Cpus;

impl Kind for Cpus {
    type Plain = u64;

    const QUOTED: bool = false;

    fn read(given: &Given<'_>, host: &Host) -> Result<u64, Option<String>> {
        let text: &str = match given {
            Given::Number(text) => text,
            Given::Text(text) | Given::Word(text) => text,
            Given::Other => return Err(None),
        };
        milli(text)
            .filter(|milli| (1..=most(host) * MILLI).contains(milli))
            .ok_or_else(|| meant(text))
    }

    fn expected(host: &Host) -> String {
        let whose = match host.cpus {
            Some(_) => " (this host's)",
            None => "",
        };
        format!(
            "CPUs from 0.001 to {}{whose}, in steps of 0.001",
            most(host)
        )
    }

    fn write(milli: u64) -> String {
        (milli as f64 / MILLI as f64).to_string()
    }
}

fn most(host: &Host) -> u64 {
    host.cpus.unwrap_or(CPUS_MAX).into()
}

/// None if it is no multiple of a thousandth, or far too large.
fn milli(text: &str) -> Option<u64> {
    let cpus: f64 = text.parse().ok()?;
    let milli = cpus * MILLI as f64;
    let nearest = milli.round();
    // NaN and infinity are no numbers of CPUs; 1e-6 is far more than rounding adds.
    let fits = (0.0..=1e9).contains(&milli) && (milli - nearest).abs() < 1e-6;
    fits.then_some(nearest as u64)
}

/// Percent, as systemd's `CPUQuota=`.
fn meant(text: &str) -> Option<String> {
    let percent: f64 = text.trim().strip_suffix('%')?.trim().parse().ok()?;
    milli(&(percent / 100.0).to_string())
        .filter(|milli| *milli > 0)
        .map(Cpus::write)
}

impl JsonSchema for Cpus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Cpus".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "number", "exclusiveMinimum": 0, "maximum": CPUS_MAX },
            { "type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$" },
        ] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<u64, Option<String>> {
        let host = Host { cpus: Some(8) };
        let word = Cpus::read(&Given::Word(text), &host);
        assert_eq!(Cpus::read(&Given::Text(text), &host), word);
        assert_eq!(Cpus::read(&Given::Number(text.into()), &host), word);
        word
    }

    #[test]
    fn amounts() {
        for (text, milli) in [
            ("2.5", Ok(2500)),
            ("2", Ok(2000)),
            ("2.500", Ok(2500)),
            ("0.001", Ok(1)),
            ("8", Ok(8000)),
            ("8.001", Err(None)),
            ("0", Err(None)),
            ("-1", Err(None)),
            ("0.0005", Err(None)),
            ("1.0005", Err(None)),
            ("nan", Err(None)),
            ("inf", Err(None)),
            ("1e300", Err(None)),
            ("all", Err(None)),
            ("", Err(None)),
            ("250%", Err(Some("2.5".into()))),
            ("0%", Err(None)),
        ] {
            assert_eq!(read(text), milli, "{text}");
        }
    }

    #[test]
    fn the_hosts_cpus_if_they_are_known() {
        let read = |cpus, text| Cpus::read(&Given::Word(text), &Host { cpus });
        assert_eq!(read(None, "8192"), Ok(8_192_000));
        assert_eq!(read(None, "8193"), Err(None));
        assert_eq!(read(Some(2), "2"), Ok(2000));
        assert_eq!(read(Some(2), "2.001"), Err(None));
        let expected = Cpus::expected(&Host { cpus: Some(2) });
        assert!(expected.contains("to 2 (this host's),"), "{expected}");
    }

    proptest::proptest! {
        #[test]
        fn round_trip(milli in 1..=u64::from(CPUS_MAX) * MILLI) {
            let text = Cpus::write(milli);
            assert_eq!(Cpus::read(&Given::Word(&text), &Host::default()), Ok(milli));
        }

        #[test]
        fn never_panics(text in ".*", near in "[-+]?[0-9.e]{0,12}%?") {
            let _ = read(&text);
            let _ = read(&near);
        }
    }
}
