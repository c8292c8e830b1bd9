// SPDX-License-Identifier: GPL-2.0-only
//! How the table of settings becomes types.

/// Makes of a table whose rows are `/// doc` and `key: Kind => field: Plain,`
///
/// - `Settings`, with an `Option<Plain>` for each row,
/// - `Key`, which of them is meant, and
/// - `DefaultsSchema` and `RuleSchema`, the tables of a file in which the keys
///   may stand, for the JSON schema.
macro_rules! settings {
    ($(
        $(#[doc = $doc:literal])+
        $key:ident: $kind:ty => $field:ident: $plain:ty,
    )+) => {
        /// What was set for a VM. None leaves a setting to the scheduler.
        #[derive(Clone, Copy, Debug, Default, PartialEq, ::serde::Serialize)]
        pub struct Settings {
            $( $(#[doc = $doc])+ pub $field: Option<$plain>, )+
        }

        /// Which setting; each is called as in files.
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Key {
            $( $(#[doc = $doc])+ $key, )+
        }

        impl Key {
            /// In the order of the table.
            pub const ALL: &'static [Key] = &[ $( Key::$key, )+ ];

            /// As files and the command line have it.
            pub fn name(self) -> &'static str {
                match self {
                    $( Key::$key => stringify!($key), )+
                }
            }

            /// What is allowed, for "expected …".
            pub(super) fn expected(self) -> String {
                match self {
                    $( Key::$key => <$kind as Kind>::expected(), )+
                }
            }

            /// Whether its values may have commas.
            pub(super) fn is_list(self) -> bool {
                match self {
                    $( Key::$key => <$kind as Kind>::IS_LIST, )+
                }
            }

            /// Whether files have its values in quotes.
            pub(super) fn is_quoted(self) -> bool {
                match self {
                    $( Key::$key => <$kind as Kind>::QUOTED, )+
                }
            }
        }

        impl Settings {
            /// Sets `key`; or says what was probably meant.
            pub(super) fn read(
                &mut self,
                key: Key,
                given: &Given<'_>,
            ) -> Result<(), Option<String>> {
                match key {
                    $( Key::$key => self.$field = Some(<$kind as Kind>::read(given)?), )+
                }
                Ok(())
            }

            /// The value of `key` as it is written, without quotes. None: unset.
            pub fn written(&self, key: Key) -> Option<String> {
                match key {
                    $( Key::$key => self.$field.map(<$kind as Kind>::write), )+
                }
            }

            /// Takes over what `other` has for `key`.
            pub(super) fn copy(&mut self, key: Key, other: &Settings) {
                match key {
                    $( Key::$key => self.$field = other.$field, )+
                }
            }

            /// Takes from `other` what is unset here, and tells of which keys.
            pub(super) fn fill(&mut self, other: &Settings, mut taken: impl FnMut(Key)) {
                $(
                    if self.$field.is_none() && other.$field.is_some() {
                        self.$field = other.$field;
                        taken(Key::$key);
                    }
                )+
            }
        }

        /// What holds for every VM that no rule says otherwise of.
        #[derive(Default, ::schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its shape counts")]
        pub(super) struct DefaultsSchema {
            $( $(#[doc = $doc])+ #[schemars(default)] $key: $kind, )+
        }

        /// A rule: which VMs, and what they get.
        #[derive(::schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its shape counts")]
        pub(super) struct RuleSchema {
            r#match: MatchSchema,
            $( $(#[doc = $doc])+ #[schemars(default)] $key: $kind, )+
        }
    };
}

pub(super) use settings;
