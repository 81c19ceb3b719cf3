//! Cells: what an entry says of people and machines, in groups that can be erased one by one while the tree stands. Each is
//! sealed under a key of its own (AES-256-GCM, key by HKDF-SHA256 from the log's cell key and the cell's salt) and bound to the
//! entry by a salted commitment. Without its 32 random bytes a commitment tells nothing, however few values are possible.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk};
use aws_lc_rs::hmac;

use super::detail::{Detail, Object};
use super::tree::{Hash, sha256};

/// Most bytes of one group: a search page of 1 000 documents with their links stays far below.
pub const MAX_DATA: usize = 1 << 20;

/// Exactly 32 bytes: HMAC pads shorter keys with zeros, so a salt of free length would not bind.
pub type Salt = [u8; 32];

const TAG_LEN: usize = 16;
const FORMAT: u8 = 1;
const KIND_ERASED: u8 = 0;
const KIND_SEALED: u8 = 1;
const KIND_OPEN: u8 = 2;

/// The groups of an entry, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// Who acted.
    Actor,
    /// The line of a new checkpoint key; never sealed, never erased.
    Key,
    /// What it was about: document, patient, file, link.
    Subject,
    /// Address, request, node.
    Tech,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 4] = [Self::Actor, Self::Key, Self::Subject, Self::Tech];

    /// Name, as it is hashed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Actor => "actor",
            Self::Key => "key",
            Self::Subject => "subject",
            Self::Tech => "tech",
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Actor => 1,
            Self::Key => 2,
            Self::Subject => 3,
            Self::Tech => 4,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.number() == number)
    }
}

/// The log's cell key, from which every cell's own key comes.
#[derive(Clone)]
pub struct CellKey(Prk);

impl std::fmt::Debug for CellKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CellKey(hidden)")
    }
}

impl CellKey {
    /// From 32 uniformly random bytes. Being uniform they are a pseudorandom key as they stand (RFC 5869 §3.3).
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Prk::new_less_safe(HKDF_SHA256, bytes))
    }

    /// HKDF-Expand with info = "daylily-audit/cell/v1" 0x00 | group name | 0x00 | salt.
    fn of_cell(&self, group: Group, salt: &Salt) -> Option<LessSafeKey> {
        let info: [&[u8]; 4] = [b"daylily-audit/cell/v1\0", group.name().as_bytes(), b"\0", salt];
        let okm = self.0.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }

    /// The key of tags in the look-up by patient: HKDF-Expand with info = "daylily-audit/tags/v1" 0x00.
    pub(super) fn of_tags(&self) -> Option<hmac::Key> {
        Some(hmac::Key::from(self.0.expand(&[b"daylily-audit/tags/v1\0"], hmac::HMAC_SHA256).ok()?))
    }

    /// Appends the ciphertext and its tag. Every cell has a key of its own, so one nonce is used once.
    fn seal(&self, group: Group, salt: &Salt, data: &[u8], out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        out.extend_from_slice(data);
        let key = self.of_cell(group, salt)?;
        let place = out.get_mut(start..)?;
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), place).ok()?;
        out.extend_from_slice(tag.as_ref());
        Some(())
    }

    fn unseal(&self, group: Group, salt: &Salt, ciphertext: &[u8]) -> Option<Vec<u8>> {
        let mut data = ciphertext.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let length = self.of_cell(group, salt)?.open_in_place(nonce, Aad::empty(), &mut data).ok()?.len();
        data.truncate(length);
        Some(data)
    }
}

/// C_g = HMAC-SHA-256(salt, "daylily-audit/commit/v1" 0x00 | lp(name) | data).
pub fn commit(group: Group, salt: &Salt, data: &[u8]) -> Hash {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, salt));
    context.update(b"daylily-audit/commit/v1\0");
    let mut name = [0u8; 4 + 8];
    context.update(prefixed(group, &mut name));
    context.update(data);
    context.sign().as_ref().first_chunk().copied().unwrap_or_default()
}

/// C = SHA-256("daylily-audit/groups/v1" 0x00 | count | for each group in name order: lp(name) | C_g).
pub fn commit_all(groups: &[(Group, Hash)]) -> Hash {
    let mut bytes = Vec::with_capacity(25 + groups.len() * 44);
    bytes.extend_from_slice(b"daylily-audit/groups/v1\0");
    bytes.push(u8::try_from(groups.len()).unwrap_or(u8::MAX));
    let mut name = [0u8; 4 + 8];
    for (group, commitment) in groups {
        bytes.extend_from_slice(prefixed(*group, &mut name));
        bytes.extend_from_slice(commitment);
    }
    sha256(&[&bytes])
}

/// lp(x) of a group's name: its length as 4 bytes big-endian, then the name.
fn prefixed(group: Group, place: &mut [u8; 12]) -> &[u8] {
    let name = group.name().as_bytes();
    let end = 4 + name.len();
    // Names are shorter than 8 bytes, so all but the last byte of the length are zero.
    place.fill(0);
    if let Some(low) = place.get_mut(3) {
        *low = u8::try_from(name.len()).unwrap_or_default();
    }
    if let Some(rest) = place.get_mut(4..end) {
        rest.copy_from_slice(name);
    }
    place.get(..end).unwrap_or_default()
}

/// One cell as it is stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Erased: the commitment stays, so that the entry's other cells can still be shown to belong to it.
    Erased(Hash),
    /// Sealed: salt, and ciphertext with its tag.
    Sealed(Salt, &'a [u8]),
    /// In clear, only [`Group::Key`].
    Open(Salt, &'a [u8]),
}

impl std::fmt::Debug for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Erased(_) => "erased",
            Self::Sealed(..) => "sealed",
            Self::Open(..) => "open",
        })
    }
}

/// All cells of one entry, as stored beside its leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells<'a> {
    cells: Vec<(Group, Cell<'a>)>,
}

/// One group of an entry before it is sealed.
pub(super) struct PlainCell {
    pub(super) group: Group,
    pub(super) salt: Salt,
    pub(super) data: Vec<u8>,
}

/// Seals all groups of an entry into the bytes to store. `None` only if the cryptographic library fails.
pub(super) fn seal_all(cells: &[PlainCell], key: &CellKey) -> Option<Vec<u8>> {
    let length: usize = cells.iter().map(|cell| 38 + cell.data.len() + TAG_LEN).sum();
    let mut out = Vec::with_capacity(1 + length);
    out.push(FORMAT);
    for PlainCell { group, salt, data } in cells {
        let open = *group == Group::Key;
        let stored = data.len() + if open { 0 } else { TAG_LEN };
        put_head(&mut out, *group, if open { KIND_OPEN } else { KIND_SEALED });
        out.extend_from_slice(salt);
        put_length(&mut out, stored);
        if open {
            out.extend_from_slice(data);
        } else {
            key.seal(*group, salt, data, &mut out)?;
        }
    }
    Some(out)
}

fn put_head(out: &mut Vec<u8>, group: Group, kind: u8) {
    out.push(group.number());
    out.push(kind);
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    // MAX_DATA keeps it far below.
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

impl<'a> Cells<'a> {
    /// Reads stored bytes: a format byte, then per group its number, kind, and what the kind has. Strict: groups ascend, each
    /// stands once, nothing follows, only the key group is in clear.
    pub fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (format, mut rest) = bytes.split_first()?;
        let mut cells: Vec<(Group, Cell<'a>)> = Vec::with_capacity(Group::ALL.len());
        while let Some(([group, kind], tail)) = rest.split_first_chunk::<2>() {
            let group = Group::from_number(*group)?;
            if cells.last().is_some_and(|(before, _)| *before >= group) {
                return None;
            }
            let (first, tail) = tail.split_first_chunk::<32>()?;
            let (cell, tail) = match (*kind, group == Group::Key) {
                (KIND_ERASED, false) => (Cell::Erased(*first), tail),
                (KIND_SEALED, false) => {
                    let (data, tail) = take_data(tail).filter(|(data, _)| data.len() >= TAG_LEN)?;
                    (Cell::Sealed(*first, data), tail)
                }
                (KIND_OPEN, true) => {
                    let (data, tail) = take_data(tail)?;
                    (Cell::Open(*first, data), tail)
                }
                _ => return None,
            };
            cells.push((group, cell));
            rest = tail;
        }
        (*format == FORMAT && rest.is_empty() && !cells.is_empty()).then_some(Self { cells })
    }

    /// The bytes that [`Self::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        for (group, cell) in &self.cells {
            match cell {
                Cell::Erased(commitment) => {
                    put_head(&mut out, *group, KIND_ERASED);
                    out.extend_from_slice(commitment);
                }
                Cell::Sealed(salt, data) | Cell::Open(salt, data) => {
                    put_head(&mut out, *group, if *group == Group::Key { KIND_OPEN } else { KIND_SEALED });
                    out.extend_from_slice(salt);
                    put_length(&mut out, data.len());
                    out.extend_from_slice(data);
                }
            }
        }
        out
    }

    /// Groups and cells in order.
    pub fn iter(&self) -> impl Iterator<Item = (Group, Cell<'a>)> + '_ {
        self.cells.iter().copied()
    }

    /// Whether any group is erased.
    pub fn has_erased(&self) -> bool {
        self.cells.iter().any(|(_, cell)| matches!(cell, Cell::Erased(_)))
    }

    /// The canonical JSON of `group`; `None` when the entry has no such group, it is erased, or it does not open.
    pub fn open(&self, group: Group, key: &CellKey) -> Option<Object> {
        let (_, cell) = self.cells.iter().find(|(other, _)| *other == group)?;
        match cell {
            Cell::Erased(_) => None,
            Cell::Sealed(salt, ciphertext) => Object::parse(&key.unseal(group, salt, ciphertext)?),
            Cell::Open(_, data) => Object::parse(data),
        }
    }

    /// Salt and canonical JSON of `group`: what is handed to someone who is to check this one group against the log.
    pub fn disclose(&self, group: Group, key: &CellKey) -> Option<(Salt, Vec<u8>)> {
        let (_, cell) = self.cells.iter().find(|(other, _)| *other == group)?;
        match cell {
            Cell::Erased(_) => None,
            Cell::Sealed(salt, ciphertext) => Some((*salt, key.unseal(group, salt, ciphertext)?)),
            Cell::Open(salt, data) => Some((*salt, data.to_vec())),
        }
    }

    /// The line of the new checkpoint key, if the entry has one: in clear, so that it is read without the cell key.
    pub fn public_key_line(&self) -> Option<String> {
        let object = self.cells.iter().find_map(|(group, cell)| match (group, cell) {
            (Group::Key, Cell::Open(_, data)) => Object::parse(data),
            _ => None,
        })?;
        match object.get("vkey") {
            Some(Detail::Text(line)) => Some(line.clone()),
            _ => None,
        }
    }

    /// The commitment to all groups, from what they hold.
    ///
    /// # Errors
    /// The first group that does not open.
    pub fn commitment(&self, key: &CellKey) -> Result<Hash, Group> {
        let groups: Result<Vec<_>, Group> =
            self.cells.iter().map(|(group, cell)| Ok((*group, self_commitment(*group, cell, key)?))).collect();
        Ok(commit_all(&groups?))
    }

    /// The same cells with `groups` erased: salt and text gone, commitment kept. [`Group::Key`] stays.
    ///
    /// # Errors
    /// The first group that does not open: what cannot be read is evidence and is not erased.
    pub fn erase(&self, groups: &[Group], key: &CellKey) -> Result<Self, Group> {
        let erased = |(group, cell): &(Group, Cell<'a>)| {
            if *group == Group::Key || !groups.contains(group) {
                return Ok((*group, *cell));
            }
            Ok((*group, Cell::Erased(self_commitment(*group, cell, key)?)))
        };
        Ok(Self { cells: self.cells.iter().map(erased).collect::<Result<_, Group>>()? })
    }
}

fn self_commitment(group: Group, cell: &Cell<'_>, key: &CellKey) -> Result<Hash, Group> {
    match cell {
        Cell::Erased(commitment) => Ok(*commitment),
        Cell::Open(salt, data) => Ok(commit(group, salt, data)),
        Cell::Sealed(salt, ciphertext) => {
            key.unseal(group, salt, ciphertext).map(|data| commit(group, salt, &data)).ok_or(group)
        }
    }
}

fn take_data(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    (length <= MAX_DATA + TAG_LEN).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(group: Group, data: &str) -> PlainCell {
        PlainCell { group, salt: [group.number(); 32], data: data.as_bytes().to_vec() }
    }

    fn stored() -> Vec<u8> {
        let cells = [
            plain(Group::Actor, "{}"),
            plain(Group::Key, "{\"vkey\":\"x\"}"),
            plain(Group::Subject, "{\"patient\":\"Patient/42\"}"),
            plain(Group::Tech, "{}"),
        ];
        seal_all(&cells, &CellKey::new(&[9; 32])).unwrap()
    }

    #[test]
    fn sealed_cells_open_under_their_key_only_and_hide_their_text() {
        let (bytes, key) = (stored(), CellKey::new(&[9; 32]));
        let cells = Cells::decode(&bytes).unwrap();
        assert_eq!(cells.encode(), bytes);
        assert_eq!(cells.open(Group::Subject, &key).unwrap().get("patient"), Some(&"Patient/42".into()));
        assert_eq!(cells.open(Group::Key, &key).unwrap().get("vkey"), Some(&"x".into()));
        assert_eq!(cells.open(Group::Subject, &CellKey::new(&[8; 32])), None);
        assert_eq!(cells.commitment(&CellKey::new(&[8; 32])), Err(Group::Actor));
        assert!(!bytes.windows(10).any(|window| window == b"Patient/42"));
    }

    #[test]
    fn an_erased_group_is_gone_and_the_rest_still_fits() {
        let (bytes, key) = (stored(), CellKey::new(&[9; 32]));
        let cells = Cells::decode(&bytes).unwrap();
        let whole = cells.commitment(&key).unwrap();
        let shorter = cells.erase(&[Group::Subject, Group::Key], &key).unwrap().encode();
        let after = Cells::decode(&shorter).unwrap();
        assert_eq!(after.commitment(&key), Ok(whole));
        assert_eq!(after.open(Group::Subject, &key), None);
        assert!(after.has_erased() && after.open(Group::Key, &key).is_some(), "the key line stays");
        assert!(!shorter.windows(32).any(|window| window == [3; 32]), "the salt is gone");
        assert_eq!(cells.erase(&[Group::Tech], &CellKey::new(&[8; 32])), Err(Group::Tech));
    }

    #[test]
    fn cells_in_another_order_twice_or_of_another_kind_are_refused() {
        let key = CellKey::new(&[9; 32]);
        let of = |cells: &[PlainCell]| seal_all(cells, &key).unwrap();
        let actor_twice = of(&[plain(Group::Actor, "{}"), plain(Group::Actor, "{}")]);
        let descending = of(&[plain(Group::Tech, "{}"), plain(Group::Actor, "{}")]);
        let mut sealed_key = of(&[plain(Group::Key, "0123456789abcdef")]);
        sealed_key[2] = KIND_SEALED;
        let mut open_actor = of(&[plain(Group::Actor, "{}")]);
        open_actor[2] = KIND_OPEN;
        let mut erased_key = vec![FORMAT, Group::Key.number(), KIND_ERASED];
        erased_key.extend([0; 32]);
        let trailing = [stored(), vec![1]].concat();
        for wrong in [actor_twice, descending, sealed_key, open_actor, erased_key, trailing, vec![FORMAT], vec![]] {
            assert_eq!(Cells::decode(&wrong), None);
        }
    }

    #[test]
    fn the_cell_key_is_hkdf_of_the_log_key() {
        // RFC 5869 §2.3: OKM of 32 bytes = HMAC(PRK, info | 0x01), computed here with HMAC alone.
        let (master, salt) = ([9u8; 32], [3u8; 32]);
        let info = [b"daylily-audit/cell/v1\0subject\0".as_slice(), &salt, &[1]].concat();
        let okm = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &master), &info);
        let direct = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, okm.as_ref()).unwrap());
        let mut sealed = Vec::new();
        CellKey::new(&master).seal(Group::Subject, &salt, b"{}", &mut sealed).unwrap();
        let opened = direct.open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut sealed);
        assert_eq!(opened.unwrap(), b"{}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_cells_or_written_the_same(
            bytes in proptest::collection::vec(any::<u8>(), 0..120), at in 0usize..400, value in any::<u8>(),
        ) {
            if let Some(cells) = Cells::decode(&bytes) {
                prop_assert_eq!(cells.encode(), bytes);
            }
            let mut near = stored();
            let at = at % near.len();
            near[at] = value;
            if let Some(cells) = Cells::decode(&near) {
                prop_assert_eq!(cells.encode(), near);
            }
        }
    }
}
