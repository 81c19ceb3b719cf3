//! What must be answered. Plain on purpose: membership of sets, written down from the contract and not from the product.

use super::world::{Party, Sent, World};

impl World {
    /// Contract, Who sees what: what one delivered, what names one, what one's reach covers.
    pub fn sees(&self, who: usize, sent: &Sent) -> bool {
        let party = &self.parties[who];
        let in_reach = sent.custodian.is_some_and(|custodian| party.custodians.contains(&custodian));
        party.all || sent.source == who || sent.recipients.contains(&who) || in_reach
    }

    /// A Patient is seen by its sender, by who sees everything, and with a document that another delivered.
    pub fn sees_patient(&self, who: usize, at: usize) -> bool {
        let through = |sent: &Sent| sent.patient == at && sent.source != who && self.sees(who, sent);
        self.parties[who].all || self.patients[at].owner == who || self.documents.iter().any(through)
    }

    /// Whether a mark may stand in an answer to somebody: `MARK-` document, patient, file or Subscription, number, `~`.
    pub fn may_read_mark(&self, who: usize, mark: &str) -> bool {
        let (kind, number) = mark.split_at(1);
        let at: usize = number.parse().unwrap();
        match kind {
            "d" => self.sees(who, &self.documents[at]),
            "p" => self.sees_patient(who, at),
            "f" | "s" => at == who,
            _ => panic!("no such mark: {mark}"),
        }
    }
}

impl Party {
    /// Whether the token's scope has the letter for the type.
    pub fn may(&self, kind: &str, letter: char) -> bool {
        self.rights.is_none_or(|(of, letters)| of == kind && letters.contains(letter))
    }
}
