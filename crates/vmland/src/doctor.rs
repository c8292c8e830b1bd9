// SPDX-License-Identifier: GPL-2.0-only
//! `vmland doctor`: can this host run the scheduler, and what would help?

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use vmland_base::exit;
use vmland_host::doctor::{self, Finding, Verdict};

use crate::Exit;

/// Say whether this host can run scx_vmland, and what would help
///
/// Each line is "ok"; or "worse": the scheduler runs here, but does less than it could; or
/// "refused": it does not run here. The text says what to do. Nothing is changed. As root it
/// sees what the service sees.
///
/// Exit codes: 0 the scheduler can run here; 1 it cannot, a line is "refused".
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {
    /// As JSON.
    #[arg(long)]
    json: bool,

    /// As labels of a node of Kubernetes, one a line: "scx-vmland/doctor" has the worst of all
    /// verdicts, "scx-vmland/CHECK" that of each check. kubectl label takes them, and so does a
    /// feature file of Node Feature Discovery.
    #[arg(long, conflicts_with = "json")]
    labels: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    /// The worst of all.
    verdict: Verdict,
    findings: &'a [Finding],
}

pub fn run(opts: &Opts) -> Result<()> {
    let findings = doctor::examine(Path::new("/"));
    let verdict = doctor::verdict(&findings);
    let mut out = std::io::stdout().lock();
    if opts.json {
        let report = Report {
            verdict,
            findings: &findings,
        };
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else if opts.labels {
        label(&mut out, "doctor", verdict)?;
        for finding in &findings {
            label(&mut out, finding.check, finding.verdict)?;
        }
    } else {
        writeln!(out, "{}", table(&findings))?;
    }
    match verdict {
        Verdict::Ok | Verdict::Worse => Ok(()),
        Verdict::Refused => Err(Exit(exit::FAILURE).into()),
    }
}

fn label(out: &mut impl Write, name: &str, verdict: Verdict) -> Result<()> {
    Ok(writeln!(out, "scx-vmland/{name}={}", verdict.as_str())?)
}

/// As wide as the terminal.
fn table(findings: &[Finding]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic);
    for finding in findings {
        let check = finding.check.replace('_', " ");
        table.add_row([finding.verdict.as_str(), &check, &finding.text]);
    }
    table.trim_fmt()
}
