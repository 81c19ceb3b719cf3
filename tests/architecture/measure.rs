//! Lengths, names and the first line of every file.

use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::source::{File, Tree};

/// From signature to closing brace.
const FUNCTION_LINES: usize = 70;
const FILE_LINES: usize = 500;
const MAIN_LINES: usize = 60;

/// Names that say nothing about what lives there.
const BANNED_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager", "managers", "stuff"];

struct Functions<'a> {
    file: &'a File,
    breaches: Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let first = signature.span().start().line;
        let last = body.brace_token.span.close().end().line;
        let lines = last + 1 - first;
        if lines > FUNCTION_LINES {
            self.breaches.push(format!("{}:{first}: {} has {lines} lines", self.file.path, signature.ident));
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::Path(path) => path.is_ident("test"),
        syn::Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string().contains("test"),
        syn::Meta::NameValue(_) => false,
    })
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        if !is_for_tests(&function.attrs) {
            self.measure(&function.sig, &function.block);
        }
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

pub(crate) fn long_functions(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.sources().filter(|file| !file.is_test) {
        let syntax =
            syn::parse_file(&file.text).unwrap_or_else(|error| panic!("{} does not parse: {error}", file.path));
        let mut functions = Functions { file, breaches: Vec::new() };
        functions.visit_file(&syntax);
        breaches.append(&mut functions.breaches);
    }
    breaches
}

pub(crate) fn long_files(tree: &Tree) -> Vec<String> {
    tree.rust()
        .map(|file| (file, file.text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES)
        .map(|(file, lines)| format!("{} has {lines} lines", file.path))
        .collect()
}

pub(crate) fn long_main(tree: &Tree) -> Vec<String> {
    let main = tree.sources().filter(|file| file.path == "src/main.rs");
    main.map(|file| file.text.lines().count())
        .filter(|lines| *lines > MAIN_LINES)
        .map(|lines| format!("src/main.rs has {lines} lines; it parses, calls cli and maps the exit code"))
        .collect()
}

pub(crate) fn undocumented(tree: &Tree) -> Vec<String> {
    tree.rust().filter(|file| !file.text.starts_with("//! ")).map(|file| file.path.clone()).collect()
}

/// Files, folders and modules inside files.
pub(crate) fn banned_names(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.rust() {
        let path = file.path.strip_suffix(".rs").unwrap_or(&file.path);
        if path.split('/').any(|part| BANNED_NAMES.contains(&part)) {
            breaches.push(file.path.clone());
        }
        for (number, line) in file.text.lines().enumerate() {
            let module = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ").strip_prefix("mod ");
            let name = module.map(|rest| rest.trim_end_matches([';', '{', ' ', '}']));
            if name.is_some_and(|name| BANNED_NAMES.contains(&name)) {
                breaches.push(format!("{}:{}", file.path, number + 1));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaches(rule: fn(&Tree) -> Vec<String>, path: &str, text: &str) -> usize {
        rule(&Tree::of_texts(&[(path, text)])).len()
    }

    /// A function of so many lines, from signature to closing brace.
    fn function(lines: usize) -> String {
        format!("fn long() {{\n{}}}\n", "    ();\n".repeat(lines - 2))
    }

    #[test]
    fn the_71st_line_is_one_too_many() {
        let wrap = [("", ""), ("impl A {\n", "}"), ("trait A {\n", "}"), ("mod a {\n", "}"), ("fn b() {\n", "}")];
        for (before, after) in wrap.iter().take(4) {
            assert_eq!(
                breaches(long_functions, "src/a.rs", &format!("{before}{}{after}", function(70))),
                0,
                "{before}"
            );
            assert_eq!(
                breaches(long_functions, "src/a.rs", &format!("{before}{}{after}", function(71))),
                1,
                "{before}"
            );
        }
        let nested = format!("fn outer() {{\n{}}}", function(71));
        assert_eq!(breaches(long_functions, "src/a.rs", &nested), 2, "the inner one and the one around it");
    }

    #[test]
    fn long_signatures_count_and_doc_comments_do_not() {
        let signature = format!("fn a(\n{}) {{\n}}\n", "    b: u8,\n".repeat(70));
        assert_eq!(breaches(long_functions, "src/a.rs", &signature), 1);
        let documented = format!("{}{}", "/// Long.\n".repeat(30), function(70));
        assert_eq!(breaches(long_functions, "src/a.rs", &documented), 0);
    }

    #[test]
    fn tests_may_be_longer() {
        let test = format!("#[cfg(test)]\nmod tests {{\n#[test]\n{}}}", function(90));
        assert_eq!(breaches(long_functions, "src/a.rs", &test), 0);
    }

    #[test]
    fn the_501st_line_is_one_too_many() {
        assert_eq!(breaches(long_files, "src/a.rs", &"//\n".repeat(500)), 0);
        assert_eq!(breaches(long_files, "src/a.rs", &"//\n".repeat(501)), 1);
        assert_eq!(breaches(long_files, "tests/a.rs", &"//\n".repeat(501)), 1);
        assert_eq!(breaches(long_main, "src/main.rs", &"//\n".repeat(61)), 1);
    }

    #[test]
    fn a_module_without_a_word_is_found() {
        assert_eq!(breaches(undocumented, "src/a.rs", "use a;\n//! Late.\n"), 1);
        assert_eq!(breaches(undocumented, "tests/a.rs", ""), 1);
        assert_eq!(breaches(undocumented, "src/a.rs", "//! What lives here.\n"), 0);
    }

    #[test]
    fn empty_names_are_found() {
        for path in ["src/util.rs", "src/store/helpers/x.rs", "tests/common/mod.rs", "src/http/manager.rs"] {
            assert_eq!(breaches(banned_names, path, ""), 1, "{path}");
        }
        assert_eq!(breaches(banned_names, "src/a.rs", "pub(crate) mod utils {\n}"), 1);
        assert_eq!(breaches(banned_names, "src/a.rs", "mod misc;"), 1);
        assert_eq!(breaches(banned_names, "src/store/commonly.rs", "mod helper_of_none;"), 0);
    }
}
