// SPDX-License-Identifier: GPL-2.0-only
//! How the table of settings becomes types.

/// Makes of the rows of [`crate::settings_table`]
///
/// - `Settings`, with an `Option<Plain>` for each row,
/// - `Key`, which of them is meant, and
/// - `DefaultsSchema` and `RuleSchema`, the tables of a file in which the keys
///   may stand, for the JSON schema.
macro_rules! types {
    ($(
        $(#[doc = $doc:literal])+
        $key:ident: $kind:ty => $field:ident: $plain:ty {
            default: $default:expr,
            $(unset: $unset:literal,)?
            $(example: $example:expr,)?
            $(flag: $flag:ident,)?
            bpf: $bpf:ident $becomes:tt $convert:expr,
        }
    )+) => {
        /// What was set for a VM. None leaves a setting to the scheduler.
        #[derive(Clone, Copy, Debug, Default, PartialEq, ::serde::Serialize)]
        pub struct Settings {
            $( $(#[doc = $doc])+ pub $field: Option<$plain>, )+
        }

        impl Settings {
            /// What holds if nobody says anything.
            pub const DEFAULTS: Settings = Settings { $( $field: $default, )+ };

            /// A value for each key: the default, or else an example.
            pub const EXAMPLE: Settings = Settings {
                $( $field: [$(Some($example),)? $default][0], )+
            };

            /// Any, but those that contradict themselves.
            #[cfg(test)]
            pub(super) fn any() -> impl ::proptest::strategy::Strategy<Value = Settings> {
                use ::proptest::{option::of, strategy::Strategy};
                let any = ::proptest::strategy::Just(Settings::default());
                $(
                    let any = (any, of(<$kind as Kind>::any())).prop_map(|(settings, $field)| {
                        Settings { $field, ..settings }
                    });
                    let any = any.boxed();
                )+
                any.prop_map(|settings| match settings.is_contradictory() {
                    true => Settings { slice_min_ns: settings.slice_ns, ..settings },
                    false => settings,
                })
            }
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

            /// What is allowed, as it follows "expected".
            pub fn values(self) -> String {
                match self {
                    $( Key::$key => <$kind as Kind>::expected(), )+
                }
            }

            /// The least and the largest plain value, if it is a number with bounds.
            pub fn range(self) -> Option<RangeInclusive<u64>> {
                match self {
                    $( Key::$key => <$kind as Kind>::RANGE, )+
                }
            }

            /// What it means.
            fn text(self) -> &'static str {
                match self {
                    $( Key::$key => concat!($($doc),+).trim_ascii_start(), )+
                }
            }

            /// The default in words, where its value does not say it.
            fn unset(self) -> Option<&'static str> {
                match self {
                    $( Key::$key => [$(Some($unset),)? None][0], )+
                }
            }

            /// The field of the scheduler's options that holds the default for all VMs.
            fn option(self) -> Option<&'static str> {
                match self {
                    $( Key::$key => [$(Some(stringify!($flag)),)? None][0], )+
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
                given: &super::kind::Given<'_>,
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
            $( #[schemars(default)] $key: $kind, )+
        }

        /// A rule: which VMs, and what they get.
        #[derive(::schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        #[expect(dead_code, reason = "only its shape counts")]
        pub(super) struct RuleSchema {
            r#match: MatchSchema,
            $( #[schemars(default)] $key: $kind, )+
        }
    };
}

pub(super) use types;
