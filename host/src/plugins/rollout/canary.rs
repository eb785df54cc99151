//! A candidate that serves a share of the keys: its calls are counted, and too many failures are
//! reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use bytes::Bytes;
use sagabox_engine::model::{Failure, Manifest, State};
use sagabox_engine::seams::handler::{Call, Handler, Reply};

use super::tally::{Tally, WINDOW};

/// Called once when the candidate has failed too often, with the reason for people.
pub(crate) type OnFailing = Box<dyn Fn(String) + Send + Sync>;

pub(crate) struct Watched {
    candidate: Arc<dyn Handler>,
    tally: Arc<Tally>,
    failures_max: AtomicU32,
    is_reported: AtomicBool,
    report: OnFailing,
}

impl Watched {
    pub(crate) fn new(
        candidate: Arc<dyn Handler>,
        tally: Arc<Tally>,
        failures_max: u32,
        report: OnFailing,
    ) -> Self {
        let (failures_max, is_reported) = (AtomicU32::new(failures_max), AtomicBool::new(false));
        Self { candidate, tally, failures_max, is_reported, report }
    }

    pub(crate) fn allow(&self, failures_max: u32) {
        self.failures_max.store(failures_max, Ordering::Relaxed);
    }

    fn count(&self, failure: Option<&dyn std::fmt::Display>) {
        let recent = self.tally.call(failure.is_some());
        let max = self.failures_max.load(Ordering::Relaxed);
        let Some(failure) = failure else { return };
        if recent > max as usize && !self.is_reported.swap(true, Ordering::Relaxed) {
            (self.report)(format!(
                "{recent} of its last {WINDOW} calls failed, and failures_max is {max}; the last: {failure}"
            ));
        }
    }
}

impl Handler for Watched {
    fn manifest(&self) -> &Manifest {
        self.candidate.manifest()
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        self.handle_with_log(call).0
    }

    fn handle_with_log(&self, call: &Call) -> (Result<Reply, Failure>, String) {
        // The span distinguishes the candidate's log lines from those of the version that serves.
        let span = tracing::info_span!("canary", version = %self.manifest().version);
        let (reply, log) = span.in_scope(|| self.candidate.handle_with_log(call));
        self.count(reply.as_ref().err().map(|failure| failure as _));
        (reply, log)
    }

    fn migrate(&self, state: &State, to: u32) -> Result<Bytes, String> {
        let migrated = self.candidate.migrate(state, to);
        // A migration that succeeds is followed by its call, which is counted there.
        if let Err(reason) = &migrated {
            self.count(Some(&format!("migrate: {reason}")));
        }
        migrated
    }
}
