// SPDX-License-Identifier: GPL-2.0-only
//! What can be set for a VM. To add a setting, add a row.

use super::kind::{Cosched, Cpus, Given, Host, Kind, Latency, Number, Time, Word, YieldTo};
use super::matching::MatchSchema;
use super::table::settings;

const US: u64 = 1000;
const MS: u64 = 1000 * US;

settings! {
    /// Share of the host under contention, against the other VMs' weights, as `cpu.weight` of
    /// cgroups. Unset: that of the VM's cgroup, which is 100 if nobody changed it.
    weight: Number<1, 10_000> => weight: u64,

    /// Longest turn on a CPU while others wait.
    slice: Time<{ 100 * US }, { 100 * MS }> => slice_ns: u64,

    /// Shortest turn before one that waits may take the CPU. At most `slice`.
    slice_min: Time<{ 100 * US }, { 100 * MS }> => slice_min_ns: u64,

    /// Whether a vCPU that spins makes way for its siblings when KVM asks for it.
    yield_to: Word<YieldTo> => yield_to: YieldTo,

    /// Whether the VM's vCPUs are made to run at the same time.
    cosched: Word<Cosched> => cosched: Cosched,

    /// How long the receiver of an interrupt from a sibling stays ahead of its turn. 0: not at all.
    ipi_window: Time<0, { 100 * MS }> => ipi_window_ns: u64,

    /// Short waits (`low`), long turns (`batch`), or neither.
    latency: Word<Latency> => latency: Latency,

    /// At most this much CPU time, in CPUs, all vCPUs together. Unset: `cpu.max` of the VM's
    /// cgroup.
    cap: Cpus => cap_millicpus: u64,
}

impl Key {
    pub fn named(name: &str) -> Option<Key> {
        Key::ALL.iter().copied().find(|key| key.name() == name)
    }
}

impl Settings {
    /// The shortest turn would be longer than the longest.
    pub(super) fn is_contradictory(&self) -> bool {
        matches!((self.slice_min_ns, self.slice_ns), (Some(min), Some(max)) if min > max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_by_its_name() {
        for key in Key::ALL {
            assert_eq!(Key::named(key.name()), Some(*key));
            assert_eq!(Key::ALL[*key as usize], *key);
        }
        assert_eq!(Key::named("match"), None);
    }

    #[test]
    fn written_values_are_read_back() {
        let settings = Settings {
            weight: Some(200),
            slice_ns: Some(5 * MS),
            slice_min_ns: Some(500 * US),
            yield_to: Some(YieldTo::Ignore),
            cosched: Some(Cosched::Strict),
            ipi_window_ns: Some(0),
            latency: Some(Latency::Low),
            cap_millicpus: Some(2500),
        };
        let mut read = Settings::default();
        for key in Key::ALL {
            let text = settings.written(*key).expect("all are set");
            let done = read.read(*key, &Given::Word(&text), &Host::default());
            assert_eq!(done, Ok(()), "{} = {text}", key.name());
        }
        assert_eq!(read, settings);
    }

    #[test]
    fn what_is_set_stays() {
        let mut settings = Settings {
            weight: Some(1),
            ..Settings::default()
        };
        let other = Settings {
            weight: Some(2),
            latency: Some(Latency::Batch),
            ..Settings::default()
        };
        let mut taken = vec![];
        settings.fill(&other, |key| taken.push(key));
        assert_eq!(settings.weight, Some(1));
        assert_eq!(settings.latency, Some(Latency::Batch));
        assert_eq!(taken, [Key::latency]);
    }
}
