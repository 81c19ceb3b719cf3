//! What is one patient's own of entries that are about several: a search that found documents of many is in the record of each, and each
//! record says of the others only that there were some.

use std::collections::BTreeSet;

use super::opened::Opened;
use crate::domain::audit::detail::Detail;

/// Documents and files of one patient, as entries about nobody else name them.
#[derive(Debug, Default)]
pub(super) struct Own {
    documents: BTreeSet<String>,
    files: BTreeSet<String>,
}

impl Own {
    /// Learns from an entry of the patient's record.
    pub(super) fn learn(&mut self, entry: &Opened, patient: &str) {
        if entry.patients() != [patient] {
            return;
        }
        self.documents.extend(entry.document().into_iter().chain(entry.returned()).map(str::to_owned));
        let offered = entry.offered().map(|(_, file)| file);
        self.files.extend(entry.text("file").into_iter().chain(offered).map(str::to_owned));
    }

    /// Leaves out of an entry what is other people's.
    pub(super) fn keep_only(&self, entry: &mut Opened, patient: &str) {
        let named = entry.patients();
        if named.len() < 2 || !named.contains(&patient) {
            return;
        }
        let text = |id: &str| Detail::Text(id.to_owned());
        let returned: Vec<Detail> = entry.returned().filter(|id| self.documents.contains(*id)).map(text).collect();
        let offered = entry.list("offered").iter().filter(|link| self.is_of(link)).cloned().collect::<Vec<_>>();
        entry.shortened = true;
        entry.subject.set("patient", text(patient));
        entry.subject.set("patients", vec![text(patient)]);
        for (name, kept) in [("returned", returned), ("offered", offered)] {
            if entry.subject.get(name).is_some() {
                entry.subject.set(name, kept);
            }
        }
    }

    fn is_of(&self, link: &Detail) -> bool {
        let Detail::List(parts) = link else { return false };
        matches!(parts.get(1), Some(Detail::Text(file)) if self.files.contains(file))
    }
}
