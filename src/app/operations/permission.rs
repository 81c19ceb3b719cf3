//! What each command is, as far as it decides who may give it. Every request is here: a new one does not compile without its row.

use crate::control::{Request, RevocationAim};
use crate::domain::operator::Act;

/// The act of a request, and the command's words for the record.
pub(super) fn act_of(request: &Request) -> (Act, &'static str) {
    match request {
        Request::Status {} => (Act::Look, "status"),
        Request::ClientAdd(_) => (Act::Clients, "client add"),
        Request::ClientList {} => (Act::Look, "client list"),
        Request::ClientShow { .. } => (Act::Look, "client show"),
        Request::ClientChange { .. } => (Act::Clients, "client change"),
        Request::PolicyApply { .. } => (Act::Policy, "policy apply"),
        Request::PolicyShow {} => (Act::Look, "policy show"),
        Request::LinksRevoke { aim: RevocationAim::All, .. } => (Act::RevokeAll, "links revoke --all"),
        Request::LinksRevoke { .. } => (Act::Links, "links revoke"),
        Request::AuditExport { .. } => (Act::Audit, "audit export"),
        Request::AuditAcknowledge { .. } => (Act::Acknowledge, "audit acknowledge"),
        Request::As { request, .. } => act_of(request),
        Request::OperatorAdd { .. } => (Act::Operators, "operator add"),
        Request::OperatorList {} => (Act::Look, "operator list"),
        Request::OperatorDisable { .. } => (Act::Operators, "operator disable"),
        Request::QuarantineList {} => (Act::Look, "quarantine list"),
        Request::QuarantineShow { .. } => (Act::Look, "quarantine show"),
        Request::QuarantineRelease { .. } => (Act::Quarantine, "quarantine release"),
        Request::QuarantinePurge { .. } => (Act::Quarantine, "quarantine purge"),
        Request::HoldList {} => (Act::Look, "hold list"),
        Request::HoldAdd { .. } => (Act::Hold, "hold add"),
        Request::HoldRelease { .. } => (Act::Hold, "hold release"),
        Request::ProbeBegin {} | Request::ProbeShow {} => (Act::Look, "doctor"),
        Request::LoopsShow {} => (Act::Look, "doctor"),
        Request::ClockShow {} => (Act::Look, "clock show"),
        Request::ClockConfirm { .. } => (Act::Clock, "clock confirm"),
        Request::Explain { .. } => (Act::Look, "explain"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn withdrawing_all_links_is_an_act_of_its_own() {
        let revoke = |aim| Request::LinksRevoke { aim, reason: String::new(), state: false, preview: false };
        assert_eq!(act_of(&revoke(RevocationAim::All)).0, Act::RevokeAll);
        for aim in [RevocationAim::Client(String::new()), RevocationAim::Patient(String::new())] {
            assert_eq!(act_of(&revoke(aim)).0, Act::Links);
        }
        assert_eq!(act_of(&Request::HoldList {}).0, Act::Look);
        assert_eq!(act_of(&Request::AuditExport { patient: None, from: None, to: None }).0, Act::Audit);
    }
}
