//! `sagabox openapi`: the description of the API, without a host.

use super::output;
use crate::api::openapi;

pub(crate) fn execute() {
    output::raw(openapi::text().trim_end());
}
