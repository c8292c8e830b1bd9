// SPDX-License-Identifier: GPL-2.0-only
//! What becomes of a request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::find::{By, Running, find};
use super::line::{ITEMS_MAX, VERSION, told};
use super::planned::Planned;
use super::refused::{ErrorKind, Refused};
use super::request::{Request, Value};
use super::trace::{LONGEST_NS, Tracing};
use vmland_settings::{EffectiveSettings, Finding, Key, Target, VmFacts};

/// What holds for a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    pub id: u32,
    pub pid: i32,
    pub name: String,
    pub uuid: Option<String>,
    pub vmm: String,
    pub cgroup: Option<String>,
    /// The user of its process.
    pub uid: Option<u32>,
    /// No other VM is in that cgroup, whose weight is the VM's therefore.
    pub owns_cgroup: bool,
    pub vcpus: u32,
    /// By what the request named it.
    pub by: By,
    /// In the order of the documentation.
    pub settings: Vec<Setting>,
    /// The configuration's main file.
    pub config: String,
    pub warnings: Vec<String>,
}

/// What holds for a VM, and what the planner thinks of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    #[serde(flatten)]
    pub shown: Shown,
    pub planned: Planned,
}

/// An effective value, as it is written in files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub key: String,
    pub value: String,
    /// Where it was set. None: it is the default.
    pub origin: Option<String>,
}

/// What a reload has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// How many rules there are now, defaults and flags among them.
    pub rules: usize,
    pub changes: Vec<Change>,
    pub warnings: Vec<String>,
    /// How many changes and warnings are not told, for their number.
    pub left_out: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub vm: String,
    pub key: String,
    pub from: String,
    pub to: String,
}

/// An answer, and whether effective settings may have changed.
pub struct Answered {
    /// Without its end.
    pub line: String,
    pub changed: bool,
}

impl Answered {
    pub(super) fn refused(refused: &Refused) -> Self {
        Self {
            line: json!({ "version": VERSION, "error": refused }).to_string(),
            changed: false,
        }
    }
}

/// What of the scheduler requests are about, beside settings.
pub trait Scheduler {
    /// What the planner thinks of the VM with this id.
    fn planned(&self, vm_id: u32) -> Planned;

    /// Traces from now on for so long; 0: no longer. None: that is being traced already.
    fn trace(&self, ns: u64) -> Result<Option<Tracing>, String>;
}

/// Does what a line asks for.
pub fn answer(
    line: &[u8],
    now: &mut EffectiveSettings,
    vms: &[&Running],
    scheduler: &dyn Scheduler,
) -> Answered {
    let done = Request::parse(line).and_then(|request| match request {
        Request::Show { vm } => show(now, vms, &vm),
        Request::Why { vm } => why(now, vms, scheduler, &vm),
        Request::Set { vm, settings } => set(now, vms, &vm, settings),
        Request::Unset { vm, keys } => unset(now, vms, &vm, keys.as_deref()),
        Request::Reload {} => reload(now, vms),
        Request::Trace { ns } => trace(scheduler, ns),
    });
    match done {
        Ok((ok, changed)) => Answered {
            line: json!({ "version": VERSION, "ok": ok }).to_string(),
            changed,
        },
        Err(refused) => Answered::refused(&refused),
    }
}

type Done = Result<(serde_json::Value, bool), Refused>;

fn show(now: &EffectiveSettings, vms: &[&Running], name: &str) -> Done {
    let (vm, by) = find(vms, name)?;
    Ok((json!(shown(now, vm, by, vec![])), false))
}

fn why(now: &EffectiveSettings, vms: &[&Running], scheduler: &dyn Scheduler, name: &str) -> Done {
    let (vm, by) = find(vms, name)?;
    let why = Why {
        shown: shown(now, vm, by, vec![]),
        planned: scheduler.planned(vm.id),
    };
    Ok((json!(why), false))
}

fn set(
    now: &mut EffectiveSettings,
    vms: &[&Running],
    name: &str,
    settings: BTreeMap<String, Value>,
) -> Done {
    let (vm, by) = find(vms, name)?;
    let written = |(key, value): (String, Value)| (key, value.as_written());
    let given: Vec<_> = settings.into_iter().map(written).collect();
    let facts: Vec<_> = vms.iter().map(|vm| &vm.facts).collect();
    now.make_room(&facts);
    let warning = now
        .set(target(vm, by), &vm.facts, &given)
        .map_err(|errors| invalid(&errors))?;
    let warnings = warning.iter().map(|w| told(&w.to_string())).collect();
    Ok((json!(shown(now, vm, by, warnings)), true))
}

fn unset(
    now: &mut EffectiveSettings,
    vms: &[&Running],
    name: &str,
    keys: Option<&[String]>,
) -> Done {
    let (vm, by) = find(vms, name)?;
    let by_name = now.unset(Target::Name(&vm.facts.name), keys);
    let removed = by_name.map_err(|errors| invalid(&errors))?;
    let by_uuid = match &vm.facts.uuid {
        Some(uuid) => now.unset(Target::Uuid(uuid), keys),
        None => Ok(vec![]),
    };
    let removed_too = by_uuid.map_err(|errors| invalid(&errors))?;
    let nothing = removed.is_empty() && removed_too.is_empty();
    let warnings = if nothing {
        vec!["nothing was set that could be unset".into()]
    } else {
        vec![]
    };
    Ok((json!(shown(now, vm, by, warnings)), true))
}

fn reload(now: &mut EffectiveSettings, vms: &[&Running]) -> Done {
    let facts: Vec<&VmFacts> = vms.iter().map(|vm| &vm.facts).collect();
    let (changes, warnings) = now.reload(&facts).map_err(|diagnostics| {
        let message = lines(diagnostics.0.iter().map(Finding::to_string));
        Refused::new(ErrorKind::Configuration, message)
    })?;
    let left_out =
        changes.len().saturating_sub(ITEMS_MAX) + warnings.len().saturating_sub(ITEMS_MAX);
    let change = |change: &vmland_settings::Changed| Change {
        vm: facts[change.vm].name.clone(),
        key: change.key.name().into(),
        from: change.from.clone(),
        to: change.to.clone(),
    };
    let warning = |warning: &Finding| told(&warning.to_string());
    let reloaded = Reloaded {
        rules: now.configured(),
        changes: changes.iter().take(ITEMS_MAX).map(change).collect(),
        warnings: warnings.iter().take(ITEMS_MAX).map(warning).collect(),
        left_out,
    };
    Ok((json!(reloaded), true))
}

fn trace(scheduler: &dyn Scheduler, ns: u64) -> Done {
    if ns > LONGEST_NS {
        let text = format!("a trace is at most {LONGEST_NS} ns long");
        return Err(Refused::new(ErrorKind::Invalid, text));
    }
    match scheduler.trace(ns) {
        Ok(Some(tracing)) => Ok((json!(tracing), false)),
        Ok(None) => Err(Refused::new(ErrorKind::Busy, "there is a trace already")),
        Err(e) => Err(Refused::new(ErrorKind::Failed, told(&e))),
    }
}

fn target(vm: &Running, by: By) -> Target<'_> {
    match (by, vm.facts.uuid.as_deref()) {
        (By::Uuid, Some(uuid)) => Target::Uuid(uuid),
        _ => Target::Name(&vm.facts.name),
    }
}

fn shown(now: &EffectiveSettings, vm: &Running, by: By, warnings: Vec<String>) -> Shown {
    let VmFacts {
        name,
        uuid,
        vmm,
        cgroup,
        uid,
        vcpus,
    } = vm.facts.clone();
    let setting = |key: &Key| {
        let (value, origin) = now.explain(&vm.facts, *key);
        let key = key.name().into();
        Setting { key, value, origin }
    };
    Shown {
        id: vm.id,
        pid: vm.pid,
        name,
        uuid,
        vmm: vmm.to_string(),
        cgroup,
        uid,
        owns_cgroup: vm.owns_cgroup,
        vcpus,
        by,
        settings: Key::ALL.iter().map(setting).collect(),
        config: now.sources().file.display().to_string(),
        warnings,
    }
}

fn invalid(errors: &[String]) -> Refused {
    Refused::new(ErrorKind::Invalid, lines(errors.iter().cloned()))
}

fn lines(all: impl ExactSizeIterator<Item = String>) -> String {
    let left_out = all.len().saturating_sub(ITEMS_MAX);
    let mut lines: Vec<_> = all.take(ITEMS_MAX).map(|line| told(&line)).collect();
    if left_out > 0 {
        lines.push(format!("and {left_out} more"));
    }
    lines.join("\n")
}
