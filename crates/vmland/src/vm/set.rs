// SPDX-License-Identifier: GPL-2.0-only
//! `vmland vm set`: another value, at once.

use anyhow::Result;
use vmland_control::client::ask;
use vmland_control::{ErrorKind, Refused, Request, Shown, Value};
use vmland_settings::{Key, check_settings};

use super::save;

/// Set what a VM may have, at once and until the scheduler ends
///
/// Everything is checked before any of it takes effect. It is for the VM's name (or its
/// UUID, if that is what NAME is), so that it also holds when the VM is started again.
#[derive(clap::Args)]
#[command(verbatim_doc_comment, after_help = keys())]
pub struct Opts {
    /// Name or UUID.
    #[arg(value_name = "NAME")]
    vm: String,

    /// What to set, such as weight=400 or slice=5ms.
    #[arg(value_name = "key=value", required = true)]
    settings: Vec<String>,

    /// For good: write it into the configuration's main file, whose comments stay.
    #[arg(long)]
    save: bool,
}

/// For --help.
fn keys() -> String {
    let mut text = "Keys (\"vmland config sample\" explains them):".to_owned();
    for key in Key::ALL {
        let (name, values, default) = (key.name(), key.values(), key.default_in_words());
        text += &format!("\n  {name:14}{values}\n{:16}[default: {default}]", "");
    }
    text
}

pub fn run(opts: &Opts) -> Result<()> {
    let given = pairs(&opts.settings)?;
    check_settings(&given).map_err(|errors| invalid(&errors))?;
    let shown: Shown = if opts.save {
        let edit =
            |(name, value): &(String, String)| Some((Key::named(name)?, Some(value.clone())));
        save::save(&opts.vm, given.iter().filter_map(edit).collect())?
    } else {
        let value = |(key, value): &(String, String)| (key.clone(), Value::Text(value.clone()));
        ask(&Request::Set {
            vm: opts.vm.clone(),
            settings: given.iter().map(value).collect(),
        })?
    };
    let keys: Vec<_> = given.iter().map(|(key, _)| key.as_str()).collect();
    tell(&shown, &keys);
    Ok(())
}

/// The effective values of these keys.
pub fn tell(shown: &Shown, keys: &[&str]) {
    for warning in &shown.warnings {
        eprintln!("warning: {warning}");
    }
    for setting in &shown.settings {
        if keys.contains(&setting.key.as_str()) {
            let origin = setting.origin.as_deref().unwrap_or("default");
            println!(
                "{}: {} = {} ({origin})",
                shown.name, setting.key, setting.value
            );
        }
    }
}

fn pairs(settings: &[String]) -> Result<Vec<(String, String)>, Refused> {
    let mut errors = vec![];
    let mut pairs: Vec<(String, String)> = vec![];
    for setting in settings {
        match setting.split_once('=') {
            None => errors.push(format!("{setting:?}: expected key=value")),
            Some((key, _)) if pairs.iter().any(|(other, _)| other == key) => {
                errors.push(format!("{key} is given twice"));
            }
            Some((key, value)) => pairs.push((key.into(), value.into())),
        }
    }
    if errors.is_empty() {
        Ok(pairs)
    } else {
        Err(invalid(&errors))
    }
}

pub fn invalid(errors: &[String]) -> Refused {
    Refused {
        kind: ErrorKind::Invalid,
        message: errors.join("\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_with_values() {
        let given =
            |words: &[&str]| pairs(&words.iter().map(|&w| w.to_owned()).collect::<Vec<_>>());
        let own = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            given(&["weight=400", "cpus=0-3,8"]),
            Ok(vec![own("weight", "400"), own("cpus", "0-3,8")])
        );
        let errors = given(&["weight", "a=1", "a=2"]).expect_err("wrong").message;
        assert_eq!(errors, "\"weight\": expected key=value\na is given twice");
    }
}
