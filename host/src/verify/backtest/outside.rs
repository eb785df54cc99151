//! What is outside of the host in a backtest: the answers to questions and to commands. A file says
//! them as a simulation does. A command without an answer stays recorded in the host's own queue.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use async_trait::async_trait;
use sagabox_engine::model::{AnswerValue, Event, Manifest, Message, PluginName, Timestamp};
use sagabox_engine::seams::lookup::{Lookup, Unanswered};
use sagabox_engine::seams::transport::{DeliveryError, Transport};
use sagabox_engine::sim::Timeline;
use serde::Deserialize;
use tokio::sync::Notify;

use crate::decisions::json::from_yaml;
use crate::io::files;
use crate::io::locks::lock;
use crate::verify::simulation::{
    Answers, Choices, Lookups, Reaction, WrittenAnswer, fit_answers, fit_lookups, look_up,
};

/// The source of what answers a command.
const SOURCE: &str = "/backtest";
/// More answers at one time never end: each leads to a command that is answered at once.
const AT_ONE_TIME_MAX: u64 = 100_000;

/// What a file says of the outside.
#[derive(Clone, Debug, Default)]
pub struct Outside {
    pub(super) lookups: Lookups,
    pub(super) answers: Answers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    lookups: Lookups,
    #[serde(default)]
    answers: BTreeMap<String, Vec<WrittenAnswer>>,
}

impl Outside {
    /// # Errors
    /// Names the file and what is wrong in it.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = files::text(path, files::TEXT_BYTES_MAX)
            .with_context(|| format!("read the answers {}", path.display()))?;
        let invalid = || format!("the file of answers {} is invalid", path.display());
        let Written { lookups, answers } = from_yaml(&text).with_context(invalid)?;
        let answers = Answers::parse(answers).map_err(anyhow::Error::msg).with_context(invalid)?;
        Ok(Self { lookups, answers })
    }

    /// # Errors
    /// If a name in it is in no manifest, or a lookup of a plugin is not in it.
    pub fn fit(&self, manifests: &[&Manifest]) -> Result<(), String> {
        fit_answers(&self.answers, manifests)?;
        self.fit_lookups(manifests)
    }

    /// # Errors
    /// If a lookup of a plugin is not in it.
    pub fn fit_lookups(&self, manifests: &[&Manifest]) -> Result<(), String> {
        fit_lookups(&self.lookups, manifests)
    }

    /// The types of the commands that something comes of.
    pub(super) fn commands(&self) -> BTreeSet<String> {
        self.answers.commands().cloned().collect()
    }
}

/// The outside while the engine runs.
pub(super) struct World {
    outside: Outside,
    choices: Choices,
    timeline: Timeline,
    answers: Mutex<BTreeMap<(Timestamp, u64), Event>>,
    noted: AtomicU64,
    /// An answer was noted: it may come before all others.
    pub sooner: Notify,
    /// What is wrong with the answers.
    mistake: Mutex<Option<String>>,
    /// When the last answer was noted, and how many were at that time.
    latest: Mutex<(Timestamp, u64)>,
}

impl World {
    pub(super) fn new(outside: &Outside, seed: u64, timeline: &Timeline) -> Arc<Self> {
        Arc::new(Self {
            outside: outside.clone(),
            choices: Choices::new(seed, None),
            timeline: timeline.clone(),
            answers: Mutex::default(),
            noted: AtomicU64::new(0),
            sooner: Notify::new(),
            mistake: Mutex::default(),
            latest: Mutex::default(),
        })
    }

    /// When the next answer comes.
    pub(super) fn next(&self) -> Option<Timestamp> {
        lock(&self.answers).keys().next().map(|(at, _)| *at)
    }

    /// The answers that have come by now.
    pub(super) fn take_due(&self, now: Timestamp) -> Vec<Event> {
        let mut answers = lock(&self.answers);
        let mut due = Vec::new();
        while let Some(first) = answers.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }

    pub(super) fn mistake(&self) -> Option<String> {
        lock(&self.mistake).clone()
    }

    fn take(&self, message: &Message) -> Result<(), DeliveryError> {
        let now = self.timeline.latest();
        match self.outside.answers.react(&self.choices, SOURCE, message, now) {
            Ok(Reaction::Nothing) => Ok(()),
            Ok(Reaction::Refused(reason)) => Err(DeliveryError::Permanent(reason)),
            Ok(Reaction::Events(events)) => {
                for (_, at, event) in events {
                    let number = self.noted.fetch_add(1, Ordering::Relaxed);
                    lock(&self.answers).insert((at, number), event);
                }
                self.bound(now);
                self.sooner.notify_one();
                Ok(())
            }
            Err(why) => {
                self.fail(why);
                Ok(())
            }
        }
    }

    fn bound(&self, now: Timestamp) {
        let mut latest = lock(&self.latest);
        *latest = if latest.0 == now { (now, latest.1 + 1) } else { (now, 1) };
        if latest.1 > AT_ONE_TIME_MAX {
            self.fail(format!(
                "more than {AT_ONE_TIME_MAX} commands are answered at {}: give the answers an `after`",
                now.to_rfc3339()
            ));
        }
    }

    fn fail(&self, why: String) {
        lock(&self.mistake).get_or_insert(why);
        self.sooner.notify_one();
    }
}

#[async_trait]
impl Lookup for World {
    async fn ask(&self, _: &PluginName, name: &str, key: &str) -> Result<AnswerValue, Unanswered> {
        look_up(&self.outside.lookups, name, key)
    }
}

#[async_trait]
impl Transport for World {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        messages.iter().map(|message| self.take(message)).collect()
    }

    fn batch_max(&self) -> usize {
        1_000
    }
}
