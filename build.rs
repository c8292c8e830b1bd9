// SPDX-License-Identifier: GPL-2.0-only
//! Composes our BPF with the framework's and compiles both, leaving the source
//! tree as it was: everything generated goes to `OUT_DIR`.
//!
//! The framework's builder writes its own sources into the *current directory*
//! and compiles them to `OUT_DIR`; it runs in `OUT_DIR`, and then we compile `bpf/vmland.bpf.c`, which includes the framework's
//! `main.bpf.c`, over it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "scheduler")]
    bpf::build();
}

#[cfg(feature = "scheduler")]
mod bpf {
    use std::env;
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio, exit};

    /// Set in the process that only writes the framework's sources.
    const FRAMEWORK_ONLY: &str = "VMLAND_FRAMEWORK_ONLY";

    pub fn build() {
        if env::var_os(FRAMEWORK_ONLY).is_some() {
            scx_rustland_core::RustLandBuilder::new()
                .and_then(|mut builder| builder.build())
                .unwrap_or_else(|e| fail(&format!("scx_rustland_core: {e:#}")));
            return;
        }
        println!("cargo:rerun-if-changed=bpf");
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
        let bpf = Path::new(env!("CARGO_MANIFEST_DIR")).join("bpf");
        // .cargo/config.toml points it at bpf/clang, which finds one.
        let clang = env::var("BPF_CLANG").unwrap_or("clang".into());

        framework_sources(&out);
        scheduler_object(&out, &bpf);
        kvm_object(&out, &bpf, &clang);
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

    /// `bpf/kvm.bpf.c`, loaded apart from the scheduler whenever KVM is there.
    fn kvm_object(out: &Path, bpf: &Path, clang: &str) {
        let headers = out.join("scx_utils-bpf_h");
        let arch = match env::var("CARGO_CFG_TARGET_ARCH").as_deref() {
            Ok("aarch64") => "arm64",
            _ => "x86",
        };
        libbpf_cargo::SkeletonBuilder::new()
            .source(bpf.join("kvm.bpf.c"))
            .obj(out.join("kvm.bpf.o"))
            .clang(clang)
            .clang_args([
                format!("-I{}/arch/{arch}", headers.display()),
                format!("-I{}", headers.display()),
                format!("-D__TARGET_ARCH_{arch}"),
                "-mcpu=v4".into(),
            ])
            .build_and_generate(out.join("kvm_skel.rs"))
            .unwrap_or_else(|e| fail(&format!("bpf/kvm.bpf.c does not build: {e:#}")));
    }

    fn fail(why: &str) -> ! {
        eprintln!("error: {why}");
        exit(1);
    }
}
