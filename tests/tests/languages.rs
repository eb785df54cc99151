//! Plugins in other languages than Rust: what their authors run, from a new project to a command
//! that a running host sends. A machine that lacks a language's tools fails its tests, and says
//! what is missing.
//!
//! `./dev test --no-languages` leaves the tests of this module out, by its name.

use std::fs;
use std::path::{Path, PathBuf};

use sagabox_tests::client::Client;
use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::events::event;
use sagabox_tests::host::Host;
use sagabox_tests::{example, paths, wait};
use serde_json::json;
use tempfile::TempDir;

use crate::hot::put;

mod tutorials;

/// Roles beside the saga, which is also served.
const OTHER_ROLES: [&str; 3] = ["process-manager", "reactor", "enricher"];
const SEEDS: &str = "20";

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Intermediate files of all builds, for the next run as well.
fn target() -> PathBuf {
    paths::target().join("plugins-build")
}

struct Author {
    language: &'static str,
    folder: TempDir,
}

impl Author {
    fn of(language: &'static str) -> Self {
        Self { language, folder: TempDir::new().expect("a temporary folder") }
    }

    fn sdk(&self) -> &'static str {
        if self.language == "cpp" { "c" } else { self.language }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        sagabox(self.folder.path(), arguments)
    }

    /// A project, whose scenarios hold as it is.
    #[track_caller]
    fn new_project(&self, role: &str) -> String {
        let name = format!("my-{}-{role}", self.language);
        let sdk = paths::repository().join("guest-sdk").join(self.sdk());
        let new = ["new", &name, "--lang", self.language, "--role", role, "--sdk", text(&sdk)];
        let _ = self.run(&new).with(0).saying("Next steps:");
        let _ = self.test(&name).with(0).saying(" passed, 0 failed");
        name
    }

    fn test(&self, name: &str) -> Ended {
        self.run(&["test", name, "--target", text(&target())])
    }

    /// Changes the text in the file of the project that has it.
    #[track_caller]
    fn change(&self, name: &str, from: &str, to: &str) {
        let project = self.folder.path().join(name);
        let folders = [project.clone(), project.join("src")];
        let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let files = files.map(|entry| entry.expect("an entry").path());
        // Native tests stand beside the handlers in some languages.
        let is_test = |path: &PathBuf| text(path).contains("test");
        let own = files.filter(|path| path.is_file()).filter(|path| {
            !is_test(&path.strip_prefix(&project).expect("a file of the project").to_owned())
        });
        let changed = own.filter(|path| {
            let before = fs::read_to_string(path).unwrap_or_default();
            before.contains(from) && fs::write(path, before.replace(from, to)).is_ok()
        });
        assert_eq!(changed.count(), 1, "files of {name} with `{from}`");
    }
}

/// A host that takes what commands have compiled.
fn cached() -> sagabox_tests::host::Builder {
    Host::builder().variable("SAGABOX_CACHE", text(&paths::cache()))
}

/// Waits until a file that is new among the plugins is served.
async fn serves(client: &Client, name: &str) {
    wait::until(&format!("{name} serves"), wait::LONG, || async {
        let plugins = client.get("/plugins").await?;
        let mut all = plugins["plugins"].as_array().into_iter().flatten();
        match all.any(|plugin| plugin["name"] == name) {
            true => Ok(()),
            false => Err(plugins.to_string()),
        }
    })
    .await;
}

/// From nothing to a command, as the README of each SDK describes it.
async fn a_new_project_serves(language: &'static str) {
    let author = Author::of(language);
    let name = author.new_project("saga");
    // A changed handler is built anew, and its scenario says what it does now.
    author.change(&name, "payment failed", "no money");
    let changed = author.test(&name).with(1);
    let _ = changed.saying("sends[0].data.reason: expected \"payment failed\", found \"no money\"");
    let target = target();
    let built = ["build", &name, "--out", "plugins", "--target", text(&target)];
    let _ = author.run(&built).with(0).saying("built plugins/");
    let _ = author.run(&["check", "plugins"]).saying("1 plugin: 0 errors");
    let host = cached().start().await;
    let component = author.folder.path().join(format!("plugins/{name}.wasm"));
    put(&host, &format!("{name}.wasm"), &fs::read(component).expect("the component"));
    let client = host.client();
    serves(&client, &name).await;
    let failed = event("1", "PaymentFailed", "o-1", &json!({"orderId": "o-1"}));
    client.send(&[failed]).await;
    let commands = client.take_exactly("CancelOrder", 1).await;
    let command = commands.values().next().expect("a command");
    assert_eq!(command["data"], json!({"orderId": "o-1", "reason": "no money"}), "{command}");
}

fn the_other_roles_are_whole(language: &'static str) {
    let (author, target) = (Author::of(language), target());
    for role in OTHER_ROLES {
        let name = author.new_project(role);
        let simulated = ["sim", &name, "--seeds", SEEDS, "--target", text(&target)];
        let simulated = author.run(&simulated).with(0);
        assert!(!simulated.output.contains("occurred in no run"), "{}", simulated.output);
    }
}

macro_rules! tests_of {
    ($($language:ident: $serves:ident $roles:ident,)*) => {$(
        #[tokio::test]
        async fn $serves() {
            a_new_project_serves(stringify!($language)).await;
        }

        #[test]
        fn $roles() {
            the_other_roles_are_whole(stringify!($language));
        }
    )*};
}

tests_of! {
    typescript: a_new_typescript_project_serves the_other_roles_in_typescript_are_whole,
    python: a_new_python_project_serves the_other_roles_in_python_are_whole,
    go: a_new_go_project_serves the_other_roles_in_go_are_whole,
    c: a_new_c_project_serves the_other_roles_in_c_are_whole,
    cpp: a_new_cpp_project_serves the_other_roles_in_cpp_are_whole,
}

/// What comes after an `await` that no one waits for would be missing from the decision.
#[test]
fn what_typescript_would_wait_for_is_a_failure() {
    let author = Author::of("typescript");
    let name = author.new_project("saga");
    author.change(
        &name,
        "    OrderPlaced({ data }, ctx) {",
        "    OrderPlaced({ data }, ctx) {
      const later = async () => {
        await null;
        ctx.send('CancelOrder', { orderId: data.orderId, reason: 'later' });
      };
      if (data.orderId === 'awaited') void later();
      if (data.orderId === 'then') void Promise.resolve(1).then(() => later);
      if (data.orderId === 'rejected') void Promise.reject(new Error('lost'));",
    );
    let scenario = |id: &str, then: &str| {
        let when = format!("{{type: OrderPlaced, data: {{orderId: {id}, totalPrice: 1}}}}");
        format!("- scenario: {id}\n  when: {when}\n  then: {then}\n")
    };
    let scenarios = [
        scenario("awaited", "{fails: 'and ask with ctx.lookup and ctx.stream (src/index.ts:18:'}"),
        scenario("then", "{fails: 'a promise is made here'}"),
        scenario("rejected", "{fails: '(src/index.ts:24:'}"),
        scenario("good", "{sends: [{RequestPayment: {orderId: good, totalPrice: 1}}]}"),
    ];
    let file = author.folder.path().join(&name).join("scenarios/orders.yaml");
    fs::write(file, scenarios.concat()).expect("a file");
    let _ = author.test(&name).with(0).saying("4 passed, 0 failed");
}

/// A result that C leaves undefined would be committed as if it were right.
#[test]
fn what_c_leaves_undefined_is_a_failure() {
    for language in ["c", "cpp"] {
        let author = Author::of(language);
        // Names that C, Go's standard library, or the handlers have.
        let name = "paid";
        let sdk = paths::repository().join("guest-sdk/c");
        let role = "process-manager";
        let new = ["new", name, "--lang", language, "--role", role, "--sdk", text(&sdk)];
        let _ = author.run(&new).with(0);
        author.change(
            name,
            "  order->order_id = event->order_id;",
            "  int64_t end = event->order_id.len == 8 ? INT64_MAX : 7;
  const sb_text *id = event->order_id.len == 4 ? NULL : &event->order_id;
  order->order_id = end + (int64_t)event->order_id.len > 0 && id->len > 0 ? *id : event->order_id;",
        );
        let scenario = |id: &str, then: &str| {
            let when = format!("{{type: OrderPlaced, data: {{orderId: {id}}}}}");
            format!("- scenario: {id}\n  when: {when}\n  then: {then}\n")
        };
        let trapped = "{fails: wasm `unreachable` instruction executed}";
        let scenarios = [
            scenario("fine", trapped),
            scenario("overflow", trapped),
            scenario("good-1", "{timers: {deadline: 1h}}"),
        ];
        let file = author.folder.path().join(name).join("scenarios/orders.yaml");
        fs::write(file, scenarios.concat()).expect("a file");
        let _ = author.test(name).with(0).saying("3 passed, 0 failed");
    }
}

/// The templates of C are those of C++, too; the native tests in C are in its tutorial.
#[test]
fn the_native_tests_of_a_new_cpp_project_pass() {
    let author = Author::of("cpp");
    let sdk = paths::repository().join("guest-sdk/c");
    for role in OTHER_ROLES {
        let name = format!("my-{role}");
        let new = ["new", &name, "--lang", "cpp", "--role", role, "--sdk", text(&sdk)];
        let _ = author.run(&new).with(0);
        let mut test = std::process::Command::new("sh");
        test.arg(sdk.join("test.sh")).arg(&name).current_dir(author.folder.path());
        let ran = test.output().expect("a shell");
        let said = String::from_utf8_lossy(&ran.stdout);
        let is_run = said.contains("tests/handlers.cpp\n") && said.contains(" passed, 0 failed");
        assert!(ran.status.success() && is_run, "{role}: {ran:?}");
    }
}

// ---- the examples -----------------------------------------------------------------

/// The sources of an example in all languages that `sagabox build` knows.
fn sources(example: &str) -> Vec<PathBuf> {
    let folder = paths::repository().join("examples/languages").join(example);
    let entries =
        fs::read_dir(folder).expect("the example").map(|entry| entry.expect("one").path());
    let known = ["package.json", "pyproject.toml", "go.mod", "Makefile", "Cargo.toml"];
    let is_project = |path: &PathBuf| known.iter().any(|file| path.join(file).is_file());
    let mut sources: Vec<PathBuf> = entries.filter(is_project).collect();
    sources.sort();
    sources
}

/// Builds it into a folder of its language, under the name that the plugin in Rust has.
#[track_caller]
pub(crate) fn built(example: &str, source: &Path) -> PathBuf {
    let language = source.file_name().and_then(|name| name.to_str()).expect("a language");
    let folder = TempDir::new().expect("a temporary folder");
    let out = paths::target().join("languages").join(example).join(language);
    let target = target();
    let build = ["build", text(source), "--out", text(&out), "--target", text(&target), "--json"];
    let built = sagabox(folder.path(), &build).with(0).json();
    let component = built["built"][0]["component"].as_str().map(PathBuf::from);
    component.expect("the path of the component")
}

/// The languages of an example, each of which passes the scenarios of the plugin in Rust.
#[track_caller]
fn every_language_passes_the_scenarios(example: &str, expected: &[&str]) {
    let sources = sources(example);
    for language in expected {
        assert!(sources.iter().any(|source| source.ends_with(language)), "{example} in {language}");
    }
    let folder = TempDir::new().expect("a temporary folder");
    let scenarios = paths::repository().join("plugins").join(example).join("scenarios");
    for source in sources {
        let component = built(example, &source);
        let arguments = ["test", text(&component), "--scenarios", text(&scenarios)];
        let _ = sagabox(folder.path(), &arguments).with(0).saying(" passed, 0 failed");
    }
}

#[test]
fn the_order_saga_decides_the_same_in_every_language() {
    every_language_passes_the_scenarios("order-saga", &["typescript", "python", "go", "c", "cpp"]);
}

#[test]
fn the_group_checkout_decides_the_same_in_every_language() {
    every_language_passes_the_scenarios("group-checkout", &["typescript", "python", "go", "c"]);
}

#[test]
fn the_order_fulfilment_decides_the_same_in_typescript_and_go() {
    every_language_passes_the_scenarios("order-fulfilment", &["typescript", "go"]);
}

/// A host for each language, which loads the plugin while it runs: compiling a component of some
/// languages takes longer than a host may take to start here.
#[tokio::test]
async fn the_order_saga_serves_in_every_language() {
    for source in sources("order-saga") {
        let bytes = fs::read(built("order-saga", &source)).expect("the component");
        let config = paths::example("order-saga").join("sagabox.toml");
        let host = cached().configuration_file(config).start().await;
        put(&host, "order-saga.wasm", &bytes);
        let client = host.client();
        serves(&client, "order-saga").await;
        let path = paths::example("order-saga").join("events.ndjson");
        client.send(&sagabox_tests::events::read_ndjson(&path).expect("the events")).await;
        example::check(&client, &example::expected("order-saga")).await;
    }
}

// ---- four plugins in four languages -------------------------------------------------

/// What a plugin's author changes without its neighbours: folder, text, text in its place.
const PLANTED: [(&str, &str, &str); 5] = [
    ("typescript/src/index.ts", "total: t.integer", "sum: t.integer"),
    ("typescript/src/index.ts", "total: quantity", "sum: quantity"),
    ("typescript/src/index.ts", "'normal', 'express')", "'normal', 'express', 'today')"),
    ("go/main.go", "Weight  float64", "Weight  string"),
    ("go/main.go", "event.Weight > 30", "len(event.Weight) > 2"),
];

#[test]
fn mismatches_between_four_languages_are_found_with_plugin_message_and_pointer() {
    let (folder, target) = (TempDir::new().expect("a temporary folder"), target());
    let sdks = paths::repository().join("guest-sdk");
    let read = |path: &str| {
        let source = fs::read_to_string(paths::repository().join("tests/choreography").join(path));
        source.expect("a source").replace("../../../guest-sdk", text(&sdks))
    };
    let files = [
        "typescript/package.json",
        "typescript/src/index.ts",
        "python/pyproject.toml",
        "python/packing.py",
        "go/go.mod",
        "go/main.go",
        "c/Makefile",
        "c/src/closing.c",
    ];
    let check = |planted: &[(&str, &str, &str)], code: i32| {
        for path in files {
            let own = planted.iter().filter(|(file, _, _)| *file == path);
            let changed = own.fold(read(path), |all, (_, from, to)| all.replace(from, to));
            let to = folder.path().join(path);
            fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
            fs::write(to, changed).expect("a source");
        }
        let build = ["build", "typescript", "python", "go", "c", "--target", text(&target)];
        let _ = sagabox(folder.path(), &build).with(0);
        sagabox(folder.path(), &["check", "plugins"]).with(code)
    };
    let _ = check(&[], 0).saying("4 plugins: 0 errors");
    let _ = check(&PLANTED, 1)
        .saying("packing: it cannot read every `OrderPriced` of pricing: at `/priority`: pricing may send \"today\"")
        .saying("at `/total`: pricing never sends it, packing requires it")
        .saying("shipping: it cannot read every `OrderPacked` of packing: at `/weight`: packing sends a number");
}
