//! What a running host decides about a candidate that was just put into its directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::api::client::{Client, ClientError};

/// The pause between two requests. A host reads its directory four times a second.
const LOOK: Duration = Duration::from_millis(200);

/// The outcome for the candidate.
pub(crate) enum Admission {
    /// The host runs it as a shadow or a canary.
    Tried,
    /// The host refused it.
    Refused(String),
    /// No host answers, or the host serves another directory. The text says which.
    NoHost(String),
    /// The host did not decide in time.
    Late,
}

/// The parts of `GET /v1/plugins` that concern candidates.
#[derive(Deserialize)]
struct Plugins {
    directory: PathBuf,
    candidates: Vec<Candidate>,
    refused: Vec<Refused>,
}

#[derive(Deserialize)]
struct Candidate {
    kind: String,
    status: String,
    share: Option<f64>,
    digest: String,
}

#[derive(Clone, PartialEq, Deserialize)]
struct Refused {
    digest: String,
    refused_at: String,
    reason: String,
}

/// The state of a host before the candidate was put into its directory.
pub(crate) struct Before {
    client: Client,
    found: Result<Plugins, String>,
}

/// The candidate to find among those of the host.
pub(crate) struct Sought<'s> {
    pub digest: &'s str,
    /// `shadow` or `canary`.
    pub kind: &'s str,
    /// The share of a canary, in percent; none for a shadow.
    pub share: Option<f64>,
}

impl Before {
    pub(crate) async fn look(client: Client, directory: &Path) -> Self {
        let found = match client.get::<Plugins>("/plugins", &[]).await {
            Ok(plugins) if is_same(&plugins.directory, directory) => Ok(plugins),
            Ok(other) => {
                let other = other.directory.display().to_string();
                Err(format!("the host at this address serves another directory, {other}"))
            }
            Err(error) => Err(error.to_string()),
        };
        Self { client, found }
    }

    /// Waits until the host has admitted or refused the candidate.
    ///
    /// # Errors
    /// If the host stops meanwhile, or its answer is not that of a host.
    pub(crate) async fn wait(
        self,
        sought: &Sought<'_>,
        patience: Duration,
    ) -> Result<Admission, ClientError> {
        let before = match self.found {
            Ok(before) => before,
            Err(why) => return Ok(Admission::NoHost(why)),
        };
        let start = Instant::now();
        loop {
            let now: Plugins = self.client.get("/plugins", &[]).await?;
            if let Some(refused) = newly_refused(&before.refused, &now.refused, sought.digest) {
                return Ok(Admission::Refused(refused.reason.clone()));
            }
            if now.candidates.iter().any(|candidate| candidate.is(sought)) {
                return Ok(Admission::Tried);
            }
            if start.elapsed() > patience {
                return Ok(Admission::Late);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Candidate {
    fn is(&self, sought: &Sought<'_>) -> bool {
        let share = |share: Option<f64>| share.unwrap_or_default();
        self.digest == sought.digest
            && self.status == "tried"
            && self.kind == sought.kind
            && (share(self.share) - share(sought.share)).abs() < 1e-9
    }
}

/// The refusal of this file that was not in the list before; none if there is none.
fn newly_refused<'n>(before: &[Refused], now: &'n [Refused], digest: &str) -> Option<&'n Refused> {
    now.iter().find(|refused| refused.digest == digest && !before.contains(refused))
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
