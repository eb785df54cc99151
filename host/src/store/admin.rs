//! Stand-in with the agreed interface until the stores are here.

use serde_json::Value;

#[derive(Clone)]
pub struct Admin;

#[allow(clippy::unused_async, reason = "the interface of what comes")]
impl Admin {
    pub async fn instances(
        &self,
        _plugin: &str,
        _status: Option<&str>,
        _after: Option<&str>,
        _limit: usize,
    ) -> anyhow::Result<Vec<Value>> {
        anyhow::bail!("this build has no store")
    }

    pub async fn instance(&self, _plugin: &str, _key: &str) -> anyhow::Result<Option<Value>> {
        anyhow::bail!("this build has no store")
    }

    pub async fn history(
        &self,
        _plugin: &str,
        _key: &str,
        _limit: usize,
    ) -> anyhow::Result<Vec<Value>> {
        anyhow::bail!("this build has no store")
    }

    pub async fn dead_letters(
        &self,
        _status: Option<&str>,
        _after: Option<&str>,
        _limit: usize,
    ) -> anyhow::Result<Vec<Value>> {
        anyhow::bail!("this build has no store")
    }

    pub async fn accounts(&self) -> anyhow::Result<Value> {
        anyhow::bail!("this build has no store")
    }
}
