//! Names of codes, the nearest of them, and which of several mistakes decides.

use super::*;

#[test]
fn names_are_unique_and_kebab_case() {
    let mut names: Vec<_> = ALL.iter().map(|code| code.name()).collect();
    assert!(names.iter().all(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '-')));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn the_nearest_name_is_offered_only_when_it_is_near_and_alone() {
    assert_eq!(nearest("retian", ["retain", "retain-from"]), Some("retain"));
    assert_eq!(nearest("lisen", ["listen", "lessen"]), Some("listen"));
    assert_eq!(nearest("zzz", ["listen"]), None);
    assert_eq!(nearest("aa", ["ab", "ac"]), None);
}

#[test]
fn the_issue_that_makes_a_body_unreadable_decides_over_one_that_breaks_a_rule() {
    let rule = Issue::new(Code::ElementMissing).at("Patient.link[0].other");
    let shape = Issue::new(Code::ElementShapeWrong).at("Patient.name");
    let refusal = Refusal::of_all(vec![rule, shape]).unwrap();
    assert_eq!((refusal.status(), refusal.code()), (400, Code::ElementShapeWrong));
    assert_eq!(refusal.issues().count(), 2);
}
