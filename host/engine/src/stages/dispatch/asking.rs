//! Gets the questions of a handler answered: by a lookup, or by the log itself (the stream of a
//! subject). Then the handler is called again with all answers so far. Meanwhile only the lane of
//! the delivery waits.

use std::sync::Arc;

use futures::future::{BoxFuture, try_join_all};

use crate::changes::asking::{Failed, FailedAt, Lookups};
use crate::changes::jobs::Job;
use crate::model::{Answer, AnswerValue, Event, Failure, Key, PluginName, Position, Question};
use crate::pure::monotonic::Instant;
use crate::seams::lookup::Unanswered;
use crate::seams::store::{Page, Store};
use crate::stages::reads::detached;

use super::spans::answer_span;
use super::{Answers, Asked, Dispatcher};

/// A handler that asks more often than this for one event is taken to ask without end.
const ROUNDS_MAX: u32 = 16;
/// The most events of one stream that a handler gets.
const STREAM_EVENTS_MAX: usize = 10_000;
/// The most bytes of these events. A plugin's own memory limit is usually far lower.
const STREAM_BYTES_MAX: usize = 64 << 20;
const STREAM_PAGE: Page = Page { rows: 1_000, bytes: 8 << 20 };

impl Dispatcher {
    /// Gets questions answered; then the handler is called again with all answers so far.
    pub(super) fn ask(
        &mut self,
        key: &Key,
        position: Position,
        questions: Vec<Question>,
    ) -> Result<(), Failure> {
        let plugin = self.plugin.clone();
        let Some(delivery) = self.lanes.get_mut(key, position.0) else { return Ok(()) };
        let known = |question: &Question| {
            delivery.answers.iter().any(|answer| answer.question == *question)
        };
        let mut fresh: Vec<Question> = Vec::new();
        for question in questions {
            if !known(&question) && !fresh.contains(&question) {
                fresh.push(question);
            }
        }
        if fresh.is_empty() {
            return Err(Failure::Permanent(
                "the handler asks only questions that are answered already".to_owned(),
            ));
        }
        delivery.rounds += 1;
        if delivery.rounds > ROUNDS_MAX {
            return Err(Failure::Permanent(format!(
                "the handler asked in more than {ROUNDS_MAX} rounds for one event"
            )));
        }
        let context = &self.context;
        let decision = delivery.span();
        let failed_at = delivery.troubles.as_ref().and_then(|troubles| troubles.failed_at.clone());
        let pending: Vec<BoxFuture<'static, Result<Answer, Failed>>> = fresh
            .into_iter()
            .map(|question| -> BoxFuture<'static, Result<Answer, Failed>> {
                let (plugin, lookups) = (plugin.clone(), Arc::clone(&context.lookups));
                let (store, failed_at) = (Arc::clone(&context.store), failed_at.clone());
                let spans = context.spans.clone();
                Box::pin(async move {
                    let started = Instant::now();
                    let found =
                        answer(&plugin, &question, position, &lookups, failed_at.as_ref(), &*store);
                    let found = found.await;
                    if let Some(decision) = decision {
                        let failed = found.as_ref().err();
                        let failed = failed.map(|failed| failed.unanswered.to_string());
                        spans.report(answer_span(decision, &question, started, failed));
                    }
                    match found {
                        Ok(value) => Ok(Answer { question, value }),
                        Err(Failed { unanswered, charge }) => {
                            Err(Failed { unanswered: unanswered.about(&asked(&question)), charge })
                        }
                    }
                })
            })
            .collect();
        let (key, generation) = (key.clone(), self.versions.generation_of(key));
        let mut pending = detached(try_join_all(pending));
        let patience = context.wait_in_memory_max;
        self.asks.push(Box::pin(async move {
            let answers = match tokio::time::timeout(patience, &mut pending).await {
                Ok(arrived) => Answers::Arrived(arrived),
                Err(_) => Answers::Pending(pending),
            };
            Asked { position, key, generation, is_slow: false, answers }
        }));
        Ok(())
    }

    pub(super) fn on_asked(&mut self, asked: Asked) {
        let Asked { position, key, generation, is_slow, answers } = asked;
        let answers = match answers {
            Answers::Arrived(answers) if is_slow => {
                return self.on_slow_answers(&key, position, generation, answers);
            }
            Answers::Arrived(answers) => answers,
            Answers::Pending(pending) => {
                return self.wait_for_answers(key, position, generation, pending);
            }
        };
        self.on_answers(key, position, generation, answers);
    }

    fn on_answers(
        &mut self,
        key: Key,
        position: Position,
        generation: u32,
        answers: Result<Vec<Answer>, Failed>,
    ) {
        if generation != self.versions.generation_of(&key) {
            return self.start_over(&key, position);
        }
        match answers {
            Ok(answers) => {
                if let Some(delivery) = self.lanes.get_mut(&key, position.0) {
                    delivery.answers.extend(answers);
                }
                if let Some(call) = self.input(&key, position) {
                    self.call(generation, vec![Job { position, key, generation, call }]);
                }
            }
            Err(failed) => self.fail(&key, position, failed),
        }
    }
}

async fn answer(
    plugin: &PluginName,
    question: &Question,
    before: Position,
    lookups: &Lookups,
    failed_at: Option<&FailedAt>,
    store: &dyn Store,
) -> Result<AnswerValue, Failed> {
    match question {
        Question::Lookup { name, key } => lookups.ask(plugin, name, key, failed_at).await,
        Question::Stream(subject) => {
            let found = lookups.in_time(stream(subject, before, store)).await;
            Ok(found.map_err(Unanswered::from)?)
        }
    }
}

async fn stream(
    subject: &str,
    before: Position,
    store: &dyn Store,
) -> Result<AnswerValue, Failure> {
    let mut events: Vec<Arc<Event>> = Vec::new();
    let (mut after, mut bytes) = (Position(0), 0);
    loop {
        let page = store.read_stream(subject, after, before, STREAM_PAGE).await;
        let page = page.map_err(|error| Failure::Transient(error.to_string()))?;
        // If any page was shortened, the stream is: each later page says so as well.
        if page.is_shortened {
            return Err(Failure::Permanent(
                "events of the stream were removed, as they were older than `history` under \
                 [retention]"
                    .to_owned(),
            ));
        }
        let page_bytes = page.entries.iter().map(|entry| entry.event.bytes()).sum();
        let is_last = STREAM_PAGE.is_last(page.entries.len(), page_bytes);
        let Some(last) = page.entries.last() else { break };
        after = last.position;
        bytes += page_bytes;
        events.extend(page.entries.into_iter().map(|entry| entry.event));
        if events.len() > STREAM_EVENTS_MAX {
            return Err(Failure::Permanent(format!(
                "the stream has more than {STREAM_EVENTS_MAX} events"
            )));
        }
        if bytes > STREAM_BYTES_MAX {
            return Err(Failure::Permanent(format!(
                "the events of the stream have more than {STREAM_BYTES_MAX} bytes"
            )));
        }
        if is_last {
            break;
        }
    }
    Ok(AnswerValue::Events(events))
}

fn asked(question: &Question) -> String {
    match question {
        Question::Lookup { name, key } => format!("lookup `{name}` of `{key}`"),
        Question::Stream(subject) => format!("stream of `{subject}`"),
    }
}
