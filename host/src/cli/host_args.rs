//! How a command reaches a running host.

use clap::Args;
use serde_json::json;
use serde_json::value::RawValue;

use super::{credentials, output};
use crate::api::client::Client;

pub(crate) const HOST: &str = "http://127.0.0.1:8321";

/// The address of the host, and the output format.
#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    /// Address of the running host
    #[arg(long, env = "SAGABOX_HOST", default_value = HOST, global = true)]
    pub host: String,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

impl HostArgs {
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        let token = credentials::token(&self.host)?;
        Ok(Client::new(&self.host, token.as_ref(), credentials::identity()?)?)
    }

    /// Sends a request whose body is the reason alone, and prints the answer as JSON, or `done`.
    pub(crate) async fn post_reason(
        &self,
        path: &str,
        reason: Option<&str>,
        done: &str,
    ) -> anyhow::Result<()> {
        let body = json!({ "reason": reason });
        let answer: Box<RawValue> = self.client()?.post(path, &body).await?;
        match self.json {
            true => output::json_text(answer.get()),
            false => output::line(done),
        }
        Ok(())
    }
}
