// SPDX-License-Identifier: GPL-2.0-only
//! The configuration: a file, and flags in lines that begin with `--vm `.
//!
//! Whatever the text, it is refused with findings, or every VM has settings that hold for it,
//! each written as it can be read again.

use vmland_identity::Vmm;
use vmland_settings::{Caller, Config, Key, Sources, VmFacts};

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (flags, file): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with("--vm "));
    let sources = Sources {
        file: "/nowhere/config.toml".into(),
        must_exist: true,
        flags: flags.iter().map(|flag| flag[5..].to_owned()).collect(),
        caller: Caller::ROOT,
        host_cpus: Some(8),
    };
    match Config::load_as_if(&sources, &file.join("\n")) {
        Ok((config, _)) => ask(&config),
        Err(findings) => {
            assert!(!findings.0.is_empty(), "refused without a word");
            // Nothing of it reaches a terminal's controls.
            let shown = findings.to_string();
            assert!(
                shown.chars().all(|c| c == '\n' || !c.is_control()),
                "{shown:?}"
            );
        }
    }
}

fn ask(config: &Config) {
    let vm = |name: &str, uid, vcpus| VmFacts {
        name: name.into(),
        uuid: Some("8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11".into()),
        vmm: Vmm::Qemu,
        cgroup: Some(r"/machine.slice/machine-qemu\x2d1\x2dweb.scope".into()),
        uid,
        vcpus,
    };
    let vms = [vm("web-1", Some(64055), 2), vm("db", None, 64)];
    for vm in &vms {
        let settings = config.settings_for(vm);
        for key in Key::ALL {
            if let Some(value) = settings.written(*key) {
                let flag = format!("*:{}={value}", key.name());
                Config::parse_vm_flag(&flag).unwrap_or_else(|e| panic!("{flag}: {e}"));
            }
        }
    }
    let _ = config.warnings_for(&vms);
}
