//! Pure: names that every language accepts.

use std::collections::BTreeSet;

use heck::{ToShoutySnakeCase as _, ToSnakeCase as _, ToUpperCamelCase as _};

/// Types that the languages, or the printed files, have already.
const TAKEN: &[&str] = &[
    "Any",
    "Array",
    "BTreeMap",
    "Boolean",
    "Box",
    "Date",
    "Deserialize",
    "Err",
    "Error",
    "Final",
    "Function",
    "Literal",
    "Map",
    "Messages",
    "None",
    "NotRequired",
    "Number",
    "Object",
    "Ok",
    "Option",
    "Promise",
    "Record",
    "Result",
    "Self",
    "Serialize",
    "Set",
    "Some",
    "String",
    "Symbol",
    "Type",
    "TypeAlias",
    "TypedDict",
    "Union",
    "Value",
    "Vec",
];

/// Names that are given once each.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// The name, with a number if it was given before.
    pub(super) fn unique(&mut self, name: &str) -> String {
        let numbered = (2..).map(|number| format!("{name}{number}"));
        let all = std::iter::once(name.to_owned()).chain(numbered);
        let mut free = all.filter(|name| !self.0.contains(name));
        let name = free.next().unwrap_or_default();
        self.0.insert(name.clone());
        name
    }

    /// The name of a type. The constant that holds its message's type is called after it.
    pub(super) fn of_type(&mut self, text: &str) -> String {
        let name = pascal(text);
        let name = if TAKEN.contains(&name.as_str()) { format!("{name}Data") } else { name };
        let name = self.unique(&name);
        self.0.insert(format!("{name}Type"));
        name
    }
}

pub(super) fn pascal(text: &str) -> String {
    begun(plain(text).to_upper_camel_case(), "N")
}

pub(super) fn snake(text: &str) -> String {
    begun(plain(text).to_snake_case(), "n")
}

pub(super) fn shouting(text: &str) -> String {
    begun(plain(text).to_shouty_snake_case(), "N")
}

/// What is no letter and no digit of ASCII separates words.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { ' ' }).collect()
}

/// A name begins with a letter.
fn begun(name: String, prefix: &str) -> String {
    match name.chars().next() {
        None => format!("{prefix}ameless"),
        Some(first) if first.is_ascii_digit() => format!("{prefix}{name}"),
        Some(_) => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_letters_and_digits_alone_and_is_given_once() {
        for (text, expected) in [
            ("com.example.order-placed", "ComExampleOrderPlaced"),
            ("place order", "PlaceOrder"),
            ("orderID", "OrderId"),
            ("2nd", "N2nd"),
            ("…", "Nameless"),
            ("Größe", "GrE"),
        ] {
            assert_eq!(pascal(text), expected);
        }
        assert_eq!(
            (&*snake("orderId"), &*snake("2nd"), &*shouting("orderId")),
            ("order_id", "n2nd", "ORDER_ID")
        );
        let mut names = Names::default();
        assert_eq!(names.of_type("place order"), "PlaceOrder");
        assert_eq!(names.of_type("place-order"), "PlaceOrder2");
        assert_eq!(names.of_type("PlaceOrderType"), "PlaceOrderType2");
        assert_eq!(names.of_type("string"), "StringData");
    }
}
