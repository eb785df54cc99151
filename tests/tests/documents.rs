//! The index of the documents lists every one of them. What they link to, `readme` checks.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use sagabox_tests::paths;

/// The documents of the repository: those at its top, in `docs`, and beside the examples.
fn documents() -> Vec<PathBuf> {
    let root = paths::repository();
    let mut folders = vec![root.to_owned(), root.join("docs"), root.join("docs/dev")];
    folders.extend(entries(&root.join("examples")).into_iter().filter(|path| path.is_dir()));
    let files = folders.iter().flat_map(|folder| entries(folder));
    files.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn read(document: &Path) -> String {
    std::fs::read_to_string(document).unwrap_or_else(|e| panic!("{}: {e}", document.display()))
}

/// The targets of the links in a document, outside of its code blocks.
fn links(markdown: &str) -> Vec<&str> {
    let prose = markdown.split("```").step_by(2);
    let links = prose.flat_map(|text| text.split("](").skip(1));
    links.filter_map(|text| text.split(')').next()).collect()
}

#[test]
fn the_index_lists_every_document() {
    let docs = paths::repository().join("docs");
    let index = docs.join("README.md");
    let text = read(&index);
    let listed: BTreeSet<PathBuf> = links(&text)
        .into_iter()
        .filter_map(|link| link.split('#').next())
        .map(|file| docs.join(file).canonicalize().unwrap())
        .collect();
    for document in documents() {
        // An example is listed as its folder.
        let folder = document.parent().unwrap().canonicalize().unwrap();
        let is_listed =
            listed.contains(&document.canonicalize().unwrap()) || listed.contains(&folder);
        assert!(is_listed || document == index, "{} is not listed", document.display());
    }
}
