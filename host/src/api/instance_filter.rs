//! Which instances a request is about: the same filter for a list, a count, an export, and for what
//! is done with many at once.

use sagabox_engine::model::Timestamp;

use super::problem::Problem;
use crate::io::durations;
use crate::store::query::rows::Age;

/// Declares what a request says, with the members of the filter before its own. Serde can
/// flatten one struct into another, but then refuses no unknown member.
macro_rules! instance_filter {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($own:tt)* }) => {
        #[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
        $(#[$meta])*
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            pub plugin: String,
            #[param(value_type = Option<crate::store::query::shapes::InstanceStatusName>, inline)]
            pub status: Option<sagabox_engine::model::InstanceStatus>,
            /// What must hold of the fields.
            #[serde(rename = "where")]
            pub condition: Option<String>,
            /// Started earlier than this time (RFC 3339), or longer ago than this duration, such as
            /// `2h`.
            pub started_before: Option<String>,
            /// Started at this time or later.
            pub started_after: Option<String>,
            /// Last changed earlier than this time.
            pub updated_before: Option<String>,
            /// Last changed at this time or later.
            pub updated_after: Option<String>,
            $($own)*
        }

        impl $name {
            fn times(&self) -> $crate::api::instance_filter::Times {
                $crate::api::instance_filter::Times {
                    started_before: self.started_before.clone(),
                    started_after: self.started_after.clone(),
                    updated_before: self.updated_before.clone(),
                    updated_after: self.updated_after.clone(),
                }
            }
        }
    };
}
pub(super) use instance_filter;

/// Times as a request has them: RFC 3339, or a duration, which means so long ago.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub started_before: Option<String>,
    pub started_after: Option<String>,
    pub updated_before: Option<String>,
    pub updated_after: Option<String>,
}

impl Times {
    /// The name of the first that is given.
    pub(super) fn first(&self) -> Option<&'static str> {
        let all = [
            ("started_before", &self.started_before),
            ("started_after", &self.started_after),
            ("updated_before", &self.updated_before),
            ("updated_after", &self.updated_after),
        ];
        all.into_iter().find(|(_, text)| text.is_some()).map(|(name, _)| name)
    }

    pub(super) fn age(&self, now: Timestamp) -> Result<Age, Problem> {
        let read = |name: &'static str, text: &Option<String>| {
            text.as_deref().map(|text| time(name, text, now)).transpose()
        };
        Ok(Age {
            started_before: read("started_before", &self.started_before)?,
            started_after: read("started_after", &self.started_after)?,
            updated_before: read("updated_before", &self.updated_before)?,
            updated_after: read("updated_after", &self.updated_after)?,
        })
    }
}

/// A time, or the one that was so long ago.
fn time(name: &'static str, text: &str, now: Timestamp) -> Result<Timestamp, Problem> {
    either(name, text, |length| Timestamp(now.0.saturating_sub(length)))
}

/// A time, or the one that will be so much later.
pub(super) fn time_to_come(
    name: &'static str,
    text: &str,
    now: Timestamp,
) -> Result<Timestamp, Problem> {
    either(name, text, |length| Timestamp(now.0.saturating_add(length)))
}

fn either(
    name: &'static str,
    text: &str,
    after: impl Fn(u64) -> Timestamp,
) -> Result<Timestamp, Problem> {
    if let Ok(length) = durations::duration(text) {
        return Ok(after(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)));
    }
    durations::instant(text).map_err(|_| {
        let detail = format!(
            "{name}: `{text}` is neither a time such as 2026-01-31T12:00:00Z nor a duration such \
             as 90s, 2h or 7d"
        );
        Problem::unacceptable(name, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    #[test]
    fn a_time_is_written_as_it_is_or_as_how_long_ago() {
        for (text, expected) in [
            ("1970-01-01T00:00:01.5Z", Timestamp(1_500)),
            ("90s", Timestamp(NOW.0 - 90_000)),
            ("1d 12h", Timestamp(NOW.0 - 36 * 3_600_000)),
            // Before there was a clock: nothing is older.
            ("100000w", Timestamp(0)),
        ] {
            assert_eq!(time("started_before", text, NOW).unwrap(), expected, "{text}");
        }
        assert_eq!(time_to_come("due_before", "90s", NOW).unwrap(), Timestamp(NOW.0 + 90_000));
    }

    #[test]
    fn what_is_neither_is_refused_with_the_name_of_the_parameter() {
        for text in ["", "yesterday", "2026-01-31", "-2h", "1 month"] {
            let times = Times { updated_after: Some(text.to_owned()), ..Times::default() };
            let problem = times.age(NOW).unwrap_err();
            assert_eq!(problem.attribute.as_deref(), Some("updated_after"), "{text}");
        }
    }
}
