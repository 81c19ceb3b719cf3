//! Documents, files and links of an export by short names, in the order in which they come up; what each stands for is said at the
//! end, so that no line holds an id.

use std::collections::HashMap;

use super::opened::Opened;
use super::sentences::Names;

/// Short names.
#[derive(Debug, Default)]
pub(super) struct Legend {
    documents: Numbered<()>,
    /// Each with its document's place.
    files: Numbered<Option<usize>>,
    links: Numbered<Link>,
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
    /// From all entries of an export.
    pub(super) fn of(entries: &[Opened]) -> Self {
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
        legend
    }

    /// A search that names one patient at most found that patient's documents only; of others only what is known from elsewhere counts.
    fn take_documents(&mut self, entry: &Opened) {
        let found = entry.returned().filter(|_| entry.patients().len() <= 1);
        for id in entry.document().into_iter().chain(found) {
            self.documents.known(id);
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

    fn take_links(&mut self, entry: &Opened) {
        let own = entry.text("link").map(|link| (link, entry.text("file")));
        let offered = entry.offered().map(|(link, file)| (link, Some(file)));
        let found: Vec<(&str, Option<&str>)> = own.into_iter().chain(offered).collect();
        for (id, file) in found {
            let document = self.place_of(entry).or_else(|| file.and_then(|file| self.place_of_file(file)));
            // A search may have found documents of others: their links are not this export's.
            if document.is_none() && entry.text("link").is_none() {
                continue;
            }
            if let Some(link) = self.links.known(id) {
                link.file = link.file.take().or_else(|| file.map(str::to_owned));
                link.document = link.document.or(document);
                link.client = link.client.take().or_else(|| entry.client().map(str::to_owned));
                link.recipient = link.recipient.take().or_else(|| entry.text("recipient").map(str::to_owned));
            }
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
        self.files.get(file).copied().flatten()
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

    /// Whether a link is known here as one of the document at `place`.
    pub(super) fn is_link_of(&self, link: &str, place: usize) -> bool {
        self.links.get(link).is_some_and(|known| known.document == Some(place))
    }

    /// What each short name stands for.
    pub(super) fn lines(&self) -> Vec<String> {
        let documents = self.documents.rows.iter().enumerate();
        let mut lines: Vec<String> =
            documents.map(|(at, (id, ()))| format!("  {:<12} DocumentReference/{id}", document(at))).collect();
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

/// `document 1`.
pub(super) fn document(place: usize) -> String {
    numbered("document", place)
}

fn numbered(noun: &str, place: usize) -> String {
    format!("{noun} {}", place.saturating_add(1))
}
