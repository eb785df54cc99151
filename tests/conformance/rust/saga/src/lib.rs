//! The saga of the conformance suite: see the README of the suite.

use core::fmt;
use std::collections::BTreeMap;

use sagabox_sdk::prelude::*;

#[config]
pub struct Settings {
    #[serde(default = "hello")]
    greeting: String,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default = "an_hour")]
    patience: Span,
}

fn hello() -> String {
    "hello".to_owned()
}

fn an_hour() -> Span {
    hours(1).into()
}

#[event]
pub struct Echo {
    id: String,
    text: String,
    count: i64,
    weight: f64,
    price: Decimal,
    at: Timestamp,
    #[serde(default)]
    wait: Option<Span>,
    #[serde(default)]
    note: Option<String>,
    #[serde(default)]
    any: Option<Json>,
}

#[command(subject = id)]
pub struct Echoed {
    id: String,
    text: String,
    count: i64,
    weight: f64,
    price: Decimal,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    wait: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    any: Option<Json>,
}

events! {
    FromShop { id: String }
    FromShops { id: String }
    First { id: String }
    Second { id: String, count: i64 }
    Greet { id: String }
    Count { id: String, to: i64 }
    Seed { id: String }
    When { id: String }
    Log { id: String }
    Fail { id: String, how: String }
}

#[one_of]
pub enum Ordinal {
    First(First),
    Second(Second),
}

commands! {
    Keyed { r#type: String, key: String }
    Numbered { number: i64 }
    Seeded { seed: String }
    Weighed { weights: Vec<f64> }
}

#[command(raw)]
pub struct Passed;

#[command]
pub struct Told {
    id: String,
    source: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    content_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_schema: Option<String>,
    extensions: BTreeMap<String, String>,
    key: String,
    attempt: u32,
    now: Timestamp,
}

#[command(subject = id)]
pub struct Greeted {
    id: String,
    greeting: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    patience: Span,
}

#[command]
pub struct Timed {
    now: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Timestamp>,
}

#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "returned {}", self.0)
    }
}

impl core::error::Error for Refusal {}

pub struct Conformance;

#[saga(
    sends(Echoed, Passed, Told, Keyed, Greeted, Numbered, Seeded, Timed, Weighed),
    config = Settings
)]
impl Conformance {
    #[on(key = "/id")]
    fn echo(event: Echo, ctx: &mut Ctx<Self>) -> Result {
        let Echo { id, text, count, weight, price, at, wait, note, any } = event;
        ctx.send(Echoed {
            id,
            text: text + "!",
            count: count + 1,
            weight,
            price: price + Decimal::new(10, 2),
            at: at + hours(24),
            wait: wait.map(|wait| (Duration::from(wait) + minutes(1)).into()),
            note,
            any,
        })
    }

    #[on(key = subject, types("Pass"))]
    fn pass(event: RawEvent, ctx: &mut Ctx<Self>) -> Result {
        let mut message = RawMessage::new(event.datacontenttype, event.data);
        message.subject = event.subject;
        message.extensions = event.extensions;
        ctx.send_raw::<Passed>(message.extension("passed", "yes"));
        Ok(())
    }

    #[on(key = attribute("id"), types("Tell"))]
    fn tell(event: RawEvent, ctx: &mut Ctx<Self>) -> Result {
        ctx.send(Told {
            id: event.id,
            source: event.source,
            r#type: event.event_type,
            subject: event.subject,
            time: event.time,
            content_type: event.datacontenttype,
            data_schema: event.dataschema,
            extensions: event.extensions.into_iter().collect(),
            key: ctx.key().to_owned(),
            attempt: ctx.attempt(),
            now: ctx.now(),
        })
    }

    #[on(key = subject, types("KeyedBySubject"))]
    fn by_subject(_: RawEvent, ctx: &mut Ctx<Self>) -> Result {
        keyed(ctx)
    }

    #[on(key = attribute("tenant"), types("KeyedByTenant"))]
    fn by_tenant(_: RawEvent, ctx: &mut Ctx<Self>) -> Result {
        keyed(ctx)
    }

    #[on(key = attribute("source"), types("KeyedBySource"))]
    fn by_source(_: RawEvent, ctx: &mut Ctx<Self>) -> Result {
        keyed(ctx)
    }

    #[on(key = "/orders", types("KeyedByPointer"))]
    fn by_pointer(_: RawEvent, ctx: &mut Ctx<Self>) -> Result {
        keyed(ctx)
    }

    #[on(key = "/id", source = "/shop")]
    fn from_shop(_: FromShop, ctx: &mut Ctx<Self>) -> Result {
        keyed(ctx)
    }

    #[on(key = "/id", source = prefix("/shops/"))]
    fn from_shops(_: FromShops, ctx: &mut Ctx<Self>) -> Result {
        keyed(ctx)
    }

    #[on(key = "/id")]
    fn ordinal(_: Ordinal, ctx: &mut Ctx<Self>) -> Result {
        keyed(ctx)
    }

    #[on(key = "/id")]
    fn greet(event: Greet, ctx: &mut Ctx<Self>) -> Result {
        let Settings { greeting, limit, patience } = ctx.config()?;
        ctx.send(Greeted { id: event.id, greeting, limit, patience })
    }

    #[on(key = "/id")]
    fn count(event: Count, ctx: &mut Ctx<Self>) -> Result {
        (1..=event.to).try_for_each(|number| ctx.send(Numbered { number }))
    }

    #[on(key = "/id")]
    fn seed(_: Seed, ctx: &mut Ctx<Self>) -> Result {
        let seed = format!("{:032x}", ctx.seed());
        ctx.send(Seeded { seed })
    }

    #[on(key = "/id")]
    fn time(_: When, ctx: &mut Ctx<Self>) -> Result {
        let (now, event) = (ctx.now(), ctx.event_time());
        ctx.send(Timed { now, event })
    }

    #[on(key = "/id")]
    fn log(event: Log, ctx: &mut Ctx<Self>) -> Result {
        let id = event.id;
        for (level, name) in [
            (Level::Trace, "trace"),
            (Level::Debug, "debug"),
            (Level::Info, "info"),
            (Level::Warn, "warn"),
            (Level::Error, "error"),
        ] {
            ctx.log_at(level, format!("{name} {id}"));
        }
        println!("printed {id}");
        Ok(())
    }

    #[on(key = "/id")]
    fn fail(event: Fail, ctx: &mut Ctx<Self>) -> Result {
        let Fail { id, how } = event;
        match how.as_str() {
            "permanent" => Err(Error::permanent(format!("refused {id}"))),
            "transient" if ctx.attempt() == 1 => Err(Error::transient(format!("later {id}"))),
            "transient" => ctx.send(Numbered { number: ctx.attempt().into() }),
            "returned" => Ok(refuse(&id)?),
            "thrown" => {
                ctx.log(format!("before {id}"));
                throw(&id)
            }
            "after" => {
                ctx.send(Numbered { number: 1 })?;
                Err(Error::permanent(format!("after {id}")))
            }
            "nan" => ctx.send(Weighed { weights: vec![1.0, f64::NAN] }),
            _ => Ok(()),
        }
    }
}

fn keyed(ctx: &mut Ctx<Conformance>) -> Result {
    let keyed = Keyed { r#type: ctx.event().event_type.clone(), key: ctx.key().to_owned() };
    ctx.send(keyed)
}

fn refuse(id: &str) -> core::result::Result<(), Refusal> {
    Err(Refusal(id.to_owned()))
}

fn throw(id: &str) -> Result {
    panic!("thrown {id}")
}
