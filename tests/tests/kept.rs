//! The store keeps each component that has decided something: to replay it and to go back to it,
//! no file is needed.

use sagabox_tests::client::Client;
use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};

use crate::hot::{put, serves, step, version, wrong};

/// Two versions have decided: 1.1.0 the first two events of `a`, 1.2.0 the others.
async fn decided() -> Host {
    let host = Host::builder().file("hot.wasm", version(1, 1, "all")).start().await;
    let client = host.client();
    client.send(&[step(1, "a"), step(2, "a")]).await;
    client.take_exactly("Stepped", 2).await;
    put(&host, "hot.wasm", &wrong(2, 1, "all", "differs"));
    serves(&client, 2).await;
    client.send(&[step(3, "a"), step(4, "a"), step(3, "b")]).await;
    client.take_exactly("Stepped", 3).await;
    host
}

/// What the store keeps: versions, and whether they decide.
async fn kept(client: &Client) -> Result<Value, String> {
    let all = client.get("/plugins").await?;
    let rows = all["kept"].as_array().ok_or(all.to_string())?.iter();
    Ok(rows.map(|row| json!([row["version"], row["is_active"]])).collect())
}

fn replay(host: &Host, arguments: &[&str]) -> Ended {
    let store = host.store();
    let store = ["--store", store.to_str().expect("text")];
    sagabox(host.folder(), &[&["replay", "hot"], arguments, &store].concat())
}

#[tokio::test]
async fn a_version_is_asked_again_without_its_file() {
    let mut host = decided().await;
    let client = host.client();
    let both = json!([["1.1.0", false], ["1.2.0", true]]);
    wait::until("both are kept", wait::SOON, || async {
        let found = kept(&client).await?;
        if found == both { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    let listed = sagabox(host.folder(), &["plugins", "--host", &host.url()]).with(0).output;
    assert!(listed.contains("KEPT") && listed.contains("1.1.0"), "{listed}");

    // What would 1.1.0 have said of what 1.2.0 decided?
    let state = ["--plugin-version", "1.1.0", "--compare", "state"];
    let report = replay(&host, &[&state[..], &["--json"]].concat()).with(1).json();
    let outcome = &report["plugins"][0];
    assert_eq!((&outcome["alike"], &outcome["differ"]), (&json!(3), &json!(2)), "{report}");
    assert_eq!(outcome["kinds"].as_array().map(Vec::len), Some(1));
    let kind = &outcome["kinds"][0];
    assert_eq!(
        (&kind["kind"], &kind["decisions"]),
        (&json!("state only, `/count` differs"), &json!(2))
    );
    assert_eq!(kind["example"]["event_id"], "step-3-a");
    let _ = replay(&host, &state)
        .with(1)
        .saying("2 decisions: state only, `/count` differs; for example `a` at position 3");
    // Each command names the version that decided.
    let effects = ["--plugin-version", "1.1.0", "--compare", "effects"];
    let _ = replay(&host, &effects)
        .with(1)
        .saying("1 decision: effects only, `messages[*].data.version` differs;");
    let digest = client.get("/plugins").await.expect("plugins")["kept"][1]["digest"].clone();
    let digest = digest.as_str().expect("a digest")[..10].to_owned();
    let own = replay(&host, &["--digest", &digest, "--instance", "b"]).with(0);
    assert!(own.output.contains("1 alike, 0 differ"), "{}", own.output);
    let _ = replay(&host, &["--plugin-version", "3.0.0"])
        .with(2)
        .saying("the store does not keep this version of `hot`; it keeps 1.1.0 (");
    // A backup has them as well.
    host.stop().await;
    let (store, copy) = (host.store(), host.folder().join("copy.db"));
    let paths = [&store, &copy].map(|path| path.to_str().expect("text").to_owned());
    let _ = sagabox(host.folder(), &["backup", &paths[1], "--store", &paths[0]]).with(0);
    let again =
        ["replay", "hot", "--plugin-version", "1.2.0", "--instance", "b", "--store", &paths[1]];
    let _ = sagabox(host.folder(), &again).with(0);
}

#[tokio::test]
async fn a_host_goes_back_to_a_version_that_its_store_keeps() {
    let host = decided().await;
    let client = host.client();
    let (store, into, url) = (host.store(), host.plugins(), host.url());
    let rollback = |arguments: &[&str]| {
        let paths = [&store, &into].map(|path| path.to_str().expect("text"));
        let all = [&["rollback", "hot"], arguments, &["--store", paths[0], "--into", paths[1]]];
        sagabox(host.folder(), &[&all.concat()[..], &["--host", &url]].concat())
    };
    let _ = rollback(&[]).with(2).saying("give the version with --plugin-version or --digest");
    let _ = rollback(&["--plugin-version", "1.1.0"]).with(0).saying("hot 1.1.0 is in ");
    serves(&client, 1).await;
    client.send(&[step(4, "b")]).await;
    let command = client.take_exactly("Stepped", 1).await;
    assert!(command.values().all(|command| command["data"]["version"] == "1.1.0"), "{command:?}");
    let back = json!([["1.2.0", false], ["1.1.0", true]]);
    wait::until("the other decides no more", wait::SOON, || async {
        let found = kept(&client).await?;
        if found == back { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    client.assert_no_dead_letters().await;
}
