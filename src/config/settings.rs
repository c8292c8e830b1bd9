// SPDX-License-Identifier: GPL-2.0-only
//! What can be set for a VM. To add a setting, add a row.
//!
//! Nothing else sets it: `cpu.weight` and `cpu.max` of a VM's cgroup are not read.

use super::kind::{CpuList, CpuSet, Given, Kind, Latency, Number, Time, Word, YieldTo};
use super::matching::MatchSchema;
use super::table::settings;

const US: u64 = 1000;
const MS: u64 = 1000 * US;

settings! {
    /// The VM's share among the VMs that want CPU time, whatever its number of vCPUs. To the
    /// rest of the host, all VMs together are what as many ordinary tasks would be as they have
    /// vCPUs that want to run. Unset: 100.
    weight: Number<1, 10_000> => weight: u64,

    /// Longest turn on a CPU while others wait. Unset: the scheduler's `--slice-us`.
    slice: Time<{ 100 * US }, { 100 * MS }> => slice_ns: u64,

    /// Least time that a vCPU of it runs before a waking task takes the CPU. At most `slice`.
    /// Unset: the scheduler's `--slice-us-min`.
    slice_min: Time<{ 100 * US }, { 100 * MS }> => slice_min_ns: u64,

    /// Whether a vCPU that spins makes way for its siblings when KVM asks for it. Unset: it does.
    yield_to: Word<YieldTo> => yield_to: YieldTo,

    /// How long a vCPU that a sibling has sent an IPI, and that is off its CPU, stays the first to
    /// whom a spinning sibling hands its own. 0: it never comes first. Unset: the scheduler's
    /// `--ipi-window-us`.
    ipi_window: Time<0, { 100 * MS }> => ipi_window_ns: u64,

    /// `low`: a vCPU of it that wakes does not wait for the least time of the one that runs and
    /// needs no lead, as long as the VM is not ahead of its share. `batch`: its vCPUs never
    /// preempt. Unset: `normal`, neither.
    latency: Word<Latency> => latency: Latency,

    /// CPUs to prefer, such as `0-3,8`, or `all`. Where there is a choice, it runs there; it does not
    /// wait while another CPU that it may use is idle. Unset: all.
    cpus: CpuList => cpus: CpuSet,
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
            ipi_window_ns: Some(0),
            latency: Some(Latency::Low),
            cpus: Some(CpuSet::from_iter([1, 2, 3, 9])),
        };
        let mut read = Settings::default();
        for key in Key::ALL {
            let text = settings.written(*key).expect("all are set");
            let done = read.read(*key, &Given::Word(&text));
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
