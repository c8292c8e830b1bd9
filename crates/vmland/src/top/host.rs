// SPDX-License-Identifier: GPL-2.0-only
//! The lines on the host.

use crate::observe::rates::{HostRates, VmlandRates};

/// What stands in a line, in parts: the last are left out where there is no room.
pub fn lines(host: &HostRates) -> [Vec<String>; 2] {
    let scheduler = host
        .scheduler
        .as_deref()
        .unwrap_or("the kernel's own scheduler");
    let ratio = host.vcpus as f64 / host.cpus.max(1) as f64;
    let mut first = vec![
        scheduler.to_owned(),
        format!("{} CPUs", host.cpus),
        format!(
            "{} VMs, {} vCPUs, {ratio:.1} for each CPU",
            host.vms, host.vcpus
        ),
    ];
    let mut second = vec![];
    second.extend(
        host.runnable_vcpus
            .map(|nr| format!("{nr:.1} vCPUs runnable")),
    );
    second.extend(
        host.pressure
            .map(|percent| format!("PSI cpu {percent:.0} %")),
    );
    second.extend(
        host.scheduler_cpu
            .map(|percent| format!("scheduler {percent:.1} % of a CPU")),
    );
    if let Some(rates) = host.of_vmland {
        second.extend(of_vmland(rates));
    } else if host.scheduler.is_none() && host.vms > 0 {
        first.push("scx_vmland's columns are empty".into());
    }
    [first, second]
}

fn of_vmland(rates: VmlandRates) -> [String; 3] {
    let percent = |part: f64, whole: f64| 100.0 * part / whole.max(1.0);
    let VmlandRates {
        yields_asked,
        yields_honoured,
        handoffs,
        handoffs_next,
        ..
    } = rates;
    let honoured = percent(yields_honoured, yields_asked);
    let next = percent(handoffs_next, handoffs);
    [
        format!("yields {yields_asked:.0}/s, {honoured:.0} % honoured"),
        format!("hand-offs {handoffs:.0}/s, {next:.0} % next"),
        format!("receivers {:.0}/s", rates.receivers),
    ]
}

/// As many parts as fit, with a separator between them.
pub fn joined(parts: &[String], width: usize) -> String {
    let mut line = String::new();
    for part in parts {
        let separator = if line.is_empty() { "" } else { " · " };
        let needed = separator.chars().count() + part.chars().count();
        if !line.is_empty() && line.chars().count() + needed > width {
            break;
        }
        line += separator;
        line += part;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::rates::tests::of_two_vms;

    #[test]
    fn what_is_known() {
        let host = of_two_vms().host;
        let [first, second] = lines(&host).map(|it| joined(&it, 200));
        assert_eq!(first, "vmland · 2 CPUs · 2 VMs, 4 vCPUs, 2.0 for each CPU");
        assert_eq!(
            second,
            "4.0 vCPUs runnable · PSI cpu 25 % · scheduler 1.0 % of a CPU · \
             yields 100/s, 90 % honoured · hand-offs 80/s, 100 % next · receivers 0/s"
        );
        let [_, second] = lines(&host).map(|it| joined(&it, 80));
        assert_eq!(
            second,
            "4.0 vCPUs runnable · PSI cpu 25 % · scheduler 1.0 % of a CPU"
        );
    }

    #[test]
    fn without_a_scheduler() {
        let host = HostRates {
            cpus: 4,
            ..HostRates::default()
        };
        let [first, second] = lines(&host).map(|it| joined(&it, 200));
        assert_eq!(
            first,
            "the kernel's own scheduler · 4 CPUs · 0 VMs, 0 vCPUs, 0.0 for each CPU"
        );
        assert_eq!(second, "");
    }
}
