//! The npm package: `npm install -g` links the binary as the command. It runs no script on installing.

use anyhow::Result;
use serde_json::json;

use super::tarball::Tarball;
use super::{HOMEPAGE, LICENCE, NAME, PROGRAM, Release, SUMMARY, TEXT};

pub(super) fn pack(release: &Release) -> Result<(String, Vec<u8>)> {
    let machine = release.platform.machine.npm();
    let manifest = json!({
        "name": NAME,
        "version": release.version,
        "description": SUMMARY,
        "license": format!("({LICENCE})"),
        "homepage": HOMEPAGE,
        "repository": { "type": "git", "url": format!("git+{HOMEPAGE}.git") },
        "bin": { NAME: format!("bin/{NAME}") },
        "os": ["linux"],
        "cpu": [machine],
        "libc": ["glibc"],
    });
    let manifest = format!("{manifest:#}\n");
    let mut tarball = Tarball::new(release);
    // npm asks for this folder's name.
    tarball.file("package/package.json", TEXT, manifest.as_bytes())?;
    tarball.file("package/README.md", TEXT, release.document("README.md")?)?;
    for licence in release.licences() {
        tarball.file(&format!("package/{}", licence.path), TEXT, &licence.contents)?;
    }
    tarball.file(&format!("package/bin/{NAME}"), PROGRAM, &release.binary)?;
    Ok((format!("{NAME}-{}-linux-{machine}.tgz", release.version), tarball.finish()?))
}
