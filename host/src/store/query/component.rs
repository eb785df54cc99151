//! A component as a store keeps it: packed, with the digest by which it is known.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use sagabox_engine::model::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::decisions::digest::digest;
use crate::io::times::{Time, rfc3339};

/// The content of a component's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedComponent {
    /// SHA-256 of the file.
    pub digest: String,
    /// The name of the file, without its folder.
    pub file: String,
    /// The text of its signature, if there was one beside it.
    pub signature: Option<String>,
    /// The size of the file in bytes.
    pub size: u64,
    pub(in crate::store) packed: Vec<u8>,
}

impl PackedComponent {
    /// Packs the content of a file. A component of some megabytes takes some tenths of a second.
    ///
    /// # Panics
    /// Never: writing to memory does not fail.
    #[must_use]
    pub fn pack(file: String, bytes: &[u8], signature: Option<String>) -> Self {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        let packed = encoder.write_all(bytes).and_then(|()| encoder.finish());
        let packed = packed.expect("writing to memory does not fail");
        Self { digest: digest(bytes), file, signature, size: bytes.len() as u64, packed }
    }

    /// The content of the file.
    ///
    /// # Errors
    /// If what the store has is not the component of this digest.
    pub fn unpack(&self) -> Result<Vec<u8>, String> {
        let damaged = |why: &str| format!("the component {} in the store {why}", self.digest);
        // A store can come from anywhere: no more is unpacked than it says.
        let mut unpacked = Vec::new();
        let mut decoder = ZlibDecoder::new(&*self.packed).take(self.size + 1);
        decoder
            .read_to_end(&mut unpacked)
            .map_err(|error| damaged(&format!("cannot be unpacked: {error}")))?;
        if unpacked.len() as u64 != self.size || digest(&unpacked) != self.digest {
            return Err(damaged("has another content"));
        }
        Ok(unpacked)
    }
}

/// The plugins that a component is the version of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentUse {
    pub digest: String,
    /// Names and versions.
    pub plugins: Vec<(String, String)>,
    /// Now.
    pub at: Timestamp,
}

/// A version of a plugin whose component is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeptComponent {
    pub plugin: String,
    pub version: String,
    pub digest: String,
    pub file: String,
    pub bytes: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub since: Timestamp,
    /// Whether it decides now.
    pub is_active: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unpacked_is_what_was_packed_or_refused() {
        let bytes = b"\0asm".repeat(1_000);
        let packed = PackedComponent::pack("a.wasm".to_owned(), &bytes, None);
        assert_eq!(packed.unpack().unwrap(), bytes);
        assert!(packed.packed.len() < 100 && packed.size == 4_000);
        let refused = |change: fn(&mut PackedComponent), part: &str| {
            let mut changed = packed.clone();
            change(&mut changed);
            let error = changed.unpack().unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused(|own| own.size -= 1, "has another content");
        refused(|own| own.digest.push('0'), "has another content");
        refused(|own| own.packed.truncate(20), "cannot be unpacked");
        refused(
            |own| own.packed = PackedComponent::pack(String::new(), b"", None).packed,
            "another",
        );
    }
}
