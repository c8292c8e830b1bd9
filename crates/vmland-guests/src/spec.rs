// SPDX-License-Identifier: GPL-2.0-only
//! Which guests are wanted: words such as `lock`, `tlb:vcpus=4` or
//! `lat:vcpus=1,name=web`.
//!
//! A word is parsed alone ([`GuestRequest`]); what it leaves open is filled in
//! when all are known ([`resolve`]), so that every guest has a name of its own.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

/// Most vCPUs of one guest: as far as APIC IDs of eight bits reach.
pub const VCPUS_MAX: u32 = 255;

/// Length of a name, in characters. It goes into tables.
pub const NAME_MAX_CHARS: usize = 32;

/// Weight of a guest that does not say otherwise where others do, as the kernel has it
/// for cgroups.
pub const DEFAULT_WEIGHT: u32 = 100;

/// Largest weight, as `cpu.weight` has it; the smallest is 1.
pub const WEIGHT_MAX: u32 = 10_000;

/// What a guest does all the time, on all its vCPUs unless its comment says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Load {
    /// One ticket lock that waits with PAUSE.
    Lock,
    /// Maps and unmaps a page: TLB shootdowns.
    Tlb,
    /// Ping-pong over pipes between two CPUs.
    Msg,
    /// A barrier that waits with PAUSE.
    Barrier,
    /// Computes, and shares nothing.
    Cpu,
    /// IPIs, pause exits and yields without need: a hostile guest.
    Storm,
    /// Sleeps until the next tick of 2 ms, and measures how late it wakes up.
    Lat,
    /// Answers short requests from the host, on the first vCPU.
    Io,
    /// A program of the host's, again and again.
    Run,
    /// Does nothing.
    Idle,
}

impl Load {
    /// In the order in which they are listed to users.
    pub const ALL: [Load; 10] = [
        Load::Lock,
        Load::Tlb,
        Load::Msg,
        Load::Barrier,
        Load::Cpu,
        Load::Storm,
        Load::Lat,
        Load::Io,
        Load::Run,
        Load::Idle,
    ];

    /// The name, as `load.c` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Load::Lock => "lock",
            Load::Tlb => "tlb",
            Load::Msg => "msg",
            Load::Barrier => "barrier",
            Load::Cpu => "cpu",
            Load::Storm => "storm",
            Load::Lat => "lat",
            Load::Io => "io",
            Load::Run => "run",
            Load::Idle => "idle",
        }
    }

    /// What one unit of its work is, in the plural.
    pub fn unit(self) -> &'static str {
        match self {
            Load::Lock => "acquisitions",
            Load::Tlb => "munmaps",
            Load::Msg => "round trips",
            Load::Barrier => "barriers",
            Load::Cpu => "chunks",
            Load::Storm => "membarriers",
            Load::Lat => "wake-ups",
            Load::Io => "answers",
            Load::Run => "runs",
            Load::Idle => "nothing",
        }
    }

    /// For users: what it does, and what is counted.
    pub fn about(self) -> (&'static str, &'static str) {
        match self {
            Load::Lock => ("a ticket lock that waits with PAUSE", self.unit()),
            Load::Tlb => ("munmap, that is TLB shootdowns", self.unit()),
            Load::Msg => ("ping-pong over pipes between two CPUs", self.unit()),
            Load::Barrier => ("a barrier that waits with PAUSE", self.unit()),
            Load::Cpu => ("computes, shares nothing", self.unit()),
            Load::Storm => ("hostile: IPIs, pause exits and yields", self.unit()),
            Load::Lat => ("a timer of 2 ms", "lateness of wake-ups"),
            Load::Io => ("answers short requests from the host", "time to the answer"),
            Load::Run => ("--workload, repeatedly", self.unit()),
            Load::Idle => ("nothing", ""),
        }
    }
}

impl FromStr for Load {
    type Err = SpecError;

    fn from_str(word: &str) -> Result<Self, SpecError> {
        { Load::ALL.into_iter() }
            .find(|load| load.as_str() == word)
            .ok_or_else(|| SpecError::NoSuchLoad(word.to_owned()))
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A guest as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestRequest {
    pub load: Load,
    /// From 1 to [`VCPUS_MAX`].
    pub vcpus: Option<u32>,
    /// Of ASCII letters, digits, `-`, `_` and `.`; at most [`NAME_MAX_CHARS`].
    pub name: Option<String>,
    /// From 1 to [`WEIGHT_MAX`].
    pub weight: Option<u32>,
}

/// A guest as it will be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestSpec {
    pub load: Load,
    /// From 1 to [`VCPUS_MAX`].
    pub vcpus: u32,
    /// Unlike that of any other guest.
    pub name: String,
    /// `cpu.weight` of a cgroup of its own, from 1 to [`WEIGHT_MAX`]. Either all guests
    /// have one or none has.
    pub weight: Option<u32>,
}

/// What is wrong with a word. `Display` says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("no load {0:?}; there are {all}", all = Load::ALL.map(Load::as_str).join(", "))]
    NoSuchLoad(String),

    #[error(
        "the load {0} is only for \"vmland bench\", which sends the requests of io and packs the program of run"
    )]
    OnlyInBench(Load),

    #[error("no setting {0:?} of a guest; there are vcpus=N, name=NAME and weight=N")]
    NoSuchSetting(String),

    #[error("{0}= is given twice; give it once")]
    Twice(&'static str),

    #[error("vcpus={0}: expected a number from 1 to {VCPUS_MAX}")]
    BadVcpus(String),

    #[error(
        "name={0}: expected 1 to {NAME_MAX_CHARS} characters out of letters, digits, \"-\", \"_\" and \".\""
    )]
    BadName(String),

    #[error("weight={0}: expected a number from 1 to {WEIGHT_MAX}")]
    BadWeight(String),

    #[error("two guests are called {0:?}; give each a name of its own")]
    SameName(String),
}

impl FromStr for GuestRequest {
    type Err = SpecError;

    fn from_str(word: &str) -> Result<Self, SpecError> {
        let (load, settings) = match word.split_once(':') {
            Some((load, settings)) => (load, Some(settings)),
            None => (word, None),
        };
        let mut request = GuestRequest {
            load: load.parse()?,
            vcpus: None,
            name: None,
            weight: None,
        };
        for setting in settings.into_iter().flat_map(|list| list.split(',')) {
            match setting.split_once('=') {
                Some(("vcpus", value)) => {
                    set_once("vcpus", &mut request.vcpus, vcpus(value)?)?;
                }
                Some(("name", value)) => set_once("name", &mut request.name, name(value)?)?,
                Some(("weight", value)) => {
                    set_once("weight", &mut request.weight, weight(value)?)?;
                }
                _ => return Err(SpecError::NoSuchSetting(setting.to_owned())),
            }
        }
        Ok(request)
    }
}

/// Several words with commas between: `lock,tlb:vcpus=4,name=web,lat`. What is
/// neither a load nor has one before it is a setting of the guest before.
///
/// # Errors
///
/// That of the first word that is wrong.
pub fn requests(text: &str) -> Result<Vec<GuestRequest>, SpecError> {
    let mut words: Vec<String> = Vec::new();
    for part in text.split(',') {
        match words.last_mut() {
            Some(word) if !part.contains(':') && part.contains('=') => {
                word.push(',');
                word.push_str(part);
            }
            _ => words.push(part.to_owned()),
        }
    }
    words.iter().map(|word| word.parse()).collect()
}

fn set_once<T>(what: &'static str, place: &mut Option<T>, value: T) -> Result<(), SpecError> {
    match place.replace(value) {
        Some(_) => Err(SpecError::Twice(what)),
        None => Ok(()),
    }
}

/// A load for a guest in the background, which gets neither requests nor a program.
///
/// # Errors
///
/// [`SpecError::NoSuchLoad`] and [`SpecError::OnlyInBench`].
pub fn daemon_load(word: &str) -> Result<Load, SpecError> {
    match word.parse()? {
        load @ (Load::Io | Load::Run) => Err(SpecError::OnlyInBench(load)),
        load => Ok(load),
    }
}

/// A number of vCPUs, as `vcpus=` and `--vcpus` take it.
///
/// # Errors
///
/// [`SpecError::BadVcpus`].
pub fn vcpus(text: &str) -> Result<u32, SpecError> {
    number(text, VCPUS_MAX).ok_or_else(|| SpecError::BadVcpus(text.to_owned()))
}

fn weight(text: &str) -> Result<u32, SpecError> {
    number(text, WEIGHT_MAX).ok_or_else(|| SpecError::BadWeight(text.to_owned()))
}

/// From 1 to `max`.
fn number(text: &str, max: u32) -> Option<u32> {
    text.parse().ok().filter(|n| (1..=max).contains(n))
}

/// A name: nothing that means something to QEMU (a comma does), to a terminal, or in a path.
///
/// # Errors
///
/// [`SpecError::BadName`].
pub fn name(text: &str) -> Result<String, SpecError> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=NAME_MAX_CHARS).contains(&text.len()) && text.chars().all(harmless) {
        Ok(text.to_owned())
    } else {
        Err(SpecError::BadName(text.to_owned()))
    }
}

/// Fills in what the requests leave open: `default_vcpus`, a name made of the load and
/// the lowest number from 1 that no other guest has (`lock1`), and, as soon as one guest
/// has a weight, [`DEFAULT_WEIGHT`] for the others.
///
/// # Errors
///
/// [`SpecError::SameName`] if two requests ask for the same name.
pub fn resolve(requests: &[GuestRequest], default_vcpus: u32) -> Result<Vec<GuestSpec>, SpecError> {
    let mut taken = HashSet::new();
    for name in requests.iter().filter_map(|request| request.name.as_ref()) {
        if !taken.insert(name.clone()) {
            return Err(SpecError::SameName(name.clone()));
        }
    }
    let mut free_name = |load: Load| {
        (1..)
            .map(|n| format!("{load}{n}"))
            .find(|name| taken.insert(name.clone()))
            .expect("there are more numbers than guests")
    };
    let weighted = requests.iter().any(|request| request.weight.is_some());
    Ok(requests
        .iter()
        .map(|request| GuestSpec {
            weight: weighted.then(|| request.weight.unwrap_or(DEFAULT_WEIGHT)),
            load: request.load,
            vcpus: request.vcpus.unwrap_or(default_vcpus),
            name: request
                .name
                .clone()
                .unwrap_or_else(|| free_name(request.load)),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(word: &str) -> GuestRequest {
        word.parse().unwrap_or_else(|e| panic!("{word}: {e}"))
    }

    fn resolved(words: &[&str]) -> Result<Vec<GuestSpec>, SpecError> {
        let requests: Vec<_> = words.iter().map(|word| request(word)).collect();
        resolve(&requests, 2)
    }

    fn names(words: &[&str]) -> Vec<String> {
        let specs = resolved(words).unwrap();
        specs.into_iter().map(|spec| spec.name).collect()
    }

    #[test]
    fn lists() {
        let names = |text| {
            requests(text).map(|list| {
                let name = |r: GuestRequest| (r.load, r.vcpus, r.name.unwrap_or_default());
                list.into_iter().map(name).collect::<Vec<_>>()
            })
        };
        assert_eq!(
            names("lock,tlb:vcpus=4,name=web,lat:name=x").unwrap(),
            [
                (Load::Lock, None, String::new()),
                (Load::Tlb, Some(4), "web".into()),
                (Load::Lat, None, "x".into()),
            ]
        );
        assert_eq!(names(""), Err(SpecError::NoSuchLoad(String::new())));
        assert_eq!(names("lock,"), Err(SpecError::NoSuchLoad(String::new())));
        assert!(names("vcpus=4,lock").is_err());
    }

    #[test]
    fn words() {
        let plain = |load| GuestRequest {
            load,
            vcpus: None,
            name: None,
            weight: None,
        };
        assert_eq!(request("lock"), plain(Load::Lock));
        let four = GuestRequest {
            vcpus: Some(4),
            ..plain(Load::Tlb)
        };
        assert_eq!(request("tlb:vcpus=4"), four);
        let web = GuestRequest {
            vcpus: Some(1),
            name: Some("web".into()),
            ..plain(Load::Lat)
        };
        assert_eq!(request("lat:vcpus=1,name=web"), web);
        assert_eq!(request("lat:name=web,vcpus=1"), web);
        assert_eq!(request("cpu:weight=10000").weight, Some(10_000));
    }

    #[test]
    fn wrong_words() {
        use SpecError::*;
        let long = "x".repeat(NAME_MAX_CHARS + 1);
        let too_long = format!("lock:name={long}");
        for (word, error) in [
            ("", NoSuchLoad(String::new())),
            ("Lock", NoSuchLoad("Lock".into())),
            ("lok:vcpus=2", NoSuchLoad("lok".into())),
            ("lock:", NoSuchSetting(String::new())),
            ("lock:vcpus", NoSuchSetting("vcpus".into())),
            ("lock:vcpus=2,", NoSuchSetting(String::new())),
            ("lock:cpus=2", NoSuchSetting("cpus=2".into())),
            ("lock:vcpus=0", BadVcpus("0".into())),
            ("lock:vcpus=256", BadVcpus("256".into())),
            ("lock:vcpus=-1", BadVcpus("-1".into())),
            ("lock:vcpus=", BadVcpus(String::new())),
            ("lock:vcpus=1,vcpus=1", Twice("vcpus")),
            ("lock:name=a,name=b", Twice("name")),
            ("lock:weight=0", BadWeight("0".into())),
            ("lock:weight=10001", BadWeight("10001".into())),
            ("lock:weight=1.5", BadWeight("1.5".into())),
            ("lock:weight=1,weight=1", Twice("weight")),
            ("lock:name=", BadName(String::new())),
            ("lock:name=a b", BadName("a b".into())),
            ("lock:name=ü", BadName("ü".into())),
            (&too_long, BadName(long)),
        ] {
            assert_eq!(word.parse::<GuestRequest>(), Err(error), "{word:?}");
        }
        let message = "lok".parse::<GuestRequest>().unwrap_err().to_string();
        assert!(message.contains("lock, tlb, msg"), "{message}");
    }

    #[test]
    fn what_is_left_open() {
        assert_eq!(names(&["lock", "tlb", "lock"]), ["lock1", "tlb1", "lock2"]);
        assert_eq!(
            names(&["lock", "cpu:name=lock1", "lock"]),
            ["lock2", "lock1", "lock3"]
        );
        let specs = resolved(&["lock", "lock:vcpus=3"]).unwrap();
        assert_eq!((specs[0].vcpus, specs[1].vcpus), (2, 3));
        assert_eq!(
            resolved(&["lock:name=a", "tlb:name=a"]),
            Err(SpecError::SameName("a".into()))
        );
        assert_eq!(resolved(&[]), Ok(vec![]));
    }

    #[test]
    fn all_have_a_weight_or_none() {
        let weights = |words: &[&str]| {
            let specs = resolved(words).unwrap();
            specs.iter().map(|spec| spec.weight).collect::<Vec<_>>()
        };
        assert_eq!(weights(&["cpu", "cpu"]), [None, None]);
        assert_eq!(weights(&["cpu", "cpu:weight=7"]), [Some(100), Some(7)]);
    }

    #[test]
    fn loads_in_the_background() {
        assert_eq!(daemon_load("lat"), Ok(Load::Lat));
        assert_eq!(daemon_load("io"), Err(SpecError::OnlyInBench(Load::Io)));
        assert_eq!(daemon_load("x"), Err(SpecError::NoSuchLoad("x".into())));
    }

    fn any_request() -> impl Strategy<Value = GuestRequest> {
        (
            proptest::sample::select(&Load::ALL[..]),
            proptest::option::of(1..=VCPUS_MAX),
            // Often one of those that would be made up.
            proptest::option::of("(lock|io)[1-4]|[a-zA-Z0-9._-]{1,32}"),
            proptest::option::of(1..=WEIGHT_MAX),
        )
            .prop_map(|(load, vcpus, name, weight)| GuestRequest {
                load,
                vcpus,
                name,
                weight,
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(request in any_request()) {
            let settings: Vec<_> = request
                .vcpus
                .map(|n| format!("vcpus={n}"))
                .into_iter()
                .chain(request.name.as_ref().map(|name| format!("name={name}")))
                .chain(request.weight.map(|n| format!("weight={n}")))
                .collect();
            let word = match &settings[..] {
                [] => request.load.to_string(),
                settings => format!("{}:{}", request.load, settings.join(",")),
            };
            prop_assert_eq!(word.parse(), Ok(request));
        }

        #[test]
        fn any_word_is_read_or_refused(word in "(lock|io)?:?(vcpus|name|weight)?=?.{0,40}") {
            if let Ok(GuestRequest { vcpus: Some(vcpus), .. }) = word.parse() {
                prop_assert!((1..=VCPUS_MAX).contains(&vcpus));
            }
        }

        #[test]
        fn every_guest_has_a_name_of_its_own(
            requests in proptest::collection::vec(any_request(), 0..20),
        ) {
            match resolve(&requests, 2) {
                Ok(specs) => {
                    let names: HashSet<_> = specs.iter().map(|spec| &spec.name).collect();
                    prop_assert_eq!(names.len(), requests.len());
                }
                Err(SpecError::SameName(name)) => {
                    let same = |r: &&GuestRequest| r.name.as_ref() == Some(&name);
                    prop_assert!(requests.iter().filter(same).count() > 1);
                }
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
