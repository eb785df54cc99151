//! The licences of the packages that are compiled into the binary, as most of them ask for.
//!
//! The list comes from cargo, the texts from the packages' own folders. Packages that only the
//! build or the tests use are not in the binary and not listed. Files that are kept in the
//! repository as other projects published them have a list of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::NAME;
use crate::vendored;

/// How deep a package's licences may lie: libraries in C lie in folders of their own.
const DEPTH: usize = 3;
const PREFIXES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
/// Endings of files that begin like a licence and are code.
const NOT_TEXT: [&str; 6] = ["rs", "c", "h", "html", "json", "toml"];

struct Package {
    title: String,
    address: String,
    texts: Vec<String>,
}

/// One text: the packages with their licences, then each text once.
pub(super) fn licences(repository: &Path) -> Result<String> {
    let mut packages = packages(&metadata(repository)?)?;
    packages.extend(kept(repository)?);
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let mut order = Vec::new();
    let mut output = String::from(
        "Sagabox is licensed under Apache-2.0 or MIT, at your option. Its binary contains the\n\
         packages below. The number behind a package names its licence text, further down.\n\
         Some packages carry no text; their licence is the one in parentheses. SQLite is in the\n\
         public domain.\n\n",
    );
    for package in &packages {
        let mut used = Vec::new();
        for text in &package.texts {
            let number = *numbers.entry(text).or_insert_with(|| {
                order.push(text);
                order.len()
            });
            used.push(format!("[{number}]"));
        }
        writeln!(output, "{}  {}\n    {}", package.title, used.join(" "), package.address)?;
    }
    for (index, text) in order.iter().enumerate() {
        writeln!(output, "\n\n{}\n[{}]\n\n{}", "=".repeat(80), index + 1, text.trim_end())?;
    }
    Ok(output)
}

fn metadata(repository: &Path) -> Result<Value> {
    let cargo = || Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let host = cargo().arg("-vV").output().context("running cargo")?;
    let host = String::from_utf8(host.stdout)?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("cargo's host")?;
    let output = cargo()
        .args([
            "metadata",
            "--format-version=1",
            "--offline",
            "--locked",
            "--filter-platform",
            host,
        ])
        .current_dir(repository)
        .output()
        .context("running cargo")?;
    ensure!(output.status.success(), "cargo: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn packages(metadata: &Value) -> Result<Vec<Package>> {
    let by_id: BTreeMap<&str, &Value> = list(&metadata["packages"])
        .filter_map(|package| Some((package["id"].as_str()?, package)))
        .collect();
    let mut packages = Vec::new();
    for id in compiled_in(metadata)? {
        let package = by_id.get(id).context("a package that cargo does not list")?;
        // Without a source, it is ours.
        if !package["source"].is_null() {
            packages.push(read(package)?);
        }
    }
    packages.sort_by(|one, other| one.title.cmp(&other.title));
    Ok(packages)
}

/// The packages of which files are kept in the repository, each once.
fn kept(repository: &Path) -> Result<Vec<Package>> {
    let folder = vendored::folder(repository);
    let mut packages = BTreeMap::new();
    for file in vendored::list(repository)? {
        let path = folder.join(&file.licence_text);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("reading {}", path.display()))?;
        let title = format!("{} {} ({})", file.package, file.version, file.licence);
        packages.insert(title, (file.address, text));
    }
    let package = |(title, (address, text))| Package { title, address, texts: vec![text] };
    Ok(packages.into_iter().map(package).collect())
}

/// The packages that are reached from ours by dependencies that are neither for tests nor the build.
fn compiled_in(metadata: &Value) -> Result<BTreeSet<&str>> {
    let nodes: BTreeMap<&str, &Value> = list(&metadata["resolve"]["nodes"])
        .filter_map(|node| Some((node["id"].as_str()?, node)))
        .collect();
    let ours = list(&metadata["packages"])
        .find(|package| package["name"] == NAME && package["source"].is_null())
        .and_then(|package| package["id"].as_str())
        .context("cargo lists no package of ours")?;
    let mut found = BTreeSet::from([ours]);
    let mut waiting = vec![ours];
    while let Some(id) = waiting.pop() {
        for dependency in list(&nodes.get(id).context("a package without a node")?["deps"]) {
            let is_normal = list(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
            let id = dependency["pkg"].as_str().context("a dependency without an id")?;
            if is_normal && found.insert(id) {
                waiting.push(id);
            }
        }
    }
    Ok(found)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn read(package: &Value) -> Result<Package> {
    let text = |name: &str| package[name].as_str().unwrap_or_default();
    let folder =
        Path::new(text("manifest_path")).parent().context("a manifest lies in a folder")?;
    let mut texts = Vec::new();
    read_texts(folder, DEPTH, &mut texts)
        .with_context(|| format!("reading the licences in {}", folder.display()))?;
    texts.sort();
    Ok(Package {
        title: format!("{} {} ({})", text("name"), text("version"), text("license")),
        address: text("repository").to_owned(),
        texts: texts.into_iter().map(|(_, text)| text).collect(),
    })
}

fn read_texts(folder: &Path, depth: usize, texts: &mut Vec<(String, String)>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_dir() {
            if depth > 0 {
                read_texts(&path, depth - 1, texts)?;
            }
        } else if is_licence(&path, &name)
            && let Ok(text) = std::fs::read_to_string(&path)
        {
            texts.push((path.display().to_string(), text.replace("\r\n", "\n")));
        }
    }
    Ok(())
}

fn is_licence(path: &Path, name: &str) -> bool {
    let is_code =
        path.extension().is_some_and(|ending| NOT_TEXT.iter().any(|&code| ending == code));
    !is_code && PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
