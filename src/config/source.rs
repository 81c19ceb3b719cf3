//! TOML text as a small tree in which every key and value knows where it stands. Only this file speaks to the TOML parser; it
//! bounds nesting (80) by itself, and [`MOST_BYTES`] bounds the text.

use std::ops::Range;

use toml_edit::{Document, Item as TomlItem, TableLike, Value};

use super::mistake::Mistake;

/// The longest settings file or policy text that is read.
pub(super) const MOST_BYTES: usize = 256 * 1024;

/// Byte range in the text.
pub(super) type Span = Range<usize>;

/// A value.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Whole(i64),
    Flag(bool),
    List(Vec<Item>),
    Table(Vec<Entry>),
    /// Floats and dates: no setting is one.
    Other,
}

impl Node {
    /// The text, where it is one.
    pub(super) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) span: Span,
}

/// A key, where it stands, and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Span,
    pub(super) item: Item,
}

/// A text with the name that its reader knows it by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// The entries of the text, or the one mistake that keeps it from being TOML.
    pub(super) fn read(&self) -> Result<Vec<Entry>, Box<Mistake>> {
        if self.text.len() > MOST_BYTES {
            let cure = format!("keep it under {} KiB", MOST_BYTES / 1024);
            return Err(Box::new(self.mistake(&(0..0), "", "the file is too long", &cure)));
        }
        let document = Document::parse(self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            let why = error.message().lines().next().unwrap_or_default().to_owned();
            Box::new(self.mistake(
                &at,
                "",
                &format!("not well-formed TOML: {why}"),
                "write it as toml.io/en/v1.0.0 says",
            ))
        })?;
        Ok(entries(document.as_table(), &(0..0)))
    }

    /// A mistake at a range of the text.
    pub(super) fn mistake(&self, span: &Span, key: &str, what: &str, cure: &str) -> Mistake {
        let (line, column, quoted) = self.locate(span.start);
        let width =
            self.text.get(span.clone()).and_then(|text| text.lines().next()).map_or(1, |text| text.chars().count());
        Mistake {
            file: self.file.to_owned(),
            line,
            column,
            width: width.max(1),
            key: key.to_owned(),
            what: what.to_owned(),
            cure: cure.to_owned(),
            source_line: quoted.to_owned(),
        }
    }

    /// Line and column (1-based, in characters) of a byte offset, and the whole line.
    fn locate(&self, offset: usize) -> (usize, usize, &str) {
        let end = (0..=offset.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        let (before, after) = self.text.split_at_checked(end).unwrap_or((self.text, ""));
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(start..).unwrap_or_default().chars().count() + 1;
        let rest = after.find('\n').map_or(self.text.len(), |at| end + at);
        let line = self.text.get(start..rest).unwrap_or_default().trim_end_matches('\r');
        (before.matches('\n').count() + 1, column, line)
    }
}

/// `place`: where the table stands, for keys that the parser made without a place of their own.
fn entries(table: &dyn TableLike, place: &Span) -> Vec<Entry> {
    let read = |(key, item): (&str, &TomlItem)| {
        let span = table.get_key_value(key).and_then(|(key, _)| key.span()).unwrap_or_else(|| place.clone());
        Some(Entry { key: key.to_owned(), item: item_of(item, &span)?, span })
    };
    table.iter().filter_map(read).collect()
}

fn item_of(item: &TomlItem, place: &Span) -> Option<Item> {
    let span = item.span().unwrap_or_else(|| place.clone());
    let node = match item {
        TomlItem::None => return None,
        TomlItem::Value(value) => value_of(value, &span),
        TomlItem::Table(table) => Node::Table(entries(table, &span)),
        TomlItem::ArrayOfTables(tables) => Node::List(
            tables
                .iter()
                .map(|table| {
                    let span = table.span().unwrap_or_else(|| span.clone());
                    Item { node: Node::Table(entries(table, &span)), span }
                })
                .collect(),
        ),
    };
    Some(Item { node, span })
}

fn value_of(value: &Value, place: &Span) -> Node {
    match value {
        Value::String(text) => Node::Text(text.value().clone()),
        Value::Integer(number) => Node::Whole(*number.value()),
        Value::Boolean(flag) => Node::Flag(*flag.value()),
        Value::Array(values) => Node::List(
            values
                .iter()
                .map(|value| {
                    let span = value.span().unwrap_or_else(|| place.clone());
                    Item { node: value_of(value, &span), span }
                })
                .collect(),
        ),
        Value::InlineTable(table) => Node::Table(entries(table, place)),
        Value::Float(_) | Value::Datetime(_) => Node::Other,
    }
}
