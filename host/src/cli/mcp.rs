//! `sagabox mcp`: a server of the Model Context Protocol for agents on this machine, on standard
//! input and output, towards a running host.

use anyhow::Context as _;
use clap::Args;
use rmcp::ServiceExt as _;
use rmcp::transport::stdio;

use super::credentials;
use crate::api::client::Client;
use crate::mcp::{Reach, Server};

#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// Address of the running host
    #[arg(long, env = "SAGABOX_HOST", default_value = super::host_args::HOST)]
    host: String,
    /// Offer tools that change something, such as redriving a dead letter; the token must be an operator's
    #[arg(long)]
    allow_operate: bool,
}

impl Mcp {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        let token = credentials::token(&self.host)?;
        let client = Client::new(&self.host, token.as_ref(), credentials::identity()?)?;
        let server = Server::new(Reach::Host(client), self.allow_operate);
        let running = server.serve(stdio()).await.context("begin the protocol")?;
        // Until the agent closes standard input.
        running.waiting().await.context("serve the agent")?;
        Ok(())
    }
}
