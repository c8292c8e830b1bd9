// SPDX-License-Identifier: GPL-2.0-only
//! Where a comparison goes: the terminal, files, a page; and how far it is.

use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vmland_ab::record::Record;
use vmland_ab::report;
use vmland_ab::run::Progress;

/// Files to write.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Opts {
    /// Write all that was measured, and what it tells, as JSON.
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,

    /// Write the windows' values as CSV, one value a row.
    #[arg(long, value_name = "FILE")]
    export_csv: Option<PathBuf>,

    /// Write the tables as Markdown.
    #[arg(long, value_name = "FILE")]
    export_markdown: Option<PathBuf>,

    /// Write a page with plots, DIR/index.html, which needs nothing else.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

impl Opts {
    /// Makes sure that all can be written, before hours are spent on measuring.
    pub fn check(&self) -> Result<()> {
        if let Some(dir) = &self.report {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
        for file in self.files() {
            File::options()
                .create(true)
                .append(true)
                .open(&file)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }

    fn page(&self) -> Option<PathBuf> {
        self.report.as_ref().map(|dir| dir.join("index.html"))
    }

    fn files(&self) -> impl Iterator<Item = PathBuf> {
        [&self.export_json, &self.export_csv, &self.export_markdown]
            .into_iter()
            .flatten()
            .cloned()
            .chain(self.page())
    }

    pub fn write(&self, record: &Record) -> Result<()> {
        if let Some(file) = &self.export_json {
            let mut json = serde_json::to_string_pretty(record)?;
            json.push('\n');
            write(file, &json)?;
        }
        if let Some(file) = &self.export_csv {
            let mut csv = Vec::new();
            report::csv(record, &mut csv)?;
            write(file, csv)?;
        }
        if let Some(file) = &self.export_markdown {
            write(file, report::markdown(record))?;
        }
        if let Some(file) = self.page() {
            write(&file, report::html(record))?;
            eprintln!("the report: {}", file.display());
        }
        Ok(())
    }
}

fn write(file: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))
}

/// The tables, as wide as the terminal.
pub fn print(record: &Record) -> Result<()> {
    let mut out = std::io::stdout();
    let width = out
        .is_terminal()
        .then(|| console::Term::stdout().size().1)
        .filter(|&columns| columns > 0);
    write!(out, "{}", report::table(record, width))?;
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
