// SPDX-License-Identifier: GPL-2.0-only
//! libvirt's cgroups: `/machine.slice/machine-qemu\x2d1\x2dweb.scope` where systemd makes them,
//! `/machine/qemu-1-web.libvirt-qemu` where libvirt does itself.

use std::borrow::Cow;

use super::of_vm::OfVm;

pub fn vm(component: &str, _above: &str) -> Option<OfVm> {
    let name = if let Some(unit) = component
        .strip_prefix("machine-")
        .and_then(|unit| unit.strip_suffix(".scope"))
    {
        // systemd-machined has containers, too.
        machine(&systemd_unescape(unit))?
    } else {
        let name = component.strip_suffix(".libvirt-qemu")?;
        // Old libvirt: the name alone.
        machine(name).unwrap_or_else(|| Some(name.to_owned()))
    };
    Some(OfVm { name })
}

/// Whether this is a machine name of a VM of libvirt's, and the VM's name in it. libvirt makes
/// them as `DRIVER-ID-NAME`, with the user's name or a hash before ID for an unprivileged or
/// embedded driver, and drops what a host name may not contain, which can be all of NAME
/// (`virDomainDriverGenerateMachineName()`).
fn machine(machine: &str) -> Option<Option<String>> {
    let rest = ["qemu-", "ch-"]
        .into_iter()
        .find_map(|driver| machine.strip_prefix(driver))?;
    let mut tail = rest;
    loop {
        match tail.split_once('-') {
            Some((id, name)) if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) => {
                break Some((!name.is_empty()).then(|| name.to_owned()));
            }
            Some((_, next)) => tail = next,
            // Old libvirt: no ID. A number alone is an ID without a name.
            None => {
                let name = !rest.bytes().all(|byte| byte.is_ascii_digit());
                break Some(name.then(|| rest.to_owned()));
            }
        }
    }
}

/// Undoes systemd's escaping of unit names, `\xNN` for a byte. What is no escape stays.
fn systemd_unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        if let [b'\\', b'x', high, low, ..] = bytes[i..]
            && let Some(high) = char::from(high).to_digit(16)
            && let Some(low) = char::from(low).to_digit(16)
        {
            out.push((high << 4 | low) as u8);
            i += 4;
        } else {
            out.push(bytes[i]);
            i += 1;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups() {
        let name = |component| vm(component, "/x").map(|of_vm| of_vm.name);
        let web = Some(Some("web".to_owned()));
        assert_eq!(name(r"machine-qemu\x2d1\x2dweb.scope"), web);
        assert_eq!(name("qemu-3-web.libvirt-qemu"), web);
        assert_eq!(name("web.libvirt-qemu"), web);
        assert_eq!(name("machine-debian.scope"), None);
        assert_eq!(name("machine-.scope"), None);
        assert_eq!(name("libvirt"), None);
    }

    #[test]
    fn machine_names() {
        for (name, vm) in [
            ("qemu-1-web", Some(Some("web"))),
            ("qemu-12-web-3-x", Some(Some("web-3-x"))),
            ("qemu-alice-1-web", Some(Some("web"))),
            ("qemu-embed-0a1b2c3d-1-web", Some(Some("web"))),
            ("qemu-instance-0a", Some(Some("instance-0a"))),
            ("ch-4-web", Some(Some("web"))),
            ("qemu-5", Some(None)),
            ("qemu-5-", Some(None)),
            ("qemu-", Some(None)),
            ("lxc-1-web", None),
            ("debian", None),
        ] {
            let found = machine(name);
            let found = found.as_ref().map(Option::as_deref);
            assert_eq!(found, vm, "{name}");
        }
    }

    #[test]
    fn unescaping() {
        for (escaped, plain) in [
            (r"qemu\x2d1\x2dweb", "qemu-1-web"),
            (r"\xc3\xa4", "ä"),
            (r"\xff", "\u{fffd}"),
            (r"a\", r"a\"),
            (r"a\x", r"a\x"),
            (r"a\x2", r"a\x2"),
            (r"a\xzz", r"a\xzz"),
            (r"\x+1", r"\x+1"),
            (r"ä\x2dö", "ä-ö"),
            ("", ""),
        ] {
            assert_eq!(systemd_unescape(escaped), plain, "{escaped}");
        }
    }
}
