//! A client of OCI registries: it fetches the bytes of the component that a reference names.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context as _;
use futures::TryStreamExt as _;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError as OciError, OciErrorCode};
use oci_client::manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};

use super::credentials;
use crate::io::sinks::causes;

// Source: CNCF TAG Runtime, "Wasm OCI Artifact Layout".
const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
const LAYER_TYPE: &str = "application/wasm";
/// The annotation of the manifest that has the text of a minisign signature. It is an
/// annotation, because other tools expect exactly one layer.
const SIGNATURE: &str = "io.github.sagabox.minisig";
/// The most bytes of a component: ten times the largest one that any language's tools make.
const COMPONENT_BYTES_MAX: usize = 256 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for the next piece, not for the whole download.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What a registry has under a reference.
pub(crate) struct Artifact {
    pub bytes: Vec<u8>,
    pub signature: Option<String>,
    /// The reference, with the digest of the manifest.
    pub source: String,
}

pub(crate) struct Registry {
    client: Client,
    login: RegistryAuth,
}

impl Registry {
    /// A client for the registry that the reference names.
    ///
    /// # Errors
    /// If there is a login for it that cannot be used.
    pub(crate) async fn of(reference: &Reference, plain_http: bool) -> anyhow::Result<Self> {
        let name = reference.clone();
        // Another program may keep the login. Then this starts that program.
        let login = tokio::task::spawn_blocking(move || credentials::find(&name)).await??;
        let protocol = match plain_http || is_here(reference.resolve_registry()) {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        };
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_TIMEOUT),
            read_timeout: Some(READ_TIMEOUT),
            user_agent: concat!("sagabox/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        };
        Ok(Self { client: Client::new(config), login })
    }

    /// # Errors
    /// If the registry does not have it, if it is not a component, or if its digest differs.
    pub(crate) async fn fetch(&self, reference: &Reference) -> anyhow::Result<Artifact> {
        let explained = |error| explain(error, reference, &self.login);
        let pulling = RegistryOperation::Pull;
        self.client.auth(reference, &self.login, pulling).await.map_err(explained)?;
        let accepted = [OCI_IMAGE_MEDIA_TYPE];
        let manifest = self.client.pull_manifest_raw(reference, &self.login, &accepted).await;
        let (manifest, digest) = manifest.map_err(explained)?;
        let manifest: OciImageManifest = serde_json::from_slice(&manifest).context(
            "its manifest does not describe exactly one component, as `wkg oci push` writes it",
        )?;
        let layer = component(&manifest).map_err(anyhow::Error::msg)?;
        let bytes = self.blob(reference, layer).await?;
        let annotations = manifest.annotations.unwrap_or_default();
        let source = exact(reference, digest).to_string();
        Ok(Artifact { bytes, signature: annotations.get(SIGNATURE).cloned(), source })
    }

    async fn blob(&self, reference: &Reference, layer: &OciDescriptor) -> anyhow::Result<Vec<u8>> {
        let size = usize::try_from(layer.size).unwrap_or(usize::MAX);
        anyhow::ensure!(
            size <= COMPONENT_BYTES_MAX,
            "its component has {} bytes; at most {COMPONENT_BYTES_MAX} are accepted",
            layer.size
        );
        // Only the digest is used, because a manifest may also name other addresses.
        let blob = self.client.pull_blob_stream(reference, layer.digest.as_str()).await;
        let mut blob = blob.map_err(|error| explain(error, reference, &self.login))?;
        let mut bytes = Vec::new();
        // The stream ends with an error if the digest differs.
        while let Some(part) = blob.stream.try_next().await.map_err(|error| broken(&error))? {
            anyhow::ensure!(
                bytes.len() + part.len() <= size,
                "its component is larger than the {size} bytes in its manifest"
            );
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

/// The reference with the digest, and with the tag for people.
fn exact(reference: &Reference, digest: String) -> Reference {
    let (registry, repository) = (reference.registry(), reference.repository());
    match reference.tag() {
        None => reference.clone_with_digest(digest),
        Some(tag) => Reference::with_tag_and_digest(
            registry.to_owned(),
            repository.to_owned(),
            tag.to_owned(),
            digest,
        ),
    }
}

/// The layer with the component.
fn component(manifest: &OciImageManifest) -> Result<&OciDescriptor, String> {
    let kind = &manifest.config.media_type;
    if kind != CONFIG_TYPE {
        return Err(format!(
            "it is not a WebAssembly component: its configuration is `{kind}`, not `{CONFIG_TYPE}`"
        ));
    }
    let mut layers = manifest.layers.iter().filter(|layer| layer.media_type == LAYER_TYPE);
    match (layers.next(), layers.next()) {
        (Some(layer), None) => Ok(layer),
        (None, _) => Err(format!("it has no layer of `{LAYER_TYPE}`")),
        (Some(_), Some(_)) => Err(format!("it has several layers of `{LAYER_TYPE}`")),
    }
}

/// Whether the registry is on this machine. There the connection cannot be intercepted, and
/// registries for development have no certificate.
fn is_here(registry: &str) -> bool {
    let host = match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    };
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn broken(error: &std::io::Error) -> anyhow::Error {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
    match inner {
        Some(error) => anyhow::anyhow!("the connection broke: {}", causes(error)),
        None => anyhow::anyhow!("its component does not match its manifest: {error}"),
    }
}

fn explain(error: OciError, reference: &Reference, login: &RegistryAuth) -> anyhow::Error {
    let registry = reference.registry();
    let refused = |said: &str| {
        let said = if said.is_empty() { String::new() } else { format!(" ({said})") };
        match login {
            RegistryAuth::Anonymous => {
                anyhow::anyhow!("{registry} requires a login{said}; run `docker login {registry}`")
            }
            _ => anyhow::anyhow!("{registry} denies access with these credentials{said}"),
        }
    };
    match error {
        OciError::UnauthorizedError { .. } => refused(""),
        OciError::AuthenticationFailure(said) => refused(said.trim()),
        OciError::RegistryError { envelope, .. } => {
            let said: Vec<_> = envelope.errors.iter().map(|error| error.message.as_str()).collect();
            let said = said.join("; ");
            let denied = |code: &OciErrorCode| {
                matches!(code, OciErrorCode::Unauthorized | OciErrorCode::Denied)
            };
            match envelope.errors.iter().any(|error| denied(&error.code)) {
                true => refused(&said),
                false => anyhow::anyhow!("{registry} does not have it: {said}"),
            }
        }
        OciError::ServerError { code: 404, .. } => anyhow::anyhow!("{registry} does not have it"),
        OciError::ServerError { code, message, .. } => {
            let said: String = message.chars().take(200).collect();
            anyhow::anyhow!("{registry} answered {code}: {said}")
        }
        OciError::RequestError(error) => {
            anyhow::anyhow!("{registry} cannot be reached: {}", causes(&error))
        }
        OciError::DigestError(error) => {
            anyhow::anyhow!("its manifest does not match the reference: {error}")
        }
        other => anyhow::anyhow!("{registry}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_of_this_machine_are_spoken_to_without_tls() {
        for here in ["localhost", "localhost:5000", "127.0.0.1:80", "127.0.0.2", "[::1]:5000"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in ["ghcr.io", "localhost.example:80", "10.0.0.1:5000", "127.example"] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }

    fn manifest(config: &str, layers: &[&str]) -> OciImageManifest {
        let descriptor =
            |kind: &str| OciDescriptor { media_type: kind.to_owned(), ..OciDescriptor::default() };
        OciImageManifest {
            config: descriptor(config),
            layers: layers.iter().map(|kind| descriptor(kind)).collect(),
            ..OciImageManifest::default()
        }
    }

    #[test]
    fn an_artifact_has_one_component() {
        let found = |config, layers: &[&str]| component(&manifest(config, layers)).map(|_| ());
        assert_eq!(found(CONFIG_TYPE, &["text/plain", LAYER_TYPE]), Ok(()));
        let reason = found("application/vnd.oci.image.config.v1+json", &[LAYER_TYPE]).unwrap_err();
        assert!(
            reason.starts_with("it is not a WebAssembly component: its configuration is"),
            "{reason}"
        );
        assert_eq!(
            found(CONFIG_TYPE, &[]),
            Err("it has no layer of `application/wasm`".to_owned())
        );
        let several = found(CONFIG_TYPE, &[LAYER_TYPE, LAYER_TYPE]);
        assert_eq!(several, Err("it has several layers of `application/wasm`".to_owned()));
    }
}
