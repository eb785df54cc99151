//! Login at a real identity provider: oidc-provider, which runs in Node.js (`tests/oidc`). The test is
//! the browser: it follows redirects between both, with the cookies of each.

use std::collections::BTreeMap;
use std::process::Stdio;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Redirects from one login.
const STEPS_MAX: usize = 10;

struct Provider {
    issuer: String,
    _process: Child,
}

impl Provider {
    async fn start() -> Self {
        let mut process = Command::new("node")
            .arg(paths::repository().join("tests/oidc/provider.mjs"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js; ./dev setup installs it");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let starting = async {
            while let Some(line) = lines.next_line().await.expect("lines") {
                if line.starts_with("http://") {
                    return line;
                }
            }
            panic!("the provider has ended; has `npm ci` been run in tests/oidc?");
        };
        let issuer = tokio::time::timeout(wait::LONG, starting).await.expect("an issuer");
        // What it writes later must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { issuer, _process: process }
    }

    async fn control(&self, what: &str) {
        let url = format!("{}/control?{what}", self.issuer);
        reqwest::get(url).await.expect("an answer").error_for_status().expect("200");
    }

    /// A host whose people sign in here.
    async fn host(&self, further: &str) -> Host {
        let configuration = format!(
            "[login.oidc]\nissuer = '{}'\nclient_id = 'sagabox'\nclient_secret = 'a secret of the test'\n\
             scopes = ['email', 'groups']\nname_claim = 'email'\nname = 'Example'\n{further}\n\
             [[login.oidc.grant]]\nvalue = 'operations'\nroles = ['operator']\n\
             plugins = ['order-saga']\n\
             [[login.oidc.grant]]\nvalue = 'support'\nroles = ['reader']\npayloads = true",
            self.issuer
        );
        let host = Host::builder().plugin("order-saga").with_tokens();
        let host = host.configuration(configuration).start().await;
        self.control(&format!("redirect={}/login/callback&restart", host.url())).await;
        host
    }
}

/// A browser: its cookies, by host and port.
struct Browser {
    http: Client,
    cookies: BTreeMap<(String, String), String>,
}

impl Browser {
    fn new(host: &Host) -> Self {
        let _ = host.client();
        let builder = Client::builder().no_proxy().redirect(Policy::none());
        Self { http: builder.build().expect("a client"), cookies: BTreeMap::new() }
    }

    async fn get(&mut self, url: &Url) -> Response {
        let site = url.authority().to_owned();
        let own = self.cookies.iter().filter(|((of, _), _)| *of == site);
        let cookies: Vec<String> =
            own.map(|((_, name), value)| format!("{name}={value}")).collect();
        let request = self.http.get(url.clone()).header("accept", "text/html");
        let request = request.header(COOKIE, cookies.join("; "));
        let response = request.send().await.expect("an answer");
        for set in response.headers().get_all(SET_COOKIE) {
            let pair = set.to_str().expect("text").split(';').next().expect("a cookie");
            let (name, value) = pair.split_once('=').expect("a name");
            self.cookies.insert((site.clone(), name.to_owned()), value.to_owned());
        }
        response
    }

    /// Opens an address and follows redirects until `stop` is reached, or a page. Returns the address
    /// that comes next, or the page.
    async fn follow(&mut self, from: &str, stop: &str) -> Result<Url, Response> {
        let mut url: Url = from.parse().expect("an address");
        for _ in 0..STEPS_MAX {
            let response = self.get(&url).await;
            let Some(next) = response.headers().get(LOCATION) else { return Err(response) };
            url = url.join(next.to_str().expect("text")).expect("an address");
            if !stop.is_empty() && url.as_str().contains(stop) {
                return Ok(url);
            }
        }
        panic!("too many redirects, the last to {url}");
    }
}

async fn page(response: Result<Url, Response>) -> (u16, String) {
    let response = response.expect_err("a page");
    (response.status().as_u16(), response.text().await.expect("a page"))
}

#[tokio::test]
async fn a_person_signs_in_and_may_do_what_the_claims_give() {
    let provider = Provider::start().await;
    let host = provider.host("").await;
    let mut browser = Browser::new(&host);
    let login = browser.get(&format!("{}/login", host.url()).parse().expect("a URL")).await;
    assert!(login.text().await.expect("a page").contains("Sign in with Example"));
    provider.control("sub=ada&group=operations").await;
    let begin = format!("{}/login/oidc?next=%2Finstances", host.url());
    let (status, html) = page(browser.follow(&begin, "").await).await;
    assert_eq!(status, 200, "{html}");
    assert!(html.contains("oidc:ada@example.com"), "{html}");
    let mut get = async |path: &str| {
        let url = format!("{}/v1{path}", host.url()).parse().expect("a URL");
        browser.get(&url).await.status().as_u16()
    };
    assert_eq!(get("/dead-letters?plugin=order-saga").await, 200);
    assert_eq!(get("/dead-letters?plugin=other").await, 403, "restricted to a plugin");
    assert_eq!(get("/tokens").await, 403, "not an administrator");
    let file = format!("{}.token", host.store().display());
    let admin = std::fs::read_to_string(file).expect("a token");
    let sessions = host.client().with_token(admin.trim()).get("/sessions").await.expect("a list");
    let own = &sessions["sessions"][0];
    let shown = ["who", "issuer", "subject", "roles", "plugins"].map(|name| own[name].clone());
    let issuer = json!(provider.issuer);
    let expected = [
        json!("oidc:ada@example.com"),
        issuer,
        json!("ada"),
        json!(["operator"]),
        json!(["order-saga"]),
    ];
    assert_eq!(shown, expected);
    let log = host.client().with_token(admin.trim()).get("/audit?action_contains=login").await;
    let entry = &log.expect("a page")["entries"][0];
    assert_eq!((&entry["who"], &entry["token"]), (&json!("oidc:ada@example.com"), &Value::Null));
    assert!(!host.log().contains("a secret of the test"));
}

#[tokio::test]
async fn who_has_no_grant_learns_which_claim_is_missing() {
    let provider = Provider::start().await;
    let host = provider.host("").await;
    provider.control("sub=eve&group=sales").await;
    let begin = format!("{}/login/oidc", host.url());
    let (status, html) = page(Browser::new(&host).follow(&begin, "").await).await;
    assert_eq!(status, 403, "{html}");
    assert!(html.contains("sales") && html.contains("login.oidc.grant"), "{html}");
}

#[tokio::test]
async fn an_answer_counts_once_in_its_own_browser_and_with_its_own_state() {
    let provider = Provider::start().await;
    let host = provider.host("").await;
    provider.control("sub=ada&group=support").await;
    let (mut browser, mut other) = (Browser::new(&host), Browser::new(&host));
    let begin = format!("{}/login/oidc", host.url());
    let callback = browser.follow(&begin, "/login/callback").await.expect("the way back");
    // Another browser opens the address.
    let (status, html) = page(other.follow(callback.as_str(), "").await).await;
    assert_eq!(status, 400, "{html}");
    assert!(html.contains("begin again"), "{html}");
    let (status, html) = page(browser.follow(callback.as_str(), "").await).await;
    assert_eq!(status, 200, "{html}");
    let (status, _) = page(browser.follow(callback.as_str(), "").await).await;
    assert_eq!(status, 400, "used already");
    let callback = browser.follow(&begin, "/login/callback").await.expect("the way back");
    let wrong = callback.as_str().replace("state=", "state=x");
    let (status, _) = page(browser.follow(&wrong, "").await).await;
    assert_eq!(status, 400, "another state");
    let (status, _) = page(browser.follow(callback.as_str(), "").await).await;
    assert_eq!(status, 400, "the login has ended with the wrong state");
}

#[tokio::test]
async fn keys_that_change_are_read_again_and_a_wrong_issuer_is_named() {
    let provider = Provider::start().await;
    let mut host = provider.host("").await;
    provider.control("sub=ada&group=support").await;
    let mut browser = Browser::new(&host);
    let begin = format!("{}/login/oidc", host.url());
    let (status, html) = page(browser.follow(&begin, "").await).await;
    assert_eq!(status, 200, "{html}");
    provider.control("restart").await;
    let (status, html) = page(browser.follow(&begin, "").await).await;
    assert_eq!(status, 200, "with a new key: {html}");
    let file = host.folder().join("sagabox.toml");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let issuer = format!("issuer = '{}", provider.issuer);
    std::fs::write(&file, text.replace(&issuer, &format!("{issuer}/"))).expect("a configuration");
    host.signal("HUP").await;
    wait::until("another issuer", wait::SOON, async || {
        if host.log().contains("login.oidc.issuer") { Ok(()) } else { Err(host.log()) }
    })
    .await;
    let (status, html) = page(browser.follow(&begin, "").await).await;
    assert_eq!(status, 502, "{html}");
    assert!(html.contains("compare login.oidc.issuer"), "{html}");
}

#[tokio::test]
async fn a_wrong_secret_says_what_to_compare() {
    let provider = Provider::start().await;
    let host = provider.host("").await;
    let file = host.folder().join("sagabox.toml");
    let text = std::fs::read_to_string(&file).expect("a configuration");
    std::fs::write(&file, text.replace("a secret of the test", "a wrong one")).expect("a file");
    let mut host = host;
    host.signal("HUP").await;
    wait::until("another secret", wait::SOON, async || {
        if host.log().contains("login.oidc.client_secret") { Ok(()) } else { Err(host.log()) }
    })
    .await;
    provider.control("sub=ada&group=support").await;
    let begin = format!("{}/login/oidc", host.url());
    let (status, html) = page(Browser::new(&host).follow(&begin, "").await).await;
    assert_eq!(status, 502, "{html}");
    assert!(html.contains("compare client_id, client_secret"), "{html}");
    assert!(!html.contains("a wrong one") && !host.log().contains("a wrong one"));
}
