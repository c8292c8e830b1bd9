// SPDX-License-Identifier: GPL-2.0-only
//! Which VMs a rule is for.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::glob_text::Glob;
use super::uids::{self, UidRange};
use super::vcpus::{self, VcpuRange};
use vmland_identity::{VmIdentity, Vmm};

/// What rules look at of a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VmFacts {
    pub name: String,
    /// In lower case.
    pub uuid: Option<String>,
    pub vmm: Vmm,
    /// As in `/proc/PID/cgroup`.
    pub cgroup: Option<String>,
    /// The user whose process it is.
    pub uid: Option<u32>,
    /// vCPUs known so far.
    pub vcpus: u32,
}

impl VmFacts {
    pub fn new(identity: VmIdentity, vcpus: u32) -> Self {
        let VmIdentity {
            name,
            vmm,
            uuid,
            cgroup,
            uid,
        } = identity;
        Self {
            name,
            uuid,
            vmm,
            cgroup,
            uid,
            vcpus,
        }
    }

    /// None: the VM has none.
    pub(super) fn text(&self, field: Field) -> Option<&str> {
        match field {
            Field::Name => Some(&self.name),
            Field::Uuid => self.uuid.as_deref(),
            Field::Cgroup => self.cgroup.as_deref(),
        }
    }
}

/// What globs may be matched against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Uuid,
    Cgroup,
}

impl Field {
    pub const ALL: [Field; 3] = [Field::Name, Field::Uuid, Field::Cgroup];

    pub fn as_str(self) -> &'static str {
        match self {
            Field::Name => "name",
            Field::Uuid => "uuid",
            Field::Cgroup => "cgroup",
        }
    }
}

/// Conditions that must all hold; of several globs, VMMs, or users, one must. One
/// without conditions holds for every VM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// By [`Field`].
    pub(super) globs: [Vec<Glob>; 3],
    pub(super) vmms: Vec<Vmm>,
    pub(super) uids: Vec<UidRange>,
    pub(super) vcpus: Option<VcpuRange>,
}

impl Match {
    /// The keys of `match` in a file.
    pub(super) const KEYS: [&str; 6] = ["name", "uuid", "vmm", "cgroup", "uid", "vcpus"];

    pub(super) fn by_name(glob: Glob) -> Self {
        Self {
            globs: [vec![glob], vec![], vec![]],
            ..Self::default()
        }
    }

    /// The VM whose name, or UUID, is this text and no other.
    pub(super) fn exactly(field: Field, text: &str) -> Self {
        let mut matches = Self::default();
        matches.globs[field as usize] = vec![Glob::exactly(text)];
        matches
    }

    /// Whether this is [`Match::exactly`] for this VM.
    pub(super) fn is_exactly(&self, vm: &VmFacts) -> bool {
        let is = |field: Field| {
            let text = vm.text(field);
            text.is_some_and(|text| *self == Match::exactly(field, text))
        };
        is(Field::Name) || is(Field::Uuid)
    }

    pub(super) fn is_for_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds for every VM with so many vCPUs, whatever its name, VMM,
    /// cgroup and user.
    pub(super) fn holds_for_any(&self, vcpus: u32) -> bool {
        let [names, others @ ..] = &self.globs;
        (names.is_empty() || names.iter().any(|glob| glob.as_str() == "*"))
            && others.iter().all(Vec::is_empty)
            && self.vmms.is_empty()
            && self.uids.is_empty()
            && self.vcpus.is_none_or(|range| range.contains(vcpus))
    }

    /// The conditions that are no globs.
    pub(super) fn allows(&self, vm: &VmFacts) -> bool {
        (self.vmms.is_empty() || self.vmms.contains(&vm.vmm))
            && (self.uids.is_empty() || vm.uid.is_some_and(|uid| self.is_of(uid)))
            && self.vcpus.is_none_or(|range| range.contains(vm.vcpus))
    }

    fn is_of(&self, uid: u32) -> bool {
        self.uids.iter().any(|range| range.contains(uid))
    }
}

/// Which VMs the rule is for. All that is given must hold.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
#[expect(dead_code, reason = "only its shape counts")]
pub(super) struct MatchSchema {
    /// The VM's name, as `vmland vms` shows it.
    #[schemars(default)]
    name: GlobsSchema,
    /// The VM's UUID.
    #[schemars(default)]
    uuid: GlobsSchema,
    /// The program that runs it.
    #[schemars(default)]
    vmm: VmmsSchema,
    /// Path of its cgroup, as in /proc/PID/cgroup.
    #[schemars(default)]
    cgroup: GlobsSchema,
    /// The user of its process: 1000, or a range such as "1000-1999".
    #[schemars(default)]
    uid: UidsSchema,
    /// How many vCPUs it has: 4, "2-8", ">=4" or "<=8".
    #[schemars(default)]
    vcpus: VcpusSchema,
}

/// The schema of a key's value, for a field that carries nothing else.
macro_rules! schema {
    ($type:ident, $name:literal, $schema:expr) => {
        #[derive(Default)]
        struct $type;

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema!(
    GlobsSchema,
    "Globs",
    one_or_several(json_schema!({ "type": "string", "minLength": 1 }))
);

schema!(
    VmmsSchema,
    "Vmms",
    one_or_several(json_schema!({ "enum": Vmm::ALL.map(Vmm::as_str) }))
);

schema!(
    UidsSchema,
    "Uids",
    one_or_several(json_schema!({ "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": u32::MAX - 1 },
        { "type": "string", "pattern": uids::PATTERN },
    ] }))
);

schema!(
    VcpusSchema,
    "Vcpus",
    json_schema!({ "anyOf": [
        { "type": "integer", "minimum": 1 },
        { "type": "string", "pattern": vcpus::PATTERN },
    ] })
);

fn one_or_several(one: Schema) -> Schema {
    json_schema!({ "anyOf": [one.clone(), { "type": "array", "items": one, "minItems": 1 }] })
}
