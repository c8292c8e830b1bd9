// SPDX-License-Identifier: GPL-2.0-only
//! Writes the reports of a comparison to files and to the terminal, and shows its progress.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vmland_ab::report::export::{FORMATS, FileFormat, Target};
use vmland_ab::report::{self, Model};
use vmland_ab::run::Progress;

/// Files to write, one option for each export format.
pub struct Opts(Vec<Export>);

struct Export {
    format: &'static FileFormat,
    file: PathBuf,
    /// To be made.
    directory: Option<PathBuf>,
}

impl clap::Args for Opts {
    fn augment_args(command: Command) -> Command {
        FORMATS.iter().fold(command, |command, format| {
            let value = match format.target {
                Target::File => "FILE",
                Target::Directory(_) => "DIR",
            };
            command.arg(
                Arg::new(format.option)
                    .long(format.option)
                    .value_name(value)
                    .value_parser(value_parser!(PathBuf))
                    .help(format.help),
            )
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Opts {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let export = |&format: &&'static FileFormat| {
            let path: PathBuf = matches.get_one(format.option).cloned()?;
            let (file, directory) = match format.target {
                Target::File => (path, None),
                Target::Directory(name) => (path.join(name), Some(path)),
            };
            Some(Export {
                format,
                file,
                directory,
            })
        };
        Ok(Self(FORMATS.iter().filter_map(export).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Opts {
    /// Makes sure that all files can be written, before hours are spent on measuring.
    pub fn check(&self) -> Result<()> {
        for export in &self.0 {
            if let Some(dir) = &export.directory {
                fs::create_dir_all(dir)
                    .with_context(|| format!("cannot make {}", dir.display()))?;
            }
            File::options()
                .create(true)
                .append(true)
                .open(&export.file)
                .with_context(|| format!("cannot write {}", export.file.display()))?;
        }
        Ok(())
    }

    pub fn write(&self, model: &Model) -> Result<()> {
        for Export {
            format,
            file,
            directory,
        } in &self.0
        {
            fs::write(file, (format.render)(model))
                .with_context(|| format!("cannot write {}", file.display()))?;
            if directory.is_some() {
                eprintln!("the report: {}", file.display());
            }
        }
        Ok(())
    }
}

/// The tables, as wide as the terminal.
pub fn print(model: &Model) -> Result<()> {
    let mut out = std::io::stdout();
    let width = out
        .is_terminal()
        .then(|| console::Term::stdout().size().1)
        .filter(|&columns| columns > 0);
    write!(out, "{}", report::terminal(model, width))?;
    Ok(())
}

/// A bar on a terminal; elsewhere a line for each window.
pub struct Meter {
    bar: ProgressBar,
    per_window: Duration,
}

impl Meter {
    pub fn new(per_window: Duration) -> Self {
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} windows, {msg}")
            .expect("a fixed template");
        bar.set_style(style);
        Self { bar, per_window }
    }

    pub fn tell(&self, progress: Progress) {
        let left = self.per_window * (progress.windows - progress.done) as u32;
        let left = indicatif::HumanDuration(left);
        let message = format!("about {left} left, now {}", progress.arm);
        if self.bar.is_hidden() {
            let window = progress.done + 1;
            eprintln!("window {window} of {}: {message}", progress.windows);
            return;
        }
        self.bar.set_length(progress.windows as u64);
        self.bar.set_position(progress.done as u64);
        self.bar.set_message(message);
        self.bar.tick();
    }

    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}
