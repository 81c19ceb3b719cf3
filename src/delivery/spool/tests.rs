//! A process dies at every step, before or after what the step does, and at every step of the next start too.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex as StdMutex, MutexGuard};

use async_trait::async_trait;

use super::*;
use crate::domain::epoch::{Epochs, Subject};

/// How a process dies at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Death {
    Before,
    After,
    /// Half of what is written is there.
    Torn,
}

#[derive(Debug, Default)]
struct Disk {
    rows: BTreeMap<u32, Revocation>,
    entries: Vec<[u8; 32]>,
    /// Numbers of revocations, as the ledger of endings has them.
    told: Vec<u32>,
    reserved: u32,
    spool: String,
    /// The database takes nothing.
    down: bool,
    /// Steps until the process dies, and how.
    death: Option<(usize, Death)>,
    dead: bool,
}

impl Disk {
    /// Whether this step does what it does, and whether it is answered.
    fn step(&mut self) -> (bool, bool, bool) {
        match self.death {
            _ if self.dead => (false, false, false),
            Some((0, death)) => {
                self.dead = true;
                (death == Death::After, false, death == Death::Torn)
            }
            Some((left, death)) => {
                self.death = Some((left - 1, death));
                (true, true, false)
            }
            None => (true, true, false),
        }
    }
}

fn died() -> StoreError {
    StoreError::Unknown("died".into())
}

/// One life of the server over a disk: its memory goes with it.
#[derive(Debug)]
struct Process {
    disk: Arc<StdMutex<Disk>>,
    epochs: StdMutex<Epochs>,
}

impl Process {
    fn start(disk: &Arc<StdMutex<Disk>>) -> Arc<Self> {
        let mut epochs = Epochs::default();
        let mut inner = disk.lock().unwrap();
        (inner.dead, inner.down) = (false, false);
        inner.rows.values().for_each(|row| epochs.add(row.clone()));
        inner.reserved = epochs.resume(inner.reserved);
        drop(inner);
        Arc::new(Self { disk: Arc::clone(disk), epochs: StdMutex::new(epochs) })
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap()
    }
}

#[async_trait]
impl Revocations for Process {
    fn epochs(&self) -> Arc<Epochs> {
        Arc::new(self.epochs.lock().unwrap().clone())
    }

    fn cut(&self, scope: Scope, holder: Option<Holder>, at: Timestamp) -> Revocation {
        self.epochs.lock().unwrap().cut(scope, holder, at)
    }

    fn cut_again(&self, revocation: &Revocation) {
        self.epochs.lock().unwrap().cut_again(revocation);
    }

    async fn tell(&self, revocation: &Revocation) -> bool {
        let mut disk = self.disk();
        let (done, answered, _) = disk.step();
        if done {
            disk.told.push(revocation.number);
        }
        done && answered
    }

    async fn revoke(
        &self,
        revocation: Revocation,
        _reason: &str,
        entry: SealedEntry,
        told: bool,
    ) -> Result<bool, StoreError> {
        let mut disk = self.disk();
        let (done, answered, _) = disk.step();
        if disk.down {
            return Err(StoreError::Busy);
        }
        let new = done && !disk.rows.contains_key(&revocation.number);
        if new {
            disk.rows.insert(revocation.number, revocation.clone());
            disk.entries.push(entry.commitment);
            if !told {
                disk.told.push(revocation.number);
            }
        }
        if !answered {
            return Err(died());
        }
        self.epochs.lock().unwrap().add(revocation);
        Ok(new)
    }

    async fn durable_revocations(&self, numbers: Vec<u32>) -> Result<BTreeSet<u32>, StoreError> {
        let mut disk = self.disk();
        let known = numbers.into_iter().filter(|number| disk.rows.contains_key(number)).collect();
        if disk.step().1 { Ok(known) } else { Err(died()) }
    }
}

impl Spool for Process {
    fn append(&self, line: &str) -> std::io::Result<()> {
        let mut disk = self.disk();
        let (done, answered, torn) = disk.step();
        if done {
            disk.spool.push_str(&format!("\n{line}\n"));
        } else if torn {
            disk.spool.push_str(&format!("\n{}", &line[..line.len() / 2]));
        }
        if answered { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
    }

    fn lines(&self) -> std::io::Result<Vec<String>> {
        let mut disk = self.disk();
        let lines = disk.spool.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        if disk.step().1 { Ok(lines) } else { Err(std::io::ErrorKind::Other.into()) }
    }

    fn clear(&self) -> std::io::Result<()> {
        let mut disk = self.disk();
        let (done, answered, _) = disk.step();
        if done {
            disk.spool.clear();
        }
        if answered { Ok(()) } else { Err(std::io::ErrorKind::Other.into()) }
    }
}

/// A life with what the outside saw of it.
struct Life {
    process: Arc<Process>,
    revoking: Revoking,
}

/// What everybody saw over all lives.
#[derive(Default)]
struct Seen {
    numbers: BTreeSet<u32>,
    /// Epochs of links that an answered revocation ended.
    ended: Vec<u32>,
    /// Epochs of links that nothing ended.
    alive: Vec<u32>,
}

const SUBJECT: Subject = Subject { reader: ClientNumber(1), document: DocumentNumber(1), patient: None };

impl Life {
    fn begin(disk: &Arc<StdMutex<Disk>>) -> Self {
        let process = Process::start(disk);
        let revoking = Revoking::new(Arc::clone(&process) as _, Arc::clone(&process) as _);
        Self { process, revoking }
    }

    fn is_dead(&self) -> bool {
        self.process.disk().dead
    }

    /// As a start does, and then a round of the retention loop.
    async fn settle(&self) -> Result<(), StoreError> {
        self.revoking.recall().await?;
        self.merge().await
    }

    async fn merge(&self) -> Result<(), StoreError> {
        self.revoking.merge().await?;
        self.revoking.clear().await;
        if self.is_dead() { Err(died()) } else { Ok(()) }
    }

    /// Gives a link and then revokes it.
    async fn revoke(&self, seen: &mut Seen) -> Result<(), StoreError> {
        let epoch = self.process.epochs().current(&SUBJECT);
        let at = Timestamp::from_millis(1);
        let revocation = self.process.cut(Scope::Document(SUBJECT.document), None, at);
        let number = revocation.number;
        assert!(seen.numbers.insert(number), "{number} was given out before");
        let mut commitment = [0; 32];
        commitment[..4].copy_from_slice(&number.to_be_bytes());
        let entry = SealedEntry { commitment, ..entry() };
        self.revoking.keep(Spooled { revocation, reason: "why".to_owned(), entry, told: false }).await;
        seen.alive.clear();
        if self.is_dead() {
            return Err(died());
        }
        seen.ended.push(epoch);
        Ok(())
    }

    /// Gives a link that nothing ends any more.
    fn give(&self, seen: &mut Seen) {
        seen.alive.push(self.process.epochs().current(&SUBJECT));
    }

    fn check(&self, seen: &Seen, what: &str) {
        let epochs = self.process.epochs();
        for epoch in &seen.ended {
            assert!(epochs.revoked_since(&SUBJECT, *epoch).is_some(), "{what}: a link of {epoch} lives again");
        }
        for epoch in &seen.alive {
            assert!(epochs.revoked_since(&SUBJECT, *epoch).is_none(), "{what}: a link of {epoch} was ended by nobody");
        }
    }
}

/// The database takes one, not the next two, and then all of them.
async fn live(life: &Life, seen: &mut Seen) -> Result<(), StoreError> {
    life.settle().await?;
    life.revoke(seen).await?;
    life.process.disk().down = true;
    life.revoke(seen).await?;
    life.revoke(seen).await?;
    life.process.disk().down = false;
    life.give(seen);
    life.merge().await?;
    life.give(seen);
    life.revoke(seen).await?;
    life.give(seen);
    Ok(())
}

/// Lives a life that dies at a step, a start that dies at another, and one that does not; `false` when there is no such step.
async fn die_at(first: usize, second: usize, death: Death) -> (bool, bool) {
    let what = format!("{death:?} at {first} and {second}");
    let disk = Arc::new(StdMutex::new(Disk { death: Some((first, death)), ..Disk::default() }));
    let mut seen = Seen::default();
    let life = Life::begin(&disk);
    let died = live(&life, &mut seen).await.is_err();
    drop(life);
    disk.lock().unwrap().death = Some((second, death));
    let again = Life::begin(&disk);
    let died_again = again.settle().await.is_err();
    if !died_again {
        again.check(&seen, &what);
    }
    drop(again);
    disk.lock().unwrap().death = None;
    let last = Life::begin(&disk);
    last.settle().await.unwrap();
    last.check(&seen, &what);
    last.give(&mut seen);
    {
        let disk = disk.lock().unwrap();
        let once: BTreeSet<_> = disk.entries.iter().collect();
        let counts = (disk.entries.len(), once.len());
        assert_eq!(counts, (disk.rows.len(), disk.rows.len()), "{what}: each is recorded once");
        assert!(disk.spool.is_empty(), "{what}");
        let told: BTreeSet<_> = disk.told.iter().copied().collect();
        assert_eq!(told.len(), disk.told.len(), "{what}: each is told once");
        assert!(disk.rows.keys().all(|number| told.contains(number)), "{what}: each is told");
    }
    // And another start ends nothing.
    let after = Life::begin(&disk);
    after.settle().await.unwrap();
    after.check(&seen, &what);
    after.revoke(&mut seen).await.unwrap();
    (died, died_again)
}

#[tokio::test]
async fn a_revocation_is_in_force_exactly_once_wherever_the_process_dies() {
    for death in [Death::Before, Death::After, Death::Torn] {
        let mut first = 0;
        while die_at(first, usize::MAX, death).await.0 {
            let mut second = 0;
            while die_at(first, second, death).await.1 {
                second += 1;
            }
            first += 1;
        }
        assert!(first > 8, "{first} steps");
    }
}

#[tokio::test]
async fn a_spool_that_cannot_be_emptied_ends_no_link_that_was_made_since() {
    let disk = Arc::new(StdMutex::new(Disk::default()));
    let mut seen = Seen::default();
    let life = Life::begin(&disk);
    life.process.disk().down = true;
    life.revoke(&mut seen).await.unwrap();
    life.process.disk().down = false;
    life.revoking.merge().await.unwrap();
    life.give(&mut seen);
    assert!(!disk.lock().unwrap().spool.is_empty(), "not emptied");
    let again = Life::begin(&disk);
    again.revoking.recall().await.unwrap();
    again.check(&seen, "cut again");
    again.merge().await.unwrap();
    assert!(disk.lock().unwrap().spool.is_empty());
    assert_eq!(disk.lock().unwrap().rows.len(), 1);
}

#[tokio::test]
async fn what_an_earlier_version_spooled_without_a_number_is_cut_and_merged() {
    let disk = Arc::new(StdMutex::new(Disk::default()));
    let life = Life::begin(&disk);
    let revocation = life.process.cut(Scope::All, None, Timestamp::from_millis(4));
    let line = Spooled { revocation, reason: "why".to_owned(), entry: entry(), told: false }.to_line();
    let mut value: Value = serde_json::from_str(&line).unwrap();
    for member in ["number", "reader", "document", "told"] {
        value.as_object_mut().unwrap().remove(member);
    }
    disk.lock().unwrap().spool = value.to_string();
    let life = Life::begin(&disk);
    let before = life.process.epochs().current(&SUBJECT);
    life.revoking.recall().await.unwrap();
    assert!(life.process.epochs().revoked_since(&SUBJECT, before).is_some());
    life.merge().await.unwrap();
    assert_eq!(disk.lock().unwrap().rows.len(), 1);
}

#[tokio::test]
async fn a_whole_line_that_cannot_be_read_keeps_a_start_from_serving_and_a_torn_one_does_not() {
    for (line, is_read) in [("{\"scope\":\"all\",\"key\":", true), ("{\"scope\":\"of a newer version\"}", false)] {
        let disk = Arc::new(StdMutex::new(Disk::default()));
        disk.lock().unwrap().spool = format!("\n{line}\n");
        assert_eq!(Life::begin(&disk).revoking.recall().await.is_ok(), is_read, "{line}");
        assert!(disk.lock().unwrap().spool.contains(line), "and nothing is lost");
    }
}

fn entry() -> SealedEntry {
    SealedEntry {
        action: Action::LinkRevoke.code(),
        outcome: Outcome::Ok.code(),
        commitment: [7; 32],
        cells: vec![1, 2, 3],
        given: Vec::new(),
    }
}

#[test]
fn what_waits_reads_back_and_a_cut_line_is_none() {
    let holder = Some(Holder { reader: ClientNumber(3), document: DocumentNumber(4) });
    for (scope, holder) in [
        (Scope::All, None),
        (Scope::Client(ClientNumber(3)), None),
        (Scope::Link(LinkId::of_digest(&[9; 8])), holder),
        (Scope::Link(LinkId::of_digest(&[9; 8])), None),
    ] {
        let revocation = Revocation { number: 8, scope, at: Timestamp::from_millis(5), holder };
        let spooled = Spooled { revocation, reason: "lost \"laptop\"".to_owned(), entry: entry(), told: true };
        let line = spooled.to_line();
        assert!(!line.contains('\n'));
        assert_eq!(Spooled::from_line(&line), Some(spooled));
        for length in 0..line.len() {
            assert_eq!(line.get(..length).and_then(Spooled::from_line), None);
        }
    }
}
