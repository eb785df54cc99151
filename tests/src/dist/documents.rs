//! The texts that a release carries: licences, the documents for users, and the plugin interface.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::third_party;

/// What the binary contains of others, and their licences.
const THIRD_PARTY: &str = "THIRD-PARTY-LICENSES.txt";
const LICENCES: [&str; 3] = ["LICENSE-APACHE", "LICENSE-MIT", THIRD_PARTY];
const FILES: [&str; 6] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONFIGURATION.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
];
/// Folders, and the ending of the files in them that are meant.
const FOLDERS: [(&str, &str); 2] = [("docs", "md"), ("wit", "wit")];

/// A text, by its path in the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub path: String,
    pub contents: Vec<u8>,
}

pub(super) fn is_licence(path: &str) -> bool {
    LICENCES.contains(&path)
}

/// All of them, sorted by path.
pub(super) fn read(repository: &Path) -> Result<Vec<Document>> {
    let mut documents = vec![Document {
        path: THIRD_PARTY.to_owned(),
        contents: third_party::licences(repository)?.into_bytes(),
    }];
    for file in FILES {
        documents.push(read_one(repository, file)?);
    }
    for (folder, ending) in FOLDERS {
        read_folder(repository, folder, ending, &mut documents)?;
    }
    documents.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(documents)
}

fn read_one(repository: &Path, path: &str) -> Result<Document> {
    let contents =
        std::fs::read(repository.join(path)).with_context(|| format!("reading {path}"))?;
    Ok(Document { path: path.to_owned(), contents })
}

fn read_folder(
    repository: &Path,
    folder: &str,
    ending: &str,
    documents: &mut Vec<Document>,
) -> Result<()> {
    let entries =
        std::fs::read_dir(repository.join(folder)).with_context(|| format!("reading {folder}"))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let path = format!("{folder}/{}", name.to_str().context("a document's name is text")?);
        if entry.file_type()?.is_dir() {
            read_folder(repository, &path, ending, documents)?;
        } else if Path::new(&name).extension().is_some_and(|found| found == ending) {
            documents.push(read_one(repository, &path)?);
        }
    }
    Ok(())
}
