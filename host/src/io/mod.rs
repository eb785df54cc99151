//! Input and output: files, the CloudEvents bindings, lookups, sinks, and how numbers, dates and
//! texts are written for people.

pub mod cloudevents;
pub(crate) mod durations;
pub(crate) mod figures;
pub(crate) mod files;
pub(crate) mod indent;
pub(crate) mod json_schema;
pub(crate) mod locks;
pub mod lookup;
pub(crate) mod nearest;
pub(crate) mod printable;
pub mod secrets;
pub mod sinks;
pub(crate) mod text_form;
pub mod times;
pub(crate) mod user_cache;
