// SPDX-License-Identifier: GPL-2.0-only
//! The control socket: lines of a client, one after the other, to one scheduler.
//!
//! Each has one answer, which is one line of JSON and says nothing to a terminal; one that is
//! refused has changed nothing.

use serde_json::Value;
use vmland_control::trace::Tracing;
use vmland_control::{LINE_MAX, Planned, Running, Scheduler, answer};
use vmland_identity::Vmm;
use vmland_settings::{Config, EffectiveSettings, Key, Settings, Sources, VmFacts};

pub fn run(data: &[u8]) {
    let sources = Sources {
        file: "/nowhere/config.toml".into(),
        flags: vec!["web-*:weight=200".into()],
        ..Sources::default()
    };
    let (config, _) = Config::load(&sources).expect("right");
    let mut now = EffectiveSettings::new(config, sources, Settings::default());
    let vms = [vm(1, "web-1"), vm(2, "twin"), vm(3, "twin")];
    let vms: Vec<&Running> = vms.iter().collect();
    let effective = |now: &EffectiveSettings| -> Vec<_> {
        let keys = vms
            .iter()
            .flat_map(|vm| Key::ALL.iter().map(move |key| (vm, key)));
        keys.map(|(vm, key)| now.explain(&vm.facts, *key)).collect()
    };
    for line in data.split(|byte| *byte == b'\n') {
        let before = effective(&now);
        let answered = answer(&line[..line.len().min(LINE_MAX)], &mut now, &vms, &Behind);
        let response: Value = serde_json::from_str(&answered.line).expect("JSON");
        assert!(
            !answered.line.chars().any(char::is_control),
            "{:?}",
            answered.line
        );
        assert!(
            response.get("ok").is_some() != response.get("error").is_some(),
            "{response}"
        );
        if response.get("error").is_some() || !answered.changed {
            assert_eq!(effective(&now), before, "{response}");
        }
    }
}

struct Behind;

impl Scheduler for Behind {
    fn planned(&self, _vm_id: u32) -> Planned {
        Planned::default()
    }

    fn trace(&self, _ns: u64) -> Result<Option<Tracing>, String> {
        Ok(None)
    }
}

fn vm(id: u32, name: &str) -> Running {
    Running {
        id,
        pid: 100 + id as i32,
        facts: VmFacts {
            name: name.into(),
            uuid: Some(format!("8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d1{id}")),
            vmm: Vmm::Qemu,
            cgroup: None,
            uid: Some(64055),
            vcpus: 2,
        },
        owns_cgroup: false,
    }
}
