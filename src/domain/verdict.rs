//! What the safety check says of a file, and the proof that it said "clean". [`CleanScan`] has no other maker than
//! [`Verdict::clean_for`], and only [`super::lifecycle`] takes it: bytes that no engine looked at cannot be released.

use super::id::FileId;

/// The safety check's engines that this version serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Engine {
    /// The built-in rules.
    Rules,
    /// clamd, the daemon of ClamAV.
    Clamd,
}

impl Engine {
    /// Every engine.
    pub const ALL: [Self; 2] = [Self::Rules, Self::Clamd];

    /// Name in policies, settings and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rules => "rules",
            Self::Clamd => "clamd",
        }
    }

    /// Engine of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| engine.name() == name)
    }

    /// Whether it knows virus signatures (`require-antivirus` waits for one that does).
    pub fn is_antivirus(self) -> bool {
        match self {
            Self::Rules => false,
            Self::Clamd => true,
        }
    }
}

/// Why a file is not clean. The names are stable: they are stored and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// The bytes are of another kind than declared.
    TypeMismatch,
    /// A program that a desktop would run (PE, ELF, Mach-O, script with an interpreter line, installer, shortcut).
    Executable,
    /// Script in SVG, HTML, XML or PDF, or an action that a viewer would run.
    ActiveScript,
    /// Office macros.
    Macro,
    /// The EICAR test file, or a signature of an engine.
    Malware,
    /// An archive that unpacks to far more than it is, or nests too deep.
    ArchiveBomb,
    /// Encrypted or password-protected, so that it cannot be looked into.
    Encrypted,
    /// Broken in a way that hides what it holds.
    Unreadable,
    /// Larger than the engine looks into.
    TooLarge,
}

impl Finding {
    /// Every finding.
    pub const ALL: [Self; 9] = [
        Self::TypeMismatch,
        Self::Executable,
        Self::ActiveScript,
        Self::Macro,
        Self::Malware,
        Self::ArchiveBomb,
        Self::Encrypted,
        Self::Unreadable,
        Self::TooLarge,
    ];

    /// Stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::TypeMismatch => "type-mismatch",
            Self::Executable => "executable",
            Self::ActiveScript => "active-script",
            Self::Macro => "macro",
            Self::Malware => "malware",
            Self::ArchiveBomb => "archive-bomb",
            Self::Encrypted => "encrypted",
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too-large",
        }
    }

    /// Finding of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|finding| finding.name() == name)
    }

    /// Whether the file could not be looked into, rather than being found harmful.
    pub fn is_uninspectable(self) -> bool {
        matches!(self, Self::Encrypted | Self::ArchiveBomb | Self::Unreadable | Self::TooLarge)
    }

    /// What `scan-detected` and `scan-uninspectable` say of it.
    pub fn words(self) -> &'static str {
        match self {
            Self::TypeMismatch => "bytes of another kind than declared",
            Self::Executable | Self::Malware => "a harmful program",
            Self::ActiveScript => "active script",
            Self::Macro => "a macro",
            Self::ArchiveBomb => "nested too deep",
            Self::Encrypted => "encrypted",
            Self::Unreadable => "damaged",
            Self::TooLarge => "too large for the scanner",
        }
    }
}

/// What one engine says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Engine that looked.
    pub engine: Engine,
    /// File that it looked at.
    pub file: FileId,
    /// SHA-256 of the very bytes that it saw.
    pub sha256: [u8; 32],
    /// `None`: clean.
    pub finding: Option<Finding>,
    /// Where inside, for operators: the engine's own words, no file name of the document ("entry 3, level 2").
    pub place: String,
}

impl Verdict {
    /// The proof that `file`, whose recorded digest is `sha256`, was found clean by every one of `engines`.
    /// `None` when an engine has not spoken, found something, or saw other bytes.
    pub fn clean_for(file: FileId, sha256: [u8; 32], engines: &[Engine], verdicts: &[Self]) -> Option<CleanScan> {
        let spoke_clean = |engine: &Engine| {
            verdicts.iter().any(|v| v.engine == *engine && v.file == file && v.sha256 == sha256 && v.finding.is_none())
        };
        let dirty = verdicts.iter().any(|v| v.file == file && v.finding.is_some());
        (!engines.is_empty() && !dirty && engines.iter().all(spoke_clean)).then_some(CleanScan { file, sha256 })
    }
}

/// Proof that a file was found clean. It cannot be made outside this module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanScan {
    file: FileId,
    sha256: [u8; 32],
}

impl CleanScan {
    /// The file that is clean.
    pub fn file(&self) -> FileId {
        self.file
    }

    /// Digest of the bytes that are clean.
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(sha256: [u8; 32], finding: Option<Finding>) -> Verdict {
        let file = FileId::from_bytes([1; 16]);
        Verdict { engine: Engine::Rules, file, sha256, finding, place: String::new() }
    }

    #[test]
    fn only_a_clean_verdict_of_every_engine_on_the_same_bytes_is_proof() {
        let file = FileId::from_bytes([1; 16]);
        let proof = |verdicts: &[Verdict]| Verdict::clean_for(file, [7; 32], &[Engine::Rules], verdicts);
        assert!(proof(&[verdict([7; 32], None)]).is_some());
        assert!(proof(&[]).is_none(), "nobody looked");
        assert!(proof(&[verdict([8; 32], None)]).is_none(), "other bytes");
        assert!(proof(&[verdict([7; 32], None), verdict([7; 32], Some(Finding::Macro))]).is_none());
        assert!(Verdict::clean_for(file, [7; 32], &[], &[verdict([7; 32], None)]).is_none(), "no engine asked");
        let both = [Engine::Rules, Engine::Clamd];
        let second = |finding| Verdict { engine: Engine::Clamd, ..verdict([7; 32], finding) };
        let agreed = |verdicts: &[Verdict]| Verdict::clean_for(file, [7; 32], &both, verdicts).is_some();
        assert!(agreed(&[verdict([7; 32], None), second(None)]));
        assert!(!agreed(&[verdict([7; 32], None)]), "the other has not spoken");
        assert!(!agreed(&[verdict([7; 32], None), verdict([7; 32], None)]), "one engine twice is one engine");
        assert!(!agreed(&[verdict([7; 32], None), second(Some(Finding::Malware))]));
    }

    #[test]
    fn a138_a_verdict_on_other_bytes_or_another_file_releases_nothing() {
        use crate::domain::clock::Timestamp;
        use crate::domain::lifecycle::{Actor, Stamp, State, release};
        let (file, other) = (FileId::from_bytes([1; 16]), FileId::from_bytes([2; 16]));
        let proof = || Verdict::clean_for(file, [7; 32], &[Engine::Rules], &[verdict([7; 32], None)]).unwrap();
        let released = |files: &[(FileId, [u8; 32])]| {
            let stamp = Stamp { at: Timestamp::from_millis(0), actor: Actor::Server, due: None };
            release(State::Created, files, vec![proof()], stamp).is_ok()
        };
        assert!(released(&[(file, [7; 32])]));
        assert!(!released(&[(file, [8; 32])]), "the bytes were replaced since");
        assert!(!released(&[(other, [7; 32])]), "the same bytes, and another file");
        assert!(!released(&[(file, [7; 32]), (other, [7; 32])]), "one of two");
    }

    #[test]
    fn engines_have_their_names() {
        for engine in Engine::ALL {
            assert_eq!(Engine::from_name(engine.name()), Some(engine));
        }
        assert!(Engine::Clamd.is_antivirus() && !Engine::Rules.is_antivirus());
    }
}
