//! Reads the imports of the engine and the host, and holds them to the dependency rules that
//! ARCHITECTURE.md states: who may import whom, that no circle of files crosses a folder, and
//! who alone names SQL, wasm and the generated types of the plugin interface.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

use sagabox_tests::paths;

/// Each room, and the rooms that its files may import beside their own.
type Rules = &'static [(&'static str, &'static [&'static str])];

const ENGINE: Rules = &[
    ("model", &[]),
    ("pure", &["model"]),
    ("seams", &["model"]),
    ("changes", &["model", "pure", "seams"]),
    ("stages", &["model", "pure", "seams", "changes"]),
    ("engine", &["model", "pure", "seams", "changes", "stages"]),
    ("sim", &["model", "pure", "seams", "changes", "engine"]),
];

const HOST: Rules = &[
    ("io", &[]),
    ("decisions", &[]),
    ("access", &["io"]),
    ("telemetry", &["io"]),
    ("alerts", &["plugins", "telemetry"]),
    ("store", &["io", "decisions", "access"]),
    ("batches", &["io", "store"]),
    ("plugins", &["io", "decisions", "store", "batches"]),
    ("api", &["io", "decisions", "plugins", "store", "access", "telemetry", "batches"]),
    ("pages", &["io", "decisions", "store", "plugins", "access", "api"]),
    ("mcp", &["io", "access", "api"]),
    ("config", &["io", "plugins", "api", "access", "telemetry", "alerts"]),
    ("verify", &["io", "decisions", "store", "plugins", "config"]),
    (
        "host",
        &[
            "io",
            "store",
            "plugins",
            "api",
            "pages",
            "mcp",
            "config",
            "access",
            "telemetry",
            "alerts",
            "batches",
        ],
    ),
    (
        "cli",
        &[
            "io",
            "decisions",
            "store",
            "plugins",
            "api",
            "mcp",
            "config",
            "verify",
            "host",
            "access",
        ],
    ),
    ("round_trip", &["io", "decisions", "store", "api", "cli"]),
];

/// A stage, and the other stages that it may import: the dispatcher hands its calls to the
/// shards, and both it and the lanes of sinks read the store in tasks of their own.
const STAGES: &[(&str, &[&str])] = &[("dispatch", &["shard", "reads"]), ("sinks", &["reads"])];

/// A crate, the only folder of `host/src` that may name it, and what of that may not.
const CRATES: &[(&str, &str, &str)] = &[
    ("sqlx", "store/", "store/query/"),
    ("rusqlite", "store/", "store/query/"),
    ("wasmtime", "plugins/wasm/", ""),
];

/// What other rooms may import of `store`: a file without the name of a database. The rest is of
/// one kind of store.
const FRONT_OF_STORE: &[&str] =
    &["store/query/", "store/connect.rs", "store/backup.rs", "store/inspect.rs"];

#[test]
fn the_engine_keeps_its_dependency_rules() {
    let source = Source::of_crate("host/engine/src");
    assert_eq!(source.broken(ENGINE), Vec::<String>::new());
    assert_eq!(source.stages_that_import_others(), Vec::<String>::new());
    assert_eq!(source.circles(), Vec::<Vec<String>>::new());
}

#[test]
fn the_host_keeps_its_dependency_rules() {
    let source = Source::of_crate("host/src");
    assert_eq!(source.broken(HOST), Vec::<String>::new());
    assert_eq!(source.misnamed(), Vec::<String>::new());
    assert_eq!(source.behind_the_front_of_the_store(), Vec::<String>::new());
    assert_eq!(source.circles(), Vec::<Vec<String>>::new());
}

#[test]
fn the_tables_of_architecture_are_these_rules() {
    let text = fs::read_to_string(paths::repository().join("ARCHITECTURE.md")).unwrap();
    assert_eq!(documented(&text, "### Engine: "), sets(ENGINE));
    assert_eq!(documented(&text, "### Host: "), sets(HOST));
}

/// A crate of these files, and the circles in it.
#[track_caller]
fn check_circle(files: &[(&str, &str)], expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let expected: Vec<Vec<String>> = match expected {
        [] => Vec::new(),
        _ => vec![expected.iter().map(|name| (*name).to_owned()).collect()],
    };
    assert_eq!(Source::read(folder.path()).circles(), expected);
}

#[test]
fn a_circle_is_found_whatever_kind_of_path_closes_it() {
    let circle = &["a/one.rs", "b/two.rs"];
    let back = ("b/two.rs", "use crate::a::one::One;");
    for one in [
        "use crate::b::two::Two;",
        "use super::super::b::two::Two;",
        "use crate::{b::two::{self, Two as Three}};",
        "use crate::b::two::*;",
        "fn f() { crate::b::two::g() }",
        "fn f(x: super::super::b::two::Two) {}",
        "fn f() { println!(\"{}\", crate::b::two::TWO) }",
        "impl crate::b::two::Two for u8 {}",
        "#[arg(default_value = crate::b::two::TWO)] struct One;",
    ] {
        check_circle(&[("a/one.rs", one), back], circle);
    }
    for none in ["use two::Two;", "#[cfg(test)] mod tests { use crate::b::two::Two; }"] {
        check_circle(&[("a/one.rs", none), back], &[]);
    }
}

#[test]
fn a_circle_is_found_through_what_a_folder_exports_again() {
    let one = ("a/one.rs", "use crate::b::Two;");
    for exported in ["pub use two::Two;", "pub use self::two::Two;", "pub use two::*;"] {
        let two = ("b/two.rs", "use crate::a::one::One;");
        check_circle(&[one, ("b/mod.rs", exported), two], &["a/one.rs", "b/mod.rs", "b/two.rs"]);
    }
    // Within one folder, files may import each other.
    check_circle(&[("a/mod.rs", "pub use one::One;"), ("a/one.rs", "use super::Two;")], &[]);
}

fn sets(rules: Rules) -> BTreeMap<String, BTreeSet<String>> {
    let set = |others: &[&str]| others.iter().map(|other| (*other).to_owned()).collect();
    rules.iter().map(|(room, others)| ((*room).to_owned(), set(others))).collect()
}

/// The first two columns of the table below a heading: rooms, and what each may import.
fn documented(text: &str, heading: &str) -> BTreeMap<String, BTreeSet<String>> {
    let (_, section) = text.split_once(heading).expect("the heading");
    let rows = section.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let plain = row.replace('`', "");
        let mut cells = plain.split('|').skip(1).map(str::trim);
        let room = cells.next().unwrap().trim_end_matches(".rs").to_owned();
        let others = cells.next().unwrap().split(", ").filter(|other| *other != "nothing");
        (room, others.map(ToOwned::to_owned).collect())
    })
    .collect()
}

/// The files of a crate, and what each imports.
struct Source {
    /// By the file's path below the crate's root.
    files: BTreeMap<String, File>,
}

#[derive(Default)]
struct File {
    /// Files of the same crate.
    imports: BTreeSet<String>,
    /// The first names of all other paths.
    crates: BTreeSet<String>,
}

impl Source {
    fn of_crate(place: &str) -> Self {
        let source = Self::read(&paths::repository().join(place));
        assert!(source.files.len() > 50, "only {} files in {place}", source.files.len());
        source
    }

    fn read(root: &Path) -> Self {
        let mut paths = Vec::new();
        rust_files(root, &mut paths);
        let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let by_module: BTreeMap<Vec<String>, String> =
            paths.iter().map(|path| (module_of(&name(path)), name(path))).collect();
        let parse = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            (name(path), syn::parse_file(&text).unwrap())
        };
        let parsed: Vec<(String, syn::File)> = paths.iter().map(parse).collect();
        let of_tests: BTreeSet<Vec<String>> =
            parsed.iter().flat_map(|(name, syntax)| modules_of_tests(name, syntax)).collect();
        let files = parsed.into_iter().map(|(own, syntax)| {
            let mut found = Paths { module: module_of(&own), paths: Vec::new() };
            found.visit_file(&syntax);
            let mut file = File::default();
            for path in found.paths {
                let is_module = |path: &[String]| by_module.contains_key(path);
                match resolve(&path, &found.module, is_module) {
                    Some(absolute) => {
                        let file_of = |end: usize| by_module.get(&absolute[..end]);
                        let target = (1..=absolute.len()).rev().find_map(file_of);
                        file.imports.extend(target.filter(|target| **target != own).cloned());
                    }
                    None => file.crates.extend(path.first().cloned()),
                }
            }
            (own, file)
        });
        let mut source = Self { files: files.collect() };
        source.files.retain(|name, _| {
            let module = module_of(name);
            let is_of_tests = (1..=module.len()).any(|end| of_tests.contains(&module[..end]));
            // What ties everything together may import everything.
            !is_of_tests && !matches!(name.as_str(), "lib.rs" | "main.rs")
        });
        source
    }

    /// Imports that no rule allows.
    fn broken(&self, rules: Rules) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, file) in &self.files {
            let own = room(name);
            let Some((_, allowed)) = rules.iter().find(|(room, _)| *room == own) else {
                broken.push(format!("{name} is in no room"));
                continue;
            };
            for import in &file.imports {
                let other = room(import);
                if other != own && other != "lib" && !allowed.contains(&other) {
                    broken.push(format!("{name} imports {import}"));
                }
            }
        }
        broken
    }

    fn stages_that_import_others(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, file) in &self.files {
            let Some(own) = stage(name) else { continue };
            for import in &file.imports {
                let Some(other) = stage(import).filter(|other| *other != own) else { continue };
                let allowed = STAGES.iter().find(|(stage, _)| *stage == own);
                if !allowed.is_some_and(|(_, others)| others.contains(&other)) {
                    broken.push(format!("{name} imports {import}"));
                }
            }
        }
        broken
    }

    /// Files that name a crate which is not theirs to name.
    fn misnamed(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (name, file) in &self.files {
            for (of, folder, without) in CRATES {
                let is_without = !without.is_empty() && name.starts_with(without);
                let may = name.starts_with(folder) && !is_without;
                if file.crates.contains(*of) && !may {
                    broken.push(format!("{name} names {of}"));
                }
            }
        }
        broken
    }

    fn behind_the_front_of_the_store(&self) -> Vec<String> {
        let is_front = |import: &str| FRONT_OF_STORE.iter().any(|front| import.starts_with(front));
        let outside = self.files.iter().filter(|(name, _)| room(name) != "store");
        let imports = outside.flat_map(|(name, file)| file.imports.iter().map(move |i| (name, i)));
        let behind = imports.filter(|(_, import)| room(import) == "store" && !is_front(import));
        behind.map(|(name, import)| format!("{name} imports {import}")).collect()
    }

    /// Files of different folders that import each other, directly or by way of others.
    fn circles(&self) -> Vec<Vec<String>> {
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            self.files.keys().map(|name| (name.as_str(), self.reached_from(name))).collect();
        let mut circles = BTreeSet::new();
        for (name, targets) in &reached {
            let back = targets.iter().filter(|target| {
                reached.get(*target).is_some_and(|reached| reached.contains(name))
            });
            let circle: BTreeSet<&str> = back.copied().chain([*name]).collect();
            let folders: BTreeSet<_> = circle.iter().map(|name| Path::new(name).parent()).collect();
            if folders.len() > 1 {
                circles.insert(circle.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>());
            }
        }
        circles.into_iter().collect()
    }

    fn reached_from<'a>(&'a self, name: &str) -> BTreeSet<&'a str> {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&str> = vec![name];
        while let Some(name) = next.pop() {
            for import in self.files.get(name).into_iter().flat_map(|file| &file.imports) {
                if reached.insert(import.as_str()) {
                    next.push(import);
                }
            }
        }
        reached
    }
}

/// All paths of a file that its tests alone do not use.
struct Paths {
    module: Vec<String>,
    paths: Vec<Vec<String>>,
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !attributes.iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_use_tree(&mut self, tree: &'ast syn::UseTree) {
        self.expand(&mut Vec::new(), tree);
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(&list.tokens.to_string());
        visit::visit_meta_list(self, list);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string());
        self.paths.push(segments.collect());
        visit::visit_path(self, path);
    }
}

impl Paths {
    /// The arguments of macros and attributes are tokens, of which the paths of this crate are read.
    fn tokens(&mut self, text: &str) {
        let tokens: Vec<&str> = text.split_whitespace().collect();
        for (place, token) in tokens.iter().enumerate() {
            // A definition's `$crate` is a path of the files that use the macro.
            let is_path = tokens.get(place + 1) == Some(&"::")
                && (place == 0 || tokens[place - 1] != "$")
                && matches!(*token, "crate" | "super" | "self");
            if is_path {
                let pairs = tokens[place..].chunks(2);
                let further = pairs.clone().take_while(|pair| pair.get(1) == Some(&"::")).count();
                let names = pairs.take(further + 1).map(|pair| pair[0].to_owned());
                self.paths.push(names.collect());
            }
        }
    }

    fn expand(&mut self, before: &mut Vec<String>, tree: &syn::UseTree) {
        let mut end = |name: &syn::Ident, before: &[String]| {
            let mut path = before.to_vec();
            if name != "self" {
                path.push(name.to_string());
            }
            self.paths.push(path);
        };
        match tree {
            syn::UseTree::Name(name) => end(&name.ident, before),
            syn::UseTree::Rename(rename) => end(&rename.ident, before),
            syn::UseTree::Glob(_) => self.paths.push(before.clone()),
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.expand(before, &path.tree);
                before.pop();
            }
            syn::UseTree::Group(group) => {
                for item in &group.items {
                    self.expand(before, item);
                }
            }
        }
    }
}

/// Modules that a file declares for its tests alone.
fn modules_of_tests(name: &str, syntax: &syn::File) -> Vec<Vec<String>> {
    let declared = syntax.items.iter().filter_map(|item| match item {
        syn::Item::Mod(item) if item.attrs.iter().any(is_for_tests) => Some(&item.ident),
        _ => None,
    });
    declared.map(|ident| [module_of(name), vec![ident.to_string()]].concat()).collect()
}

fn is_for_tests(attribute: &syn::Attribute) -> bool {
    let syn::Meta::List(list) = &attribute.meta else { return false };
    list.path.is_ident("cfg") && list.tokens.to_string() == "test"
}

/// The path from the crate's root; none if it is not of this crate. A path can begin with the name
/// of a module below the one that it is in.
fn resolve(
    path: &[String],
    module: &[String],
    is_module: impl Fn(&[String]) -> bool,
) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let below = [module, std::slice::from_ref(first)].concat();
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let ups = path.iter().take_while(|name| *name == "super").count();
            let base = &module[..module.len().checked_sub(ups)?];
            Some([base, &path[ups..]].concat())
        }
        _ if is_module(&below) => Some([module, path].concat()),
        _ => None,
    }
}

fn module_of(name: &str) -> Vec<String> {
    let mut module: Vec<String> =
        name.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] || module == ["main"] {
        module.pop();
    }
    module
}

fn room(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim_end_matches(".rs")
}

fn stage(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("stages/").filter(|rest| *rest != "mod.rs")?;
    Some(rest.split('/').next().unwrap_or(rest).trim_end_matches(".rs"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
