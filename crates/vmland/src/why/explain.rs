// SPDX-License-Identifier: GPL-2.0-only
//! In words.

use std::time::Duration;

use vmland_control::{Mode, Planned, Reported, Setting, Shown, Sign, Why};
use vmland_settings::Key;

use super::limits::{Limit, tightest};
use super::measure::Measured;

/// With less CPU time than this, in ns, a rate would mean nothing.
const LEAST_CPU_NS: u64 = 5_000_000;

/// Less of a CPU than this is nothing.
const LEAST_CPUS: f64 = 0.005;

/// A paragraph with a title for each question.
pub fn text(why: &Why, now: &Measured) -> String {
    let Why { shown, planned } = why;
    let answers = [
        ("mode", mode(shown, planned)),
        ("evidence", evidence(planned, now)),
        ("share", share(now)),
        ("waits", waits(shown, now)),
        ("changes", changes(shown, planned, now)),
    ];
    let mut text = format!(
        "{}: {}, process {}, {} vCPUs\n",
        shown.name, shown.vmm, shown.pid, shown.vcpus
    );
    for (title, lines) in answers {
        for (i, line) in lines.iter().enumerate() {
            text += &format!("{:10}{line}\n", if i == 0 { title } else { "" });
        }
    }
    text
}

/// Who decides the mode.
enum Decided {
    /// Its setting.
    Cosched {
        strict: bool,
        by: String,
    },
    LeftOut,
    Planner,
}

fn decided(shown: &Shown, planned: &Planned) -> Decided {
    let cosched = setting(shown, Key::cosched);
    let by = || cosched.map_or(String::new(), in_words);
    match cosched.map(|it| it.value.as_str()) {
        Some("strict") => Decided::Cosched {
            strict: true,
            by: by(),
        },
        Some("off") => Decided::Cosched {
            strict: false,
            by: by(),
        },
        _ if planned.is_left_out => Decided::LeftOut,
        _ => Decided::Planner,
    }
}

fn mode(shown: &Shown, planned: &Planned) -> Vec<String> {
    const GANG: &str = "its vCPUs have their turns at the same time";
    const FREE: &str = "each of its vCPUs has turns of its own";
    let line = match (decided(shown, planned), planned.mode, planned.reported) {
        (Decided::Cosched { strict: true, by }, ..) => format!("always a gang, by {by}: {GANG}"),
        (Decided::Cosched { strict: false, by }, ..) => format!("always free, by {by}: {FREE}"),
        (Decided::LeftOut, ..) => format!("always free, by --without gangs: {FREE}"),
        (_, _, None) => format!("free: {FREE}"),
        (_, Mode::Gang, Some(it)) => {
            format!("a gang for {}: {GANG}", time(it.mode_since_ns))
        }
        (_, Mode::Free, Some(it)) => {
            let trial = it.mode_left_ns.map_or("", |_| ", on trial after a gang");
            format!("free for {}{trial}: {FREE}", time(it.mode_since_ns))
        }
    };
    vec![line]
}

fn evidence(planned: &Planned, now: &Measured) -> Vec<String> {
    let span = time(now.span_ns);
    let measured = if now.cpu_ns < LEAST_CPU_NS {
        format!("it had {} of CPU time in {span}", time(now.cpu_ns))
    } else {
        let rate = |count| rate(per_s(now, count));
        format!(
            "per second of CPU time, over {span}: {} pause exits, {} hints, {} IPIs, {} hand-offs \
             to receivers of IPIs",
            rate(now.pause_exits),
            rate(now.yields_asked),
            rate(now.ipis),
            rate(now.receivers),
        )
    };
    let reported = planned.reported.map_or_else(
        || "the planner has no report of it: it has had no pause exits".into(),
        |it| {
            format!(
                "by its reports, the last {} ago, {}: {} pause exits, {} hand-offs to receivers",
                time(it.age_ns),
                sign_in_words(it.sign),
                it.pause_exits_per_s,
                it.receivers_per_s,
            )
        },
    );
    vec![measured, reported]
}

fn sign_in_words(sign: Sign) -> &'static str {
    match sign {
        Sign::Calm => "it does not spin",
        Sign::Spins => "its vCPUs spin for each other",
        Sign::AnswersIpis => "its vCPUs answer each other's IPIs",
    }
}

fn share(now: &Measured) -> Vec<String> {
    let [had, due] = [now.cpu_ns, now.due_ns].map(|ns| now.on_average(ns));
    let line = if let Some(limit) = holds(now) {
        format!("{had:.2} CPUs: {} holds it", limit.name)
    } else if now.on_average(now.waited_ns) < LEAST_CPUS {
        format!("{had:.2} CPUs: it waits for none")
    } else {
        let part = 100.0 * had / due.max(f64::MIN_POSITIVE);
        format!("{had:.2} CPUs, {part:.0} % of the {due:.2} that its weight gives it")
    };
    vec![line]
}

fn waits(shown: &Shown, now: &Measured) -> Vec<String> {
    let [runs, waits, throttled] =
        [now.cpu_ns, now.waited_ns, now.throttled_ns].map(|ns| now.on_average(ns));
    let sleeps = f64::from(shown.vcpus) - runs - waits - throttled;
    let parts = [
        (runs, "run"),
        (waits, "wait for a CPU"),
        (throttled, "are throttled"),
        (sleeps, "sleep"),
    ];
    let parts = parts.iter().filter(|(vcpus, _)| *vcpus >= LEAST_CPUS);
    let parts: Vec<_> = parts.map(|(n, what)| format!("{n:.2} {what}")).collect();
    let mut lines = vec![format!(
        "of {} vCPUs, on average {}",
        shown.vcpus,
        parts.join(", ")
    )];
    lines.extend(holds(now).map(|limit| {
        format!(
            "{}: {:.2} CPUs used of {:.2}",
            limit.name, limit.used_cpus, limit.cpus
        )
    }));
    lines
}

/// The limit that throttles it.
fn holds(now: &Measured) -> Option<&Limit> {
    let is_throttled = now.on_average(now.throttled_ns) >= LEAST_CPUS;
    tightest(&now.limits).filter(|_| is_throttled)
}

fn changes(shown: &Shown, planned: &Planned, now: &Measured) -> Vec<String> {
    let mode = match decided(shown, planned) {
        Decided::Cosched { .. } => "with cosched = auto, the planner would decide".into(),
        Decided::LeftOut => "the planner would decide without --without gangs".into(),
        Decided::Planner => match (planned.mode, planned.reported) {
            (Mode::Gang, Some(it)) => from_gang(planned, &it),
            (_, it) => from_free(planned, it.as_ref(), now),
        },
    };
    let mut lines = vec![mode];
    if let Some(limit) = holds(now) {
        lines.push(format!(
            "{} gives it more CPU time if it is raised",
            limit.name
        ));
    } else if now.on_average(now.waited_ns) >= LEAST_CPUS
        && let Some(weight) = setting(shown, Key::weight)
    {
        let weight = in_words(weight);
        lines.push(format!("a higher weight gives it more CPU time: {weight}"));
    }
    lines
}

fn from_gang(planned: &Planned, reported: &Reported) -> String {
    let agree = planned.thresholds.agree;
    let tried = match reported.mode_left_ns {
        Some(left_ns) if left_ns > 0 => format!("it is tried free in {}", time(left_ns)),
        _ => "it is tried free at its next report".into(),
    };
    let say = match reported.against {
        0 => String::new(),
        n => format!("; {n} does"),
    };
    format!(
        "{tried}, or when {agree} reports in a row say that its vCPUs answer each other's IPIs{say}"
    )
}

fn from_free(planned: &Planned, reported: Option<&Reported>, now: &Measured) -> String {
    let Planned { thresholds: at, .. } = planned;
    let sign = reported.map_or(Sign::Calm, |it| it.sign);
    // A calm VM may not have been reported for long.
    let measured = |count, reported: Option<u64>| match now.cpu_ns >= LEAST_CPU_NS {
        true => rate(per_s(now, count)),
        false => rate(reported.unwrap_or(0) as f64),
    };
    match (sign, reported) {
        (Sign::Spins, Some(it)) => {
            let again = match it.mode_left_ns {
                Some(left_ns) => format!(" again, for twice as long if in {}", time(left_ns)),
                None => String::new(),
            };
            format!(
                "it becomes a gang{again}, when {} reports in a row say that it spins; {} does",
                at.agree, it.against
            )
        }
        (Sign::AnswersIpis, _) => format!(
            "it would become a gang below {} hand-offs to receivers per second of CPU time, and \
             from {} pause exits for each of them on; it has {}, and {} pause exits",
            at.receivers_per_s,
            at.exits_per_receiver,
            measured(now.receivers, reported.map(|it| it.receivers_per_s)),
            measured(now.pause_exits, reported.map(|it| it.pause_exits_per_s)),
        ),
        _ => format!(
            "it would become a gang from {} pause exits per second of CPU time on; it has {}",
            at.spinning_per_s,
            measured(now.pause_exits, reported.map(|it| it.pause_exits_per_s)),
        ),
    }
}

fn setting(shown: &Shown, key: Key) -> Option<&Setting> {
    { &shown.settings }
        .iter()
        .find(|setting| setting.key == key.name())
}

fn in_words(setting: &Setting) -> String {
    let origin = setting.origin.as_deref().unwrap_or("default");
    format!("{} = {} ({origin})", setting.key, setting.value)
}

/// In a second of its CPU time.
fn per_s(now: &Measured, count: u64) -> f64 {
    count as f64 * 1e9 / now.cpu_ns.max(1) as f64
}

/// Two figures of small rates are enough.
fn rate(per_s: f64) -> String {
    if per_s > 0.0 && per_s < 10.0 {
        format!("{per_s:.1}")
    } else {
        format!("{per_s:.0}")
    }
}

fn time(ns: u64) -> String {
    let s = Duration::from_nanos(ns).as_secs_f64();
    match s {
        0.0 => "0 ms".into(),
        ..0.01 => format!("{:.1} ms", s * 1e3),
        ..0.9995 => format!("{:.0} ms", s * 1e3),
        ..99.95 => format!("{s:.1} s"),
        ..6000.0 => format!("{:.0} min", s / 60.0),
        _ => format!("{:.0} h", s / 3600.0),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use vmland_control::{By, Thresholds};

    const MS: u64 = 1_000_000;
    const S: u64 = 1_000 * MS;

    /// VM 3, with these settings.
    pub fn shown(settings: &[(&str, &str, Option<&str>)]) -> Shown {
        let setting = |(key, value, origin): &(&str, &str, Option<&str>)| Setting {
            key: (*key).into(),
            value: (*value).into(),
            origin: origin.map(str::to_owned),
        };
        Shown {
            id: 3,
            pid: 4711,
            name: "db-1".into(),
            uuid: None,
            vmm: "qemu".into(),
            cgroup: Some("/machine".into()),
            uid: None,
            owns_cgroup: false,
            vcpus: 2,
            by: By::Name,
            settings: settings.iter().map(setting).collect(),
            config: String::new(),
            warnings: vec![],
        }
    }

    fn planned(mode: Mode, reported: Option<Reported>) -> Planned {
        Planned {
            mode,
            is_left_out: false,
            reported,
            thresholds: Thresholds {
                spinning_per_s: 200,
                exits_per_receiver: 4,
                receivers_per_s: 50,
                agree: 2,
            },
        }
    }

    const SPINS: Reported = Reported {
        sign: Sign::Spins,
        age_ns: 12 * MS,
        mode_since_ns: 3_200 * MS,
        mode_left_ns: None,
        pause_exits_per_s: 812,
        receivers_per_s: 3,
        against: 1,
    };

    /// One of two CPUs, for which two vCPUs wait half the time.
    fn busy() -> Measured {
        Measured {
            span_ns: S,
            cpu_ns: 980 * MS,
            due_ns: S,
            waited_ns: 960 * MS,
            ..Measured::default()
        }
    }

    fn told(
        planned: Planned,
        now: &Measured,
        settings: &[(&str, &str, Option<&str>)],
    ) -> Vec<String> {
        let defaults = [("weight", "100", None), ("cosched", "auto", None)];
        let shown = shown(&[settings, &defaults].concat());
        let text = text(&Why { shown, planned }, now);
        let mut lines = text.lines().map(str::to_owned);
        let head = lines.next();
        assert_eq!(
            head.as_deref(),
            Some("db-1: qemu, process 4711, 2 vCPUs"),
            "{text}"
        );
        lines.collect()
    }

    #[test]
    fn a_gang() {
        let calm = Reported {
            sign: Sign::Calm,
            mode_left_ns: Some(1_800 * MS),
            pause_exits_per_s: 0,
            receivers_per_s: 0,
            against: 0,
            ..SPINS
        };
        let now = Measured {
            pause_exits: 2,
            ipis: 14,
            yields_asked: 1,
            ..busy()
        };
        assert_eq!(
            told(planned(Mode::Gang, Some(calm)), &now, &[]),
            [
                "mode      a gang for 3.2 s: its vCPUs have their turns at the same time",
                "evidence  per second of CPU time, over 1.0 s: 2.0 pause exits, 1.0 hints, 14 IPIs, \
                 0 hand-offs to receivers of IPIs",
                "          by its reports, the last 12 ms ago, it does not spin: 0 pause exits, 0 \
                 hand-offs to receivers",
                "share     0.98 CPUs, 98 % of the 1.00 that its weight gives it",
                "waits     of 2 vCPUs, on average 0.98 run, 0.96 wait for a CPU, 0.06 sleep",
                "changes   it is tried free in 1.8 s, or when 2 reports in a row say that its vCPUs \
                 answer each other's IPIs",
                "          a higher weight gives it more CPU time: weight = 100 (default)",
            ]
        );
        let asleep = Reported {
            mode_left_ns: Some(0),
            against: 1,
            ..calm
        };
        let lines = told(planned(Mode::Gang, Some(asleep)), &now, &[]);
        assert_eq!(
            lines[5],
            "changes   it is tried free at its next report, or when 2 reports in a row say that \
             its vCPUs answer each other's IPIs; 1 does"
        );
    }

    #[test]
    fn one_that_has_not_spun() {
        let idle = Measured {
            span_ns: S,
            cpu_ns: 2_300_000,
            due_ns: 2_300_000,
            ..Measured::default()
        };
        assert_eq!(
            told(planned(Mode::Free, None), &idle, &[]),
            [
                "mode      free: each of its vCPUs has turns of its own",
                "evidence  it had 2.3 ms of CPU time in 1.0 s",
                "          the planner has no report of it: it has had no pause exits",
                "share     0.00 CPUs: it waits for none",
                "waits     of 2 vCPUs, on average 2.00 sleep",
                "changes   it would become a gang from 200 pause exits per second of CPU time on; \
                 it has 0",
            ]
        );
    }

    #[test]
    fn one_that_spins_a_little() {
        let calm = Reported {
            sign: Sign::Calm,
            against: 0,
            ..SPINS
        };
        let now = Measured {
            pause_exits: 12,
            ..busy()
        };
        let lines = told(planned(Mode::Free, Some(calm)), &now, &[]);
        assert_eq!(
            [&lines[0], &lines[5]],
            [
                "mode      free for 3.2 s: each of its vCPUs has turns of its own",
                "changes   it would become a gang from 200 pause exits per second of CPU time on; \
                 it has 12",
            ]
        );
    }

    #[test]
    fn one_that_answers_ipis() {
        let answers = Reported {
            sign: Sign::AnswersIpis,
            receivers_per_s: 1_234,
            against: 0,
            ..SPINS
        };
        let now = Measured {
            pause_exits: 980,
            ipis: 2_940,
            receivers: 1_960,
            yields_asked: 490,
            ..busy()
        };
        let lines = told(planned(Mode::Free, Some(answers)), &now, &[]);
        assert_eq!(
            [&lines[1], &lines[2], &lines[5]],
            [
                "evidence  per second of CPU time, over 1.0 s: 1000 pause exits, 500 hints, 3000 \
                 IPIs, 2000 hand-offs to receivers of IPIs",
                "          by its reports, the last 12 ms ago, its vCPUs answer each other's IPIs: 812 \
                 pause exits, 1234 hand-offs to receivers",
                "changes   it would become a gang below 50 hand-offs to receivers per second of CPU \
                 time, and from 4 pause exits for each of them on; it has 2000, and 1000 pause exits",
            ]
        );
    }

    #[test]
    fn one_that_begins_to_spin_and_one_on_trial() {
        let lines = told(planned(Mode::Free, Some(SPINS)), &busy(), &[]);
        assert_eq!(
            [&lines[2], &lines[5]],
            [
                "          by its reports, the last 12 ms ago, its vCPUs spin for each other: 812 pause \
                 exits, 3 hand-offs to receivers",
                "changes   it becomes a gang, when 2 reports in a row say that it spins; 1 does",
            ]
        );
        let trial = Reported {
            mode_since_ns: 20 * MS,
            mode_left_ns: Some(180 * MS),
            ..SPINS
        };
        let lines = told(planned(Mode::Free, Some(trial)), &busy(), &[]);
        assert_eq!(
            [&lines[0], &lines[5]],
            [
                "mode      free for 20 ms, on trial after a gang: each of its vCPUs has turns of its \
                 own",
                "changes   it becomes a gang again, for twice as long if in 180 ms, when 2 reports \
                 in a row say that it spins; 1 does",
            ]
        );
    }

    #[test]
    fn what_overrules_the_planner() {
        let gang = planned(Mode::Gang, Some(SPINS));
        let set = |value| [("cosched", value, Some("vmland vm set"))];
        let lines = told(gang, &busy(), &set("off"));
        assert_eq!(
            [&lines[0], &lines[5]],
            [
                "mode      always free, by cosched = off (vmland vm set): each of its vCPUs has \
                 turns of its own",
                "changes   with cosched = auto, the planner would decide",
            ]
        );
        let left_out = Planned {
            is_left_out: true,
            ..gang
        };
        let lines = told(left_out, &busy(), &set("strict"));
        assert_eq!(
            lines[0],
            "mode      always a gang, by cosched = strict (vmland vm set): its vCPUs have their \
             turns at the same time"
        );
        let lines = told(left_out, &busy(), &[]);
        assert_eq!(
            [&lines[0], &lines[5]],
            [
                "mode      always free, by --without gangs: each of its vCPUs has turns of its own",
                "changes   the planner would decide without --without gangs",
            ]
        );
    }

    #[test]
    fn one_that_a_limit_holds() {
        let limit = |name: &str, cpus, used_cpus| Limit {
            name: name.into(),
            cpus,
            used_cpus,
        };
        let now = Measured {
            cpu_ns: 500 * MS,
            due_ns: 500 * MS,
            waited_ns: 0,
            throttled_ns: 1_400 * MS,
            limits: vec![
                limit("its cap", 0.5, 0.5),
                limit("cpu.max of /machine", 4.0, 0.6),
            ],
            ..busy()
        };
        let lines = told(planned(Mode::Free, None), &now, &[]);
        assert_eq!(
            lines[3..],
            [
                "share     0.50 CPUs: its cap holds it",
                "waits     of 2 vCPUs, on average 0.50 run, 1.40 are throttled, 0.10 sleep",
                "          its cap: 0.50 CPUs used of 0.50",
                "changes   it would become a gang from 200 pause exits per second of CPU time on; \
                 it has 0",
                "          its cap gives it more CPU time if it is raised",
            ]
        );
    }

    #[test]
    fn times_and_rates_are_short() {
        let times = [
            0,
            40_000,
            12 * MS,
            999 * MS + 600_000,
            S,
            99 * S,
            150 * S,
            7_200 * S,
        ];
        assert_eq!(
            times.map(time),
            [
                "0 ms", "0.0 ms", "12 ms", "1.0 s", "1.0 s", "99.0 s", "2 min", "2 h"
            ]
        );
        assert_eq!([0.0, 0.44, 9.4, 11.6].map(rate), ["0", "0.4", "9.4", "12"]);
    }
}
