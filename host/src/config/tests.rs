use std::time::Duration;

use sagabox_engine::engine::Missed;
use sagabox_engine::model::Retention;
use sagabox_engine::seams::transport::Order;

use super::limits::BULK_TIME;
use super::*;
use crate::io::sinks::Destination;
use crate::plugins::factory;
use crate::plugins::trust::LockRule;

fn read(text: &str, overrides: Overrides) -> anyhow::Result<Settings> {
    parse(text, "sagabox.toml", Path::new("/etc/sagabox"), overrides)
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let error = read(text, Overrides::default()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

/// The keys of the limits of a call, as errors list them.
fn limits_of_a_call() -> String {
    let keys = wasm::Limits::default().named();
    keys.iter().map(|(key, _)| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let settings = read("", Overrides::default()).unwrap();
    assert_eq!(settings.listen, "127.0.0.1:8321");
    assert_eq!(settings.store, "sqlite:sagabox.db");
    assert_eq!(
        settings.limits,
        Limits { body_bytes: 4_194_304, batch_events: 10_000, bulk_time: BULK_TIME }
    );
}

#[test]
fn alerts_are_sent_only_if_that_is_wanted() {
    let settings = |text| read(text, Overrides::default()).unwrap().alerts;
    assert_eq!(settings(""), None);
    let usual = settings("[alerts]").unwrap();
    assert_eq!((usual.period.as_secs(), usual.lag_events), (3_600, Some(100_000)));
    assert_eq!(settings("[alerts]\nlag_events = 0").unwrap().lag_events, None);
    check(
        "[alerts]\nperiod = 'now'",
        "sagabox.toml:1: alerts.period: `now` is not a duration of a second or more; write for \
         example \"1h\"",
    );
    check(
        "[alerts]\ninterval_ms = 1",
        "sagabox.toml:1: alerts.interval_ms: is 1; accepted are 100 to 3600000",
    );
}

#[test]
fn flags_override_the_file() {
    let overrides = Overrides { listen: Some("127.0.0.1:0".to_owned()), ..Overrides::default() };
    let settings = read("listen = '0.0.0.0:1'\nstore = 'sqlite:a.db'", overrides).unwrap();
    assert_eq!((&*settings.listen, &*settings.store), ("127.0.0.1:0", "sqlite:a.db"));
}

#[test]
fn everything_can_be_said() {
    let settings = read(
        r#"
        [limits]
        body_bytes = 1000
        drain_ms = 5
        shards = 4
        [retry]
        attempts = 3
        delay_ms_min = 1
        delay_ms_max = 9
        [sink.billing]
        url = "http://billing/in"
        in_flight = 4
        [sink.log]
        file = "out.ndjson"
        [sink.screen]
        stdout = true
        [routes]
        RequestPayment = "billing"
        "com.example.Paid" = "log"
        [lookup.stock]
        url = "http://stock/{key}"
        plugins = ["shipment"]
        [lookup.price]
        table = "prices.json"
        [plugin.order-saga]
        currency = "EUR"
        rates = [1, 2.5]
        "#,
        Overrides::default(),
    )
    .unwrap();
    assert_eq!(
        settings.sinks["log"],
        SinkSettings { to: Destination::File("/etc/sagabox/out.ndjson".into()), order: Order::Key }
    );
    assert_eq!(settings.routes["com.example.Paid"], "log");
    assert!(settings.lookups["stock"].plugins.contains("shipment"));
    let expected = serde_json::json!({ "currency": "EUR", "rates": [1, 2.5] });
    assert_eq!(settings.plugins["order-saga"], expected);
    assert_eq!((settings.engine.shards, settings.engine.attempts_max), (4, 3));
}

#[test]
fn other_machines_reach_a_host_behind_a_proxy_alone() {
    let access = |text: &str| read(text, Overrides::default()).map(|settings| settings.access);
    for local in ["127.0.0.1:0", "[::1]:1", "localhost:8321", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"]
    {
        assert_eq!(access(&format!("listen = '{local}'")).unwrap(), AccessSettings::default());
    }
    for reached in ["0.0.0.0:0", "[::]:1", "10.0.0.5:1", "sagabox.example:1", ":1", "::1"] {
        let refused = access(&format!("listen = '{reached}'")).unwrap_err().to_string();
        assert!(refused.contains("behind_proxy"), "{reached}: {refused}");
        let text = format!("listen = '{reached}'\n[api]\nbehind_proxy = true");
        assert!(access(&text).unwrap().behind_proxy);
    }
    let both = "[api]\nbehind_proxy = true\nlocal_without_token = true";
    assert!(access(both).unwrap_err().to_string().contains("exclude each other"));
    let overrides = Overrides { local_without_token: true, ..Overrides::default() };
    assert!(read("", overrides).unwrap().access.local_without_token);
    let forever = access("[retention]\naudit = 'forever'").unwrap();
    assert_eq!(forever.audit, None);
}

#[test]
fn how_plugins_come_and_go_can_be_said() {
    let hot = |text| read(text, Overrides::default()).unwrap().hot;
    assert_eq!(hot(""), reload::Settings::default());
    assert_eq!(hot("[plugins]\nwatch = false\npoll_ms = 9").poll, None);
    let all = hot("[plugins]\npoll_ms = 9\npreflight = 'report'\nmissed = 'ignore'");
    let poll = Some(Duration::from_millis(9));
    let preflight = factory::Preflight::Report;
    assert_eq!(all, reload::Settings { poll, preflight, missed: Missed::Ignore });
}

#[test]
fn whom_to_trust_can_be_said() {
    let trust = |text: &str| read(text, Overrides::default()).map(|said| said.sandbox.trust);
    let rule = trust("").unwrap();
    assert_eq!((rule.keys.len(), rule.lock), (0, LockRule::WhenThere));
    let key = minisign::KeyPair::generate_unencrypted_keypair().unwrap().pk;
    let file = tempfile::Builder::new().suffix(".pub").tempfile().unwrap();
    std::fs::write(file.path(), key.to_box().unwrap().to_string()).unwrap();
    let text = format!(
        "[plugins]\nkeys = [\"{}\", \"{}\"]\nlocked = true",
        key.to_base64(),
        file.path().display()
    );
    let rule = trust(&text).unwrap();
    assert_eq!(rule.keys.len(), 2);
    assert_eq!(rule.lock, LockRule::Demanded);
    check(
        "[plugins]\nkeys = [\n  \"secret\",\n]",
        "sagabox.toml:3: plugins.keys: `secret` is not a public key of minisign; write for example \
         \"RWQ…\", or the name of its file, \"minisign.pub\"",
    );
    let error = trust("[plugins]\nkeys = ['no.pub']").unwrap_err().to_string();
    assert!(error.contains("the key /etc/sagabox/no.pub cannot be read"), "{error}");
}

#[test]
fn a_mistake_names_file_line_and_key() {
    check("\nlisten = 5", "sagabox.toml:2: `listen`: invalid type: integer `5`, expected a string");
    check(
        "[limits]\n\nbody_byte = 5",
        &format!(
            "sagabox.toml:3: `limits.body_byte`: unknown field `body_byte`, expected one of \
             `body_bytes`, `batch_events`, `shards`, `lookup_timeout_ms`, `drain_ms`, \
             `instance_bytes`, `held_bytes`, `backlog_events`, `hops`, `stack_bytes`, \
             `component_bytes`, `compile_time_ms`, `compile_memory_bytes`, {}",
            limits_of_a_call()
        ),
    );
    check(
        "[retry]\nattempts = 0",
        "sagabox.toml:2: `retry.attempts`: invalid value: integer `0`, expected a nonzero u32",
    );
    check(
        "[retry]\ndelay_ms_min = 5\ndelay_ms_max = 4",
        "sagabox.toml:2: retry: delay_ms_min (5) is more than delay_ms_max (4)",
    );
}

#[test]
fn the_page_of_settings_names_them_all_and_their_defaults() {
    let page = include_str!("../../../CONFIGURATION.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let (said, default) =
        (read(example, Overrides::default()).unwrap(), read("", Overrides::default()).unwrap());
    assert_eq!((&said.store, &said.listen), (&default.store, &default.listen));
    assert_eq!((said.limits, said.drain), (default.limits, default.drain));
    assert_eq!((said.validate, default.validate), (false, false));
    assert_eq!(format!("{:?}", said.engine), format!("{:?}", default.engine));
    assert_eq!(said.sandbox.limits, default.sandbox.limits);
    assert_eq!(said.sandbox.stack_bytes, default.sandbox.stack_bytes);
    assert_eq!(said.sandbox.component_bytes, default.sandbox.component_bytes);
    assert_eq!(said.sandbox.compile, default.sandbox.compile);
    assert_eq!(said.sandbox.trust, default.sandbox.trust);
    let plain = "[sink.orders]\nurl = 'http://127.0.0.1:9000/commands'";
    assert_eq!(said.sinks["orders"], read(plain, Overrides::default()).unwrap().sinks["orders"]);
    let unknown = read("[limits]\nno = 1", Overrides::default()).unwrap_err().to_string();
    let fields: Vec<&str> = unknown.split('`').skip(5).step_by(2).collect();
    assert!(fields.len() > 15, "{unknown}");
    for field in fields {
        assert!(example.contains(&format!("\n{field} = ")), "`{field}` is not on the page");
    }
}

#[test]
fn what_is_done_with_is_kept_for_the_times_given() {
    let text = "[retention]\nduplicates = \"90 minutes\"\nhistory = \"forever\"\nfinished = \"2d\"";
    let retention = read(text, Overrides::default()).unwrap().engine.retention;
    let minutes = |n: u64| Some(Duration::from_secs(n * 60));
    assert_eq!(retention.duplicates, minutes(90));
    assert_eq!(retention.history, None);
    assert_eq!(retention.finished, minutes(2 * 24 * 60));
    assert_eq!(retention.interval, Retention::default().interval);
    for wrong in ["soon", "-1h", "0s"] {
        check(
            &format!("\n[retention]\nhistory = \"{wrong}\""),
            &format!(
                "sagabox.toml:3: retention: `{wrong}` is not a duration; write for example \
                 \"30d\", \"12h\" or \"forever\""
            ),
        );
    }
}

#[test]
fn a_plugin_has_its_own_limits_and_the_others_are_as_for_all() {
    let settings = read(
        "strict = true\n[limits]\ncall_time_ms = 200\nkeys = 5\nstack_bytes = 65536\n\
         [plugin.big]\nlevel = 3\n[plugin.big.limits]\nmemory_bytes = 268435456\nkeys = 7",
        Overrides::default(),
    )
    .unwrap();
    let sandbox = settings.sandbox;
    let expected =
        wasm::Limits { call_time: Duration::from_millis(200), keys: 5, ..wasm::Limits::default() };
    assert_eq!(sandbox.limits, expected);
    assert_eq!(
        sandbox.plugins["big"],
        wasm::Limits { memory_bytes: 256 << 20, keys: 7, ..expected }
    );
    assert_eq!((sandbox.stack_bytes, sandbox.strict), (65536, true));
    assert_eq!(settings.plugins["big"], serde_json::json!({ "level": 3 }));
}

#[test]
fn a_limit_that_is_none_is_refused() {
    check(
        "[plugin.big.limits]\nshards = 5",
        &format!(
            "sagabox.toml:2: `plugin.big.limits.shards`: unknown field `shards`, expected one of {}",
            limits_of_a_call()
        ),
    );
    check(
        "[limits]\nstack_bytes = 9000000",
        "sagabox.toml:2: limits.stack_bytes: is 9000000; accepted are 16384 to 1048576",
    );
    check(
        "[limits]\nmemory_bytes = 9000000000",
        "sagabox.toml:2: memory_bytes: is 9000000000; at most 4294967296 can be addressed",
    );
}

#[test]
fn a_route_needs_its_sink() {
    check(
        "[routes]\nA = \"log\"\nRequestPayment = \"biling\"\n[sink.billing]\nstdout = true\n\
         [sink.log]\nstdout = true",
        "sagabox.toml:3: routes.\"RequestPayment\": sink `biling` is not configured; add \
         [sink.biling] (configured: billing, log)",
    );
}
