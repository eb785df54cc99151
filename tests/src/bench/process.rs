//! What a process costs, as the kernel counts it (`/proc`): CPU time of each kind of
//! thread, memory, bytes written.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// `USER_HZ`, the unit of times in `/proc`: 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used since its start.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// By the names of its threads, without their numbers.
    pub threads: BTreeMap<String, Duration>,
    /// Sent towards the disk, as far as the kernel shows.
    pub written_bytes: u64,
}

impl Usage {
    /// # Errors
    /// If the process is gone.
    pub fn of(process: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(process.to_string());
        let (_, cpu) = read_stat(&folder.join("stat"))?;
        let mut threads: BTreeMap<String, Duration> = BTreeMap::new();
        for thread in std::fs::read_dir(folder.join("task"))? {
            // A thread may end while we look.
            let Ok((name, cpu)) = read_stat(&thread?.path().join("stat")) else { continue };
            *threads.entry(kind(&name)).or_default() += cpu;
        }
        // Not readable in every container; then it is shown as 0.
        let io = std::fs::read_to_string(folder.join("io")).unwrap_or_default();
        Ok(Self { cpu, threads, written_bytes: number(&io, "write_bytes") })
    }

    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let thread = |(name, cpu): (&String, &Duration)| {
            let before = earlier.threads.get(name).copied().unwrap_or_default();
            (name.clone(), cpu.saturating_sub(before))
        };
        Self {
            cpu: self.cpu.saturating_sub(earlier.cpu),
            threads: self.threads.iter().map(thread).collect(),
            written_bytes: self.written_bytes - earlier.written_bytes,
        }
    }
}

/// Resident memory, now and at its highest, in bytes.
///
/// # Errors
/// If the process is gone.
pub fn memory(process: u32) -> Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    Ok((number(&status, "VmRSS") * 1024, number(&status, "VmHWM") * 1024))
}

/// The name and CPU time of a process or thread.
fn read_stat(path: &Path) -> Result<(String, Duration)> {
    let stat = std::fs::read_to_string(path)?;
    parse_stat(&stat).with_context(|| format!("{}: {stat}", path.display()))
}

/// Source: proc(5): the name stands in parentheses and may contain some; after it, times
/// in user and kernel mode are the 12th and 13th field.
fn parse_stat(stat: &str) -> Option<(String, Duration)> {
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    let mut fields = stat[end + 1..].split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let millis = (user + system) * 1000 / TICKS_PER_SECOND;
    Some((stat[start + 1..end].to_owned(), Duration::from_millis(millis)))
}

/// `shard-1` is one of the `shard`s.
fn kind(thread: &str) -> String {
    thread.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-').to_owned()
}

/// The number behind `name:`, or 0.
fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_gives_name_and_time() {
        let stat = "7 (odd) name-3) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0";
        assert_eq!(parse_stat(stat), Some(("odd) name-3".to_owned(), Duration::from_secs(2))));
        assert_eq!(kind("shard-13"), "shard");
        assert_eq!(kind("tokio-rt-worker"), "tokio-rt-worker");
    }

    #[test]
    fn this_process_uses_memory() {
        let (now, highest) = memory(std::process::id()).unwrap();
        assert!(now > 0 && highest >= now);
        assert!(!Usage::of(std::process::id()).unwrap().threads.is_empty());
    }
}
