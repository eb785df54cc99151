//! Secrets with which the host authenticates itself elsewhere: URLs with passwords or tokens,
//! and headers. They are never displayed: not in logs, not in answers, not in the reason of a
//! dead letter, not by `Debug`.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use reqwest::Url;
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::io::files;

/// The most bytes of a secret. No header and no URL is longer.
const SECRET_BYTES_MAX: usize = 64 * 1024;
/// The text that is shown in the place of a secret.
const HIDDEN: &str = "***";
/// The least bytes of a secret that is looked for in answers. A shorter one would hide ordinary
/// text.
const SEARCHED_BYTES_MIN: usize = 4;

/// A text that is never displayed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// A text of the configuration that may be a secret: the text itself, or the place where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    Value(Secret),
    /// A file. The text is its content without the line break at its end.
    File(PathBuf),
    /// An environment variable. The text is its value.
    Env(String),
}

impl Given {
    /// The same, with a file's path relative to `directory`.
    #[must_use]
    pub fn under(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            other => other,
        }
    }

    /// # Errors
    /// If the file cannot be read or the variable is not set. The error names it, never its
    /// content.
    pub fn read(&self) -> Result<Secret, String> {
        match self {
            Self::Value(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let text = files::text(path, SECRET_BYTES_MAX)
                    .map_err(|error| format!("{} {error}", path.display()))?;
                Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
            }
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => Ok(Secret::new(text)),
                Err(std::env::VarError::NotPresent) => {
                    Err(format!("the environment variable {name} is not set"))
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    Err(format!("the environment variable {name} is not UTF-8"))
                }
            },
        }
    }
}

/// Not derived, because serde's messages repeat unexpected values, which may be secrets.
impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, { file = \"…\" } or { env = \"…\" }")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Given, E> {
                Ok(Given::Value(Secret::new(text)))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Given, E> {
                Err(E::custom(format_args!("expected {}", Expected(&self))))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Given, E> {
                self.visit_bool(false)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Given, E> {
                self.visit_bool(false)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Given, E> {
                self.visit_bool(false)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
                let mut given = None;
                while let Some(key) = map.next_key::<String>()? {
                    let place = match key.as_str() {
                        "file" => Given::File(PathBuf::from(map.next_value::<String>()?)),
                        "env" => Given::Env(map.next_value::<String>()?),
                        other => return Err(de::Error::unknown_field(other, &["file", "env"])),
                    };
                    if given.replace(place).is_some() {
                        return Err(de::Error::custom("`file` and `env` exclude each other"));
                    }
                }
                let missing = || de::Error::custom(format_args!("expected {}", Expected(&Parts)));
                given.ok_or_else(missing)
            }
        }

        /// Writes what a visitor expects, as text.
        struct Expected<'a>(&'a Parts);

        impl fmt::Display for Expected<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.expecting(f)
            }
        }

        deserializer.deserialize_any(Parts)
    }
}

/// A URL that may have a password or a token. It is displayed without its user, password and
/// query.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    url: Url,
    shown: String,
}

impl SecretUrl {
    /// # Errors
    /// Says why it is not a URL of http or https, without repeating the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url: Url = text.parse().map_err(|error| format!("is not a URL: {error}"))?;
        match url.scheme() {
            "http" | "https" => Ok(Self { shown: shown_url(url.as_str()), url }),
            other => Err(format!("has the scheme `{other}`; only http and https are supported")),
        }
    }

    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.url
    }

    /// Whether the URL's host is this machine, by its name or address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The text of a URL, or of a template that is not a URL yet, without the parts that may be
/// secret.
#[must_use]
pub fn shown_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return HIDDEN.to_owned() };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => (format!("{HIDDEN}@"), host),
        None => (String::new(), authority),
    };
    let end = tail.find(['?', '#']).unwrap_or(tail.len());
    let query = if tail[end..].starts_with('?') { format!("?{HIDDEN}") } else { String::new() };
    format!("{scheme}://{user}{host}{}{query}", &tail[..end])
}

/// Whether a URL's host is this machine, by its name or address.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_end_matches('.').trim_start_matches('[').trim_end_matches(']');
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

/// Removes known secrets from texts of others, because a server's error page may repeat the
/// request.
#[derive(Clone, Default)]
pub struct Redactor(Vec<String>);

impl Redactor {
    pub fn hide(&mut self, text: &str) {
        if text.len() >= SEARCHED_BYTES_MIN && !self.0.iter().any(|known| known == text) {
            self.0.push(text.to_owned());
            // The longest come first, so that a secret that contains another one is removed as a
            // whole.
            self.0.sort_by_key(|known| std::cmp::Reverse(known.len()));
        }
    }

    /// Hides the password, the user, and the query with each of its values, as they are in the
    /// URL and decoded.
    pub fn hide_url(&mut self, url: &Url) {
        let query = url.query().unwrap_or_default();
        self.hide(query);
        let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, v)| v));
        for text in values.chain(url.password()).chain([url.username()]) {
            self.hide(text);
            self.hide(&percent_decode_str(text).decode_utf8_lossy());
        }
    }

    /// Hides a header's value, and the credentials that follow its scheme (`Bearer …`).
    pub fn hide_header(&mut self, value: &str) {
        self.hide(value);
        if let Some((_, credentials)) = value.split_once(' ') {
            self.hide(credentials.trim());
        }
    }

    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), HIDDEN);
            }
        }
        // The text may have been cut within a secret, so its end is compared with the beginnings
        // of all secrets.
        for secret in &self.0 {
            let mut cuts = (SEARCHED_BYTES_MIN..secret.len()).rev();
            let cut = cuts.find(|&n| secret.is_char_boundary(n) && text.ends_with(&secret[..n]));
            if let Some(cut) = cut {
                text.truncate(text.len() - cut);
                text.push_str(HIDDEN);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_shown(text: &str, expected: &str) {
        assert_eq!(shown_url(text), expected);
        let url = SecretUrl::parse(text).unwrap();
        assert_eq!(format!("{url:?}").replace("/?", "?"), expected.replace("/?", "?"));
    }

    #[test]
    fn a_url_is_shown_without_user_password_and_query() {
        check_shown("http://h:81/in", "http://h:81/in");
        check_shown("https://ada:hunter2@h/in?token=a&b#c", "https://***@h/in?***");
        check_shown("https://ada:p%40ss@h/?token", "https://***@h/?***");
        assert_eq!(shown_url("https://ada:a@b@h/x/{key}?t={key}"), "https://***@h/x/{key}?***");
        assert_eq!(shown_url("hunter2"), "***");
    }

    #[test]
    fn what_is_no_url_is_not_repeated() {
        for text in ["http://ada:hunter2@h:port/", "hunter2", "ftp://ada:hunter2@h/"] {
            let error = SecretUrl::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn secrets_are_removed_from_what_others_say() {
        let mut redactor = Redactor::default();
        redactor.hide_url(&"http://ada:p%40ssword@h/in?token=s%2Fcret&a=1".parse().unwrap());
        redactor.hide_header("Bearer abcdef");
        let text =
            "no POST /in?token=s%2Fcret&a=1 by p@ssword, s/cret, Bearer abcdef or abcdef; a=1";
        let expected = "no POST /in?*** by ***, ***, *** or ***; a=1";
        assert_eq!(redactor.redact(text), expected);
        assert_eq!(redactor.redact("cut within p@sswo"), "cut within ***");
    }

    #[test]
    fn this_machine_is_recognised() {
        let check = |text: &str| is_loopback(&text.parse().unwrap());
        for text in
            ["http://localhost:1", "http://a.localhost.", "http://127.9.9.9", "http://[::1]"]
        {
            assert!(check(text), "{text}");
        }
        assert!(check("http://[::ffff:127.0.0.1]/"));
        for text in ["http://localhost.example", "http://10.0.0.1", "http://[::2]"] {
            assert!(!check(text), "{text}");
        }
    }

    #[test]
    fn a_given_text_is_read_from_where_it_stands() {
        #[derive(Deserialize, Debug)]
        struct Section {
            token: Given,
        }
        let read = |text: &str| toml::from_str::<Section>(text).map(|section| section.token);
        assert_eq!(read("token = 'abc'").unwrap().read().unwrap().expose(), "abc");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "a b\r\n").unwrap();
        let file = read("token = { file = 'token' }").unwrap().under(folder.path());
        assert_eq!(file.read().unwrap().expose(), "a b");
        let env = read("token = { env = 'SAGABOX_NO_SUCH_VARIABLE' }").unwrap();
        let error = env.read().unwrap_err();
        assert_eq!(error, "the environment variable SAGABOX_NO_SUCH_VARIABLE is not set");
        for wrong in ["12345", "{}", "{ value = 'hunter2' }", "{ file = 'a', env = 'b' }", "[1]"] {
            let error = read(&format!("token = {wrong}")).unwrap_err().message().to_owned();
            assert!(!error.contains("12345") && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(format!("{:?}", read("token = 'abc'").unwrap()), "Value(***)");
    }
}
