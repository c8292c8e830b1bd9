// SPDX-License-Identifier: GPL-2.0-only
//! How long the receiver of an IPI takes to enter the guest and to take the interrupt
//! (`vmland_receiver_ns` of `bpf/ipi/receivers.bpf.h`).

/// On hardware an entry takes about 1 us; a switch, cold caches and the guest's handler are
/// the rest.
const ON_HARDWARE_NS: u64 = 10_000;

/// On a host that is itself a guest each entry and exit is emulated. 20 to 100 us were measured
/// under QEMU's software emulation.
const AS_A_GUEST_NS: u64 = 200_000;

pub fn ns() -> u64 {
    if is_guest() {
        AS_A_GUEST_NS
    } else {
        ON_HARDWARE_NS
    }
}

/// Does this host run under a hypervisor? CPUID leaf 1, bit 31 of ECX, is reserved for
/// hypervisors.
#[cfg(target_arch = "x86_64")]
fn is_guest() -> bool {
    std::arch::x86_64::__cpuid(1).ecx >> 31 == 1
}

#[cfg(not(target_arch = "x86_64"))]
fn is_guest() -> bool {
    false
}
