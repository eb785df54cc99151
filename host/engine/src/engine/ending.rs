//! How an engine ends.

use std::time::Duration;

use super::Engine;

/// How the engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineEnd {
    /// It was stopped, and the results of all calls and deliveries are in the store.
    Drained,
    /// It was stopped, and not everything ended in time. Calls and deliveries that were in
    /// progress were dropped, and are repeated after the next start.
    CutOff,
    /// Another host owns the store. This one must not serve any more. The text is the store's.
    Fenced(String),
}

impl Engine {
    /// Stops accepting events, lets calls and deliveries in progress end, commits, and returns.
    /// What has not ended within `limit` is dropped, as a crash does: what is committed is in
    /// the store, and the rest is repeated after the next start. A second call waits for the
    /// same end; the shorter limit counts.
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

    /// Drains without a limit. It waits for as long as the store or a plugin takes.
    pub async fn drain(&self) -> EngineEnd {
        self.shared.stop.cancel();
        self.ended().await
    }

    /// Returns when the engine has ended, by itself or because it was stopped.
    pub async fn ended(&self) -> EngineEnd {
        let mut ended = self.shared.ended.subscribe();
        let ended = ended.wait_for(Option::is_some).await;
        // The channel cannot close, because `shared` holds its sender.
        ended.ok().and_then(|end| end.clone()).unwrap_or(EngineEnd::Drained)
    }
}
