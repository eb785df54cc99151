//! Invariants on histories written by hand: each holds of one, and not of the other.

use std::sync::Arc;

use bytes::Bytes;
use sagabox_engine::model::{Event, MessageKind, Timestamp};

use super::super::history::{Deed, End, History, Who};
use super::Invariant;
use crate::decisions::json::{Json, json};

fn event(id: &str, event_type: &str, data: &Json) -> Arc<Event> {
    Arc::new(Event {
        id: id.to_owned(),
        source: "/test".to_owned(),
        event_type: event_type.to_owned(),
        subject: None,
        time: None,
        datacontenttype: None,
        dataschema: None,
        extensions: Vec::new(),
        data: Bytes::from(data.to_string()),
    })
}

fn who(key: &str) -> Who {
    Who { plugin: "orders".into(), key: key.into() }
}

/// A type and data.
type Said<'s> = (&'s str, Json);

/// Of instances, each by its key, that each get an event and send messages.
fn history(deeds: &[(&str, Said<'_>, &[Said<'_>])]) -> History {
    let mut history = History::default();
    for (index, (key, (came, data), sent)) in deeds.iter().enumerate() {
        let sent = sent.iter().enumerate().map(|(number, (event_type, data))| {
            (MessageKind::Command, event(&format!("m{index}-{number}"), event_type, data))
        });
        history.deeds.push(Deed {
            at: Timestamp(index as u64),
            who: who(key),
            event: event(&format!("e{index}"), came, data),
            attempt: 1,
            messages: sent.collect(),
            timers: Vec::new(),
            keys: Vec::new(),
            completes: false,
            state: None,
            answers: Vec::new(),
        });
        history.ends.insert(who(key), End { completed: false, state: Json::Null });
    }
    history
}

/// Why it does not hold; nothing if it does.
#[track_caller]
fn check(invariant: Json, history: &History) -> Option<String> {
    Invariant::parse(&invariant).unwrap().check(history).map(|broken| broken.why)
}

#[track_caller]
fn holds(invariant: Json, history: &History) {
    assert_eq!(check(invariant, history), None);
}

#[track_caller]
fn broken(invariant: Json, history: &History, why: &str) {
    assert_eq!(check(invariant, history).as_deref(), Some(why));
}

fn paid_twice() -> History {
    let order = |amount: u32| json!({"orderId": "o", "amount": amount});
    history(&[
        ("o", ("Placed", json!({})), &[("Charge", order(5))]),
        ("o", ("Paid", json!({})), &[("Ship", order(5))]),
        ("o", ("Paid", json!({})), &[("Ship", order(3)), ("Refund", order(2))]),
        ("p", ("Placed", json!({})), &[("Charge", json!({"orderId": "p", "amount": 1.5}))]),
    ])
}

#[test]
fn things_are_counted_for_each_instance() {
    let history = paid_twice();
    broken(json!({"at_most_one": "Ship"}), &history, "`o` of orders: there are 2 of Ship");
    holds(json!({"at_most_one": "Charge"}), &history);
    holds(json!({"at_most": {"count": 2, "of": "Ship"}}), &history);
    broken(
        json!({"at_most": {"count": 2, "of": ["Ship", "Refund"]}}),
        &history,
        "`o` of orders: there are 3 of Ship or Refund",
    );
    holds(json!({"exactly_one": "Charge"}), &history);
    broken(
        json!({"exactly_one": ["Refund", "Cancel"]}),
        &history,
        "`p` of orders: there are 0 of Refund or Cancel",
    );
    broken(json!({"at_least_one": "Paid"}), &history, "`p` of orders: there are 0 of Paid");
    // What came counts as what was sent does.
    broken(json!({"at_most_one": "Paid"}), &history, "`o` of orders: there are 2 of Paid");
    holds(json!({"at_most_one": {"type": "Ship", "where": {"/amount": 3}}}), &history);
}

#[test]
fn things_exclude_and_follow_each_other() {
    let history = paid_twice();
    broken(
        json!({"never_both": ["Ship", "Refund"]}),
        &history,
        "`o` of orders: there are both Ship and Refund",
    );
    holds(json!({"never_both": ["Ship", "Cancel"]}), &history);
    holds(json!({"only_after": {"Refund": "Ship"}}), &history);
    broken(
        json!({"only_after": {"Charge": "Paid"}}),
        &history,
        "`o` of orders: Charge with no Paid before it",
    );
    broken(
        json!({"followed_by": {"Charge": ["Ship", "Refund"]}}),
        &history,
        "`p` of orders: Charge with no Ship or Refund after it",
    );
    holds(json!({"followed_by": {"Paid": "Ship"}}), &history);
    holds(json!({"followed_by": {"Charge": "Ship"}, "if": "Paid"}), &history);
}

#[test]
fn sums_and_states_are_compared() {
    let mut history = paid_twice();
    let sum = |of: &str| json!({"sum": of, "of": "/amount"});
    broken(
        json!({"compare": [sum("Ship"), "<=", sum("Charge")]}),
        &history,
        "`o` of orders: the sum of /amount of Ship is 8, and the sum of /amount of Charge is 5",
    );
    holds(json!({"compare": [sum("Charge"), ">=", 1.5]}), &history);
    holds(
        json!({"compare": [{"count": "Refund"}, "<", {"count": "Placed"}], "if": "Cancel"}),
        &history,
    );
    let end = End { completed: true, state: json!({"status": "paid", "left": 0}) };
    history.ends.insert(who("o"), end);
    let status = |values: Json| json!({"compare": [{"state": "/status"}, "in", values]});
    holds(status(json!(["paid", "cancelled", null])), &history);
    broken(
        status(json!(["cancelled", null])),
        &history,
        "`o` of orders: the state's /status is \"paid\", and [\"cancelled\",null] is [\"cancelled\",null]",
    );
    broken(json!({"ends": true}), &history, "`p` of orders: it has not ended; its state is null");
    history.ends.insert(who("p"), End { completed: true, state: Json::Null });
    holds(json!({"ends": true}), &history);
    // Without instances nothing ends.
    history.ends.clear();
    holds(json!({"ends": true}), &history);
}

#[test]
fn values_make_groups_across_instances() {
    let of = |order: &str| json!({"orderId": order});
    let history = history(&[
        ("cart", ("Finalized", json!({})), &[("Ship", of("o"))]),
        ("order", ("Paid", of("o")), &[("Ship", of("o")), ("Ship", of("q"))]),
    ]);
    holds(json!({"at_most_one": "Ship", "if": "Finalized"}), &history);
    broken(
        json!({"at_most_one": "Ship", "per": "/orderId"}),
        &history,
        "/orderId \"o\": there are 2 of Ship",
    );
}

#[test]
fn an_event_that_was_sent_and_came_back_is_one() {
    let mut history = history(&[
        ("o", ("Placed", json!({})), &[("Reserved", json!({"orderId": "o"}))]),
        ("o", ("Reserved", json!({"orderId": "o"})), &[]),
    ]);
    broken(json!({"at_most_one": "Reserved"}), &history, "`o` of orders: there are 2 of Reserved");
    history.deeds[1].event = Arc::clone(&history.deeds[0].messages[0].1);
    holds(json!({"at_most_one": "Reserved"}), &history);
    holds(json!({"at_most_one": "Reserved", "per": "/orderId"}), &history);
}

#[test]
fn an_invariant_says_what_it_is() {
    for (invariant, name) in [
        (json!({"at_most_one": "Ship"}), "at most 1 of Ship"),
        (json!({"exactly_one": ["A", "B"]}), "exactly 1 of A or B"),
        (json!({"at_least_one": "A"}), "at least 1 of A"),
        (json!({"never_both": ["A", "B"]}), "never both A and B"),
        (json!({"only_after": {"B": "A"}}), "B only after A"),
        (json!({"followed_by": {"A": ["B", "C"]}}), "A is followed by B or C"),
        (json!({"ends": true}), "each instance ends"),
        (json!({"compare": [{"state": "/n"}, "<=", 3]}), "the state's /n <= 3"),
        (json!({"at_most_one": {"type": "A", "where": {"/n": 1}}}), "at most 1 of A with /n 1"),
        (json!({"ends": true, "says": "it ends"}), "it ends"),
    ] {
        assert_eq!(Invariant::parse(&invariant).unwrap().name, name);
    }
}

#[test]
fn what_is_wrong_with_an_invariant_is_said() {
    for (invariant, why) in [
        (json!("Ship"), "is not an object such as"),
        (json!({}), "needs exactly one of at_most_one"),
        (json!({"ends": true, "at_most_one": "A"}), "needs exactly one of at_most_one"),
        (json!({"at_most_two": "A"}), "at_most_two: is not known; known are at_most_one"),
        (json!({"at_most": {"of": "A"}}), "at_most: is not an object such as"),
        (json!({"at_most_one": {"typ": "A"}}), "at_most_one: {\"typ\":\"A\"} is neither"),
        (json!({"never_both": "A"}), "never_both: needs two or more"),
        (json!({"only_after": "A"}), "only_after: is not an object such as"),
        (json!({"ends": false}), "ends: is `true`"),
        (json!({"ends": true, "per": "/a"}), "per: an instance ends"),
        (json!({"at_most_one": "A", "per": "a"}), "per: `a` is not a JSON Pointer"),
        (json!({"compare": [1, "<"]}), "compare: is not a list of three"),
        (json!({"compare": [1, "~", 2]}), "compare: \"~\" is not one of"),
        (json!({"compare": [{"sum": "A"}, "<", 2]}), "compare: {\"sum\":\"A\"} is not one of"),
    ] {
        let error = Invariant::parse(&invariant).unwrap_err();
        assert!(error.starts_with(why), "{error}");
    }
}
