//! TLS: served by the host itself, with certificates that change while it runs, and with clients
//! that need one.

use std::path::Path;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use reqwest::{Certificate, Client, Identity, Method};
use sagabox_tests::command::{sagabox, sagabox_with};
use sagabox_tests::host::Host;
use sagabox_tests::wait;

/// A root, and what it signs.
struct Root(CertifiedIssuer<'static, KeyPair>);

impl Root {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a root"))
    }

    /// A certificate of this root for a name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn write(&self, folder: &Path) {
        let (certificate, key) = self.sign("127.0.0.1");
        std::fs::write(folder.join("key.pem"), key).expect("a file");
        std::fs::write(folder.join("certificate.pem"), certificate).expect("a file");
    }

    /// A client that trusts this root alone.
    fn client(&self, identity: Option<&str>) -> Client {
        let root = Certificate::from_pem(self.0.pem().as_bytes()).expect("a root");
        let builder = Client::builder().no_proxy().tls_certs_only([root]);
        let builder = match identity {
            Some(pem) => builder.identity(Identity::from_pem(pem.as_bytes()).expect("an identity")),
            None => builder,
        };
        builder.build().expect("a client")
    }
}

fn configuration(folder: &Path, further: &str) -> String {
    let folder = folder.display();
    format!("[tls]\ncertificate = '{folder}/certificate.pem'\nkey = '{folder}/key.pem'\n{further}")
}

fn url(host: &Host, path: &str) -> String {
    format!("{}{path}", host.url().replace("http://", "https://"))
}

#[tokio::test]
async fn a_certificate_is_served_and_read_again_when_it_changes() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (root, next) = (Root::new(), Root::new());
    root.write(folder.path());
    let host = Host::builder().configuration(configuration(folder.path(), "")).start().await;
    let get = async |root: &Root| root.client(None).get(url(&host, "/v1/queues")).send().await;
    assert_eq!(get(&root).await.expect("TLS").status(), 200);
    get(&next).await.expect_err("a certificate of another root");
    let plain = Client::builder().no_proxy().build().expect("a client");
    plain.get(format!("{}/v1/queues", host.url())).send().await.expect_err("HTTP without TLS");
    // Half of a new pair: the host goes on with the old one.
    std::fs::write(folder.path().join("key.pem"), next.sign("127.0.0.1").1).expect("a file");
    wait::until("a warning", wait::LONG, async || {
        let log = host.log();
        if log.contains("the certificate before stays") { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(get(&root).await.expect("TLS").status(), 200);
    next.write(folder.path());
    wait::until("the new certificate", wait::LONG, async || {
        get(&next).await.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
    get(&root).await.expect_err("the certificate before");
}

#[tokio::test]
async fn a_client_needs_a_certificate_where_the_host_asks_for_one() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let (root, other) = (Root::new(), Root::new());
    root.write(folder.path());
    std::fs::write(folder.path().join("roots.pem"), root.0.pem()).expect("a file");
    let further = format!("client_roots = '{}/roots.pem'", folder.path().display());
    let host = Host::builder().configuration(configuration(folder.path(), &further)).start().await;
    let get =
        async |client: Client| client.request(Method::GET, url(&host, "/readyz")).send().await;
    get(root.client(None)).await.expect_err("no certificate");
    let (certificate, key) = other.sign("worker");
    get(root.client(Some(&format!("{certificate}{key}")))).await.expect_err("of another root");
    let (certificate, key) = root.sign("worker");
    let own = format!("{certificate}{key}");
    assert_eq!(get(root.client(Some(&own))).await.expect("TLS").status(), 200);
    let file = folder.path().join("client.pem");
    std::fs::write(&file, own).expect("a file");
    let roots = folder.path().join("roots.pem").display().to_string();
    let file = file.display().to_string();
    let variables = [("SSL_CERT_FILE", roots.as_str()), ("SAGABOX_CLIENT_CERTIFICATE", &file)];
    let command = ["queues", "--host", &url(&host, "")];
    let _ = sagabox_with(folder.path(), &command, &variables).with(0);
    let _ = sagabox_with(folder.path(), &command, &variables[..1]).with(1);
}

#[tokio::test]
async fn a_token_is_bound_to_a_certificate_that_also_stands_for_it() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let root = Root::new();
    root.write(folder.path());
    std::fs::write(folder.path().join("roots.pem"), root.0.pem()).expect("a file");
    let further = format!(
        "client_roots = '{}/roots.pem'\nclient_certificates = 'optional'",
        folder.path().display()
    );
    let configuration = configuration(folder.path(), &further);
    let host = Host::builder().with_tokens().configuration(configuration).start().await;
    let (certificate, key) = root.sign("worker");
    let own = format!("{certificate}{key}");
    let file = folder.path().join("worker.pem").display().to_string();
    std::fs::write(&file, &own).expect("a file");
    let roots = folder.path().join("roots.pem").display().to_string();
    let token_file = format!("{}.token", host.store().display());
    let variables =
        [("SSL_CERT_FILE", roots.as_str()), ("SAGABOX_TOKEN_FILE", token_file.as_str())];
    let address = url(&host, "");
    let create = ["token", "create", "w", "--role", "reader", "--certificate", &file];
    let create = [&create[..], &["--host", &address]].concat();
    let token = sagabox_with(folder.path(), &create, &variables).with(0).output;
    let get = async |client: Client, token: &str| {
        let request = client.request(Method::GET, url(&host, "/v1/accounts"));
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        request.send().await.expect("an answer").status().as_u16()
    };
    let (other, other_key) = root.sign("other");
    let other = format!("{other}{other_key}");
    assert_eq!(get(root.client(Some(&own)), token.trim()).await, 200);
    assert_eq!(get(root.client(Some(&own)), "").await, 200, "the certificate stands for it");
    assert_eq!(get(root.client(None), token.trim()).await, 401);
    assert_eq!(get(root.client(Some(&other)), token.trim()).await, 401);
    assert_eq!(get(root.client(Some(&other)), "").await, 401);
    assert_eq!(get(root.client(None), "").await, 401);
    // Another token cannot have the same certificate.
    let second = create.iter().map(|word| if *word == "w" { "second" } else { *word });
    let second: Vec<&str> = second.collect();
    let _ = sagabox_with(folder.path(), &second, &variables).with(1).saying("belongs to the token");
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::TempDir::new().expect("a folder");
    std::fs::create_dir(folder.path().join("plugins")).expect("a folder of plugins");
    let run = |tls: &str| {
        let text = format!("listen = '127.0.0.1:0'\n[tls]\n{tls}");
        std::fs::write(folder.path().join("sagabox.toml"), text).expect("a file");
        sagabox(folder.path(), &["run", "plugins"])
    };
    let _ = run("certificate = 'c.pem'").with(2).saying("tls.key: is required");
    let _ = run("certificate = 'c.pem'\nkey = 'k.pem'").with(1).saying("read c.pem");
    Root::new().write(folder.path());
    let _ = run("certificate = 'key.pem'\nkey = 'key.pem'").with(1).saying("key.pem has no certif");
    std::fs::write(folder.path().join("other.pem"), Root::new().sign("x").1).expect("a file");
    let text = "certificate = 'certificate.pem'\nkey = 'other.pem'";
    let _ = run(text).with(1).saying("do not fit together");
}
