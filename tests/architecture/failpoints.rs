//! Every named failpoint stands in the code at one place at least, and is died at by a case of `conformance/deaths`; nothing there names one
//! that is not.

use std::collections::BTreeSet;

use proc_macro2::TokenTree;

use crate::source::{Tree, every_level, paths};

const TABLE: &str = "src/failpoint/mod.rs";
const CASES: &str = "conformance/deaths";

/// Points as the table has them: variant and name.
fn table(tree: &Tree) -> Vec<(String, String)> {
    let text = text_of(tree, TABLE);
    let rows = text.lines().filter_map(|line| line.trim().strip_suffix("\",")?.split_once(" = \""));
    rows.map(|(point, name)| (point.to_owned(), name.to_owned())).collect()
}

fn text_of<'a>(tree: &'a Tree, path: &str) -> &'a str {
    tree.files().find(|file| file.path == path).map_or("", |file| file.text.as_str())
}

/// The first field of each row of `CASES` in the program.
fn tried(tree: &Tree) -> BTreeSet<String> {
    let rows = text_of(tree, CASES).lines().skip_while(|line| !line.starts_with("CASES = [")).skip(1);
    let rows = rows.take_while(|line| *line != "]");
    rows.filter_map(|line| Some(line.trim().strip_prefix("(\"")?.split_once('"')?.0.to_owned())).collect()
}

fn placed(tree: &Tree) -> BTreeSet<String> {
    let mut placed = BTreeSet::new();
    for file in tree.sources().filter(|file| file.room() != Some("failpoint")) {
        let tokens: Vec<TokenTree> = file.tokens();
        every_level(&tokens, &mut |run| {
            for path in paths(run) {
                if let [.., point, name] = path.parts.as_slice()
                    && point == "Point"
                {
                    placed.insert(name.clone());
                }
            }
        });
    }
    placed
}

pub(crate) fn unplaced_or_untried(tree: &Tree) -> Vec<String> {
    let (table, placed, tried) = (table(tree), placed(tree), tried(tree));
    let mut breaches = Vec::new();
    for (point, name) in &table {
        if !placed.contains(point) {
            breaches.push(format!("{TABLE}: {name} stands nowhere in the code"));
        }
        if !tried.contains(name) {
            breaches.push(format!("{CASES}: no case dies at {name}"));
        }
    }
    let unknown = tried.iter().filter(|name| !table.iter().any(|(_, known)| known == *name));
    breaches.extend(unknown.map(|name| format!("{CASES}: no place is named {name}")));
    if table.len() < 30 {
        breaches.push(format!("{TABLE}: only {} points were read", table.len()));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_that_is_nowhere_and_one_that_nothing_dies_at_are_found() {
        let table = "points! {\n    /// A place.\n    Here = \"a.here\",\n    There = \"a.there\",\n}";
        let cases = "CASES = [\n    (\"a.here\", \"kill\", \"life\"),\n    (\"a.gone\", \"kill\", \"life\"),\n]\n";
        let code = "fn a() { failpoint::here(Point::There); }";
        let tree = Tree::of_texts(&[(TABLE, table), (CASES, cases), ("src/blob/x.rs", code)]);
        let breaches = unplaced_or_untried(&tree);
        let told = |what: &str| breaches.iter().any(|breach| breach.contains(what));
        assert!(told("a.here stands nowhere") && told("no case dies at a.there") && told("no place is named a.gone"));
        assert!(!told("a.there stands nowhere") && !told("no case dies at a.here"));
    }
}
