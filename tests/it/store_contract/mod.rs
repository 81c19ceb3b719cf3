//! The contract of `store::Store`, as functions over `&dyn Store`: any implementation is held to it by running each on a fresh
//! store. [`contract`] makes a test of each.

mod access;
mod documents;
mod given_links;
mod lifecycle;
mod links;
mod log_and_server;
mod oversight;
mod searching;
mod subscriptions;

pub use access::*;
pub use documents::*;
pub use given_links::*;
pub use lifecycle::*;
pub use links::*;
pub use log_and_server::*;
pub use oversight::*;
pub use searching::*;
pub use subscriptions::*;

use std::sync::LazyLock;

use daylily::domain::holder::{Holder, Shares};
use daylily::domain::principal::{AccessScope, ClientNumber};
use daylily::domain::query::{Filter, Query, Sort};
use daylily::domain::resource::{DocumentNumber, Kind};
use daylily::shares::Places;
use daylily::store::{AnswerMemory, Store};

use crate::store_build::*;

/// Makes a test of every rule of the contract; `$open` answers a fresh store and what keeps its files.
macro_rules! contract {
    ($open:path) => {
        $crate::store_contract::contract! { $open;
            an_entry_is_numbered_without_gaps_under_concurrent_writers
            entries_that_are_recorded_together_are_all_there_or_none
            a_write_is_whole_or_not_at_all_whatever_else_is_in_its_batch
            a_document_reads_back_as_it_was_sent
            a_scan_job_is_claimed_by_one
            a_lease_that_ran_out_gives_the_job_to_another_and_the_first_is_refused
            a_job_that_is_given_back_waits_until_it_is_due
            access_covers_own_recipient_custodian_and_all_and_nothing_else
            context_is_seen_by_its_sender_and_with_a_visible_document
            a_context_resource_is_replaced_by_who_sees_it
            pages_follow_on_while_documents_arrive
            a_page_ends_before_it_holds_more_than_an_answer_and_its_entry_can
            long_texts_are_read_once_there_is_memory_for_them
            pages_by_date_put_what_has_none_last
            filters_find_what_fits
            dates_compare_as_spans
            the_states_of_a_document_follow_on_and_make_versions
            a_transition_from_another_state_changes_nothing
            a_purge_leaves_a_tombstone
            what_is_due_is_told_longest_overdue_first
            an_idempotency_key_is_used_once
            a_binary_is_claimed_once_and_by_its_owner
            a_binary_that_no_document_claims_is_purged
            a_revocation_is_seen_when_it_returns
            an_assertion_is_spent_once
            keys_policy_and_clients_read_back
            receipts_count_readers_but_not_the_source
            stamps_of_versions_never_fall
            files_elsewhere_are_listed_until_they_are_destroyed
            a_change_of_state_wakes_who_waits
            an_operator_has_an_id_for_ever
            an_approval_is_one_persons_word_about_one_quarantine
            an_override_uses_up_the_word_that_it_rests_on
            a_hold_keeps_a_document_from_being_due_for_destruction_and_from_being_destroyed
            a_closed_store_refuses
            a_subscription_reads_back_for_its_owner_alone
            an_event_is_numbered_for_whom_it_concerns
            a_turn_is_held_by_one_and_in_order
            an_answer_to_an_older_handshake_is_ignored
            a_purge_withholds_what_waits
            a_filter_tells_what_the_search_finds
            a_link_reads_back_and_its_number_is_taken_once
            of_many_claims_at_once_no_more_are_made_than_uses_are_left
            a_use_is_spent_once_and_one_that_broke_off_is_not
            links_and_uses_go_with_their_file
            a_revocation_is_one_however_often_it_is_written
            given_links_come_with_their_entry_and_are_found_by_what_ends_them
            given_links_of_before_the_index_are_gathered_once
        }
    };
    ($open:path; $($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            let (store, _files) = $open();
            $crate::store_contract::$name(store.as_ref()).await;
        })*
    };
}
pub(crate) use contract;

fn query(filters: Vec<Filter>) -> Query {
    Query { kind: Kind::DocumentReference, filters, sort: Sort::default(), count: 50, after: None, as_of: None }
}

async fn found(store: &dyn Store, filters: Vec<Filter>, scope: &AccessScope) -> Vec<String> {
    let page = store.search(&query(filters), scope, memory()).await.unwrap();
    assert_eq!(page.total, u64::try_from(page.rows.len()).unwrap(), "the total is that of what is visible");
    ids(&page.rows)
}

/// Memory for any answer.
fn memory() -> AnswerMemory<'static> {
    static BYTES: LazyLock<Places> = LazyLock::new(|| Places::new(1 << 30, Shares::default(), None));
    static HOLDER: Holder = Holder::Client(ClientNumber(1));
    AnswerMemory { bytes: &BYTES, holder: &HOLDER }
}

async fn number_of(store: &dyn Store, text: &str, scope: &AccessScope) -> DocumentNumber {
    let stored = store.read(Kind::DocumentReference, &id(text), scope).await.unwrap().unwrap();
    stored.document.unwrap().number
}

async fn audit_size(store: &dyn Store) -> u64 {
    store.audit_head().await.unwrap().size
}
