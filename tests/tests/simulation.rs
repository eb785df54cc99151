//! `sagabox sim`: what an author's plugin must do in every case, and a case in which it does not.

use std::path::{Path, PathBuf};

use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::paths;
use tempfile::TempDir;

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Simulates a plugin of the repository by what is written here.
fn simulate(plugin: &str, simulations: &str, more: &[&str]) -> Ended {
    let folder = folder();
    let file = folder.path().join("simulations.yaml");
    std::fs::write(&file, simulations).expect("a file");
    let component = paths::plugin(plugin);
    let arguments = ["sim", text(&component), "--simulations", text(&file), "--seeds", "20"];
    sagabox(folder.path(), &[&arguments, more].concat())
}

#[test]
fn the_simulation_of_the_example_plugin_holds() {
    let component = paths::plugin("group-checkout");
    let simulations = paths::repository().join("plugins/group-checkout/simulations");
    let arguments = ["sim", text(&component), "--simulations", text(&simulations)];
    let report =
        sagabox(folder().path(), &[&arguments[..], &["--seeds", "50", "--json"]].concat()).with(0);
    let report = &report.json()["simulations"][0];
    assert_eq!(report["failing"], serde_json::Value::Null);
    assert_eq!(report["seeds"], 50);
    // It is no claim about nothing.
    assert_eq!(report["never_seen"], serde_json::json!([]));
    let disturbances = report["disturbances"].as_u64().expect("a count");
    assert!(disturbances > 100, "{report}");
}

/// A process that is not complete when it should be: it is cancelled though it was paid.
fn forgetful_plugin(folder: &Path) -> PathBuf {
    let sdk = paths::repository().join("guest-sdk/rust");
    let new = ["new", "forgetful", "--role", "process-manager", "--sdk", text(&sdk)];
    let _ = sagabox(folder, &new).with(0);
    let source = folder.join("forgetful/src/lib.rs");
    let right = std::fs::read_to_string(&source).expect("the source");
    let wrong = right.replacen("        ctx.complete();\n", "", 1);
    assert_ne!(right, wrong);
    std::fs::write(&source, wrong).expect("a file");
    let target = paths::target().join("plugins-build");
    let build = ["build", "forgetful", "--out", "built", "--target", text(&target)];
    let _ = sagabox(folder, &build).with(0);
    folder.join("built/forgetful.wasm")
}

#[test]
fn a_planted_mistake_is_found_shrunk_repeated_and_made_a_scenario() {
    let folder = folder();
    let component = forgetful_plugin(folder.path());
    // The build brought the simulation of the project beside the component.
    let run = |more: &[&str]| sagabox(folder.path(), &[&["sim", text(&component)], more].concat());
    let found = run(&["--scenario", "found.yaml"]).with(1);
    let found = found
        .saying("FAILED an order is shipped or cancelled, and never both: exactly 1 of ShipOrder or CancelOrder")
        .saying("there are 2 of ShipOrder or CancelOrder")
        .saying("sends ShipOrder {\"orderId\":\"o-1\"}")
        .saying("1 of 1 simulations fail");
    // That an order is placed and paid is all that it takes.
    assert!(!found.output.contains('!'), "a fault is left: {}", found.output);
    assert!(!found.output.contains("o-2"), "a case is left: {}", found.output);

    let report = run(&["--json"]).with(1).json();
    let failing = &report["simulations"][0]["failing"];
    assert_eq!(failing["choices"]["after"], 2, "{failing}");
    let seed = failing["seed"].to_string();
    let again = run(&["--seed", &seed, "--json"]).with(1).json();
    assert_eq!(&again["simulations"][0]["failing"], failing);

    let played = ["test", text(&component), "--scenarios", "found.yaml"];
    let _ = sagabox(folder.path(), &played).with(0).saying("1 passed, 0 failed");
    let scenario = std::fs::read_to_string(folder.path().join("found.yaml")).expect("a file");
    assert!(scenario.contains(&format!("seed {seed}")), "{scenario}");
}

#[test]
fn what_is_needed_to_break_it_is_left() {
    // It takes the group, an outcome, and the same once more: duplicates and faults change nothing.
    let simulations = "
- simulation: a stay has one outcome
  events:
    - {type: GroupCheckoutInitiated, data: {groupCheckoutId: g-$case, guestStayIds: [a, b]}}
    - {type: GuestCheckoutCompleted, data: {groupCheckoutId: g-$case, guestStayId: a}, again: 50%}
  invariants:
    - {at_most_one: GuestCheckoutCompleted}
";
    let report = simulate("group-checkout", simulations, &["--json"]).with(1).json();
    let failing = &report["simulations"][0]["failing"];
    assert_eq!(failing["choices"]["after"], 3, "{failing}");
    assert!(failing["choices"]["before"].as_u64() > Some(5), "{failing}");
}

#[test]
fn a_crash_alone_breaks_nothing() {
    let simulations = "
- simulation: the host dies again and again
  events:
    - {type: GroupCheckoutInitiated, data: {groupCheckoutId: g-$case, guestStayIds: [a, b]}}
  answers:
    CheckoutGuestAccount:
      - {type: GuestCheckoutCompleted,
         data: {groupCheckoutId: $/groupCheckoutId, guestStayId: $/guestStayId}}
  disturbances: {crashes: 40, commits: 30, duplicates: 50, deliveries: 50}
  invariants:
    - exactly_one: CompleteGroupCheckout
    - compare: [{count: GuestCheckoutCompleted}, '==', 2]
";
    let _ = simulate("group-checkout", simulations, &[]).with(0).saying("ok     the host dies");
}

#[test]
fn an_event_that_fails_for_good_breaks_a_run_unless_it_may() {
    let event = "{type: GroupCheckoutInitiated, data: {groupCheckoutId: g-1}}";
    let strict = format!("- simulation: s\n  cases: 1\n  events: [{event}]\n");
    let _ = simulate("group-checkout", &strict, &[])
        .with(1)
        .saying("FAILED s: no event fails for good")
        .saying("guestStayIds");
    let _ = simulate("group-checkout", &format!("{strict}  may_fail: true\n"), &[]).with(0);
}

#[test]
fn what_is_wrong_with_a_simulation_is_said() {
    let wrong = |rest: &str, expected: &str| {
        let simulation = format!("- simulation: s\n  events: [{rest}]\n");
        let _ = simulate("group-checkout", &simulation, &[])
            .with(2)
            .saying("simulations.yaml")
            .saying(expected);
    };
    wrong("{type: GroupInitiated}", "no plugin here subscribes to `GroupInitiated`; known are");
    wrong("{type: GroupCheckoutInitiated, data: $order}", "nothing is drawn as `$order`");
    wrong("{typ: GroupCheckoutInitiated}", "typ");
    let lookup = "- simulation: s\n  events: [{type: PaymentCompleted}]\n";
    let _ = simulate("shipment", lookup, &[]).with(2).saying("add the answers of `stock`");
    let nothing = "- simulation: s\n  events: [{type: GroupCheckoutInitiated}]\n";
    let none = simulate("group-checkout", nothing, &["--filter", "no such name"]);
    let _ = none.with(2).saying("nothing was simulated");
    let nowhere = sagabox(folder().path(), &["sim", text(&paths::plugin("shipment"))]);
    let _ = nowhere.with(2).saying("--simulations");
}

/// Events of a log arrive at their own times; of a run that fails, those are left that it takes.
#[test]
fn a_simulation_takes_its_events_from_a_log() {
    let folder = folder();
    let event = |id: u64, kind: &str, at: &str, data: &str| {
        format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/hotel\",\"type\":\"{kind}\",\
             \"time\":\"2024-01-0{at}:00:00Z\",\"data\":{data}}}\n"
        )
    };
    let mut log = String::new();
    for group in 1..=3 {
        let stays = format!("{{\"groupCheckoutId\":\"g-{group}\",\"guestStayIds\":[\"a\"]}}");
        let outcome = format!("{{\"groupCheckoutId\":\"g-{group}\",\"guestStayId\":\"a\"}}");
        log += &event(group, "GroupCheckoutInitiated", &format!("{group}T10"), &stays);
        let kind = if group == 2 { "GuestCheckoutFailed" } else { "GuestCheckoutCompleted" };
        log += &event(10 + group, kind, &format!("{group}T11"), &outcome);
    }
    std::fs::write(folder.path().join("log.ndjson"), log).expect("a file");
    let run = |invariant: &str, more: &[&str]| {
        let simulation = format!(
            "- simulation: history\n  log: log.ndjson\n  invariants: [{{ends: true}}, {invariant}]\n"
        );
        std::fs::write(folder.path().join("s.yaml"), simulation).expect("a file");
        let component = paths::plugin("group-checkout");
        let arguments =
            ["sim", text(&component), "--simulations", "s.yaml", "--seeds", "20", "--json"];
        sagabox(folder.path(), &[&arguments, more].concat())
    };
    let _ = run("{at_most_one: [CompleteGroupCheckout, NotifyGroupCheckoutFailure]}", &[]).with(0);
    let report = run("{exactly_one: CompleteGroupCheckout}", &[]).with(1).json();
    let failing = &report["simulations"][0]["failing"];
    // The group whose guest failed, and no other, at its own time.
    let history = failing["history"].to_string();
    assert!(
        history.contains("g-2") && !history.contains("g-1") && !history.contains("g-3"),
        "{history}"
    );
    assert!(history.contains("+24h"), "{history}");
}
