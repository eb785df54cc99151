//! Packs a release: one file per format, and the checksums of all.
//!
//! Each format carries the same released binary. The packages are written here, so a machine
//! that builds Sagabox needs no Python, npm or dpkg to pack it. The same release gives the same
//! bytes: entries are sorted, belong to root, and have the release's time.
//!
//! This module does not build and does not publish: `./dev dist` builds first, and
//! docs/dev/release.md has the steps around it.

mod archive;
mod deb;
mod documents;
mod integration;
mod npm;
mod platform;
mod tarball;
mod third_party;
mod version;
mod wheel;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use sha2::{Digest as _, Sha256};

pub use documents::Document;
pub use platform::Platform;

const NAME: &str = "sagabox";
const SUMMARY: &str = "Host for user-defined sagas and process managers";
/// All packages of the workspace have one licence and one address.
const LICENCE: &str = env!("CARGO_PKG_LICENSE");
const HOMEPAGE: &str = env!("CARGO_PKG_REPOSITORY");
/// How the names of packages end.
const ENDINGS: [&str; 4] = [".tar.gz", ".deb", ".tgz", ".whl"];
/// The mode of files that are programs, and of all others.
const PROGRAM: u32 = 0o755;
const TEXT: u32 = 0o644;

/// Everything that a package is made of.
pub struct Release {
    /// A semantic version. Each format writes it in its own way.
    pub version: String,
    pub binary: Vec<u8>,
    /// Where the binary runs.
    pub platform: Platform,
    /// Sorted by path.
    pub documents: Vec<Document>,
    /// What shells, `man` and systemd read, by its path below `/usr`. Sorted by path.
    pub integration: Vec<Document>,
    /// Seconds since 1970 that every entry has as its time of change.
    pub time: u64,
    pub compression: Compression,
}

/// A file of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Archive,
    Deb,
    Npm,
    Wheel,
}

impl Format {
    pub const ALL: [Self; 4] = [Self::Archive, Self::Deb, Self::Npm, Self::Wheel];
}

impl Release {
    /// Reads what is packed: the binary, and the repository's documents.
    ///
    /// # Errors
    /// If a file cannot be read, or the binary is not one that can be packed: another platform,
    /// or another version than the repository's.
    pub fn read(binary: &Path, repository: &Path, compression: Compression) -> Result<Self> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        check_version(binary, &version)?;
        let bytes =
            std::fs::read(binary).with_context(|| format!("reading {}", binary.display()))?;
        let platform = Platform::of(&bytes)
            .with_context(|| format!("reading what {} needs", binary.display()))?;
        Ok(Self {
            version,
            binary: bytes,
            platform,
            documents: documents::read(repository)?,
            integration: integration::read(binary, repository)?,
            time: time(repository)?,
            compression,
        })
    }

    /// Writes one package into the folder.
    ///
    /// # Errors
    /// If it cannot be written, or the version has no form in this format.
    pub fn pack(&self, format: Format, folder: &Path) -> Result<PathBuf> {
        let (name, bytes) = match format {
            Format::Archive => archive::pack(self)?,
            Format::Deb => deb::pack(self)?,
            Format::Npm => npm::pack(self)?,
            Format::Wheel => wheel::pack(self)?,
        };
        let path = folder.join(name);
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn document(&self, path: &str) -> Result<&[u8]> {
        let found = self.documents.iter().find(|document| document.path == path);
        Ok(&found.with_context(|| format!("{path} is not among the documents"))?.contents)
    }

    /// The licences' texts: ours, and those of what the binary contains.
    fn licences(&self) -> impl Iterator<Item = &Document> {
        self.documents.iter().filter(|document| documents::is_licence(&document.path))
    }
}

/// Writes all packages and `SHA256SUMS` into the folder. Packages of an earlier run are removed,
/// so the folder never has two versions.
///
/// # Errors
/// If one of them cannot be written.
pub fn pack_all(release: &Release, folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    remove_packages(folder)?;
    let mut paths = Vec::new();
    for format in Format::ALL {
        paths.push(release.pack(format, folder)?);
    }
    paths.sort();
    let sums = folder.join("SHA256SUMS");
    std::fs::write(&sums, checksums(&paths)?)?;
    paths.push(sums);
    Ok(paths)
}

/// Removes the files that look like packages, and nothing else: the folder is the caller's.
fn remove_packages(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_package = name.to_string_lossy().strip_prefix(NAME).is_some_and(|rest| {
            rest.starts_with(['-', '_']) && ENDINGS.iter().any(|&ending| rest.ends_with(ending))
        });
        if is_package && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// As `sha256sum` prints them.
fn checksums(paths: &[PathBuf]) -> Result<String> {
    let mut text = String::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).context("a package's name")?;
        let digest = Sha256::digest(std::fs::read(path)?);
        for byte in digest {
            write!(text, "{byte:02x}")?;
        }
        writeln!(text, "  {name}")?;
    }
    Ok(text)
}

/// A release says one version everywhere.
fn check_version(binary: &Path, version: &str) -> Result<()> {
    let output = Command::new(binary)
        .arg("--version")
        .output()
        .with_context(|| format!("running {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = format!("{NAME} {version}");
    ensure!(
        said.trim() == expected,
        "{} says `{}`, not `{expected}`: build it again",
        binary.display(),
        said.trim()
    );
    Ok(())
}

/// `SOURCE_DATE_EPOCH`, or the time of the last commit.
fn time(repository: &Path) -> Result<u64> {
    if let Ok(seconds) = std::env::var("SOURCE_DATE_EPOCH") {
        return seconds.parse().context("SOURCE_DATE_EPOCH is not a number of seconds");
    }
    let output = Command::new("git")
        .args(["log", "-1", "--format=%ct"])
        .current_dir(repository)
        .output()
        .context("running git for the last commit's time; SOURCE_DATE_EPOCH sets another")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context(
        "git names no time of a last commit; set SOURCE_DATE_EPOCH to the release's time instead",
    )
}
