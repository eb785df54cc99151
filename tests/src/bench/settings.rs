//! What can be set, and to what. A moderate set is the default, `--full` the whole.

use anyhow::{Context as _, Result, bail, ensure};

/// The scenarios, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    Saga,
    ProcessManager,
    Senders,
    OneSender,
    Steady,
    Looping,
    Candidates,
    Backtest,
    Fields,
    Flat,
    Identities,
    Languages,
    Versions,
    Traces,
    Pages,
}

const SCENARIOS: [(Scenario, &str); 15] = [
    (Scenario::Saga, "saga"),
    (Scenario::ProcessManager, "process-manager"),
    (Scenario::Senders, "senders"),
    (Scenario::OneSender, "one-sender"),
    (Scenario::Steady, "steady"),
    (Scenario::Looping, "looping"),
    (Scenario::Candidates, "candidates"),
    (Scenario::Backtest, "backtest"),
    (Scenario::Fields, "fields"),
    (Scenario::Flat, "flat"),
    (Scenario::Identities, "identities"),
    (Scenario::Languages, "languages"),
    (Scenario::Versions, "versions"),
    (Scenario::Traces, "traces"),
    (Scenario::Pages, "pages"),
];

#[derive(Clone, Debug)]
pub struct Settings {
    pub scenarios: Vec<Scenario>,
    pub rounds: usize,
    pub events: usize,
    pub batch: usize,
    pub connections: usize,
    pub workers: usize,
    pub senders: usize,
    pub sender_events: usize,
    pub samples: usize,
    pub rate: usize,
    pub seconds: usize,
    pub loop_ms: usize,
    pub log: usize,
    pub instances: usize,
    pub identities: usize,
    pub listed: usize,
    pub dead_letters: usize,
    pub asks: usize,
}

pub const USAGE: &str = "usage: bench [SCENARIO…] [--full] [--OPTION N…]

scenarios; all of them, unless some are named:
  saga             events in batches over HTTP, a stateless saga, one command each, acknowledged
  process-manager  the same with instances whose state is written by every event
  senders          one event a request, from many senders at once
  one-sender       one event at a time: from the request to the leased command
  steady           a fixed rate, one by one: latencies
  looping          a plugin beside one of whose calls one in a hundred never returns
  candidates       saga and process-manager beside a shadow, and a replay of all of it
  backtest         a process manager with timers on a log of the past
  fields           a process manager that declares no fields, and three
  flat             throughput, memory and start on a store that is full already
  identities       saga on a store that remembers the identities of many earlier events
  languages        the same saga in every language, and all of them in one host; only if it is named
  versions         this binary beside the one that SAGABOX_BESIDE names, in turns; only if it is named
  traces           one event in a hundred traced, beside no traces, in turns
  pages            pages and lists on a store with many instances and dead letters, and the throughput
                   beside ten open pages; only if it is named

options, with their default, and the one of --full:
  --rounds         how often everything is measured; the median counts (3, 5)
  --events         events of a round of the scenarios that send batches, and of the log of backtest
                   (100000, 1000000)
  --batch          events of one request, and of a transaction written by hand (500)
  --connections    requests under way at a time in the scenarios that send batches (4)
  --workers        workers of each queue, who lease and acknowledge (2)
  --senders        senders of the scenario senders (256)
  --sender-events  events of a round of senders (20000, 200000)
  --samples        events of a round of one-sender (500, 5000)
  --rate           events a second in steady and looping (1000)
  --seconds        of a round of steady and looping (10, 60)
  --loop-ms        until a call that loops is stopped, in looping (100)
  --log            events that fill the log in flat (200000, 10000000)
  --instances      running instances among them (50000, 1000000)
  --identities     of earlier events, in identities (20000000, 262144000)
  --listed         instances of one plugin, in pages (1000000)
  --dead-letters   in pages (100000)
  --asks           how often each page is asked for, in pages (200)";

impl Scenario {
    /// Than what every machine has: a second binary, the tools of other languages, or some gigabytes
    /// of disk.
    fn needs_more(self) -> bool {
        matches!(self, Self::Versions | Self::Languages | Self::Pages)
    }
}

impl Settings {
    fn usual() -> Self {
        Self {
            scenarios: Vec::new(),
            rounds: 3,
            events: 100_000,
            batch: 500,
            connections: 4,
            workers: 2,
            senders: 256,
            sender_events: 20_000,
            samples: 500,
            rate: 1_000,
            seconds: 10,
            loop_ms: 100,
            log: 200_000,
            instances: 50_000,
            identities: 20_000_000,
            listed: 1_000_000,
            dead_letters: 100_000,
            asks: 200,
        }
    }

    fn full() -> Self {
        Self {
            rounds: 5,
            events: 1_000_000,
            sender_events: 200_000,
            samples: 5_000,
            seconds: 60,
            log: 10_000_000,
            instances: 1_000_000,
            identities: 262_144_000,
            ..Self::usual()
        }
    }

    /// # Errors
    /// If an argument is not understood, with the usage.
    pub fn parse(arguments: &[String]) -> Result<Self> {
        let full = arguments.iter().any(|argument| argument == "--full");
        let mut settings = if full { Self::full() } else { Self::usual() };
        let mut arguments = arguments.iter().filter(|argument| *argument != "--full");
        while let Some(name) = arguments.next() {
            if let Some((scenario, _)) = SCENARIOS.iter().find(|(_, known)| known == name) {
                settings.scenarios.push(*scenario);
                continue;
            }
            let Some(option) = name.strip_prefix("--").and_then(|name| settings.option(name))
            else {
                bail!("`{name}` is not known\n\n{USAGE}");
            };
            let value = arguments.next().with_context(|| format!("{name} needs a number"))?;
            *option = value.parse().with_context(|| format!("{name} {value}"))?;
            ensure!(*option > 0, "{name} must be at least 1");
        }
        if settings.scenarios.is_empty() {
            let all = SCENARIOS.iter().map(|(scenario, _)| *scenario);
            settings.scenarios = all.filter(|scenario| !scenario.needs_more()).collect();
        }
        ensure!(settings.instances <= settings.log, "--instances are among the events of --log");
        Ok(settings)
    }

    fn option(&mut self, name: &str) -> Option<&mut usize> {
        Some(match name {
            "rounds" => &mut self.rounds,
            "events" => &mut self.events,
            "batch" => &mut self.batch,
            "connections" => &mut self.connections,
            "workers" => &mut self.workers,
            "senders" => &mut self.senders,
            "sender-events" => &mut self.sender_events,
            "samples" => &mut self.samples,
            "rate" => &mut self.rate,
            "seconds" => &mut self.seconds,
            "loop-ms" => &mut self.loop_ms,
            "log" => &mut self.log,
            "instances" => &mut self.instances,
            "identities" => &mut self.identities,
            "listed" => &mut self.listed,
            "dead-letters" => &mut self.dead_letters,
            "asks" => &mut self.asks,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Settings> {
        let arguments: Vec<String> = line.split_ascii_whitespace().map(str::to_owned).collect();
        Settings::parse(&arguments)
    }

    #[test]
    fn options_stand_above_full_and_full_above_the_usual() {
        let settings = parse("saga --events 7 flat --full").unwrap();
        assert_eq!(settings.scenarios, [Scenario::Saga, Scenario::Flat]);
        assert_eq!((settings.events, settings.rounds, settings.batch), (7, 5, 500));
        let all = parse("").unwrap().scenarios;
        assert_eq!(all.len(), SCENARIOS.len() - 3);
        assert!(!all.iter().any(|scenario| scenario.needs_more()), "{all:?}");
        assert_eq!(parse("versions").unwrap().scenarios, [Scenario::Versions]);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in ["sagas", "--event 7", "--events", "--events 0", "--events x", "--log 3"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_usage_names_every_option() {
        let mut settings = Settings::usual();
        let named = USAGE.lines().filter_map(|line| line.trim().strip_prefix("--"));
        let names: Vec<&str> = named.filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(names.len(), 17);
        assert!(names.into_iter().all(|name| settings.option(name).is_some()));
    }
}
