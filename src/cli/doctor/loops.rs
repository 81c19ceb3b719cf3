//! The background loops of the running server, as it sees them itself.

use std::time::Duration;

use super::{Check, span};
use crate::config::Settings;
use crate::control::{self, LoopView, Request, Response};

const NAME: &str = "loops";

/// Asks the server that holds the folder, if one answers.
pub(super) async fn check(settings: &Settings) -> Check {
    match control::call(&control::find(&settings.data_dir), &Request::LoopsShow {}).await {
        Ok(Response::Loops { ailing }) => judge(&ailing),
        _ => Check::skip(NAME, "no server runs on this data folder"),
    }
}

fn judge(ailing: &[LoopView]) -> Check {
    if ailing.is_empty() {
        return Check::ok(NAME, "every background loop comes round");
    }
    let said: Vec<String> = ailing.iter().map(words).collect();
    let cure = "look at the log lines of these loops; they go on by themselves once the cause is gone, and one that hangs needs a restart";
    Check::fail(NAME, said.join("; "), cure)
}

fn words(view: &LoopView) -> String {
    match (view.failures, view.silent) {
        (Some(failures), _) => format!("{} failed {failures} times in a row", view.name),
        (None, silent) => format!("{} gave no sign for {}", view.name, span(Duration::from_secs(silent.unwrap_or(0)))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn loops_that_fail_or_hang_are_named() {
        let view = |name: &str, failures, silent| LoopView { name: name.to_owned(), failures, silent };
        assert_eq!(judge(&[]).state, State::Ok);
        let bad = judge(&[view("retention", Some(7), None), view("checkpoint", None, Some(180))]);
        assert_eq!(bad.state, State::Fail);
        assert_eq!(bad.message, "retention failed 7 times in a row; checkpoint gave no sign for 3 min");
    }
}
