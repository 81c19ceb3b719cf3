//! What an entry can be about and how it ended: closed lists whose texts are hashed into the log and therefore never change.
//! These two and the tenant are all that an entry says in clear, for ever.

macro_rules! stable_codes {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Stable text, as it stands in the leaf.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The value of a stable text; exact, upper case is another text.
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.code())
            }
        }
    };
}

stable_codes! {
    /// What was done. The list only grows.
    Action {
        /// A document was taken in.
        DocumentCreate = "document.create",
        /// A document's metadata was changed.
        DocumentUpdate = "document.update",
        /// A document's metadata was read.
        DocumentRead = "document.read",
        /// A document and its file were destroyed.
        DocumentPurge = "document.purge",
        /// A file was taken in.
        BinaryCreate = "binary.create",
        /// A file was read with a token.
        BinaryRead = "binary.read",
        /// What documents refer to (patient, organization, …) was taken in.
        ContextCreate = "context.create",
        /// The same was changed.
        ContextUpdate = "context.update",
        /// The same was read.
        ContextRead = "context.read",
        /// A search; one entry however many it found.
        Search = "search",
        /// A link was made by `$issue-link`.
        LinkIssue = "link.issue",
        /// A link was followed; outcome and bytes say whether the file went out whole.
        LinkRedeem = "link.redeem",
        /// Links were withdrawn.
        LinkRevoke = "link.revoke",
        /// A document went from one state to another.
        LifecycleTransition = "lifecycle.transition",
        /// A document's state was asked for.
        LifecycleRead = "lifecycle.read",
        /// A document was released although an engine called it dirty, on an operator's word.
        DocumentRelease = "document.release",
        /// A legal hold was laid on a document.
        HoldAdd = "hold.add",
        /// A legal hold was taken off.
        HoldRelease = "hold.release",
        /// A recipient said what became of a document.
        DocumentAcknowledge = "document.acknowledge",
        /// A Subscription was made.
        SubscriptionCreate = "subscription.create",
        /// A Subscription was read.
        SubscriptionRead = "subscription.read",
        /// A Subscription was changed by its owner, or by this server (status).
        SubscriptionUpdate = "subscription.update",
        /// A Subscription was deleted.
        SubscriptionDelete = "subscription.delete",
        /// A Subscription's signing secret was replaced and shown.
        SubscriptionSecret = "subscription.secret",
        /// A notification was sent to a receiver; outcome and code say how that ended.
        NotificationSend = "notification.send",
        /// An access token was granted.
        TokenGrant = "token.grant",
        /// A token request of a known client was refused.
        TokenRefuse = "token.refuse",
        /// A client was registered.
        ClientAdd = "client.add",
        /// A client's key or secret was replaced.
        ClientRotate = "client.rotate",
        /// A client was switched off.
        ClientDisable = "client.disable",
        /// A client was switched on again.
        ClientEnable = "client.enable",
        /// An operator was registered.
        OperatorAdd = "operator.add",
        /// An operator was switched off.
        OperatorDisable = "operator.disable",
        /// What asks for two people was asked for by the first.
        ApprovalAsk = "approval.ask",
        /// The clock jumped; destruction waits.
        ClockJump = "clock.jump",
        /// An operator confirmed the clock.
        ClockConfirm = "clock.confirm",
        /// An operator asked why (`daylily explain`).
        ExplainRead = "explain.read",
        /// A policy came into force.
        PolicyApply = "policy.apply",
        /// Refusals without an authenticated principal or authentic link, counted by code, address prefix and minute.
        AccessRefused = "access.refused",
        /// An encryption, link or token key was replaced.
        KeyRotate = "key.rotate",
        /// An operator's command.
        CommandRun = "command.run",
        /// The server began to serve.
        ServerStart = "server.start",
        /// The server ended in order.
        ServerStop = "server.stop",
        /// Nothing happened: written so that silence is visible.
        AuditHeartbeat = "audit.heartbeat",
        /// The log's first or next checkpoint key.
        AuditKey = "audit.key",
        /// A part of the look-up by patient was made, or made anew: its digest.
        AuditIndex = "audit.index",
        /// The index of given links was not what the entries say, and was made anew.
        AuditMend = "audit.mend",
        /// Cells of earlier entries were erased.
        AuditErase = "audit.erase",
        /// The log, or a part of it, was handed out.
        AuditExport = "audit.export",
        /// The log was found not to be what was recorded.
        AuditFinding = "audit.finding",
        /// Two operators went on although the log did not verify.
        AuditAcknowledge = "audit.acknowledge",
        /// Entries that waited in a spool were merged.
        AuditSpool = "audit.spool",
    }
}

stable_codes! {
    /// How it ended.
    Outcome {
        /// As asked.
        Ok = "ok",
        /// Refused.
        Denied = "denied",
        /// Broke off or failed.
        Error = "error",
        /// Begun: written before the first byte of an answer whose end is a second entry.
        Attempted = "attempted",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_fits_a_leaf() {
        for action in Action::ALL {
            assert_eq!(Action::from_code(action.code()), Some(*action));
            assert!(action.code().bytes().all(|b| b.is_ascii_lowercase() || b == b'.'), "{action}");
        }
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::from_code(outcome.code()), Some(*outcome));
        }
        assert_eq!(Action::from_code("Search"), None);
        assert_eq!(Outcome::from_code(""), None);
    }
}
