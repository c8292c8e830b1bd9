// SPDX-License-Identifier: GPL-2.0-only
//! Command lines as most VMMs have them, QEMU excepted.

/// Value of the last `option` after `argv[0]`, given as `option VALUE` or `option=VALUE`.
pub fn option<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    (1..args.len())
        .rev()
        .find_map(|i| match args[i].strip_prefix(option)? {
            "" => args.get(i + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
}

/// Last value of `key` in `KEY=VALUE,…`.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.rsplit(',')
        .find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
}

/// The name in a socket's path: `web` of `/run/ch/web.sock`, or of Cloud Hypervisor's
/// `path=/run/ch/web.sock`. Where the socket is called after its purpose, as Kata's
/// `/run/vc/vm/ID/clh-api.sock`, it is the directory that belongs to the VM.
pub fn socket_name(text: &str) -> Option<String> {
    let path = value(text, "path").or_else(|| (!text.starts_with("fd=")).then_some(text))?;
    let mut components = path.rsplit('/');
    let file = components.next()?;
    let stem = [".sock", ".socket"]
        .into_iter()
        .find_map(|end| file.strip_suffix(end))
        .unwrap_or(file);
    let purpose = [
        "api",
        "ch",
        "clh",
        "clh-api",
        "cloud-hypervisor",
        "control",
        "crosvm",
    ];
    if purpose.contains(&stem) {
        let dir = components.next().unwrap_or("");
        let shared = ["", "run", "tmp", "var", "ch", "cloud-hypervisor", "crosvm"];
        return (!shared.contains(&dir)).then(|| dir.to_owned());
    }
    Some(stem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options() {
        let args = ["vmm", "--id=a", "--id", "b", "--identity", "x", "--name"];
        let args = args.map(str::to_owned);
        assert_eq!(option(&args, "--id"), Some("b"));
        assert_eq!(option(&args[..2], "--id"), Some("a"));
        assert_eq!(option(&args, "--name"), None);
        assert_eq!(option(&args, "vmm"), None);
        assert_eq!(option(&[], "--id"), None);
    }

    #[test]
    fn values() {
        assert_eq!(value("uuid=a,x=b,uuid=c", "uuid"), Some("c"));
        assert_eq!(value("my-uuid=a", "uuid"), None);
        assert_eq!(value("", "uuid"), None);
    }

    #[test]
    fn sockets() {
        for (socket, name) in [
            ("/run/ch/web.sock", Some("web")),
            ("path=/run/ch/web.sock", Some("web")),
            ("path=/run/ch/web.socket,mode=0600", Some("web")),
            ("web", Some("web")),
            ("/run/ch/db.example.com", Some("db.example.com")),
            ("/run/vc/vm/abc/clh-api.sock", Some("abc")),
            ("/run/vms/web/api.sock", Some("web")),
            ("/tmp/cloud-hypervisor.sock", None),
            ("/run/cloud-hypervisor/api.sock", None),
            ("api.sock", None),
            ("fd=3", None),
            ("/run/ch/", Some("")),
            ("", Some("")),
        ] {
            assert_eq!(socket_name(socket).as_deref(), name, "{socket:?}");
        }
    }
}
