//! Search parameters of R4 and the patient compartment.

use super::ResourceType;
use super::load::{parts, rows};
use std::collections::HashMap;
use std::sync::LazyLock;

const PARAMETERS: &str = include_str!("../../../fhir-profiles/r4/search-parameters.tsv");
const COMPARTMENT: &str = include_str!("../../../fhir-profiles/r4/compartment-patient.tsv");

static BY_BASE: LazyLock<HashMap<&'static str, Vec<SearchParameter>>> = LazyLock::new(|| {
    let mut by_base: HashMap<&'static str, Vec<SearchParameter>> = HashMap::new();
    for parameter in rows(PARAMETERS).filter_map(parameter) {
        by_base.entry(parameter.base).or_default().push(parameter);
    }
    by_base
});

static MEMBERS: LazyLock<HashMap<&'static str, Vec<&'static str>>> = LazyLock::new(|| {
    let row = |row: &'static str| row.split_once('\t').unwrap_or((row, ""));
    rows(COMPARTMENT).map(row).map(|(name, parameters)| (name, parts(parameters, '|'))).collect()
});

/// A search parameter of R4, for one base type.
#[derive(Debug)]
pub struct SearchParameter {
    /// Resource type, `Resource` or `DomainResource`.
    pub base: &'static str,
    /// Name in a URL.
    pub code: &'static str,
    /// Its type.
    pub kind: SearchType,
    /// For references: types it may name; empty: any.
    pub targets: Vec<&'static str>,
    /// Comparators that R4 names (`ge`, `lt`, …).
    pub comparators: Vec<&'static str>,
    /// Modifiers that R4 names.
    pub modifiers: Vec<&'static str>,
    /// Canonical URL.
    pub url: &'static str,
    /// FHIRPath, the alternatives of this base only; empty for parameters without one (`_text`).
    pub expression: &'static str,
}

macro_rules! search_types {
    ($($variant:ident $name:literal,)*) => {
        /// `http://hl7.org/fhir/search-param-type`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum SearchType { $(#[doc = $name] $variant,)* }

        impl SearchType {
            /// The code.
            pub fn as_str(self) -> &'static str {
                match self { $(SearchType::$variant => $name,)* }
            }

            /// The type of a code.
            pub fn parse(code: &str) -> Option<Self> {
                match code { $($name => Some(SearchType::$variant),)* _ => None }
            }
        }
    };
}

search_types! {
    Number "number", Date "date", String "string", Token "token", Reference "reference", Composite "composite",
    Quantity "quantity", Uri "uri", Special "special",
}

fn parameter(row: &'static str) -> Option<SearchParameter> {
    let mut fields = row.split('\t');
    Some(SearchParameter {
        base: fields.next()?,
        code: fields.next()?,
        kind: SearchType::parse(fields.next()?)?,
        targets: parts(fields.next()?, '|'),
        comparators: parts(fields.next()?, '|'),
        modifiers: parts(fields.next()?, '|'),
        url: fields.next()?,
        expression: fields.next()?,
    })
}

/// Search parameters of a type by name: its own, then those of `DomainResource` (for types that are one) and `Resource`.
pub fn search_parameters(resource_type: ResourceType) -> impl Iterator<Item = &'static SearchParameter> {
    let domain = resource_type.shape().is_some_and(|shape| shape.member("text").is_some());
    let general = if domain { "DomainResource" } else { "" };
    let bases = [resource_type.as_str(), general, "Resource"];
    bases.into_iter().filter_map(|base| BY_BASE.get(base)).flatten()
}

/// One search parameter of a type.
pub fn search_parameter(resource_type: ResourceType, code: &str) -> Option<&'static SearchParameter> {
    search_parameters(resource_type).find(|parameter| parameter.code == code)
}

/// Parameters that put a resource of this type into a patient's compartment; `None` when the type is in none (Binary).
pub fn patient_compartment(resource_type: ResourceType) -> Option<&'static [&'static str]> {
    MEMBERS.get(resource_type.as_str()).map(Vec::as_slice).filter(|parameters| !parameters.is_empty())
}
