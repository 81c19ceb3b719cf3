//! Going on although the log did not verify: two people, each by name, say so about exactly what was found. An [`LogAcknowledgement`] has no
//! other maker than [`LogAcknowledgement::agree`].

use super::clock::Timestamp;
use super::id::OperatorId;
use super::operator::{ASSENT_HOLDS, Act, Disagreement};
use super::principal::Operator;
use super::refusal::{Code, Issue, Refusal};

/// Digest of everything that one look at the log found.
pub type FindingDigest = [u8; 32];

/// One person's word about what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    by: OperatorId,
    finding: FindingDigest,
    at: Timestamp,
    reason: String,
}

impl Word {
    /// Gives it.
    ///
    /// # Errors
    /// `role-insufficient` for a person whose role does not fit, and for the folder's owner, who is nobody by name.
    pub fn given(operator: &Operator, finding: FindingDigest, at: Timestamp, reason: &str) -> Result<Self, Refusal> {
        operator.may(Act::Acknowledge)?;
        match operator {
            Operator::Named { id, .. } => Ok(Self::kept(id.clone(), finding, at, reason)),
            Operator::OsUser(_) => {
                let roles = Act::Acknowledge.roles_in_words();
                let issue = Issue::new(Code::RoleInsufficient)
                    .message_text(format!("This needs two people with the role {roles}, each by name."));
                Err(issue.cure_text("Run it with `--as ID`; `daylily operator add` registers people.").into())
            }
        }
    }

    /// As it was kept while it waited.
    pub fn kept(by: OperatorId, finding: FindingDigest, at: Timestamp, reason: &str) -> Self {
        Self { by, finding, at, reason: reason.to_owned() }
    }

    /// Who.
    pub fn by(&self) -> &OperatorId {
        &self.by
    }

    /// About what.
    pub fn finding(&self) -> FindingDigest {
        self.finding
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Until when it waits for another's.
    pub fn until(&self) -> Timestamp {
        self.at.plus(ASSENT_HOLDS)
    }

    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Proof that two people agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogAcknowledgement {
    first: Word,
    second: Word,
}

impl LogAcknowledgement {
    /// Two words about one finding.
    ///
    /// # Errors
    /// [`Disagreement`].
    pub fn agree(first: Word, second: Word) -> Result<Self, Disagreement> {
        if first.by == second.by {
            return Err(Disagreement::SamePerson);
        }
        if first.finding != second.finding {
            return Err(Disagreement::OtherSubject);
        }
        if second.at < first.at || second.at >= first.until() {
            return Err(Disagreement::TooLate);
        }
        Ok(Self { first, second })
    }

    /// Who asked for it.
    pub fn first(&self) -> &Word {
        &self.first
    }

    /// Who confirmed it.
    pub fn second(&self) -> &Word {
        &self.second
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::operator::Role;

    fn operator(id: &str, role: Role) -> Operator {
        Operator::Named { id: OperatorId::parse(id).unwrap(), role }
    }

    fn word(id: &str, finding: u8, at: i64) -> Word {
        Word::given(&operator(id, Role::Security), [finding; 32], Timestamp::from_millis(at), "seen").unwrap()
    }

    #[test]
    fn two_people_agree_on_one_finding_in_time() {
        let late = i64::try_from(ASSENT_HOLDS.as_millis()).unwrap();
        let agreed = |first, second| LogAcknowledgement::agree(first, second).map(|_| ());
        assert_eq!(agreed(word("anna", 1, 0), word("ben", 1, late - 1)), Ok(()));
        assert_eq!(agreed(word("anna", 1, 0), word("anna", 1, 1)), Err(Disagreement::SamePerson));
        assert_eq!(agreed(word("anna", 1, 0), word("ben", 2, 1)), Err(Disagreement::OtherSubject));
        assert_eq!(agreed(word("anna", 1, 0), word("ben", 1, late)), Err(Disagreement::TooLate));
        assert_eq!(agreed(word("anna", 1, 5), word("ben", 1, 4)), Err(Disagreement::TooLate));
    }

    #[test]
    fn whoever_is_no_operator_by_name_has_no_word() {
        let give = |operator: &Operator| Word::given(operator, [1; 32], Timestamp::from_millis(0), "seen").is_ok();
        assert!(give(&operator("anna", Role::Operator)));
        assert!(!give(&operator("anna", Role::Auditor)) && !give(&operator("anna", Role::Privacy)));
        assert!(!give(&Operator::OsUser(0)));
    }
}
