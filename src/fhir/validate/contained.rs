//! Contained resources: who holds them, who refers to them (dom-2 to dom-5, ref-1; R4 references.html#contained).

use super::report::Report;
use crate::fhir::json::Object;
use std::collections::HashMap;

/// A contained resource.
struct Contained<'v> {
    /// Another one before it has the same id.
    repeated: bool,
    resource_type: Option<&'v str>,
    /// Something refers to it, or it refers to its container.
    used: bool,
}

/// A resource that is no contained one, and what it contains.
struct Root<'v> {
    contained: Vec<Contained<'v>>,
    /// The first contained resource of each id.
    by_id: HashMap<&'v str, usize>,
    /// The contained resource that the walk is in.
    inside: Option<usize>,
}

/// The resources that the walk stands in, outermost first.
#[derive(Default)]
pub(super) struct Roots<'v>(Vec<Root<'v>>);

impl<'v> Roots<'v> {
    /// Steps into a resource. True when it is one that [`Roots::leave`] must close.
    pub(super) fn enter(&mut self, object: &'v Object<'v>, contained: Option<usize>, report: &mut Report<'v>) -> bool {
        match (contained, self.0.last_mut()) {
            (Some(at), Some(root)) => {
                root.inside = Some(at);
                contained_rules(object, report);
                false
            }
            _ => {
                self.0.push(Root::of(object));
                true
            }
        }
    }

    /// Ends a contained resource.
    pub(super) fn leave_contained(&mut self) {
        if let Some(root) = self.0.last_mut() {
            root.inside = None;
        }
    }

    /// Ends a resource that is no contained one: every contained one must have been used, ids must differ.
    pub(super) fn leave(&mut self, report: &mut Report<'v>) {
        let Some(root) = self.0.pop() else { return };
        for (at, one) in root.contained.iter().enumerate() {
            report.enter("contained");
            report.enter_item(at);
            if one.repeated {
                report.breaks("contained", "contained resources have different ids", "Give each an id of its own.");
            } else if !one.used {
                report.breaks(
                    "dom-3",
                    "a contained resource has an id and is referred to from the resource that holds it, or refers to it",
                    "Add a reference (`#` and its id) to it, or remove it.",
                );
            }
            report.leave();
            report.leave();
        }
    }

    /// A reference or uri was seen: notes which contained resource it names.
    pub(super) fn mention(&mut self, text: &str) {
        if text.starts_with('#') {
            self.resolve(text);
        }
    }

    /// Looks up `#id`. `None`: there is no such contained resource; else its type, `Some(None)` for the container itself.
    pub(super) fn resolve(&mut self, text: &str) -> Option<Option<&'v str>> {
        let root = self.0.last_mut()?;
        let id = text.strip_prefix('#')?;
        if id.is_empty() {
            if let Some(own) = root.inside.and_then(|at| root.contained.get_mut(at)) {
                own.used = true;
            }
            return Some(None);
        }
        let one = root.contained.get_mut(*root.by_id.get(id)?)?;
        one.used = true;
        Some(one.resource_type)
    }
}

impl<'v> Root<'v> {
    fn of(object: &'v Object<'v>) -> Self {
        let (mut contained, mut by_id) = (Vec::new(), HashMap::new());
        for (at, item) in object.items("contained").iter().enumerate() {
            let text = |name| item.as_object().and_then(|item| item.text(name));
            let repeated = text("id").is_some_and(|id| *by_id.entry(id).or_insert(at) != at);
            contained.push(Contained { repeated, resource_type: text("resourceType"), used: false });
        }
        Self { contained, by_id, inside: None }
    }
}

fn contained_rules(object: &Object<'_>, report: &mut Report<'_>) {
    if object.has("contained") {
        report.breaks("dom-2", "a contained resource contains no others", "Contain them in the outer resource.");
    }
    let Some(meta) = object.object("meta") else { return };
    if meta.has("versionId") || meta.has("lastUpdated") {
        report.breaks(
            "dom-4",
            "a contained resource has no versionId and no lastUpdated",
            "Remove both from its `meta`.",
        );
    }
    if meta.has("security") {
        report.breaks(
            "dom-5",
            "a contained resource has no security label",
            "Put `meta.security` on the outer resource.",
        );
    }
}
