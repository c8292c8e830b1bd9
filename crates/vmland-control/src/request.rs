// SPDX-License-Identifier: GPL-2.0-only
//! Requests, and what is wrong with a line that is none.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Map;

use super::line::{VERSION, told};
use super::refused::{ErrorKind, Refused};

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "lowercase", deny_unknown_fields)]
pub enum Request {
    /// The effective settings of a VM, and their origin.
    Show { vm: String },
    /// The same, and what the planner thinks of the VM.
    Why { vm: String },
    /// Sets what holds for a VM until the scheduler ends, all or nothing.
    Set {
        vm: String,
        /// By key.
        settings: BTreeMap<String, Value>,
    },
    /// Takes back what was set.
    Unset {
        vm: String,
        /// None: all keys.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keys: Option<Vec<String>>,
    },
    /// Reads the configuration anew.
    Reload {},
    /// Writes records of what each CPU does into a ring, which the client reads, for so long; 0:
    /// no longer.
    Trace { ns: u64 },
}

/// A value as the command line has it; numbers may be numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    Text(String),
    Number(serde_json::Number),
}

impl Value {
    pub fn as_written(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Number(number) => number.to_string(),
        }
    }
}

impl Request {
    /// As a line, without its end.
    pub fn line(&self) -> String {
        let mut object = serde_json::to_value(self).expect("plain data");
        object["version"] = VERSION.into();
        object.to_string()
    }

    pub(super) fn parse(line: &[u8]) -> Result<Self, Refused> {
        let malformed = |text: String| Refused::new(ErrorKind::Malformed, told(&text));
        let mut object: Map<String, serde_json::Value> = serde_json::from_slice(line)
            .map_err(|e| malformed(format!("a line has to be one JSON object: {e}")))?;
        match object.remove("version") {
            Some(version) if version == VERSION => {}
            Some(version) => {
                let text = format!("version {version} is not known; this is version {VERSION}");
                return Err(Refused::new(ErrorKind::Version, told(&text)));
            }
            None => {
                let text = format!("\"version\": {VERSION} is missing");
                return Err(Refused::new(ErrorKind::Version, text));
            }
        }
        serde_json::from_value(object.into()).map_err(|e| malformed(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request, Refused> {
        Request::parse(line.as_bytes())
    }

    #[test]
    fn requests() {
        let set =
            r#"{"version":1,"request":"set","vm":"a","settings":{"weight":400,"slice":"5ms"}}"#;
        let Ok(Request::Set { vm, settings }) = parse(set) else {
            panic!("{:?}", parse(set));
        };
        assert_eq!(vm, "a");
        let written: Vec<_> = settings.values().map(Value::as_written).collect();
        assert_eq!(written, ["5ms", "400"]);
        let unset = r#" {"vm":"a", "request":"unset", "version":1} "#;
        let all = Request::Unset {
            vm: "a".into(),
            keys: None,
        };
        assert_eq!(parse(unset), Ok(all));
        assert_eq!(
            parse(r#"{"version":1,"request":"reload"}"#),
            Ok(Request::Reload {})
        );
    }

    #[test]
    fn what_is_wrong() {
        for (line, kind, text) in [
            ("", ErrorKind::Malformed, "one JSON object"),
            ("hello", ErrorKind::Malformed, "one JSON object"),
            ("[]", ErrorKind::Malformed, "one JSON object"),
            ("{\"version\":1", ErrorKind::Malformed, "one JSON object"),
            ("{}", ErrorKind::Version, "\"version\": 1 is missing"),
            (
                r#"{"version":2}"#,
                ErrorKind::Version,
                "version 2 is not known",
            ),
            (r#"{"version":"1"}"#, ErrorKind::Version, "is not known"),
            (r#"{"version":1}"#, ErrorKind::Malformed, "`request`"),
            (
                r#"{"version":1,"request":"stop"}"#,
                ErrorKind::Malformed,
                "unknown variant `stop`, expected one of `show`, `why`, `set`, `unset`, `reload`, `trace`",
            ),
            (
                r#"{"version":1,"request":"show"}"#,
                ErrorKind::Malformed,
                "missing field `vm`",
            ),
            (
                r#"{"version":1,"request":"show","vm":"a","x":1}"#,
                ErrorKind::Malformed,
                "unknown field `x`",
            ),
            (
                r#"{"version":1,"request":"reload","vm":"a"}"#,
                ErrorKind::Malformed,
                "unknown field `vm`",
            ),
            (
                r#"{"version":1,"request":"set","vm":"a","settings":{"weight":[]}}"#,
                ErrorKind::Malformed,
                "",
            ),
        ] {
            let refused = parse(line).expect_err(line);
            assert_eq!(refused.kind, kind, "{line}");
            assert!(refused.message.contains(text), "{line}: {refused}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
            near in "\\{\"version\":1(,\"(request|vm|keys|settings|x)\":(\"(set|show|a)?\"|1|\\[|\\]|\\{|\\}|null)){0,4}\\}?",
        ) {
            let _ = Request::parse(&bytes);
            let _ = parse(&near);
        }

        #[test]
        fn round_trip(vm in ".*", keys in proptest::collection::vec(".*", 0..3), value in ".*", number in 0..u64::MAX) {
            let settings = [("a".to_owned(), Value::Text(value)), ("b".to_owned(), Value::Number(number.into()))];
            for request in [
                Request::Show { vm: vm.clone() },
                Request::Why { vm: vm.clone() },
                Request::Set { vm: vm.clone(), settings: settings.into() },
                Request::Unset { vm: vm.clone(), keys: Some(keys) },
                Request::Unset { vm, keys: None },
                Request::Reload {},
                Request::Trace { ns: number },
            ] {
                let line = request.line();
                assert!(!line.contains('\n'));
                assert_eq!(parse(&line), Ok(request));
            }
        }
    }
}
