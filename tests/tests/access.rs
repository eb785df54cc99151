//! Who may do what: every route with every role, over the real binary. The table of routes comes
//! from the host's own OpenAPI document, so a new route is tried without a change here.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use sagabox_tests::client::Client;
use sagabox_tests::command::sagabox;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

const ROLES: [&str; 5] = ["sender", "worker", "reader", "operator", "admin"];

/// A host that serves nothing without a token, and its administrator's client.
async fn host() -> (Host, Client) {
    let host = Host::builder().plugin("order-saga").plugin("group-checkout").with_tokens().start();
    let host = host.await;
    let admin = std::fs::read_to_string(token_file(&host)).expect("the administrator's token");
    let client = host.client().with_token(admin.trim());
    (host, client)
}

fn token_file(host: &Host) -> PathBuf {
    PathBuf::from(format!("{}.token", host.store().display()))
}

async fn post(client: &Client, path: &str, body: &Value) -> (StatusCode, Value) {
    let response = client.request(Method::POST, path).json(body).send().await.expect("an answer");
    let status = response.status();
    (status, response.json().await.expect("JSON"))
}

async fn create(admin: &Client, body: Value) -> String {
    let (status, answer) = post(admin, "/tokens", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["token"].as_str().expect("a token").to_owned()
}

/// The roles that may use a route, as docs/http.md says.
fn expected(method: &str, path: &str) -> &'static [&'static str] {
    match (method, path) {
        (_, "/healthz" | "/readyz" | "/v1/openapi.json") => &ROLES,
        ("POST", "/v1/events") => &["sender", "admin"],
        ("POST", path) if path.starts_with("/v1/queues/") => &["worker", "admin"],
        (_, path)
            if ["/v1/tokens", "/v1/sessions", "/v1/audit"]
                .iter()
                .any(|own| path.starts_with(own)) =>
        {
            &["admin"]
        }
        ("POST", path) if path.starts_with("/v1/views") => &["reader", "operator", "admin"],
        ("POST", _) => &["operator", "admin"],
        _ => &["reader", "operator", "admin"],
    }
}

#[tokio::test]
async fn every_route_admits_its_roles_and_refuses_the_others() {
    let (host, admin) = host().await;
    let document = host.client().get("/openapi.json").await.expect("public");
    let mut clients = vec![("no token", host.client())];
    for role in ROLES {
        let token = create(&admin, json!({"name": format!("a {role}"), "roles": [role]})).await;
        clients.push((role, host.client().with_token(&token)));
    }
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            let method = method.to_ascii_uppercase();
            let permitted = expected(&method, path);
            let asked = path.strip_prefix("/v1").unwrap_or(path).replace("{id}", "999");
            for (who, client) in &clients {
                let request = client.request(method.parse().expect("a method"), &asked);
                // Nothing that a route accepts: who may ask is decided before that.
                let request = request.header("content-type", "application/json");
                let request = if method == "POST" { request.body("[]") } else { request };
                let status = request.send().await.expect("an answer").status();
                let is_refused =
                    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
                let may = permitted.contains(who) || permitted == ROLES;
                assert_eq!(!is_refused, may, "{who} {method} {path}: {status}");
                if is_refused {
                    assert_eq!(status == StatusCode::UNAUTHORIZED, *who == "no token", "{who}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried} combinations");
}

#[tokio::test]
async fn the_first_start_keeps_an_administrators_token_and_the_command_line_finds_it() {
    let (mut host, admin) = host().await;
    let printed = |host: &Host| host.output().iter().filter(|line| line.contains("sbx_")).count();
    // Standard output is no terminal here: it may be a log.
    assert_eq!(printed(&host), 0, "{:?}", host.output());
    let says_where = |line: &String| line.contains("the token of the administrator is in");
    assert!(host.output().iter().any(says_where), "{:?}", host.output());
    let file = token_file(&host);
    let mode = std::fs::metadata(&file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The command line looks beside the store that a host here would use.
    let listed = sagabox(host.folder(), &["token", "list", "--host", &host.url(), "--json"]);
    let listed = listed.with(0).json();
    assert_eq!(listed["tokens"][0]["name"], "admin");
    let without = tempfile::TempDir::new().expect("a folder without a store");
    let refused = sagabox(without.path(), &["plugins", "--host", &host.url()]).with(1);
    assert!(refused.error.contains("SAGABOX_TOKEN"), "{}", refused.error);
    host.kill_and_start().await;
    assert!(!host.output().iter().any(says_where), "{:?}", host.output());
    admin.get("/plugins").await.expect("the token is still valid");
    let secret = std::fs::read_to_string(&file).expect("the token");
    assert!(!host.log().contains(secret.trim()[4..].trim()), "a token is in the log");
}

#[tokio::test]
async fn a_terminal_shows_the_administrators_token_at_the_first_start_alone() {
    let folder = tempfile::TempDir::new().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder for plugins");
    // A host inherits that `nohup` ignores hangups, if the tests were started with it.
    let command = format!(
        "env --default-signal=HUP {} run plugins --listen 127.0.0.1:0",
        sagabox_tests::paths::binary().display()
    );
    for tokens in [1, 0] {
        // Gives the command a terminal.
        let mut terminal = tokio::process::Command::new("script")
            .args(["--quiet", "--flush", "--command", &command, "/dev/null"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("script, of util-linux");
        let mut lines = BufReader::new(terminal.stdout.take().expect("a pipe")).lines();
        let mut shown = Vec::new();
        let starting = async {
            while let Some(line) = lines.next_line().await.expect("lines") {
                let is_last = line.contains("listening on ");
                shown.push(line);
                if is_last {
                    break;
                }
            }
        };
        tokio::time::timeout(wait::SOON, starting).await.expect("the host listens");
        let with_token = shown.iter().filter(|line| line.contains("sbx_")).count();
        assert_eq!(with_token, tokens, "{shown:?}");
        terminal.kill().await.expect("the terminal can be closed");
        // The host ends with its terminal, and the next one needs its store.
        let store = folder.path().join("sagabox.db.lock");
        wait::until("a free store", wait::SOON, async || {
            let lock = std::fs::File::open(&store).map_err(|error| error.to_string())?;
            lock.try_lock().map_err(|error| error.to_string())
        })
        .await;
    }
}

#[tokio::test]
async fn a_token_ends_when_it_is_revoked_or_expires_and_the_last_administrator_stays() {
    let (mut host, admin) = host().await;
    let token = create(&admin, json!({"name": "r", "roles": ["reader"]})).await;
    let reader = host.client().with_token(&token);
    reader.get("/queues").await.expect("a reader reads");
    let (status, _) = post(&admin, "/tokens", &json!({"name": "r", "roles": ["sender"]})).await;
    assert_eq!(status, StatusCode::CONFLICT, "two tokens of one name");
    for (body, attribute) in [
        (json!({"name": "", "roles": ["reader"]}), "name"),
        (json!({"name": "x", "roles": []}), "roles"),
        (json!({"name": "x", "roles": ["admin"], "plugins": ["p"]}), "plugins"),
        (
            json!({"name": "x", "roles": ["reader"], "expires_at": "2020-01-31T12:00:00Z"}),
            "expires_at",
        ),
    ] {
        let (status, answer) = post(&admin, "/tokens", &body).await;
        let expected = (StatusCode::UNPROCESSABLE_ENTITY, json!(attribute));
        assert_eq!((status, answer["attribute"].clone()), expected, "{answer}");
    }
    let list = admin.get("/tokens").await.expect("a list");
    let id = |name: &str| {
        let tokens = list["tokens"].as_array().expect("tokens").iter();
        tokens.filter(|token| token["name"] == name).map(|t| t["id"].clone()).next().expect("it")
    };
    assert!(!list.to_string().contains("sbx_"), "{list}");
    let (status, answer) =
        post(&admin, &format!("/tokens/{}/revoke", id("r")), &json!({"reason": "gone"})).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("revoked")));
    let refused = reader.get("/queues").await.unwrap_err();
    assert!(refused.contains("401") && refused.contains("was revoked"), "{refused}");
    assert!(!refused.contains(&token[4..]), "{refused}");
    let (status, answer) =
        post(&admin, &format!("/tokens/{}/revoke", id("admin")), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{answer}");
    host.kill_and_start().await;
    reader.get("/queues").await.unwrap_err();
    let garbled = host.client().with_token("sbx_x");
    assert!(garbled.get("/queues").await.unwrap_err().contains("401"));
}

#[tokio::test]
async fn payloads_are_seen_with_a_permission_of_their_own() {
    let (host, admin) = host().await;
    let secret = "4111-1111";
    let group = json!({"groupCheckoutId": "g", "guestStayIds": [secret]});
    let broken = event("bad", "CartFinalized", "a", &json!({"card": secret}));
    admin.send(&[event("g", "GroupCheckoutInitiated", "g", &group), broken]).await;
    wait::until("a dead letter and an instance", wait::SOON, async || {
        let dead = admin.dead_letters().await?.len();
        let instances = admin.instances("group-checkout", "running").await?.len();
        if (dead, instances) == (1, 1) { Ok(()) } else { Err(format!("{dead} {instances}")) }
    })
    .await;
    let dead_letter = admin.dead_letters().await.expect("a list")[0]["id"].clone();
    let blind = create(&admin, json!({"name": "blind", "roles": ["operator"]})).await;
    let seeing =
        create(&admin, json!({"name": "seeing", "roles": ["reader"], "payloads": true})).await;
    for (path, has_it) in [
        ("/dead-letters".to_owned(), true),
        (format!("/dead-letters/{dead_letter}"), true),
        ("/instance?plugin=group-checkout&key=g".to_owned(), true),
        ("/plugins".to_owned(), false),
    ] {
        let shown = host.client().with_token(&seeing).text(&path).await.expect("an answer");
        assert_eq!(shown.contains(secret), has_it, "{shown}");
        let hidden = host.client().with_token(&blind).text(&path).await.expect("an answer");
        assert!(!hidden.contains(secret), "{hidden}");
        assert_eq!(hidden.contains("\"payloads_hidden\":true"), has_it, "{hidden}");
    }
    // A selection by values shows them as well.
    for question in [
        "/instances?plugin=group-checkout&where=x%3D1",
        "/instances?plugin=group-checkout&order=x",
        "/instances/count?plugin=group-checkout&where=x%3D1",
        "/instances/export?plugin=group-checkout",
    ] {
        let refused = host.client().with_token(&blind).get(question).await.unwrap_err();
        assert!(refused.contains("403") && refused.contains("payloads"), "{refused}");
    }
    let listed = host.client().with_token(&blind).get("/instances?plugin=group-checkout").await;
    assert_eq!(listed.expect("a list")["payloads_hidden"], true);
    let reader = host.client().with_token(&seeing);
    let export = reader.text("/instances/export?plugin=group-checkout").await.expect("an export");
    assert!(export.contains(secret), "{export}");
}

#[tokio::test]
async fn a_token_can_be_restricted_to_plugins_and_to_types() {
    let (host, admin) = host().await;
    let restricted = json!({"name": "o", "roles": ["operator"], "plugins": ["order-saga"]});
    let operator = host.client().with_token(&create(&admin, restricted).await);
    operator.get("/dead-letters?plugin=order-saga").await.expect("its own plugin");
    let plugins = operator.get("/plugins").await.expect("its own plugins");
    assert_eq!(plugins["plugins"].as_array().map(Vec::len), Some(1), "{plugins}");
    for path in [
        "/dead-letters",
        "/dead-letters?plugin=group-checkout",
        "/dead-letters/causes",
        "/plugins/log?plugin=group-checkout",
        "/timers",
        "/waits?plugin=group-checkout",
        "/instances?plugin=group-checkout",
        "/instance?plugin=group-checkout&key=g",
        "/accounts",
        "/queues",
        "/sinks",
    ] {
        let refused = operator.get(path).await.unwrap_err();
        assert!(refused.contains("403"), "{path}: {refused}");
    }
    let other = json!({"action": "skip", "plugin": "group-checkout"});
    assert_eq!(post(&admin, "/batches", &other).await.0, StatusCode::OK);
    for path in ["/batches/1", "/batches/1/items", "/batches?plugin=group-checkout"] {
        let refused = operator.get(path).await.unwrap_err();
        assert!(refused.contains("403"), "{path}: {refused}");
    }
    let batches = operator.get("/batches").await.expect("its own batches");
    assert_eq!(batches["batches"], json!([]), "{batches}");
    for (path, body) in [
        ("/instances/end", json!({"plugin": "group-checkout", "key": "g", "reason": "r"})),
        ("/dead-letters/skip", json!({"ids": [1], "reason": "r"})),
        ("/batches", json!({"action": "skip", "all": true})),
        ("/batches", json!({"action": "discard", "plugin": "group-checkout"})),
        ("/batches", json!({"action": "end", "plugin": "group-checkout", "all": true})),
        ("/batches/1/start", json!({"reason": "r"})),
        ("/batches/1/pause", json!({})),
        ("/batches/1/resume", json!({})),
        ("/batches/1/cancel", json!({})),
    ] {
        let (status, answer) = post(&operator, path, &body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}: {answer}");
    }
    let restricted =
        json!({"name": "s", "roles": ["sender", "worker"], "types": ["CartFinalized"]});
    let sender = host.client().with_token(&create(&admin, restricted).await);
    assert_eq!(sender.send(&[cart_finalized("1", "a")]).await.accepted, 1);
    let other = event("2", "GroupCheckoutInitiated", "g", &json!({}));
    let batch = json!([cart_finalized("3", "a"), other]).to_string();
    let response =
        sender.post_events("application/cloudevents-batch+json", batch).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let (status, _) = post(&sender, "/queues/lease", &json!({"queue": "CancelOrder"})).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let own = json!({"queue": "CartFinalized", "wait_ms": 0});
    assert_eq!(post(&sender, "/queues/lease", &own).await.0, StatusCode::OK);
    assert_eq!(admin.get("/accounts").await.expect("accounts")["events"], 1);
}

#[tokio::test]
async fn the_audit_log_has_what_was_done_and_what_was_refused() {
    let (host, admin) = host().await;
    let body = json!({"name": "ada", "roles": ["operator"], "reason": "on call"});
    let ada = host.client().with_token(&create(&admin, body).await);
    let broken = event("bad", "CartFinalized", "a", &json!({"cartId": "a", "card": "4111"}));
    admin.send(&[broken]).await;
    wait::until("a dead letter", wait::SOON, async || match admin.dead_letters().await?.len() {
        1 => Ok(()),
        found => Err(found.to_string()),
    })
    .await;
    let dead_letter = ada.dead_letters().await.expect("a list")[0]["id"].clone();
    let edited = event("bad", "CartFinalized", "a", &json!({"cartId": "a", "card": "4111"}));
    let redrive = json!({"reason": "try it", "event": edited});
    post(&ada, &format!("/dead-letters/{dead_letter}/redrive"), &redrive).await;
    ada.get("/tokens").await.unwrap_err();
    ada.get("/tokens").await.unwrap_err();
    host.client().get("/accounts").await.unwrap_err();
    let entries = wait::until("the refusals", wait::LONG, async || {
        let page = admin.get("/audit").await?;
        let entries = page["entries"].as_array().cloned().unwrap_or_default();
        let refused: u64 = entries
            .iter()
            .filter(|entry| entry["status"] == 401 || entry["status"] == 403)
            .filter_map(|entry| entry["count"].as_u64())
            .sum();
        if refused == 3 { Ok(entries) } else { Err(page.to_string()) }
    })
    .await;
    let text = json!(entries).to_string();
    assert!(!text.contains("4111") && !text.contains("sbx_"), "{text}");
    let of = |action: &str, who: &str| {
        let found = entries.iter().find(|entry| entry["action"] == action && entry["who"] == who);
        found.unwrap_or_else(|| panic!("no {action} of {who} in {text}")).clone()
    };
    let created = of("POST /v1/tokens", "admin");
    assert_eq!((&created["status"], &created["reason"]), (&json!(200), &json!("on call")));
    assert_eq!(created["target"]["name"], "ada");
    let redriven = of(&format!("POST /v1/dead-letters/{dead_letter}/redrive"), "ada");
    assert_eq!((&redriven["status"], &redriven["reason"]), (&json!(202), &json!("try it")));
    assert_eq!(redriven["origin"], "127.0.0.1");
    assert_eq!(of("GET /v1/tokens", "ada")["count"], 2);
    assert_eq!(of("GET /v1/accounts", "unknown")["status"], 401);
    let exported = sagabox(host.folder(), &["audit", "--ndjson", "--host", &host.url()]).with(0);
    let lines: Vec<Value> =
        exported.output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.len() >= entries.len(), "{}", exported.output);
    let page = admin.get("/audit?who=ada&action_contains=redrive").await.expect("a page");
    assert_eq!(page["entries"].as_array().map(Vec::len), Some(1), "{page}");
    // The event fails once more, and is a dead letter again.
    let skip = json!({"reason": "give up", "by": "eve"});
    let path = format!("/dead-letters/{dead_letter}/skip");
    let skipped = wait::until("the redrive's end", wait::SOON, async || {
        match post(&ada, &path, &skip).await {
            (StatusCode::ACCEPTED, answer) => Ok(answer),
            (_, answer) => Err(answer.to_string()),
        }
    })
    .await;
    assert_eq!(skipped["resolved_by"], "eve (ada)", "the token's name is recorded: {skipped}");
}

#[tokio::test]
async fn an_address_that_others_reach_needs_tls_or_a_proxy() {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder of plugins");
    let run = |configuration: &str| {
        std::fs::write(folder.path().join("sagabox.toml"), configuration).expect("a file");
        sagabox(folder.path(), &["run", "plugins"])
    };
    let refused = run("listen = \"0.0.0.0:0\"").with(2);
    assert!(refused.error.contains("behind_proxy"), "{}", refused.error);
    let refused =
        run("listen = \"127.0.0.1:0\"\n[api]\nlocal_without_token = true\nbehind_proxy = true");
    let refused = refused.with(2);
    assert!(refused.error.contains("local_without_token"), "{}", refused.error);
}

#[tokio::test]
async fn what_a_proxy_forwards_is_not_of_the_local_machine() {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    client.get("/queues").await.expect("the tests' hosts serve this machine");
    let forwarded = client.request(Method::GET, "/queues").header("x-forwarded-for", "192.0.2.1");
    let status = forwarded.send().await.expect("an answer").status();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(!token_file(&host).exists(), "a token that no caller needs");
}
