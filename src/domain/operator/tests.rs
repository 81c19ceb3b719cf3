//! The role table against the contract's sentence, and when two people agree.

use super::*;

fn named(id: &str, role: Role) -> Operator {
    Operator::Named { id: OperatorId::parse(id).unwrap(), role }
}

fn subject(document: i64, since: i64) -> HeldBack {
    HeldBack { document: DocumentNumber(document), since: Timestamp::from_millis(since) }
}

fn assent(id: &str, about: HeldBack, at: i64) -> Assent {
    Assent::given(&named(id, Role::Security), about, Timestamp::from_millis(at), "looked at it").unwrap()
}

/// An agreement of two people, for tests of what takes one.
pub(crate) fn sample_override() -> Override {
    let (first, second) = (assent("anna", subject(1, 5), 10), assent("ben", subject(1, 5), 20));
    Override::agree(first, second, true, "scan-detected: macro").unwrap()
}

/// Contract, Commands: "operator: quarantine, links, clients, policy; security: the same, and revoking all, audit; privacy:
/// holds, archive, erasure, audit; auditor: reading and verifying".
#[test]
fn every_command_and_role_as_the_contract_says() {
    let rows: [(Act, [bool; 4]); 11] = [
        // operator, security, privacy, auditor
        (Act::Look, [true, true, true, true]),
        (Act::Clients, [true, true, false, false]),
        (Act::Policy, [true, true, false, false]),
        (Act::Links, [true, true, false, false]),
        (Act::RevokeAll, [false, true, false, false]),
        (Act::Quarantine, [true, true, false, false]),
        (Act::Hold, [false, false, true, false]),
        (Act::Audit, [false, true, true, true]),
        (Act::Acknowledge, [true, true, false, false]),
        (Act::Clock, [true, true, false, false]),
        (Act::Operators, [false, false, false, false]),
    ];
    assert_eq!(rows.map(|(act, _)| act), Act::ALL);
    for (act, expected) in rows {
        for (role, may) in Role::ALL.into_iter().zip(expected) {
            let answer = named("anna", role).may(act);
            assert_eq!(answer.is_ok(), may, "{act:?} {role:?}");
            if let Err(refused) = answer {
                assert_eq!((refused.code(), refused.status()), (Code::RoleInsufficient, 403));
            }
        }
        assert!(Operator::OsUser(0).may(act).is_ok(), "whoever owns the folder may do what needs one person");
    }
}

#[test]
fn roles_read_back_and_are_named_in_refusals() {
    for role in Role::ALL {
        assert_eq!(Role::parse(role.as_str()), Some(role));
    }
    assert_eq!(Role::parse("Operator"), None);
    assert_eq!(Act::Hold.roles_in_words(), "privacy");
    assert_eq!(Act::Audit.roles_in_words(), "security, privacy or auditor");
}

#[test]
fn one_person_is_not_two_and_nobody_is_not_one() {
    let about = subject(1, 5);
    let agree = |first, second| Override::agree(first, second, true, "scan-detected: macro");
    assert_eq!(agree(assent("anna", about, 10), assent("anna", about, 20)), Err(Disagreement::SamePerson));
    for role in [Role::Privacy, Role::Auditor] {
        let refused = Assent::given(&named("eve", role), about, Timestamp::from_millis(1), "x").unwrap_err();
        assert_eq!(refused.code(), Code::RoleInsufficient);
    }
    let owner = Assent::given(&Operator::OsUser(0), about, Timestamp::from_millis(1), "x").unwrap_err();
    assert_eq!(owner.code(), Code::RoleInsufficient, "the folder's owner is nobody by name");
}

#[test]
fn an_agreement_is_about_one_thing_in_its_time_and_where_policy_allows_it() {
    let about = subject(1, 5);
    let day = i64::try_from(ASSENT_HOLDS.as_millis()).unwrap();
    let agree = |first, second, allowed| Override::agree(first, second, allowed, "scan-detected: macro").map(drop);
    let first = || assent("anna", about, 10);
    assert_eq!(agree(first(), assent("ben", about, 20), false), Err(Disagreement::NotAllowed));
    assert_eq!(agree(first(), assent("ben", subject(2, 5), 20), true), Err(Disagreement::OtherSubject));
    assert_eq!(
        agree(first(), assent("ben", subject(1, 6), 20), true),
        Err(Disagreement::OtherSubject),
        "held back again"
    );
    assert_eq!(agree(first(), assent("ben", about, 10 + day - 1), true), Ok(()));
    assert_eq!(agree(first(), assent("ben", about, 10 + day), true), Err(Disagreement::TooLate));
    assert_eq!(agree(first(), assent("ben", about, 9), true), Err(Disagreement::TooLate), "a clock that went back");
    assert_eq!(sample_override().overruled(), "scan-detected: macro");
}

#[test]
fn a_new_password_is_long_and_never_shown() {
    for bad in ["", "fourteen chars", "tab\tin a long password", &"x".repeat(1_025)] {
        assert_eq!(Password::chosen(bad).unwrap_err().code(), Code::FlagMalformed, "{}", bad.len());
    }
    let good = Password::chosen("violett Öl am Fenster").unwrap();
    assert_eq!((good.reveal(), format!("{good:?}").as_str()), ("violett Öl am Fenster", "Password(…)"));
}
