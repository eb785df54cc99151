//! The archive: the binary with all documents in one folder, to be unpacked anywhere.

use anyhow::Result;

use super::tarball::Tarball;
use super::{NAME, PROGRAM, Release, TEXT};

pub(super) fn pack(release: &Release) -> Result<(String, Vec<u8>)> {
    let machine = release.platform.machine.name();
    let folder = format!("{NAME}-{}-{machine}-linux-gnu", release.version);
    let mut tarball = Tarball::new(release);
    for document in &release.documents {
        tarball.file(&format!("{folder}/{}", document.path), TEXT, &document.contents)?;
    }
    for file in &release.integration {
        tarball.file(&format!("{folder}/{}", file.path), TEXT, &file.contents)?;
    }
    tarball.file(&format!("{folder}/{NAME}"), PROGRAM, &release.binary)?;
    Ok((format!("{folder}.tar.gz"), tarball.finish()?))
}
