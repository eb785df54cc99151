//! The example's converter, run as a newcomer runs it.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use sagabox_tests::{events, paths};
use serde_json::json;

const HEADER: &str = "ocel:eid,ocel:activity,ocel:timestamp,ocel:type:customers,ocel:type:items,\
    ocel:type:orders,ocel:type:packages,ocel:type:products,weight,price";

fn convert(csv: &str) -> Output {
    let script = paths::example("order-management").join("to-cloudevents");
    let mut child = Command::new(script)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the script starts");
    child.stdin.take().expect("a pipe").write_all(csv.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[track_caller]
fn check_refused(rows: &str, line: usize, reason: &str) {
    let output = convert(&format!("{HEADER}\n{rows}"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    let expected = format!("line {line}: {reason}");
    assert!(error.contains(&expected), "`{expected}` is not in `{error}`");
}

#[test]
fn a_row_becomes_an_event() {
    let row =
        "1.0,place \"order\",2019-05-20 07:07:47.000Z, ,\"['a','b']\",\"['o\"\"1']\", , ,3.52,";
    let row = row.replace("place \"order\"", "\"place \"\"it\"\", now\"");
    let output = convert(&format!("{HEADER}\r\n{row}\r\n"));
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    let event: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let expected = json!({
        "specversion": "1.0",
        "id": "1.0",
        "source": "/order-management",
        "type": "place \"it\", now",
        "subject": "o\"1",
        "time": "2019-05-20T07:07:47.000Z",
        "datacontenttype": "application/json",
        "data": {
            "orders": ["o\"1"], "packages": [], "items": ["a", "b"],
            "customers": [], "products": [], "weight": 3.52,
        },
    });
    assert_eq!(event, expected);
}

#[test]
fn a_row_that_cannot_be_converted_is_named_by_its_line() {
    let time = "2019-05-20 07:07:47.000Z";
    check_refused("1,x\n", 2, "has 2 fields, the header has 10");
    check_refused(&format!("1,x,{time},,\"['a]\",,,,1,2\n"), 2, "ocel:type:items: a name");
    check_refused(&format!("1,x,{time},,a,,,,1,2\n"), 2, "ocel:type:items: `a` is not a list");
    check_refused(&format!("1,x,{time},,,,,,heavy,2\n"), 2, "weight: `heavy` is not a number");
    check_refused("1,x,2019,,,,,,1,2\n", 2, "ocel:timestamp `2019` is not a time");
    check_refused(&format!("1,\"x,{time},,,,,,1,2\n"), 2, "a quoted field does not end");
    let row = format!("1,x,{time},,,,,,1,2\n");
    check_refused(&format!("{row}{row}"), 3, "ocel:eid 1 stands already in line 2");
    assert_eq!(convert("").status.code(), Some(1));
}

#[test]
fn the_events_of_the_example_are_those_of_its_log() {
    let example = paths::example("order-management");
    let converted = events::from_csv(&example.join("orders.csv")).expect("the log converts");
    let kept = events::read_ndjson(&example.join("events.ndjson")).expect("the events");
    assert_eq!(converted, kept, "run to-cloudevents orders.csv > events.ndjson");
}

#[test]
fn the_public_log_converts_completely() {
    let Some(log) = paths::order_log() else { return };
    let events = events::from_csv(&log).expect("the log converts");
    assert_eq!(events.len(), 22_367);
}
