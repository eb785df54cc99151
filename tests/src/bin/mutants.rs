//! Plants mistakes in a copy of the engine, one by one, and shows which of its tests catch
//! each. Arguments select those whose names contain one of them.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use sagabox_tests::mutants::{Lab, MUTATIONS, MutantOutcome, Mutation};
use sagabox_tests::paths;

fn main() -> ExitCode {
    match run() {
        Ok(Failures { survived: 0, misfits: 0 }) => ExitCode::SUCCESS,
        Ok(Failures { survived, misfits }) => {
            if survived > 0 {
                eprintln!("mutants: {survived} survived: the tests do not see what they break");
            }
            if misfits > 0 {
                eprintln!("mutants: {misfits} could not be planted: adapt them to the code");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("mutants: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// How many mutations no test caught, and how many no longer fit the code.
#[derive(Default)]
struct Failures {
    survived: usize,
    misfits: usize,
}

fn run() -> Result<Failures> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let is_meant = |mutation: &&Mutation| {
        names.is_empty() || names.iter().any(|name| mutation.name.contains(name.as_str()))
    };
    let mutations: Vec<&Mutation> = MUTATIONS.iter().filter(is_meant).collect();
    ensure!(!mutations.is_empty(), "no mutation has a name like {}", names.join(", "));
    let folder = paths::target().join("mutants");
    let lab = Lab::open(&folder)?;
    lab.check_healthy()?;
    println!("| mutation | caught by | which said | seconds |\n|---|---|---|---:|");
    let mut failures = Failures::default();
    for mutation in mutations {
        let start = Instant::now();
        let (by, reason) = match lab.examine(mutation) {
            Ok(MutantOutcome::Caught { tests, reason }) => (tests.join(", "), reason),
            Ok(MutantOutcome::Survived) => {
                failures.survived += 1;
                ("**no test**".to_owned(), String::new())
            }
            Err(error) => {
                failures.misfits += 1;
                eprintln!("mutants: {}: {error:#}", mutation.name);
                ("**not planted**".to_owned(), "see the error above".to_owned())
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("| {} | {by} | {} | {seconds:.0} |", mutation.name, reason.replace('|', "\\|"));
    }
    Ok(failures)
}
