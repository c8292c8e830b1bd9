// SPDX-License-Identifier: GPL-2.0-only
//! The sample configuration, in which every setting is explained and commented out.

use vmland_base::suggest::either;
use vmland_identity::Vmm;

use super::settings::{Key, Settings};

/// Longest line, in characters.
const WIDTH: usize = 90;

const HEAD: &str = "\
# What each VM may have. To be installed as /etc/scx_vmland/config.toml; the files
# /etc/scx_vmland/config.d/*.toml are read after it, in the order of their names.
#
#     vmland config check /etc/scx_vmland/config.toml
#     vmland config show --origin
#     vmland config reload
#
# The first says what is wrong, the second what each running VM gets and which line
# says so, and the third makes it effective. Files are refused if anybody but root may
# write them. \"vmland vm set NAME key=value\" sets any key below for one VM at once, and
# with --save writes it into this file.
#
# [defaults] hold for all VMs. Then the rules [[vm]] are gone through in order, and
# last --vm 'NAME-GLOB:key=value,…' of the command line: the last word counts, for
# each key alone. A key that nobody sets has its default, which is shown below.
#
# Everything below is commented out. Remove the \"#\" of what you set.

#[defaults]
";

const TAIL: &str = r##"
# A rule: the VMs that it is for, and any of the keys above. There may be 10000.
#
# Of what match says, everything must hold:
#
#   name     as "vmland vms" shows it
#   uuid
#   cgroup   path of the VM's cgroup, as in /proc/PID/cgroup
#   uid      the user of its process: 1000, or "1000-1999"
#   vmm      {vmm}
#   vcpus    how many it has: 4, "2-8", ">=4" or "<=8"
#
# All but vcpus may be lists, of which one must match. name, uuid and cgroup are globs:
# * is any text ("/" included), ? any character, [a-c] one of these, [!a-c] none of these.
# TOML reads no backslashes in single quotes, as the names of systemd's scopes need.
#
# Names are no proof: the user who starts a VM chooses its name, its UUID and the name of
# its program. The kernel vouches for uid and cgroup. Promise more to a VM of other users
# by these, and begin the glob of a cgroup with "/": below a cgroup that was delegated to
# a user, that user may create cgroups of any name.

#[[vm]]
#match = { name = ["db-*", "mail"], vcpus = ">=4" }
#weight = 400

#[[vm]]
#match = { cgroup = '/machine.slice/machine-qemu\x2d*' }
#slice = "5ms"

#[[vm]]
#match = { name = "db-*", uid = [64055, "100000-165535"] }
#latency = "low"
"##;

/// The text of `configs/scx_vmland.toml`.
pub fn sample() -> String {
    let settings: String = Key::ALL.iter().map(|key| setting(*key)).collect();
    let tail = TAIL.replace("{vmm}", &either(Vmm::ALL.map(Vmm::as_str)));
    format!("{HEAD}{settings}{tail}")
}

fn setting(key: Key) -> String {
    let value = Settings::EXAMPLE.written(key).unwrap_or_default();
    let value = match key.is_quoted() {
        true => format!("{value:?}"),
        false => value,
    };
    let text = commented(&key.documentation());
    format!("\n{text}#{} = {value}\n", key.name())
}

fn commented(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines += &line;
            lines.push('\n');
            line = "#".into();
        }
        line.push(' ');
        line += word;
    }
    lines + &line + "\n"
}
