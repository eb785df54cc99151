use sagabox_engine::model::{
    Event, Hops, Key, MessageKind, PluginName, Position, Sequence, SinkName,
};
use sagabox_engine::seams::transport::contract::{self, Receiver, Receivers};
use tempfile::TempDir;

use super::*;

/// A message as the engine makes it: the id is a UUID, the source is the plugin's.
fn message(number: u8) -> Arc<Message> {
    let id = format!("00000000-0000-5000-8000-0000000000{number:02x}");
    let json = format!(
        "{{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"/sagabox/p\",\"type\":\"t\",\"data\":{{\"a\":\r\n{number}}}}}"
    );
    Arc::new(Message {
        sink: SinkName::from("out"),
        sequence: Sequence(1),
        kind: MessageKind::Event,
        plugin: PluginName::from("p"),
        key: Key::from("k"),
        cause: Position(1),
        instance: None,
        event: Arc::new(Event::from_json(json.as_bytes()).unwrap()),
        hops: Hops::FIRST,
    })
}

fn line(number: u8) -> String {
    String::from_utf8(lines(&[message(number)])).unwrap()
}

async fn deliver(transport: &FileTransport, numbers: &[u8]) {
    let messages: Vec<_> = numbers.iter().copied().map(message).collect();
    assert!(transport.deliver(&messages).await.iter().all(Result::is_ok));
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn add(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// Checks what is in a file with this content after message 9 was delivered.
#[track_caller]
fn check_begun(before: &str, expected: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    std::fs::write(&path, before).unwrap();
    let mut journal = Journal::open(&path).unwrap();
    journal.append(line(9).as_bytes()).unwrap();
    assert_eq!(text(&path), format!("{expected}{}", line(9)));
}

#[tokio::test]
async fn messages_are_lines_in_order_after_what_was_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    for batch in [[1, 2], [3, 4]] {
        deliver(&FileTransport::open(&path).unwrap(), &batch).await;
    }
    assert_eq!(text(&path), [1, 2, 3, 4].map(line).concat());
}

#[test]
fn only_a_torn_line_of_our_own_is_cut_off() {
    let (whole, ours) = (line(1), line(2));
    check_begun("", "");
    check_begun(&whole, &whole);
    for length in 1..ours.len() - 1 {
        // A line of this transport is before it, so even a short beginning is recognised.
        check_begun(&format!("{whole}{}", &ours[..length]), &whole);
    }
    // This is long enough to be recognised alone.
    let pattern = LINE_BEGIN.len() + ID_BYTES + LINE_SOURCE.len();
    check_begun(&ours[..pattern], "");
}

#[test]
fn what_others_wrote_stays_and_ours_begins_on_a_new_line() {
    let whole = line(1);
    let other = r#"{"specversion":"1.0","id":"1","source":"/other","type":"t"}"#;
    for foreign in ["x", "a,b\nc,d", "{\"specversion\":\"1.0\"", other, &other[..40], "{", "\u{0}"]
    {
        check_begun(foreign, &format!("{foreign}\n"));
        check_begun(&format!("a\n{foreign}"), &format!("a\n{foreign}\n"));
    }
    let torn = "x".repeat(200_000);
    check_begun(&torn, &format!("{torn}\n"));
    // A whole event that an editor left without its line break.
    check_begun(whole.trim_end(), &whole);
    check_begun(&line(1)[..20], &format!("{}\n", &line(1)[..20]));
}

#[tokio::test]
async fn another_writer_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    let transport = FileTransport::open(&path).unwrap();
    deliver(&transport, &[1]).await;
    add(&path, "another's\n");
    deliver(&transport, &[2]).await;
    add(&path, "without end");
    deliver(&transport, &[3]).await;
    let expected = [&line(1), "another's\n", &line(2), "without end\n", &line(3)].concat();
    assert_eq!(text(&path), expected);
}

#[tokio::test]
async fn a_file_that_is_moved_away_is_followed_by_a_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (directory.path().join("out.ndjson"), directory.path().join("out.1"));
    let transport = FileTransport::open(&path).unwrap();
    deliver(&transport, &[1]).await;
    std::fs::rename(&path, &moved).unwrap();
    deliver(&transport, &[2]).await;
    assert_eq!((text(&moved), text(&path)), (line(1), line(2)));
    // This is what `copytruncate` of logrotate does.
    File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    deliver(&transport, &[3]).await;
    assert_eq!(text(&path), line(3));
    std::fs::remove_file(&path).unwrap();
    deliver(&transport, &[4]).await;
    assert_eq!(text(&path), line(4));
}

#[test]
fn what_a_failed_write_left_is_removed_unless_another_wrote_after_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.ndjson");
    let mut journal = Journal::open(&path).unwrap();
    journal.append(line(1).as_bytes()).unwrap();
    let start = line(1).len() as u64;
    for other in ["", "another's\n"] {
        let begun = journal.file.metadata().unwrap().len();
        // What a write leaves that failed in its middle.
        add(&path, &line(2)[..30]);
        journal.rest = Some(Rest { start: begun, bytes: 30 });
        add(&path, other);
        journal.append(line(2).as_bytes()).unwrap();
        if other.is_empty() {
            assert_eq!(text(&path), [line(1), line(2)].concat());
        } else {
            let kept = format!("{}another's\n", &line(2)[..30]);
            assert_eq!(text(&path), [line(1), line(2), kept, line(2)].concat());
        }
    }
    assert!(start > 0);
}

#[test]
fn what_is_no_regular_file_is_an_error() {
    assert!(FileTransport::open(Path::new("/nowhere/at/all")).is_err());
    assert!(FileTransport::open(Path::new("/dev/null")).is_err());
    let directory = tempfile::tempdir().unwrap();
    assert!(FileTransport::open(directory.path()).is_err());
}

#[test]
fn a_file_is_known_by_every_name() {
    let directory = tempfile::tempdir().unwrap();
    let (path, link) = (directory.path().join("a"), directory.path().join("b"));
    let transport = FileTransport::open(&path).unwrap();
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(FileId::of(&link), Some(transport.id()));
    std::fs::remove_file(&link).unwrap();
    std::fs::hard_link(&path, &link).unwrap();
    assert_eq!(FileId::of(&link), Some(transport.id()));
    assert_eq!(FileId::of(&directory.path().join("c")), None);
}

/// A file in a directory that a test can move away.
struct Place {
    directory: TempDir,
    transport: Arc<dyn Transport>,
}

impl Place {
    fn inner(&self) -> PathBuf {
        self.directory.path().join("inner")
    }
}

#[async_trait]
impl Receiver for Place {
    fn transport(&self) -> Arc<dyn Transport> {
        Arc::clone(&self.transport)
    }

    async fn arrived(&self) -> Vec<Event> {
        let text = text(&self.inner().join("out.ndjson"));
        // A delivery that was dropped may still be writing.
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| Event::from_json(line.as_bytes()).unwrap()).collect()
    }

    async fn leave(&self) {
        std::fs::rename(self.inner(), self.directory.path().join("elsewhere")).unwrap();
    }

    async fn come_back(&self) {
        std::fs::rename(self.directory.path().join("elsewhere"), self.inner()).unwrap();
    }
}

struct Places;

#[async_trait]
impl Receivers for Places {
    async fn open(&self) -> Box<dyn Receiver> {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("inner");
        std::fs::create_dir(&inner).unwrap();
        let transport = FileTransport::open(&inner.join("out.ndjson")).unwrap();
        Box::new(Place { directory, transport: Arc::new(transport) })
    }
}

#[tokio::test]
async fn the_transport_to_a_file_keeps_the_contract() {
    contract::all(&Places).await;
}
