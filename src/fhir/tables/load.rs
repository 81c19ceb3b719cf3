//! Reads the embedded tables, once. A row that cannot be read is left out; a test holds that none is.

use super::{CodeRule, Codes, Element, Fnv, Kind, Member, Primitive, Shape, ShapeId, ShapeKind};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::LazyLock;

const ELEMENTS: &str = include_str!("../../../fhir-profiles/r4/elements.tsv");
const CODES: &str = include_str!("../../../fhir-profiles/r4/codes.tsv");
const ENTITIES: &str = include_str!("../../../fhir-profiles/r4/html-entities.tsv");

static CODE_SETS: LazyLock<Vec<Codes>> = LazyLock::new(|| rows(CODES).filter_map(code_set).collect());
static TABLES: LazyLock<Tables> = LazyLock::new(load);

pub(super) struct Tables {
    pub(super) shapes: Vec<Shape>,
    pub(super) by_name: HashMap<&'static str, ShapeId, BuildHasherDefault<Fnv>>,
    pub(super) entities: Vec<&'static str>,
}

pub(super) fn tables() -> &'static Tables {
    &TABLES
}

/// Rows of a table without its comments.
pub(super) fn rows(table: &'static str) -> impl Iterator<Item = &'static str> {
    table.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// Parts between `separator`; none for an empty text.
pub(super) fn parts(text: &'static str, separator: char) -> Vec<&'static str> {
    text.split(separator).filter(|part| !part.is_empty()).collect()
}

fn code_set(row: &'static str) -> Option<Codes> {
    let mut fields = row.split('\t');
    let (name, how, what) = (fields.next()?, fields.next()?, fields.next()?);
    let rule = match (how, what) {
        ("codes", codes) => CodeRule::Listed(parts(codes, ' ')),
        (_, "mime") => CodeRule::MediaType,
        (_, "format") => CodeRule::Format,
        (_, "language") => CodeRule::Language,
        (_, "currency") => CodeRule::Currency,
        _ => return None,
    };
    Some(Codes { name, rule })
}

/// The codes of a value set by the last part of its URL.
pub(super) fn codes(name: &str) -> Option<&'static Codes> {
    CODE_SETS.iter().find(|set| set.name == name)
}

fn load() -> Tables {
    let names = rows(ELEMENTS).filter_map(|row| row.strip_prefix('*')?.split('\t').next());
    let by_name = names.enumerate().map(|(id, name)| (name, id)).collect();
    let mut shapes: Vec<Shape> = Vec::new();
    for row in rows(ELEMENTS) {
        match row.strip_prefix('*') {
            Some(head) => shapes.extend(open(head)),
            None => {
                if let Some(shape) = shapes.last_mut() {
                    element(row, shape, &by_name);
                }
            }
        }
    }
    let mut entities: Vec<_> = rows(ENTITIES).collect();
    entities.sort_unstable();
    Tables { shapes, by_name, entities }
}

fn open(head: &'static str) -> Option<Shape> {
    let (name, kind) = head.split_once('\t')?;
    let kind = match kind {
        "resource" => ShapeKind::Resource,
        "datatype" => ShapeKind::Datatype,
        "backbone" => ShapeKind::Backbone,
        _ => ShapeKind::Abstract,
    };
    Some(Shape { name, kind, elements: Vec::new(), required: 0, members: HashMap::default() })
}

fn element(row: &'static str, shape: &mut Shape, by_name: &HashMap<&'static str, ShapeId, BuildHasherDefault<Fnv>>) {
    let mut fields = row.split('\t');
    let mut next = || fields.next().unwrap_or_default();
    let (written, min, max, types, flags, binding, meaning) = (next(), next(), next(), next(), next(), next(), next());
    let name = written.strip_suffix("[x]").unwrap_or(written);
    let (index, choice) = (shape.elements.len(), name != written);
    for part in types.split(',') {
        let Some(kind) = kind_of(part, by_name) else { continue };
        let type_name = part.split_once('(').map_or(part, |(name, _)| name);
        let member = if choice { choice_name(name, type_name) } else { name.to_owned() };
        shape.members.insert(member.into_boxed_str(), Member { element: index, kind });
    }
    let required = min != "0";
    shape.required |= u64::from(required) << index;
    shape.elements.push(Element {
        name,
        choice,
        required,
        many: max == "*",
        prohibited: max == "0",
        modifier: flags.contains('m'),
        summary: flags.contains('s'),
        codes: codes(binding),
        meaning,
    });
}

/// `value` and `dateTime` make `valueDateTime`.
fn choice_name(name: &str, type_name: &str) -> String {
    let mut chars = type_name.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    name.chars().chain(first).chain(chars).collect()
}

fn kind_of(text: &'static str, by_name: &HashMap<&'static str, ShapeId, BuildHasherDefault<Fnv>>) -> Option<Kind> {
    if let Some(primitive) = Primitive::parse(text) {
        return Some(Kind::Primitive(primitive));
    }
    let (name, targets) = text.split_once('(').unwrap_or((text, ""));
    let id = *by_name.get(name.strip_prefix('@').unwrap_or(name))?;
    Some(match name {
        "Resource" => Kind::Resource,
        "Reference" => Kind::Reference(id, parts(targets.trim_end_matches(')'), '|').leak()),
        _ => Kind::Complex(id),
    })
}
