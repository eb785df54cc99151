//! `sagabox token`: creates, lists and revokes tokens.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sagabox_engine::model::Timestamp;
use serde_json::json;
use serde_json::value::RawValue;

use super::host_args::HostArgs;
use super::input_error::InputError;
use super::output::{self, Row};
use super::pages::{self, Paging};
use crate::access::{Fingerprint, Rate, Role};
use crate::io::durations;
use crate::io::files;
use crate::io::times::Time;

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    command: TokenCommand,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Create a token and print it; the host cannot show it again
    Create(Create),
    /// List the tokens, without their secrets
    List(List),
    /// Revoke a token: the host refuses it from now on
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Create {
    /// Name of the person or the program that uses the token
    name: String,
    /// Role; repeat the option for several
    #[arg(long, value_enum, required = true)]
    role: Vec<Role>,
    /// Permit the token to see the data of events and the states of instances
    #[arg(long)]
    payloads: bool,
    /// Restrict the token to a plugin; repeat the option for several
    #[arg(long)]
    plugin: Vec<String>,
    /// Restrict sending and leasing to a type; repeat the option for several
    #[arg(long = "type")]
    message_type: Vec<String>,
    /// Requests and events a second [default: the rate of the host's configuration]
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// Requests and events that may come at once [default: those of a second]
    #[arg(long, requires = "rate")]
    burst: Option<NonZeroU32>,
    /// Bind the token to a client certificate (PEM); repeat the option for several
    #[arg(long, value_name = "FILE")]
    certificate: Vec<PathBuf>,
    /// Time until the token expires, such as 30d [default: it does not expire]
    #[arg(long)]
    expires: Option<String>,
    /// Reason, which the host records
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    host: HostArgs,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Id of the token
    id: u64,
    /// Reason, which the host records
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    host: HostArgs,
}

impl Token {
    pub(crate) async fn execute(self) -> anyhow::Result<()> {
        match self.command {
            TokenCommand::Create(create) => create.execute().await,
            TokenCommand::List(list) => list.execute().await,
            TokenCommand::Revoke(revoke) => revoke.execute().await,
        }
    }
}

impl Create {
    async fn execute(self) -> anyhow::Result<()> {
        let expires_at = self.expires.as_deref().map(expiry).transpose()?;
        let certificates = self.certificate.iter().map(|path| fingerprint(path));
        let certificates = certificates.collect::<anyhow::Result<Vec<Fingerprint>>>()?;
        let body = json!({
            "name": self.name,
            "roles": self.role,
            "payloads": self.payloads,
            "plugins": self.plugin,
            "types": self.message_type,
            "rate": self.rate.map(|per_second| Rate { per_second, burst: self.burst }),
            "certificates": certificates,
            "expires_at": expires_at,
            "reason": self.reason,
        });
        let answer: Box<RawValue> = self.host.client()?.post("/tokens", &body).await?;
        if self.host.json {
            output::json_text(answer.get());
            return Ok(());
        }
        let row: Row = serde_json::from_str(answer.get())?;
        output::line(&row.cell("token"));
        output::note("the host keeps a hash alone: store the token now");
        Ok(())
    }
}

/// Of the first certificate of a file, which is the one of the client.
fn fingerprint(path: &Path) -> anyhow::Result<Fingerprint> {
    let text = files::bytes(path, files::TEXT_BYTES_MAX)
        .with_context(|| format!("read {}", path.display()))?;
    let certificate = CertificateDer::from_pem_slice(&text)
        .map_err(|error| InputError(format!("{}: {error}", path.display())))?;
    Ok(Fingerprint::of(&certificate))
}

fn expiry(text: &str) -> anyhow::Result<Time> {
    let length = durations::duration(text).map_err(InputError)?;
    let now = u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default();
    Ok(Time(Timestamp(now).after(length)))
}

impl List {
    async fn execute(self) -> anyhow::Result<()> {
        let columns = &[
            "id",
            "name",
            "status",
            "roles",
            "payloads",
            "plugins",
            "types",
            "rate",
            "created_at",
            "expires_at",
            "last_used_at",
        ];
        let list = pages::List { path: "/tokens", query: Vec::new(), member: "tokens", columns };
        self.paging.print(&list, &self.host, |_| {}).await
    }
}

impl Revoke {
    async fn execute(self) -> anyhow::Result<()> {
        let path = format!("/tokens/{}/revoke", self.id);
        let done = format!("token {} is revoked", self.id);
        self.host.post_reason(&path, self.reason.as_deref(), &done).await
    }
}
