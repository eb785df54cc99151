//! The tutorials in the SDKs' READMEs, command by command. What they say of native tests runs
//! elsewhere (`tests/languages.sh`), because it needs each language's own tools.

use std::fs;

use sagabox_tests::command::{Ended, sagabox_with};
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};

use super::{Author, cached, serves, target, text};
use crate::hot::put;

/// What the reader of a tutorial writes: file, text, text in its place. The README has the last.
type Change = (&'static str, &'static str, &'static str);

/// The commands of the section "Tutorial". Lines of other programs are left out.
fn commands(readme: &str) -> Vec<String> {
    let section = readme.split("\n## ").find(|section| section.starts_with("Tutorial\n"));
    let lines = section.expect("a section with the tutorial").lines();
    let commands = lines.filter_map(|line| {
        let line = line.strip_prefix("    ")?;
        let line = line.strip_prefix("$ ").unwrap_or(line);
        let is_own = line.starts_with("sagabox ") || line.starts_with("echo ");
        let (command, _) = line.split_once("  #").unwrap_or((line, ""));
        is_own.then(|| command.trim().to_owned())
    });
    commands.collect()
}

/// A reader at work.
struct Reader {
    language: &'static str,
    changes: &'static [Change],
    author: Author,
    /// Running since the tutorial said so.
    host: Option<Host>,
    name: String,
}

impl Reader {
    fn sagabox(&self, arguments: &[&str]) -> Ended {
        let url = self.host.as_ref().map(Host::url).unwrap_or_default();
        sagabox_with(self.author.folder.path(), arguments, &[("SAGABOX_HOST", &url)])
    }

    async fn follow(&mut self, command: &str) {
        if let Some(rest) = command.strip_prefix("echo '") {
            let (event, sends) = rest.rsplit_once("' | sagabox send").expect("an event is sent");
            assert!(["", " -"].contains(&sends), "{command}");
            fs::write(self.author.folder.path().join("event.json"), event).expect("a file");
            let _ = self.sagabox(&["send", "event.json"]).with(0).saying("1 accepted");
            return;
        }
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        match words[0] {
            "new" => self.begin(&words),
            "run" => self.run(words[1]).await,
            "queues" => {
                wait::until("the command waits", wait::LONG, || async {
                    let queues = self.sagabox(&["queues"]).with(0).output;
                    if queues.contains("ShipOrder") { Ok(()) } else { Err(queues) }
                })
                .await;
            }
            "show" => {
                wait::until("the instance exists", wait::LONG, || async {
                    let shown = self.sagabox(&words);
                    if shown.code == 0 { Ok(()) } else { Err(shown.error) }
                })
                .await;
            }
            "test" | "build" | "sim" => {
                let target = target();
                let _ = self.sagabox(&[&words[..], &["--target", text(&target)]].concat()).with(0);
            }
            _ => drop(self.sagabox(&words).with(0)),
        }
    }

    /// Creates the project, and changes it.
    fn begin(&mut self, words: &[&str]) {
        let sdk = paths::repository().join("guest-sdk").join(self.language);
        let _ = self.sagabox(&[words, &["--sdk", text(&sdk)]].concat()).with(0);
        words[1].clone_into(&mut self.name);
        for (file, from, to) in self.changes {
            let path = self.author.folder.path().join(words[1]).join(file);
            let before = fs::read_to_string(&path).expect("a file of the project");
            assert!(before.contains(from), "{file}: {from}");
            fs::write(&path, before.replace(from, to)).expect("a file of the project");
        }
    }

    /// A host, into whose directory the component is put.
    async fn run(&mut self, directory: &str) {
        let host = cached().start().await;
        let file = format!("{}.wasm", self.name);
        let component = self.author.folder.path().join(directory).join(&file);
        put(&host, &file, &fs::read(component).expect("the component"));
        serves(&host.client(), &self.name).await;
        self.host = Some(host);
    }
}

async fn follow(language: &'static str, changes: &'static [Change]) {
    let readme = paths::repository().join("guest-sdk").join(language).join("README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    for (_, _, to) in changes {
        assert!(readme.contains(to), "the README does not say `{to}`");
    }
    let author = Author::of(language);
    let mut reader = Reader { language, changes, author, host: None, name: String::new() };
    let commands = commands(&readme);
    for expected in ["sagabox new", "sagabox test", "sagabox build", "sagabox run", "echo '"] {
        assert!(commands.iter().any(|command| command.starts_with(expected)), "{expected}");
    }
    for command in commands {
        reader.follow(&command).await;
    }
}

#[tokio::test]
async fn the_tutorial_in_rust_is_true() {
    let changes = &[
        ("src/lib.rs", "hours(1)", "hours(2)"),
        ("scenarios/orders.yaml", "deadline: 1h", "deadline: 2h"),
    ];
    follow("rust", changes).await;
}

#[tokio::test]
async fn the_tutorial_in_typescript_is_true() {
    let changes = &[
        ("src/index.ts", "hours(1)", "hours(2)"),
        ("scenarios/orders.yaml", "deadline: 1h", "deadline: 2h"),
    ];
    follow("typescript", changes).await;
}

#[tokio::test]
async fn the_tutorial_in_python_is_true() {
    let changes = &[
        ("payments.py", "timedelta(hours=1)", "timedelta(hours=2)"),
        ("scenarios/orders.yaml", "deadline: 1h", "deadline: 2h"),
    ];
    follow("python", changes).await;
}

#[tokio::test]
async fn the_tutorial_in_go_is_true() {
    let changes = &[
        ("main.go", "time.Hour)", "2*time.Hour)"),
        ("scenarios/orders.yaml", "deadline: 1h", "deadline: 2h"),
    ];
    follow("go", changes).await;
}

#[tokio::test]
async fn the_tutorial_in_c_is_true() {
    let changes = &[
        ("src/orders.c", "SB_HOURS(1)", "SB_HOURS(2)"),
        ("scenarios/orders.yaml", "deadline: 1h", "deadline: 2h"),
    ];
    follow("c", changes).await;
}
