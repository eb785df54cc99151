//! Who reaches the host, and how: the address, HTTP, TLS, and tokens.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::time::Duration;

use toml::Spanned;

use super::file::{ApiSection, ClientCertificates, Fault, HttpSection, Retention, TlsSection};
use super::work;
use crate::api::{self, AccessSettings, HostName, Timeouts, TlsSettings};

pub(super) fn http(said: &HttpSection, listen: &str) -> Result<api::Settings, Fault> {
    let name = |said: &Spanned<String>| {
        let name = HostName::parse(said.get_ref());
        name.map_err(|reason| Fault::at(said.span(), format!("http.hosts: {reason}")))
    };
    let mut hosts: Vec<HostName> = said.hosts.iter().map(name).collect::<Result<_, _>>()?;
    // The address at which the host listens is one of its names.
    let (own, _) = listen.rsplit_once(':').unwrap_or((listen, ""));
    hosts.extend(HostName::parse(own).ok());
    let default = api::Settings::default();
    let ms = |said: Option<NonZeroU64>, default| {
        said.map_or(default, |ms| Duration::from_millis(ms.get()))
    };
    Ok(api::Settings {
        hosts,
        connections: said.connections.map_or(default.connections, NonZeroUsize::get),
        timeouts: Timeouts {
            header: ms(said.header_timeout_ms, default.timeouts.header),
            body: ms(said.body_timeout_ms, default.timeouts.body),
            idle: ms(said.idle_timeout_ms, default.timeouts.idle),
            write: ms(said.write_timeout_ms, default.timeouts.write),
        },
    })
}

pub(super) fn access(
    said: &ApiSection,
    retention: &Retention,
    local_without_token: bool,
    has_tls: bool,
) -> Result<AccessSettings, Fault> {
    let default = AccessSettings::default();
    let settings = AccessSettings {
        local_without_token: local_without_token || said.local_without_token.unwrap_or(false),
        behind_proxy: said.behind_proxy.unwrap_or(false),
        is_secure: has_tls || said.behind_proxy.unwrap_or(false),
        audit: work::age(retention.audit.as_ref(), default.audit)?,
        rate: said.rate,
        ..default
    };
    let fault = |reason: String| Err(Fault { span: None, reason });
    if settings.local_without_token && settings.behind_proxy {
        return fault(
            "api: local_without_token and behind_proxy exclude each other: what a proxy on this \
             machine forwards would need no token"
                .to_owned(),
        );
    }
    Ok(settings)
}

pub(super) fn tls(said: Spanned<TlsSection>, directory: &Path) -> Result<TlsSettings, Fault> {
    let span = said.span();
    let TlsSection { certificate, key, client_roots, client_certificates } = said.into_inner();
    let missing = |name| {
        let reason = format!("tls.{name}: is required; name a file in the PEM format");
        Fault::at(span.clone(), reason)
    };
    Ok(TlsSettings {
        certificate: directory.join(certificate.ok_or_else(|| missing("certificate"))?),
        key: directory.join(key.ok_or_else(|| missing("key"))?),
        client_roots: client_roots.map(|path| directory.join(path)),
        client_optional: client_certificates == Some(ClientCertificates::Optional),
    })
}

/// Tokens and events cross no network where they can be read.
pub(super) fn check_listen(listen: &str, is_protected: bool) -> Result<(), Fault> {
    if is_protected || is_local(listen) {
        return Ok(());
    }
    let reason = format!(
        "listen: other machines reach {listen}, and without TLS tokens and events could be read on \
         the way; configure [tls], or listen on 127.0.0.1 or [::1], or put a proxy with TLS before \
         the host and set `behind_proxy = true` under [api]"
    );
    Err(Fault { span: None, reason })
}

/// Whether only this machine reaches an address.
fn is_local(listen: &str) -> bool {
    let (host, _) = listen.rsplit_once(':').unwrap_or((listen, ""));
    let host = host.trim_matches(['[', ']']);
    let is_loopback = |address: std::net::IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}
