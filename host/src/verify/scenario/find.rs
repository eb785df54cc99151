//! Where scenario files are.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The folder in a plugin's source.
pub const IN_SOURCE: &str = "scenarios";
/// What the folder beside a component is called after its file's name.
const BESIDE: &str = "scenarios";

/// The folder beside a component: `order-saga.scenarios` for `order-saga.wasm`.
#[must_use]
pub fn beside(component: &Path) -> PathBuf {
    component.with_extension(BESIDE)
}

/// The scenario files in a folder, or the one file, in the order of their names.
///
/// # Errors
/// If there is nothing at `path`.
pub fn files_in(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path)
        .with_context(|| format!("read the scenarios in {}", path.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_by_their_names() {
        assert_eq!(beside(Path::new("p/order-saga.wasm")), Path::new("p/order-saga.scenarios"));
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yaml", "a.json", "c.yml", "README.md"] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let files = files_in(folder.path()).unwrap();
        let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
        assert_eq!(names, ["a.json", "b.yaml", "c.yml"]);
        assert_eq!(files_in(&files[0]).unwrap(), [files[0].clone()]);
        assert!(files_in(&folder.path().join("none")).is_err());
    }
}
