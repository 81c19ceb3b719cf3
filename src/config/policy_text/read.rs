//! From the tree of a policy text to [`Policy`]: one reader that collects mistakes and goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use super::keys::{BODY, Field, Fixed, LINK, SpanIn};
use super::{MOST_RULES, built_in};
use crate::config::mistake::Mistake;
use crate::config::quantity::parse_size;
use crate::config::source::{Entry, Item, Node, Source, Span};
use crate::domain::clock::{parse_span, write_span};
use crate::domain::id::ClientId;
use crate::domain::policy::{
    ANY, CodeTest, Condition, ConditionKey, Decision, DeliveredWhen, EngineVersion, NotifyContent, Policy, RetainFrom,
    Rule,
};
use crate::domain::refusal::{is_plain_name, nearest};
use crate::domain::verdict::Engine;

/// The most uses of one link: more is no limit that anybody would count.
const MOST_USES: u32 = 1_000_000;

/// Where the values stand that a table sets, by key (`retain`, `link.lifetime`).
type Places = BTreeMap<String, Span>;

/// Reads the whole text.
pub(super) fn policy(source: Source<'_>, entries: &[Entry]) -> Result<Policy, Vec<Mistake>> {
    let mut reader = Reader { source, mistakes: Vec::new() };
    let mut default = built_in();
    for entry in entries {
        match (entry.key.as_str(), &entry.item.node) {
            ("default", Node::Table(body)) => reader.body(body, &mut default, Owner::Default),
            ("default", _) => reader.wrong(&entry.span, "default", "`default` is not a table", "write `[default]`"),
            ("rule", Node::List(_)) => {}
            ("rule", _) => reader.wrong(&entry.span, "rule", "`rule` is not a list of tables", "write `[[rule]]`"),
            (key, _) => reader.unknown(key, &entry.span, "", "a table of a policy", &["default", "rule"]),
        }
    }
    let rules = match entries.iter().find(|entry| entry.key == "rule").map(|entry| &entry.item) {
        Some(Item { node: Node::List(items), span }) => reader.rules(items, span, &default),
        _ => Vec::new(),
    };
    if reader.mistakes.is_empty() {
        return Ok(Policy { default, rules });
    }
    reader.mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    Err(reader.mistakes)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Default,
    Rule,
}

struct Reader<'a> {
    source: Source<'a>,
    mistakes: Vec<Mistake>,
}

impl Reader<'_> {
    fn wrong(&mut self, span: &Span, key: &str, what: &str, cure: &str) {
        self.mistakes.push(self.source.mistake(span, key, what, cure));
    }

    fn unknown(&mut self, key: &str, span: &Span, parent: &str, of: &str, known: &[&str]) {
        let path = format!("{parent}{key}");
        let shown = if is_plain_name(key) { format!("`{path}`") } else { "this".to_owned() };
        let cure = match nearest(key, known.iter().copied()) {
            Some(near) => format!("use `{near}`"),
            None => format!("remove it, or use one of {}", listed(known)),
        };
        self.wrong(span, &path, &format!("{shown} is not {of}"), &cure);
    }

    fn rules(&mut self, items: &[Item], list: &Span, default: &Decision) -> Vec<Rule> {
        if items.len() > MOST_RULES {
            let cure = format!("at most {MOST_RULES}; one rule may name many types, categories or clients");
            self.wrong(list, "rule", "there are too many rules", &cure);
            return Vec::new();
        }
        let mut rules: Vec<Rule> = Vec::new();
        for item in items {
            let Node::Table(entries) = &item.node else {
                self.wrong(&item.span, "rule", "a rule is not a table", "write `[[rule]]`");
                continue;
            };
            let before = self.mistakes.len();
            let (rule, name_at) = self.rule(entries, &item.span, default);
            if !rule.name.is_empty() && rules.iter().any(|earlier| earlier.name == rule.name) {
                self.wrong(&name_at, "name", "a rule before has this name too", "give each rule a name of its own");
            }
            // A rule with a mistake may not say what it means: whether it can match is told when it is mended.
            if before == self.mistakes.len()
                && let Some(earlier) = rules.iter().find(|earlier| earlier.when.covers(&rule.when))
            {
                let what =
                    format!("this rule can never match: rule `{}` before it takes all that it would", earlier.name);
                self.wrong(&name_at, "when", &what, "move it before that rule, or remove it");
            }
            rules.push(rule);
        }
        rules
    }

    fn rule(&mut self, entries: &[Entry], place: &Span, default: &Decision) -> (Rule, Span) {
        let mut decision = default.clone();
        let (mut name, mut name_at, mut when) = (None, place.clone(), Condition::default());
        for entry in entries {
            match entry.key.as_str() {
                "name" => {
                    name_at = entry.item.span.clone();
                    name = Some(self.name(&entry.item));
                }
                "when" => when = self.when(&entry.item),
                _ => {}
            }
        }
        if name.is_none() {
            self.wrong(place, "name", "a rule has no `name`", "add a line like `name = \"discharge-summary\"`");
        }
        let name = name.flatten().unwrap_or_default();
        name.clone_into(&mut decision.rule);
        self.body(entries, &mut decision, Owner::Rule);
        (Rule { name, when, decision }, name_at)
    }

    fn name(&mut self, item: &Item) -> Option<String> {
        let name = self.text("name", item)?;
        // The same alphabet as a client's id: it is shown, logged and stored.
        if ClientId::parse(&name).is_none() {
            let cure = "1 to 64 letters, digits, `.`, `_` or `-`";
            self.wrong(&item.span, "name", "`name` holds a character that a name cannot have, or is too long", cure);
            return None;
        }
        if name == "default" {
            let what = "`default` names what holds where no rule matches";
            self.wrong(&item.span, "name", what, "give the rule another name");
            return None;
        }
        Some(name)
    }

    fn when(&mut self, item: &Item) -> Condition {
        let mut when = Condition::default();
        let Node::Table(entries) = &item.node else {
            let cure = "write it like `when = { type = [\"http://loinc.org|18842-5\"] }`";
            self.wrong(&item.span, "when", "`when` is not a table", cure);
            return when;
        };
        for entry in entries {
            let known = ConditionKey::ALL.map(ConditionKey::name);
            let Some(key) = ConditionKey::from_name(&entry.key) else {
                self.unknown(&entry.key, &entry.span, "when.", "a condition", &known);
                continue;
            };
            match key {
                ConditionKey::Type => when.kind = self.codes("when.type", &entry.item),
                ConditionKey::Category => when.category = self.codes("when.category", &entry.item),
                ConditionKey::SecurityLabel => when.security_label = self.codes("when.security-label", &entry.item),
                ConditionKey::Department => when.department = self.codes("when.department", &entry.item),
                ConditionKey::Client => when.client = self.clients("when.client", &entry.item),
            }
        }
        when
    }

    fn codes(&mut self, key: &str, item: &Item) -> Vec<CodeTest> {
        let cure = "`system|code`, `code`, `system|` or `|code`";
        self.list(key, item, &format!("no code in `{key}`"), cure, CodeTest::parse)
    }

    fn clients(&mut self, key: &str, item: &Item) -> Vec<String> {
        let read = |text: &str| ClientId::parse(text).map(|id| id.as_str().to_owned());
        self.list(key, item, &format!("no client id in `{key}`"), "the id as in `daylily client list`", read)
    }

    /// The keys of `[default]` or of a rule, over what `decision` holds, and what must hold between them.
    fn body(&mut self, entries: &[Entry], decision: &mut Decision, owner: Owner) {
        let before = self.mistakes.len();
        let mut places = Places::new();
        self.fields(entries, decision, owner, "", BODY, &mut places);
        // Spans that could not be read would only be compared with what they did not say.
        if before == self.mistakes.len() {
            self.compare(decision, &places);
        }
    }

    fn fields(
        &mut self,
        entries: &[Entry],
        decision: &mut Decision,
        owner: Owner,
        parent: &str,
        known: &[(&str, Field)],
        places: &mut Places,
    ) {
        let owned = |field: &Field| owner == Owner::Rule || !matches!(field, Field::OfRule);
        let of = match (parent, owner) {
            ("link.", _) => "a key of `link`",
            (_, Owner::Rule) => "a key of a rule",
            (_, Owner::Default) => "a key of `[default]`",
        };
        for entry in entries {
            let Some((_, field)) = known.iter().find(|(name, field)| *name == entry.key && owned(field)) else {
                let names: Vec<_> = known.iter().filter(|(_, field)| owned(field)).map(|(name, _)| *name).collect();
                self.unknown(&entry.key, &entry.span, parent, of, &names);
                continue;
            };
            let key = format!("{parent}{}", entry.key);
            places.insert(key.clone(), entry.item.span.clone());
            match (field, &entry.item.node) {
                (Field::Link, Node::Table(inner)) => self.fields(inner, decision, owner, "link.", LINK, places),
                _ => self.field(*field, &key, &entry.item, decision),
            }
        }
    }

    fn field(&mut self, field: Field, key: &str, item: &Item, decision: &mut Decision) {
        match field {
            Field::Store => self.store(key, item),
            Field::Scan => decision.scan = self.engines(key, item),
            Field::Flag(target) => *target(decision) = self.flag(key, item),
            Field::SignaturesWithin => {
                decision.antivirus.signatures_within =
                    self.any_or(key, item, "is no span of time", "like \"48h\"", |text| {
                        parse_span(text).filter(|span| !span.is_zero())
                    });
            }
            Field::AntivirusVersion => {
                decision.antivirus.version =
                    self.any_or(key, item, "is no version", "like \"1.4.3\"", EngineVersion::parse);
            }
            Field::Prefix(target, bounds) => *target(decision) = self.prefix(key, item, bounds),
            Field::Count(target) => *target(decision) = self.count(key, item),
            Field::Accept => decision.accept = self.media_types(key, item),
            Field::MaxSize => decision.max_size = self.size(key, item),
            Field::Span(target) => self.span(key, item, target, decision),
            Field::RetainFrom => {
                let words = RetainFrom::ALL.map(|start| (start.name(), start));
                decision.retain_from = self.word(key, item, &words).unwrap_or(decision.retain_from);
            }
            Field::DeliveredWhen => {
                let words = DeliveredWhen::ALL.map(|rule| (rule.name(), rule));
                decision.delivered_when = self.word(key, item, &words).unwrap_or(decision.delivered_when);
            }
            Field::Notify => {
                let words = NotifyContent::ALL.map(|content| (content.name(), content));
                decision.notify = self.word(key, item, &words).unwrap_or(decision.notify);
            }
            Field::Recipients => decision.recipients = self.clients(key, item),
            Field::Link => {
                self.wrong(&item.span, key, "`link` is not a table", "write it like `link = { lifetime = \"15m\" }`")
            }
            Field::Later(fixed) => self.later(key, item, fixed),
            Field::OfRule => {}
        }
    }

    fn compare(&mut self, decision: &Decision, places: &Places) {
        let link = &decision.link;
        let mut longer = |of: &str, limit: Duration, phrase: &str| {
            let Some(at) = places.get("link.lifetime").or_else(|| places.get(of)) else { return };
            if link.lifetime > limit {
                let limit = write_span(limit);
                let what = format!("`link.lifetime` is longer than {phrase} = {limit})");
                let key = if places.contains_key("link.lifetime") { "link.lifetime" } else { of };
                self.wrong(at, key, &what, &format!("at most \"{limit}\", or a longer `{of}`"));
            }
        };
        longer("link.max-lifetime", link.max_lifetime, "a link may be (`link.max-lifetime`");
        longer("retain", decision.retain, "the file is kept (`retain`");
        self.compare_uses(decision, places);
    }

    fn compare_uses(&mut self, decision: &Decision, places: &Places) {
        let link = &decision.link;
        let place = |key: &'static str, of: &'static str| {
            let named = places.get(key).map(|at| (at, key));
            named.or_else(|| places.get(of).map(|at| (at, of)))
        };
        if let Some((at, key)) = place("link.uses", "link.max-uses").filter(|_| link.max_uses > 0)
            && link.uses > link.max_uses
        {
            let what = format!("`link.uses` is more than a link may have (`link.max-uses` = {})", link.max_uses);
            self.wrong(at, key, &what, &format!("at most {}, or a larger `link.max-uses`", link.max_uses));
        }
        // Only where it is said: a policy of before this key was served must stay one.
        if let Some(at) = places.get("link.grace").filter(|_| link.grace > link.max_transfer) {
            let limit = write_span(link.max_transfer);
            let what = format!("`link.grace` is longer than a transfer may run (`link.max-transfer` = {limit})");
            self.wrong(at, "link.grace", &what, &format!("at most \"{limit}\", or a longer `link.max-transfer`"));
        }
    }

    fn store(&mut self, key: &str, item: &Item) {
        if self.text(key, item).is_some_and(|name| name != "main") {
            self.wrong(&item.span, key, "there is no blob store of this name", "use \"main\"");
        }
    }

    fn engines(&mut self, key: &str, item: &Item) -> Vec<Engine> {
        let before = self.mistakes.len();
        let engines = self.list(
            key,
            item,
            "this engine is not served by this version",
            "use \"rules\" or \"clamd\"",
            Engine::from_name,
        );
        if engines.is_empty() && before == self.mistakes.len() {
            let what = "`scan` is empty: nothing could ever be released";
            self.wrong(&item.span, key, what, "name at least one engine, like [\"rules\"]");
        }
        engines
    }

    fn media_types(&mut self, key: &str, item: &Item) -> Vec<String> {
        let before = self.mistakes.len();
        let cure = "type and subtype in lower case, without parameters, like \"application/pdf\"";
        let read = |text: &str| is_media_type(text).then(|| text.to_owned());
        let types = self.list(key, item, "no media type in `accept`", cure, read);
        if types.is_empty() && before == self.mistakes.len() {
            self.wrong(
                &item.span,
                key,
                "`accept` is empty: no file could ever be taken",
                "name at least one media type",
            );
        }
        types
    }

    fn size(&mut self, key: &str, item: &Item) -> u64 {
        let cure = "a whole number and one of `B`, `KiB`, `MiB`, `GiB`, like \"512MiB\"; at most \"1024GiB\"";
        let Some(bytes) = item.node.as_text().and_then(parse_size) else {
            self.wrong(&item.span, key, &format!("`{key}` is not a size"), cure);
            return 0;
        };
        if bytes == 0 {
            self.wrong(&item.span, key, &format!("`{key}` is zero"), "at least \"1B\"");
        }
        bytes
    }

    fn span(&mut self, key: &str, item: &Item, target: SpanIn, decision: &mut Decision) {
        let Some(span) = item.node.as_text().and_then(parse_span) else {
            let cure = "a whole number and one of `s`, `m`, `h`, `d`, like \"72h\"; at most \"10000d\"";
            self.wrong(&item.span, key, &format!("`{key}` is not a span of time"), cure);
            return;
        };
        if span.is_zero() {
            self.wrong(&item.span, key, &format!("`{key}` is zero"), "at least \"1s\"");
        }
        *target(decision) = span;
    }

    fn word<T: Copy>(&mut self, key: &str, item: &Item, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(key, item)?;
        let names: Vec<_> = words.iter().map(|(name, _)| *name).collect();
        let found = words.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let what = format!("`{key}` has no such value");
            let near = nearest(&text, names.iter().copied());
            let cure = near.map_or_else(|| format!("use one of {}", listed(&names)), |near| format!("use \"{near}\""));
            self.wrong(&item.span, key, &what, &cure);
        }
        found.map(|(_, value)| *value)
    }

    fn later(&mut self, key: &str, item: &Item, fixed: Fixed) {
        let same = match (fixed, &item.node) {
            (Fixed::Text(wanted), Node::Text(text)) => text == wanted,
            (Fixed::Flag(wanted), Node::Flag(flag)) => *flag == wanted,
            _ => {
                let what = format!("`{key}` is not {}", fixed.kind());
                return self.wrong(&item.span, key, &what, &format!("write {}", fixed.written()));
            }
        };
        if !same {
            let what = format!("`{key}` is not served by this version");
            self.wrong(&item.span, key, &what, &format!("remove it, or leave it at {}", fixed.written()));
        }
    }

    fn text(&mut self, key: &str, item: &Item) -> Option<String> {
        if let Node::Text(text) = &item.node {
            return Some(text.clone());
        }
        self.wrong(&item.span, key, &format!("`{key}` is not a text"), "write it in quotes");
        None
    }

    fn flag(&mut self, key: &str, item: &Item) -> bool {
        if let Node::Flag(flag) = item.node {
            return flag;
        }
        self.wrong(
            &item.span,
            key,
            &format!("`{key}` is neither true nor false"),
            "write true or false, without quotes",
        );
        false
    }

    fn count(&mut self, key: &str, item: &Item) -> u32 {
        let found = match &item.node {
            Node::Whole(number) => u32::try_from(*number).ok().filter(|number| *number <= MOST_USES),
            _ => None,
        };
        if found.is_none() {
            let cure = format!("a whole number up to {MOST_USES}, without quotes; 0 is not limited");
            self.wrong(&item.span, key, &format!("`{key}` is not a count"), &cure);
        }
        found.unwrap_or(0)
    }

    /// A length of a network's prefix, in bounds.
    fn prefix(&mut self, key: &str, item: &Item, [least, most]: [u8; 2]) -> u8 {
        let found = match &item.node {
            Node::Whole(number) => u8::try_from(*number).ok().filter(|number| (least..=most).contains(number)),
            _ => None,
        };
        if found.is_none() {
            let cure = format!("a whole number from {least} to {most}, without quotes; {most} is the one address");
            self.wrong(&item.span, key, &format!("`{key}` is no length of a prefix"), &cure);
        }
        found.unwrap_or(most)
    }

    /// A value, or "any" for none.
    fn any_or<T>(
        &mut self,
        key: &str,
        item: &Item,
        what: &str,
        like: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let text = item.node.as_text().filter(|text| *text != ANY);
        let found = text.and_then(read);
        if found.is_none() && item.node.as_text() != Some(ANY) {
            self.wrong(&item.span, key, &format!("`{key}` {what}"), &format!("write it {like}, or \"{ANY}\""));
        }
        found
    }

    fn list<T: PartialEq>(
        &mut self,
        key: &str,
        item: &Item,
        what: &str,
        cure: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let Node::List(items) = &item.node else {
            self.wrong(&item.span, key, &format!("`{key}` is not a list"), "write it in brackets, like [\"…\"]");
            return Vec::new();
        };
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            match item.node.as_text().and_then(&read) {
                None => self.wrong(&item.span, key, what, cure),
                Some(value) if values.contains(&value) => {
                    self.wrong(&item.span, key, &format!("`{key}` names this twice"), "name it once");
                }
                Some(value) => values.push(value),
            }
        }
        values
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// `type "/" subtype` of RFC 9110 §8.3.1 in lower case, each a name of RFC 6838 §4.2 (which has no `*`).
fn is_media_type(text: &str) -> bool {
    let name = |part: &str| {
        let starts = part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "!#$&-^_.+".contains(c);
        starts && part.len() <= 127 && part.chars().all(rest)
    };
    text.split_once('/').is_some_and(|(kind, subtype)| name(kind) && name(subtype))
}
