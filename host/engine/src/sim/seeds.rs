//! Runs a simulated world for many seeds. A failure names its seed and the command that runs this
//! seed again.

/// Runs seeds 1 to `count` and returns the results. The environment can name another first seed
/// (`SAGABOX_SIM_SEED`) and another number of seeds (`SAGABOX_SIM_SEEDS`). `filter` selects the
/// test on the command line.
///
/// # Panics
/// If a seed fails.
#[track_caller]
pub(super) fn run_all<T, O>(count: u64, filter: &str, run: impl Fn(u64) -> Result<T, String>) -> O
where
    O: FromIterator<T>,
{
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first: u64 = number("SAGABOX_SIM_SEED").unwrap_or(1);
    let count: u64 = number("SAGABOX_SIM_SEEDS").unwrap_or(count);
    let results = (first..first + count).map(|seed| match run(seed) {
        Ok(result) => result,
        Err(reason) => panic!(
            "seed {seed}: {reason}\n\
             again: SAGABOX_SIM_SEED={seed} SAGABOX_SIM_SEEDS=1 cargo test -p sagabox-engine {filter}"
        ),
    });
    results.collect()
}
