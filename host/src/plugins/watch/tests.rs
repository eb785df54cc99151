use std::fs;
use std::io::Write as _;

use tempfile::TempDir;

use super::*;

const BYTES_MAX: usize = 9;

struct Directory {
    folder: TempDir,
    watcher: Watcher,
}

/// The tests call a component by its name without `.wasm`.
fn name_of(name: &str) -> String {
    match name.contains('.') && !name.starts_with('.') {
        true => name.to_owned(),
        false => format!("{name}.wasm"),
    }
}

impl Directory {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name_of(name)), text).unwrap();
        }
        let mut found = Vec::new();
        let each = |file: File| found.push(file.content.unwrap());
        let watcher = Watcher::begin(folder.path(), BYTES_MAX, each).unwrap();
        assert_eq!(found, files.iter().map(|(_, t)| t.as_bytes().to_vec()).collect::<Vec<_>>());
        Self { folder, watcher }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name_of(name))
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// `name=content` of files that count now, `-name` of files that are gone, and `+name` of
    /// signatures and lock files that changed.
    fn look(&mut self) -> Vec<String> {
        let changes = self.watcher.look().unwrap();
        let name = |path: &Path| {
            path.file_name().unwrap().to_string_lossy().trim_end_matches(".wasm").to_owned()
        };
        let text = |file: &File| match &file.content {
            Ok(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            Err(reason) => format!("({reason})"),
        };
        let files = changes.files.iter().map(|f| format!("{}={}", name(&f.path), text(f)));
        let removed = changes.removed.iter().map(|path| format!("-{}", name(path)));
        let companions = changes.companions.iter().map(|path| format!("+{}", name(path)));
        files.chain(removed).chain(companions).collect()
    }

    #[track_caller]
    fn expect(&mut self, expected: &[&str]) {
        assert_eq!(self.look(), expected);
    }
}

#[test]
fn a_new_file_counts_once_when_it_rests() {
    let mut directory = Directory::with(&[("a", "1")]);
    directory.expect(&[]);
    directory.write("b", "2");
    directory.expect(&[]);
    directory.expect(&["b=2"]);
    directory.expect(&[]);
}

#[test]
fn a_file_that_is_written_slowly_is_waited_for() {
    let mut directory = Directory::with(&[]);
    let mut file = fs::File::create(directory.path("a")).unwrap();
    for part in ["on", "ce", "!"] {
        file.write_all(part.as_bytes()).unwrap();
        file.flush().unwrap();
        directory.expect(&[]);
    }
    directory.expect(&["a=once!"]);
}

#[test]
fn a_writer_that_pauses_is_taken_by_half_and_then_whole() {
    let mut directory = Directory::with(&[]);
    directory.write("a", "ha");
    directory.expect(&[]);
    directory.expect(&["a=ha"]);
    directory.write("a", "half");
    directory.expect(&[]);
    directory.expect(&["a=half"]);
}

#[test]
fn a_file_comes_by_rename_over_another() {
    let mut directory = Directory::with(&[("a", "1")]);
    directory.write(".a.new", "2");
    directory.expect(&[]);
    fs::rename(directory.path(".a.new"), directory.path("a")).unwrap();
    directory.expect(&[]);
    directory.expect(&["a=2"]);
}

#[test]
fn a_renamed_file_is_there_before_the_old_name_is_gone() {
    let mut directory = Directory::with(&[("a", "1")]);
    fs::rename(directory.path("a"), directory.path("b")).unwrap();
    directory.expect(&[]);
    directory.expect(&["b=1", "-a"]);
}

#[test]
fn several_come_together_in_the_order_of_their_names() {
    let mut directory = Directory::with(&[]);
    for name in ["c", "a", "b"] {
        directory.write(name, name);
    }
    directory.expect(&[]);
    directory.expect(&["a=a", "b=b", "c=c"]);
}

#[test]
fn a_file_that_is_removed_and_put_back_counts_again() {
    let mut directory = Directory::with(&[("a", "1")]);
    fs::remove_file(directory.path("a")).unwrap();
    directory.expect(&[]);
    directory.expect(&["-a"]);
    directory.expect(&[]);
    directory.write("a", "1");
    directory.expect(&[]);
    directory.expect(&["a=1"]);
}

#[test]
fn who_writes_by_removing_first_removes_nothing() {
    let mut directory = Directory::with(&[("a", "1")]);
    fs::remove_file(directory.path("a")).unwrap();
    directory.expect(&[]);
    directory.write("a", "2");
    directory.expect(&[]);
    directory.expect(&["a=2"]);
}

#[test]
fn what_is_broken_and_then_mended_counts_both_times() {
    let mut directory = Directory::with(&[("a", "good")]);
    for text in ["broken", "good"] {
        directory.write("a", text);
        directory.expect(&[]);
        directory.expect(&[&format!("a={text}")]);
    }
}

#[test]
fn a_file_that_is_only_touched_has_not_changed() {
    let mut directory = Directory::with(&[("a", "1")]);
    directory.write("a", "1");
    directory.expect(&[]);
    directory.expect(&[]);
}

#[test]
fn what_is_written_again_counts_again_where_candidates_lie() {
    let mut directory = Directory::with(&[]);
    directory.write("a", "1");
    let (folder, never) = (directory.folder.path().to_owned(), |_: &Path| false);
    directory.watcher = Watcher::of_optional(&folder, BYTES_MAX, never, drop).unwrap();
    directory.expect(&[]);
    directory.write("a", "1");
    directory.expect(&[]);
    directory.expect(&["a=1"]);
    directory.expect(&[]);
}

#[test]
fn what_is_forgotten_and_then_removed_is_gone() {
    let mut directory = Directory::with(&[("a", "1")]);
    directory.expect(&[]);
    let path = directory.path("a");
    directory.watcher.forget(&path);
    fs::remove_file(path).unwrap();
    directory.expect(&[]);
    directory.expect(&["-a"]);
}

#[test]
fn what_is_forgotten_counts_again() {
    let mut directory = Directory::with(&[("a", "1")]);
    directory.expect(&[]);
    let path = directory.path("a");
    directory.watcher.forget(&path);
    directory.expect(&["a=1"]);
}

#[test]
fn signatures_and_the_lock_file_are_no_plugins_and_their_changes_are_noticed() {
    let mut directory = Directory::with(&[("a", "1")]);
    directory.write("a.wasm.minisig", "half");
    directory.write("sagabox.lock", "1");
    directory.expect(&[]);
    directory.expect(&["+a.wasm.minisig", "+sagabox.lock"]);
    directory.write("a.wasm.minisig", "whole");
    directory.expect(&[]);
    directory.expect(&["+a.wasm.minisig"]);
    fs::remove_file(directory.path("sagabox.lock")).unwrap();
    directory.expect(&[]);
    directory.expect(&["+sagabox.lock"]);
    // Other files that exist from the start are not taken for plugins either.
    let mut found = 0;
    Watcher::begin(directory.folder.path(), BYTES_MAX, |_| found += 1).unwrap();
    assert_eq!(found, 1);
}

#[test]
fn what_is_not_named_as_a_component_is_listed_and_never_read() {
    let mut directory = Directory::with(&[("a", "1")]);
    for name in ["out.ndjson", "sagabox.db", "host.log", "wasm", "a.wasm.bak"] {
        fs::write(directory.folder.path().join(name), "1").unwrap();
    }
    directory.expect(&[]);
    directory.expect(&[]);
    let others = directory.watcher.others().iter().map(|path| path.file_name().unwrap());
    let expected = ["a.wasm.bak", "host.log", "out.ndjson", "sagabox.db", "wasm"];
    assert_eq!(others.collect::<Vec<_>>(), expected);
    directory.write("b.wat", "2");
    directory.expect(&[]);
    directory.expect(&["b.wat=2"]);
}

#[test]
fn a_file_of_the_store_or_too_large_a_one_is_reported_once_and_not_read() {
    let mut directory = Directory::with(&[("a", "1")]);
    let root = directory.folder.path().canonicalize().unwrap();
    fs::write(root.join("s.db"), "1").unwrap();
    let _guard = files::guard_store(&root.join("s.db"));
    fs::hard_link(root.join("s.db"), directory.path("x")).unwrap();
    directory.write("y", "1234567890");
    directory.expect(&[]);
    directory.expect(&[
        "x=(is a file of the store that this host has open, under another name; it is not \
         read. Remove this name)",
        "y=(has more than 9 bytes (limit component_bytes))",
    ]);
    // Stores and logs change all the time.
    fs::write(root.join("s.db"), "12").unwrap();
    directory.write("y", "1234567890+");
    directory.expect(&[]);
    directory.expect(&[]);
    directory.write("y", "123456789");
    fs::remove_file(directory.path("x")).unwrap();
    fs::write(directory.path("x"), "good").unwrap();
    directory.expect(&[]);
    directory.expect(&["x=good", "y=123456789"]);
}

#[test]
fn a_directory_that_cannot_be_read_removes_nothing() {
    let mut directory = Directory::with(&[("a", "1")]);
    let here = directory.folder.path().to_owned();
    let away = here.with_extension("away");
    fs::rename(&here, &away).unwrap();
    for _ in 0..3 {
        assert!(directory.watcher.look().is_err());
    }
    fs::rename(&away, &here).unwrap();
    directory.expect(&[]);
    directory.expect(&[]);
}
