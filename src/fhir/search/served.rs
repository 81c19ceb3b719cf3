//! The search parameters that this version serves on DocumentReference: the one list behind parsing, the capability statement
//! and its tests.

use crate::fhir::tables::{ResourceType, search_parameter};

/// A parameter that filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `_id`
    Id,
    /// `_lastUpdated`
    Updated,
    /// `patient`
    Patient,
    /// `subject`
    Subject,
    /// `status`
    Status,
    /// `type`
    Type,
    /// `category`
    Category,
    /// `date`
    Date,
    /// `identifier`
    Identifier,
    /// `encounter`
    Encounter,
    /// `custodian`
    Custodian,
    /// `lifecycle`
    Lifecycle,
}

/// One of them as the capability statement shows it.
#[derive(Debug, Clone, Copy)]
pub struct Served {
    /// Which.
    pub name: Name,
    /// Name in a URL.
    pub code: &'static str,
    /// What a reader should know, if anything.
    pub note: Option<&'static str>,
    /// A value of the right form, for error texts.
    pub example: &'static str,
}

/// Every served filter.
pub const SERVED: &[Served] = &[
    Served { name: Name::Id, code: "_id", note: None, example: "0a1b2c" },
    Served { name: Name::Updated, code: "_lastUpdated", note: None, example: "ge2026-11-23" },
    Served {
        name: Name::Patient,
        code: "patient",
        note: Some("With the chain `patient.identifier`."),
        example: "Patient/123",
    },
    Served {
        name: Name::Subject,
        code: "subject",
        note: Some("With a type modifier: `subject:Patient`."),
        example: "Patient/123",
    },
    Served { name: Name::Status, code: "status", note: None, example: "current" },
    Served { name: Name::Type, code: "type", note: None, example: "http://loinc.org|18842-5" },
    Served { name: Name::Category, code: "category", note: None, example: "http://loinc.org|LP173421-1" },
    Served {
        name: Name::Date,
        code: "date",
        note: Some("All prefixes; without a zone: UTC."),
        example: "ge2026-11-23",
    },
    Served { name: Name::Identifier, code: "identifier", note: None, example: "urn:ietf:rfc:3986|urn:oid:1.2.3" },
    Served { name: Name::Encounter, code: "encounter", note: None, example: "Encounter/123" },
    Served { name: Name::Custodian, code: "custodian", note: None, example: "Organization/123" },
    Served {
        name: Name::Lifecycle,
        code: "lifecycle",
        note: Some("Where the document stands on this server."),
        example: "ready",
    },
];

/// The canonical URL of this server's own parameter.
pub const LIFECYCLE_URL: &str = "urn:daylily:fhir/SearchParameter/lifecycle";

impl Served {
    /// The served parameter of a name, letter by letter.
    pub fn find(code: &str) -> Option<&'static Self> {
        SERVED.iter().find(|served| served.code == code)
    }

    /// Canonical URL and type, from the tables of R4; `lifecycle` is this server's own.
    pub fn definition(&self) -> Option<(&'static str, &'static str)> {
        if self.name == Name::Lifecycle {
            return Some((LIFECYCLE_URL, "token"));
        }
        search_parameter(ResourceType::DocumentReference, self.code).map(|found| (found.url, found.kind.as_str()))
    }

    /// Types that a bare id may mean, for references.
    pub fn targets(&self) -> &'static [&'static str] {
        // The definition is shared by many types and lists Group for some of them; its expression here says Patient.
        if self.name == Name::Patient {
            return &["Patient"];
        }
        search_parameter(ResourceType::DocumentReference, self.code).map_or(&[], |found| &found.targets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_served_parameter_is_defined() {
        for served in SERVED {
            assert!(served.definition().is_some(), "{}", served.code);
        }
        let encounter = Served::find("encounter").unwrap();
        assert_eq!(
            encounter.definition(),
            Some(("http://hl7.org/fhir/SearchParameter/clinical-encounter", "reference"))
        );
    }
}
