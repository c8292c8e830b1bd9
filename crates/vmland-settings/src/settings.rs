// SPDX-License-Identifier: GPL-2.0-only
//! What can be set for a VM. To add a setting, add a row.
//!
//! What is unset is left to the VM's cgroups: their `cpu.weight` and `cpu.max` hold as for
//! any other task.

use super::kind::{
    Cosched, CpuList, CpuSet, Cpus, Given, Kind, Latency, Number, Percent, Time, Word, YieldTo,
};
use super::matching::MatchSchema;
use super::table::settings;

const US: u64 = 1000;
const MS: u64 = 1000 * US;

settings! {
    /// In place of the `cpu.weight` of the VM's cgroup. VMs that share a cgroup share what it
    /// has by weight, whatever their numbers of vCPUs; to the other tasks in it, such VMs
    /// together are what as many ordinary tasks would be as they have vCPUs that want to run.
    /// Unset: the cgroup's `cpu.weight`; where it is shared, 100.
    weight: Number<1, 10_000> => weight: u64,

    /// Most CPU time that its vCPUs get together, in CPUs, over any 100 ms and whatever is
    /// idle. A `cpu.max` of its cgroups holds too. At most the host's CPUs. Unset: no limit.
    cap: Cpus => cap_millicpus: u64,

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

    /// What part of its own CPU time the VM may have out of turn, handed on from vCPU to vCPU. With
    /// nothing left of it a vCPU still makes way for its siblings, but they wait for their turn.
    /// Unset: 100%.
    boost_budget: Percent => boost_percent: u64,

    /// Whether its vCPUs run at the same time. `auto`: they hand each other what is left of a turn,
    /// so that those that need each other fall into step. `off`: who is handed a CPU has a turn of
    /// its own. `strict`: when one begins a turn, those of its siblings that wait are put onto other
    /// CPUs for as long, as far as the VM is not ahead of its share. Unset: `auto`.
    cosched: Word<Cosched> => cosched: Cosched,

    /// How long a vCPU computes while siblings of it wait and are behind: then one of them has the
    /// rest of the turn. Less than a tick of the kernel is a tick. Nor do they pay each other for
    /// hints then, so that none gets ahead for good. Unset: it does not matter.
    skew: Time<{ 100 * US }, { 100 * MS }> => skew_ns: u64,

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
            cap_millicpus: Some(2_500),
            slice_ns: Some(5 * MS),
            slice_min_ns: Some(500 * US),
            yield_to: Some(YieldTo::Ignore),
            ipi_window_ns: Some(0),
            boost_percent: Some(40),
            cosched: Some(Cosched::Strict),
            skew_ns: Some(2 * MS),
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
