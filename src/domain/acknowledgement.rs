//! What a recipient says became of a document (`$acknowledge`).

/// Its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// It has the document in its own records.
    Imported,
    /// It does not take it. No delivery.
    Rejected,
}

impl Acknowledgement {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Imported, Self::Rejected];

    /// Its code, as the operation and the store spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imported => "imported",
            Self::Rejected => "rejected",
        }
    }

    /// The word of a code.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|word| word.as_str() == text)
    }
}
