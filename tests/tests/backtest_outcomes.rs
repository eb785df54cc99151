//! `sagabox backtest` comes to what an independent computation comes to, which knows no engine:
//! on the order log, and on made-up years in which timers decide.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::{events, paths};
use serde_json::{Value, json};
use tempfile::TempDir;

const MINUTE: u64 = 60_000;
const DAY: u64 = 24 * 60 * MINUTE;
/// 2016-01-01T00:00:00Z.
const START: u64 = 1_451_606_400_000;

pub(crate) fn time(millis: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(millis).expect("a date"));
    at.expect("a date").strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn millis(event: &Value) -> u64 {
    let at: jiff::Timestamp = event["time"].as_str().expect("a time").parse().expect("a time");
    u64::try_from(at.as_millisecond()).expect("after 1970")
}

pub(crate) fn ndjson(events: &[Value]) -> String {
    events.iter().fold(String::new(), |mut text, event| {
        let _ = writeln!(text, "{event}");
        text
    })
}

pub(crate) fn rows(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a row")).collect()
}

/// Runs a backtest of a plugin of the repository on events.
pub(crate) fn backtest(folder: &Path, plugin: &str, log: &[Value], more: &[&str]) -> Ended {
    std::fs::write(folder.join("log.ndjson"), ndjson(log)).expect("a file");
    let component = paths::plugin(plugin);
    let component = component.to_str().expect("text");
    sagabox(folder, &[&["backtest", component, "--events", "log.ndjson"], more].concat())
}

pub(crate) fn of_kind<'r>(rows: &'r [Value], kind: &str) -> Vec<&'r Value> {
    rows.iter().filter(|row| row["kind"] == kind).collect()
}

// ---- the order log ----------------------------------------------------------------------

fn logs() -> Vec<Vec<Value>> {
    let made_up = paths::example("order-management").join("orders.csv");
    let all = [Some(made_up), paths::order_log()].into_iter().flatten();
    all.map(|path| events::from_csv(&path).expect("the log converts")).collect()
}

fn names(event: &Value, list: &str) -> Vec<String> {
    let names = event["data"][list].as_array().expect("a list").iter();
    names.map(|name| name.as_str().expect("a name").to_owned()).collect()
}

/// When an event happened: its time, and its line among those of one time.
type When = (u64, usize);

/// What the log says of its orders, whatever decides on it.
#[derive(Default)]
struct Orders {
    placed: BTreeMap<String, (When, Vec<String>)>,
    paid: BTreeMap<String, When>,
    reminded: BTreeMap<String, Vec<When>>,
    /// Item to its package, and when it was created.
    packed: BTreeMap<String, (String, When)>,
    delivered: BTreeMap<String, When>,
    failed: BTreeMap<String, Vec<When>>,
}

impl Orders {
    fn of(log: &[Value]) -> Self {
        let mut orders = Self::default();
        for (line, event) in log.iter().enumerate() {
            let at = (millis(event), line);
            match event["type"].as_str().expect("a type") {
                "place order" => {
                    for order in names(event, "orders") {
                        orders.placed.insert(order, (at, names(event, "items")));
                    }
                }
                "pay order" => {
                    orders.paid.extend(names(event, "orders").into_iter().map(|o| (o, at)));
                }
                "payment reminder" => {
                    for order in names(event, "orders") {
                        orders.reminded.entry(order).or_default().push(at);
                    }
                }
                "create package" => {
                    let package = names(event, "packages").remove(0);
                    for item in names(event, "items") {
                        orders.packed.insert(item, (package.clone(), at));
                    }
                }
                "package delivered" => {
                    for package in names(event, "packages") {
                        orders.delivered.entry(package).or_insert(at);
                    }
                }
                "failed delivery" => {
                    for package in names(event, "packages") {
                        orders.failed.entry(package).or_default().push(at);
                    }
                }
                _ => {}
            }
        }
        orders
    }

    /// Each order that is closed: when, and after how many reminders and failed deliveries. It is
    /// closed when it is placed and paid, and each of its items is packed and delivered.
    fn closed(&self) -> BTreeMap<String, (u64, usize, usize)> {
        let closed = self.placed.iter().filter_map(|(order, (placed, items))| {
            let paid = *self.paid.get(order)?;
            let mut at = paid.max(*placed);
            let mut packages = BTreeSet::new();
            for item in items {
                let (package, packed) = self.packed.get(item)?;
                at = at.max(*packed).max(*self.delivered.get(package)?);
                packages.insert(package);
            }
            let before = |times: &Vec<When>| times.iter().filter(|time| **time < at).count();
            let reminders = self.reminded.get(order).map_or(0, before);
            let failed = packages.iter().filter_map(|package| self.failed.get(*package));
            Some((order.clone(), (at.0, reminders, failed.map(before).sum())))
        });
        closed.collect()
    }
}

#[test]
fn the_order_logs_end_as_an_independent_computation_says() {
    for log in logs() {
        let folder = TempDir::new().expect("a folder");
        let ended = backtest(folder.path(), "order-fulfilment", &log, &["--json"]).with(0);
        let rows = rows(&ended.output);
        let orders = Orders::of(&log);
        let expected = orders.closed();
        let closed: BTreeMap<String, (u64, usize, usize)> = of_kind(&rows, "message")
            .into_iter()
            .filter(|row| row["type"] == "CloseOrder")
            .map(|row| {
                let count = |name: &str| {
                    usize::try_from(row["data"][name].as_u64().expect("a count")).expect("small")
                };
                let at = millis(&json!({"time": row["at"]}));
                let key = row["key"].as_str().expect("a key").to_owned();
                (key, (at, count("reminders"), count("failedDeliveries")))
            })
            .collect();
        assert_eq!(closed, expected);
        assert!(!closed.is_empty());

        // Each instance began with its order, and ended when it was closed.
        let instances = of_kind(&rows, "instance");
        assert_eq!(instances.len(), orders.placed.len());
        for instance in instances {
            let key = instance["key"].as_str().expect("a key");
            assert_eq!(instance["started_at"], time(orders.placed[key].0.0));
            let end = expected.get(key);
            assert_eq!(instance["end"], if end.is_some() { "completed" } else { "open" });
            assert_eq!(instance["ended_at"].as_str(), end.map(|(at, ..)| time(*at)).as_deref());
        }
        let summary = rows.last().expect("the summary");
        assert_eq!(summary["events"]["arrived"], log.len());
        assert_eq!(summary["plugins"][0]["instances"]["completed"], expected.len());
        assert_eq!(summary["plugins"][0]["dead_letters"], 0);
    }
}

/// Whatever comes within the time for which the plugin holds events, in whatever order: the same
/// orders are closed, each once.
#[test]
fn the_order_logs_end_the_same_shuffled_and_late() {
    for log in logs() {
        let folder = TempDir::new().expect("a folder");
        let ends = |more: &[&str]| {
            let arguments = [more, &["--json"]].concat();
            let ended = backtest(folder.path(), "order-fulfilment", &log, &arguments).with(0);
            let rows = rows(&ended.output);
            let ends: BTreeMap<String, String> = of_kind(&rows, "instance")
                .into_iter()
                .map(|row| (row["key"].to_string(), row["end"].to_string()))
                .collect();
            let messages = of_kind(&rows, "message").into_iter();
            let closed = messages.filter(|row| row["type"] == "CloseOrder").count();
            let late = rows.last().expect("the summary")["events"]["late"].as_u64();
            (ends, closed, late.expect("a count"))
        };
        let (plain, closed, late) = ends(&[]);
        assert_eq!(late, 0);
        let shuffled = ends(&["--shuffle", "7", "--within", "4m"]);
        assert_eq!((&shuffled.0, shuffled.1), (&plain, closed));
        assert!(shuffled.2 > 0);
        let late = ends(&["--late", "20%:4m"]);
        assert_eq!((&late.0, late.1), (&plain, closed));
        assert!(late.2 > 0 && late.2 < shuffled.2, "{} {}", late.2, shuffled.2);
    }
}

// ---- made-up years with timers ------------------------------------------------------------

/// A group, and what became of each stay, and when; nothing, if none came.
struct Group {
    id: String,
    begins: u64,
    stays: Vec<(String, Option<(u64, bool)>)>,
}

fn groups(random: &mut StdRng, count: usize, deadline: u64) -> Vec<Group> {
    let group = |number: usize| {
        let begins = START + random.random_range(0..3_650 * DAY);
        let stays = (0..random.random_range(1..=3)).map(|stay| {
            let after = match random.random_range(0..10) {
                0 => return (format!("s-{number}-{stay}"), None),
                // At the very time of the deadline: the timer is first.
                1 => deadline,
                2 => deadline - 1,
                3 => deadline + 1,
                _ => random.random_range(1..2 * deadline),
            };
            let completed = random.random_range(0..4) > 0;
            (format!("s-{number}-{stay}"), Some((begins + after, completed)))
        });
        Group { id: format!("g-{number}"), begins, stays: stays.collect() }
    };
    (0..count).map(group).collect()
}

fn log_of(groups: &[Group], random: &mut StdRng) -> Vec<Value> {
    let event = |id: String, kind: &str, at: u64, data: Value| json!({"specversion": "1.0", "id": id, "source": "/hotel", "type": kind, "time": time(at), "data": data});
    let mut log = Vec::new();
    for Group { id, begins, stays } in groups {
        let ids: Vec<&String> = stays.iter().map(|(stay, _)| stay).collect();
        let data = json!({"groupCheckoutId": id, "guestStayIds": ids});
        log.push(event(id.clone(), "GroupCheckoutInitiated", *begins, data));
        for (stay, outcome) in stays {
            let Some((at, completed)) = outcome else { continue };
            let kind = if *completed { "GuestCheckoutCompleted" } else { "GuestCheckoutFailed" };
            let data = json!({"groupCheckoutId": id, "guestStayId": stay});
            log.push(event(stay.clone(), kind, *at, data));
        }
    }
    // In the file they stand in no order.
    log.shuffle(random);
    log
}

/// What each group comes to: when, and the message; and when its timer fires, if it does.
fn outcome(group: &Group, deadline: u64) -> (u64, Value, Option<u64>) {
    let due = group.begins + deadline;
    let in_time = |stay: &&(String, Option<(u64, bool)>)| stay.1.is_some_and(|(at, _)| at < due);
    let of = |wanted: bool| -> Vec<&String> {
        let own = group.stays.iter().filter(in_time);
        own.filter(|(_, outcome)| outcome.is_some_and(|(_, done)| done == wanted))
            .map(|(stay, _)| stay)
            .collect()
    };
    let late: Vec<&String> =
        group.stays.iter().filter(|stay| !in_time(stay)).map(|(stay, _)| stay).collect();
    let last = group.stays.iter().filter_map(|(_, outcome)| Some(outcome.as_ref()?.0)).max();
    let at = if late.is_empty() { last.expect("a stay") } else { due };
    let id = &group.id;
    let data = match (of(false).is_empty(), late.is_empty()) {
        (true, true) => json!({"groupCheckoutId": id}),
        _ => {
            json!({"groupCheckoutId": id, "failedGuestIds": of(false), "timedOutGuestIds": late})
        }
    };
    (at, data, (!late.is_empty()).then_some(due))
}

#[test]
fn timers_fire_exactly_when_they_are_due_between_the_events_of_ten_years() {
    for (seed, deadline) in [(1, DAY), (2, 90 * DAY), (3, 1_000)] {
        let mut random = StdRng::seed_from_u64(seed);
        let groups = groups(&mut random, 300, deadline);
        let log = log_of(&groups, &mut random);
        let folder = TempDir::new().expect("a folder");
        let toml = format!("[plugin.group-checkout]\ndeadline_seconds = {}\n", deadline / 1_000);
        std::fs::write(folder.path().join("sagabox.toml"), toml).expect("a file");
        let arguments = ["--json", "--until", "400d"];
        let ended = backtest(folder.path(), "group-checkout", &log, &arguments).with(0);
        let rows = rows(&ended.output);
        let mut sent: BTreeMap<String, (u64, Value)> = BTreeMap::new();
        for row in of_kind(&rows, "message") {
            if row["type"] != "CheckoutGuestAccount" {
                let at = millis(&json!({"time": row["at"]}));
                let before = sent.insert(
                    row["key"].as_str().expect("a key").to_owned(),
                    (at, row["data"].clone()),
                );
                assert_eq!(before, None, "one message ends a group: {row}");
            }
        }
        let fired: BTreeMap<String, u64> = of_kind(&rows, "timer")
            .into_iter()
            .map(|row| {
                assert_eq!((&row["name"], &row["result"]), (&json!("deadline"), &json!("fired")));
                (
                    row["key"].as_str().expect("a key").to_owned(),
                    millis(&json!({"time": row["at"]})),
                )
            })
            .collect();
        let mut timers = BTreeMap::new();
        for group in &groups {
            let (at, data, due) = outcome(group, deadline);
            assert_eq!(sent.remove(&group.id), Some((at, data)), "{}", group.id);
            timers.extend(due.map(|due| (group.id.clone(), due)));
        }
        assert!(sent.is_empty(), "{sent:?}");
        assert_eq!(fired, timers);
        assert!(timers.len() > 20 && timers.len() < groups.len(), "{}", timers.len());
    }
}
