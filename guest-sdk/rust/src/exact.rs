//! Payloads that a plugin passes on without a look at every digit of them.

use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Error, Result};

/// JSON that is sent on as it came, byte for byte: prices of any precision, numbers of any
/// size, and parts of an event that only the receiver needs.
///
/// An `f64` keeps about 17 digits, and `10.00` comes out of it as `10.0`. Where that is not
/// enough, make the field a `Json`, and [`parse`](Json::parse) what you need of it.
///
/// ```
/// use sagabox_sdk::prelude::*;
///
/// #[event]
/// struct OrderPlaced {
///     order_id: String,
///     total_price: Json,
/// }
///
/// let text = r#"{"orderId":"o-1","totalPrice":12345678901234567890.10}"#;
/// let order: OrderPlaced = sagabox_sdk::serde_json::from_str(text).unwrap();
/// assert_eq!(sagabox_sdk::serde_json::to_string(&order).unwrap(), text);
/// assert_eq!(order.total_price.parse::<f64>().unwrap(), 12345678901234567890.10);
/// ```
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(Box<RawValue>);

impl Json {
    /// The JSON of a value.
    ///
    /// # Errors
    /// Permanent, if the value cannot be written as JSON.
    pub fn new(value: &impl Serialize) -> Result<Self> {
        Ok(Self(serde_json::value::to_raw_value(value)?))
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// What it says, as `T`.
    ///
    /// # Errors
    /// Permanent, if it does not fit `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_str(self.get()).map_err(Error::permanent)
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

/// By the text.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for Json {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_out_as_they_came_in() {
        // xorshift: two thousand doubles of all magnitudes.
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        let mut checked = 0;
        while checked < 2_000 {
            bits ^= bits << 13;
            bits ^= bits >> 7;
            bits ^= bits << 17;
            let number = f64::from_bits(bits);
            if !number.is_finite() {
                continue;
            }
            checked += 1;
            let text = serde_json::to_string(&number).unwrap();
            let read: f64 = serde_json::from_str(&text).unwrap();
            assert_eq!(read.to_bits(), bits, "{text}");
        }
        let price: f64 = serde_json::from_str("117.63331139400017").unwrap();
        assert_eq!(serde_json::to_string(&price).unwrap(), "117.63331139400017");
    }

    #[test]
    fn json_is_passed_on_as_it_came() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for text in ["10.00", "1e400", r#"{"b":1,"b":2,"s":"cut \ud83d"}"#, "null", &deep] {
            let json: Json = serde_json::from_str(text).unwrap();
            assert_eq!(json.get(), text);
            assert_eq!(serde_json::to_string(&json).unwrap(), text);
        }
        assert!(serde_json::from_str::<Json>("\"cut").is_err());
        assert!(Json::new(&7).unwrap().parse::<String>().is_err());
    }
}
