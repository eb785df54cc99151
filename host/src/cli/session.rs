//! `sagabox session`: lists and ends the sessions of people.

use clap::{Args, Subcommand};

use super::host_args::HostArgs;
use super::pages::{self, Paging};

#[derive(Debug, Args)]
pub(crate) struct Session {
    #[command(subcommand)]
    command: SessionCommand,
}

#[derive(Debug, Subcommand)]
enum SessionCommand {
    /// List the people who are signed in
    List(List),
    /// End a session: the person must sign in again
    End(End),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct End {
    /// Id of the session
    id: u64,
    /// Reason, which the host records
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

impl Session {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        match self.command {
            SessionCommand::List(list) => list.execute().await,
            SessionCommand::End(end) => end.execute().await,
        }
    }
}

impl List {
    async fn execute(self) -> anyhow::Result<()> {
        let columns = &["id", "who", "roles", "origin", "created_at", "expires_at", "last_used_at"];
        let list =
            pages::List { path: "/sessions", query: Vec::new(), member: "sessions", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

impl End {
    async fn execute(self) -> anyhow::Result<()> {
        let path = format!("/sessions/{}/end", self.id);
        let done = format!("session {} has ended", self.id);
        self.host.post_reason(&path, self.reason.as_deref(), &done).await
    }
}
