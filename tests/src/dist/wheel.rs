//! The wheel: `pip install` puts the binary beside Python's other commands. It contains no Python.

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::write::DeflateEncoder;
use rawzip::time::UtcDateTime;
use rawzip::{CompressionMethod, ZipArchiveWriter};
use sha2::{Digest as _, Sha256};

use super::{HOMEPAGE, LICENCE, NAME, PROGRAM, Release, SUMMARY, TEXT, version};

/// The kind of entry that all of them are, as Unix writes it beside the mode.
const REGULAR: u32 = 0o100_000;

pub(super) fn pack(release: &Release) -> Result<(String, Vec<u8>)> {
    let version = version::python(&release.version)?;
    let tag = format!("py3-none-{}", platform_tag(release));
    let info = format!("{NAME}-{version}.dist-info");
    let mut wheel = Wheel::new(release);
    wheel.file(&format!("{NAME}-{version}.data/scripts/{NAME}"), PROGRAM, &release.binary)?;
    let metadata = metadata(release, &version)?;
    wheel.file(&format!("{info}/METADATA"), TEXT, &metadata)?;
    wheel.file(&format!("{info}/WHEEL"), TEXT, wheel_file(&release.version, &tag).as_bytes())?;
    for licence in release.licences() {
        wheel.file(&format!("{info}/licenses/{}", licence.path), TEXT, &licence.contents)?;
    }
    Ok((format!("{NAME}-{version}-{tag}.whl"), wheel.finish(&format!("{info}/RECORD"))?))
}

/// As PEP 600 names it: every Linux with at least this version of glibc.
fn platform_tag(release: &Release) -> String {
    let (major, minor) = release.platform.glibc;
    format!("manylinux_{major}_{minor}_{}", release.platform.machine.name())
}

fn metadata(release: &Release, version: &str) -> Result<Vec<u8>> {
    let mut text = format!(
        "Metadata-Version: 2.4\n\
         Name: {NAME}\n\
         Version: {version}\n\
         Summary: {SUMMARY}\n\
         Home-page: {HOMEPAGE}\n\
         License-Expression: {LICENCE}\n"
    );
    for licence in release.licences() {
        writeln!(text, "License-File: {}", licence.path)?;
    }
    text.push_str("Requires-Python: >=3.8\nDescription-Content-Type: text/markdown\n\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(release.document("README.md")?);
    Ok(bytes)
}

fn wheel_file(version: &str, tag: &str) -> String {
    format!(
        "Wheel-Version: 1.0\nGenerator: sagabox-dist {version}\nRoot-Is-Purelib: false\nTag: {tag}\n"
    )
}

/// The zip, and the record of what is in it.
struct Wheel<'a> {
    release: &'a Release,
    time: UtcDateTime,
    archive: ZipArchiveWriter<Vec<u8>>,
    record: String,
}

impl<'a> Wheel<'a> {
    fn new(release: &'a Release) -> Self {
        Self {
            release,
            time: UtcDateTime::from_unix(release.time.try_into().unwrap_or(i64::MAX)),
            archive: ZipArchiveWriter::new(Vec::new()),
            record: String::new(),
        }
    }

    fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(contents));
        writeln!(self.record, "{path},sha256={digest},{}", contents.len())?;
        self.append(path, mode, contents)
    }

    /// The record lists itself, without a digest.
    fn finish(mut self, record: &str) -> Result<Vec<u8>> {
        writeln!(self.record, "{record},,")?;
        let text = std::mem::take(&mut self.record);
        self.append(record, TEXT, text.as_bytes())?;
        Ok(self.archive.finish()?)
    }

    fn append(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let (mut entry, config) = self
            .archive
            .new_file(path)
            .compression_method(CompressionMethod::DEFLATE)
            .last_modified(self.time)
            .unix_permissions(REGULAR | mode)
            .start()
            .with_context(|| format!("packing {path}"))?;
        let mut writer = config.wrap(DeflateEncoder::new(&mut entry, self.release.compression));
        writer.write_all(contents)?;
        let (encoder, descriptor) = writer.finish()?;
        encoder.finish()?;
        entry.finish(descriptor)?;
        Ok(())
    }
}
