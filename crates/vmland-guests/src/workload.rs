// SPDX-License-Identifier: GPL-2.0-only
//! A program of the host's for the guests' load `run`: what it needs, as an
//! archive that their kernel unpacks over their user space.
//!
//! | in the guest | what it is |
//! | --- | --- |
//! | `/workload` | the command's words, each ended by a NUL |
//! | `/bin/NAME` | the program |
//! | `/lib/SONAME` | each of its libraries, for `LD_LIBRARY_PATH` |
//! | its loader, and the files given | at their paths on the host |
//!
//! Which libraries a program needs, its own loader tells (`ld.so --list`): that
//! is what `ldd` asks too, which small systems do not have.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use goblin::elf::Elf;
use nix::unistd::{chdir, chroot};

use super::archive;
use super::preflight::is_program;
use vmland_base::exit;

/// Where the guest looks for the command, and `load.c` too.
const COMMAND: &str = "/workload";

/// What is to be packed.
#[derive(Clone, Debug)]
pub struct Request {
    /// A program and its arguments, quoted as for a shell; no shell runs them.
    pub command: String,
    /// More files that it needs, as `FILE` or `FILE:DEST`; DEST is absolute, and
    /// FILE's own path unless given.
    pub files: Vec<String>,
    /// Where program, libraries and files are; if not `/`, root alone may ask.
    pub root: PathBuf,
}

/// Why a workload cannot be packed. `Display` says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("A guest with the load run needs a program. Name one (--workload COMMAND).")]
    Missing,

    #[error("No guest runs the workload. Give one the load run (--guests run,run).")]
    Unused,

    #[error("--workload {0:?} is no command: close its quotes, and name a program first.")]
    BadCommand(String),

    #[error("--workload-file {0}: expected FILE or FILE:DEST, with a DEST such as /etc/name.")]
    BadFile(String),

    #[error("There is no program {program:?} in {}. Install it, or name its file.", root.display())]
    NoProgram { program: String, root: PathBuf },

    #[error("{} is no ELF program, and guests have no interpreters. Name a binary.", .0.display())]
    NotElf(PathBuf),

    #[error("The libraries of {} cannot be told: {why}. Install what is missing.", program.display())]
    Libraries { program: PathBuf, why: String },

    #[error("Cannot read {}: {source}.", path.display())]
    Unreadable { path: PathBuf, source: io::Error },

    #[error("Cannot pack the workload: {0}.")]
    Pack(io::Error),
}

impl Error {
    /// The exit code for this error, one of [`exit`].
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Missing | Error::Unused | Error::BadCommand(_) | Error::BadFile(_) => {
                exit::USAGE
            }
            Error::NoProgram { .. } | Error::NotElf(_) | Error::Libraries { .. } => {
                exit::UNAVAILABLE
            }
            Error::Unreadable { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => exit::NOPERM,
                _ => exit::UNAVAILABLE,
            },
            Error::Pack(_) => exit::FAILURE,
        }
    }
}

/// The archive.
///
/// # Errors
///
/// The first [`Error`], but neither [`Error::Missing`] nor [`Error::Unused`].
pub fn pack(request: &Request) -> Result<Vec<u8>, Error> {
    let root = &request.root;
    let mut words = shlex::split(&request.command)
        .filter(|words| !words.is_empty())
        .ok_or_else(|| Error::BadCommand(request.command.clone()))?;
    let program = find(&words[0], root)?;
    let content = read(root, &program)?;

    let mut contents = BTreeMap::new();
    for file in &request.files {
        let (source, dest) = source_and_dest(file, root)?;
        contents.insert(dest, read(root, &source)?);
    }
    let loader = loader_of(&content).ok_or_else(|| Error::NotElf(program.clone()))?;
    if let Some(loader) = loader {
        for (soname, library) in libraries(&loader, &program, root)? {
            contents.insert(Path::new("/lib").join(soname), read(root, &library)?);
        }
        let loader_content = read(root, &loader)?;
        contents.insert(loader, loader_content);
    }
    let name = Path::new("/bin").join(program.file_name().unwrap_or_default());
    words[0] = name.display().to_string();
    contents.insert(name, content);
    contents.insert(COMMAND.into(), (words.join("\0") + "\0").into_bytes());
    archive::pack(&contents).map_err(Error::Pack)
}

/// The program as a shell finds it, but in `root`.
fn find(name: &str, root: &Path) -> Result<PathBuf, Error> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![absolute(name, root)]
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|dir| dir.join(name)).collect()
    };
    candidates
        .into_iter()
        .find(|file| is_program(&below(root, file)))
        .ok_or_else(|| Error::NoProgram {
            program: name.to_owned(),
            root: root.to_owned(),
        })
}

/// Reads `FILE` or `FILE:DEST`.
fn source_and_dest(text: &str, root: &Path) -> Result<(PathBuf, PathBuf), Error> {
    let (source, dest) = match text.split_once(':') {
        Some((source, dest)) => (source, PathBuf::from(dest)),
        None => (text, absolute(text, root)),
    };
    // Only names after the root: the kernel that unpacks it follows no dots.
    let mut parts = dest.components();
    let is_file = parts.next() == Some(Component::RootDir)
        && parts.next_back().is_some()
        && dest
            .components()
            .skip(1)
            .all(|part| matches!(part, Component::Normal(_)))
        && !text.ends_with('/');
    if source.is_empty() || !is_file {
        return Err(Error::BadFile(text.to_owned()));
    }
    Ok((absolute(source, root), dest))
}

/// The loader (`PT_INTERP`) of a program, which a static one has not. None if the program is
/// no ELF file.
///
/// goblin parses all tables of the file for this one segment: 0.02 ms for a shell, 1 ms for
/// a program of 70 MB. By hand it takes the offsets of two classes and two byte orders.
fn loader_of(program: &[u8]) -> Option<Option<PathBuf>> {
    let elf = Elf::parse(program).ok()?;
    Some(elf.interpreter.map(PathBuf::from))
}

/// Its libraries by soname, as its loader finds them; the loader itself is not among
/// them.
fn libraries(
    loader: &Path,
    program: &Path,
    root: &Path,
) -> Result<BTreeMap<String, PathBuf>, Error> {
    let untold = |why: String| Error::Libraries {
        program: program.to_owned(),
        why,
    };
    let mut list = Command::new(loader);
    list.arg("--list").arg(program);
    if root != Path::new("/") {
        let root = root.to_owned();
        // SAFETY: it only makes system calls, which a forked child may.
        unsafe { list.pre_exec(move || Ok(chroot(&root).and_then(|()| chdir("/"))?)) };
    }
    let output = list
        .output()
        .map_err(|e| untold(format!("{}: {e}", loader.display())))?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        return Err(untold(message.trim().to_owned()));
    }
    listed(&String::from_utf8_lossy(&output.stdout))
        .map_err(|soname| untold(format!("{soname} is not found")))
}

/// Reads the loader's list: `SONAME => PATH (ADDRESS)`. Lines without a path are the
/// loader itself and the kernel's vDSO. The error is the soname that was not found.
fn listed(text: &str) -> Result<BTreeMap<String, PathBuf>, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once(" => "))
        .filter(|(soname, _)| !soname.contains('/'))
        .map(|(soname, found)| match found.rsplit_once(" (0x") {
            Some((path, _)) => Ok((soname.to_owned(), path.into())),
            None => Err(soname.to_owned()),
        })
        .collect()
}

/// A relative path is one of the current directory, which no other root has.
fn absolute(path: &str, root: &Path) -> PathBuf {
    let here = match root == Path::new("/") {
        true => env::current_dir().unwrap_or_default(),
        false => "/".into(),
    };
    here.join(path)
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn read(root: &Path, path: &Path) -> Result<Vec<u8>, Error> {
    let path = below(root, path);
    fs::read(&path).map_err(|source| Error::Unreadable { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// As in `st_mode`.
    const FILE: u32 = 0o100_755;
    const DIRECTORY: u32 = 0o040_755;

    fn request(command: &str, files: &[&str]) -> Request {
        Request {
            command: command.into(),
            files: files.iter().map(|&file| file.into()).collect(),
            root: "/".into(),
        }
    }

    /// Name, mode and content of what is in an archive, in its order.
    fn unpacked(mut archive: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut entries = Vec::new();
        loop {
            let mut reader = cpio::NewcReader::new(archive).unwrap();
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            if reader.entry().is_trailer() {
                return entries;
            }
            let mut content = Vec::new();
            reader.read_to_end(&mut content).unwrap();
            entries.push((name, mode, content));
            archive = reader.finish().unwrap();
        }
    }

    #[test]
    fn a_program_with_its_libraries_and_files() {
        let packed = pack(&request(
            "sh -c 'exit 3' ''",
            &["/etc/passwd", "/etc/group:/a/b/c"],
        ));
        let entries = unpacked(&packed.unwrap());
        let content = |name: &str| {
            let entry = entries
                .iter()
                .find(|(n, mode, _)| n == name && *mode == FILE);
            &entry.unwrap_or_else(|| panic!("no file {name}")).2
        };
        assert_eq!(content("workload"), b"/bin/sh\0-c\0exit 3\0\0");
        assert_eq!(content("etc/passwd"), &fs::read("/etc/passwd").unwrap());
        assert_eq!(content("a/b/c"), &fs::read("/etc/group").unwrap());
        let shell = content("bin/sh");
        let elf = Elf::parse(shell).unwrap();
        content(elf.interpreter.unwrap().trim_start_matches('/'));
        for soname in &elf.libraries {
            let library = content(&format!("lib/{soname}"));
            assert_eq!(Elf::parse(library).unwrap().soname, Some(*soname));
        }

        for (i, (name, _, _)) in entries.iter().enumerate() {
            if let Some((parent, _)) = name.rsplit_once('/') {
                let before = &entries[..i];
                let made = before
                    .iter()
                    .any(|(n, mode, _)| n == parent && *mode == DIRECTORY);
                assert!(made, "{name} before its directory");
            }
        }
    }

    #[test]
    fn a_static_program_is_alone() {
        let load = concat!(env!("OUT_DIR"), "/load");
        let entries = unpacked(&pack(&request(&format!("{load} idle"), &[])).unwrap());
        let names: Vec<_> = entries.iter().map(|(name, ..)| &name[..]).collect();
        assert_eq!(names, ["bin", "bin/load", "workload"]);
        assert_eq!(entries[2].2, b"/bin/load\0idle\0");
    }

    #[test]
    fn another_root() {
        let root = Path::new(env!("OUT_DIR"));
        let packed = pack(&Request {
            root: root.into(),
            ..request("/load", &["/load:/copy"])
        });
        let entries = unpacked(&packed.unwrap());
        let names: Vec<_> = entries.iter().map(|(name, ..)| &name[..]).collect();
        assert_eq!(names, ["bin", "bin/load", "copy", "workload"]);
    }

    #[test]
    fn what_cannot_be_packed() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/host/qemu");
        for (command, file, code, says) in [
            ("", "/etc/passwd", exit::USAGE, "name a program"),
            ("sh 'x", "/etc/passwd", exit::USAGE, "quotes"),
            (
                "no-such-program",
                "/etc/passwd",
                exit::UNAVAILABLE,
                "no-such-program",
            ),
            (
                "/etc/passwd",
                "/etc/passwd",
                exit::UNAVAILABLE,
                "no program",
            ),
            (script, "/etc/passwd", exit::UNAVAILABLE, "no ELF"),
            ("sh", "/no/such/file", exit::UNAVAILABLE, "/no/such/file"),
            ("sh", "/etc/passwd:etc/passwd", exit::USAGE, "DEST"),
            ("sh", "/etc/passwd:", exit::USAGE, "DEST"),
            ("sh", "/etc/passwd:/", exit::USAGE, "DEST"),
            ("sh", "/etc/passwd:/x/", exit::USAGE, "DEST"),
            ("sh", "/etc/passwd:/x/../y", exit::USAGE, "DEST"),
            ("sh", ":/x", exit::USAGE, "FILE"),
            ("sh", "", exit::USAGE, "FILE"),
        ] {
            let error = pack(&request(command, &[file])).unwrap_err();
            assert_eq!(error.exit_code(), code, "{command} {file}: {error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn lists_of_libraries() {
        let list = "\tlinux-vdso.so.1 (0x00007fff)\n\
            \tlibc.so.6 => /lib/with space/libc.so.6 (0x00007f5a)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x00007f5b)\n";
        let found = BTreeMap::from([("libc.so.6".to_owned(), "/lib/with space/libc.so.6".into())]);
        assert_eq!(listed(list), Ok(found));
        assert_eq!(
            listed("\tlibx.so.1 => not found\n"),
            Err("libx.so.1".into())
        );
        assert_eq!(listed(""), Ok(BTreeMap::new()));
    }
}
