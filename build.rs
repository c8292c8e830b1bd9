// SPDX-License-Identifier: GPL-2.0-only
//! Composes our BPF with the framework's and compiles both, leaving the source
//! tree as it was: everything generated goes to `OUT_DIR`.
//!
//! The framework's builder writes its own sources into the *current directory*
//! and compiles them to `OUT_DIR`; it runs in `OUT_DIR`, and then we compile
//! `bpf/vmland.bpf.c`, which includes the framework's `main.bpf.c`, over it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    bpf::build();
}

fn out_dir() -> std::path::PathBuf {
    std::env::var_os("OUT_DIR")
        .expect("cargo sets OUT_DIR")
        .into()
}

/// Asked for when the script runs: a copied build directory has one compiled elsewhere.
fn source_dir() -> std::path::PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo sets CARGO_MANIFEST_DIR")
        .into()
}

fn fail(why: &str) -> ! {
    eprintln!("error: {why}");
    std::process::exit(1);
}

mod bpf {
    use std::env;
    use std::fs;
    use std::path::Path;
    use std::process::{Command, Stdio, exit};
    use std::time::SystemTime;

    use crate::{fail, out_dir, source_dir};

    /// Set in the process that only writes the framework's sources.
    const FRAMEWORK_ONLY: &str = "VMLAND_FRAMEWORK_ONLY";

    pub fn build() {
        if env::var_os(FRAMEWORK_ONLY).is_some() {
            scx_rustland_core::RustLandBuilder::new()
                .and_then(|mut builder| builder.build())
                .unwrap_or_else(|e| fail(&format!("scx_rustland_core: {e:#}")));
            exit(0);
        }
        println!("cargo:rerun-if-changed=bpf");
        let out = out_dir();
        let bpf = source_dir().join("bpf");
        // .cargo/config.toml points it at bpf/clang, which finds one.
        let clang = env::var("BPF_CLANG").unwrap_or("clang".into());

        framework_sources(&out);
        scheduler_object(&out, &bpf);
        for source in ["classify/kvm", "ipi/ipi", "placement/prefer"] {
            probe_object(source, &out, &bpf, &clang);
        }
    }

    /// Writes the framework's BPF sources and its Rust connector into `out`.
    ///
    /// In a process of its own, for two reasons: the builder writes to the
    /// current directory, and it prints `rerun-if-changed` lines for files that
    /// are not in the package, which would make every build a full one.
    fn framework_sources(out: &Path) {
        fs::create_dir_all(out.join("src")).expect("OUT_DIR is writable");
        let child = Command::new(env::current_exe().expect("a build script is a file"))
            .env(FRAMEWORK_ONLY, "1")
            .current_dir(out)
            .stdout(Stdio::null())
            .status();
        if !child.is_ok_and(|status| status.success()) {
            fail("the sources of scx_rustland_core do not build; its message is above");
        }
        let connector = out.join("src/bpf.rs");
        let mut text = fs::read_to_string(&connector).expect("the builder has written it");
        patch_connector(&mut text);
        fs::write(&connector, text).expect("OUT_DIR is writable");
    }

    /// Inserts what the connector has no parameter for. A connector that reads otherwise
    /// fails the build.
    ///
    /// The connector opens, loads and attaches in one function. Its skeleton could be a
    /// type of ours whose `load()` adds the flag, in some 40 lines; but that `load()` cannot
    /// wait, for it does not see that a signal has come, and cannot return an error of ours.
    /// A copy of the connector would be 500 lines to keep up with every release.
    fn patch_connector(connector: &mut String) {
        add_ops_flags(connector);
        leave_out_hotplug_check(connector);
        add_wait(connector);
        start_handler_without_capabilities(connector);
    }

    /// The connector names the flags of the ops table, and has no parameter for more.
    ///
    /// Without the first the kernel does not call `ops.enqueue()` for a task that is
    /// preempted while migration is disabled, as it is inside a BPF probe. Such a task is
    /// the next one on its CPU, whatever its deadline, and no hand-off can reach it. A vCPU
    /// can be preempted in one of our own probes (bpf/ipi/ipi.bpf.c).
    ///
    /// Without the other one the kernel does not keep the mask of idle CPUs where there is
    /// ops.update_idle().
    fn add_ops_flags(connector: &mut String) {
        const NAMED: &str = "*compat::SCX_OPS_ENQ_LAST |";
        insert(
            connector,
            NAMED,
            " *compat::SCX_OPS_ENQ_MIGRATION_DISABLED | *compat::SCX_OPS_KEEP_BUILTIN_IDLE |",
        );
    }

    /// The connector has the kernel refuse to attach if a CPU went offline or came online
    /// since it opened the object. That is for schedulers which look at the topology
    /// meanwhile. This one does not, and it follows hotplug by ops. 0: no check.
    fn leave_out_hotplug_check(connector: &mut String) {
        const OPENED: &str = "skel.struct_ops.rustland_mut().exit_dump_len = exit_dump_len;";
        insert(
            connector,
            OPENED,
            "skel.struct_ops.rustland_mut().hotplug_seq = 0;",
        );
    }

    /// The connector attaches what it has just loaded. With --standby it waits in between.
    fn add_wait(connector: &mut String) {
        const LOADED: &str = "let mut skel = scx_ops_load!(skel, rustland, uei)?;";
        const WAIT: &str = "crate::standby::before_attaching(&shutdown)?;";
        insert(connector, LOADED, WAIT);
    }

    /// The thread that waits for signals only sets a flag. What the connector does later finds
    /// the handler set.
    fn start_handler_without_capabilities(connector: &mut String) {
        const FLAG: &str = "let shutdown = Arc::new(AtomicBool::new(false));";
        const START: &str = "std::thread::scope(|scope| scope.spawn(|| {
                scx_vmland::threads::give_up_capabilities(\"signals\");
                set_ctrlc_handler(shutdown.clone())
            }).join().expect(\"it does not panic\"))?;";
        insert(connector, FLAG, START);
    }

    fn insert(connector: &mut String, after: &str, what: &str) {
        if connector.matches(after).count() != 1 {
            fail(&format!(
                "the connector of this scx_rustland_core has no \"{after}\", or more than one"
            ));
        }
        *connector = connector.replace(after, &format!("{after}{what}"));
    }

    /// `bpf/vmland.bpf.c`, to the skeleton that the framework's connector opens.
    fn scheduler_object(out: &Path, bpf: &Path) {
        let intf = out.join("all_intf.h");
        let text = format!(
            "#include \"{}\"\n#include \"{}\"\n",
            out.join("intf.h").display(),
            bpf.join("intf.h").display()
        );
        fs::write(&intf, text).expect("OUT_DIR is writable");
        for generated in [&intf, &out.join("intf.h")] {
            make_old(generated);
        }

        let mut builder = scx_cargo::BpfBuilder::new()
            .unwrap_or_else(|e| fail(&format!("cannot set up the BPF build: {e:#}")));
        builder
            .add_include_path(&out.display().to_string())
            .enable_intf(&intf.display().to_string(), "bpf_intf.rs")
            .enable_skel(&bpf.join("vmland.bpf.c").display().to_string(), "bpf");
        builder
            .build()
            .unwrap_or_else(|e| fail(&format!("bpf/vmland.bpf.c does not build: {e:#}")));
    }

    /// The builder asks cargo to watch what it includes. A header that is younger than
    /// the run that wrote it would make the next build a full one, and so on for ever.
    fn make_old(header: &Path) {
        fs::File::options()
            .append(true)
            .open(header)
            .and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH))
            .unwrap_or_else(|e| fail(&format!("{}: {e}", header.display())));
    }

    /// `bpf/SOURCE.bpf.c`, an object that is loaded apart from the scheduler.
    fn probe_object(source: &str, out: &Path, bpf: &Path, clang: &str) {
        let (_, name) = source.rsplit_once('/').expect("it is in a folder");
        let headers = out.join("scx_utils-bpf_h");
        let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
            Ok("aarch64") => "arm64",
            _ => "x86",
        };
        libbpf_cargo::SkeletonBuilder::new()
            .source(bpf.join(format!("{source}.bpf.c")))
            .obj(out.join(format!("{name}.bpf.o")))
            .clang(clang)
            .clang_args([
                format!("-I{}/arch/{arch}", headers.display()),
                format!("-I{}", headers.display()),
                format!("-D__TARGET_ARCH_{arch}"),
                "-mcpu=v4".into(),
            ])
            .build_and_generate(out.join(format!("{name}_skel.rs")))
            .unwrap_or_else(|e| fail(&format!("bpf/{source}.bpf.c does not build: {e:#}")));
    }
}
