//! The engines of the safety check: each is given what it must find.

use std::time::Duration;

use super::{Check, State};
use crate::app::{Nature, clamd, harmless_virus_is_found};
use crate::config::{ClamdAddress, Settings};
use crate::domain::clock::Timestamp;
use crate::scan::{Condition, EngineFailure, Fault, Scanner};

const NAME: &str = "scanner";
/// Signatures older than this miss what is going round now.
const OLD: Duration = Duration::from_secs(48 * 3_600);

/// Rules, and clamd where it is set up.
pub(super) async fn check(settings: &Settings, nature: &Nature) -> Check {
    if !harmless_virus_is_found() {
        return Check::fail(NAME, "built-in rules do not find the test virus", "install this program again");
    }
    let Some(clamd) = clamd(settings, &nature.clock) else {
        return Check::ok(NAME, "built-in rules find the test virus; no antivirus engine is configured");
    };
    let same_user = settings.scan.clamd.as_ref().is_some_and(runs_as_this_user);
    let probed = tokio::task::spawn_blocking(move || clamd.probe()).await;
    match judge(&probed.unwrap_or(Condition::Failing(EngineFailure::Broken)), nature.clock.now()) {
        check if check.state == State::Ok && same_user => {
            let cure = "let clamd run as a user of its own, which may read neither the data folder nor the key";
            Check::fail(
                NAME,
                "clamd works, but runs as this server's user: a file that breaks into it could read keys",
                cure,
            )
        }
        check => check,
    }
}

/// Whether the socket of clamd belongs to the user of this process, as it does where clamd, which makes it, runs as that user.
/// Over tcp nobody can say.
fn runs_as_this_user(address: &ClamdAddress) -> bool {
    let ClamdAddress::Unix(path) = address else { return false };
    let own = rustix::process::geteuid().as_raw();
    std::fs::metadata(path).is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) == own)
}

fn judge(condition: &Condition, now: Timestamp) -> Check {
    let (version, signatures) = match condition {
        Condition::Ready { version, signatures } => (version, signatures),
        other => return Check::fail(NAME, format!("clamd {}", other.trouble().unwrap_or_default()), cure(other)),
    };
    let fresh = "let freshclam load the official signatures, and keep it running";
    match signatures {
        Some(made) if now > made.plus(OLD) => {
            let days = now.since(*made).as_secs() / 86_400;
            Check::fail(NAME, format!("clamd {version} works, but its signatures are {days} days old"), fresh)
        }
        Some(_) => Check::ok(NAME, format!("built-in rules and clamd {version} find the test virus")),
        None => Check::ok(
            NAME,
            format!("built-in rules and clamd {version} find the test virus; clamd tells of no official signatures"),
        ),
    }
}

/// What helps against an engine that is not fit.
pub(in crate::cli) fn cure(condition: &Condition) -> &'static str {
    match condition {
        Condition::Unfit(Fault::TestVirus) => "let freshclam load the official signatures, then restart clamd",
        Condition::Unfit(Fault::Locked | Fault::Deep) => {
            "set AlertEncrypted yes and AlertExceedsMax yes in clamd.conf, then restart clamd"
        }
        Condition::Failing(EngineFailure::Unreachable) => {
            "start clamd, and look at `[scan] clamd` and at who may use its socket"
        }
        Condition::Ready { .. } | Condition::Failing(_) => "look at clamd's log; restart clamd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trouble_has_its_line_and_its_cure() {
        let now = Timestamp::from_millis(1_795_000_000_000);
        let ready = |signatures| Condition::Ready { version: "1.4.6".to_owned(), signatures };
        let line = |condition: &Condition| {
            let check = judge(condition, now);
            (check.state, check.message, check.cure.unwrap_or_default())
        };
        let (state, message, cure) = line(&Condition::Unfit(Fault::Locked));
        assert_eq!(
            (state, message.as_str()),
            (State::Fail, "clamd answers, but calls a password-protected archive clean")
        );
        assert_eq!(cure, "set AlertEncrypted yes and AlertExceedsMax yes in clamd.conf, then restart clamd");
        assert_eq!(line(&Condition::Failing(EngineFailure::Unreachable)).1, "clamd does not answer");
        let at = |days: i64| Some(Timestamp::from_millis(now.millis() - days * 86_400_000));
        assert_eq!(line(&ready(at(1))).0, State::Ok);
        assert_eq!(line(&ready(None)).0, State::Ok);
        let (state, message, _) = line(&ready(at(3)));
        assert_eq!((state, message.as_str()), (State::Fail, "clamd 1.4.6 works, but its signatures are 3 days old"));
    }
}
