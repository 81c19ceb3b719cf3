//! The export as CSV (RFC 4180): one header line, one line an entry, a value a cell. Several values in a cell stand with a space
//! between; none of them can hold one.

use std::collections::BTreeMap;

use super::super::super::words::rfc3339_micros;
use super::opened::Opened;
use crate::domain::audit::Action;

/// The columns, in order (docs/operations.md).
const COLUMNS: [&str; 18] = [
    "time",
    "seq",
    "action",
    "outcome",
    "client",
    "person",
    "document",
    "file",
    "link",
    "bytes",
    "address",
    "code",
    "reason",
    "request",
    "state",
    "aim",
    "authority",
    "meant-for",
];

/// Writes lines; remembers whom links are meant for, since who follows one is named nowhere else.
#[derive(Debug, Default)]
pub(super) struct Csv {
    recipients: BTreeMap<String, String>,
}

impl Csv {
    /// The header.
    pub(super) fn header() -> String {
        line(COLUMNS.map(str::to_owned))
    }

    /// Takes an entry that has no line of its own: links that it made may be followed later.
    pub(super) fn remember(&mut self, entry: &Opened) {
        if let (Some(link), Some(recipient)) = (entry.text("link"), entry.text("recipient")) {
            self.recipients.insert(link.to_owned(), recipient.to_owned());
        }
    }

    /// An entry's line, without its end. Entries come in their order.
    pub(super) fn line(&mut self, entry: &Opened) -> String {
        self.remember(entry);
        let own = |text: Option<&str>| text.unwrap_or_default().to_owned();
        line([
            rfc3339_micros(entry.micros),
            entry.seq.to_string(),
            entry.action.code().to_owned(),
            entry.outcome.code().to_owned(),
            own(entry.client()),
            own(entry.operator().or_else(|| entry.spoken_for())),
            documents(entry),
            files(entry),
            links(entry),
            entry.number("bytes").map_or_else(String::new, |bytes| bytes.to_string()),
            own(entry.tech("ip").or_else(|| entry.tech("prefix"))),
            own(entry.text("code")),
            own(entry.text("reason")),
            own(entry.tech("request")),
            own(entry.text("to").filter(|_| entry.tells_state())),
            aim(entry),
            own(entry.text("authority")),
            own(self.meant_for(entry)),
        ])
    }

    /// Whom the link is meant for that the entry is about. Who opened it may be another: it works for whoever holds it.
    fn meant_for(&self, entry: &Opened) -> Option<&str> {
        self.recipients.get(entry.text("link")?).map(String::as_str)
    }
}

/// Whose links a wide withdrawal ended: a client's, or all.
fn aim(entry: &Opened) -> String {
    let wide = entry.action == Action::LinkRevoke;
    let client = entry.text("registered").filter(|_| wide).map(|client| format!("client/{client}"));
    client.or_else(|| entry.text("aim").filter(|_| wide).map(str::to_owned)).unwrap_or_default()
}

fn documents(entry: &Opened) -> String {
    if let Some(id) = entry.document() {
        return format!("DocumentReference/{id}");
    }
    if let Some(resource) = entry.text("resource") {
        return resource.to_owned();
    }
    entry.returned().map(|id| format!("DocumentReference/{id}")).collect::<Vec<_>>().join(" ")
}

fn files(entry: &Opened) -> String {
    let offered = entry.offered().map(|(_, file)| file);
    let mut files: Vec<String> =
        entry.text("file").into_iter().chain(offered).map(|file| format!("Binary/{file}")).collect();
    files.dedup();
    files.join(" ")
}

fn links(entry: &Opened) -> String {
    entry.text("link").into_iter().chain(entry.offered().map(|(link, _)| link)).collect::<Vec<_>>().join(" ")
}

fn line(cells: [String; COLUMNS.len()]) -> String {
    cells.map(|cell| field(&cell)).join(",")
}

/// A field of RFC 4180. One that a table program could take for a formula begins with an apostrophe (OWASP, CSV injection).
fn field(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text.to_owned() };
    if guarded.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", guarded.replace('"', "\"\"")) } else { guarded }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{LETTER_LINK, entry_of, file, letter};
    use super::*;
    use crate::domain::audit::{Entry, Outcome};

    #[test]
    fn fields_are_quoted_and_no_formula_gets_through() {
        assert_eq!(field("plain"), "plain");
        assert_eq!(field("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(field("two\r\nlines"), "\"two\r\nlines\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"] {
            assert!(field(formula).starts_with('\''), "{formula}");
        }
        assert_eq!(field("\r=1"), "\"'\r=1\"");
        assert_eq!(field("=HYPERLINK(\"x\",\"y\")"), "\"'=HYPERLINK(\"\"x\"\",\"\"y\"\")\"");
        assert_eq!(field("a=1"), "a=1");
    }

    #[test]
    fn an_entry_is_a_line_of_plain_values() {
        let mut csv = Csv::default();
        let file = format!("Binary/{}", file());
        let lines: Vec<String> = letter().iter().map(|entry| csv.line(entry)).collect();
        assert_eq!(
            Csv::header(),
            "time,seq,action,outcome,client,person,document,file,link,bytes,address,code,reason,request,state,aim,authority,meant-for"
        );
        assert_eq!(
            lines.get(1).unwrap(),
            &format!(
                "2026-11-23T13:02:01.000000Z,1,link.issue,ok,ward-viewer,,DocumentReference/9f31,{file},\
                 {LETTER_LINK},,,,,,,,,Practitioner/7"
            )
        );
        assert_eq!(
            lines.get(3).unwrap(),
            &format!(
                "2026-11-23T13:02:03.000000Z,3,link.redeem,ok,ward-viewer,,DocumentReference/9f31,{file},\
                 {LETTER_LINK},70000,203.0.113.9,,,,,,,Practitioner/7"
            )
        );
    }

    #[test]
    fn states_aims_and_authorities_have_columns() {
        let mut csv = Csv::default();
        let last = |entry: &Opened, csv: &mut Csv| {
            csv.line(entry).rsplitn(5, ',').skip(1).take(3).collect::<Vec<_>>().join(" ")
        };
        let said: Vec<String> = letter().iter().map(|entry| last(entry, &mut csv)).collect();
        assert_eq!((said.get(5).unwrap().as_str(), said.get(7).unwrap().as_str()), ("court  ", "  revoked"));
        let wide = Entry::new(Action::LinkRevoke, Outcome::Ok).os_user(1);
        assert_eq!(
            last(&entry_of(0, &wide.clone().with("registered", "ward-viewer")), &mut csv),
            " client/ward-viewer "
        );
        assert_eq!(last(&entry_of(0, &wide.with("aim", "all")), &mut csv), " all ");
    }

    #[test]
    fn what_an_operator_wrote_is_no_formula_and_no_second_line() {
        let entry = Entry::new(Action::LinkRevoke, Outcome::Ok).os_user(1000).reason("=cmd|' /C calc'!A0\n,x");
        let line = Csv::default().line(&entry_of(0, &entry));
        assert_eq!(
            line,
            "2026-11-23T13:02:00.000000Z,0,link.revoke,ok,,os:1000,,,,,,,\"'=cmd|' /C calc'!A0\n,x\",,,,,"
        );
    }
}
