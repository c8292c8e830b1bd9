// SPDX-License-Identifier: GPL-2.0-only
//! The JSON schema of a file, for editors.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;

use super::settings::{DefaultsSchema, Key, RuleSchema};

/// Settings of VMs for scx_vmland.
#[derive(JsonSchema)]
#[schemars(rename = "scx_vmland", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape counts")]
struct FileSchema {
    #[schemars(default)]
    defaults: DefaultsSchema,
    /// Rules in order: of several that set the same for a VM, the last one counts.
    #[schemars(default)]
    vm: Vec<RuleSchema>,
}

/// The schema as text, in JSON. Of draft 7, which editors of TOML know.
pub fn schema() -> String {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<FileSchema>();
    for table in ["/properties/defaults", "/properties/vm/items"] {
        let table = schema.pointer_mut(table).expect("a table of a file");
        for key in Key::ALL {
            table["properties"][key.name()]["description"] = key.documentation().into();
        }
    }
    serde_json::to_string_pretty(&schema).expect("a schema is JSON")
}
