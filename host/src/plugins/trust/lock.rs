//! The lock file, which names the components that may serve from a directory, by digest.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::io::files;

/// The name of the lock file in the plugin directory.
pub const FILE: &str = "sagabox.lock";
/// The version of the format. A host refuses an unknown one.
const VERSION: u32 = 1;
const ALGORITHM: &str = "sha256:";
const HEADING: &str = "\
# The components that a host serves from this directory, by digest; it refuses all others.
# `sagabox lock` and `sagabox pull` write this file.

";

/// A lock file, with one entry for each plugin, in the order of files and names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockFile {
    version: u32,
    #[serde(default, rename = "plugin")]
    plugins: Vec<Pinned>,
}

/// The entry of a plugin. Only the digest decides what may serve; the rest is for people.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    pub file: String,
    pub name: String,
    pub version: String,
    /// `sha256:` and 64 digits.
    digest: String,
    /// The reference that it was pulled from, with its digest; none if it was not pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Pinned {
    /// The digest without its algorithm, as the host uses it everywhere else.
    #[must_use]
    pub fn new(file: &str, name: &str, version: &str, digest: &str) -> Self {
        Self {
            file: file.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            digest: format!("{ALGORITHM}{digest}"),
            source: None,
        }
    }

    /// The entry with the reference that it was pulled from.
    #[must_use]
    pub fn pulled_from(self, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..self }
    }

    #[must_use]
    pub fn is(&self, digest: &str) -> bool {
        self.digest.strip_prefix(ALGORITHM) == Some(digest)
    }
}

impl LockFile {
    #[must_use]
    pub fn new(mut plugins: Vec<Pinned>) -> Self {
        plugins.sort();
        Self { version: VERSION, plugins }
    }

    /// Reads the lock file of a directory; none if there is none.
    ///
    /// # Errors
    /// If it cannot be read. Then it is unknown which components may serve.
    pub fn read(directory: &Path) -> Result<Option<Self>, String> {
        let path = directory.join(FILE);
        let Some(text) = files::read(&path)? else { return Ok(None) };
        Self::parse(&text).map(Some).map_err(|why| format!("{}{why}", path.display()))
    }

    /// # Errors
    /// Says why the text is not a lock file. The error begins with `:` and the line, to follow
    /// the file's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lock: Self = toml::from_str(text).map_err(|error| files::fault(text, &error))?;
        if lock.version != VERSION {
            return Err(format!(
                ": is of version {}; this host knows version {VERSION}",
                lock.version
            ));
        }
        Ok(lock)
    }

    /// # Errors
    /// If it cannot be written. Then the old one is unchanged.
    pub fn write(&self, directory: &Path) -> std::io::Result<()> {
        files::put(directory, FILE, self.to_text().as_bytes())
    }

    /// The text of the file.
    #[must_use]
    pub fn to_text(&self) -> String {
        // Tables of texts and a number always have a TOML form.
        format!("{HEADING}{}", toml::to_string(self).unwrap_or_default())
    }

    #[must_use]
    pub fn plugins(&self) -> &[Pinned] {
        &self.plugins
    }

    pub(super) fn admit(&self, directory: &Path, path: &Path, digest: &str) -> Result<(), String> {
        if self.plugins.iter().any(|pinned| pinned.is(digest)) {
            return Ok(());
        }
        let file = super::name_in(directory, path);
        let pinned = self.plugins.iter().find(|pinned| pinned.file == file);
        let instead = pinned.map_or(String::new(), |pinned| {
            format!(", which pins {} {} of {}", pinned.name, pinned.version, pinned.digest)
        });
        Err(format!(
            "its digest {ALGORITHM}{digest} is not in {FILE}{instead}; if it is to serve, `{}` pins it",
            command(directory)
        ))
    }

    /// The lock file with `own` as the entries of `file`. The entries of other files stay.
    #[must_use]
    pub fn with(&self, file: &str, own: Vec<Pinned>) -> Self {
        let others = self.plugins.iter().filter(|pinned| pinned.file != file).cloned();
        Self::new(others.chain(own).collect())
    }

    /// These plugins, with the sources that the lock file has for their digests.
    #[must_use]
    pub fn pin(&self, mut found: Vec<Pinned>) -> Self {
        for plugin in &mut found {
            let is_same = |known: &&Pinned| known.digest == plugin.digest;
            plugin.source =
                self.plugins.iter().find(is_same).and_then(|known| known.source.clone());
        }
        Self::new(found)
    }

    /// The differences in `found`, one line each.
    #[must_use]
    pub fn differences(&self, found: &Self) -> Vec<String> {
        let by_place = |lock: &Self| -> BTreeMap<(String, String), Pinned> {
            let entry =
                |pinned: &Pinned| ((pinned.file.clone(), pinned.name.clone()), pinned.clone());
            lock.plugins.iter().map(entry).collect()
        };
        let (pinned, found) = (by_place(self), by_place(found));
        let mut lines = Vec::new();
        for ((file, name), entry) in &pinned {
            match found.get(&(file.clone(), name.clone())) {
                None => {
                    lines.push(format!("{file}: {name} {} is pinned, but missing", entry.version));
                }
                Some(other)
                    if (&other.digest, &other.version) != (&entry.digest, &entry.version) =>
                {
                    lines.push(format!(
                        "{file}: {name} {} of {} is pinned, but the file is {} of {}",
                        entry.version, entry.digest, other.version, other.digest
                    ));
                }
                Some(_) => {}
            }
        }
        let new = found.iter().filter(|place| !pinned.contains_key(place.0));
        lines.extend(new.map(|((file, name), entry)| {
            format!("{file}: {name} {} of {} is not pinned", entry.version, entry.digest)
        }));
        lines
    }
}

impl Default for LockFile {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

/// The command that writes the lock file of a directory.
pub(crate) fn command(directory: &Path) -> String {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    format!("sagabox lock {}", directory.display())
}
