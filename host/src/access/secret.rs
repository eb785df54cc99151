//! The secret of a token. It exists in memory, in the answer that creates it, and where its owner
//! keeps it; the store has its digest alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Every token begins with it, so that scanners for leaked secrets find tokens.
pub const PREFIX: &str = "sbx_";
/// A session is no token: neither can be used in the other's place.
const SESSION_PREFIX: &str = "sbs_";
const BYTES: usize = 32;

/// A token as its owner has it. It is never written by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// SHA-256 of a secret. A secret has 256 random bits, so a slow hash would protect nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Secret {
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn generate() -> anyhow::Result<Self> {
        Self::with(PREFIX)
    }

    /// The secret of a session.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn for_session() -> anyhow::Result<Self> {
        Self::with(SESSION_PREFIX)
    }

    fn with(prefix: &str) -> anyhow::Result<Self> {
        let mut bytes = [0; BYTES];
        let random = rustls::crypto::ring::default_provider().secure_random;
        random.fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random numbers for a secret"))?;
        Ok(Self(format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))))
    }

    /// None if the text has not the form of a token.
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text, PREFIX)
    }

    /// None if the text has not the form of a session's secret.
    pub fn parse_session(text: &str) -> Option<Self> {
        Self::read(text, SESSION_PREFIX)
    }

    fn read(text: &str, prefix: &str) -> Option<Self> {
        let rest = text.strip_prefix(prefix)?;
        let bytes = URL_SAFE_NO_PAD.decode(rest).ok()?;
        (bytes.len() == BYTES).then(|| Self(text.to_owned()))
    }

    pub fn digest(&self) -> Digest {
        Digest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The secret itself. Its uses are the places where it can leak.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(sbx_…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_are_read_back() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), 4 + 43);
        assert_eq!(Secret::parse(one.expose()).unwrap().digest(), one.digest());
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn what_is_no_token_is_not_read() {
        let whole = Secret::generate().unwrap();
        let whole = whole.expose();
        for text in
            ["", "sbx_", &whole[1..], &whole[..46], &format!("{whole}A"), &format!("{whole}=")]
        {
            assert_eq!(Secret::parse(text), None, "{text}");
        }
        let session = Secret::for_session().unwrap();
        assert_eq!(Secret::parse(session.expose()), None);
        assert_eq!(Secret::parse_session(session.expose()), Some(session));
        assert_eq!(Secret::parse_session(whole), None);
    }

    #[test]
    fn debug_does_not_write_it() {
        let secret = Secret::generate().unwrap();
        assert!(!format!("{secret:?}").contains(&secret.expose()[4..]));
    }
}
