//! Files of text that are not plain UTF-8: archived logs are compressed, and some shells write
//! UTF-16. Their first bytes show it.

use std::io::{self, BufRead, BufReader};

use flate2::bufread::MultiGzDecoder;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextForm {
    Plain,
    Gzip,
    /// What it is, and what to do about it.
    Other(&'static str),
}

impl TextForm {
    /// By the first bytes of a file.
    pub(crate) fn of(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Self::Other(
                "is text in UTF-16, as `>` of Windows PowerShell writes it; convert it to UTF-8, \
                 for example with `iconv -f UTF-16 -t UTF-8`",
            ),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => {
                Self::Other("is compressed with zstd; unpack it with `zstd -dc`")
            }
            [b'P', b'K', 3, 4, ..] => Self::Other("is a ZIP archive; unpack it with `unzip -p`"),
            _ => Self::Plain,
        }
    }
}

/// The text of a file, which may be compressed with gzip.
///
/// # Errors
/// If the file cannot be read, or is in another form.
pub(crate) fn unpacked<'r>(mut file: impl BufRead + 'r) -> io::Result<Box<dyn BufRead + 'r>> {
    match TextForm::of(file.fill_buf()?) {
        TextForm::Plain => Ok(Box::new(file)),
        TextForm::Gzip => Ok(Box::new(BufReader::new(MultiGzDecoder::new(file)))),
        TextForm::Other(why) => Err(io::Error::new(io::ErrorKind::InvalidData, why)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn text(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        unpacked(bytes)?.read_to_string(&mut text)?;
        Ok(text)
    }

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_and_plain_text_are_read_alike() {
        assert_eq!(text(b"one\ntwo").unwrap(), "one\ntwo");
        assert_eq!(text(b"").unwrap(), "");
        // Files that are appended to each other are one.
        assert_eq!(text(&[packed("one\n"), packed("two")].concat()).unwrap(), "one\ntwo");
        assert!(text(&packed("one")[..12]).is_err(), "cut off");
    }

    #[test]
    fn other_forms_are_named() {
        for (first, named) in
            [(&b"\xff\xfe{\0"[..], "UTF-16"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"PK\x03\x04", "ZIP")]
        {
            let error = text(first).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
