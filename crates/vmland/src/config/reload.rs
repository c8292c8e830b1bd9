// SPDX-License-Identifier: GPL-2.0-only
//! `vmland config reload`: has the scheduler read its files anew.

use anyhow::Result;
use vmland_control::client::ask;
use vmland_control::{Reloaded, Request};

/// Have the scheduler read its configuration anew, and say what changes
///
/// Everything is checked before any of it takes effect: if anything is wrong, the effective
/// settings stay as they are. What was set with "vmland vm set" stays, too.
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Opts {}

pub fn run(_: &Opts) -> Result<()> {
    let reloaded: Reloaded = ask(&Request::Reload {})?;
    for warning in &reloaded.warnings {
        eprintln!("warning: {warning}");
    }
    print!("{}", text(&reloaded));
    Ok(())
}

fn text(reloaded: &Reloaded) -> String {
    let mut text = String::new();
    for change in &reloaded.changes {
        let (vm, key) = (&change.vm, &change.key);
        text += &format!("{vm}: {key} = {}, was {}\n", change.to, change.from);
    }
    if reloaded.changes.is_empty() {
        text += "nothing changes for the VMs that run\n";
    }
    if reloaded.left_out > 0 {
        text += &format!("and {} more\n", reloaded.left_out);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmland_control::Change;

    #[test]
    fn what_changes() {
        let mut reloaded = Reloaded {
            rules: 3,
            changes: vec![],
            warnings: vec![],
            left_out: 0,
        };
        assert_eq!(text(&reloaded), "nothing changes for the VMs that run\n");
        reloaded.changes.push(Change {
            vm: "db".into(),
            key: "weight".into(),
            from: "100".into(),
            to: "400".into(),
        });
        reloaded.left_out = 7;
        assert_eq!(text(&reloaded), "db: weight = 400, was 100\nand 7 more\n");
    }
}
