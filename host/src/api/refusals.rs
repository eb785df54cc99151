//! Refusals on their way to the audit log. Clients that are refused can be many and quick, so
//! equal refusals within a minute are one entry with a count, and the entries of a minute are limited.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use crate::access::AuditEntry;
use crate::store::query::access::AccessRecords;

/// Who asks when that is not known.
pub(super) const UNKNOWN: &str = "unknown";
/// Refusals that wait for the store.
const WAITING_MAX: usize = 1000;
/// Different refusals of one minute. The rest of them are counted as one.
const ENTRIES_MAX: usize = 100;
/// How long equal refusals are one entry.
const SPAN: Duration = Duration::from_mins(1);
/// How often counts are written.
const STEP: Duration = Duration::from_secs(5);

/// Starts the task that writes refusals. It ends when the last sender is dropped.
pub(super) fn keep(records: Arc<dyn AccessRecords>) -> mpsc::Sender<AuditEntry> {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(run(receiver, records));
    sender
}

async fn run(mut receiver: mpsc::Receiver<AuditEntry>, records: Arc<dyn AccessRecords>) {
    let mut noted = Noted { records, entries: HashMap::new() };
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            entry = receiver.recv() => match entry {
                Some(entry) => noted.note(entry).await,
                None => break,
            },
            _ = ticks.tick() => noted.write().await,
        }
    }
    noted.write().await;
}

/// The members by which refusals are distinguished: who, from where, what, and with which status.
type Kind = (String, String, String, Option<u16>);

struct Noted {
    records: Arc<dyn AccessRecords>,
    entries: HashMap<Kind, Counted>,
}

struct Counted {
    id: u64,
    further: u64,
    since: Instant,
}

impl Noted {
    async fn note(&mut self, entry: AuditEntry) {
        let AuditEntry { who, origin, action, status, .. } = entry.clone();
        let mut entry = entry;
        let mut kind = (who, origin, action, status);
        if !self.entries.contains_key(&kind) && self.entries.len() >= ENTRIES_MAX {
            "several".clone_into(&mut entry.origin);
            "several".clone_into(&mut entry.action);
            kind = (String::new(), entry.origin.clone(), entry.action.clone(), None);
        }
        if let Some(counted) = self.entries.get_mut(&kind) {
            counted.further += 1;
            return;
        }
        match self.records.add_audit(&entry).await {
            Ok(id) => {
                let counted = Counted { id, further: 0, since: Instant::now() };
                self.entries.insert(kind, counted);
            }
            Err(error) => tracing::warn!(%error, "a refusal is not in the audit log"),
        }
    }

    async fn write(&mut self) {
        for counted in self.entries.values_mut().filter(|counted| counted.further > 0) {
            match self.records.count_audit(counted.id, counted.further).await {
                Ok(()) => counted.further = 0,
                Err(error) => {
                    tracing::warn!(%error, "refusals are not in the audit log");
                    return;
                }
            }
        }
        self.entries.retain(|_, counted| counted.since.elapsed() < SPAN);
    }
}
