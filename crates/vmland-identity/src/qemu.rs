// SPDX-License-Identifier: GPL-2.0-only
//! QEMU's command line, by any author: libvirt, Proxmox (`-id`), KubeVirt or a person.

use super::told::Told;

pub fn told(args: &[String]) -> Told {
    let last = |wanted: &str, of: fn(&str) -> Option<String>| {
        options(args).find_map(|(name, text)| (name == wanted).then(|| of(text))?)
    };
    Told {
        name: last("-name", |text| value(parse(text, "guest"), "guest")),
        otherwise: last("-id", |text| Some(text.to_owned())),
        uuid: uuid(args),
    }
}

/// The last one counts: `-uuid` and `-smbios type=1,uuid=` set the same variable. Proxmox gives
/// only the second, libvirt both.
fn uuid(args: &[String]) -> Option<String> {
    options(args).find_map(|(name, text)| match name {
        "-uuid" => Some(text.to_owned()),
        "-smbios" => {
            let pairs = parse(text, "type");
            let system = pairs.iter().any(|(key, v)| *key == "type" && v == "1");
            system.then(|| value(pairs, "uuid"))?
        }
        _ => None,
    })
}

/// Options with their values, the last one first, and each as if every argument were one. QEMU
/// takes one dash or two.
fn options(args: &[String]) -> impl Iterator<Item = (&str, &str)> {
    args.windows(2).rev().map(|pair| {
        let name = &pair[0];
        let short = name.strip_prefix('-').filter(|rest| rest.starts_with('-'));
        (short.unwrap_or(name), pair[1].as_str())
    })
}

/// Takes apart an option's value as QEMU's `opts_parse()` does: `KEY=VALUE` separated by commas,
/// a comma in a value doubled. The first element may be a value alone, and then belongs to
/// `implied`.
fn parse<'a>(mut text: &'a str, implied: &'a str) -> Vec<(&'a str, String)> {
    let mut pairs = Vec::new();
    while !text.is_empty() {
        let end = text.find(['=', ',']).unwrap_or(text.len());
        let key = if text[end..].starts_with('=') {
            let key = &text[..end];
            text = &text[end + 1..];
            key
        } else if pairs.is_empty() {
            implied
        } else {
            // A flag, such as the `server` of old socket options.
            text = text.get(end + 1..).unwrap_or("");
            continue;
        };

        let mut value = String::new();
        loop {
            let comma = text.find(',').unwrap_or(text.len());
            value.push_str(&text[..comma]);
            text = text.get(comma + 1..).unwrap_or("");
            match text.strip_prefix(',') {
                Some(rest) => {
                    value.push(',');
                    text = rest;
                }
                None => break,
            }
        }
        pairs.push((key, value));
    }
    pairs
}

/// Last value of `key`.
fn value(pairs: Vec<(&str, String)>, key: &str) -> Option<String> {
    pairs
        .into_iter()
        .rev()
        .find_map(|(k, value)| (k == key).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told_by(args: &[&str]) -> Told {
        let args: Vec<String> = args.iter().map(std::string::ToString::to_string).collect();
        told(&args)
    }

    #[test]
    fn names() {
        for (value, name) in [
            ("web", "web"),
            ("guest=web", "web"),
            ("debug-threads=on,guest=web", "web"),
            ("web,debug-threads=on", "web"),
            ("a,,b", "a,b"),
            ("a,,b=c,process=x", "a,b=c"),
            ("guest=a,,,,b,debug-threads=on", "a,,b"),
            ("guest=a=b", "a=b"),
            ("guest=a,guest=b", "b"),
            ("guest=ünï,debug-threads=on", "ünï"),
            ("web,", "web"),
        ] {
            let told = told_by(&["kvm", "-S", "-name", value, "-m", "1G"]);
            assert_eq!(told.name.as_deref(), Some(name), "-name {value}");
        }
        assert_eq!(told_by(&["kvm", "--name", "web"]).name.unwrap(), "web");
        let twice = told_by(&["kvm", "-name", "a", "-name", "b"]);
        assert_eq!(twice.name.unwrap(), "b");
        assert_eq!(told_by(&["kvm", "-name"]).name, None);
        assert_eq!(told_by(&["kvm", "-name", "debug-threads=on"]).name, None);
    }

    #[test]
    fn uuids() {
        for (args, uuid) in [
            (&["kvm", "-uuid", "a"][..], Some("a")),
            (&["kvm", "-smbios", "type=1,uuid=b"], Some("b")),
            (
                &["kvm", "-uuid", "a", "-smbios", "type=1,uuid=b"],
                Some("b"),
            ),
            (
                &["kvm", "-smbios", "type=1,uuid=b", "-uuid", "a"],
                Some("a"),
            ),
            (
                &["kvm", "-uuid", "a", "-smbios", "type=1,serial=x"],
                Some("a"),
            ),
            (&["kvm", "-smbios", "type=2,uuid=b"], None),
            (&["kvm", "-uuid"], None),
        ] {
            assert_eq!(told_by(args).uuid.as_deref(), uuid, "{args:?}");
        }
    }
}
