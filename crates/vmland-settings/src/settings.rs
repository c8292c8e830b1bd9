// SPDX-License-Identifier: GPL-2.0-only
//! The table of settings: all that is known of each.
//!
//! To add a setting, add a row, and the field or flag of `struct vmland_vm_params`
//! (`bpf/intf.h`) that the row names. Files, command lines, the JSON schema, the sample file,
//! help texts, defaults and the value in the BPF map follow from the row.

use std::ops::RangeInclusive;

use super::kind::{
    Cosched, CpuList, CpuSet, Cpus, Kind, Latency, Number, Percent, Time, Word, YieldTo,
};
use super::matching::MatchSchema;
use super::table::types;

const US: u64 = 1000;
const MS: u64 = 1000 * US;

/// Expands `$then! { rows }`, where a row is
///
/// ```text
/// /// What it means. The sentence with its values and default is added.
/// name in files: its kind => field of `Settings`: plain type {
///     default: what holds if nobody says anything; None leaves the VM without,
///     unset: "that default in words, if its value does not say it",
///     example: value for the sample file, if there is no default,
///     flag: the scheduler's option, in us, that is the default for all VMs of a host,
///     bpf: field of struct vmland_vm_params = value of the setting -> value of the field,
///          (|= for the field with flags)
/// }
/// ```
///
/// What stands behind `default`, `unset`, `example` and `bpf` is resolved where the rows are
/// used. So this crate needs no constant of `bpf/intf.h`. A field that nobody sets is 0.
#[macro_export]
macro_rules! settings_table {
    ($then:ident) => {
        $then! {
            /// The VM's share of CPU time among those that compete for it: twice the weight is
            /// twice the time. It replaces the cpu.weight of the VM's cgroup. VMs that share a
            /// cgroup divide its CPU time by their weights, whatever their numbers of vCPUs.
            /// Against the other tasks of that cgroup, these VMs together count as many
            /// ordinary tasks as they have runnable vCPUs.
            weight: Number<1, 10_000> => weight: u64 {
                default: Some(100),
                unset: "the cpu.weight of its cgroup; 100 for VMs that share one",
                bpf: weight = |weight| weight as u32,
            }

            /// The most CPU time that its vCPUs get together, in CPUs, over any 100ms, even if
            /// the rest is idle: 0.5 is half a CPU. At most the host's CPUs. A cpu.max of its
            /// cgroups holds as well.
            cap: Cpus => cap_millicpus: u64 {
                default: None,
                unset: "no limit",
                example: 2_500,
                bpf: cap_ns = |millicpus| millicpus * u64::from(VMLAND_CAP_PERIOD) / 1000,
            }

            /// The longest turn on a CPU while others wait.
            slice: Time<{ 100 * US }, { 100 * MS }> => slice_ns: u64 {
                default: Some(10 * MS),
                flag: slice_us,
                bpf: slice_ns = |ns| ns,
            }

            /// The least time that a vCPU of it runs before a waking task preempts it. At most
            /// slice: where rules together ask for more, slice holds for both.
            slice_min: Time<{ 100 * US }, { 100 * MS }> => slice_min_ns: u64 {
                default: Some(2 * MS),
                flag: slice_us_min,
                bpf: slice_min_ns = |ns| ns,
            }

            /// When a vCPU spins because a sibling has something that it needs (a lock, for
            /// example), KVM asks the scheduler to run the sibling instead. "honour": the
            /// sibling runs. "ignore": the request is refused.
            yield_to: Word<YieldTo> => yield_to: YieldTo {
                default: Some(YieldTo::Honour),
                bpf: flags |= |yield_to| match yield_to {
                    YieldTo::Honour => 0,
                    YieldTo::Ignore => VMLAND_VM_IGNORE_YIELD,
                },
            }

            /// A vCPU that waits for a CPU, and to which a sibling has sent an IPI, gets the
            /// CPU of that sibling when this one spins, sleeps or has used up its slice: for so
            /// long after the IPI. 0: never.
            ipi_window: Time<0, { 100 * MS }> => ipi_window_ns: u64 {
                default: Some(50 * MS),
                flag: ipi_window_us,
                bpf: ipi_window_ns = |ns| ns,
            }

            /// The part of its own CPU time that the VM may get out of turn, by hand-offs from
            /// vCPU to vCPU. When nothing of it is left, a vCPU that spins still yields, but
            /// the sibling waits for its turn.
            boost_budget: Percent => boost_percent: u64 {
                default: Some(100),
                bpf: boost_percent = |percent| percent as u32,
            }

            /// Whether its vCPUs have their turns at the same time, as a gang. "auto": while
            /// they spin for each other. "off": never, and a hand-off begins a new turn.
            /// "strict": always.
            cosched: Word<Cosched> => cosched: Cosched {
                default: Some(Cosched::Auto),
                bpf: flags |= |cosched| match cosched {
                    Cosched::Auto => 0,
                    Cosched::Off => VMLAND_VM_COSCHED_OFF,
                    Cosched::Strict => VMLAND_VM_COSCHED_STRICT,
                },
            }

            /// How long a vCPU computes while siblings of it wait and are behind: then one of
            /// them gets the rest of the turn. With it, hints transfer no vruntime between the
            /// vCPUs, as that difference would last.
            skew: Time<{ 100 * US }, { 100 * MS }> => skew_ns: u64 {
                default: None,
                unset: "no bound",
                example: 4 * MS,
                bpf: skew_ns = |ns| ns,
            }

            /// When a waking vCPU of it preempts the running task. "normal": when its vruntime
            /// is less by the scheduler's --slice-us-min, and the running task has had its
            /// least time (slice_min). "low": at once, unless the VM has had its share.
            /// "batch": never.
            latency: Word<Latency> => latency: Latency {
                default: Some(Latency::Normal),
                bpf: flags |= |latency| match latency {
                    Latency::Normal => 0,
                    Latency::Low => VMLAND_VM_LATENCY_LOW,
                    Latency::Batch => VMLAND_VM_LATENCY_BATCH,
                },
            }

            /// CPUs to prefer, as cpusets list them. Where there is a choice, its vCPUs run
            /// there. It is no affinity: they do not wait while another CPU that they may use
            /// is idle, nor much longer than others of the same deadline if all are busy.
            cpus: CpuList => cpus: CpuSet {
                default: Some(CpuSet::ALL),
                bpf: flags |= |cpus| match cpus {
                    CpuSet::ALL => 0,
                    _ => VMLAND_VM_PREFERS_CPUS,
                },
            }
        }
    };
}

settings_table!(types);

impl Key {
    pub fn named(name: &str) -> Option<Key> {
        Key::ALL.iter().copied().find(|key| key.name() == name)
    }

    /// The scheduler's option that sets its default for all VMs of a host.
    pub fn flag(self) -> Option<String> {
        Some(format!("--{}", self.option()?.replace('_', "-")))
    }

    /// What holds if nobody says anything, in words.
    pub fn default_in_words(self) -> String {
        let flag = || Some(format!("the scheduler's {}", self.flag()?));
        let value = || Settings::DEFAULTS.written(self).unwrap_or_default();
        let unset = self.unset().map(str::to_owned);
        unset.or_else(flag).unwrap_or_else(value)
    }

    /// What it means, which values it takes, and its default: one paragraph.
    pub fn documentation(self) -> String {
        let (text, values, default) = (self.text(), self.values(), self.default_in_words());
        format!("{text} Values: {values}. Default: {default}.")
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
    use super::super::kind::Given;
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
        let mut read = Settings::default();
        for key in Key::ALL {
            let text = Settings::EXAMPLE.written(*key).expect("all are set");
            let done = read.read(*key, &Given::Word(&text));
            assert_eq!(done, Ok(()), "{} = {text}", key.name());
        }
        assert_eq!(read, Settings::EXAMPLE);
    }

    #[test]
    fn a_key_without_a_default_says_so_and_has_an_example() {
        for key in Key::ALL {
            assert!(Settings::EXAMPLE.written(*key).is_some(), "{}", key.name());
            assert!(!key.default_in_words().is_empty(), "{}", key.name());
        }
    }

    #[test]
    fn an_option_for_all_vms_has_its_unit_and_a_range() {
        for key in Key::ALL.iter().filter(|key| key.flag().is_some()) {
            let option = key.option().expect("it has one");
            assert!(option.contains("_us"), "{option}");
            assert!(key.range().is_some(), "{option}");
        }
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
