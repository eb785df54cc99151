//! A compressed tar whose bytes depend on its entries alone.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use flate2::write::GzEncoder;
use tar::{Builder, EntryType, Header};

use super::Release;

pub(super) struct Tarball {
    builder: Builder<GzEncoder<Vec<u8>>>,
    folders: BTreeSet<String>,
    time: u64,
}

impl Tarball {
    pub(super) fn new(release: &Release) -> Self {
        // Its header has neither a time nor a name.
        let encoder = GzEncoder::new(Vec::new(), release.compression);
        Self { builder: Builder::new(encoder), folders: BTreeSet::new(), time: release.time }
    }

    /// Appends a file. The folders that it lies in become entries before it.
    pub(super) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        for (end, _) in path.match_indices('/') {
            self.folder(&path[..=end])?;
        }
        self.entry(EntryType::Regular, path, mode, contents)
    }

    pub(super) fn finish(self) -> Result<Vec<u8>> {
        Ok(self.builder.into_inner()?.finish()?)
    }

    fn folder(&mut self, path: &str) -> Result<()> {
        if self.folders.insert(path.to_owned()) {
            self.entry(EntryType::Directory, path, 0o755, &[])?;
        }
        Ok(())
    }

    fn entry(&mut self, kind: EntryType, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_username("root")?;
        header.set_groupname("root")?;
        header.set_mtime(self.time);
        header.set_size(contents.len().try_into()?);
        self.builder
            .append_data(&mut header, path, contents)
            .with_context(|| format!("packing {path}"))
    }
}
