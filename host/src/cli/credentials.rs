//! Where the command line finds its token. Never in an argument: other users of the machine see those.
//!
//! `SAGABOX_TOKEN` has it, or `SAGABOX_TOKEN_FILE` names its file. Without both, a host on this
//! machine is asked with the token that it left beside its store.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::{Identity, Url};

use super::input_error::InputError;
use crate::access::Secret;
use crate::config::{self, Overrides, Settings};
use crate::io::files;
use crate::io::secrets::is_loopback;
use crate::store::connect;

const TOKEN: &str = "SAGABOX_TOKEN";
const TOKEN_FILE: &str = "SAGABOX_TOKEN_FILE";
const CERTIFICATE: &str = "SAGABOX_CLIENT_CERTIFICATE";
/// A token and a line break.
const FILE_BYTES_MAX: usize = 1024;

/// The token for a host; none if none is known.
///
/// # Errors
/// If the environment names something that is no token.
pub(crate) fn token(host: &str) -> anyhow::Result<Option<Secret>> {
    if let Some(text) = given(TOKEN) {
        let wrong = || InputError(format!("{TOKEN} is not a token of Sagabox"));
        return Ok(Some(Secret::parse(text.trim()).ok_or_else(wrong)?));
    }
    if let Some(path) = given(TOKEN_FILE) {
        return Ok(Some(read(Path::new(&path))?));
    }
    // The token of this machine's host is not for another one.
    let url = if host.contains("://") { host.to_owned() } else { format!("http://{host}") };
    if !url.parse::<Url>().is_ok_and(|url| is_loopback(&url)) {
        return Ok(None);
    }
    Ok(beside_the_store().filter(|path| path.exists()).and_then(|path| read(&path).ok()))
}

/// The certificate that a host with `[tls] client_roots` asks for.
///
/// # Errors
/// If the file that the environment names has no certificate with its key.
pub(crate) fn identity() -> anyhow::Result<Option<Identity>> {
    let Some(path) = given(CERTIFICATE).map(PathBuf::from) else { return Ok(None) };
    let reading = || format!("read the client's certificate and its key from {}", path.display());
    let text = files::bytes(&path, files::TEXT_BYTES_MAX).with_context(reading)?;
    Ok(Some(Identity::from_pem(&text).with_context(reading)?))
}

fn given(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

fn read(path: &Path) -> anyhow::Result<Secret> {
    let text = files::text(path, FILE_BYTES_MAX)
        .with_context(|| format!("read the token from {}", path.display()))?;
    let wrong = || InputError(format!("{} does not contain a token of Sagabox", path.display()));
    Ok(Secret::parse(text.trim()).ok_or_else(wrong)?)
}

/// The file of the store that `sagabox run` would use here.
fn beside_the_store() -> Option<PathBuf> {
    let store = match given("SAGABOX_STORE") {
        Some(store) => store,
        None => {
            let file = given("SAGABOX_CONFIG").map(PathBuf::from);
            let settings = Settings::load(file.as_deref(), Overrides::default());
            settings.map_or_else(|_| config::STORE.to_owned(), |settings| settings.store)
        }
    };
    connect::token_file(&store)
}
