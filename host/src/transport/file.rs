//! Appends messages to a file, or writes them to standard output, one structured
//! CloudEvent a line (NDJSON).
//!
//! A batch is one write and, for a file, one flush to the disk before any of its
//! messages counts as delivered. A crash in the middle of a write can leave a torn
//! last line. Its message was not reported as delivered, so it comes again; opening
//! the file therefore cuts the torn line off.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use sagabox_engine::model::Message;
use sagabox_engine::transport::{DeliveryError, Transport};

/// One flush costs about a millisecond; a thousand messages share it.
const BATCH_MAX: usize = 1000;
/// How much is read at a time in search of the last whole line.
const SEARCH_BYTES: u64 = 64 * 1024;

pub struct FileTransport {
    name: String,
    file: Arc<Mutex<Tail>>,
}

impl FileTransport {
    /// Opens the file to append to it, creates it if need be, and removes a torn last line.
    ///
    /// # Errors
    /// If the file cannot be opened for reading and writing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let end = whole_lines(&mut file)?;
        file.set_len(end)?;
        // A file's name lasts only when its directory is on the disk too.
        let directory = path.parent().filter(|p| !p.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        let file = Arc::new(Mutex::new(Tail { file, end }));
        Ok(Self { name: path.display().to_string(), file })
    }
}

/// The file and where its whole lines end.
struct Tail {
    file: File,
    end: u64,
}

impl Tail {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        // From where the last good batch ended: after a failed write, its rest is overwritten.
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(lines)?;
        self.file.sync_data()?;
        self.end += lines.len() as u64;
        Ok(())
    }
}

#[async_trait]
impl Transport for FileTransport {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let file = Arc::clone(&self.file);
        let append =
            move |lines: &[u8]| file.lock().unwrap_or_else(PoisonError::into_inner).append(lines);
        deliver(&self.name, messages, append).await
    }

    fn batch_max(&self) -> usize {
        BATCH_MAX
    }

    fn ordered(&self) -> bool {
        true
    }
}

/// For looking on and for pipes: what a pipe's reader does with it, nobody knows.
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

    fn ordered(&self) -> bool {
        true
    }
}

async fn deliver(
    name: &str,
    messages: &[Arc<Message>],
    write: impl FnOnce(&[u8]) -> io::Result<()> + Send + 'static,
) -> Vec<Result<(), DeliveryError>> {
    let lines = lines(messages);
    let written = tokio::task::spawn_blocking(move || write(&lines)).await;
    let outcome = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    let outcome = outcome.map_err(|error| DeliveryError::Transient {
        reason: format!("write to {name}: {error}"),
        retry_after: None,
    });
    vec![outcome; messages.len()]
}

fn lines(messages: &[Arc<Message>]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(messages.len() * 512);
    for message in messages {
        let json = message.event.to_json();
        // Line breaks are only between the tokens of JSON, never inside a string.
        lines.extend(json.bytes().map(|b| if matches!(b, b'\n' | b'\r') { b' ' } else { b }));
        lines.push(b'\n');
    }
    lines
}

/// Where the last whole line ends.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(SEARCH_BYTES);
        let mut chunk = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(end - start).read_to_end(&mut chunk)?;
        if let Some(place) = chunk.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::{
        Event, Key, MessageKind, PluginName, Position, Sequence, SinkName,
    };

    use super::*;

    fn message(id: &str) -> Arc<Message> {
        let json = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"s\",\"type\":\"t\",\"data\":{{\"a\":\r\n1}}}}"
        );
        Arc::new(Message {
            sink: SinkName::from("out"),
            sequence: Sequence(1),
            kind: MessageKind::Event,
            plugin: PluginName::from("p"),
            key: Key::from("k"),
            cause: Position(1),
            event: Arc::new(Event::from_json(json.as_bytes()).unwrap()),
        })
    }

    fn ids(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        text.lines().map(|line| Event::from_json(line.as_bytes()).unwrap().id).collect()
    }

    #[tokio::test]
    async fn messages_are_lines_in_order_after_what_was_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.ndjson");
        for batch in [["1", "2"], ["3", "4"]] {
            let transport = FileTransport::open(&path).unwrap();
            let results = transport.deliver(&batch.map(message)).await;
            assert_eq!(results, [Ok(()), Ok(())]);
        }
        assert_eq!(ids(&path), ["1", "2", "3", "4"]);
    }

    #[tokio::test]
    async fn a_torn_last_line_is_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("out.ndjson");
        FileTransport::open(&path).unwrap().deliver(&[message("1")]).await;
        let torn = "x".repeat(200_000);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(torn.as_bytes()).unwrap();
        FileTransport::open(&path).unwrap().deliver(&[message("2")]).await;
        assert_eq!(ids(&path), ["1", "2"]);
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(FileTransport::open(Path::new("/nowhere/at/all")).is_err());
    }
}
