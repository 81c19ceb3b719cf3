//! Invariants of R4 that a table row can say. Each is named as in the definitions; `dom-*`, `ele-1`, `ref-1` and `txt-*`
//! stand where the walk sees them. Left out: warnings, and rules of types that no body can hold (`eld-*`).

mod rows;

use super::report::Report;
use crate::fhir::json::Object;
use crate::fhir::tables::{ShapeId, shape_id, shapes};
use std::sync::LazyLock;

/// A rule that an object of one shape must keep.
pub(super) struct Invariant {
    /// Key in the definitions.
    key: &'static str,
    /// Shapes that it holds for.
    shapes: &'static [&'static str],
    /// Does the object keep it?
    holds: fn(&Object<'_>) -> bool,
    /// One clause.
    rule: &'static str,
    /// One sentence.
    cure: &'static str,
}

static BY_SHAPE: LazyLock<Vec<Vec<&'static Invariant>>> = LazyLock::new(|| {
    let mut by_shape: Vec<Vec<&'static Invariant>> = shapes().iter().map(|_| Vec::new()).collect();
    for invariant in rows::ALL {
        for id in invariant.shapes.iter().filter_map(|name| shape_id(name)) {
            if let Some(list) = by_shape.get_mut(id) {
                list.push(invariant);
            }
        }
    }
    by_shape
});

/// Checks every invariant of a shape.
pub(super) fn check(id: ShapeId, object: &Object<'_>, report: &mut Report<'_>) {
    for invariant in BY_SHAPE.get(id).into_iter().flatten() {
        if !(invariant.holds)(object) {
            report.breaks(invariant.key, invariant.rule, invariant.cure);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_names_shapes_that_exist() {
        for invariant in rows::ALL {
            assert!(!invariant.shapes.is_empty());
            assert!(invariant.shapes.iter().all(|name| shape_id(name).is_some()), "{}", invariant.key);
        }
    }
}
