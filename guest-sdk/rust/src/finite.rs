//! JSON has no NaN and no infinity, and what is written instead (`null`) hides the mistake. So
//! a value that holds one is refused, with the name of the field.

use core::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// The JSON text of a value.
///
/// # Errors
/// If it cannot be written as JSON, or has a number that is not finite.
pub(crate) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, NotJson> {
    let text = serde_json::to_vec(value).map_err(|error| NotJson::custom(error.to_string()))?;
    // A number that is not finite is written as null, so most values need no second look.
    if text.windows(4).any(|window| window == b"null") {
        value.serialize(Walk)?;
    }
    Ok(text)
}

/// Why a value cannot be written, and where.
#[derive(Debug)]
pub(crate) struct NotJson {
    place: String,
    reason: String,
}

impl NotJson {
    fn under(mut self, name: impl Display) -> Self {
        self.place = match self.place.is_empty() {
            true => name.to_string(),
            false => format!("{name}.{}", self.place),
        };
        self
    }
}

impl Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.is_empty() {
            true => f.write_str(&self.reason),
            false => write!(f, "the field `{}` {}", self.place, self.reason),
        }
    }
}

impl core::error::Error for NotJson {}

impl serde::ser::Error for NotJson {
    fn custom<T: Display>(reason: T) -> Self {
        Self { place: String::new(), reason: reason.to_string() }
    }
}

fn finite(number: f64) -> Result<(), NotJson> {
    match number.is_finite() {
        true => Ok(()),
        false => Err(NotJson::custom(format!("is {number}, and JSON has no such number"))),
    }
}

/// Looks at every number, and writes nothing.
struct Walk;

/// The same within something; with the number of elements so far.
struct Within(usize, String);

macro_rules! nothing {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, _: $type) -> Result<(), NotJson> {
            Ok(())
        }
    )*};
}

impl Serializer for Walk {
    type Ok = ();
    type Error = NotJson;
    type SerializeSeq = Within;
    type SerializeTuple = Within;
    type SerializeTupleStruct = Within;
    type SerializeTupleVariant = Within;
    type SerializeMap = Within;
    type SerializeStruct = Within;
    type SerializeStructVariant = Within;

    nothing! {
        serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32)
        serialize_i64(i64) serialize_i128(i128) serialize_u8(u8) serialize_u16(u16)
        serialize_u32(u32) serialize_u64(u64) serialize_u128(u128) serialize_char(char)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_unit_struct(&'static str)
    }

    fn serialize_f32(self, number: f32) -> Result<(), NotJson> {
        finite(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), NotJson> {
        finite(number)
    }

    fn serialize_none(self) -> Result<(), NotJson> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NotJson> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &str, _: u32, _: &str) -> Result<(), NotJson> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), NotJson> {
        value.serialize(self).map_err(|error| error.under(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Within, NotJson> {
        Ok(Within(0, String::new()))
    }

    fn serialize_tuple(self, _: usize) -> Result<Within, NotJson> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Within, NotJson> {
        self.serialize_seq(None)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Within, NotJson> {
        self.serialize_seq(None)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Within, NotJson> {
        self.serialize_seq(None)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Within, NotJson> {
        self.serialize_seq(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Within, NotJson> {
        self.serialize_seq(None)
    }
}

impl Within {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        let at = self.0;
        self.0 += 1;
        value.serialize(Walk).map_err(|error| error.under(at))
    }
}

macro_rules! elements {
    ($($name:ident $method:ident)*) => {$(
        impl $name for Within {
            type Ok = ();
            type Error = NotJson;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
                self.element(value)
            }

            fn end(self) -> Result<(), NotJson> {
                Ok(())
            }
        }
    )*};
}

elements! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! fields {
    ($($name:ident)*) => {$(
        impl $name for Within {
            type Ok = ();
            type Error = NotJson;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), NotJson> {
                value.serialize(Walk).map_err(|error| error.under(name))
            }

            fn end(self) -> Result<(), NotJson> {
                Ok(())
            }
        }
    )*};
}

fields! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Within {
    type Ok = ();
    type Error = NotJson;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotJson> {
        let text =
            serde_json::to_string(key).map_err(|error| NotJson::custom(error.to_string()))?;
        text.trim_matches('"').clone_into(&mut self.1);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotJson> {
        value.serialize(Walk).map_err(|error| error.under(&self.1))
    }

    fn end(self) -> Result<(), NotJson> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Order {
        total_price: Option<f64>,
        items: Vec<Item>,
        rates: BTreeMap<String, f32>,
    }

    #[derive(Serialize)]
    enum Item {
        Of { price: f64 },
        Free,
        Bundle(f64, f64),
        Single(f64),
    }

    fn order(price: f64) -> Order {
        let items = vec![Item::Free, Item::Of { price }, Item::Bundle(1.0, 2.0), Item::Single(3.0)];
        Order { total_price: None, items, rates: BTreeMap::new() }
    }

    #[track_caller]
    fn refused(order: &Order, place: &str) {
        let reason = to_json(order).unwrap_err().to_string();
        assert!(reason.starts_with(&format!("the field `{place}` is ")), "{reason}");
    }

    #[test]
    fn a_number_that_is_not_finite_is_refused_with_its_field() {
        assert!(to_json(&order(1.5)).is_ok());
        refused(&order(f64::NAN), "items.1.price");
        refused(&Order { total_price: Some(f64::INFINITY), ..order(0.0) }, "totalPrice");
        let rates = BTreeMap::from([("eur".to_owned(), f32::NEG_INFINITY)]);
        refused(&Order { rates, ..order(0.0) }, "rates.eur");
        let bundle = Order { items: vec![Item::Bundle(1.0, f64::NAN)], ..order(0.0) };
        refused(&bundle, "items.0.1");
        refused(&Order { items: vec![Item::Single(f64::NAN)], ..order(0.0) }, "items.0.Single");
    }

    #[test]
    fn null_alone_is_no_mistake() {
        assert_eq!(to_json(&Some("null")).unwrap(), b"\"null\"");
        assert_eq!(to_json(&None::<f64>).unwrap(), b"null");
    }
}
