//! Which connections there are, whose they are, and which of them could be closed without harm: those on which nothing has been
//! asked yet, or everything asked is answered. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use ipnet::IpNet;

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Standing {
    /// No byte of a request has come.
    Silent,
    /// Part of a head has come.
    Head,
    /// A request is answered.
    Busy,
}

/// A connection that is no more in the register.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gone<T> {
    pub(super) standing: Standing,
    pub(super) held: T,
}

#[derive(Debug)]
struct Member<T> {
    network: Option<IpNet>,
    standing: Standing,
    since: u64,
    held: T,
}

/// A network, by how many connections it has and by the oldest of those that could be closed. The last is the first to give.
type Rank = (usize, Reverse<u64>, IpNet);

/// Connections of one network that could be closed: since when, and their numbers.
#[derive(Debug, Default)]
struct Line {
    oldest_first: BTreeSet<(u64, u64)>,
    rank: Option<Rank>,
}

#[derive(Debug, Default)]
struct Group {
    number: usize,
    silent: Line,
    heads: Line,
}

impl Group {
    fn line(&mut self, standing: Standing) -> Option<&mut Line> {
        match standing {
            Standing::Silent => Some(&mut self.silent),
            Standing::Head => Some(&mut self.heads),
            Standing::Busy => None,
        }
    }
}

/// See the module. `T` is what a connection has until it leaves. A network of `None` is that of the trusted proxies.
#[derive(Debug)]
pub(super) struct Register<T> {
    members: HashMap<u64, Member<T>>,
    groups: HashMap<Option<IpNet>, Group>,
    /// Networks with silent connections, and those with parts of heads; the trusted proxies are not among them.
    silent: BTreeSet<Rank>,
    heads: BTreeSet<Rank>,
    ticks: u64,
}

impl<T> Register<T> {
    pub(super) fn new() -> Self {
        let (members, groups) = (HashMap::new(), HashMap::new());
        Self { members, groups, silent: BTreeSet::new(), heads: BTreeSet::new(), ticks: 0 }
    }

    fn tick(&mut self) -> u64 {
        self.ticks += 1;
        self.ticks
    }

    /// Gives a network its rank again after a change.
    fn rank(&mut self, network: Option<IpNet>) {
        let Some(group) = self.groups.get_mut(&network) else { return };
        let number = group.number;
        for (line, ranks) in [(&mut group.silent, &mut self.silent), (&mut group.heads, &mut self.heads)] {
            let oldest = line.oldest_first.first().map(|(since, _)| Reverse(*since));
            let rank = network.and_then(|network| oldest.map(|oldest| (number, oldest, network)));
            if rank == line.rank {
                continue;
            }
            if let Some(before) = std::mem::replace(&mut line.rank, rank) {
                ranks.remove(&before);
            }
            ranks.extend(rank);
        }
        if number == 0 {
            self.groups.remove(&network);
        }
    }

    /// Takes a new connection in, silent as yet; its number.
    pub(super) fn enter(&mut self, network: Option<IpNet>, held: T) -> u64 {
        let id = self.tick();
        self.members.insert(id, Member { network, standing: Standing::Silent, since: id, held });
        let group = self.groups.entry(network).or_default();
        group.number += 1;
        group.silent.oldest_first.insert((id, id));
        self.rank(network);
        id
    }

    /// Takes a connection out; `None` where it is out already.
    pub(super) fn leave(&mut self, id: u64) -> Option<Gone<T>> {
        let member = self.members.remove(&id)?;
        if let Some(group) = self.groups.get_mut(&member.network) {
            group.number = group.number.saturating_sub(1);
            if let Some(line) = group.line(member.standing) {
                line.oldest_first.remove(&(member.since, id));
            }
        }
        self.rank(member.network);
        Some(Gone { standing: member.standing, held: member.held })
    }

    /// Notes what a connection does from now on, and says what it did; `None` where it is out.
    pub(super) fn stands(&mut self, id: u64, standing: Standing) -> Option<Standing> {
        let now = self.tick();
        let member = self.members.get_mut(&id)?;
        let (network, before, since) = (member.network, member.standing, member.since);
        (member.standing, member.since) = (standing, now);
        let group = self.groups.get_mut(&network)?;
        if let Some(line) = group.line(before) {
            line.oldest_first.remove(&(since, id));
        }
        if let Some(line) = group.line(standing) {
            line.oldest_first.insert((now, id));
        }
        self.rank(network);
        Some(before)
    }

    fn oldest_of(&self, network: Option<IpNet>) -> Option<u64> {
        let group = self.groups.get(&network)?;
        let oldest = group.silent.oldest_first.first().or_else(|| group.heads.oldest_first.first());
        oldest.map(|(_, id)| *id)
    }

    /// Takes out the connection of a network that has been silent for longest, or else whose head has been awaited for longest.
    pub(super) fn evict_of(&mut self, network: Option<IpNet>) -> Option<Gone<T>> {
        self.leave(self.oldest_of(network)?)
    }

    /// The same of the network that has most connections, as far as it has one that could be closed; of networks with as many, of
    /// that with the oldest. Silent ones of any network go before those with part of a head, and those of trusted proxies last.
    pub(super) fn evict_of_most(&mut self) -> Option<Gone<T>> {
        let network = self.silent.last().or_else(|| self.heads.last()).map(|(.., network)| *network);
        self.evict_of(network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn network(number: u8) -> Option<IpNet> {
        Some(IpNet::from(std::net::IpAddr::from([192, 0, 2, number])))
    }

    fn held<T>(gone: Option<Gone<T>>) -> Option<T> {
        gone.map(|gone| gone.held)
    }

    #[test]
    fn the_oldest_silent_one_goes_first_then_the_oldest_head_and_no_request() {
        let mut register = Register::new();
        let ids: Vec<u64> = (0..5).map(|held| register.enter(network(1), held)).collect();
        register.stands(ids[0], Standing::Busy);
        register.stands(ids[1], Standing::Head);
        register.stands(ids[2], Standing::Busy);
        // Between requests since just now: after those that never said a word.
        register.stands(ids[2], Standing::Silent);
        let gone: Vec<_> = std::iter::from_fn(|| held(register.evict_of(network(1)))).collect();
        assert_eq!(gone, [3, 4, 2, 1]);
        assert_eq!(register.stands(ids[1], Standing::Busy), None);
        assert_eq!(held(register.leave(ids[0])), Some(0));
        assert!(register.groups.is_empty() && register.silent.is_empty() && register.heads.is_empty());
    }

    #[test]
    fn the_network_with_most_gives_first_and_trusted_proxies_last() {
        let mut register = Register::new();
        let ids: Vec<u64> = [network(1), network(2), network(2), None, None, None]
            .into_iter()
            .enumerate()
            .map(|(held, network)| register.enter(network, held))
            .collect();
        assert_eq!(held(register.evict_of_most()), Some(1));
        register.stands(ids[0], Standing::Head);
        register.stands(ids[2], Standing::Busy);
        let gone: Vec<_> = std::iter::from_fn(|| held(register.evict_of_most())).collect();
        assert_eq!(gone, [0, 3, 4, 5]);
    }

    #[test]
    fn of_networks_with_as_many_the_oldest_gives() {
        let mut register = Register::new();
        for number in [5, 3, 9, 1] {
            register.enter(network(number), number);
        }
        let gone: Vec<_> = std::iter::from_fn(|| held(register.evict_of_most())).collect();
        assert_eq!(gone, [5, 3, 9, 1]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_what_is_busy_stays(steps in proptest::collection::vec((0u8..6, 0u64..40, 0u8..4), 0..80)) {
            let mut register = Register::new();
            let mut busy = std::collections::HashSet::new();
            for (step, id, of) in steps {
                match step {
                    0 | 1 => { register.enter((of > 0).then(|| network(of)).flatten(), ()); }
                    2 => { if register.stands(id, Standing::Busy).is_some() { busy.insert(id); } }
                    3 => { if register.stands(id, Standing::Silent).is_some() { busy.remove(&id); } }
                    4 => { register.leave(id); busy.remove(&id); }
                    _ => { if let Some(gone) = register.evict_of_most() { prop_assert!(gone.standing != Standing::Busy); } }
                }
                prop_assert!(busy.iter().all(|id| register.members.contains_key(id)));
                let grouped: usize = register.groups.values().map(|group| group.number).sum();
                let quiet: usize = register.groups.values().map(|group| group.silent.oldest_first.len() + group.heads.oldest_first.len()).sum();
                prop_assert_eq!((grouped, quiet + busy.len()), (register.members.len(), register.members.len()));
            }
        }
    }
}
