//! The author's tools: `new`, `build`, `check` and `test`, as an author runs them.

use std::path::{Path, PathBuf};

use sagabox_tests::command::sagabox;
use sagabox_tests::paths;
use tempfile::TempDir;

const PLUGINS: [&str; 5] =
    ["cart-forwarder", "group-checkout", "order-fulfilment", "order-saga", "shipment"];

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// A folder with these of the built plugins.
fn plugins(folder: &Path, names: &[&str]) -> PathBuf {
    let plugins = folder.join("plugins");
    std::fs::create_dir(&plugins).expect("a folder");
    for name in names {
        std::fs::copy(paths::plugin(name), plugins.join(format!("{name}.wasm"))).expect("a copy");
    }
    plugins
}

/// The component with one text in it replaced by another as long: the same plugin, that
/// says something else.
fn altered(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(paths::plugin(name)).expect("the plugin");
    let places: Vec<usize> = (0..bytes.len() - from.len())
        .filter(|&at| bytes[at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "`{from}` is not in {name}");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

// ---- check --------------------------------------------------------------------

#[test]
fn the_example_plugins_are_without_errors() {
    let folder = folder();
    let plugins = plugins(folder.path(), &PLUGINS);
    let checked = sagabox(folder.path(), &["check", text(&plugins)]).with(0);
    let checked = checked.saying("order-saga 0.1.0 (saga) from").saying("5 plugins: 0 errors, ");
    // No plugin here takes the events of the shipment.
    let _ = checked.saying("warning: shipment: its event `OutOfStock` has no receiver");
    let _ = sagabox(folder.path(), &["check", text(&plugins), "--deny-warnings"]).with(1);
}

#[test]
fn a_directory_is_described_to_programs_and_pages() {
    let folder = folder();
    let plugins = plugins(folder.path(), &["order-saga", "shipment"]);
    let printed = |format: &str| {
        sagabox(folder.path(), &["check", text(&plugins), "--format", format]).with(0)
    };
    let report = printed("json").json();
    assert_eq!(report["plugins"][0]["manifest"]["name"], "order-saga");
    assert_eq!(report["errors"], 0);
    let document = printed("asyncapi").json();
    assert_eq!(document["asyncapi"], "3.0.0");
    assert_eq!(document["operations"]["order-saga.send.CancelOrder"]["action"], "send");
    let payload = &document["components"]["messages"]["CancelOrder"]["payload"];
    assert_eq!(payload["schema"]["properties"]["orderId"]["type"], "string");
    assert!(printed("mermaid").output.starts_with("flowchart LR\n"));
}

#[test]
fn what_a_host_would_refuse_is_an_error() {
    let folder = folder();
    let plugins = plugins(folder.path(), &["order-saga"]);
    let network = r#"(component (import "wasi:http/outgoing-handler@0.2.0" (instance)))"#;
    std::fs::write(plugins.join("network.wasm"), wat::parse_str(network).expect("a component"))
        .expect("a file");
    std::fs::write(plugins.join("text.wasm"), "this is no plugin").expect("a file");
    let checked = sagabox(folder.path(), &["check", text(&plugins)]).with(1);
    let _ = checked
        .saying("network.wasm: a host refuses it: imports `wasi:http/outgoing-handler@0.2.0`")
        .saying("text.wasm: a host refuses it: is not a WebAssembly component")
        .saying("1 plugin: 2 errors");
    let none = sagabox(folder.path(), &["check", "nowhere"]).with(2);
    let _ = none.saying("nowhere not found");
}

#[test]
fn the_configuration_must_fit_the_plugins() {
    let folder = folder();
    let plugins = plugins(folder.path(), &["shipment"]);
    let check = |toml: &str, code: i32| {
        std::fs::write(folder.path().join("sagabox.toml"), toml).expect("a file");
        sagabox(folder.path(), &["check", text(&plugins)]).with(code)
    };
    let _ = check("", 0).saying("warning: shipment: its lookup `stock` is not configured");
    let missing = "[lookup.stock]\ntable = 'none.json'\nplugins = ['shipment']";
    let _ = check(missing, 1).saying("error: sagabox.toml: a host does not start: lookup.stock:");
    let routed = "[sink.out]\nstdout = true\n[routes]\nOutOfStock = 'out'";
    let _ = check(routed, 0).saying("warning: shipment: its command `SendPackage` has no route");
    let _ = check("nonsense = 1", 2).saying("sagabox.toml:1");
}

#[test]
fn a_section_that_a_plugin_does_not_read_is_an_error() {
    let folder = folder();
    let plugins = plugins(folder.path(), &["group-checkout"]);
    let check = |toml: &str, code: i32| {
        std::fs::write(folder.path().join("sagabox.toml"), toml).expect("a file");
        sagabox(folder.path(), &["check", text(&plugins)]).with(code)
    };
    let _ = check("[plugin.group-checkout]\ndeadline_seconds = 5", 0);
    let _ = check("[plugin.group-checkout]\ndeadline_secs = 5", 1).saying(
        "the section [plugin.group-checkout] of the configuration does not fit it: unknown member \
         `deadline_secs`; it reads deadline_seconds",
    );
    let _ = check("[plugin.group-checkout]\ndeadline_seconds = 'soon'", 1)
        .saying("at `/deadline_seconds`: \"soon\" is not of type");
}

#[test]
fn two_versions_are_compared() {
    let folder = folder();
    let newer = folder.path().join("newer.wasm");
    std::fs::write(&newer, altered("order-saga", "PaymentFailed", "PaymentFallen"))
        .expect("a file");
    let older = paths::plugin("order-saga");
    let compared = sagabox(folder.path(), &["check", text(&newer), "--against", text(&older)]);
    let _ = compared
        .with(0)
        .saying("order-saga 0.1.0 -> 0.1.0:")
        .saying("  newly handles `PaymentFallen`")
        .saying("  no longer handles `PaymentFailed`");
    let same = sagabox(folder.path(), &["check", text(&older), "--against", text(&older)]);
    let _ = same.with(0).saying("nothing changed");
    let arguments = ["check", text(&newer), "--against", text(&older), "--format", "mermaid"];
    let _ = sagabox(folder.path(), &arguments)
        .with(2)
        .saying("--against supports only the formats text and json");
}

#[test]
fn a_version_that_breaks_its_readers_is_warned_of() {
    let folder = folder();
    let newer = folder.path().join("newer.wasm");
    std::fs::write(&newer, altered("disagreeing", "orderNumber", "orderNumbre")).expect("a file");
    let older = paths::plugin("disagreeing");
    let arguments = ["check", text(&newer), "--against", text(&older)];
    let _ = sagabox(folder.path(), &arguments)
        .with(0)
        .saying("disagreeing 0.1.0 -> 0.1.0:")
        .saying("  has another schema of `mistake`")
        .saying(
            "warning: disagreeing: its `mistake` changed at `/orderNumber`: 0.1.0 never sends it, a \
             reader for 0.1.0 requires it; the nearest that 0.1.0 sends is `orderNumbre`; this breaks \
             readers outside that expect the former data",
        );
}

#[test]
fn the_data_of_messages_is_written_as_types_of_each_language() {
    let folder = folder();
    let plugins = plugins(folder.path(), &["disagreeing", "hostile"]);
    let printed = |language: &str| {
        sagabox(folder.path(), &["types", text(&plugins), "--lang", language]).with(0).output
    };
    for (language, parts) in [
        (
            "rust",
            ["pub struct Alibi {", "    #[serde(rename = \"orderId\")]\n    pub order_id: String,"],
        ),
        ("typescript", ["export interface Alibi {", "  orderId: string;"]),
        ("python", ["class Alibi(TypedDict):", "    orderId: str"]),
        ("go", ["type Alibi struct {", "\tOrderId string `json:\"orderId\"`"]),
        ("json-schema", ["\"Alibi\": {", "\"$ref\": \"#/$defs/Alibi/$defs/Way\""]),
    ] {
        let printed = printed(language);
        for part in parts {
            assert!(printed.contains(part), "{part} is not in {printed}");
        }
    }
    assert_eq!(printed("ts"), printed("typescript"));
    let _ = sagabox(folder.path(), &["types", text(&plugins), "--lang", "cobol"]).with(2);
}

/// What a host would find out on its live instances, shown on the states of the scenarios.
#[test]
fn a_shape_of_states_that_changed_without_its_number_is_warned_of() {
    let folder = folder();
    let newer = folder.path().join("newer.wasm");
    std::fs::write(&newer, altered("group-checkout", "stays", "stayz")).expect("a file");
    let older = paths::plugin("group-checkout");
    let arguments = ["check", text(&newer), "--against", text(&older)];
    let said = "warning: group-checkout: cannot read a state of 0.1.0, which has the same version \
                of states, 1: the stored state has `stays`";
    let _ = sagabox(folder.path(), &arguments).with(0).saying(said);
    let _ = sagabox(folder.path(), &[&arguments[..], &["--deny-warnings"]].concat()).with(1);
    let arguments = [&arguments[..], &["--notes"]].concat();
    let _ = sagabox(folder.path(), &arguments).with(0).saying("a rollback to that version");
    // Only what it says of itself differs: it reads the states.
    std::fs::write(&newer, altered("group-checkout", "Checks out", "checks out")).expect("a file");
    let read = sagabox(folder.path(), &arguments).with(0);
    assert!(!read.output.contains("state"), "{}", read.output);
}

#[test]
fn a_plugin_that_remembers_between_calls_is_found_out() {
    let folder = folder();
    let plugins = plugins(folder.path(), &["hostile"]);
    let scenarios = plugins.join("hostile.scenarios");
    std::fs::create_dir(&scenarios).expect("a folder");
    let scenario = "- scenario: it behaves\n  when: {type: attack, subject: k, data: behave}\n  then: {sends: [Behaved]}\n";
    std::fs::write(scenarios.join("behave.yaml"), scenario).expect("a file");
    let component = plugins.join("hostile.wasm");
    let tested = sagabox(folder.path(), &["test", text(&component)]).with(1);
    let _ = tested
        .saying("a used instance decides differently from a fresh one")
        .saying("sends[0].data.calls: fresh 1, used 2");
    let _ = sagabox(folder.path(), &["check", text(&plugins)])
        .with(0)
        .saying("warning: ")
        .saying("scenario `it behaves`: a used instance decides differently");
}

// ---- test ---------------------------------------------------------------------

#[test]
fn the_scenarios_of_the_example_plugins_hold() {
    let folder = folder();
    for name in PLUGINS {
        let (plugin, source) =
            (paths::plugin(name), paths::repository().join("plugins").join(name));
        let scenarios = source.join("scenarios");
        let arguments = ["test", text(&plugin), "--scenarios", text(&scenarios)];
        let _ = sagabox(folder.path(), &arguments).with(0).saying(" passed, 0 failed");
    }
}

#[test]
fn a_scenario_that_does_not_hold_is_reported_with_the_difference() {
    let folder = folder();
    let plugin = folder.path().join("altered.wasm");
    std::fs::write(&plugin, altered("order-saga", "payment failed", "payment FAILED"))
        .expect("a file");
    let scenarios = paths::repository().join("plugins/order-saga/scenarios");
    let arguments = ["test", text(&plugin), "--scenarios", text(&scenarios)];
    let _ = sagabox(folder.path(), &arguments)
        .with(1)
        .saying("FAILED a failed payment is compensated by cancelling")
        .saying("sends[0].data.reason: expected \"payment failed\", found \"payment FAILED\"")
        .saying("3 passed, 1 failed");
    let filtered = [&arguments[..], &["--filter", "becomes an order", "--json"]].concat();
    let report = sagabox(folder.path(), &filtered).with(0).json();
    assert_eq!((&report["passed"], &report["failed"]), (&1.into(), &0.into()));
    let nothing = [&arguments[..], &["--filter", "no such name"]].concat();
    let _ = sagabox(folder.path(), &nothing).with(2).saying("no scenario was run");
}

#[test]
fn what_is_wrong_with_a_scenario_is_said() {
    let folder = folder();
    let file = folder.path().join("wrong.yaml");
    let shipment = paths::plugin("shipment");
    let play = |scenario: &str, code: i32| {
        std::fs::write(&file, scenario).expect("a file");
        let arguments = ["test", text(&shipment), "--scenarios", text(&file)];
        sagabox(folder.path(), &arguments).with(code)
    };
    let paid = "{type: PaymentCompleted, data: {orderId: o, productItems: [{productId: hat, quantity: 1}]}}";
    let _ = play(&format!("- scenario: a\n  when: {paid}\n"), 1)
        .saying("it asks lookup `stock` for `hat`; add the answer under given.lookups.stock");
    let _ = play("- scenario: a\n  when: {type: Nothing}\n", 1)
        .saying("the plugin does not subscribe to `Nothing`; it does to PaymentCompleted");
    let _ = play("- scenario: a\n  whenn: {}\n", 2).saying("whenn");
    let _ = play("- scenario: null\n  when: {type: Nothing}\n", 2)
        .saying("is invalid: line 1 column 13: expected a text, found null");
}

// ---- new ----------------------------------------------------------------------

/// The compiled dependencies are those of the other plugins.
#[track_caller]
fn a_new_project_is_whole(role: &str) {
    let folder = folder();
    let (name, run) =
        (format!("my-{role}"), |arguments: &[&str]| sagabox(folder.path(), arguments));
    let sdk = paths::repository().join("guest-sdk/rust");
    let _ = run(&["new", &name, "--role", role, "--sdk", text(&sdk)]).with(0);
    let target = paths::target().join("plugins-build");
    let _ = run(&["build", &name, "--out", "built", "--target", text(&target)]).with(0);
    let native = std::process::Command::new("cargo")
        .args(["test", "--quiet", "--manifest-path"])
        .arg(folder.path().join(&name).join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", paths::target().join("plugins-native"))
        .output()
        .expect("cargo");
    assert!(native.status.success(), "{}", String::from_utf8_lossy(&native.stderr));
    let component = format!("built/{name}.wasm");
    let _ = run(&["test", &component]).with(0).saying(" passed, 0 failed");
    // A claim about what no run has seen would hold of nothing.
    let simulated = run(&["sim", &component, "--seeds", "50"]).with(0);
    assert!(!simulated.output.contains("occurred in no run"), "{}", simulated.output);
    // Its scenarios were brought there by the build, and played.
    let checked = run(&["check", "built"]).with(0).saying("1 plugin: 0 errors");
    assert!(!checked.output.contains("none were run"), "{}", checked.output);
    assert!(!checked.output.contains("scenario `"), "{}", checked.output);
    let _ = run(&["new", &name]).with(2).saying("already exists; nothing was changed");
}

/// As a git worktree, an archive or `cp -p` leaves them: older than what was built.
fn age(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = std::fs::File::options().write(true).open(&path).expect("a file");
            let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            file.set_modified(old).expect("its time");
        }
    }
}

/// Cargo identifies packages in a shared folder by name and version, and what is built by its time.
#[test]
fn a_build_has_the_code_of_its_own_source_and_no_other() {
    let folder = folder();
    let run = |arguments: &[&str]| sagabox(folder.path(), arguments);
    let (sdk, target) =
        (paths::repository().join("guest-sdk/rust"), paths::target().join("plugins-build"));
    let name = format!("checkout-{}", std::process::id());
    let source = |checkout: &str| folder.path().join(checkout).join(&name);
    let build = |checkout: &str| {
        let (from, out) = (source(checkout), format!("out-{checkout}"));
        let built = ["build", text(&from), "--out", &out, "--target", text(&target)];
        let _ = run(&built).with(0);
        std::fs::read(folder.path().join(out).join(format!("{name}.wasm"))).expect("a component")
    };
    let contains =
        |bytes: &[u8], part: &str| bytes.windows(part.len()).any(|w| w == part.as_bytes());
    let write = |checkout: &str, mark: &str| {
        let path = source(checkout).join("src/lib.rs");
        let text = std::fs::read_to_string(&path).expect("the source");
        let before = text.split("// mark\n").next().expect("a part");
        let mark = format!(
            "// mark\n#[unsafe(no_mangle)]\nstatic MARK: &[u8] = b\"{mark}\";\n#[used]\nstatic KEPT: &[u8] = MARK;\n"
        );
        std::fs::write(&path, format!("{before}{mark}")).expect("the source");
        age(&source(checkout));
    };
    for checkout in ["a", "b"] {
        std::fs::create_dir(folder.path().join(checkout)).expect("a folder");
        let new = ["new", &name, "--path", checkout, "--role", "saga", "--sdk", text(&sdk)];
        let _ = run(&new).with(0);
        write(checkout, &format!("this-is-{checkout}"));
    }
    for checkout in ["a", "b", "a"] {
        let built = build(checkout);
        assert!(contains(&built, &format!("this-is-{checkout}")), "{checkout}");
    }
    // The same place with other files, which are older as well.
    write("a", "this-is-c");
    assert!(contains(&build("a"), "this-is-c"));
}

#[test]
fn a_new_saga_is_whole() {
    a_new_project_is_whole("saga");
}

#[test]
fn a_new_process_manager_is_whole() {
    a_new_project_is_whole("process-manager");
}

#[test]
fn a_new_reactor_is_whole() {
    a_new_project_is_whole("reactor");
}

#[test]
fn a_new_enricher_is_whole() {
    a_new_project_is_whole("enricher");
}

#[test]
fn a_project_without_a_good_name_is_not_made() {
    let folder = folder();
    let _ = sagabox(folder.path(), &["new", "My_Plugin"]).with(2).saying("the name `My_Plugin`");
    let taken = ["new", "email", "--lang", "python"];
    let _ = sagabox(folder.path(), &taken).with(2).saying("use another one, such as `my-email`");
    assert_eq!(std::fs::read_dir(folder.path()).expect("the folder").count(), 0);
}
