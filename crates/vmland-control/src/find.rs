// SPDX-License-Identifier: GPL-2.0-only
//! Which VM is meant.

use serde::{Deserialize, Serialize};

use super::line::told;
use super::refused::{ErrorKind, Refused};
use vmland_base::suggest::nearest;
use vmland_settings::VmFacts;

/// A VM that the scheduler knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Running {
    /// Never reused while the scheduler runs.
    pub id: u32,
    /// Of the process that runs it.
    pub pid: i32,
    #[serde(flatten)]
    pub facts: VmFacts,
    /// No other VM is in its cgroup, whose weight is the VM's therefore.
    pub owns_cgroup: bool,
}

/// By what a VM was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    Name,
    Uuid,
}

/// The one VM of this name, or of this UUID in upper or lower case.
pub(super) fn find<'a>(vms: &[&'a Running], text: &str) -> Result<(&'a Running, By), Refused> {
    let uuid = text.to_ascii_lowercase();
    let by_uuid = |vm: &&&Running| vm.facts.uuid.as_deref() == Some(&uuid);
    let by_name = |vm: &&&Running| vm.facts.name == text;
    let found: Vec<_> = vms.iter().filter(by_uuid).copied().collect();
    let named: Vec<_> = vms.iter().filter(by_name).copied().collect();
    match (&found[..], &named[..]) {
        // The user who starts a VM may name it like the UUID of another one.
        ([vm], _) => Ok((vm, By::Uuid)),
        ([], [vm]) => Ok((vm, By::Name)),
        ([], []) => Err(unknown(vms, text)),
        (several @ [_, ..], _) | ([], several) => Err(ambiguous(several, text)),
    }
}

fn unknown(vms: &[&Running], text: &str) -> Refused {
    let names = vms.iter().map(|vm| vm.facts.name.as_str());
    let meant = match nearest(text, names) {
        Some(name) => format!("did you mean {name:?}?"),
        None if vms.is_empty() => "there is no VM at all".into(),
        None => "\"vmland vms\" lists those that there are".into(),
    };
    let message = format!("no VM has the name or UUID {text:?}; {meant}");
    Refused::new(ErrorKind::UnknownVm, told(&message))
}

fn ambiguous(several: &[&Running], text: &str) -> Refused {
    let each = several.iter().take(8).map(|vm| {
        let uuid = vm.facts.uuid.as_deref().unwrap_or("has none");
        format!("process {}, UUID {uuid}", vm.pid)
    });
    let each: Vec<_> = each.collect();
    let message = format!(
        "{} VMs are called {text:?}: {}; give the UUID of one",
        several.len(),
        each.join("; ")
    );
    Refused::new(ErrorKind::AmbiguousVm, told(&message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_identity::Vmm;

    const UUID: &str = "8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11";
    const OTHER: &str = "11111111-6c0b-4b55-9a43-0c6e7e6b9d11";

    fn vm(id: u32, name: &str, uuid: Option<&str>) -> Running {
        Running {
            id,
            pid: 100 + id as i32,
            facts: VmFacts {
                name: name.into(),
                uuid: uuid.map(str::to_owned),
                vmm: Vmm::Qemu,
                cgroup: None,
                uid: Some(64055),
                vcpus: 2,
            },
            owns_cgroup: false,
        }
    }

    #[test]
    fn by_name_or_uuid_and_nothing_else() {
        let vms = [
            vm(1, "web", Some(UUID)),
            vm(2, "twin", Some(OTHER)),
            vm(3, "twin", None),
            vm(4, "db-*", None),
            vm(5, UUID, None),
        ];
        let vms: Vec<_> = vms.iter().collect();
        let found = |text: &str| find(&vms, text).map(|(vm, by)| (vm.id, by));
        assert_eq!(found("web"), Ok((1, By::Name)));
        assert_eq!(found(UUID), Ok((1, By::Uuid)));
        assert_eq!(found(&UUID.to_uppercase()), Ok((1, By::Uuid)));
        assert_eq!(found(OTHER), Ok((2, By::Uuid)));
        assert_eq!(found("db-*"), Ok((4, By::Name)));
        let says = |text| found(text).expect_err(text).message;
        assert_eq!(
            says("wbe"),
            "no VM has the name or UUID \"wbe\"; did you mean \"web\"?"
        );
        assert!(says("we*").contains("no VM"));
        assert!(says("mail").contains("vmland vms"));
        assert_eq!(
            says("twin"),
            format!(
                "2 VMs are called \"twin\": process 102, UUID {OTHER}; process 103, UUID has none; give the UUID of one"
            )
        );
        let nobody = find(&[], "web").expect_err("nobody").message;
        assert!(nobody.contains("there is no VM at all"));
    }
}
