//! On what was measured: without it no figure means anything.

use std::io::Write as _;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::report::{millis, percentile};

/// Enough for a median; a second even on slow disks.
const SYNCS: usize = 100;

/// # Errors
/// If nothing can be written to the folder for temporary files.
pub fn describe() -> Result<String> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory, load) = (read("/proc/cpuinfo"), read("/proc/meminfo"), read("/proc/loadavg"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let unknown = || "unknown".to_owned();
    let loads: Vec<&str> = load.split(' ').take(3).collect();
    Ok(format!(
        "{} {}, {cores} cores ({}), memory {}, load before the start {}; a write of 4 KiB and \
         fdatasync takes {} ms (median of {SYNCS}); the load generator runs on the same machine",
        std::env::consts::OS,
        std::env::consts::ARCH,
        field(&cpu, "model name").unwrap_or_else(unknown),
        field(&memory, "MemTotal").unwrap_or_else(unknown),
        loads.join(" "),
        millis(sync_time()?),
    ))
}

fn sync_time() -> Result<Duration> {
    let mut file = tempfile::tempfile()?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(percentile(&mut times, 500))
}
