//! Which dead letters a request is about: the same filter for a list and for what is done
//! with many at once.

use sagabox_engine::model::DeadLetterStatus;

use super::Site;
use super::admin::{plugin_exists, sink_exists};
use super::caller::Caller;
use super::problem::Problem;
use crate::store::query::rows::DeadLetterFilter;

/// Everything that is given must hold.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestFilter {
    pub plugin: Option<String>,
    pub plugin_version: Option<String>,
    pub status: Option<DeadLetterStatus>,
    pub sink: Option<String>,
    pub key: Option<String>,
    pub event_type: Option<String>,
    pub reason_contains: Option<String>,
    pub cause: Option<String>,
}

/// Declares what a request says, with the members of the filter before its own. Serde can
/// flatten one struct into another, but then refuses no unknown member.
macro_rules! dead_letter_filter {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($own:tt)* }) => {
        #[derive(Debug, serde::Deserialize, utoipa::IntoParams, utoipa::ToSchema)]
        $(#[$meta])*
        #[serde(deny_unknown_fields)]
        $vis struct $name {
            pub plugin: Option<String>,
            /// The version that failed.
            pub plugin_version: Option<String>,
            #[param(value_type = Option<crate::store::query::shapes::DeadLetterStatusName>, inline)]
            #[schema(value_type = Option<crate::store::query::shapes::DeadLetterStatusName>)]
            pub status: Option<sagabox_engine::model::DeadLetterStatus>,
            pub sink: Option<String>,
            pub key: Option<String>,
            #[serde(rename = "type")]
            pub event_type: Option<String>,
            pub reason_contains: Option<String>,
            /// The reason without numbers and names, as `GET /v1/dead-letters/causes` has it.
            pub cause: Option<String>,
            $($own)*
        }

        impl $name {
            fn filter(&self) -> RequestFilter {
                RequestFilter {
                    plugin: self.plugin.clone(),
                    plugin_version: self.plugin_version.clone(),
                    status: self.status,
                    sink: self.sink.clone(),
                    key: self.key.clone(),
                    event_type: self.event_type.clone(),
                    reason_contains: self.reason_contains.clone(),
                    cause: self.cause.clone(),
                }
            }
        }
    };
}
pub(super) use dead_letter_filter;

impl RequestFilter {
    /// Whether nothing is given: it holds for all.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { plugin, plugin_version, status, sink, key, event_type, reason_contains, cause } =
            self;
        let texts = [plugin, plugin_version, sink, key, event_type, reason_contains, cause];
        status.is_none() && texts.iter().all(|text| text.is_none())
    }

    /// A slip in a name must not look like "there are none".
    pub(crate) async fn check(&self, site: &Site, caller: &Caller) -> Result<(), Problem> {
        match &self.plugin {
            Some(plugin) => caller.check_plugin(plugin)?,
            None => caller.check_whole()?,
        }
        if let Some(plugin) = &self.plugin {
            plugin_exists(site, plugin).await?;
        }
        if let Some(sink) = &self.sink {
            sink_exists(site, sink).await?;
        }
        Ok(())
    }

    pub(crate) fn stored(self, after: u64, limit: u32) -> DeadLetterFilter {
        DeadLetterFilter {
            ids: None,
            plugin: self.plugin,
            plugin_version: self.plugin_version,
            status: self.status,
            sink: self.sink,
            key: self.key,
            event_type: self.event_type,
            reason_contains: self.reason_contains,
            cause: self.cause,
            after,
            limit,
        }
    }
}
