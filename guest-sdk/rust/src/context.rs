//! What a handler has in hand: [`Ctx`].

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::exact::Json;
use crate::finite::to_json;
use crate::logging::{self, Level};
use crate::message::{
    Command, Config, Configured, Emits, Event, HandlesTimer, Message, Sends, Timer,
};
use crate::raw::{
    AnswerValue, Decision, Failure, KeyChange, Outgoing, Question, RawContext, RawEvent,
    RawMessage, Reply, State, TimerChange,
};
use crate::time::{Timestamp, due_after};

/// What a handler returns.
pub type Result<T = ()> = core::result::Result<T, Error>;

/// Why a handler does not decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Permanent(String),
    Transient(String),
    /// A question is open: the host answers it, and calls again.
    Suspended,
}

impl Error {
    /// Trying again cannot help: the event becomes a dead letter.
    pub fn permanent(reason: impl fmt::Display) -> Self {
        Self(Kind::Permanent(reason.to_string()))
    }

    /// Trying again may help: the host calls again, later.
    pub fn transient(reason: impl fmt::Display) -> Self {
        Self(Kind::Transient(reason.to_string()))
    }

    pub(crate) fn reason(&self) -> &str {
        match &self.0 {
            Kind::Permanent(reason) | Kind::Transient(reason) => reason,
            Kind::Suspended => "it asks a question, and a state is converted without any",
        }
    }
}

impl<E: core::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::permanent(error)
    }
}

/// A command that became a dead letter, as `#[on_undeliverable]` gets it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Undeliverable {
    /// The command's id.
    pub id: String,
    /// The command's type.
    #[serde(rename = "type")]
    pub command_type: String,
    /// Why it cannot be delivered.
    pub reason: String,
    /// How often the host tried.
    pub attempts: u32,
    /// The command as it was sent, a CloudEvent.
    pub command: Json,
}

/// Who asks an instance to end, and why, as `#[on_cancel]` may get it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
pub struct Cancelled {
    /// The operator.
    #[serde(default)]
    pub by: String,
    /// What the operator said.
    #[serde(default)]
    pub reason: String,
}

/// What is read of a command as it was sent.
#[derive(serde::Deserialize)]
struct Sent {
    #[serde(rename = "type")]
    command_type: String,
    data: Option<Json>,
}

impl Undeliverable {
    /// The command; none if it is of another type.
    ///
    /// # Errors
    /// Permanent, if its data is not JSON or does not fit `C`.
    pub fn parse<C: Command + DeserializeOwned>(&self) -> Result<Option<C>> {
        let sent: Sent = self.command.parse()?;
        if sent.command_type != C::TYPE {
            return Ok(None);
        }
        let not_json = || Error::permanent(format!("the data of `{}` is not JSON", C::TYPE));
        sent.data.ok_or_else(not_json)?.parse().map(Some)
    }
}

/// The call: what is known, and what shall happen. `P` is the plugin.
pub struct Ctx<P> {
    raw: RawContext,
    event: RawEvent,
    decision: Decision,
    open: Vec<Question>,
    plugin: PhantomData<P>,
}

impl<P> Ctx<P> {
    #[doc(hidden)]
    pub fn new(event: RawEvent, raw: RawContext) -> Self {
        Self { raw, event, decision: Decision::default(), open: Vec::new(), plugin: PhantomData }
    }

    /// Sends a command.
    ///
    /// # Errors
    /// Permanent, if the command cannot be written as JSON.
    pub fn send<C: Command>(&mut self, command: C) -> Result
    where
        P: Sends<C>,
    {
        self.decision.commands.push(outgoing(&command)?);
        Ok(())
    }

    /// Emits an event.
    ///
    /// # Errors
    /// Permanent, if the event cannot be written as JSON.
    pub fn emit<E: Event>(&mut self, event: E) -> Result
    where
        P: Emits<E>,
    {
        self.decision.events.push(outgoing(&event)?);
        Ok(())
    }

    /// Sends a command whose data the plugin writes itself: `ctx.send_raw::<Print>(message)`.
    pub fn send_raw<C: Command>(&mut self, message: RawMessage)
    where
        P: Sends<C>,
    {
        self.decision.commands.push(Outgoing { message_type: C::TYPE.to_owned(), message });
    }

    /// As [`Ctx::send_raw`], for an event.
    pub fn emit_raw<E: Event>(&mut self, message: RawMessage)
    where
        P: Emits<E>,
    {
        self.decision.events.push(Outgoing { message_type: E::TYPE.to_owned(), message });
    }

    /// What a lookup knows under a key; none if it knows nothing.
    ///
    /// # Errors
    /// Leaves the handler until the host has the answer. Permanent if the answer does not fit `T`.
    pub fn lookup<T: DeserializeOwned>(
        &mut self,
        name: &str,
        key: impl ToString,
    ) -> Result<Option<T>> {
        let mut found = self.lookups(name, [key])?;
        Ok(found.pop().flatten())
    }

    /// Several keys of one lookup, asked at once. The answers come in the order of the keys.
    ///
    /// # Errors
    /// As for [`Ctx::lookup`].
    pub fn lookups<T: DeserializeOwned>(
        &mut self,
        name: &str,
        keys: impl IntoIterator<Item = impl ToString>,
    ) -> Result<Vec<Option<T>>> {
        let mut found = Vec::new();
        for key in keys {
            let question = Question::Lookup { name: name.to_owned(), key: key.to_string() };
            match self.answer(question) {
                None => {}
                Some(AnswerValue::Found { data, .. }) => {
                    let value = serde_json::from_slice(data).map_err(|error| {
                        Error::permanent(format!(
                            "the answer of lookup `{name}` does not fit: {error}"
                        ))
                    })?;
                    found.push(Some(value));
                }
                Some(AnswerValue::Missing | AnswerValue::Events(_)) => found.push(None),
            }
        }
        if self.open.is_empty() { Ok(found) } else { Err(Error(Kind::Suspended)) }
    }

    /// The events of a subject before this one, in the order of the log.
    ///
    /// # Errors
    /// Leaves the handler until the host has the answer.
    pub fn stream(&mut self, subject: &str) -> Result<Vec<RawEvent>> {
        match self.answer(Question::Stream(subject.to_owned())) {
            Some(AnswerValue::Events(events)) => Ok(events.clone()),
            Some(_) => Ok(Vec::new()),
            None => Err(Error(Kind::Suspended)),
        }
    }

    fn answer(&mut self, question: Question) -> Option<&AnswerValue> {
        let at = self.raw.answers.iter().position(|(asked, _)| *asked == question);
        if at.is_none() && !self.open.contains(&question) {
            self.open.push(question);
        }
        at.map(|at| &self.raw.answers[at].1)
    }

    /// From now on, events with this key reach the instance too.
    pub fn claim(&mut self, key: impl Into<String>) {
        self.decision.keys.push(KeyChange::Claim(key.into()));
    }

    /// Events with this key no longer reach the instance.
    pub fn release(&mut self, key: impl Into<String>) {
        self.decision.keys.push(KeyChange::Release(key.into()));
    }

    /// Sets a timer, or sets it anew: its `#[on_timer]` is called when it is due.
    ///
    /// # Errors
    /// Permanent, if the timer's data cannot be written as JSON.
    pub fn set_timer<T: Timer>(&mut self, timer: T, after: impl Into<Duration>) -> Result
    where
        P: HandlesTimer<T>,
    {
        let after = due_after(after.into());
        let (name, data) = (T::NAME.to_owned(), timer_data(&timer)?);
        self.decision.timers.push(TimerChange::SetAfter { name, after, data });
        Ok(())
    }

    /// As [`Ctx::set_timer`], at a moment. If that is over, the timer is due at once.
    ///
    /// # Errors
    /// As for [`Ctx::set_timer`], and permanent, if the moment is before 1970.
    pub fn set_timer_at<T: Timer>(&mut self, timer: T, at: Timestamp) -> Result
    where
        P: HandlesTimer<T>,
    {
        let (name, data) = (T::NAME.to_owned(), timer_data(&timer)?);
        let Some(at) = at.due_millis() else {
            let text = format!("the timer `{name}` cannot be set: {at} is before 1970");
            return Err(Error::permanent(text));
        };
        self.decision.timers.push(TimerChange::SetAt { name, at, data });
        Ok(())
    }

    /// The timer does not fire, if it is set.
    pub fn cancel_timer<T: Timer>(&mut self)
    where
        P: HandlesTimer<T>,
    {
        self.decision.timers.push(TimerChange::Cancel(T::NAME.to_owned()));
    }

    /// The process is complete: what still comes for it is ignored.
    pub fn complete(&mut self) {
        self.decision.complete = true;
    }

    /// The host's clock: the same in every call for this event, and in every replay.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.raw.now)
    }

    /// When the event happened, by its sender (the CloudEvents attribute `time`); none if that
    /// is not known.
    pub fn event_time(&self) -> Option<Timestamp> {
        self.event.event_time()
    }

    /// Writes a line to the host's log, which adds the plugin, the key and the event:
    /// `ctx.log(format!("{} items", order.items.len()))`. The macros of the crate `log` and
    /// `println!` do the same.
    pub fn log(&self, text: impl fmt::Display) {
        logging::write(Level::Info, format_args!("{text}"));
    }

    /// As [`Ctx::log`], as urgent as said.
    pub fn log_at(&self, level: Level, text: impl fmt::Display) {
        logging::write(level, format_args!("{text}"));
    }

    /// 1 for the first attempt.
    pub fn attempt(&self) -> u32 {
        self.raw.attempt
    }

    /// The correlation key; the instance's own, for a process manager.
    pub fn key(&self) -> &str {
        &self.raw.key
    }

    /// Differs from event to event, is the same in every retry of one event: for whatever must
    /// look random.
    pub fn seed(&self) -> u128 {
        self.raw.seed
    }

    /// The event's attributes.
    pub fn event(&self) -> &RawEvent {
        &self.event
    }

    /// The plugin's section of the host's configuration: what `config = …` at the plugin's `impl`
    /// names.
    ///
    /// # Errors
    /// Permanent, if the section does not fit. A host does not load the plugin then.
    pub fn config<C: Config>(&self) -> Result<C>
    where
        P: Configured<C>,
    {
        serde_json::from_str(&self.raw.configuration)
            .map_err(|error| Error::permanent(format!("the plugin's configuration: {error}")))
    }

    /// What the host gets. An open question comes first, also if the handler went on without it.
    #[doc(hidden)]
    pub fn reply(
        mut self,
        result: Result<Option<Vec<u8>>>,
    ) -> core::result::Result<Reply, Failure> {
        if !self.open.is_empty() {
            return Ok(Reply::Need(self.open));
        }
        match result {
            Ok(state) => {
                self.decision.state = state;
                Ok(Reply::Decided(self.decision))
            }
            Err(Error(Kind::Permanent(reason))) => Err(Failure::Permanent(reason)),
            Err(Error(Kind::Transient(reason))) => Err(Failure::Transient(reason)),
            Err(Error(Kind::Suspended)) => {
                Err(Failure::Permanent("the handler suspended without a question".to_owned()))
            }
        }
    }
}

fn outgoing<M: Message>(message: &M) -> Result<Outgoing> {
    let data = to_json(message)
        .map_err(|error| Error::permanent(format!("`{}` cannot be sent: {error}", M::TYPE)))?;
    let subject = message.subject();
    let message = RawMessage { subject, ..RawMessage::new("application/json", data) };
    Ok(Outgoing { message_type: M::TYPE.to_owned(), message })
}

/// What has no data needs none on the way.
fn timer_data<T: Timer>(timer: &T) -> Result<Vec<u8>> {
    let data = to_json(timer)
        .map_err(|error| Error::permanent(format!("the timer `{}`: {error}", T::NAME)))?;
    Ok(if data == b"null" { Vec::new() } else { data })
}

/// The timer that has fired.
#[doc(hidden)]
pub fn fired<T: Timer>(event: &RawEvent) -> Result<T> {
    let data = if event.data.is_empty() { b"null".as_slice() } else { &event.data };
    serde_json::from_slice(data).map_err(|error| {
        Error::permanent(format!("the data of the timer `{}` does not fit: {error}", T::NAME))
    })
}

/// What is said of an event that no handler takes.
#[doc(hidden)]
#[must_use]
pub fn no_handler(event: &RawEvent) -> String {
    let event_type = &event.event_type;
    match &event.subject {
        Some(timer) if event_type == "sagabox.timer.fired" => {
            format!("the plugin has no handler for the timer `{timer}`")
        }
        _ => format!("the plugin has no handler for `{event_type}`"),
    }
}

/// Who cancelled, and why.
#[doc(hidden)]
pub fn cancelled(event: &RawEvent) -> Cancelled {
    serde_json::from_slice(&event.data).unwrap_or_default()
}

/// The state as the host stores it.
#[doc(hidden)]
pub fn save<S: Serialize>(state: &S) -> Result<Option<Vec<u8>>> {
    let data = to_json(state)
        .map_err(|error| Error::permanent(format!("the state cannot be stored: {error}")))?;
    Ok(Some(data))
}

#[doc(hidden)]
pub fn restore<S: DeserializeOwned>(state: Option<&State>) -> Result<S> {
    let state = state.ok_or_else(|| Error::permanent("the host gave no state"))?;
    serde_json::from_slice(&state.data)
        .map_err(|error| Error::permanent(format!("the stored state does not fit: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct ChargeCard {
        amount: Json,
    }

    impl Message for ChargeCard {
        const TYPE: &'static str = "ChargeCard";
    }

    impl Command for ChargeCard {}

    fn undeliverable(command: &str) -> Undeliverable {
        let text = format!(
            r#"{{"id":"m","type":"ChargeCard","reason":"no","attempts":1,"command":{command}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_undeliverable_command_is_read_as_it_was_sent() {
        let refused =
            undeliverable(r#"{"type":"ChargeCard","data":{"amount":10.00,"note":"cut \ud83d"}}"#);
        let command = refused.parse::<ChargeCard>().unwrap().unwrap();
        assert_eq!(command.amount.get(), "10.00");
        assert_eq!(undeliverable(r#"{"type":"Other"}"#).parse::<ChargeCard>(), Ok(None));
        assert!(
            undeliverable(r#"{"type":"ChargeCard","data_base64":"AA=="}"#)
                .parse::<ChargeCard>()
                .is_err()
        );
        assert!(undeliverable(r#"{"type":"ChargeCard","data":{}}"#).parse::<ChargeCard>().is_err());
    }
}
