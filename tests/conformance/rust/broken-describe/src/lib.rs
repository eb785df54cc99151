//! A saga that fails while it describes itself: a default of its configuration panics, and the
//! schema in the manifest contains the default.

use sagabox_sdk::prelude::*;

#[config]
pub struct Settings {
    #[serde(default = "broken")]
    limit: i64,
}

fn broken() -> i64 {
    panic!("broken while it describes itself")
}

events! {
    Happened { id: String }
}

commands! {
    Report { limit: i64 }
}

pub struct Conformance;

#[saga(sends(Report), config = Settings)]
impl Conformance {
    #[on(key = "/id")]
    fn happened(_: Happened, ctx: &mut Ctx<Self>) -> Result {
        let limit = ctx.config()?.limit;
        ctx.send(Report { limit })
    }
}
