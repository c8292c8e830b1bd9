// SPDX-License-Identifier: GPL-2.0-only
//! Options of all commands that start guests.

use std::path::PathBuf;

use vmland_guests::preflight::Options;

#[derive(clap::Args)]
pub struct LaunchOpts {
    /// KVM's paravirtual TLB flush, IPIs and yield. Spin locks never are paravirtual.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub pv: Switch,

    /// Keep the guests on these CPUs, such as 1-2,5.
    #[arg(long, value_name = "LIST", env = "VMLAND_GUEST_CPUS")]
    pub cpus: Option<String>,

    /// The guests' kernel image.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,

    /// QEMU, if it is not in PATH.
    #[arg(long, value_name = "FILE", default_value = "qemu-system-x86_64")]
    qemu: PathBuf,
}

impl LaunchOpts {
    pub fn options(&self) -> Options {
        Options {
            qemu: self.qemu.clone(),
            kernel: self.kernel.clone(),
            cpus: self.cpus.clone(),
            pv: self.pv == Switch::On,
            ..Options::default()
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Switch {
    On,
    Off,
}
