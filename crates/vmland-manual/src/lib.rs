// SPDX-License-Identifier: GPL-2.0-only
//! Manual pages and shell completions of a program, made of its command line's definition, so
//! that they cannot say anything else than `--help`.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::{Shell, generate_to};

/// Where pages and completions are, below `share`, as man and the shells look for them.
const MAN: &str = "man/man1";
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions"),
    (Shell::Zsh, "zsh/site-functions"),
    (Shell::Fish, "fish/vendor_completions.d"),
];

/// Writes a page for the program and for each of its commands, and its completions, below
/// `share`, such as `/usr/share`.
///
/// # Errors
///
/// What cannot be written.
pub fn write(mut command: Command, share: &Path) -> io::Result<()> {
    let dir = share.join(MAN);
    fs::create_dir_all(&dir)?;
    // First: completions give every command a command "help", which would have a page each.
    clap_mangen::generate_to(command.clone(), dir)?;
    let name = command.get_name().to_owned();
    for (shell, dir) in COMPLETIONS {
        let dir = share.join(dir);
        fs::create_dir_all(&dir)?;
        let file = generate_to(shell, &mut command, &name, &dir)?;
        if shell == Shell::Bash {
            // It looks for the program's name.
            fs::rename(file, dir.join(&name))?;
        }
    }
    Ok(())
}
