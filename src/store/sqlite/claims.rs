//! Uses of counted links: claims and their attempts. What happens to them is decided by [`crate::domain::claim`], on rows that were read in the
//! same transaction, in the writer's one order of commits, so no two get the last use.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;

use diesel::prelude::*;

use super::endings;
use super::links::key;
use super::rows::{Place, at, time};
use super::statement::{Value, sql};
use super::tx::Tx;
use crate::domain::claim::{
    After, Attempt, AttemptNumber, Choice, Claim, ClaimNumber, Settlement, SpentClaim, Standing,
};
use crate::domain::clock::Timestamp;
use crate::domain::coverage::Coverage;
use crate::store::{Begin, BeginOutcome, Begun, BegunAttempt, Counted, StoreError};

/// Settles, chooses, and begins an attempt or says why not.
pub(super) fn begin(tx: &mut Tx<'_>, begin: Begin) -> Result<Begun, StoreError> {
    let kept_until = begin.at.plus(begin.grace);
    let spent = settle(tx.conn, &begin.counted, begin.size, &begin.settlements, kept_until)?;
    let (mut standing, last) = standing(tx.conn, &begin.counted, begin.most, begin.size)?;
    let claim = match standing.choose(&begin.asked, begin.from, begin.at) {
        Choice::Busy => return Ok(Begun { spent, outcome: BeginOutcome::Busy }),
        Choice::Used { twice } => return Ok(Begun { spent, outcome: BeginOutcome::Used { last, twice } }),
        Choice::Attempt(number) => {
            let at = standing.claims.iter().position(|claim| claim.number == number);
            at.map(|at| standing.claims.swap_remove(at)).ok_or_else(|| at_claim(&number.0).corrupt("number"))?
        }
        Choice::Claim => Claim::begin(insert(tx.conn, &begin)?, begin.from),
    };
    let outcome = BeginOutcome::Yes(Box::new(attempt(tx, begin, standing, claim)?));
    Ok(Begun { spent, outcome })
}

/// Begins an attempt of `claim`; `standing` holds the others.
fn attempt(
    tx: &mut Tx<'_>,
    begin: Begin,
    mut standing: Standing,
    mut claim: Claim,
) -> Result<BegunAttempt, StoreError> {
    let range = begin.asked.range.clone();
    let mut closing = claim.received.clone();
    closing.add(range.clone());
    let closing = begin.is_one_piece && closing.is_whole(begin.size);
    let insert = "INSERT INTO link_attempt (claim, first, after, closing) VALUES (?, ?, ?, ?)";
    let values = [claim.number.0.into(), range.start.into(), range.end.into(), closing.into()];
    let number = AttemptNumber(sql(insert, values).insert(tx.conn)?);
    claim.began(Attempt { number, range, closing }, begin.from);
    write(tx.conn, &claim, false)?;
    let seq = tx.append(begin.entry)?;
    standing.claims.push(claim.clone());
    Ok(BegunAttempt { claim, attempt: number, closing, is_last: standing.is_last(), seq })
}

fn insert(conn: &mut SqliteConnection, begin: &Begin) -> Result<ClaimNumber, StoreError> {
    let insert = "INSERT INTO link_claim (file, reader, recipient, opened, address, received, again, reached, sum, given_back, \
        resets, kept_until, spent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, NULL, 0)";
    let [file, reader, recipient] = key(&begin.counted);
    let nothing = || Value::Blob(Vec::new());
    let values = [
        file,
        reader,
        recipient,
        begin.at.millis().into(),
        address(begin.from),
        nothing(),
        nothing(),
        nothing(),
        nothing(),
    ];
    sql(insert, values).insert(conn).map(ClaimNumber)
}

fn write(conn: &mut SqliteConnection, claim: &Claim, spent: bool) -> Result<(), StoreError> {
    let update = "UPDATE link_claim SET address = ?, received = ?, again = ?, reached = ?, sum = ?, given_back = ?, resets = ?, kept_until = ?, \
        spent = ? \
        WHERE number = ?";
    let values = [
        address(claim.from),
        coverage(&claim.received),
        coverage(&claim.again),
        coverage(&claim.reached),
        claim.sum.into(),
        claim.given_back.into(),
        coverage(&claim.resets),
        claim.kept_until.map(Timestamp::millis).into(),
        spent.into(),
        claim.number.0.into(),
    ];
    sql(update, values).run(conn).map(drop)
}

/// Marks an attempt as closing.
pub(super) fn mark_closing(conn: &mut SqliteConnection, attempt: AttemptNumber) -> Result<bool, StoreError> {
    let update = "UPDATE link_attempt SET closing = 1 WHERE number = ?";
    Ok(sql(update, [attempt.0.into()]).run(conn)? > 0)
}

/// Settles what became of attempts; answers the claims that are spent thereby.
pub(super) fn settle(
    conn: &mut SqliteConnection,
    counted: &Counted,
    size: u64,
    settlements: &[Settlement],
    kept_until: Timestamp,
) -> Result<Vec<SpentClaim>, StoreError> {
    let mut all_spent = Vec::new();
    for settlement in settlements {
        let number = match settlement {
            Settlement::Ended(ending) => claim_of(conn, ending.attempt)?,
            Settlement::Reset(reset) => Some(reset.claim.0),
        };
        let Some((mut claim, was_spent)) = number.map(|number| one(conn, number)).transpose()?.flatten() else {
            continue;
        };
        let spent = match settlement {
            Settlement::Ended(ending) => {
                sql("DELETE FROM link_attempt WHERE number = ?", [ending.attempt.0.into()]).run(conn)?;
                claim.ended(ending, size, kept_until) == Some(After::Spent) || was_spent
            }
            Settlement::Reset(reset) => {
                was_spent && !claim.reset(reset, size, was_spent) || !was_spent && claim.reset(reset, size, was_spent)
            }
        };
        write(conn, &claim, spent)?;
        match (was_spent, spent) {
            (false, true) => {
                count(conn, claim.number)?;
                all_spent.push(claim.spent(size));
            }
            (true, false) => {
                uncount(conn, counted)?;
                all_spent.retain(|spent: &SpentClaim| spent.claim != claim.number);
                endings::of_use(conn, claim.number.0)?;
            }
            _ => {}
        }
    }
    Ok(all_spent)
}

/// Counts a claim as a use.
fn count(conn: &mut SqliteConnection, claim: ClaimNumber) -> Result<(), StoreError> {
    const USE: &str = "INSERT INTO link_use (file, reader, recipient, used, last) \
        SELECT file, reader, recipient, 1, opened FROM link_claim WHERE number = ? \
        ON CONFLICT (file, reader, recipient) DO UPDATE SET used = used + 1, last = max(last, excluded.last)";
    sql(USE, [claim.0.into()]).run(conn)?;
    endings::of_use(conn, claim.0)
}

fn uncount(conn: &mut SqliteConnection, counted: &Counted) -> Result<(), StoreError> {
    let update = "UPDATE link_use SET used = used - 1 WHERE file = ? AND reader = ? AND recipient = ? AND used > 0";
    sql(update, key(counted)).run(conn).map(drop)
}

/// All that stands against a GET, and when the newest spent use began.
pub(super) fn standing(
    conn: &mut SqliteConnection,
    counted: &Counted,
    most: u32,
    size: u64,
) -> Result<(Standing, Option<Timestamp>), StoreError> {
    let query = "SELECT used, last FROM link_use WHERE file = ? AND reader = ? AND recipient = ? AND used > 0";
    let row = sql(query, key(counted)).row::<(i64, i64)>(conn)?;
    let (used, last) = row.map_or((0, None), |(used, last)| (used, Some(time(last))));
    let used = at("link_use", &used).number("used", used)?;
    let query = "SELECT number, address, received, again, reached, sum, given_back, resets, kept_until, spent FROM link_claim \
        WHERE file = ? AND reader = ? AND recipient = ? AND spent = 0 ORDER BY number";
    let rows: Vec<ClaimColumns> = sql(query, key(counted)).rows(conn)?;
    let claims = rows.into_iter().map(|row| Ok(claim(conn, row)?.0)).collect::<Result<_, StoreError>>()?;
    Ok((Standing { size, most, used, claims }, last))
}

type ClaimColumns = (i64, Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>, i64, i64, Vec<u8>, Option<i64>, i64);

fn one(conn: &mut SqliteConnection, number: i64) -> Result<Option<(Claim, bool)>, StoreError> {
    let query = "SELECT number, address, received, again, reached, sum, given_back, resets, kept_until, spent FROM link_claim WHERE number = ?";
    let row = sql(query, [number.into()]).row::<ClaimColumns>(conn)?;
    row.map(|row| claim(conn, row)).transpose()
}

/// A claim with its attempts, and whether it is spent.
fn claim(conn: &mut SqliteConnection, row: ClaimColumns) -> Result<(Claim, bool), StoreError> {
    let (number, from, received, again, reached, sum, given_back, resets, kept_until, spent) = row;
    let place = at_claim(&number);
    let claim = Claim {
        number: ClaimNumber(number),
        from: IpAddr::V6(Ipv6Addr::from(place.fixed::<16>("address", &from)?)).to_canonical(),
        received: read_coverage(place, "received", &received)?,
        again: read_coverage(place, "again", &again)?,
        reached: read_coverage(place, "reached", &reached)?,
        sum: place.number("sum", sum)?,
        given_back: place.flag("given_back", given_back)?,
        resets: read_coverage(place, "resets", &resets)?,
        kept_until: kept_until.map(time),
        running: attempts(conn, number)?,
    };
    Ok((claim, place.flag("spent", spent)?))
}

fn attempts(conn: &mut SqliteConnection, claim: i64) -> Result<Vec<Attempt>, StoreError> {
    let query = "SELECT number, first, after, closing FROM link_attempt WHERE claim = ? ORDER BY number";
    let rows: Vec<(i64, i64, i64, i64)> = sql(query, [claim.into()]).rows(conn)?;
    let attempt = |(number, first, after, closing): (i64, i64, i64, i64)| {
        let place = at("link_attempt", &number);
        let range = place.number("first", first)?..place.number("after", after)?;
        Ok(Attempt { number: AttemptNumber(number), range, closing: place.flag("closing", closing)? })
    };
    rows.into_iter().map(attempt).collect()
}

fn claim_of(conn: &mut SqliteConnection, attempt: AttemptNumber) -> Result<Option<i64>, StoreError> {
    sql("SELECT claim FROM link_attempt WHERE number = ?", [attempt.0.into()]).one(conn)
}

fn at_claim(number: &i64) -> Place<'_> {
    at("link_claim", number)
}

fn address(from: IpAddr) -> Value {
    let octets = match from {
        IpAddr::V4(from) => from.to_ipv6_mapped().octets(),
        IpAddr::V6(from) => from.octets(),
    };
    octets.as_slice().into()
}

/// Two 64-bit numbers a piece, big-endian.
fn coverage(coverage: &Coverage) -> Value {
    let ends = coverage.pieces().iter().flat_map(|piece| [piece.start, piece.end]);
    Value::Blob(ends.flat_map(u64::to_be_bytes).collect())
}

fn read_coverage(place: Place<'_>, column: &'static str, stored: &[u8]) -> Result<Coverage, StoreError> {
    let (pieces, rest) = stored.as_chunks::<16>();
    let piece = |bytes: &[u8; 16]| -> Option<Range<u64>> {
        let (start, end) = bytes.split_first_chunk::<8>()?;
        let piece = u64::from_be_bytes(*start)..u64::from_be_bytes(end.try_into().ok()?);
        (piece.start < piece.end).then_some(piece)
    };
    let pieces: Option<Vec<_>> = pieces.iter().map(piece).collect();
    pieces.filter(|_| rest.is_empty()).map(Coverage::of).ok_or_else(|| place.corrupt(column))
}

/// At the start nothing is under way: what an attempt reserved counts as handed out; what may have become whole counts as used, all
/// else waits for its next attempt.
pub(super) fn take_back(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let closing = "SELECT DISTINCT number FROM link_claim WHERE spent = 0 \
        AND number IN (SELECT claim FROM link_attempt WHERE closing = 1)";
    let closing: Vec<(i64,)> = sql(closing, []).rows(conn)?;
    let reserved = "UPDATE link_claim SET sum = sum + (SELECT coalesce(sum(after - first), 0) FROM link_attempt \
        WHERE claim = link_claim.number) WHERE number IN (SELECT claim FROM link_attempt)";
    sql(reserved, []).run(conn)?;
    for (number,) in closing {
        sql("UPDATE link_claim SET spent = 1 WHERE number = ?", [number.into()]).run(conn)?;
        count(conn, ClaimNumber(number))?;
    }
    sql("DELETE FROM link_attempt", []).run(conn)?;
    sql("UPDATE link_claim SET kept_until = NULL", []).run(conn)?;
    // Their connections are gone, and with them what could give them back.
    sql("DELETE FROM link_claim WHERE spent = 1", []).run(conn).map(drop)
}

/// Forgets uses that were spent before a moment: that they are used stays.
pub(super) fn forget_spent(conn: &mut SqliteConnection, before: Timestamp) -> Result<(), StoreError> {
    sql("DELETE FROM link_claim WHERE spent = 1 AND coalesce(kept_until, opened) < ?", [before.millis().into()])
        .run(conn)
        .map(drop)
}
