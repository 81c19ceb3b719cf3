//! Whether a reader still reads: so many bytes in each span while it is waited for.

use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use crate::http::arrival::Connection;

/// One connection's readers, one after the other.
#[derive(Debug)]
pub(super) struct Stall {
    span: Duration,
    least: u64,
    timer: Option<Pin<Box<Sleep>>>,
    is_armed: bool,
    accepted: u64,
    start: u64,
}

impl Stall {
    /// `least` bytes in each `span`.
    pub(super) fn new(span: Duration, least: u64) -> Self {
        Self { span, least, timer: None, is_armed: false, accepted: 0, start: 0 }
    }

    /// So many bytes were handed on.
    pub(super) fn accepted(&mut self, length: usize) {
        self.accepted = self.accepted.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }

    /// Everything was handed on: from here on it is the server that is waited for.
    pub(super) fn caught_up(&mut self) {
        self.is_armed = false;
    }

    /// To be asked while nothing can be handed on: whether it is too long ago. Where the system counts what the peer has
    /// acknowledged that is what counts, since the system's own buffer takes more in one gulp than a slow reader in minutes.
    pub(super) fn is_over(&mut self, context: &mut Context<'_>, connection: Option<&Connection>) -> bool {
        let accepted = self.accepted;
        let taken = || connection.and_then(Connection::sample).map_or(accepted, |sample| sample.acknowledged());
        let span = self.span;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(span)));
        if !self.is_armed {
            timer.as_mut().reset(sleep(span).deadline());
            (self.is_armed, self.start) = (true, taken());
        }
        while timer.as_mut().poll(context).is_ready() {
            let taken = taken();
            if taken.saturating_sub(self.start) < self.least {
                if let Some(connection) = connection {
                    connection.cut();
                }
                return true;
            }
            self.start = taken;
            timer.as_mut().reset(sleep(span).deadline());
        }
        false
    }
}
