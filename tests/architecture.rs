//! The shape of the source, held as tests: which room may know which, how long a function and a file may be, what may not be
//! written anywhere. Each rule reads the tree as it is on disk, and each has a test of its own that shows it a breach, so that
//! a rule that has stopped seeing anything fails too.
//!
//! To change a rule, change its table (`architecture/rooms.rs`) and say in `docs/decisions/` why.

#[cfg(test)]
#[path = "architecture/failpoints.rs"]
mod failpoints;
#[cfg(test)]
#[path = "architecture/measure.rs"]
mod measure;
#[cfg(test)]
#[path = "architecture/rooms.rs"]
mod rooms;
#[cfg(test)]
#[path = "architecture/source.rs"]
mod source;
#[cfg(test)]
#[path = "architecture/words.rs"]
mod words;

#[cfg(test)]
mod tests {
    use crate::source::Tree;
    use crate::{failpoints, measure, rooms, words};

    /// Fails with every breach on a line of its own.
    #[track_caller]
    fn none(rule: &str, breaches: &[String]) {
        assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
    }

    #[test]
    fn the_tree_is_read() {
        let tree = Tree::of_the_crate();
        assert!(tree.sources().count() > 50, "the walk over src/ finds too little to be right");
        assert!(tree.sources().any(|file| file.is_test), "no file of tests was recognised as one");
        assert!(tree.sources().any(|file| !file.is_test));
    }

    #[test]
    fn every_room_is_known_and_every_known_room_has_a_rule() {
        none("a room without a rule", &rooms::unknown(&Tree::of_the_crate()));
    }

    #[test]
    fn rooms_use_only_the_rooms_below_them() {
        none("forbidden edge between rooms", &rooms::forbidden_edges(&Tree::of_the_crate()));
    }

    #[test]
    fn only_the_composition_names_concrete_parts() {
        none("a concrete part named outside app and cli", &rooms::concrete_parts(&Tree::of_the_crate()));
    }

    #[test]
    fn drivers_stay_in_their_rooms() {
        none("a driver outside its room", &rooms::strayed_drivers(&Tree::of_the_crate()));
    }

    #[test]
    fn the_domain_is_pure() {
        none("the domain does or waits for something", &rooms::impure_domain(&Tree::of_the_crate()));
    }

    #[test]
    fn functions_are_at_most_70_lines() {
        none("functions over 70 lines", &measure::long_functions(&Tree::of_the_crate()));
    }

    #[test]
    fn files_are_at_most_500_lines() {
        none("files over 500 lines", &measure::long_files(&Tree::of_the_crate()));
    }

    #[test]
    fn every_module_says_what_lives_in_it() {
        none("modules that do not begin with `//!`", &measure::undocumented(&Tree::of_the_crate()));
    }

    #[test]
    fn nothing_is_named_after_being_useful() {
        none("banned names", &measure::banned_names(&Tree::of_the_crate()));
    }

    #[test]
    fn main_is_at_most_60_lines() {
        none("main.rs", &measure::long_main(&Tree::of_the_crate()));
    }

    #[test]
    fn nothing_panics_or_formats_sql_outside_tests() {
        none("banned calls", &words::banned_calls(&Tree::of_the_crate()));
    }

    #[test]
    fn migrations_come_in_pairs_and_alike_for_every_database() {
        none("migrations", &words::unpaired_migrations(&Tree::of_the_crate()));
    }

    #[test]
    fn every_failpoint_is_placed_and_died_at() {
        none("failpoints", &failpoints::unplaced_or_untried(&Tree::of_the_crate()));
    }

    #[test]
    fn no_committed_file_names_a_machine_or_a_registry() {
        none("machine paths or registry hosts", &words::places(&Tree::of_the_crate()));
    }
}
