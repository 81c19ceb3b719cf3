//! Facts of FHIR R4 4.0.1: types, elements, codes, search parameters, the patient compartment. Made by
//! `fhir-profiles/generate/generate.py`, embedded, read once. No rules of this server, no values of a caller.
//!
//! Where to look: [`ResourceType`] names; [`shape_of`] and [`Shape::member`] elements by their JSON name;
//! [`search_parameters`] and [`search_parameter`]; [`summary_elements`]; [`Codes`] of required bindings.

mod load;
mod resource_type;
mod search;
#[cfg(test)]
mod tests;

pub use resource_type::ResourceType;
pub use search::{SearchParameter, SearchType, patient_compartment, search_parameter, search_parameters};

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// FHIR version that the tables hold.
pub const FHIR_VERSION: &str = "4.0.1";

/// Index of a [`Shape`].
pub(crate) type ShapeId = usize;

/// What may stand in one kind of object: a resource, a data type or a backbone element (`DocumentReference.content`).
#[derive(Debug)]
pub struct Shape {
    /// Type or path.
    pub name: &'static str,
    /// Which of the four.
    pub kind: ShapeKind,
    /// Elements in the order of the definition; at most 64.
    pub elements: Vec<Element>,
    /// Bit `n` is set when element `n` must be there.
    pub required: u64,
    pub(crate) members: HashMap<Box<str>, Member, BuildHasherDefault<Fnv>>,
}

/// Kind of a [`Shape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShapeKind {
    /// A resource type that can be instantiated.
    Resource,
    /// `Resource`, `DomainResource`, `Element`, `BackboneElement`.
    Abstract,
    /// A complex data type.
    Datatype,
    /// An element with elements of its own.
    Backbone,
}

/// One element of a shape.
#[derive(Debug)]
pub struct Element {
    /// Name without `[x]`.
    pub name: &'static str,
    /// Named with a type in JSON (`valueString`)?
    pub choice: bool,
    /// Must be there?
    pub required: bool,
    /// An array in JSON?
    pub many: bool,
    /// May not be there at all in this type (`SimpleQuantity.comparator`).
    pub prohibited: bool,
    /// Modifier element.
    pub modifier: bool,
    /// Part of `_summary=true`.
    pub summary: bool,
    /// The codes it must use.
    pub codes: Option<&'static Codes>,
    /// What it means, for required elements.
    pub meaning: &'static str,
}

/// A JSON member of a shape: which element it is, and with which type.
#[derive(Debug, Clone, Copy)]
pub struct Member {
    /// Index into [`Shape::elements`].
    pub element: usize,
    /// What its value is.
    pub kind: Kind,
}

/// What the value of a member is.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A primitive.
    Primitive(Primitive),
    /// A data type or backbone element.
    Complex(ShapeId),
    /// A Reference, with the types it may name; none: any.
    Reference(ShapeId, &'static [&'static str]),
    /// A resource of any type.
    Resource,
}

macro_rules! primitives {
    ($($variant:ident $name:literal $example:literal,)*) => {
        /// Primitive types of R4.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Primitive { $(#[doc = $name] $variant,)* }

        impl Primitive {
            /// Name of the type.
            pub fn as_str(self) -> &'static str {
                match self { $(Primitive::$variant => $name,)* }
            }

            /// The type of a name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Primitive::$variant),)* _ => None }
            }

            /// A value as it should be written.
            pub fn example(self) -> &'static str {
                match self { $(Primitive::$variant => $example,)* }
            }
        }
    };
}

primitives! {
    Base64Binary "base64Binary" "`SGVsbG8=`", Boolean "boolean" "`true`", Canonical "canonical" "`http://example.org/profile|1.0`",
    Code "code" "`final`", Date "date" "`2024-02-29`", DateTime "dateTime" "`2024-02-29T13:45:00+01:00`", Decimal "decimal" "`1.50`",
    Id "id" "`a1b2-c3` (letters, digits, `-` and `.`, at most 64)", Instant "instant" "`2024-02-29T13:45:00.000Z`",
    Integer "integer" "`-12` (32 bits)", Markdown "markdown" "`plain *text*`", Oid "oid" "`urn:oid:1.2.3`",
    PositiveInt "positiveInt" "`1` (1 to 2147483647)", String "string" "`text` (no control characters, not only white space)",
    Time "time" "`13:45:00`", UnsignedInt "unsignedInt" "`0` (0 to 2147483647)", Uri "uri" "`urn:oid:1.2.3` (no white space)",
    Url "url" "`https://example.org/file` (no white space)", Uuid "uuid" "`urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0`",
    Xhtml "xhtml" "`<div xmlns=\"http://www.w3.org/1999/xhtml\">text</div>`",
}

/// Codes that an element must use.
#[derive(Debug)]
pub struct Codes {
    /// Last part of the value set's URL.
    pub name: &'static str,
    /// The codes or the rule.
    pub rule: CodeRule,
}

/// How the codes of a value set are known.
#[derive(Debug)]
pub enum CodeRule {
    /// All of them.
    Listed(Vec<&'static str>),
    /// Media types (BCP 13), checked by form.
    MediaType,
    /// `xml`, `json`, `ttl` or a media type.
    Format,
    /// Language tags (BCP 47), checked by form.
    Language,
    /// ISO 4217, checked by form.
    Currency,
}

impl Shape {
    /// The element behind a JSON member name (`valueString`), without `_` in front.
    pub fn member(&self, name: &str) -> Option<(&Element, Kind)> {
        let member = self.members.get(name)?;
        Some((self.elements.get(member.element)?, member.kind))
    }

    pub(crate) fn lookup(&self, name: &str) -> Option<Member> {
        self.members.get(name).copied()
    }

    /// Every JSON member name, in no order.
    pub fn member_names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(AsRef::as_ref)
    }
}

/// The shape of a type (`Patient`, `Coding`) or backbone element (`Patient.contact`).
pub fn shape_of(name: &str) -> Option<&'static Shape> {
    let tables = load::tables();
    tables.by_name.get(name).and_then(|id| tables.shapes.get(*id))
}

pub(crate) fn shape(id: ShapeId) -> Option<&'static Shape> {
    load::tables().shapes.get(id)
}

pub(crate) fn shape_id(name: &str) -> Option<ShapeId> {
    load::tables().by_name.get(name).copied()
}

/// Every shape, in the order of the tables.
pub fn shapes() -> &'static [Shape] {
    &load::tables().shapes
}

/// Elements of a resource type that `_summary=true` keeps, besides mandatory ones (R4 search.html#summary); choice elements
/// without type.
pub fn summary_elements(resource_type: ResourceType) -> impl Iterator<Item = &'static str> {
    let shape = shape_of(resource_type.as_str());
    shape
        .into_iter()
        .flat_map(|shape| shape.elements.iter())
        .filter(|element| element.summary)
        .map(|element| element.name)
}

/// Is it an entity of HTML 4 or XML (without `&` and `;`)?
pub fn is_html_entity(name: &str) -> bool {
    name == "apos" || load::tables().entities.binary_search(&name).is_ok()
}

/// FNV-1a: quick for short names. Only names of the tables are ever inserted, so nobody can make it collide.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
