//! The guide for authors is true: each snippet stands in a source that is built and tested, and each
//! page shows its task in every language.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};
use sagabox_tests::command::sagabox;
use sagabox_tests::paths;
use tempfile::TempDir;

const GUIDE: &str = "docs/authors";
/// The page that has the same saga in every language.
const SIDE_BY_SIDE: &str = "docs/languages.md";
/// The example that the guide explains, in a folder for each language.
const EXAMPLE: &str = "examples/languages/reservation";
const LANGUAGES: [(&str, &str); 5] = [
    ("Rust", "rust"),
    ("TypeScript", "typescript"),
    ("Python", "python"),
    ("Go", "go"),
    ("C", "c"),
];

/// A fenced block.
struct Snippet {
    language: String,
    /// The file that the comment before the block names.
    source: Option<String>,
    text: String,
}

#[derive(Default)]
struct Page {
    /// The headings of the third level, under each of the second level.
    sections: Vec<Vec<String>>,
    snippets: Vec<Snippet>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut named: Option<String> = None;
        let mut heading: Option<String> = None;
        let mut block: Option<Snippet> = None;
        for event in Parser::new(text) {
            match event {
                Event::Html(html) => named = source_named_by(&html),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    let language = language.into_string();
                    block = Some(Snippet { language, source: named.take(), text: String::new() });
                }
                Event::End(TagEnd::CodeBlock) => page.snippets.extend(block.take()),
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(level)) => {
                    page.add_heading(level, heading.take().unwrap_or_default());
                }
                Event::Text(part) => {
                    if let Some(block) = &mut block {
                        block.text.push_str(&part);
                    } else if let Some(heading) = &mut heading {
                        heading.push_str(&part);
                    }
                }
                // A comment belongs to the block that follows it directly.
                Event::Start(Tag::Paragraph) => named = None,
                _ => {}
            }
        }
        page
    }

    fn add_heading(&mut self, level: HeadingLevel, heading: String) {
        match level {
            HeadingLevel::H2 => self.sections.push(Vec::new()),
            HeadingLevel::H3 => {
                if let Some(section) = self.sections.last_mut() {
                    section.push(heading);
                }
            }
            _ => {}
        }
    }
}

/// The path in `<!-- path -->`.
fn source_named_by(html: &str) -> Option<String> {
    let path = html.trim().strip_prefix("<!--")?.strip_suffix("-->")?;
    Some(path.trim().to_owned())
}

/// Whether the lines stand in the file one after the other. The snippet may be indented less.
fn contains(file: &str, snippet: &str) -> bool {
    let lines: Vec<&str> = file.lines().map(str::trim_end).collect();
    let wanted: Vec<&str> = snippet.lines().map(str::trim_end).collect();
    !wanted.is_empty() && lines.windows(wanted.len()).any(|window| is_same(window, &wanted))
}

fn is_same(lines: &[&str], wanted: &[&str]) -> bool {
    let Some(indentation) = lines[0].strip_suffix(wanted[0]) else { return false };
    indentation.trim().is_empty()
        && lines.iter().zip(wanted).all(|(line, wanted)| {
            let is_empty = line.is_empty() && wanted.is_empty();
            is_empty || line.strip_prefix(indentation) == Some(*wanted)
        })
}

/// What is wrong with a snippet, if anything is. Commands are checked with those of all documents.
fn fault(snippet: &Snippet) -> Option<String> {
    if snippet.language == "sh" {
        return None;
    }
    let first = snippet.text.lines().next().unwrap_or_default();
    let Some(source) = &snippet.source else {
        return Some(format!("no comment names the source of the block `{first}`"));
    };
    match fs::read_to_string(paths::repository().join(source)) {
        Ok(file) if contains(&file, &snippet.text) => None,
        Ok(_) => Some(format!("{source} does not contain the block `{first}`")),
        Err(error) => Some(format!("{source}: {error}")),
    }
}

fn pages() -> Vec<(PathBuf, Page)> {
    let entries = fs::read_dir(paths::repository().join(GUIDE)).expect("the guide");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let files = files.chain([paths::repository().join(SIDE_BY_SIDE)]);
    let mut pages: Vec<(PathBuf, Page)> = files
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a page");
            (path, Page::read(&text))
        })
        .collect();
    pages.sort_by(|one, other| one.0.cmp(&other.0));
    pages
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

#[test]
fn every_snippet_of_the_guide_stands_in_its_source() {
    let pages = pages();
    let snippets: Vec<(&PathBuf, &Snippet)> = pages
        .iter()
        .flat_map(|(path, page)| page.snippets.iter().map(move |snippet| (path, snippet)))
        .collect();
    let faults: Vec<String> = snippets
        .iter()
        .filter_map(|(path, snippet)| Some(format!("{}: {}", path.display(), fault(snippet)?)))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(snippets.len() > 50, "the guide has more blocks than {}", snippets.len());
}

#[test]
fn every_task_is_shown_in_every_language() {
    let names: Vec<&str> = LANGUAGES.iter().map(|(name, _)| *name).collect();
    let mut sections = 0;
    for (path, page) in pages() {
        for section in page.sections.iter().filter(|section| !section.is_empty()) {
            assert_eq!(*section, names, "{}: sections of languages", path.display());
            sections += 1;
        }
    }
    assert!(sections >= 7, "the guide has more tasks than {sections}");
}

/// A copy for each language, where `sagabox test` and `sagabox sim` find it.
#[test]
fn the_scenarios_and_simulations_are_the_same_in_every_language() {
    for kind in ["scenarios", "simulations"] {
        let file = |folder: &str| {
            let path = format!("{EXAMPLE}/{folder}/{kind}/reservation.yaml");
            fs::read_to_string(paths::repository().join(&path))
                .unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        for (name, folder) in LANGUAGES {
            assert_eq!(file(folder), file("rust"), "the {kind} in {name}");
        }
    }
}

/// As the guide says it to authors: builds the plugin from its source, and runs its scenarios.
#[track_caller]
fn passes_its_scenarios(language: &str) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let source = paths::repository().join(EXAMPLE).join(language);
    let target = paths::target().join("plugins-build");
    let test = ["test", text(&source), "--target", text(&target), "--out", "out"];
    let _ = sagabox(folder.path(), &test).with(0).saying(" passed, 0 failed");
    folder
}

/// The other languages decide the same in the scenarios.
#[test]
fn the_reservation_in_rust_passes_its_scenarios_and_simulations() {
    let folder = passes_its_scenarios("rust");
    let simulations = paths::repository().join(EXAMPLE).join("rust/simulations");
    let component = "out/reservation.wasm";
    let sim = ["sim", component, "--simulations", text(&simulations), "--seeds", "100"];
    let _ = sagabox(folder.path(), &sim).with(0).saying("100 seeds");
}

/// The tests of other languages have `languages` in their names.
#[test]
fn the_reservation_in_other_languages_passes_its_scenarios() {
    for (_, language) in LANGUAGES.iter().filter(|(_, language)| *language != "rust") {
        let _ = passes_its_scenarios(language);
    }
}

#[test]
fn a_snippet_that_differs_from_its_source_is_found() {
    let file = "fn one() {\n    two();\n\n    three();\n}\n";
    assert!(contains(file, "two();\n\nthree();\n"));
    assert!(contains(file, "    two();\n"));
    for other in
        ["two();\nthree();\n", "three();\ntwo();\n", "two();\n\n  three();\n", "wo();\n", ""]
    {
        assert!(!contains(file, other), "{other}");
    }

    let page = Page::read(
        "## Task\n\n### Rust\n\n<!-- README.md -->\n```rust\nlet a = 1;\n```\n\n<!-- README.md -->\n\
         Text.\n\n```go\na := 1\n```\n\n```sh\nls\n```\n",
    );
    assert_eq!(page.sections, [["Rust"]]);
    let faults: Vec<Option<String>> = page.snippets.iter().map(fault).collect();
    assert_eq!(
        faults,
        [
            Some("README.md does not contain the block `let a = 1;`".to_owned()),
            Some("no comment names the source of the block `a := 1`".to_owned()),
            None,
        ]
    );
}
