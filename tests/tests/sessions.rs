//! People with a browser: signing in and out, what a cookie permits, and what ends a session. A test
//! is the browser here: it keeps the cookie, and sends the headers that a browser sends.

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use sagabox_tests::command::sagabox;
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

/// A browser without cookies, which follows no redirect.
struct Browser {
    http: Client,
    url: String,
}

impl Browser {
    fn new(host: &Host) -> Self {
        // The TLS library has its provider.
        let _ = host.client();
        let builder = Client::builder().no_proxy().redirect(Policy::none());
        Self { http: builder.build().expect("a client"), url: host.url() }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).header("accept", "text/html")
    }

    async fn get(&self, path: &str, cookie: &str) -> Response {
        self.request(Method::GET, path).header(COOKIE, cookie).send().await.expect("an answer")
    }

    /// Sends a form of a page of the host.
    async fn form(&self, path: &str, cookie: &str, fields: &str) -> Response {
        let request = self.request(Method::POST, path).header(COOKIE, cookie);
        let request = request.header("sec-fetch-site", "same-origin");
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(fields.to_owned()).send().await.expect("an answer")
    }

    /// Signs in, and returns the cookie.
    async fn sign_in(&self, token: &str) -> String {
        let response = self.form("/login", "", &format!("token={token}")).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
        cookie(&response)
    }
}

/// The cookie that a response sets, as the browser sends it back.
fn cookie(response: &Response) -> String {
    let set = response.headers()[SET_COOKIE].to_str().expect("text");
    set.split(';').next().expect("a cookie").to_owned()
}

fn location(response: &Response) -> &str {
    response.headers()[LOCATION].to_str().expect("text")
}

fn administrator(host: &Host) -> String {
    let file = format!("{}.token", host.store().display());
    std::fs::read_to_string(file).expect("the administrator's token").trim().to_owned()
}

async fn host_with(configuration: &str) -> (Host, Browser, String) {
    let builder = Host::builder().plugin("order-saga").with_tokens();
    let host = builder.configuration(configuration).start().await;
    let (browser, admin) = (Browser::new(&host), administrator(&host));
    (host, browser, admin)
}

/// The actions of the audit log with who and which status.
async fn audit(host: &Host, admin: &str, action: &str) -> Vec<(String, u64)> {
    let client = host.client().with_token(admin);
    let page = client.get(&format!("/audit?action_contains={action}")).await.expect("a page");
    let rows = page["entries"].as_array().expect("entries").iter();
    let row = |row: &Value| {
        let who = row["who"].as_str().expect("who").to_owned();
        (who, row["status"].as_u64().expect("a status"))
    };
    rows.map(row).collect()
}

#[tokio::test]
async fn a_page_leads_to_the_login_and_back_and_the_session_ends_at_the_logout() {
    let (host, browser, admin) = host_with("").await;
    let page = browser.get("/instances?plugin=a", "").await;
    assert_eq!(page.status(), StatusCode::SEE_OTHER);
    assert_eq!(location(&page), "/login?next=%2Finstances%3Fplugin%3Da");
    let login = browser.get("/login?next=%2Foverview", "").await;
    assert_eq!(login.status(), StatusCode::OK);
    assert!(login.text().await.expect("a page").contains("value=\"/overview\""));
    let refused = browser.form("/login", "", "token=sbx_wrong&next=%2Foverview").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().get(SET_COOKIE).is_none());
    let html = refused.text().await.expect("a page");
    assert!(html.contains("not a token of Sagabox") && !html.contains("sbx_wrong"), "{html}");
    let signed_in = browser.form("/login", "", &format!("token={admin}&next=%2Foverview")).await;
    assert_eq!((signed_in.status(), location(&signed_in)), (StatusCode::SEE_OTHER, "/overview"));
    let set = signed_in.headers()[SET_COOKIE].to_str().expect("text").to_owned();
    assert!(set.starts_with("sagabox-session=sbs_") && set.contains("HttpOnly"), "{set}");
    assert!(!set.contains(&admin[4..]));
    let cookie = cookie(&signed_in);
    let overview = browser.get("/overview", &cookie).await;
    assert_eq!(overview.status(), StatusCode::OK);
    assert!(overview.text().await.expect("a page").contains("Sign out"));
    let out = browser.form("/logout", &cookie, "").await;
    assert_eq!((out.status(), location(&out)), (StatusCode::SEE_OTHER, "/login?out"));
    assert_eq!(browser.get("/overview", &cookie).await.status(), StatusCode::SEE_OTHER);
    wait::until("the failed login in the audit log", wait::SOON, async || {
        let logins = audit(&host, &admin, "login").await;
        let expected = [("admin".to_owned(), 303), ("unknown".to_owned(), 401)];
        let mut sorted = logins.clone();
        sorted.sort();
        if sorted == expected { Ok(()) } else { Err(format!("{logins:?}")) }
    })
    .await;
    assert_eq!(audit(&host, &admin, "logout").await, [("admin".to_owned(), 303)]);
    assert!(!host.log().contains("sbs_") && !host.log().contains(&admin[4..]));
}

#[tokio::test]
async fn a_login_leads_to_no_other_host() {
    let (_host, browser, admin) = host_with("").await;
    for foreign in ["%2F%2Fevil.example", "https%3A%2F%2Fevil.example", "%2F%5Cevil.example"] {
        let response = browser.form("/login", "", &format!("token={admin}&next={foreign}")).await;
        assert_eq!(location(&response), "/", "{foreign}");
    }
}

#[tokio::test]
async fn a_cookie_permits_what_its_token_permits_and_proves_where_a_change_comes_from() {
    let (host, browser, admin) = host_with("").await;
    let client = host.client().with_token(&admin);
    let body = json!({"name": "reader", "roles": ["reader"]});
    let created = client.request(Method::POST, "/tokens").json(&body).send().await.expect("it");
    let reader = created.json::<Value>().await.expect("JSON")["token"].as_str().map(str::to_owned);
    let reader = browser.sign_in(&reader.expect("a token")).await;
    let own = browser.sign_in(&admin).await;
    assert_eq!(browser.get("/v1/accounts", &reader).await.status(), StatusCode::OK);
    assert_eq!(browser.get("/v1/tokens", &reader).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(browser.get("/v1/tokens", &own).await.status(), StatusCode::OK);
    // The API answers a problem, and never leads to a page.
    assert_eq!(browser.get("/v1/tokens", "").await.status(), StatusCode::UNAUTHORIZED);
    let create = |name: &str| {
        let request = browser.request(Method::POST, "/v1/tokens").header(COOKIE, &own);
        request.json(&json!({"name": name, "roles": ["reader"]}))
    };
    for (name, value, status) in [
        ("sec-fetch-site", "same-origin", 200),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "none", 403),
        ("origin", &browser.url, 200),
        ("origin", "https://evil.example", 403),
        ("x-nothing", "", 403),
    ] {
        let answer = create(&format!("{name} {value}")).header(name, value).send().await;
        assert_eq!(answer.expect("an answer").status(), status, "{name}: {value}");
    }
    wait::until("what the guard refused in the audit log", wait::SOON, async || {
        let refused = audit(&host, &admin, "tokens").await;
        let count = refused.iter().filter(|row| **row == ("unknown".to_owned(), 403)).count();
        if count == 1 { Ok(()) } else { Err(format!("{refused:?}")) }
    })
    .await;
    // A link from another site leads to a page, which the other site cannot read.
    let link = browser.request(Method::GET, "/overview").header(COOKIE, &own);
    let link = link.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", "navigate");
    let page = link.header("sec-fetch-dest", "document").send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
}

#[tokio::test]
async fn sessions_are_listed_and_end_with_their_token_and_by_an_administrator() {
    let (mut host, browser, admin) = host_with("").await;
    let client = host.client().with_token(&admin);
    let body = json!({"name": "ada", "roles": ["reader"]});
    let created = client.request(Method::POST, "/tokens").json(&body).send().await.expect("it");
    let created: Value = created.json().await.expect("JSON");
    let token = created["token"].as_str().expect("a token");
    let (one, other) = (browser.sign_in(token).await, browser.sign_in(token).await);
    let sessions = client.get("/sessions").await.expect("a list");
    let rows = sessions["sessions"].as_array().expect("sessions");
    let shown = |row: &Value| (row["who"].clone(), row["roles"].clone(), row["origin"].clone());
    let expected = (json!("ada"), json!(["reader"]), json!("127.0.0.1"));
    assert_eq!(rows.iter().map(shown).collect::<Vec<_>>(), [expected.clone(), expected]);
    assert!(!sessions.to_string().contains("sbs_"), "{sessions}");
    let id = rows[0]["id"].to_string();
    let ended = sagabox(host.folder(), &["session", "end", &id, "--host", &host.url()]).with(0);
    assert!(ended.output.contains("has ended"), "{}", ended.output);
    let _ = sagabox(host.folder(), &["session", "end", &id, "--host", &host.url()]).with(1);
    assert_eq!(browser.get("/v1/accounts", &one).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(browser.get("/v1/accounts", &other).await.status(), StatusCode::OK);
    host.kill_and_start().await;
    let browser = Browser::new(&host);
    assert_eq!(browser.get("/v1/accounts", &other).await.status(), StatusCode::OK);
    let revoke = format!("/tokens/{}/revoke", created["details"]["id"]);
    let client = host.client().with_token(&admin);
    client.request(Method::POST, &revoke).json(&json!({})).send().await.expect("it");
    assert_eq!(browser.get("/v1/accounts", &other).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(client.get("/sessions").await.expect("a list")["sessions"], json!([]));
}

#[tokio::test]
async fn a_token_has_a_rate_of_its_own_or_that_of_the_configuration() {
    let rate = "[api]\nrate = { per_second = 1, burst = 1000 }";
    let (host, _, admin) = host_with(rate).await;
    let url = host.url();
    let token = ["token", "create", "slow", "--role", "sender", "--role", "reader"];
    let token = [&token[..], &["--rate", "1", "--burst", "3", "--host", &url]].concat();
    let slow = sagabox(host.folder(), &token).with(0).output;
    let slow = host.client().with_token(slow.trim());
    let batch = |ids: std::ops::Range<u32>| {
        let event =
            |id| json!({"specversion": "1.0", "id": format!("e{id}"), "source": "s", "type": "t"});
        Value::Array(ids.map(event).collect()).to_string()
    };
    let kind = "application/cloudevents-batch+json";
    let taken = slow.post_events(kind, batch(0..3)).await.expect("an answer");
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    let refused = slow.post_events(kind, batch(3..6)).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.expect("a problem");
    assert_eq!(problem["type"], "urn:sagabox:problem:rate-limited");
    // The rate of the configuration is another bucket.
    let admin = host.client().with_token(&admin);
    assert_eq!(admin.get("/accounts").await.expect("an answer")["events"], 3);
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_is_done_once() {
    let (mut host, _, admin) = host_with("").await;
    let client = host.client().with_token(&admin);
    let post =
        async |client: &sagabox_tests::client::Client, path: &str, key: &str, body: &Value| {
            let request = client.request(Method::POST, path).header("idempotency-key", key);
            let answer = request.json(body).send().await.expect("an answer");
            let replayed = answer.headers().contains_key("idempotency-replayed");
            (answer.status().as_u16(), replayed, answer.json::<Value>().await.expect("JSON"))
        };
    let token = json!({"name": "once", "roles": ["reader"]});
    let (status, _, created) = post(&client, "/tokens", "\"k-1\"", &token).await;
    assert_eq!(status, 200, "{created}");
    // Its answer has a secret, which is nowhere in the store.
    let (status, replayed, problem) = post(&client, "/tokens", "k-1", &token).await;
    assert_eq!((status, replayed), (409, false), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("secret")), "{problem}");
    let revoke = format!("/tokens/{}/revoke", created["details"]["id"]);
    let reason = json!({"reason": "a test"});
    let (status, replayed, first) = post(&client, &revoke, "k-2", &reason).await;
    assert_eq!((status, replayed), (200, false), "{first}");
    host.kill_and_start().await;
    let client = host.client().with_token(&admin);
    let (status, replayed, again) = post(&client, &revoke, "k-2", &reason).await;
    assert_eq!((status, replayed, &again), (200, true, &first));
    let (status, _, conflict) = post(&client, &revoke, "k-3", &reason).await;
    assert_eq!(status, 409, "{conflict}");
    let (status, _, problem) = post(&client, &revoke, "k-2", &json!({})).await;
    let kind = "urn:sagabox:problem:idempotency-key-reused";
    assert_eq!((status, &problem["type"]), (422, &json!(kind)));
    let (status, ..) = post(&client, &revoke, "two words", &reason).await;
    assert_eq!(status, 400);
    // The key of another caller is another key.
    let other = json!({"name": "other", "roles": ["admin"]});
    let (_, _, other) = post(&client, "/tokens", "k-4", &other).await;
    let other = host.client().with_token(other["token"].as_str().expect("a token"));
    assert_eq!(post(&other, &revoke, "k-2", &reason).await.0, 409);
    let done = audit(&host, &admin, "revoke").await;
    assert_eq!(done.iter().filter(|(_, status)| *status == 200).count(), 1, "{done:?}");
}

#[tokio::test]
async fn a_hangup_reloads_what_can_change_and_names_what_needs_a_restart() {
    let text = |rate: u32, shards: u32, filter: &str| {
        format!(
            "[api]\nrate = {{ per_second = 1, burst = {rate} }}\n[limits]\nshards = {shards}\n\
             [log]\nfilter = '{filter}'"
        )
    };
    let (mut host, _, admin) = host_with(&text(1000, 1, "info")).await;
    let client = host.client().with_token(&admin);
    hang_up(&mut host, &text(1, 2, "info"), "the configuration was reloaded").await;
    assert!(host.log().contains("`limits.shards` has changed; restart the host"), "{}", host.log());
    assert!(host.log().contains("api.rate.burst"), "{}", host.log());
    let limited = async || client.get("/accounts").await.is_err_and(|error| error.contains("429"));
    wait::until("the new rate", wait::SOON, async || {
        if limited().await { Ok(()) } else { Err("not limited".to_owned()) }
    })
    .await;
    hang_up(&mut host, "listen = 5", "the configuration before stays in use").await;
    let says = "api.rate.burst, log.filter";
    hang_up(&mut host, &text(1000, 1, "sagabox=debug"), says).await;
    client.get("/accounts").await.expect("the rate before");
    hang_up(&mut host, "[log]\nfilter = 'loud'", "log.filter: `loud` is invalid").await;
}

/// Changes the configuration, and waits for what the host says of it.
async fn hang_up(host: &mut Host, text: &str, says: &str) {
    std::fs::write(host.folder().join("sagabox.toml"), text).expect("a configuration");
    host.signal("HUP").await;
    wait::until(
        says,
        wait::SOON,
        async || {
            if host.log().contains(says) { Ok(()) } else { Err(host.log()) }
        },
    )
    .await;
}

#[tokio::test]
async fn the_sessions_of_one_token_are_bounded_and_the_least_used_ends() {
    const MOST: usize = 100;
    let (_host, browser, admin) = host_with("").await;
    let mut cookies = Vec::new();
    for _ in 0..=MOST {
        cookies.push(browser.sign_in(&admin).await);
    }
    assert_eq!(browser.get("/overview", &cookies[0]).await.status(), StatusCode::SEE_OTHER);
    for open in [&cookies[1], &cookies[MOST]] {
        assert_eq!(browser.get("/overview", open).await.status(), StatusCode::OK);
    }
}

/// The client goes away at any moment of its request, and sends the request again.
#[tokio::test]
async fn a_client_that_goes_away_leaves_no_idempotency_key_in_use() {
    const REQUESTS: u64 = 40;
    let (host, _, admin) = host_with("").await;
    let body = r#"{"action":"redrive","plugin":"order-saga"}"#;
    let address = host.url().replace("http://", "");
    for number in 0..REQUESTS {
        let header = format!(
            "POST /v1/batches HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {admin}\r\n\
             content-type: application/json\r\nidempotency-key: k-{number}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("a connection");
        stream.write_all(header.as_bytes()).await.expect("it is sent");
        for _ in 0..number * 5 {
            tokio::task::yield_now().await;
        }
        drop(stream);
    }
    let client = host.client().with_token(&admin);
    for number in 0..REQUESTS {
        wait::until("an answer to the same request", wait::SOON, async || {
            let request = client.request(Method::POST, "/batches");
            let request = request.header("idempotency-key", format!("k-{number}"));
            let request = request.header("content-type", "application/json").body(body);
            let answer = request.send().await.map_err(|error| error.to_string())?;
            match answer.status() {
                StatusCode::OK => Ok(()),
                status => Err(format!("{number}: {status}")),
            }
        })
        .await;
    }
}
