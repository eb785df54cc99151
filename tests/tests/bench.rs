//! The benchmarks run, so that they cannot rot. How fast is not asked here.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().expect("the benchmark runs")
}

#[track_caller]
fn check_runs(arguments: &str, rows: &[&str]) {
    let output = bench(&arguments.split(' ').collect::<Vec<_>>());
    let (text, error) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments}: {error}");
    for row in rows {
        let found = text.lines().find(|line| line.starts_with(&format!("| {row}")));
        let line = found.unwrap_or_else(|| panic!("no row `{row}` in: {text}"));
        assert!(line.chars().any(|c| ('1'..='9').contains(&c)), "nothing was measured: {line}");
    }
}

const OURS_AND_BY_HAND: [&str; 2] = ["Sagabox", "by hand, a service"];

#[test]
fn throughput_is_measured() {
    let arguments = "saga process-manager --rounds 1 --events 2200 --batch 200";
    check_runs(arguments, &["Sagabox", "by hand, a service", "by hand, in process"]);
}

#[test]
fn senders_and_latencies_are_measured() {
    let arguments = "senders one-sender steady --rounds 1 --senders 8 --sender-events 300 \
        --samples 20 --rate 200 --seconds 1";
    check_runs(&arguments.replace("        ", ""), &OURS_AND_BY_HAND);
}

#[test]
fn a_filled_store_is_measured() {
    let arguments = "flat --rounds 2 --events 200 --log 500 --instances 100";
    let rows = ["saga, filled store", "process manager: events of running", "filled store, just"];
    check_runs(arguments, &rows);
}

/// Left out with the other languages, by its name.
#[test]
fn languages_are_measured() {
    let rows = ["rust", "c ", "cpp", "typescript", "go", "python", "resident memory"];
    check_runs("languages --rounds 1 --events 400 --batch 100", &rows);
}

#[test]
fn what_is_not_understood_is_refused_with_the_usage() {
    let output = bench(&["--evnts", "7"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("`--evnts` is not known") && error.contains("usage: bench"), "{error}");
}
