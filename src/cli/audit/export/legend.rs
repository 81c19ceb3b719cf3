//! Documents, files and links of an export by short names, in the order in which they come up; what each stands for is said at the
//! end, so that no line holds an id.

use std::collections::HashMap;

use super::opened::Opened;
use super::sentences::Names;
use crate::domain::audit::effect::revoked_at;

/// Short names.
#[derive(Debug, Default)]
pub(super) struct Legend {
    /// Each with its patient.
    documents: Numbered<Option<String>>,
    /// Each with its document's place.
    files: Numbered<Option<usize>>,
    links: Numbered<Link>,
    /// Files that only entries before the period name, with their documents' places.
    earlier: HashMap<String, usize>,
    given: Vec<Given>,
}

/// That a link was given: what a withdrawal of many may have ended.
#[derive(Debug)]
struct Given {
    link: String,
    document: usize,
    client: Option<String>,
    /// The entry that says so.
    seq: u64,
    /// The second in which its time is over.
    expires: Option<i64>,
}

/// Ids in the order in which they came up, with what is known of each.
#[derive(Debug)]
struct Numbered<T> {
    rows: Vec<(String, T)>,
    places: HashMap<String, usize>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { rows: Vec::new(), places: HashMap::new() }
    }
}

impl<T: Default> Numbered<T> {
    fn place(&self, id: &str) -> Option<usize> {
        self.places.get(id).copied()
    }

    fn get(&self, id: &str) -> Option<&T> {
        self.rows.get(self.place(id)?).map(|(_, known)| known)
    }

    /// What is known of it, which is nothing when it comes up for the first time.
    fn known(&mut self, id: &str) -> Option<&mut T> {
        let place = self.place(id).unwrap_or_else(|| {
            self.rows.push((id.to_owned(), T::default()));
            self.places.insert(id.to_owned(), self.rows.len() - 1);
            self.rows.len() - 1
        });
        self.rows.get_mut(place).map(|(_, known)| known)
    }
}

/// A link that entries name.
#[derive(Debug, Default)]
struct Link {
    file: Option<String>,
    document: Option<usize>,
    client: Option<String>,
    recipient: Option<String>,
}

impl Legend {
    /// From all entries of an export, and those before its period that say more of what it names.
    pub(super) fn of(entries: &[Opened], before: &[Opened]) -> Self {
        let mut legend = Self::default();
        for entry in entries {
            legend.take_documents(entry);
        }
        for entry in entries {
            legend.take_file(entry);
        }
        for entry in entries {
            legend.take_links(entry);
        }
        for entry in before {
            legend.take_earlier_files(entry);
        }
        for entry in before {
            legend.fill_links(entry);
        }
        for entry in before.iter().chain(entries) {
            legend.take_given(entry);
        }
        legend
    }

    /// A search that names one patient at most found that patient's documents only; of others only what is known from elsewhere counts.
    fn take_documents(&mut self, entry: &Opened) {
        let patients = entry.patients();
        let found = entry.returned().filter(|_| patients.len() <= 1);
        for id in entry.document().into_iter().chain(found) {
            if let Some(patient) = self.documents.known(id) {
                *patient = patient.take().or_else(|| patients.first().map(|patient| (*patient).to_owned()));
            }
        }
    }

    fn take_file(&mut self, entry: &Opened) {
        let document = self.place_of(entry);
        let offered = entry.offered().map(|(_, file)| file).filter(|_| document.is_some());
        for file in entry.text("file").into_iter().chain(offered) {
            if let Some(known) = self.files.known(file) {
                *known = known.or(document);
            }
        }
    }

    fn take_earlier_files(&mut self, entry: &Opened) {
        let Some(document) = self.place_of(entry) else { return };
        for file in entry.text("file").into_iter().chain(entry.offered().map(|(_, file)| file)) {
            self.earlier.entry(file.to_owned()).or_insert(document);
        }
    }

    fn take_links(&mut self, entry: &Opened) {
        for (id, file) in links_of(entry) {
            // A search may have found documents of others: their links are not this export's.
            let is_known = self.place_of(entry).or_else(|| file.and_then(|file| self.place_of_file(file))).is_some();
            if is_known || entry.text("link").is_some() {
                self.links.known(id);
            }
        }
        self.fill_links(entry);
    }

    /// Says more of links that are known.
    fn fill_links(&mut self, entry: &Opened) {
        for (id, file) in links_of(entry) {
            let document = self.place_of(entry).or_else(|| file.and_then(|file| self.place_of_file(file)));
            if let Some(link) = self.links.place(id).and_then(|_| self.links.known(id)) {
                link.file = link.file.take().or_else(|| file.map(str::to_owned));
                link.document = link.document.or(document);
                link.client = link.client.take().or_else(|| entry.client().map(str::to_owned));
                link.recipient = link.recipient.take().or_else(|| entry.text("recipient").map(str::to_owned));
            }
        }
    }

    fn take_given(&mut self, entry: &Opened) {
        for (link, file, expires) in entry.given() {
            let document = self.place_of(entry).or_else(|| self.place_of_file(file));
            let (link, client) = (link.to_owned(), entry.client().map(str::to_owned));
            self.given.extend(document.map(|document| Given { link, document, client, seq: entry.seq, expires }));
        }
    }

    fn place_of(&self, entry: &Opened) -> Option<usize> {
        let id = entry.document().or_else(|| {
            let mut found = entry.returned();
            found.next().filter(|_| found.next().is_none())
        })?;
        self.documents.place(id)
    }

    fn place_of_file(&self, file: &str) -> Option<usize> {
        self.files.get(file).copied().flatten().or_else(|| self.earlier.get(file).copied())
    }

    /// How many documents there are.
    pub(super) fn documents(&self) -> usize {
        self.documents.rows.len()
    }

    /// The documents, by place, that an entry concerns.
    pub(super) fn concerned(&self, entry: &Opened) -> Vec<usize> {
        let by_link = || self.links.get(entry.text("link")?)?.document;
        let one = entry.document().and_then(|id| self.documents.place(id));
        let one = one.or_else(|| entry.text("file").and_then(|file| self.place_of_file(file))).or_else(by_link);
        if let Some(one) = one {
            return vec![one];
        }
        entry.returned().filter_map(|id| self.documents.place(id)).collect()
    }

    /// Whom a link is meant for.
    pub(super) fn recipient(&self, link: &str) -> Option<&str> {
        self.links.get(link)?.recipient.as_deref()
    }

    /// Whether a withdrawal ended links to the document at `place`: one that names a link or a document by that, a wide one where a link
    /// is known that it ended, given before and alive then.
    pub(super) fn has_ended(&self, entry: &Opened, place: usize) -> bool {
        if let Some(link) = entry.text("link") {
            let is_known = self.links.get(link).is_some_and(|known| known.document == Some(place));
            return is_known || self.given.iter().any(|given| given.link == link && given.document == place);
        }
        if entry.document().is_some() {
            return self.concerned(entry).contains(&place);
        }
        let patient = self.documents.rows.get(place).and_then(|(_, patient)| patient.as_deref());
        let concerns = |given: &Given| match (entry.text("registered"), entry.text("aim")) {
            (Some(client), _) => given.client.as_deref() == Some(client),
            (None, Some(_)) => true,
            (None, None) => patient.is_some() && entry.text("patient") == patient,
        };
        let recorded = || i64::try_from(entry.micros / 1_000_000).unwrap_or(i64::MAX);
        let second = revoked_at(&entry.subject).map_or_else(recorded, |at| at.seconds());
        let was_alive = |given: &Given| given.seq < entry.seq && given.expires.is_none_or(|expires| expires >= second);
        self.given.iter().any(|given| given.document == place && was_alive(given) && concerns(given))
    }

    /// What each short name stands for.
    pub(super) fn lines(&self) -> Vec<String> {
        let documents = self.documents.rows.iter().enumerate();
        let mut lines: Vec<String> =
            documents.map(|(at, (id, _))| format!("  {:<12} DocumentReference/{id}", document(at))).collect();
        let files = self.files.rows.iter().enumerate();
        lines.extend(files.map(|(at, (id, of))| {
            let of = of.map_or_else(String::new, |of| format!(", of {}", document(of)));
            format!("  {:<12} Binary/{id}{of}", numbered("file", at))
        }));
        lines.extend(self.links.rows.iter().enumerate().map(|(at, (id, link))| self.line_of(at, id, link)));
        lines
    }

    fn line_of(&self, at: usize, id: &str, link: &Link) -> String {
        let mut line = format!("  {:<12} {}", numbered("link", at), id);
        let file = link.file.as_deref().map(|file| self.file(file));
        let parts = [("to", file), ("given to", link.client.clone()), ("meant for", link.recipient.clone())];
        for (word, value) in parts.into_iter().filter_map(|(word, value)| Some((word, value?))) {
            line.push_str(&format!(", {word} {value}"));
        }
        line
    }
}

impl Names for Legend {
    fn link(&self, id: &str) -> String {
        let at = self.links.place(id);
        at.map_or_else(|| "a link".to_owned(), |at| numbered("link", at))
    }

    fn file(&self, id: &str) -> String {
        let at = self.files.place(id);
        at.map_or_else(|| "a file".to_owned(), |at| numbered("file", at))
    }
}

/// Links that an entry names or handed out, each with its file.
fn links_of(entry: &Opened) -> Vec<(&str, Option<&str>)> {
    let own = entry.text("link").map(|link| (link, entry.text("file")));
    own.into_iter().chain(entry.offered().map(|(link, file)| (link, Some(file)))).collect()
}

/// `document 1`.
pub(super) fn document(place: usize) -> String {
    numbered("document", place)
}

fn numbered(noun: &str, place: usize) -> String {
    format!("{noun} {}", place.saturating_add(1))
}
