// SPDX-License-Identifier: GPL-2.0-only
//! What a VM's cgroup says where the configuration says nothing.

use std::fs::read_to_string;
use std::path::Path;

use vmland_control::{Setting, Shown};
use vmland_settings::Key;

/// Adds the cgroup's `cpu.weight` and `cpu.max`, as far as they hold for the VM.
pub fn add_to(shown: &mut Shown, root: &Path) {
    let Some(cgroup) = shown.cgroup.clone() else {
        return;
    };
    let directory = root.join(cgroup.trim_start_matches('/'));
    let read = |file| read_to_string(directory.join(file)).ok();
    for setting in { &mut shown.settings }
        .iter_mut()
        .filter(|s| s.origin.is_none())
    {
        let (file, value) = if setting.key == Key::weight.name() {
            (
                "cpu.weight",
                shown.owns_cgroup.then(|| read("cpu.weight")).flatten(),
            )
        } else if setting.key == Key::cap.name() {
            ("cpu.max", read("cpu.max").as_deref().and_then(cpus))
        } else {
            continue;
        };
        if let Some(value) = value {
            *setting = Setting {
                key: setting.key.clone(),
                value: value.trim().into(),
                origin: Some(format!("{file} of its cgroup")),
            };
        }
    }
}

fn cpus(max: &str) -> Option<String> {
    Some(format!("{}", (quota(max)? * 1000.0).round() / 1000.0))
}

/// `cpu.max` in CPUs. None: there is no limit.
pub fn quota(max: &str) -> Option<f64> {
    let (quota, period) = max.trim().split_once(' ')?;
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
    Some(quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_control::By;

    fn shown(owns_cgroup: bool, cap_origin: Option<&str>) -> Shown {
        let setting = |key: Key, value: &str, origin: Option<&str>| Setting {
            key: key.name().into(),
            value: value.into(),
            origin: origin.map(str::to_owned),
        };
        Shown {
            id: 1,
            pid: 1,
            name: "a".into(),
            uuid: None,
            vmm: "qemu".into(),
            cgroup: Some("/machine/a".into()),
            uid: None,
            owns_cgroup,
            vcpus: 1,
            by: By::Name,
            settings: vec![
                setting(Key::weight, "100", None),
                setting(Key::cap, "none", cap_origin),
                setting(Key::slice, "10ms", None),
            ],
            config: String::new(),
            warnings: vec![],
        }
    }

    fn values(mut shown: Shown, weight: &str, max: &str) -> Vec<(String, Option<String>)> {
        let root = tempfile::tempdir().expect("a directory");
        let cgroup = root.path().join("machine/a");
        std::fs::create_dir_all(&cgroup).expect("a cgroup");
        std::fs::write(cgroup.join("cpu.weight"), weight).expect("written");
        std::fs::write(cgroup.join("cpu.max"), max).expect("written");
        add_to(&mut shown, root.path());
        { shown.settings }
            .into_iter()
            .map(|s| (s.value, s.origin))
            .collect()
    }

    #[test]
    fn what_its_cgroup_says() {
        let of = |file: &str| Some(format!("{file} of its cgroup"));
        let default = |value: &str| (value.to_string(), None);
        assert_eq!(
            values(shown(true, None), "300\n", "150000 100000\n"),
            [
                ("300".into(), of("cpu.weight")),
                ("1.5".into(), of("cpu.max")),
                default("10ms"),
            ]
        );
        // Its weight is not that of a cgroup that others share; a quota holds for it too.
        assert_eq!(
            values(shown(false, None), "300\n", "max 100000\n"),
            [default("100"), default("none"), default("10ms")]
        );
        let shown = values(shown(true, Some("--vm")), "300\n", "150000 100000\n");
        assert_eq!(shown[1], ("none".into(), Some("--vm".into())));
    }
}
