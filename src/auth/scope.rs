//! Scopes of system clients: the grammar of SMART App Launch 2.2 (v1 and v2 spelling), what a request is granted of what its client is
//! registered for, and the permissions that a granted scope stands for. Strict: what is not understood grants nothing.

use crate::domain::principal::{Interaction, Permissions};
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::Kind;

/// Longest scope string that is read, in bytes.
pub const MAX_SCOPE_BYTES: usize = 4 * 1024;

/// Most scopes in one string.
pub const MAX_SCOPES: usize = 100;

/// A set of the letters `cruds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Letters(u8);

impl Letters {
    const NONE: Self = Self(0);
    const READ: Self = Self(0b10010);
    const WRITE: Self = Self(0b01101);
    const ALL: Self = Self(0b11111);

    /// v2: a non-empty run of the letters in the order `cruds`, each once. v1: `read`, `write`, `*`.
    fn parse(text: &str) -> Option<Self> {
        match text {
            "read" => return Some(Self::READ),
            "write" => return Some(Self::WRITE),
            "*" => return Some(Self::ALL),
            _ => {}
        }
        let mut letters = Self::NONE;
        for letter in text.chars() {
            let at = Interaction::ALL.iter().position(|interaction| interaction.letter() == letter)?;
            // A letter that is not beyond all before it is out of order, or stands twice.
            if letters.0 >> at != 0 {
                return None;
            }
            letters.0 |= 1 << at;
        }
        (letters != Self::NONE).then_some(letters)
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn covers(self, other: Self) -> bool {
        self.and(other) == other
    }

    fn interactions(self) -> impl Iterator<Item = Interaction> {
        Interaction::ALL.into_iter().enumerate().filter(move |(at, _)| self.0 >> at & 1 == 1).map(|(_, each)| each)
    }

    fn spelled(self) -> String {
        self.interactions().map(Interaction::letter).collect()
    }
}

/// What a scope is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Types {
    /// `*`: what this server keeps now and later.
    Every,
    /// One type that is kept here.
    One(Kind),
    /// A type that is not kept here.
    Foreign,
}

/// One word of a scope string, as far as it is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// `system/…`
    System(Types, Letters),
    /// A scope of a person, or one narrowed by a query: understood, and not for this way of getting a token.
    OutOfPlace,
    /// Anything else; grants nothing.
    Unknown,
}

impl Word {
    fn parse(word: &str) -> Self {
        let Some((context, rest)) = word.split_once('/') else { return Self::Unknown };
        let (resource, query) = rest.split_once('?').map_or((rest, None), |(resource, query)| (resource, Some(query)));
        let Some((name, letters)) = resource.split_once('.') else { return Self::Unknown };
        let (Some(types), Some(letters)) = (types(name), Letters::parse(letters)) else { return Self::Unknown };
        match (context, query) {
            ("system", None) => Self::System(types, letters),
            ("system" | "patient" | "user", _) => Self::OutOfPlace,
            _ => Self::Unknown,
        }
    }
}

fn types(name: &str) -> Option<Types> {
    if name == "*" {
        return Some(Types::Every);
    }
    let plain = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphabetic());
    plain.then(|| Kind::parse(name).map_or(Types::Foreign, Types::One))
}

/// Splits a scope string (RFC 6749 §3.3: words of `%x21 %x23-5B %x5D-7E`, one space between). `None` when it is not one.
fn words(text: &str) -> Option<Vec<&str>> {
    let allowed = |byte: u8| byte == 0x21 || (0x23..=0x5b).contains(&byte) || (0x5d..=0x7e).contains(&byte);
    if text.len() > MAX_SCOPE_BYTES {
        return None;
    }
    let words: Vec<_> = text.split(' ').collect();
    let well_formed =
        words.len() <= MAX_SCOPES && words.iter().all(|word| !word.is_empty() && word.bytes().all(allowed));
    well_formed.then_some(words)
}

/// The scopes of a client's registration, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    entries: Vec<(Types, Letters)>,
}

/// Why a scope string cannot be registered. The texts complete "scope …".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeFault {
    /// Not a scope string, or over the limits.
    Malformed,
    /// A word that is no scope of a system client.
    NotSystem,
    /// A type that is not kept here.
    ForeignType,
}

impl ScopeFault {
    /// The fault in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "must be scopes separated by single spaces, at most 100 and 4 KiB",
            Self::NotSystem => "must hold only scopes like system/DocumentReference.rs, without a query",
            Self::ForeignType => "names a type that this server does not keep",
        }
    }
}

impl Registered {
    /// Reads what an operator registers.
    ///
    /// # Errors
    /// The first fault.
    pub fn parse(text: &str) -> Result<Self, ScopeFault> {
        let entry = |word| match Word::parse(word) {
            Word::System(Types::Foreign, _) => Err(ScopeFault::ForeignType),
            Word::System(types, letters) => Ok((types, letters)),
            Word::OutOfPlace | Word::Unknown => Err(ScopeFault::NotSystem),
        };
        let entries = words(text).ok_or(ScopeFault::Malformed)?.into_iter().map(entry).collect::<Result<_, _>>()?;
        Ok(Self { entries })
    }

    fn letters(&self, wanted: Types) -> Letters {
        let covering = self.entries.iter().filter(|(types, _)| *types == Types::Every || *types == wanted);
        covering.fold(Letters::NONE, |sum, (_, letters)| sum.or(*letters))
    }

    /// What is granted of a requested scope string: its words that are covered, in their own spelling (a v1 word stays v1), and for
    /// words covered in part what is left of them in v2 spelling. Words that are not understood and types that are not kept
    /// here grant nothing.
    ///
    /// # Errors
    /// `scope-unsupported` (400 `invalid_scope`): not a scope string; a `patient/`, `user/` or narrowed scope, none of which
    /// a system client can be given; or nothing is left.
    pub fn grant(&self, requested: &str) -> Result<Granted, Refusal> {
        let refused = || Refusal::of(Code::ScopeUnsupported);
        let mut granted: Vec<String> = Vec::new();
        for word in words(requested).ok_or_else(refused)? {
            let spelled = match Word::parse(word) {
                Word::System(types, letters) => self.covered(word, types, letters),
                Word::OutOfPlace => return Err(refused()),
                Word::Unknown => Vec::new(),
            };
            for each in spelled {
                if !granted.contains(&each) {
                    granted.push(each);
                }
            }
        }
        let scope = granted.join(" ");
        let permissions = permissions(&scope);
        if permissions.is_empty() { Err(refused()) } else { Ok(Granted { scope, permissions }) }
    }

    fn covered(&self, word: &str, types: Types, letters: Letters) -> Vec<String> {
        let held = self.letters(types).and(letters);
        match types {
            Types::Foreign => Vec::new(),
            _ if held.covers(letters) => vec![word.to_owned()],
            Types::One(kind) => spell(kind.as_str(), held).into_iter().collect(),
            Types::Every => {
                let more = Kind::ALL.iter().filter_map(|kind| {
                    let of_kind = self.letters(Types::One(*kind)).and(letters);
                    (!held.covers(of_kind)).then(|| spell(kind.as_str(), of_kind)).flatten()
                });
                spell("*", held).into_iter().chain(more).collect()
            }
        }
    }
}

fn spell(name: &str, letters: Letters) -> Option<String> {
    (letters != Letters::NONE).then(|| format!("system/{name}.{}", letters.spelled()))
}

/// A granted scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// As it is answered and carried by the token.
    pub scope: String,
    /// What it allows.
    pub permissions: Permissions,
}

/// What a scope string allows, of the types kept here. Words that are not understood allow nothing.
pub fn permissions(scope: &str) -> Permissions {
    let mut permissions = Permissions::default();
    for word in scope.split(' ') {
        let Word::System(types, letters) = Word::parse(word) else { continue };
        let covered = Kind::ALL.iter().filter(|kind| types == Types::Every || types == Types::One(**kind));
        for kind in covered {
            letters.interactions().for_each(|interaction| permissions.grant(*kind, interaction));
        }
    }
    permissions
}

/// Scopes for `scopes_supported`: everything listed can really be granted.
pub fn supported() -> Vec<String> {
    let every = ["system/*.cruds", "system/*.rs", "system/*.read", "system/*.write", "system/*.*"].map(str::to_owned);
    let letters = |kind: &Kind| if *kind == Kind::Binary { "cr" } else { "cruds" };
    let each = Kind::ALL.iter().flat_map(|kind| {
        let name = kind.as_str();
        [letters(kind), "read", "write"].map(|letters| format!("system/{name}.{letters}"))
    });
    every.into_iter().chain(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grant(registered: &str, requested: &str) -> Option<String> {
        Registered::parse(registered).unwrap().grant(requested).ok().map(|granted| granted.scope)
    }

    #[test]
    fn the_spelling_of_the_request_is_kept_where_it_is_covered() {
        let held = "system/*.cruds";
        for scope in
            ["system/DocumentReference.read", "system/*.read", "system/*.*", "system/Binary.r system/Patient.write"]
        {
            assert_eq!(grant(held, scope).as_deref(), Some(scope));
        }
    }

    /// SMART App Launch 2.2, scopes for requesting FHIR resources: `.read` = `rs`, `.write` = `cud`, `.*` = `cruds`.
    #[test]
    fn v1_words_mean_their_letters() {
        for (v1, v2) in [("read", "rs"), ("write", "cud"), ("*", "cruds")] {
            assert_eq!(permissions(&format!("system/Patient.{v1}")), permissions(&format!("system/Patient.{v2}")));
        }
        assert!(!permissions("system/Patient.write").allows(Kind::Patient, Interaction::Read));
        assert!(!permissions("system/Patient.read").allows(Kind::Patient, Interaction::Delete));
    }

    #[test]
    fn what_is_covered_in_part_is_granted_in_part() {
        let held = "system/DocumentReference.rs system/Binary.r";
        assert_eq!(grant(held, "system/DocumentReference.cruds").as_deref(), Some("system/DocumentReference.rs"));
        assert_eq!(grant(held, "system/*.read").as_deref(), Some("system/DocumentReference.rs system/Binary.r"));
        assert_eq!(
            grant("system/*.r system/Patient.s", "system/*.rs").as_deref(),
            Some("system/*.r system/Patient.rs")
        );
        assert_eq!(grant(held, "system/Patient.rs"), None);
    }

    #[test]
    fn unknown_words_and_foreign_types_grant_nothing() {
        let held = "system/*.cruds";
        assert_eq!(grant(held, "openid system/Observation.rs"), None);
        let mixed = "launch/patient system/Observation.rs system/Binary.r offline_access";
        assert_eq!(grant(held, mixed).as_deref(), Some("system/Binary.r"));
    }

    #[test]
    fn a023_tricks_of_spelling_grant_nothing() {
        for trick in [
            "",
            " ",
            "system/*.*\t",
            "system/Document*.r",
            "system\u{2215}Patient.r",
            "system/Patient.dus",
            "system/Patient.rr",
            "system/Patient.",
            "system/.r",
            "system/Patient.R",
            "SYSTEM/Patient.r",
            "system/patient.r",
            "system/Patient.r.s",
            "system/Patient.*s",
            "system/**.r",
            "system//Patient.r",
            "system/Patient.r  system/Binary.r",
            "system/Patient.r\\",
            "patient/*.*",
            "user/*.cruds",
            "patient/Patient.rs?a=b",
            "system/Patient.rs?gender=male",
            "system/Patient.r\n",
            "system/Patient.r user/Patient.r",
        ] {
            assert_eq!(grant("system/*.cruds", trick), None, "{trick:?}");
        }
        assert_eq!(grant("system/*.cruds", &"system/Patient.r ".repeat(4000)), None);
        let twice = grant("system/*.cruds", "system/Patient.r system/Patient.r");
        assert_eq!(twice.as_deref(), Some("system/Patient.r"));
    }

    #[test]
    fn a_refused_scope_is_invalid_scope() {
        let refused = Registered::parse("system/*.rs").unwrap().grant("user/*.rs").unwrap_err();
        assert_eq!(
            (refused.code(), refused.status(), refused.oauth().as_str()),
            (Code::ScopeUnsupported, 400, "invalid_scope")
        );
    }

    #[test]
    fn what_cannot_be_granted_cannot_be_registered() {
        assert_eq!(Registered::parse("system/Observation.rs"), Err(ScopeFault::ForeignType));
        assert_eq!(Registered::parse("system/Patient.rs?a=b"), Err(ScopeFault::NotSystem));
        assert_eq!(Registered::parse("openid"), Err(ScopeFault::NotSystem));
        assert_eq!(Registered::parse("system/Patient.rs "), Err(ScopeFault::Malformed));
    }

    #[test]
    fn everything_listed_as_supported_can_be_granted() {
        for scope in supported() {
            assert_eq!(grant("system/*.cruds", &scope).as_deref(), Some(scope.as_str()));
        }
    }

    fn a_word() -> impl Strategy<Value = String> {
        let names = prop::sample::select(vec!["*", "Patient", "Binary", "DocumentReference", "Observation"]);
        let letters = prop::sample::select(vec!["c", "r", "rs", "cruds", "cud", "read", "write", "*", "us"]);
        (names, letters).prop_map(|(name, letters)| format!("system/{name}.{letters}"))
    }

    proptest! {
        /// Independent of the code under test: the permissions of the grant are those of both strings, pair by pair.
        #[test]
        fn a023_a_grant_is_exactly_what_was_asked_for_and_is_registered(
            held in prop::collection::vec(a_word(), 1..5), asked in prop::collection::vec(a_word(), 1..5)
        ) {
            let held: Vec<_> = held.into_iter().filter(|word| !word.contains("Observation")).collect();
            prop_assume!(!held.is_empty());
            let (held, asked) = (held.join(" "), asked.join(" "));
            let granted = Registered::parse(&held).unwrap().grant(&asked).map(|granted| granted.permissions).unwrap_or_default();
            for kind in Kind::ALL {
                for interaction in Interaction::ALL {
                    let both = permissions(&held).allows(*kind, interaction) && permissions(&asked).allows(*kind, interaction);
                    prop_assert_eq!(granted.allows(*kind, interaction), both);
                }
            }
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,80}") {
            let _ = Registered::parse(&text);
            let _ = Registered::parse("system/*.cruds").unwrap().grant(&text);
        }
    }
}
