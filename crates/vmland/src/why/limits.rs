// SPDX-License-Identifier: GPL-2.0-only
//! The quotas and the cap that hold for a VM, and how much of them is used.

use std::fs::read_to_string;
use std::path::Path;

use serde::Serialize;
use vmland_control::Shown;
use vmland_settings::Key;

use crate::vm::cgroup::quota;

/// A limit at work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// Which one, for people.
    pub name: String,
    pub cpus: f64,
    pub used_cpus: f64,
}

/// A cgroup with a quota, the VM's or one above it.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    pub cgroup: String,
    pub cpus: f64,
    /// CPU time of all its tasks, in ns.
    pub usage_ns: u64,
}

/// The cap, in CPUs.
pub fn cap(shown: &Shown) -> Option<f64> {
    let setting = { &shown.settings }
        .iter()
        .find(|setting| setting.key == Key::cap.name())?;
    setting.value.parse().ok()
}

/// On all levels from this cgroup up.
pub fn quotas(root: &Path, cgroup: &str) -> Vec<Quota> {
    let levels = Path::new(cgroup).ancestors();
    levels
        .filter_map(|level| {
            let directory = root.join(level.strip_prefix("/").ok()?);
            let cpus = quota(&read_to_string(directory.join("cpu.max")).ok()?)?;
            let stat = read_to_string(directory.join("cpu.stat")).ok()?;
            let usage = stat
                .lines()
                .find_map(|line| line.strip_prefix("usage_usec "))?;
            Some(Quota {
                cgroup: level.display().to_string(),
                cpus,
                usage_ns: usage.trim().parse::<u64>().ok()? * 1_000,
            })
        })
        .collect()
}

/// The limit of which most is used.
pub fn tightest(limits: &[Limit]) -> Option<&Limit> {
    let used = |limit: &Limit| limit.used_cpus / limit.cpus;
    limits.iter().max_by(|a, b| used(a).total_cmp(&used(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_of_all_levels() {
        let root = tempfile::tempdir().expect("a directory");
        let write = |cgroup: &str, max: &str, usage_us: u64| {
            let directory = root.path().join(cgroup);
            std::fs::create_dir_all(&directory).expect("a cgroup");
            std::fs::write(directory.join("cpu.max"), max).expect("written");
            let stat = format!("usage_usec {usage_us}\nuser_usec 1\n");
            std::fs::write(directory.join("cpu.stat"), stat).expect("written");
        };
        write("machine", "150000 100000\n", 7);
        write("machine/a", "max 100000\n", 5);
        write("machine/a/vcpus", "50000 100000\n", 3);
        let quota = |cgroup: &str, cpus, usage_ns| Quota {
            cgroup: cgroup.into(),
            cpus,
            usage_ns,
        };
        assert_eq!(
            quotas(root.path(), "/machine/a/vcpus"),
            [
                quota("/machine/a/vcpus", 0.5, 3_000),
                quota("/machine", 1.5, 7_000)
            ]
        );
        assert_eq!(quotas(root.path(), "/gone"), []);
    }

    #[test]
    fn the_tightest_is_used_most() {
        let limit = |name: &str, cpus, used_cpus| Limit {
            name: name.into(),
            cpus,
            used_cpus,
        };
        let limits = [limit("a", 1.0, 0.5), limit("b", 0.5, 0.5)];
        assert_eq!(tightest(&limits), Some(&limits[1]));
        assert_eq!(tightest(&[]), None);
    }
}
