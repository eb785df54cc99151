//! What a running host makes of a candidate that was just put into its directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::api::client::{Client, ClientError};

/// Between two looks. A host looks at its directory four times a second.
const LOOK: Duration = Duration::from_millis(200);

/// What became of the candidate.
pub(crate) enum Admission {
    /// It is tried now, or serves its share.
    Tried,
    /// The host refused it.
    Refused(String),
    /// No host answers, or another one.
    NoHost(String),
    /// The host has not decided in time.
    Late,
}

/// As much of `GET /plugins` as says how it is with a candidate.
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
    refused_at: u64,
    reason: String,
}

/// A host, as it was before the candidate was put into its directory.
pub(crate) struct Before {
    client: Client,
    found: Result<Plugins, String>,
}

/// What to look for.
pub(crate) struct Sought<'s> {
    pub digest: &'s str,
    /// `shadow` or `canary`.
    pub kind: &'s str,
    /// A canary's, in percent.
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

    /// Waits for the host's admission.
    ///
    /// # Errors
    /// If the host ends meanwhile, or does not answer as one.
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
            if let Some(refused) = news(&before.refused, &now.refused, sought.digest) {
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

/// A refusal of this file that was not there before.
fn news<'n>(before: &[Refused], now: &'n [Refused], digest: &str) -> Option<&'n Refused> {
    now.iter().find(|refused| refused.digest == digest && !before.contains(refused))
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
