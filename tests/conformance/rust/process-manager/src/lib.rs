//! The process manager of the conformance suite: see the README of the suite.

use sagabox_sdk::prelude::*;

#[data]
pub struct Process {
    id: String,
    count: i64,
    notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<Timestamp>,
}

#[data]
pub struct Customer {
    name: String,
}

#[event]
pub struct Started {
    id: String,
    #[serde(default)]
    notes: Vec<String>,
}

events! {
    Added { id: String, note: String }
    Linked { id: String, keys: Vec<String> }
    Unlinked { id: String, keys: Vec<String> }
    Touched { key: String }
    Paused { id: String }
    Asked { id: String }
    Broken { id: String, how: String }
    Closed { id: String }
    ProcessClosed(subject = id) { id: String }
}

commands! {
    Welcome(subject = id) { id: String }
    Remind(subject = id) { id: String, times: i64 }
    Goodbye(subject = id) { id: String, count: i64 }
    Apologize(subject = id) { id: String, reason: String, attempts: i64 }
}

#[timer]
pub struct Reminder {
    times: i64,
}

#[timer]
pub struct Deadline;

pub struct Conformance;

#[process_manager(
    state = Process,
    version = 2,
    migrate = migrate,
    sends(Welcome, Remind, Goodbye, Apologize),
    emits(ProcessClosed),
    lookups("customers"),
    fields(id = "/id", count = "/count"),
    summary = "process {id}: {count}"
)]
impl Conformance {
    #[on(start, key = "/id")]
    fn started(event: Started, ctx: &mut Ctx<Self>) -> Result<Process> {
        let Started { id, notes } = event;
        ctx.send(Welcome { id: id.clone() })?;
        ctx.set_timer(Reminder { times: 1 }, hours(1))?;
        ctx.set_timer_at(Deadline, ctx.now() + hours(24))?;
        Ok(Process { id, count: 0, notes, last: None })
    }

    #[on(start_or_handle, key = "/id")]
    fn added(process: &mut Process, event: Added, ctx: &mut Ctx<Self>) -> Result {
        process.id = event.id;
        process.count += 1;
        process.notes.push(event.note);
        process.last = Some(ctx.now());
        Ok(())
    }

    #[on(key = "/id", absent = fail)]
    fn linked(_: &mut Process, event: Linked, ctx: &mut Ctx<Self>) -> Result {
        event.keys.into_iter().for_each(|key| ctx.claim(key));
        Ok(())
    }

    #[on(key = "/id")]
    fn unlinked(_: &mut Process, event: Unlinked, ctx: &mut Ctx<Self>) -> Result {
        event.keys.into_iter().for_each(|key| ctx.release(key));
        Ok(())
    }

    #[on(key = "/key", absent = hold("10m"))]
    fn touched(process: &mut Process, _: Touched, _: &mut Ctx<Self>) -> Result {
        process.count += 1;
        Ok(())
    }

    #[on(key = "/id")]
    fn paused(_: &mut Process, _: Paused, ctx: &mut Ctx<Self>) -> Result {
        ctx.cancel_timer::<Reminder>();
        Ok(())
    }

    #[on(key = "/id")]
    fn asked(process: &mut Process, event: Asked, ctx: &mut Ctx<Self>) -> Result {
        process.count += 1;
        let customer: Option<Customer> = ctx.lookup("customers", event.id)?;
        process.notes.push(customer.map_or("unknown".to_owned(), |customer| customer.name));
        Ok(())
    }

    #[on(key = "/id")]
    fn broken(process: &mut Process, event: Broken, ctx: &mut Ctx<Self>) -> Result {
        process.count += 1;
        ctx.send(Welcome { id: event.id.clone() })?;
        let reason = format!("broken {}", event.id);
        match event.how.as_str() {
            "permanent" => Err(Error::permanent(reason)),
            "transient" => Err(Error::transient(reason)),
            _ => throw(&reason),
        }
    }

    #[on(key = "/id")]
    fn closed(process: &mut Process, event: Closed, ctx: &mut Ctx<Self>) -> Result {
        ctx.complete();
        ctx.send(Goodbye { id: event.id.clone(), count: process.count })?;
        ctx.emit(ProcessClosed { id: event.id })
    }

    #[on_timer]
    fn remind(process: &mut Process, timer: Reminder, ctx: &mut Ctx<Self>) -> Result {
        ctx.send(Remind { id: process.id.clone(), times: timer.times })?;
        ctx.set_timer(Reminder { times: timer.times + 1 }, hours(1))
    }

    #[on_timer]
    fn deadline(process: &mut Process, _: Deadline, ctx: &mut Ctx<Self>) -> Result {
        ctx.complete();
        ctx.send(Goodbye { id: process.id.clone(), count: process.count })
    }

    #[on_undeliverable]
    fn undeliverable(process: &mut Process, sent: Undeliverable, ctx: &mut Ctx<Self>) -> Result {
        if sent.parse::<Welcome>()?.is_none() {
            return Ok(());
        }
        ctx.complete();
        let (id, attempts) = (process.id.clone(), sent.attempts.into());
        ctx.send(Apologize { id, reason: sent.reason, attempts })
    }

    #[on_cancel]
    fn cancelled(process: &mut Process, cancelled: Cancelled, ctx: &mut Ctx<Self>) -> Result {
        ctx.complete();
        let reason = format!("{}: {}", cancelled.by, cancelled.reason);
        ctx.send(Apologize { id: process.id.clone(), reason, attempts: 0 })
    }
}

impl Default for Process {
    fn default() -> Self {
        Self { id: String::new(), count: 0, notes: Vec::new(), last: None }
    }
}

/// Version 1 was `{id, total}`.
fn migrate(from: u32, to: u32, state: Value) -> Result<Value> {
    match (from, to) {
        (1, 2) => {
            let total = state["total"].as_i64().unwrap_or_default();
            assert!(total >= 0, "negative {total}");
            Ok(json!({"id": state["id"], "count": total, "notes": []}))
        }
        (2, 1) => Ok(json!({"id": state["id"], "total": state["count"]})),
        (2, unknown) | (unknown, _) => {
            Err(Error::permanent(format!("version {unknown} is not known")))
        }
    }
}

fn throw(reason: &str) -> Result {
    panic!("{reason}")
}
