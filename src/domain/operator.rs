//! People who may act: their roles, the one table of who may do what, and how two of them agree. An [`Override`] has no other
//! maker than [`Override::agree`], and only [`super::lifecycle`] takes it: one person alone cannot release what was held back.
//! How a password is checked is not decided here.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::clock::Timestamp;
use super::id::OperatorId;
use super::principal::Operator;
use super::refusal::{Code, Issue, Refusal};
use super::resource::DocumentNumber;

/// How long the first person's assent waits for the second.
pub const ASSENT_HOLDS: Duration = Duration::from_secs(24 * 3_600);

/// What a person is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs the server.
    Operator,
    /// Answers incidents.
    Security,
    /// Answers for holds, archive and erasure.
    Privacy,
    /// Reads and verifies.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Security, Self::Privacy, Self::Auditor];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Security => "security",
            Self::Privacy => "privacy",
            Self::Auditor => "auditor",
        }
    }

    /// Role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// What a command does, as far as it decides who may give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Lists and shows what is there, without content.
    Look,
    /// Registers and changes clients.
    Clients,
    /// Makes a policy the active one.
    Policy,
    /// Withdraws links.
    Links,
    /// Withdraws all links at once.
    RevokeAll,
    /// Releases or destroys what was held back.
    Quarantine,
    /// Lays a legal hold on a document, or takes it off.
    Hold,
    /// Hands out the record.
    Audit,
    /// Goes on although the record does not verify.
    Acknowledge,
    /// Confirms the clock, so that destruction goes on.
    Clock,
    /// Registers operators and switches them off.
    Operators,
}

impl Act {
    /// Every act.
    pub const ALL: [Self; 11] = [
        Self::Look,
        Self::Clients,
        Self::Policy,
        Self::Links,
        Self::RevokeAll,
        Self::Quarantine,
        Self::Hold,
        Self::Audit,
        Self::Acknowledge,
        Self::Clock,
        Self::Operators,
    ];

    /// The table (contract, Commands, `operator add`): who may do it by role. No role may make or stop operators; that is the
    /// folder's owner's, who could read the folder anyway.
    pub fn roles(self) -> &'static [Role] {
        match self {
            Self::Look => &Role::ALL,
            Self::Clients | Self::Policy | Self::Links | Self::Quarantine | Self::Clock | Self::Acknowledge => {
                &[Role::Operator, Role::Security]
            }
            Self::RevokeAll => &[Role::Security],
            Self::Hold => &[Role::Privacy],
            Self::Audit => &[Role::Security, Role::Privacy, Role::Auditor],
            Self::Operators => &[],
        }
    }

    /// The roles in words: `operator or security`.
    pub fn roles_in_words(self) -> String {
        let names: Vec<&str> = self.roles().iter().map(|role| role.as_str()).collect();
        match names.as_slice() {
            [] => "owner of the data folder".to_owned(),
            [one] => (*one).to_owned(),
            [most @ .., last] => format!("{} or {last}", most.join(", ")),
        }
    }

    /// `role-insufficient`, for a person with another role.
    pub fn refused(self) -> Refusal {
        let issue = Issue::new(Code::RoleInsufficient);
        match self.roles() {
            [] => issue
                .message_text("This is for the owner of the data folder, not for a named operator.")
                .cure_text("Run it as that user, without `--as`.")
                .into(),
            _ => issue.message_text(format!("This needs the role {}.", self.roles_in_words())).into(),
        }
    }
}

/// A password as given: never shown, never logged, wiped when it is let go.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Shortest password, in characters: it is the only factor (NIST SP 800-63B-4, 3.1.1.2).
pub const SHORTEST_PASSWORD: usize = 15;
/// Longest password, in bytes.
pub const LONGEST_PASSWORD: usize = 1_024;

impl Password {
    /// As someone claims it: any text.
    pub fn claimed(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// A new one.
    ///
    /// # Errors
    /// `flag-malformed` when it is too short, too long, or has control characters. The text is not repeated.
    pub fn chosen(text: &str) -> Result<Self, Refusal> {
        let wrong = |fault: &str| {
            let issue = Issue::new(Code::FlagMalformed).fill("flag", "the password").fill("fault", fault);
            Err(issue.fill("cure", "choose several words that nobody else would put together").into())
        };
        match text {
            text if text.chars().count() < SHORTEST_PASSWORD => wrong("must have 15 characters or more"),
            text if text.len() > LONGEST_PASSWORD => wrong("must not be longer than 1,024 bytes"),
            text if text.chars().any(char::is_control) => wrong("must not have control characters"),
            _ => Ok(Self::claimed(text)),
        }
    }

    /// The text, for hashing only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// What an assent is about: a document as it was held back at one moment. Held back again, it is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    /// The document.
    pub document: DocumentNumber,
    /// Since when it is held back.
    pub since: Timestamp,
}

/// One person's word that a file be released although no engine calls it clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assent {
    by: OperatorId,
    subject: HeldBack,
    at: Timestamp,
    reason: String,
}

impl Assent {
    /// Gives it.
    ///
    /// # Errors
    /// `role-insufficient` for a person whose role does not fit, and for the folder's owner, who is nobody by name.
    pub fn given(operator: &Operator, subject: HeldBack, at: Timestamp, reason: &str) -> Result<Self, Refusal> {
        operator.may(Act::Quarantine)?;
        match operator {
            Operator::Named { id, .. } => Ok(Self { by: id.clone(), subject, at, reason: reason.to_owned() }),
            Operator::OsUser(_) => {
                let issue = Issue::new(Code::RoleInsufficient).message_text(format!(
                    "This needs two people with the role {}, each by name.",
                    Act::Quarantine.roles_in_words()
                ));
                Err(issue.cure_text("Run it with `--as ID`; `daylily operator add` registers people.").into())
            }
        }
    }

    /// Who.
    pub fn by(&self) -> &OperatorId {
        &self.by
    }

    /// Until when it waits for another's.
    pub fn until(&self) -> Timestamp {
        self.at.plus(ASSENT_HOLDS)
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// About what.
    pub fn subject(&self) -> HeldBack {
        self.subject
    }
}

/// Why two assents are no agreement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disagreement {
    /// What policy decided for the document does not allow it (`allow-override`).
    NotAllowed,
    /// Both are the same person's.
    SamePerson,
    /// They are about different things.
    OtherSubject,
    /// The first is too old.
    TooLate,
}

/// Proof that two people, each with a fitting role, agreed on releasing what was held back. It cannot be made elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    first: Assent,
    second: Assent,
    overruled: String,
}

impl Override {
    /// Two assents to one release. `allowed` is the decision's `allow_override`; `overruled` is the verdict as the
    /// document's last step names it.
    ///
    /// # Errors
    /// [`Disagreement`].
    pub fn agree(first: Assent, second: Assent, allowed: bool, overruled: &str) -> Result<Self, Disagreement> {
        if !allowed {
            return Err(Disagreement::NotAllowed);
        }
        if first.by == second.by {
            return Err(Disagreement::SamePerson);
        }
        if first.subject != second.subject {
            return Err(Disagreement::OtherSubject);
        }
        if second.at < first.at || second.at >= first.until() {
            return Err(Disagreement::TooLate);
        }
        Ok(Self { first, second, overruled: overruled.to_owned() })
    }

    /// Who asked for it.
    pub fn first(&self) -> &Assent {
        &self.first
    }

    /// Who confirmed it.
    pub fn second(&self) -> &Assent {
        &self.second
    }

    /// The verdict that they overruled.
    pub fn overruled(&self) -> &str {
        &self.overruled
    }
}

#[cfg(test)]
pub(crate) mod tests;
