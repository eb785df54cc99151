//! Pure: bodies that come compressed (RFC 9110, section 8.4).
//!
//! What a few bytes unpack to is bounded before it is unpacked, as for bodies that come as
//! they are. An encoding that is not known is refused: its bytes would be taken for data.

use std::io::Read;

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use thiserror::Error;

/// What a client may send, for the header `Accept-Encoding` of a refusal.
pub(crate) const ACCEPTED: &str = "gzip, deflate, identity";

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodingError {
    #[error("the content encoding `{0}` is not supported; send {ACCEPTED}")]
    Unsupported(String),
    #[error("the body is not valid {encoding}: {reason}")]
    Broken { encoding: &'static str, reason: String },
    #[error("the decompressed body has more than {0} bytes")]
    TooLarge(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Deflate,
}

impl Encoding {
    /// How a body is encoded; none if it is as it is.
    ///
    /// # Errors
    /// If it is encoded in another way, or more than once.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, EncodingError> {
        let mut found = None;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes());
            for name in text.split(',').map(str::trim) {
                let encoding = match name.to_ascii_lowercase().as_str() {
                    "" | "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    _ => return Err(EncodingError::Unsupported(name.to_owned())),
                };
                if found.replace(encoding).is_some() {
                    return Err(EncodingError::Unsupported(text.into_owned()));
                }
            }
        }
        Ok(found)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// # Errors
    /// If the bytes are not whole, or unpack to more than `max`.
    pub(crate) fn decode(self, body: &[u8], max: usize) -> Result<Bytes, EncodingError> {
        let mut decoded = Vec::new();
        let (outcome, rest) = match self {
            Self::Gzip => {
                let mut decoder = MultiGzDecoder::new(body).take(max as u64 + 1);
                let outcome = decoder.read_to_end(&mut decoded);
                (outcome, decoder.into_inner().into_inner().len())
            }
            Self::Deflate => {
                let mut decoder = ZlibDecoder::new(body).take(max as u64 + 1);
                let outcome = decoder.read_to_end(&mut decoded);
                (outcome, decoder.into_inner().into_inner().len())
            }
        };
        if decoded.len() > max {
            return Err(EncodingError::TooLarge(max));
        }
        let broken = |reason: String| EncodingError::Broken { encoding: self.name(), reason };
        outcome.map_err(|error| broken(error.to_string()))?;
        match rest {
            0 => Ok(decoded.into()),
            _ => Err(broken("other data follows it".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[track_caller]
    fn check_named(values: &[&str], expected: Result<Option<Encoding>, &str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        let expected = expected.map_err(|name| EncodingError::Unsupported(name.to_owned()));
        assert_eq!(Encoding::of(&headers), expected);
    }

    #[test]
    fn an_encoding_is_known_or_refused() {
        check_named(&[], Ok(None));
        check_named(&["identity"], Ok(None));
        check_named(&["GZip"], Ok(Some(Encoding::Gzip)));
        check_named(&["x-gzip, identity"], Ok(Some(Encoding::Gzip)));
        check_named(&["deflate"], Ok(Some(Encoding::Deflate)));
        for name in ["br", "zstd", "compress", "aws-chunked", "gzip;q=1"] {
            check_named(&[name], Err(name));
        }
        check_named(&["gzip, br"], Err("br"));
        check_named(&["gzip, gzip"], Err("gzip, gzip"));
        check_named(&["gzip", "deflate"], Err("deflate"));
    }

    #[test]
    fn bodies_are_unpacked_whole() {
        let data = br#"{"orderId":"o-1"}"#;
        assert_eq!(Encoding::Gzip.decode(&gzip(data), 100).unwrap(), &data[..]);
        assert_eq!(Encoding::Deflate.decode(&deflate(data), 100).unwrap(), &data[..]);
        // A file may be several, one behind the other.
        let two = [gzip(b"{\"a\":"), gzip(b"1}")].concat();
        assert_eq!(Encoding::Gzip.decode(&two, 100).unwrap(), &b"{\"a\":1}"[..]);
        assert_eq!(Encoding::Gzip.decode(&gzip(b""), 0).unwrap(), &b""[..]);
    }

    #[test]
    fn what_is_broken_is_refused() {
        let whole = gzip(b"{\"orderId\":\"o-1\"}");
        for cut in 0..whole.len() {
            let error = Encoding::Gzip.decode(&whole[..cut], 100);
            assert!(matches!(error, Err(EncodingError::Broken { .. })), "{cut}: {error:?}");
        }
        let mut damaged = whole.clone();
        let last = damaged.len() - 5;
        damaged[last] ^= 1;
        assert!(Encoding::Gzip.decode(&damaged, 100).is_err(), "its checksum is wrong");
        assert!(Encoding::Gzip.decode(b"{\"a\":1}", 100).is_err());
        assert!(Encoding::Gzip.decode(&[whole.as_slice(), b"x"].concat(), 100).is_err());
        let whole = deflate(b"{}");
        assert!(Encoding::Deflate.decode(&[whole.as_slice(), b"x"].concat(), 100).is_err());
        assert!(Encoding::Deflate.decode(&whole[..whole.len() - 1], 100).is_err());
        let mut raw = DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(b"{}").unwrap();
        assert!(Encoding::Deflate.decode(&raw.finish().unwrap(), 100).is_err());
    }

    #[test]
    fn a_few_bytes_do_not_become_many() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        assert_eq!(Encoding::Gzip.decode(&bomb, 1 << 20), Err(EncodingError::TooLarge(1 << 20)));
        let exact = gzip(&[0; 100]);
        assert_eq!(Encoding::Gzip.decode(&exact, 100).map(|data| data.len()), Ok(100));
        assert_eq!(Encoding::Gzip.decode(&exact, 99), Err(EncodingError::TooLarge(99)));
    }
}
