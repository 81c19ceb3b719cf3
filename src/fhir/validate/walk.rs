//! The walk over a resource, member by member, against the tables.

use super::contained::Roots;
use super::report::{Nearest, Report};
use super::{Expectation, attachment, bindings, bundle, invariants, primitive, references, unknown_type};
use crate::domain::refusal::{Code, nearest};
use crate::fhir::json::{Object, Value};
use crate::fhir::tables::{Element, Kind, Primitive, ResourceType, Shape, ShapeId, shape, shape_id};
use std::collections::HashSet;

/// Items of one list. FHIR sets no limit, a server must: what a list costs later (rows, look-ups, lines of an answer) grows with it.
pub const MAX_ITEMS: usize = 4_096;

/// A walk over one body.
pub(super) struct Walk<'v> {
    pub(super) report: Report<'v>,
    /// The resources that the walk stands in.
    pub(super) roots: Roots<'v>,
    /// `fullUrl`s of a transaction, when references by `urn:` must be among them.
    pub(super) full_urls: Option<HashSet<&'v str>>,
}

/// What an object is besides its shape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Resource,
    /// A resource of a type that only its name is known of: members beyond DomainResource's are taken as they are.
    OpenResource,
    Datatype,
    /// The `_name` twin of a primitive that has a value.
    Twin,
    /// The same where there is no value.
    LoneTwin,
}

impl<'v> Walk<'v> {
    pub(super) fn new(object: &'v Object<'v>, expectation: Expectation<'_>) -> Self {
        let transaction = expectation == Expectation::System && object.text("type") == Some("transaction");
        let full_urls = transaction.then(|| bundle::full_urls(object));
        Self { report: Report::new(), roots: Roots::default(), full_urls }
    }

    /// The whole body.
    pub(super) fn root(&mut self, object: &'v Object<'v>) {
        self.resource(object, None);
    }

    /// A resource; `contained` is its index when it is a contained one.
    fn resource(&mut self, object: &'v Object<'v>, contained: Option<usize>) {
        let Some(found) = object.text("resourceType").and_then(ResourceType::parse) else {
            let path = self.report.path();
            self.report.add_issue(unknown_type(object).at(&path));
            return;
        };
        let named = self.report.is_at_start();
        if named {
            self.report.enter(found.as_str());
        }
        let outermost = self.roots.enter(object, contained, &mut self.report);
        match found.shape().and_then(|shape| shape_id(shape.name)) {
            Some(id) => self.object(id, object, Role::Resource),
            None => self.object_of("DomainResource", object, Role::OpenResource),
        }
        if outermost {
            self.roots.leave(&mut self.report);
        } else {
            self.roots.leave_contained();
        }
        if named {
            self.report.leave();
        }
    }

    fn object_of(&mut self, name: &str, object: &'v Object<'v>, role: Role) {
        if let Some(id) = shape_id(name) {
            self.object(id, object, role);
        }
    }

    /// The members of an object that is not empty.
    fn object(&mut self, id: ShapeId, object: &'v Object<'v>, role: Role) {
        let Some(shape) = shape(id) else { return };
        let twins = object.iter().any(|(name, _)| name.starts_with('_'));
        let mut seen = 0u64;
        for (name, value) in object.iter() {
            let is_type = name == "resourceType" && matches!(role, Role::Resource | Role::OpenResource);
            if !is_type {
                self.member(shape, object, (name, value), (twins, &mut seen), role);
            }
        }
        self.missing(shape, seen);
        if object.len() == 1 && object.has("id") && matches!(role, Role::Datatype | Role::LoneTwin) {
            self.report.breaks(
                "ele-1",
                "an element has a value or children, not only an id",
                "Add its value, or remove it.",
            );
        }
        if shape.name == "Attachment" {
            attachment::check(object, &mut self.report);
        }
        invariants::check(id, object, &mut self.report);
    }

    fn member(
        &mut self,
        shape: &'static Shape,
        object: &'v Object<'v>,
        (name, value): (&'v str, &'v Value<'v>),
        (twins, seen): (bool, &mut u64),
        role: Role,
    ) {
        let (plain, twin) = name.strip_prefix('_').map_or((name, false), |plain| (plain, true));
        let found = shape.lookup(plain).filter(|member| !twin || matches!(member.kind, Kind::Primitive(_)));
        let Some((member, element)) = found.and_then(|found| Some((found, shape.elements.get(found.element)?))) else {
            return self.unknown(shape, name, value, role);
        };
        if twin && object.has(plain) {
            return; // checked with its value
        }
        if *seen & (1 << member.element) != 0 {
            let fill = |issue: crate::domain::refusal::Issue| issue.fill("shape", "one value of one type");
            return self.report.add_below(element.name, Code::ElementShapeWrong, fill);
        }
        *seen |= 1 << member.element;
        self.report.enter(plain);
        if element.prohibited {
            self.report.add(Code::ElementNotAllowed, |issue| issue.fill("source", "FHIR R4").fill("max", 0));
        }
        match member.kind {
            Kind::Primitive(kind) if twin => self.primitives(element, kind, None, Some(value)),
            Kind::Primitive(kind) => {
                let extra = if twins { twin_of(object, plain) } else { None };
                self.primitives(element, kind, Some(value), extra);
            }
            kind => self.complexes(shape, element, kind, value),
        }
        self.report.leave();
    }

    fn unknown(&mut self, shape: &'static Shape, name: &'v str, value: &'v Value<'v>, role: Role) {
        if role == Role::OpenResource {
            self.report.enter(name);
            self.opaque(value);
            return self.report.leave();
        }
        self.report.add_below(name, Code::ElementUnknown, |issue| {
            let near = Nearest(nearest(name, shape.member_names()));
            issue.fill("type", shape.name).fill("nearest", near)
        });
    }

    /// A value of which nothing is known: no null, nothing empty (R4 json.html).
    fn opaque(&mut self, value: &'v Value<'v>) {
        match value {
            Value::Null => self.report.wrong_shape("a value"),
            Value::Array(items) if items.is_empty() => self.report.wrong_shape("an array with items"),
            Value::Array(items) if self.is_too_long(items.len()) => {}
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
                    self.report.enter_item(at);
                    self.opaque(item);
                    self.report.leave();
                }
            }
            Value::Object(object) if object.is_empty() => self.report.wrong_shape("an object with members"),
            Value::Object(object) => {
                for (name, value) in object.iter() {
                    self.report.enter(name);
                    self.opaque(value);
                    self.report.leave();
                }
            }
            Value::String(text) => self.roots.mention(text),
            Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Refuses a list with too many items; none of them is looked at.
    fn is_too_long(&mut self, length: usize) -> bool {
        let too_long = length > MAX_ITEMS;
        if too_long {
            self.report.add(Code::ListTooLong, |issue| issue.fill("limit", MAX_ITEMS));
        }
        too_long
    }

    fn missing(&mut self, shape: &'static Shape, seen: u64) {
        let missing = shape.required & !seen;
        if missing == 0 {
            return;
        }
        for (at, element) in shape.elements.iter().enumerate() {
            if missing & (1 << at) != 0 {
                let meaning =
                    if element.meaning.is_empty() { "see the definition in FHIR R4" } else { element.meaning };
                self.report.add_below(element.name, Code::ElementMissing, |issue| {
                    issue.fill("source", "FHIR R4").fill("meaning", meaning)
                });
            }
        }
    }

    fn complexes(&mut self, shape: &'static Shape, element: &'static Element, kind: Kind, value: &'v Value<'v>) {
        if !element.many {
            return self.complex(element, kind, value, None);
        }
        match value.as_array() {
            Some(items) if self.is_too_long(items.len()) => {}
            Some(items) if !items.is_empty() => {
                for (at, item) in items.iter().enumerate() {
                    self.report.enter_item(at);
                    self.complex(element, kind, item, Some(at));
                    self.extension_rules(shape, element, item);
                    self.report.leave();
                }
            }
            _ => self.report.wrong_shape("an array of objects"),
        }
    }

    fn complex(&mut self, element: &'static Element, kind: Kind, value: &'v Value<'v>, at: Option<usize>) {
        let Some(object) = value.as_object().filter(|object| !object.is_empty()) else {
            return self.report.wrong_shape("an object");
        };
        match kind {
            Kind::Primitive(_) => {}
            Kind::Complex(id) => self.object(id, object, Role::Datatype),
            Kind::Reference(id, targets) => {
                self.object(id, object, Role::Datatype);
                references::check(object, targets, self);
            }
            Kind::Resource => self.resource(object, at.filter(|_| element.name == "contained")),
        }
    }

    /// Modifier extensions that nobody here knows, and urls that are not absolute outside of other extensions.
    fn extension_rules(&mut self, shape: &'static Shape, element: &'static Element, item: &'v Value<'v>) {
        let modifier = element.name == "modifierExtension";
        if modifier {
            self.report.add(Code::ModifierExtensionUnknown, |issue| issue);
        }
        if (modifier || element.name == "extension") && shape.name != "Extension" {
            let url = item.as_object().and_then(|item| item.text("url"));
            if url.is_some_and(|url| !references::has_scheme(url)) {
                self.report.enter("url");
                self.report.malformed("absolute uri", "`https://example.org/fhir/StructureDefinition/color`");
                self.report.leave();
            }
        }
    }

    fn primitives(
        &mut self,
        element: &'static Element,
        kind: Primitive,
        value: Option<&'v Value<'v>>,
        twin: Option<&'v Value<'v>>,
    ) {
        if !element.many {
            return self.primitive(element, kind, value, twin);
        }
        let (Some(values), Some(twins)) = (items(value), items(twin)) else {
            return self.report.wrong_shape("an array with items, and so its `_` twin");
        };
        let length = values.len().max(twins.len());
        if self.is_too_long(length) {
            return;
        }
        if (value.is_some() && values.len() != length) || (twin.is_some() && twins.len() != length) {
            return self.report.wrong_shape("an array as long as its `_` twin, filled with null");
        }
        for at in 0..length {
            let pick = |items: &'v [Value<'v>]| items.get(at).filter(|item| !item.is_null());
            self.report.enter_item(at);
            match (pick(values), pick(twins)) {
                (None, None) => self.report.wrong_shape("a value or an extension"),
                (value, twin) => self.primitive(element, kind, value, twin),
            }
            self.report.leave();
        }
    }

    fn primitive(
        &mut self,
        element: &'static Element,
        kind: Primitive,
        value: Option<&'v Value<'v>>,
        twin: Option<&'v Value<'v>>,
    ) {
        if let Some(value) = value {
            self.primitive_value(element, kind, value);
        }
        let Some(twin) = twin else { return };
        match twin.as_object().filter(|twin| !twin.is_empty()) {
            Some(twin) if value.is_some() => self.object_of("Element", twin, Role::Twin),
            Some(twin) => self.object_of("Element", twin, Role::LoneTwin),
            None => self.report.wrong_shape("beside `_` an object with an id or extensions"),
        }
    }

    fn primitive_value(&mut self, element: &'static Element, kind: Primitive, value: &'v Value<'v>) {
        let sound = primitive::check(kind, value, &mut self.report);
        if !sound {
            return;
        }
        let Some(text) = value.as_str() else { return };
        if matches!(kind, Primitive::Uri | Primitive::Url | Primitive::Canonical) {
            self.roots.mention(text);
        }
        if let Some(codes) = element.codes {
            bindings::check(codes, text, &mut self.report);
        }
        if element.modifier && element.name == "implicitRules" {
            self.report.add(Code::RulesUnknown, |issue| issue);
        }
    }
}

/// Items of an array that has some; an absent one has none.
fn items<'v>(value: Option<&'v Value<'v>>) -> Option<&'v [Value<'v>]> {
    match value {
        None => Some(&[]),
        Some(value) => value.as_array().filter(|items| !items.is_empty()),
    }
}

fn twin_of<'v>(object: &'v Object<'v>, plain: &str) -> Option<&'v Value<'v>> {
    object.iter().find(|(name, _)| name.strip_prefix('_') == Some(plain)).map(|(_, value)| value)
}
