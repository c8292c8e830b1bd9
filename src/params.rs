// SPDX-License-Identifier: GPL-2.0-only
//! What the table of settings says about the scheduler: the defaults that options set for
//! all VMs, and the parameters of a VM as the BPF part reads them.

use vmland_settings::*;

// Whatever the table names.
use crate::bpf_intf::*;
use crate::opts::Opts;

macro_rules! for_scheduler {
    ($(
        $(#[$doc:meta])+
        $key:ident: $kind:ty => $field:ident: $plain:ty {
            default: $default:expr,
            $(unset: $unset:literal,)?
            $(example: $example:expr,)?
            $(flag: $flag:ident,)?
            bpf: $bpf:ident $becomes:tt $convert:expr,
        }
    )+) => {
        /// What holds for a VM if nobody says anything.
        pub fn defaults(opts: &Opts) -> Settings {
            Settings {
                $( $( $field: Some(opts.$flag * 1_000), )? )+
                ..Settings::DEFAULTS
            }
        }

        /// What is unset has its default, or else is 0.
        pub fn params(vm_id: u32, settings: &Settings) -> vmland_vm_params {
            // SAFETY: it consists of numbers.
            let mut params: vmland_vm_params = unsafe { std::mem::zeroed() };
            params.vm_id = vm_id;
            $(
                let convert: fn($plain) -> _ = $convert;
                if let Some(value) = settings.$field.or(Settings::DEFAULTS.$field) {
                    params.$bpf $becomes convert(value);
                }
            )+
            params
        }
    };
}

settings_table!(for_scheduler);
