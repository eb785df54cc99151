//! The documents are true: their links lead somewhere, and their commands are those that run.
//!
//! The gate executes the README's first two commands. The binary parses every other command of a
//! fenced `sh` block; a command that stands in a sentence may leave values out, so its flags are
//! looked up in the help. Commands of `./dev` are looked up in its usage.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use sagabox_tests::command::sagabox;
use sagabox_tests::paths;

/// Folders whose documents are checked, with those in the root.
const FOLDERS: [&str; 4] = [".github", "docs", "examples", "fuzz"];

/// A document, by its path in the repository.
#[derive(Default)]
struct Page {
    /// The anchors of its headings, as the repository's website makes them.
    anchors: BTreeSet<String>,
    links: Vec<String>,
    /// The fenced `sh` blocks.
    blocks: Vec<String>,
    /// What is set as code inside of text.
    codes: Vec<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        let mut block: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.add_anchor(&heading.take().unwrap_or_default());
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language)))
                    if *language == *"sh" =>
                {
                    block = Some(String::new());
                }
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(text) => {
                    if let Some(open) = block.as_mut().or(heading.as_mut()) {
                        open.push_str(&text);
                    }
                }
                Event::Code(code) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&code);
                    }
                    page.codes.push(code.into_string());
                }
                _ => {}
            }
        }
        page
    }

    /// Lower case, hyphens for spaces, no punctuation; a number behind what is there already.
    fn add_anchor(&mut self, heading: &str) {
        let kept = |character: &char| character.is_alphanumeric() || " -_".contains(*character);
        let plain: String = heading.to_lowercase().chars().filter(kept).collect();
        let plain = plain.replace(' ', "-");
        let mut anchor = plain.clone();
        for number in 1.. {
            if self.anchors.insert(anchor) {
                return;
            }
            anchor = format!("{plain}-{number}");
        }
    }
}

/// How the words of a command are checked.
#[derive(Clone, Copy)]
enum Kind {
    /// In a block: complete, as a reader copies it.
    Block,
    /// In a sentence, or in a table.
    Sentence,
}

/// The commands of a block. One that goes on in the next line ends in a backslash or an open quote.
fn lines(block: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    let mut open = String::new();
    for line in block.lines() {
        open.push_str(line);
        if let Some(before) = open.strip_suffix('\\') {
            open.truncate(before.len());
            continue;
        }
        match shlex::split(&open) {
            Some(words) => {
                commands.extend(words.split(|word| is_operator(word)).map(without_shell));
                open.clear();
            }
            None => open.push('\n'),
        }
    }
    assert!(open.is_empty(), "a command does not end: {open}");
    commands.retain(|command| !command.is_empty());
    commands
}

fn is_operator(word: &str) -> bool {
    ["&&", "||", "|", ";", "&"].contains(&word)
}

/// The words that the program gets: no variables in front, no redirections behind.
fn without_shell(words: &[String]) -> Vec<String> {
    let is_variable = |word: &&String| {
        let name = word.split_once('=').map(|(name, _)| name);
        name.is_some_and(|name| {
            name.chars().all(|character| character.is_uppercase() || character == '_')
        })
    };
    let is_redirection = |word: &String| ["<", ">", "2>"].iter().any(|sign| word.starts_with(sign));
    words.iter().skip_while(is_variable).take_while(|word| !is_redirection(word)).cloned().collect()
}

fn documents() -> BTreeMap<String, Page> {
    let mut paths = Vec::new();
    let root = paths::repository();
    let entries = std::fs::read_dir(root).expect("the repository");
    paths.extend(entries.map(|entry| entry.expect("an entry").path()).filter(|path| is_page(path)));
    for folder in FOLDERS {
        find_pages(&root.join(folder), &mut paths);
    }
    let page = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a document");
        let path = path.strip_prefix(root).expect("it lies in the repository");
        (path.to_str().expect("paths are text").to_owned(), Page::read(&text))
    };
    paths.into_iter().map(page).collect()
}

fn find_pages(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder of documents") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") {
            find_pages(&path, paths);
        } else if is_page(&path) {
            paths.push(path);
        }
    }
}

fn is_page(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|ending| ending == "md")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(paths::repository().join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What is wrong with a link of a page, if anything is. Addresses on the network are not asked.
fn broken(page: &str, link: &str, pages: &BTreeMap<String, Page>) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let path = if file.is_empty() { page.to_owned() } else { beside(page, file) };
    if !paths::repository().join(&path).exists() {
        return Some(format!("{page} links to {path}, which does not exist"));
    }
    let target = pages.get(&path)?;
    (!anchor.is_empty() && !target.anchors.contains(anchor))
        .then(|| format!("{page} links to {path}#{anchor}, which is no heading there"))
}

/// The path of a file that is named relative to a page.
fn beside(page: &str, file: &str) -> String {
    let mut path = PathBuf::from(page);
    path.pop();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir => {}
            part => path.push(part),
        }
    }
    path.to_string_lossy().into_owned()
}

/// The commands in the usage of `./dev`.
fn dev_commands() -> BTreeSet<String> {
    let output = Command::new(paths::repository().join("dev")).arg("--help").output();
    let usage = String::from_utf8(output.expect("./dev runs").stdout).expect("text");
    let commands: BTreeSet<String> = usage
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    assert!(commands.contains("test"), "{usage}");
    commands
}

/// What is wrong with a command, if anything is. Commands of others are not looked at.
fn refused(command: &[String], kind: Kind, dev: &BTreeSet<String>) -> Option<String> {
    let (program, arguments) = command.split_first()?;
    let name = arguments.first()?;
    let is_ours = program == "sagabox" || program.ends_with("/sagabox");
    match kind {
        _ if program == "./dev" => {
            // A placeholder stands for any of them.
            let is_placeholder = name.chars().all(char::is_uppercase);
            let is_known = is_placeholder || name.starts_with('-') || dev.contains(name);
            (!is_known).then(|| "it is not in the usage of ./dev".to_owned())
        }
        // A command that starts so is called by the host alone.
        _ if !is_ours || name.starts_with("__") => None,
        Kind::Block => refused_by_the_binary(arguments),
        Kind::Sentence => unknown_to_the_help(name, arguments),
    }
}

/// The binary reads all arguments before it prints the help instead of doing anything.
fn refused_by_the_binary(arguments: &[String]) -> Option<String> {
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let end = arguments.iter().position(|&argument| argument == "--").unwrap_or(arguments.len());
    arguments.insert(end, "--help");
    let ended = sagabox(paths::repository(), &arguments);
    (ended.code != 0).then_some(ended.error)
}

fn unknown_to_the_help(name: &str, arguments: &[String]) -> Option<String> {
    // Without a subcommand, the first word is a flag.
    let asked: &[&str] = if name.starts_with('-') { &["--help"] } else { &[name, "--help"] };
    let ended = sagabox(paths::repository(), asked);
    if ended.code != 0 {
        return Some(ended.error);
    }
    let is_known = |flag: &str| {
        let is_end = |character: char| !character.is_alphanumeric() && character != '-';
        ended.output.split(is_end).any(|word| word == flag)
    };
    arguments
        .iter()
        .filter(|argument| argument.starts_with('-'))
        .find(|flag| !is_known(flag))
        .map(|flag| format!("{flag} is not in the help"))
}

#[test]
fn the_readme_begins_with_the_two_commands() {
    assert_eq!(Page::read(&read("README.md")).blocks[..2], ["./dev demo\n", "./dev test\n"]);
}

#[test]
fn the_gate_runs_the_readmes_command() {
    let gate = read(".ci/run");
    assert!(gate.lines().any(|line| line.trim() == "./dev test"), "{gate}");
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_in_it() {
    let pages = documents();
    let faults: Vec<String> = pages
        .iter()
        .flat_map(|(name, page)| page.links.iter().map(move |link| (name, link)))
        .filter_map(|(name, link)| broken(name, link, &pages))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// By its own path, or by that of its folder.
#[test]
fn the_index_lists_every_document() {
    const INDEX: &str = "docs/README.md";
    let pages = documents();
    let files = pages[INDEX].links.iter().filter_map(|link| link.split('#').next());
    let listed: BTreeSet<String> = files.map(|file| beside(INDEX, file)).collect();
    let is_missing = |name: &&String| {
        let folder = name.strip_suffix("/README.md").unwrap_or(name);
        !listed.contains(*name) && !listed.contains(folder) && *name != INDEX
    };
    let indexed = pages.keys().filter(|name| !name.starts_with('.') && !name.starts_with("fuzz/"));
    let missing: Vec<&String> = indexed.filter(is_missing).collect();
    assert!(missing.is_empty(), "{INDEX} does not list {missing:?}");
}

#[test]
fn every_command_in_the_documents_is_one_that_runs() {
    let dev = dev_commands();
    let mut checked = 0;
    let mut faults = Vec::new();
    for (name, page) in documents() {
        // It also names commands of versions before.
        if name == "CHANGELOG.md" {
            continue;
        }
        let blocks = page.blocks.iter().map(|block| (block, Kind::Block));
        let is_command =
            |code: &&String| code.starts_with("sagabox ") || code.starts_with("./dev ");
        let codes = page.codes.iter().filter(is_command).map(|code| (code, Kind::Sentence));
        for (text, kind) in blocks.chain(codes) {
            for command in lines(text) {
                checked += 1;
                if let Some(fault) = refused(&command, kind, &dev) {
                    faults.push(format!("{name}: `{}`: {fault}", command.join(" ")));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked > 50, "the documents have more commands than {checked}");
}

/// A test is named by its file and its function: `folder/file.rs::function`.
#[test]
fn every_test_that_a_document_names_exists() {
    let mut checked = 0;
    let mut faults = Vec::new();
    for (name, page) in documents() {
        let named = page.codes.iter().filter_map(|code| code.split_once(".rs::"));
        for (file, function) in named {
            checked += 1;
            let path = paths::repository().join(format!("{file}.rs"));
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if !text.contains(&format!("fn {function}(")) {
                faults.push(format!("{name}: {file}.rs has no `{function}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(checked > 100, "the documents name more tests than {checked}");
}

/// The table for contributors has all of them.
#[test]
fn every_command_of_dev_is_in_the_contributors_table() {
    let codes = Page::read(&read("CONTRIBUTING.md")).codes;
    let named: BTreeSet<&str> = codes
        .iter()
        .filter_map(|code| code.strip_prefix("./dev "))
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    let missing: Vec<String> =
        dev_commands().into_iter().filter(|name| !named.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "CONTRIBUTING.md does not have {missing:?}");
}

#[test]
fn what_does_not_exist_is_found() {
    let dev = dev_commands();
    let fault = |command: &str| {
        lines(command).iter().find_map(|command| refused(command, Kind::Block, &dev))
    };
    assert_eq!(fault("sagabox run plugins --config sagabox.toml"), None);
    assert_eq!(fault("A=1 ./dev sim > file && curl -d '{\n}' http://127.0.0.1"), None);
    assert!(fault("sagabox run plugins --no-such-flag").is_some());
    assert!(fault("cd plugins && sagabox no-such-command").is_some());
    assert!(fault("sagabox canary new.wasm \\\n  --share many").is_some());
    assert!(fault("cd .. > file && ./dev no-such-command").is_some());

    let mentioned = |command: &str| {
        lines(command).iter().find_map(|command| refused(command, Kind::Sentence, &dev))
    };
    assert_eq!(mentioned("sagabox canary NEW --share"), None);
    assert!(mentioned("sagabox canary NEW --shar").is_some());
    assert!(mentioned("sagabox no-such-command").is_some());

    let page = Page::read("# One `two`: three!\n## Again\n## Again\n[here](sinks.md#again-1)");
    assert_eq!(page.links, ["sinks.md#again-1"]);
    let pages = BTreeMap::from([("docs/sinks.md".to_owned(), page)]);
    let fault = |link| broken("docs/sinks.md", link, &pages);
    for link in ["#one-two-three", "sinks.md#again-1", "../README.md", "https://example.com/none"] {
        assert_eq!(fault(link), None);
    }
    for link in ["#two", "none.md", "../docs/none.md#again"] {
        assert!(fault(link).is_some(), "{link}");
    }
}
