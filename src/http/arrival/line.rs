//! What the counters of a connection say of one transfer over it. Pure but for taking the counters.
//!
//! What is compared are growths, so that it holds under TLS as well (there a `close_notify` alone says nothing): `bytes_acked` must
//! have grown by all that `bytes_sent` without `bytes_retrans` grew, and that by at least head and body. A peer that closes with unread bytes
//! sends a reset, which leaves `bytes_received` as it was; its FIN counts one there, its next request more (Linux, `tcp_info`).

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{Connection, Sample};
use crate::delivery;
use crate::domain::claim::{Look, Parting};

/// Plaintext of a full TLS record (RFC 8446 §5.1), and what protects it at least and at most (head, tag, true type; in TLS 1.2 half a nonce).
const RECORD: u64 = 16 * 1024;
const RECORD_COSTS: (u64, u64) = (5 + 16, 5 + 16 + 8);
/// Records that a head and the last bytes of a body may begin beside the full ones.
const RECORDS_MORE: u64 = 4;
/// What is handed on at once, at least but for the last time.
const PIECE: u64 = 4 * 1024;
/// Bytes of a head that is not known yet, at most.
const HEAD_MOST: u64 = 4096;
/// A FIN of this server's, which may still wait to be sent, or be acknowledged, when all of the file is.
const FIN: u64 = 1;
/// Until the last byte was handed on there is nothing that the peer has said since.
const NOT_YET: u64 = u64::MAX;

/// A transfer's view of its connection, from before its first byte.
#[derive(Debug)]
pub(in crate::http) struct Line {
    connection: Arc<Connection>,
    before: Sample,
    body: u64,
    /// Bytes of the answer's head, at least and at most.
    head: OnceLock<(u64, u64)>,
    /// What the peer had said when the last byte was handed on.
    said: AtomicU64,
    /// The peer had ended its own half by then: what it says of its end cannot be told from a reset.
    is_half_closed: AtomicBool,
}

impl Line {
    /// Takes the first sample; `None` where there are no counters. `body`: bytes that will be handed on.
    pub(in crate::http) fn begin(connection: Arc<Connection>, body: u64) -> Option<Self> {
        let before = connection.sample()?;
        // Of nothing the last byte was handed on before the first.
        let said = AtomicU64::new(if body == 0 { before.received } else { NOT_YET });
        let is_half_closed = AtomicBool::new(before.is_half_closed);
        Some(Self { connection, before, body, head: OnceLock::new(), said, is_half_closed })
    }

    /// How long the answer's head is: at least and at most.
    pub(in crate::http) fn head_is(&self, least: u64, most: u64) {
        self.head.get_or_init(|| (least, most));
    }

    /// The last byte is about to be handed on: only what the peer says afterwards is an answer to it.
    pub(super) fn last_piece(&self) {
        if let Some(now) = self.connection.sample() {
            self.is_half_closed.store(now.is_half_closed, Ordering::Release);
            self.said.store(now.received, Ordering::Release);
        }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Bytes of the peer's system: what it sent, and what it acknowledged. They grow while something moves.
    pub(super) fn moved(&self) -> (u64, u64) {
        self.connection.sample().map_or((0, 0), |now| (now.acked, now.sent))
    }

    fn judge(&self, now: &Sample) -> Look {
        let measured = Measured {
            before: self.before,
            body: self.body,
            head: self.head.get().copied().unwrap_or((0, HEAD_MOST)),
            said: self.said.load(Ordering::Acquire),
            goodbye: self.connection.goodbye,
            is_half_closed: self.is_half_closed.load(Ordering::Acquire),
        };
        measured.judge(now)
    }
}

impl delivery::Line for Line {
    fn look(&self) -> Look {
        match self.connection.sample() {
            Some(now) => self.judge(&now),
            None => Look::lost(),
        }
    }

    fn cut(&self) -> bool {
        let look = self.look();
        let is_left = !look.all && look.least < self.body;
        if is_left {
            self.connection.cut();
        }
        is_left
    }
}

/// What a transfer is held against.
#[derive(Debug, Clone, Copy)]
struct Measured {
    before: Sample,
    body: u64,
    head: (u64, u64),
    said: u64,
    /// Bytes of a goodbye under TLS, which a peer says also when it leaves bytes unread; 0 without TLS.
    goodbye: u64,
    is_half_closed: bool,
}

impl Measured {
    fn judge(&self, now: &Sample) -> Look {
        let sent = now.sent.saturating_sub(self.before.sent).saturating_sub(self.before.unsent);
        // What was on its way before this transfer is acknowledged first.
        let earlier = self.before.sent.saturating_sub(self.before.acked).saturating_add(self.before.unsent);
        let acked = now.acked.saturating_sub(self.before.acked).saturating_sub(earlier);
        let handed_on = self.said != NOT_YET;
        let all = handed_on && sent >= self.least_wire() && acked >= sent && now.unsent <= FIN;
        // A reader that resets before its system has acknowledged may have read all that was sent.
        let (least, most) = (self.of_the_body(acked).0, self.of_the_body(sent).1);
        // A goodbye by itself is no word: what follows it, FIN or reset, tells whether all was read.
        let more = if handed_on { now.received.saturating_sub(self.said) } else { 0 };
        let went_on = more > 0 && more != self.goodbye;
        let parting = match (all && went_on, now.closed) {
            (true, _) => Parting::InOrder,
            (false, true) if now.is_cut || self.is_half_closed => Parting::Ended,
            (false, true) => Parting::Reset,
            (false, false) => Parting::None,
        };
        let (least, most) = if all { (self.body, self.body) } else { (least, most) };
        Look { least, most, all, parting }
    }

    /// Bytes of the connection that head and body are at least.
    fn least_wire(&self) -> u64 {
        let plain = self.body.saturating_add(self.head.0);
        let records = if self.goodbye == 0 { 0 } else { plain.div_ceil(RECORD) };
        plain.saturating_add(records * RECORD_COSTS.0)
    }

    /// Bytes of the file within bytes of the connection: at least and at most.
    fn of_the_body(&self, wire: u64) -> (u64, u64) {
        let (least_costs, most_costs) = if self.goodbye == 0 {
            (0, 0)
        } else {
            let records = wire / (RECORD + RECORD_COSTS.1);
            // Each piece that is handed on may begin a record of its own, and leave one that is not full.
            (records * RECORD_COSTS.0, (records + wire / PIECE + RECORDS_MORE) * RECORD_COSTS.1)
        };
        // A FIN of this server's is acknowledged like a byte.
        let least = wire.saturating_sub(self.head.1 + most_costs + 1).min(self.body);
        let most = wire.saturating_sub(self.head.0 + least_costs).min(self.body);
        (least, most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: Sample =
        Sample { sent: 500, acked: 500, received: 300, unsent: 0, closed: false, is_half_closed: false, is_cut: false };
    const HEAD: u64 = 200;
    const MEASURED: Measured =
        Measured { before: BEFORE, body: 1000, head: (HEAD, HEAD), said: 300, goodbye: 24, is_half_closed: false };

    fn judged(sent: u64, acked: u64, received: u64, waiting: bool, closed: bool) -> Look {
        MEASURED.judge(&Sample { sent, acked, received, unsent: u64::from(waiting) * 100, closed, ..BEFORE })
    }

    #[test]
    fn only_what_was_acknowledged_whole_and_answered_is_taken() {
        use Parting::{InOrder, None, Reset};
        for (seen, expected) in [
            // 1,000 bytes of body behind 200 of head: all acknowledged, then the peer's FIN, or its next request.
            (judged(1721, 1721, 301, false, false), (true, InOrder)),
            (judged(1721, 1721, 301, false, true), (true, InOrder)),
            (judged(1721, 1721, 700, false, false), (true, InOrder)),
            (judged(1721, 1721, 300, false, false), (true, None)),
            // A goodbye under TLS, then FIN, or a reset: it left bytes unread.
            (judged(1721, 1721, 324, false, false), (true, None)),
            (judged(1721, 1721, 325, false, false), (true, InOrder)),
            (judged(1721, 1721, 325, false, true), (true, InOrder)),
            (judged(1721, 1721, 324, false, true), (true, Reset)),
            // A reset: closed, and nothing said.
            (judged(1721, 1721, 300, false, true), (true, Reset)),
            (judged(1721, 1200, 301, false, true), (false, Reset)),
            (judged(1721, 1200, 300, true, false), (false, None)),
            (judged(1721, 1720, 301, true, false), (false, None)),
            // This server's FIN is under way.
            (
                Measured { goodbye: 0, ..MEASURED }.judge(&Sample { sent: 1700, acked: 1700, unsent: 1, ..BEFORE }),
                (true, None),
            ),
            // The last bytes are still in the server's own buffer.
            (judged(1400, 1400, 301, false, false), (false, None)),
            // Head and body, but not the record around them.
            (judged(1720, 1720, 301, false, false), (false, None)),
        ] {
            assert_eq!((seen.all, seen.parting), expected);
        }
    }

    #[test]
    fn an_end_that_nobody_can_tell_is_no_reset() {
        let measured =
            Measured { before: BEFORE, body: 1000, head: (HEAD, HEAD), said: 300, goodbye: 0, is_half_closed: false };
        let over = Sample { sent: 1700, acked: 1700, closed: true, ..BEFORE };
        assert_eq!(measured.judge(&over).parting, Parting::Reset);
        assert_eq!(measured.judge(&over.cut()).parting, Parting::Ended);
        assert_eq!(Measured { is_half_closed: true, ..measured }.judge(&over).parting, Parting::Ended);
        // A file of no bytes has arrived once its head has.
        let empty = Measured { body: 0, ..measured };
        assert!(empty.judge(&Sample { sent: 700, acked: 700, ..BEFORE }).all);
        assert!(!empty.judge(&BEFORE).all);
    }

    #[test]
    fn head_and_records_are_taken_off_down_for_what_arrived_and_up_for_what_was_handed_out() {
        let plain = Measured {
            before: BEFORE,
            body: 100_000,
            head: (190, 210),
            said: NOT_YET,
            goodbye: 0,
            is_half_closed: false,
        };
        let at = |measured: &Measured, both: u64| {
            let now = Sample { sent: 500 + both, acked: 500 + both, unsent: 100, ..BEFORE };
            let look = measured.judge(&now);
            (look.least, look.most)
        };
        for (acked, of_the_body) in
            [(0, (0, 0)), (190, (0, 0)), (211, (0, 21)), (1211, (1000, 1021)), (80_000, (79_789, 79_810))]
        {
            assert_eq!(at(&plain, acked), of_the_body, "{acked}");
        }
        let (least, most) = at(&Measured { goodbye: 24, ..plain }, 65_536 + 200 + 4 * 22);
        assert!(least <= 65_536 && 65_536 <= most && most - least < 1_000, "{least}..{most}");
        // What was sent and not acknowledged may have been read all the same.
        let unacknowledged = plain.judge(&Sample { sent: 500 + 80_000, acked: 500, closed: true, ..BEFORE });
        assert_eq!((unacknowledged.least, unacknowledged.most), (0, 79_810));
        // What an earlier answer has under way is not this one's.
        let behind = Measured { before: Sample { acked: 400, unsent: 50, ..BEFORE }, ..plain };
        let now = Sample { sent: 550, acked: 550, ..BEFORE };
        assert_eq!(behind.judge(&now).most, 0);
    }
}
