// SPDX-License-Identifier: GPL-2.0-only
//! The settings of VMs: files that are right, files that are wrong, and what comes of them.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::unistd::{getegid, geteuid};
use vmland_identity::Vmm;
use vmland_settings::{
    Caller, Config, Diagnostics, FILE_MAX, Key, Latency, RULES_MAX, Settings, Sources, VmFacts,
    Warning, YieldTo,
};

const MS: u64 = 1_000_000;

/// A directory of its own, without what the umask would allow others.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("vmland-config-{}-{n}", std::process::id()));
        fs::create_dir(&path).expect("a new directory");
        let dir = Self(path);
        dir.chmod("", 0o755);
        dir
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.0.join(name), Permissions::from_mode(mode)).expect("chmod");
    }

    /// Files below `name.d/` come with their directory.
    fn put(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        if let Some((directory, _)) = name.split_once('/') {
            let _ = fs::create_dir(self.0.join(directory));
            self.chmod(directory, 0o755);
        }
        fs::write(self.0.join(name), text).expect("written");
        self.chmod(name, 0o644);
        self
    }

    fn sources(&self) -> Sources {
        Sources {
            file: self.0.join("config.toml"),
            must_exist: true,
            flags: vec![],
            caller: caller(),
            host_cpus: Some(8),
        }
    }

    fn load(&self) -> Result<(Config, Vec<Warning>), Diagnostics> {
        Config::load(&self.sources())
    }

    /// Without the directory's own name.
    fn message(&self, of: impl ToString) -> String {
        of.to_string()
            .replace(&format!("{}/", self.0.display()), "")
    }

    fn error(&self) -> String {
        self.message(self.load().expect_err("it is wrong"))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn caller() -> Caller {
    Caller {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
    }
}

/// For files of the source tree, which may belong to any user.
fn sources_of(file: &Path) -> Sources {
    let metadata = fs::metadata(file).expect("it exists");
    Sources {
        file: file.to_owned(),
        must_exist: true,
        flags: vec![],
        caller: Caller {
            uid: metadata.uid(),
            gid: metadata.gid(),
        },
        host_cpus: Some(8),
    }
}

/// The sample files, and the schema beside them.
fn configs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs")
}

fn vm(name: &str) -> VmFacts {
    VmFacts {
        name: name.into(),
        uuid: None,
        vmm: Vmm::Qemu,
        cgroup: None,
        uid: Some(64055),
        vcpus: 2,
    }
}

/// The files with this ending in a directory, by name.
fn files(directory: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    files.sort();
    files
}

/// Run with VMLAND_BLESS=1, it writes the messages down instead; look at them well.
#[test]
fn broken_files_say_what_was_meant() {
    let broken = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/broken");
    let bless = std::env::var_os("VMLAND_BLESS").is_some();
    let files = files(&broken, "toml");
    assert!(files.len() >= 15, "{files:?}");
    for file in files {
        let error = Config::load(&sources_of(&file)).expect_err(&file.display().to_string());
        let message = format!("{error}\n").replace(&format!("{}/", broken.display()), "");
        let expected = file.with_extension("expected");
        if bless {
            fs::write(&expected, message).expect("written");
            continue;
        }
        let expected = fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(message, expected, "{}", file.display());
    }
}

#[test]
fn the_default_and_the_examples_are_right() {
    let mut samples = files(&configs().join("examples"), "toml");
    assert_eq!(samples.len(), 4);
    samples.push(configs().join("scx_vmland.toml"));
    for file in samples {
        let (config, warnings) = Config::load(&sources_of(&file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(warnings, [], "{}", file.display());
        let vms = [vm("a")];
        assert!(config.warnings_for(&vms).len() >= config.rules().len() / 2);
    }
}

#[test]
fn the_default_sets_nothing_and_shows_every_key() {
    let file = configs().join("scx_vmland.toml");
    let (config, _) = Config::load(&sources_of(&file)).expect("right");
    assert_eq!(config.settings_for(&vm("a")), Settings::default());

    // With the "#" of every line of TOML removed, all is set.
    let text = fs::read_to_string(&file).expect("text");
    let is_toml = |line: &&str| {
        let rest = line.strip_prefix('#').unwrap_or_default();
        rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase())
    };
    let toml: String = text
        .lines()
        .filter(is_toml)
        .map(|line| format!("{}\n", &line[1..]))
        .collect();
    let dir = Dir::new();
    let (config, warnings) = dir
        .put("config.toml", &toml)
        .load()
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, []);
    let settings = config.settings_for(&vm("a"));
    for key in Key::ALL {
        assert!(
            settings.written(*key).is_some(),
            "{} is not shown",
            key.name()
        );
    }
    assert_eq!(
        config
            .settings_for(&VmFacts {
                vcpus: 4,
                ..vm("db-1")
            })
            .weight,
        Some(400)
    );
}

#[test]
fn the_schema_is_up_to_date() {
    let file = configs().join("scx_vmland.schema.json");
    let checked_in = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        checked_in.trim_end(),
        vmland_settings::schema(),
        "run: vmland config schema > configs/scx_vmland.schema.json"
    );
}

#[test]
fn the_sample_is_up_to_date() {
    let file = configs().join("scx_vmland.toml");
    let checked_in = fs::read_to_string(&file).unwrap_or_default();
    assert_eq!(
        checked_in,
        vmland_settings::sample(),
        "run: vmland config sample > configs/scx_vmland.toml"
    );
}

#[test]
fn the_last_word_counts() {
    let dir = Dir::new();
    dir.put(
        "config.toml",
        r#"
            [[vm]]
            match = { name = "web-*" }
            weight = 200
            slice = "3ms"

            [[vm]]
            match = { name = "web-1" }
            weight = 300

            [defaults]
            weight = 50
            latency = "low"
        "#,
    )
    .put(
        "config.d/20-b.toml",
        "[defaults]\nlatency = \"batch\"\nslice = \"1ms\"\n",
    )
    .put(
        "config.d/10-a.toml",
        "[[vm]]\nmatch.name = \"web-2\"\nweight = 400\n",
    )
    .put("config.d/.hidden.toml", "nonsense")
    .put("config.d/README", "nonsense")
    .put("config.d/old.toml.bak", "nonsense");
    let sources = Sources {
        flags: vec![
            "web-3:weight=500,yield_to=ignore".into(),
            "*-3:weight=600".into(),
        ],
        ..dir.sources()
    };
    let (config, warnings) = Config::load(&sources).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, []);

    let settings = |name| config.settings_for(&vm(name));
    assert_eq!(
        settings("db"),
        Settings {
            weight: Some(50),
            slice_ns: Some(MS),
            latency: Some(Latency::Batch),
            ..Settings::default()
        }
    );
    assert_eq!(settings("web-0").weight, Some(200));
    assert_eq!(settings("web-0").slice_ns, Some(3 * MS));
    assert_eq!(settings("web-1").weight, Some(300));
    assert_eq!(settings("web-2").weight, Some(400));
    assert_eq!(settings("web-3").weight, Some(600));
    assert_eq!(settings("web-3").yield_to, Some(YieldTo::Ignore));

    let origin = |name, key| {
        let vm = vm(name);
        let place = config.explain(&vm).origin(key);
        place.map(|place| dir.message(place)).unwrap_or_default()
    };
    assert_eq!(origin("db", Key::weight), "config.toml:12:13");
    assert_eq!(origin("db", Key::slice), "config.d/20-b.toml:3:1");
    assert_eq!(origin("db", Key::yield_to), "");
    assert_eq!(origin("web-1", Key::slice), "config.toml:5:13");
    assert_eq!(origin("web-3", Key::weight), "--vm '*-3:weight=600'");
    assert_eq!(
        origin("web-3", Key::yield_to),
        "--vm 'web-3:weight=500,yield_to=ignore'"
    );

    let rule = Config::parse_vm_flag("web-*:weight=700").expect("right");
    let config = config.with(rule);
    assert_eq!(config.settings_for(&vm("web-3")).weight, Some(700));
    assert_eq!(config.settings_for(&vm("db")).weight, Some(50));
}

#[test]
fn all_of_match_must_hold() {
    let dir = Dir::new();
    dir.put(
        "config.toml",
        r#"
            [[vm]]
            match = { uuid = "8F2E4E1C-*" }
            weight = 1
            [[vm]]
            match = { vmm = ["crosvm", "firecracker"] }
            weight = 2
            [[vm]]
            match = { cgroup = '/machine.slice/machine-qemu\x2d*', vcpus = "4-8" }
            weight = 3
            [[vm]]
            match = { name = ["a*", "*z"], cgroup = ["/x/*", "/y/*"], vmm = "qemu", vcpus = 2 }
            weight = 4
        "#,
    );
    let (config, _) = dir.load().unwrap_or_else(|e| panic!("{e}"));
    let weight = |vm: VmFacts| config.settings_for(&vm).weight;
    let in_cgroup = |name, cgroup: &str| VmFacts {
        cgroup: Some(cgroup.into()),
        ..vm(name)
    };
    assert_eq!(weight(vm("m")), None);
    let uuid = Some("8f2e4e1c-6c0b-4b55-9a43-0c6e7e6b9d11".into());
    assert_eq!(weight(VmFacts { uuid, ..vm("m") }), Some(1));
    assert_eq!(
        weight(VmFacts {
            vmm: Vmm::Crosvm,
            ..vm("m")
        }),
        Some(2)
    );
    let scope = r"/machine.slice/machine-qemu\x2d1\x2dweb.scope";
    assert_eq!(weight(in_cgroup("m", scope)), None);
    let large = VmFacts {
        vcpus: 8,
        ..in_cgroup("m", scope)
    };
    assert_eq!(weight(large), Some(3));
    assert_eq!(weight(in_cgroup("az", "/x/1")), Some(4));
    assert_eq!(weight(in_cgroup("zz", "/y/1/2")), Some(4));
    assert_eq!(weight(in_cgroup("m", "/x/1")), None);
    assert_eq!(weight(in_cgroup("az", "/z/1")), None);
    assert_eq!(weight(vm("az")), None);
    assert_eq!(
        weight(VmFacts {
            vcpus: 3,
            ..in_cgroup("az", "/x/1")
        }),
        None
    );
}

/// A name is the VM's own word: what is promised to a user's VMs is not had by another user's
/// that calls itself the same, nor by one whose user is unknown.
#[test]
fn a_name_is_no_proof_of_whose_vm_it_is() {
    let dir = Dir::new();
    dir.put(
        "config.toml",
        r#"
            [[vm]]
            match = { name = "db-*", uid = [64055, "100000-165535"] }
            weight = 400
            [[vm]]
            match = { name = "db-*", cgroup = "/machine.slice/*" }
            cap = 2
        "#,
    );
    let (config, _) = dir.load().unwrap_or_else(|e| panic!("{e}"));
    let of = |uid, cgroup: &str| {
        let cgroup = Some(cgroup.into());
        let facts = VmFacts {
            uid,
            cgroup,
            ..vm("db-1")
        };
        let settings = config.settings_for(&facts);
        (settings.weight, settings.cap_millicpus)
    };
    let machine = "/machine.slice/machine-qemu.scope";
    assert_eq!(of(Some(64055), machine), (Some(400), Some(2000)));
    assert_eq!(of(Some(165_535), "/"), (Some(400), None));
    let delegated = "/user.slice/user-1000.slice/user@1000.service/machine.slice/x";
    for uid in [Some(1000), Some(165_536), Some(0), None] {
        assert_eq!(of(uid, delegated), (None, None), "{uid:?}");
    }
}

/// As long as a VM is not identified, no rule is for it that asks who it is.
#[test]
fn a_vm_that_is_not_identified_fits_no_rule_that_asks_who_it_is() {
    for asks in [
        r#"name = "*-*""#,
        r#"uuid = "*""#,
        r#"vmm = "qemu""#,
        r#"cgroup = "*""#,
        "uid = 64055",
    ] {
        let dir = Dir::new();
        let rule = format!("[[vm]]\nmatch = {{ {asks}, vcpus = 2 }}\nweight = 400\n");
        dir.put("config.toml", rule);
        let (config, _) = dir.load().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(config.settings_for_any(2).weight, None, "{asks}");
    }
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let dir = Dir::new();
    dir.put(
        "config.toml",
        r#"
[defaults]
slice = "5ms"
[[vm]]
match = { name = ["web-*", "wbe-*"] }
slice_min = "8ms"
[[vm]]
match = { name = "web-*", vcpus = ">=64" }
weight = 2
[[vm]]
match = { vmm = "crosvm" }
weight = 3
[[vm]]
match = { name = ["web-*", "wbe-*"] }
slice_min = "9ms"
[[vm]]
match = { name = "web-1" }
"#,
    );
    let (config, warnings) = dir.load().unwrap_or_else(|e| panic!("{e}"));
    let lines = |warnings: &[Warning]| -> Vec<_> {
        warnings
            .iter()
            .map(|warning| dir.message(warning))
            .collect()
    };
    assert_eq!(
        lines(&warnings),
        [
            "config.toml:16:1: the rule sets nothing",
            "config.toml:6:1: slice_min never counts: config.toml:15:1 sets it for the same VMs",
        ]
    );
    assert_eq!(
        lines(&config.warnings_for(&[vm("web-1")])),
        [
            "config.toml:5:28: no VM's name matches \"wbe-*\"",
            "config.toml:7:1: the rule matches no VM",
            "config.toml:10:1: the rule matches no VM",
            "config.toml:14:28: no VM's name matches \"wbe-*\"",
            "config.toml:15:1: for \"web-1\", slice_min = \"9ms\" is longer than slice = \"5ms\" (config.toml:3:1); it gets \"5ms\" for both",
        ]
    );
    // The shorter one holds, and its origin is where it stands.
    let web = vm("web-1");
    let explained = config.explain(&web);
    assert_eq!(explained.settings.slice_min_ns, Some(5 * MS));
    assert_eq!(
        explained.origin(Key::slice_min),
        explained.origin(Key::slice)
    );
}

#[test]
fn every_file_and_flag_is_checked() {
    let dir = Dir::new();
    dir.put("config.toml", "[defaults]\nweight = 0\n")
        .put("config.d/a.toml", "[defaults]\nslice = 9\n");
    let sources = Sources {
        flags: vec!["a:slice=1s".into(), "b:weight=1".into(), "c".into()],
        ..dir.sources()
    };
    let errors = dir.message(Config::load(&sources).expect_err("wrong"));
    let starts: Vec<_> = errors.lines().map(|line| line.split(": ").next()).collect();
    assert_eq!(
        starts,
        [
            Some("config.toml:2:10"),
            Some("config.d/a.toml:2:9"),
            Some("--vm 'a:slice=1s'"),
            Some("--vm 'c'"),
        ]
    );
}

#[test]
fn a_file_that_is_not_there() {
    let dir = Dir::new();
    assert_eq!(dir.error(), "config.toml: there is no such file");
    let sources = Sources {
        must_exist: false,
        ..dir.sources()
    };
    let (config, _) = Config::load(&sources).expect("right");
    assert_eq!(config.settings_for(&vm("a")), Settings::default());
    dir.put("config.d/a.toml", "[defaults]\nweight = 7\n");
    let (config, _) = Config::load(&sources).expect("right");
    assert_eq!(config.settings_for(&vm("a")).weight, Some(7));
}

#[test]
fn files_that_others_may_write() {
    let dir = Dir::new();
    dir.put("config.toml", "").put("config.d/a.toml", "");
    assert!(dir.load().is_ok());

    dir.chmod("config.toml", 0o646);
    let helps = "may be written by anybody (mode 0646); chmod o-w helps";
    assert_eq!(dir.error(), format!("config.toml: {helps}"));
    dir.chmod("config.toml", 0o644);

    dir.chmod("config.d/a.toml", 0o602);
    assert!(
        dir.error()
            .starts_with("config.d/a.toml: may be written by anybody")
    );
    dir.chmod("config.d/a.toml", 0o600);

    dir.chmod("config.d", 0o757);
    assert!(
        dir.error()
            .starts_with("config.d: may be written by anybody")
    );
    dir.chmod("config.d", 0o755);

    dir.chmod("", 0o777);
    assert!(
        dir.error()
            .contains(": may be written by anybody (mode 0777)")
    );
    dir.chmod("", 0o1777);
    assert!(dir.load().is_ok());

    let stranger = Sources {
        caller: Caller {
            uid: geteuid().as_raw() + 1,
            gid: getegid().as_raw() + 1,
        },
        ..dir.sources()
    };
    if !geteuid().is_root() {
        let error = Config::load(&stranger).expect_err("not his").to_string();
        assert!(
            error.contains("it has to belong to root or the caller"),
            "{error}"
        );
    }
}

#[test]
fn links_are_followed_with_care() {
    let (dir, other) = (Dir::new(), Dir::new());
    other.put("real.toml", "[defaults]\nweight = 7\n");
    std::os::unix::fs::symlink(other.0.join("real.toml"), dir.0.join("config.toml"))
        .expect("a link");
    assert!(dir.load().is_ok());
    other.chmod("", 0o777);
    assert!(dir.error().contains("may be written by anybody"));
}

#[test]
fn things_that_are_no_files() {
    let dir = Dir::new();
    let file = dir.0.join("config.toml");
    fs::create_dir(&file).expect("a directory");
    assert_eq!(
        dir.error(),
        "config.toml: is a directory; a file is expected"
    );
    fs::remove_dir(&file).expect("removed");

    // Nobody will ever write to it.
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    assert_eq!(dir.error(), "config.toml: is no regular file");

    let dir = Dir::new();
    dir.put("config.toml", "").put("config.d", "");
    assert!(
        dir.error().starts_with("config.d: cannot be read: "),
        "{}",
        dir.error()
    );
}

#[test]
fn files_that_are_too_long() {
    let dir = Dir::new();
    let file = File::create(dir.0.join("config.toml")).expect("a file");
    dir.chmod("config.toml", 0o644);
    file.set_len(100 << 20).expect("a sparse file");
    assert_eq!(
        dir.error(),
        "config.toml: is 100 MiB long; at most 4 MiB are read"
    );
    file.set_len(FILE_MAX + 1).expect("a sparse file");
    assert_eq!(
        dir.error(),
        "config.toml: is 5 MiB long; at most 4 MiB are read"
    );

    let comment = "#".repeat(FILE_MAX as usize);
    assert!(dir.put("config.toml", comment).load().is_ok());
}

#[test]
fn too_many_rules() {
    let rule = "[[vm]]\nmatch.name = \"a\"\nweight = 1\n";
    let dir = Dir::new();
    dir.put("config.toml", rule.repeat(RULES_MAX));
    assert!(dir.load().is_ok());
    dir.put("config.d/b.toml", rule.repeat(2));
    assert_eq!(
        dir.error(),
        "config.d/b.toml:1:1: is rule 10001 of 10002; at most 10000 are allowed"
    );
}

#[test]
fn hostile_text_ends_in_messages() {
    for text in [
        "[".repeat(1 << 20),
        "a.".repeat(1 << 19),
        "a = {".repeat(1 << 18),
        format!("[[vm]]\nmatch.name = \"{}\"", "*a".repeat(10_000)),
        format!("{} = 1", "k".repeat(1 << 20)),
        format!("[defaults]\nweight = {}", "9".repeat(1 << 20)),
        "\u{0}".repeat(1 << 10),
        "\r\r\r".into(),
    ] {
        let dir = Dir::new();
        let errors = dir.put("config.toml", text).error();
        let longest = errors.lines().map(str::len).max();
        assert!(longest.is_some_and(|longest| longest < 1000));
    }
}

/// A reload: read, check, and the settings of every VM. How it grows is the same on a
/// fast machine and on a slow one.
#[cfg(not(debug_assertions))]
mod speed {
    use super::*;
    use std::fmt::Write;
    use std::time::Duration;

    use nix::time::{ClockId, clock_gettime};

    /// Far more than it takes, also on a slow and busy machine.
    const LIMIT: Duration = Duration::from_secs(1);
    const VMS: usize = 5000;

    /// How much larger the large configuration is than the small one, in rules and in VMs.
    const LARGER: u32 = 10;

    /// Work in proportion takes `LARGER` times as long, every VM against every rule the
    /// square of that. This is halfway, for caches and a busy machine are not in proportion.
    const GROWTH_MAX: u32 = 3 * LARGER;

    /// A match by its number.
    type Shape = (&'static str, fn(usize) -> String);

    const SHAPES: [Shape; 6] = [
        ("names", |i| format!("name = \"vm-{i}-k\"")),
        ("beginnings", |i| format!("name = \"vm-{i}-*\"")),
        ("ends", |i| format!("cgroup = \"*/{i}.scope\"")),
        ("middles", |i| format!("name = \"v*-{i}-*[a-z]\"")),
        ("shared", |i| {
            format!("cgroup = \"/qemu.slice/*\", name = \"*-{i}-?\"")
        }),
        ("mixed", |i| match i % 4 {
            0 => format!("uuid = \"*-{i:012x}\""),
            1 => format!("name = [\"vm-{i}-k\", \"vm-{i}-x\"], vmm = \"qemu\""),
            2 => format!("cgroup = \"/qemu.slice/{i}*\", vcpus = \">=2\""),
            _ => format!("name = \"?m-{i}-*\", cgroup = \"*.scope\""),
        }),
    ];

    fn vms(n: usize) -> Vec<VmFacts> {
        (0..n)
            .map(|i| VmFacts {
                uuid: Some(format!("8f2e4e1c-6c0b-4b55-9a43-{i:012x}")),
                cgroup: Some(format!("/qemu.slice/{i}.scope")),
                ..vm(&format!("vm-{i}-k"))
            })
            .collect()
    }

    /// CPU time that this thread has used: what else the machine has to do does not count.
    fn used() -> Duration {
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
            .expect("every Linux has it")
            .into()
    }

    /// A configuration, its VMs, and the least CPU time that each of the two took.
    struct Reload {
        dir: Dir,
        vms: Vec<VmFacts>,
        load: Duration,
        settle: Duration,
    }

    impl Reload {
        /// A `part` of the most that there may be.
        fn new(rule: fn(usize) -> String, part: u32) -> Self {
            let mut text = "[defaults]\nslice = \"5ms\"\n".to_owned();
            for i in 0..RULES_MAX / part as usize {
                let weight = i % 10_000 + 1;
                writeln!(text, "[[vm]]\nmatch = {{ {} }}\nweight = {weight}", rule(i))
                    .expect("text");
            }
            let dir = Dir::new();
            dir.put("config.toml", &text);
            Self {
                dir,
                vms: vms(VMS / part as usize),
                load: Duration::MAX,
                settle: Duration::MAX,
            }
        }

        fn run(&mut self) {
            let start = used();
            let (config, _) = self.dir.load().unwrap_or_else(|e| panic!("{e}"));
            self.load = self.load.min(used() - start);

            let start = used();
            let settings: Vec<_> = self.vms.iter().map(|vm| config.settings_for(vm)).collect();
            self.settle = self.settle.min(used() - start);

            assert!(settings.iter().all(|s| s.slice_ns == Some(5 * MS)));
            let weighted = settings.iter().filter(|s| s.weight.is_some()).count();
            assert!(weighted > settings.len() / 10, "{weighted} have a weight");
        }
    }

    #[test]
    fn time_grows_in_proportion_to_rules_and_vms() {
        for (shape, rule) in SHAPES {
            let (mut small, mut large) = (Reload::new(rule, LARGER), Reload::new(rule, 1));
            for _ in 0..10 {
                small.run();
                large.run();
            }
            for (what, small, large) in [
                ("load", small.load, large.load),
                ("settings", small.settle, large.settle),
            ] {
                println!("{shape}: {what}: {small:?}, {LARGER} times as much: {large:?}");
                let most = small * GROWTH_MAX;
                assert!(large < most, "{shape}: {what}: {small:?}, then {large:?}");
            }
            assert!(large.load + large.settle < LIMIT, "{shape}");
        }
    }
}
