//! Plants mistakes in a copy of the engine, one by one, and shows which of its tests catch
//! each. Arguments select those whose names contain one of them.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use sagabox_tests::mutants::{Lab, MUTATIONS, MutantOutcome, Mutation};
use sagabox_tests::paths;

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(survivors) => {
            eprintln!("mutants: {survivors} survived: the tests do not see what they break");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("mutants: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<usize> {
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
    let mut survivors = 0;
    for mutation in mutations {
        let start = Instant::now();
        let outcome = lab.examine(mutation).map_err(|error| error.context(mutation.name))?;
        let (by, reason) = match outcome {
            MutantOutcome::Caught { tests, reason } => (tests.join(", "), reason),
            MutantOutcome::Survived => {
                survivors += 1;
                ("**no test**".to_owned(), String::new())
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        println!("| {} | {by} | {} | {seconds:.0} |", mutation.name, reason.replace('|', "\\|"));
    }
    Ok(survivors)
}
