//! Appends messages to a file, or writes them to standard output, one structured
//! CloudEvent a line (NDJSON).
//!
//! A batch is one write and, for a file, one flush to the disk before any of its messages counts
//! as delivered. The file may have other writers, and may be moved away at any time. The
//! transport cuts off only what it wrote itself and did not report as delivered, and never
//! overwrites anything.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use sagabox_engine::model::{Event, Message};
use sagabox_engine::seams::transport::{DeliveryError, Transport};

use crate::io::locks::lock;

/// The most messages in one batch. A flush takes about a millisecond, which a thousand messages
/// share.
const BATCH_MAX: usize = 1000;
/// The bytes that are read at a time in search of the last line.
const SEARCH_BYTES: u64 = 64 * 1024;
/// No line of this transport is longer: a decision has some megabytes.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// The beginning of each line of this transport. The message's id follows, then its source.
const LINE_BEGIN: &[u8] = br#"{"specversion":"1.0","id":""#;
const LINE_SOURCE: &[u8] = br#"","source":"/sagabox/"#;
/// The bytes of a message's id, which is a UUID.
const ID_BYTES: usize = 36;

/// Identifies a file under any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn new(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }

    /// The id of the file that a path leads to; none if the file does not exist.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().map(|metadata| Self::new(&metadata))
    }
}

pub struct FileTransport {
    name: String,
    file: Arc<Mutex<Journal>>,
}

impl FileTransport {
    /// Opens the file for appending, and creates it if it does not exist.
    ///
    /// # Errors
    /// If it is not a regular file, or cannot be opened for reading and writing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Arc::new(Mutex::new(Journal::open(path)?));
        Ok(Self { name: path.display().to_string(), file })
    }

    #[must_use]
    pub fn id(&self) -> FileId {
        lock(&self.file).id
    }
}

/// The open file.
struct Journal {
    path: PathBuf,
    file: File,
    id: FileId,
    /// The length of the file after the last write, if that write ended with a line break. If
    /// the file still has this length, the next write need not read the file's end.
    end: Option<u64>,
    /// What a failed write has left in the file.
    rest: Option<Rest>,
}

/// The place and length of what a failed write has left.
#[derive(Clone, Copy)]
struct Rest {
    start: u64,
    bytes: u64,
}

impl Journal {
    fn open(path: &Path) -> io::Result<Self> {
        if std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(io::Error::other("it is no regular file"));
        }
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        let length = metadata.len();
        if let Some(start) = torn_line_of_ours(&file, length)? {
            // The host crashed during a write. The message was not reported as delivered, so it
            // is delivered again.
            file.set_len(start)?;
        }
        // A new file survives a crash only if its directory is on the disk too.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        let id = FileId::new(&metadata);
        Ok(Self { path: path.to_owned(), file, id, end: None, rest: None })
    }

    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        // If the file was moved away, as logs are, or removed, later messages go into a new
        // file.
        if FileId::of(&self.path) != Some(self.id) {
            *self = Self::open(&self.path)?;
        }
        let mut length = self.file.metadata()?.len();
        if let Some(rest) = self.rest {
            // If another writer has appended since, both texts stay.
            if length == rest.start + rest.bytes {
                self.file.set_len(rest.start)?;
                length = rest.start;
            }
            (self.rest, self.end) = (None, None);
        }
        let begins_a_line = self.end == Some(length) || ends_a_line(&self.file, length)?;
        let mut text = Vec::new();
        let bytes = match begins_a_line {
            true => lines,
            false => {
                text.reserve(lines.len() + 1);
                text.push(b'\n');
                text.extend_from_slice(lines);
                &text
            }
        };
        self.end = None;
        let mut written = 0;
        let outcome = write_all(&mut self.file, bytes, &mut written);
        if let Err(error) = outcome.and_then(|()| self.file.sync_data()) {
            self.rest = Some(Rest { start: length, bytes: written as u64 });
            return Err(error);
        }
        self.end = Some(length + bytes.len() as u64);
        Ok(())
    }
}

/// As `Write::write_all`, which does not report how many bytes it has written.
fn write_all(file: &mut File, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match file.write(&bytes[*written..]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn ends_a_line(file: &File, length: u64) -> io::Result<bool> {
    let mut last = [0];
    match length {
        0 => Ok(true),
        _ => file.read_exact_at(&mut last, length - 1).map(|()| last == *b"\n"),
    }
}

/// The start of the last line, if it has no line break and is certainly a line of this
/// transport.
fn torn_line_of_ours(file: &File, length: u64) -> io::Result<Option<u64>> {
    if ends_a_line(file, length)? {
        return Ok(None);
    }
    let start = line_start(file, length)?;
    let pattern = LINE_BEGIN.len() + ID_BYTES + LINE_SOURCE.len();
    let tail = read(file, start, (length - start).min(pattern as u64))?;
    if !may_be_ours(&tail) {
        return Ok(None);
    }
    if tail.len() < pattern {
        // The text is too short to be recognised, so the line before it decides.
        let before = match start {
            0 => return Ok(None),
            _ => line_start(file, start - 1)?,
        };
        let line = read(file, before, (start - before).min(pattern as u64))?;
        return Ok((line.len() == pattern && may_be_ours(&line)).then_some(start));
    }
    if length - start > LINE_BYTES_MAX {
        return Ok(None);
    }
    // A whole event without a line break is from another writer: this transport writes both
    // together.
    let whole = read(file, start, length - start)?;
    let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(&whole).is_ok();
    Ok((!is_whole).then_some(start))
}

/// Whether a line of this transport can begin like this.
fn may_be_ours(begin: &[u8]) -> bool {
    let agree = |text: &[u8], pattern: &[u8]| text.iter().zip(pattern).all(|(a, b)| a == b);
    let after_id = LINE_BEGIN.len() + ID_BYTES;
    agree(begin, LINE_BEGIN)
        && begin
            .iter()
            .take(after_id)
            .skip(LINE_BEGIN.len())
            .all(|byte| byte.is_ascii_hexdigit() || *byte == b'-')
        && agree(begin.get(after_id..).unwrap_or_default(), LINE_SOURCE)
}

/// The start of the line that ends at `end`.
fn line_start(file: &File, end: u64) -> io::Result<u64> {
    let mut end = end;
    while end > 0 {
        let start = end.saturating_sub(SEARCH_BYTES);
        let chunk = read(file, start, end - start)?;
        if let Some(place) = chunk.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn read(file: &File, start: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut chunk, start)?;
    Ok(chunk)
}

#[async_trait]
impl Transport for FileTransport {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let file = Arc::clone(&self.file);
        let append = move |lines: &[u8]| lock(&file).append(lines);
        deliver(&self.name, messages, append).await
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    /// A batch is one write.
    fn is_sequential(&self) -> bool {
        true
    }
}

/// Writes messages to standard output, for people and for pipes. Whether the reader of a pipe
/// keeps them is unknown.
pub struct StdoutTransport;

#[async_trait]
impl Transport for StdoutTransport {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let write = |lines: &[u8]| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(lines)?;
            stdout.flush()
        };
        deliver("standard output", messages, write).await
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    /// A batch is one write.
    fn is_sequential(&self) -> bool {
        true
    }
}

async fn deliver(
    name: &str,
    messages: &[Arc<Message>],
    write: impl FnOnce(&[u8]) -> io::Result<()> + Send + 'static,
) -> Vec<Result<(), DeliveryError>> {
    if messages.is_empty() {
        return Vec::new();
    }
    let lines = lines(messages);
    let written = tokio::task::spawn_blocking(move || write(&lines)).await;
    let outcome = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    // The cause is a full disk or a missing directory, not the message.
    let outcome = outcome.map_err(|error| DeliveryError::Unavailable {
        reason: format!("write to {name}: {error}"),
        retry_after: None,
    });
    vec![outcome; messages.len()]
}

fn lines(messages: &[Arc<Message>]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(messages.len() * 512);
    for message in messages {
        lines.extend_from_slice(line(&message.event).as_bytes());
        lines.push(b'\n');
    }
    lines
}

/// Line breaks are only between the tokens of JSON, never inside a string.
pub(crate) fn line(event: &Event) -> String {
    let json = event.to_json();
    match json.contains(['\n', '\r']) {
        true => json.replace(['\n', '\r'], " "),
        false => json,
    }
}

#[cfg(test)]
mod tests;
