//! Signatures by minisign: text files beside the components.

use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey, Signature};

use crate::io::files;

const EXTENSION: &str = "minisig";
/// A setting that ends with this is the path of a public key; otherwise it is the key itself, in
/// base64.
const KEY_EXTENSION: &str = ".pub";

/// A public key whose signatures are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key(PublicKey);

impl Key {
    /// Reads the key itself (`RWQ…`), or the file that minisign has written it to (`….pub`).
    ///
    /// # Errors
    /// If the text is neither.
    pub fn read(said: &str, directory: &Path) -> Result<Self, String> {
        let key = if said.ends_with(KEY_EXTENSION) {
            let path = directory.join(said);
            let text = files::text(&path, files::TEXT_BYTES_MAX)
                .map_err(|error| format!("the key {} {error}", path.display()))?;
            PublicKey::decode(&text)
        } else {
            PublicKey::from_base64(said)
        };
        key.map(Self).map_err(|_| {
            format!(
                "`{said}` is not a public key of minisign; write for example \"RWQ…\", \
                 or the name of its file, \"minisign.pub\""
            )
        })
    }
}

/// The path of a component's signature: `a.wasm.minisig` for `a.wasm`.
#[must_use]
pub fn beside(component: &Path) -> PathBuf {
    files::beside(component, EXTENSION)
}

pub(crate) fn is_signature(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == EXTENSION)
}

pub(crate) fn verify_beside(keys: &[Key], component: &Path, bytes: &[u8]) -> Result<(), String> {
    let path = beside(component);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match files::text(&path, files::TEXT_BYTES_MAX) {
        Ok(text) => verify(keys, bytes, &text, &name),
        Err(error) if error.is_missing() => Err(format!(
            "is not signed: no {name} exists next to it; sign it by `minisign -Sm {}`, \
             with one of the `keys` under [plugins]",
            component.file_name().unwrap_or_default().to_string_lossy()
        )),
        Err(error) => Err(format!("its signature {name} {error}")),
    }
}

/// Checks a signature. Errors call it `name`.
pub(crate) fn verify(
    keys: &[Key],
    bytes: &[u8],
    signature: &str,
    name: &str,
) -> Result<(), String> {
    let signature = Signature::decode(signature)
        .map_err(|_| format!("{name} is not a signature of minisign, or only a part of one"))?;
    let mut unknown = true;
    for Key(key) in keys {
        // Legacy signatures, which do not hash the content first, are refused: minisign no
        // longer makes them.
        match key.verify(bytes, &signature, false) {
            Ok(()) => return Ok(()),
            Err(Error::UnexpectedKeyId) => {}
            Err(Error::UnexpectedAlgorithm) => {
                return Err(format!(
                    "{name} has a format that minisign no longer writes; sign the component again"
                ));
            }
            Err(_) => unknown = false,
        }
    }
    match unknown {
        true => Err(format!("{name} is by none of the `keys` under [plugins]")),
        false => Err(format!(
            "{name} does not fit: one of the two was altered, or the component was built again \
             after it was signed"
        )),
    }
}
