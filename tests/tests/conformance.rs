//! The conformance suite: every language's plugins against the same data. What they do is in
//! `tests/conformance/README.md`; a language is a folder there.

use std::fs;
use std::path::{Path, PathBuf};

use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::paths;
use serde::Deserialize;
use serde_json::Value;

/// Runs one language alone.
const ONE: &str = "SAGABOX_CONFORMANCE";
/// The plugins that must pass scenarios.
const PLUGINS: [&str; 4] = ["saga", "reactor", "enricher", "process-manager"];
/// The plugins that must be refused, and what the refusal must contain.
const BROKEN: [(&str, &str); 2] = [
    ("broken-describe", "broken while it describes itself"),
    ("broken-load", "broken while it loads"),
];

/// A language's `conformance.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Language {
    #[serde(skip)]
    folder: PathBuf,
    place: String,
    lone_surrogates: String,
    duplicate_members: String,
    /// `build` where modules run while they are built: the builder refuses the broken plugins.
    broken: Option<String>,
}

fn suite() -> PathBuf {
    paths::repository().join("tests/conformance")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn languages() -> Vec<Language> {
    let one = std::env::var(ONE).ok();
    let folders =
        fs::read_dir(suite()).expect("the suite").map(|entry| entry.expect("an entry").path());
    let mut languages: Vec<Language> = folders
        .filter(|folder| one.as_deref().is_none_or(|one| folder.ends_with(one)))
        .filter_map(|folder| {
            let text = fs::read_to_string(folder.join("conformance.toml")).ok()?;
            let read: Result<Language, _> = toml::from_str(&text);
            let read = read.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
            Some(Language { folder, ..read })
        })
        .collect();
    assert!(!languages.is_empty(), "no language was found: {one:?}");
    languages.sort_by(|one, other| one.folder.cmp(&other.folder));
    languages
}

impl Language {
    fn name(&self) -> &str {
        self.folder.file_name().and_then(|name| name.to_str()).expect("a name")
    }

    /// Where its components are built. They stay there, for the next run.
    fn built(&self) -> PathBuf {
        let folder = paths::target().join("conformance").join(self.name());
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    fn build(&self, plugin: &str) -> Ended {
        let (source, out) = (self.folder.join(plugin), self.built().join(plugin));
        let target = paths::target().join("plugins-build");
        let arguments =
            ["build", text(&source), "--out", text(&out), "--target", text(&target), "--json"];
        sagabox(&self.built(), &arguments)
    }

    fn component(&self, plugin: &str) -> Result<PathBuf, String> {
        let built = self.build(plugin);
        if built.code != 0 {
            return Err(format!("{plugin} cannot be built: {}", built.error));
        }
        let component = built.json()["built"][0]["component"].as_str().map(PathBuf::from);
        Ok(component.expect("the path of the component"))
    }

    /// The scenarios with what differs from language to language.
    fn scenarios(&self, of: &Path) -> PathBuf {
        let to = self.built().join("scenarios").join(of);
        fs::create_dir_all(&to).expect("a folder");
        for entry in fs::read_dir(suite().join("scenarios").join(of)).expect("scenarios") {
            let path = entry.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a scenario file");
            let name = path.file_name().expect("a name");
            fs::write(to.join(name), text.replace("{place}", &self.place)).expect("a file");
        }
        to
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for plugin in PLUGINS {
            match self.component(plugin) {
                Ok(component) => {
                    problems.extend(self.unlike_scenarios(&component, Path::new(plugin)));
                    problems.extend(self.unlike_manifest(&component, plugin));
                    if plugin == "saga" {
                        problems.extend(self.unlike_choices(&component));
                        problems.extend(self.unlike_log(&component));
                        problems.extend(self.unlike_configuration(&component));
                    }
                }
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(
            BROKEN.iter().filter_map(|(plugin, expected)| self.unrefused(plugin, expected)),
        );
        problems.iter().map(|problem| format!("{}: {problem}", self.name())).collect()
    }

    fn unlike_scenarios(&self, component: &Path, of: &Path) -> Vec<String> {
        self.played(component, &self.scenarios(of))
    }

    fn played(&self, component: &Path, scenarios: &Path) -> Vec<String> {
        let arguments = ["test", text(component), "--scenarios", text(scenarios), "--json"];
        let tested = sagabox(&self.built(), &arguments);
        if tested.output.is_empty() {
            return vec![tested.error];
        }
        let report = tested.json();
        let files = report["files"].as_array().expect("files").iter();
        let all = files.flat_map(|file| file["scenarios"].as_array().expect("scenarios"));
        let failed =
            all.filter(|one| one["problems"].as_array().is_some_and(|all| !all.is_empty()));
        failed.map(|one| format!("{}: {}", one["scenario"], one["problems"])).collect()
    }

    /// Where languages may differ, the folder says what it does.
    fn unlike_choices(&self, component: &Path) -> Vec<String> {
        let choices = [
            ("lone_surrogates", &self.lone_surrogates),
            ("duplicate_members", &self.duplicate_members),
        ];
        let folder = self.scenarios(Path::new("choices/lone_surrogates"));
        let _ = self.scenarios(Path::new("choices/duplicate_members"));
        let all = folder.parent().expect("a folder");
        choices
            .iter()
            .flat_map(|(choice, value)| {
                self.played(component, &all.join(choice).join(format!("{value}.yaml")))
            })
            .collect()
    }

    /// The required part of the manifest.
    fn unlike_manifest(&self, component: &Path, plugin: &str) -> Option<String> {
        let checked = sagabox(&self.built(), &["check", text(component), "--json"]).with(0).json();
        let mut found = checked["plugins"][0]["manifest"].clone();
        let expected = fs::read_to_string(suite().join(format!("manifests/{plugin}.json")));
        let expected: Value = serde_json::from_str(&expected.expect("a manifest")).expect("JSON");
        let members = found.as_object_mut().expect("a manifest");
        members.retain(|name, _| expected.get(name).is_some());
        if let Some(subscriptions) = members["subscriptions"].as_array_mut() {
            subscriptions.sort_by_key(|one| one["type"].as_str().map(ToOwned::to_owned));
        }
        (found != expected).then(|| format!("{plugin}: its manifest is {found}, not {expected}"))
    }

    fn unlike_log(&self, component: &Path) -> Vec<String> {
        let scenarios = self.scenarios(Path::new("saga")).join("settings.yaml");
        let arguments = ["test", text(component), "--scenarios", text(&scenarios), "--json"];
        let filtered = [&arguments[..], &["--filter", "logs"]].concat();
        let report = sagabox(&self.built(), &filtered).with(0).json();
        let wrote = &report["files"][0]["scenarios"][0]["wrote"];
        let lines = wrote.as_array().expect("lines").iter();
        let lines: Vec<&str> = lines.filter_map(Value::as_str).collect();
        let expected = [
            "trace: trace l",
            "debug: debug l",
            "info: info l",
            "warn: warn l",
            "error: error l",
            "info: printed l",
        ];
        let missing = expected.iter().filter(|line| !lines.contains(line));
        missing.map(|line| format!("it does not write `{line}`, but {lines:?}")).collect()
    }

    fn unlike_configuration(&self, component: &Path) -> Option<String> {
        let folder = self.built();
        let file = folder.join("unknown-member.toml");
        fs::write(&file, "[plugin.conformance-saga]\ngreetin = 'hi'\n").expect("a file");
        let checked = sagabox(&folder, &["check", text(component), "--config", text(&file)]);
        let is_refused = checked.code == 1 && checked.output.contains("greetin");
        (!is_refused).then(|| format!("an unknown setting is not refused: {}", checked.output))
    }

    /// Why a broken plugin is not refused as it must be, by the builder or by the host.
    fn unrefused(&self, plugin: &str, expected: &str) -> Option<String> {
        if !self.folder.join(plugin).is_dir() {
            // Without code that runs while a module loads.
            return (plugin != "broken-load").then(|| format!("{plugin} is missing"));
        }
        let said = match self.component(plugin) {
            Ok(_) if self.broken.as_deref() == Some("build") => {
                return Some(format!("{plugin} is built"));
            }
            Ok(component) => {
                let checked = sagabox(&self.built(), &["check", text(&component)]);
                if checked.code == 0 {
                    return Some(format!("{plugin} is not refused"));
                }
                format!("{}{}", checked.output, checked.error)
            }
            Err(refusal) => refusal,
        };
        let missing = [expected, &self.place].into_iter().find(|part| !said.contains(part))?;
        Some(format!("{plugin}: `{missing}` is not in its refusal: {said}"))
    }
}

#[test]
fn every_language_passes_the_conformance_suite() {
    let problems: Vec<String> = languages().iter().flat_map(Language::problems).collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}
