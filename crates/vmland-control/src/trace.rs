// SPDX-License-Identifier: GPL-2.0-only
//! The records of a trace, as `bpf/trace/trace.bpf.h` writes them into its ring; and what a client
//! is told that asks for a trace.

use serde::{Deserialize, Serialize};

/// Longest time that can be asked for, in ns.
pub const LONGEST_NS: u64 = 60_000_000_000;

/// Where the records are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracing {
    /// The kernel's id of the ring, a map.
    pub ring: u32,
    /// Its size.
    pub bytes: u32,
    /// Records that found no room since the scheduler attached.
    pub lost: u64,
}

/// Size of a record, in bytes.
pub const RECORD: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC.
    pub at_ns: u64,
    pub cpu: u32,
    pub pid: i32,
    /// 0: the task is no vCPU.
    pub vm_id: u32,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Woken,
    /// `suspended`: whose turn waits meanwhile; 0: none's.
    Runs {
        why: Runs,
        suspended: i32,
    },
    Stops(Stops),
    /// `to`: to whom the CPU goes, or was to go.
    Yields {
        how: Yields,
        to: i32,
    },
}

/// Defines an enum with the numbers of `bpf/intf.h`, from 1 up.
macro_rules! numbered {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident: $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// In words.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn of(number: u32) -> Option<Self> {
                Self::ALL.get(number.checked_sub(1)? as usize).copied()
            }

            pub const fn number(self) -> u32 {
                self as u32 + 1
            }
        }
    };
}

numbered! {
    /// Why a task gets a CPU.
    Runs {
        Direct: "it woke, and the CPU was idle or is its own",
        Queue: "its deadline was the earliest",
        Handed: "hand-off",
        First: "it woke, and preempted",
        Resumed: "its turn goes on",
        Kept: "it keeps the CPU for another turn",
    }
}

numbered! {
    /// Why a task gives up its CPU.
    Stops {
        Sleeps: "it sleeps",
        Yielded: "it yielded",
        Suspended: "its turn is suspended for a task that woke",
        Runtime: "its quota or cap is used up",
        Slice: "its slice is over",
        Preempted: "preempted",
        Keeps: "its turn is over, and the next one is its own",
    }
}

numbered! {
    /// What becomes of a directed yield, or of leaving a CPU.
    Yields {
        Target: "hand-off to the target",
        Receiver: "hand-off to the receiver of its IPI",
        InTurn: "the target runs in turn, before the yielder",
        Refused: "refused",
        Leaves: "it leaves, and the receiver of its IPI gets the CPU",
    }
}

impl Yields {
    /// Does the CPU go to another at once?
    pub fn is_handoff(self) -> bool {
        matches!(self, Yields::Target | Yields::Receiver | Yields::Leaves)
    }
}

/// The numbers of `enum vmland_trace_what`.
pub const WOKEN: u32 = 1;
pub const RUNS: u32 = 2;
pub const STOPS: u32 = 3;
pub const YIELDS: u32 = 4;

impl Event {
    /// None if these bytes are no record.
    pub fn decode(record: &[u8]) -> Option<Self> {
        let record: &[u8; RECORD] = record.try_into().ok()?;
        let word =
            |at: usize| u32::from_ne_bytes(record[at..at + 4].try_into().expect("four bytes"));
        let at_ns = u64::from_ne_bytes(record[..8].try_into().expect("eight bytes"));
        let [cpu, what, reason, pid, other, vm_id] = [8, 12, 16, 20, 24, 28].map(word);
        let other = other as i32;
        let what = match what {
            WOKEN => What::Woken,
            RUNS => What::Runs {
                why: Runs::of(reason)?,
                suspended: other,
            },
            STOPS => What::Stops(Stops::of(reason)?),
            YIELDS => What::Yields {
                how: Yields::of(reason)?,
                to: other,
            },
            _ => return None,
        };
        Some(Self {
            at_ns,
            cpu,
            pid: pid as i32,
            vm_id,
            what,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(what: u32, reason: u32) -> Vec<u8> {
        let words = [2, what, reason, 77, 78, 5_u32];
        let words = words.into_iter().flat_map(u32::to_ne_bytes);
        9_u64.to_ne_bytes().into_iter().chain(words).collect()
    }

    #[test]
    fn records() {
        let event = Event::decode(&record(YIELDS, Yields::Receiver.number()));
        let expected = Event {
            at_ns: 9,
            cpu: 2,
            pid: 77,
            vm_id: 5,
            what: What::Yields {
                how: Yields::Receiver,
                to: 78,
            },
        };
        assert_eq!(event, Some(expected));
        for (what, reasons) in [
            (RUNS, Runs::ALL.len()),
            (STOPS, Stops::ALL.len()),
            (YIELDS, Yields::ALL.len()),
        ] {
            assert_eq!(Event::decode(&record(what, 0)), None);
            assert!(Event::decode(&record(what, reasons as u32)).is_some());
            assert_eq!(Event::decode(&record(what, reasons as u32 + 1)), None);
        }
        assert_eq!(Event::decode(&record(9, 1)), None);
        assert_eq!(Event::decode(&record(WOKEN, 0)[..31]), None);
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Event::decode(&bytes);
        }
    }
}
