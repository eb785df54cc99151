use std::sync::Arc;

use super::*;
use crate::model::DeadLetter;
use crate::seams::store::contract::{dead_letter, decision, held, parked};

fn decisions(places: &[u64]) -> Batch {
    let decisions = places.iter().map(|place| decision(*place, "a")).collect();
    Batch { decisions, ..Batch::default() }
}

fn dead_letter_of(place: u64) -> Batch {
    let dead = dead_letter(1, Some("a"), place);
    Batch { dead_letters: vec![Arc::new(dead)], ..Batch::default() }
}

fn take(caution: &mut Caution, place: u64) -> Option<Remedy> {
    caution.take(Position(place), Some(&"a".into()), Row::Settling).map(|(remedy, _)| remedy)
}

#[test]
fn an_event_is_known_only_when_the_rejected_rows_are_about_it_alone() {
    let mut caution = Caution::default();
    assert!(caution.learn("too big", &decisions(&[5])));
    assert!(caution.is_careful());
    assert_eq!(take(&mut caution, 5), None, "another row may have been the one");
    assert!(caution.learn("too big", &decisions(&[5])));
    assert_eq!(take(&mut caution, 3), None);
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
    assert!(caution.is_careful(), "its dead letter may be one, too");
    caution.committed();
    assert!(!caution.is_careful(), "it is found, and dead");
    assert_eq!(take(&mut caution, 5), None, "an operator may have mended the store");
}

#[test]
fn an_event_whose_dead_letter_cannot_be_written_is_discarded() {
    let mut caution = Caution::default();
    assert!(caution.learn("no", &dead_letter_of(5)) && caution.learn("no", &dead_letter_of(5)));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
    assert!(caution.learn("no", &dead_letter_of(5)));
    assert_eq!(take(&mut caution, 5), Some(Remedy::Discard));
}

#[test]
fn a_dead_letter_that_is_redriven_in_vain_stays_one() {
    let mut caution = Caution::default();
    for _ in 0..2 {
        assert!(caution.learn("no", &decisions(&[5])) && caution.learn("no", &decisions(&[5])));
        assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
        caution.committed();
    }
    let redriven =
        DeadLetter { status: DeadLetterStatus::Redriven, ..dead_letter(1, Some("a"), 5) };
    let redriven = Batch { dead_letters: vec![Arc::new(redriven)], ..decisions(&[5]) };
    assert!(caution.learn("no", &redriven) && caution.learn("no", &redriven));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
}

#[test]
fn nothing_is_tried_at_once_that_was_tried_in_vain() {
    let mut caution = Caution::default();
    assert!(!caution.learn("no", &Batch::default()), "nothing in it is about an event");
    assert!(caution.learn("no", &decisions(&[5])) && caution.learn("no", &decisions(&[5])));
    assert!(!caution.learn("no", &decisions(&[5])), "it was not made a dead letter");
}

#[test]
fn a_held_row_is_blamed_after_the_decision_that_writes_it() {
    let mut caution = Caution::default();
    let held = || vec![held(5, "p", 50)];
    let decided = || Batch { held: held(), ..decisions(&[5]) };
    let take_held = |caution: &mut Caution| {
        caution.take(Position(5), Some(&"p".into()), Row::Held).map(|(remedy, _)| remedy)
    };
    assert!(caution.learn("no", &decided()) && caution.learn("no", &decided()));
    assert_eq!(take_held(&mut caution), None, "the decision may be at fault alone");
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
    let dead = || Batch { held: held(), ..dead_letter_of(5) };
    assert!(caution.learn("no", &dead()));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter), "its dead letter can be written");
    assert_eq!(take_held(&mut caution), Some(Remedy::DeadLetter));
    assert!(caution.learn("no", &dead()));
    assert_eq!(take(&mut caution, 5), Some(Remedy::Discard), "neither helps");
}

/// The dead letter of one event, and the rows of those that are parked behind it.
fn dead_letter_before(place: u64, behind: &[u64]) -> Batch {
    let parked = behind.iter().map(|place| parked(*place, "a")).collect();
    Batch { parked, ..dead_letter_of(place) }
}

#[test]
fn a_dead_letter_is_not_discarded_for_what_is_parked_behind_it() {
    let mut caution = Caution::default();
    assert!(caution.learn("no", &decisions(&[5])) && caution.learn("no", &decisions(&[5])));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
    assert!(caution.learn("no", &dead_letter_before(5, &[7, 8])));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter), "its dead letter can be written");
    assert_eq!(take(&mut caution, 7), Some(Remedy::DeadLetter));
    assert_eq!(take(&mut caution, 8), Some(Remedy::DeadLetter));
    // One more has come; the others became dead letters in the commit that is lost.
    assert!(caution.learn("no", &dead_letter_before(5, &[9])));
    assert!(caution.learn("no", &dead_letter_before(5, &[7, 8])));
    for place in [5, 7, 8, 9] {
        assert_eq!(take(&mut caution, place), Some(Remedy::DeadLetter), "{place}");
    }
    caution.committed();
    // An operator redrives it without success, and another event has come behind it.
    assert!(caution.learn("no", &dead_letter_before(5, &[10])), "carefully from now on");
    assert!(caution.learn("no", &dead_letter_before(5, &[10])));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
    assert_eq!(take(&mut caution, 10), Some(Remedy::DeadLetter));
    assert!(caution.learn("no", &dead_letter_of(5)), "nothing is behind it any more");
    assert_eq!(take(&mut caution, 5), Some(Remedy::Discard));
}

#[test]
fn an_event_that_failed_keeps_its_reason_when_what_is_behind_it_cannot_be_parked() {
    let mut caution = Caution::default();
    assert!(caution.learn("no", &dead_letter_before(5, &[7])));
    assert!(caution.learn("no", &dead_letter_before(5, &[7])));
    assert_eq!(take(&mut caution, 5), None);
    assert_eq!(take(&mut caution, 7), Some(Remedy::DeadLetter));
}

#[test]
fn what_is_held_counts_too() {
    let mut caution = Caution::default();
    let row = Batch { held: vec![held(7, "a", 50)], ..Batch::default() };
    assert!(caution.learn("no", &row) && caution.learn("no", &row));
    let held = caution.take(Position(7), Some(&"a".into()), Row::Held);
    assert_eq!(held.map(|(remedy, _)| remedy), Some(Remedy::DeadLetter));
}

#[test]
fn a_dead_letter_is_not_blamed_for_the_row_that_holds_its_event() {
    let mut caution = Caution::default();
    let both = || Batch { held: vec![held(5, "a", 50)], ..dead_letter_of(5) };
    assert!(caution.learn("no", &both()) && caution.learn("no", &both()));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter));
    assert!(caution.learn("no", &both()));
    assert_eq!(take(&mut caution, 5), Some(Remedy::DeadLetter), "it can be written");
    let held = caution.take(Position(5), Some(&"a".into()), Row::Held);
    assert_eq!(held.map(|(remedy, _)| remedy), Some(Remedy::DeadLetter));
}
