//! How an engine ends.

use std::time::Duration;

use super::Engine;

/// How the engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEnd {
    /// It was stopped, and all that was under way is in the store.
    Drained,
    /// It was stopped, and not everything ended in time: what was under way is forgotten, and
    /// goes on at the next start.
    CutOff,
    /// Another host owns the store. This one must not serve any more.
    Fenced(String),
}

impl Engine {
    /// Stops accepting, lets calls and deliveries that are under way end, commits, and
    /// returns. What has not ended within `limit` is dropped where it stands, as by a
    /// crash: what is committed is in the store, and the rest goes on at the next start.
    /// A second call waits for the same end; the shorter limit counts.
    pub async fn drain_within(&self, limit: Duration) -> EngineEnd {
        self.shared.stop.cancel();
        match tokio::time::timeout(limit, self.ended()).await {
            Ok(end) => end,
            Err(_) => {
                self.shared.cut_off.cancel();
                self.ended().await
            }
        }
    }

    /// The same without a limit: this waits for as long as the store or a plugin takes.
    pub async fn drain(&self) -> EngineEnd {
        self.shared.stop.cancel();
        self.ended().await
    }

    /// Resolves when the engine has ended, by itself or because it was stopped.
    pub async fn ended(&self) -> EngineEnd {
        let mut ended = self.shared.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await;
        // The sender lives in `shared`.
        ended.ok().and_then(|end| end.clone()).unwrap_or(EngineEnd::Drained)
    }
}
