//! TLS for the server: the certificate, which is read again when its files change, and the
//! certificates of clients where they are asked for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::io::files;

/// How often the files are looked at. A certificate is renewed days before it expires.
const LOOK: Duration = Duration::from_secs(5);

/// Files in the PEM format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// The certificate and those that lead to its root.
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// The roots of clients' certificates. With it, every client needs one, or may have one.
    pub client_roots: Option<PathBuf>,
    /// Whether clients without a certificate are served as well.
    pub client_optional: bool,
}

pub(crate) struct Tls {
    served: RwLock<Served>,
}

struct Served {
    settings: TlsSettings,
    /// What the files had.
    texts: Vec<Vec<u8>>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// # Errors
    /// Says which file cannot be read, or does not fit.
    pub(crate) fn open(settings: TlsSettings) -> anyhow::Result<Arc<Self>> {
        let texts = settings.read()?;
        let config = settings.config(&texts)?;
        let served = RwLock::new(Served { settings, texts, config });
        Ok(Arc::new(Self { served }))
    }

    /// Serves with other files, or with what the same files have now.
    ///
    /// # Errors
    /// Says which file cannot be read, or does not fit. Then nothing has changed.
    pub(crate) fn reload(&self, settings: TlsSettings) -> anyhow::Result<()> {
        let texts = settings.read()?;
        let config = settings.config(&texts)?;
        let served = Served { settings, texts, config };
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&served.config))
    }

    /// Reads the files again when they change. What does not fit is logged, and the certificate
    /// before it stays: the files of a pair are not replaced at the same time.
    pub(super) async fn follow(&self) {
        let mut faulty = Vec::new();
        loop {
            tokio::time::sleep(LOOK).await;
            match self.look(&faulty) {
                Ok(true) => tracing::info!("the certificate was read again"),
                Ok(false) => {}
                Err((texts, error)) => {
                    tracing::warn!("the certificate before stays: {error:#}");
                    faulty = texts;
                }
            }
        }
    }

    /// True if the files have changed.
    fn look(&self, faulty: &[Vec<u8>]) -> Result<bool, (Vec<Vec<u8>>, anyhow::Error)> {
        let (settings, known) = {
            let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
            (served.settings.clone(), served.texts.clone())
        };
        let texts = settings.read().map_err(|error| (Vec::new(), error))?;
        if texts == known || texts == faulty {
            return Ok(false);
        }
        let config = match settings.config(&texts) {
            Ok(config) => config,
            Err(error) => return Err((texts, error)),
        };
        let served = Served { settings, texts, config };
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = served;
        Ok(true)
    }
}

impl TlsSettings {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let roots = self.client_roots.as_deref();
        [self.certificate.as_path(), self.key.as_path()].into_iter().chain(roots)
    }

    fn read(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        let read = |path: &Path| {
            files::bytes(path, files::TEXT_BYTES_MAX)
                .with_context(|| format!("read {}", path.display()))
        };
        self.paths().map(read).collect()
    }

    /// `texts` are the contents of the paths.
    fn config(&self, texts: &[Vec<u8>]) -> anyhow::Result<Arc<ServerConfig>> {
        let [certificate, key, roots @ ..] = texts else { anyhow::bail!("a file is missing") };
        let certificates = certificates(&self.certificate, certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .with_context(|| format!("{} has no private key (PEM)", self.key.display()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match (&self.client_roots, roots) {
            (Some(path), [text]) => {
                let mut store = RootCertStore::empty();
                for root in self::certificates(path, text)? {
                    store.add(root).with_context(|| path.display().to_string())?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider);
                let verifier = match self.client_optional {
                    true => verifier.allow_unauthenticated(),
                    false => verifier,
                };
                let verifier = verifier.build().with_context(|| path.display().to_string())?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let (certificate, key_file) = (self.certificate.display(), self.key.display());
        let mut config = builder
            .with_single_cert(certificates, key)
            .with_context(|| format!("{certificate} and {key_file} do not fit together"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path, text: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let certificates = read.with_context(|| format!("read {}", path.display()))?;
    anyhow::ensure!(!certificates.is_empty(), "{} has no certificate (PEM)", path.display());
    Ok(certificates)
}
