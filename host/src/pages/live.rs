//! Sends parts of open pages again when they change.
//!
//! An open page follows a *topic*: its content, for a view that its reader has. One task renders a
//! topic, at most once in [`STEP`], for as long as a page follows it; ten open pages cost as much
//! as one. A stream ends when the host stops, when its reader may not ask any more
//! (`api/streaming.rs`), and after [`STREAM_TIME`]: then the browser opens another one.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, Stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::Problem;
use crate::io::locks::lock;

/// As often as a person can follow.
const STEP: Duration = Duration::from_secs(1);
/// After this, a page whose browser is gone without a word holds its place no more.
const STREAM_TIME: Duration = Duration::from_secs(60);
/// Each open page holds a connection; most are for senders and workers.
const STREAMS_MAX: usize = 256;
const CROWDED_RETRY_AFTER: Duration = Duration::from_secs(5);
/// Proxies close connections on which nothing comes.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The element of the layout that says why a page is not up to date.
const STATE: &str = "live-state";

/// The content of elements, by the element's id.
pub(super) type Parts = BTreeMap<&'static str, String>;

pub(super) struct Live {
    topics: Mutex<HashMap<String, watch::Sender<Arc<Parts>>>>,
    streams: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Live {
    pub(super) fn new(stopping: CancellationToken) -> Self {
        let streams = Arc::new(Semaphore::new(STREAMS_MAX));
        Self { topics: Mutex::default(), streams, stopping }
    }

    /// The stream of a topic. `topic` names everything on which the rendered content depends, also
    /// the reader's view.
    ///
    /// # Errors
    /// If too many pages are open.
    pub(super) fn stream<R, F>(
        self: &Arc<Self>,
        topic: String,
        render: R,
    ) -> Result<Response, Problem>
    where
        R: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Parts, Problem>> + Send + 'static,
    {
        let crowded = || {
            let detail = "too many pages are open; this one is not brought up to date";
            Problem::crowded(detail, CROWDED_RETRY_AFTER)
        };
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| crowded())?;
        let changes = self.follow(topic, render);
        let sent = sent(changes, permit, self.stopping.clone());
        let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
        Ok(Sse::new(sent).keep_alive(keep_alive).into_response())
    }

    fn follow<R, F>(self: &Arc<Self>, topic: String, render: R) -> watch::Receiver<Arc<Parts>>
    where
        R: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Parts, Problem>> + Send + 'static,
    {
        let mut topics = lock(&self.topics);
        if let Some(sender) = topics.get(&topic) {
            let mut receiver = sender.subscribe();
            receiver.mark_changed();
            return receiver;
        }
        let (sender, receiver) = watch::channel(Arc::default());
        topics.insert(topic.clone(), sender.clone());
        tokio::spawn(Arc::clone(self).render(topic, sender, render));
        receiver
    }

    async fn render<R, F>(
        self: Arc<Self>,
        topic: String,
        sender: watch::Sender<Arc<Parts>>,
        render: R,
    ) where
        R: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<Parts, Problem>> + Send + 'static,
    {
        // A page that follows later must not wait for a task that has ended by a panic.
        let _ended = Ended { live: &self, topic: &topic };
        loop {
            let begun = Instant::now();
            let parts = rendered(render().await, &sender.borrow());
            sender.send_if_modified(|before| {
                let is_other = **before != parts;
                *before = Arc::new(parts);
                is_other
            });
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = tokio::time::sleep_until(begun + STEP) => {}
            }
            let mut topics = lock(&self.topics);
            if sender.receiver_count() == 0 {
                topics.remove(&topic);
                return;
            }
        }
    }
}

struct Ended<'l> {
    live: &'l Live,
    topic: &'l str,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.live.topics).remove(self.topic);
        }
    }
}

/// A part that cannot be rendered stays as it was, and the page says why.
fn rendered(parts: Result<Parts, Problem>, before: &Parts) -> Parts {
    match parts {
        Ok(mut parts) => {
            parts.insert(STATE, String::new());
            parts
        }
        Err(problem) => {
            let mut parts = before.clone();
            let text = format!("This page is not up to date: {}", problem.detail);
            parts.insert(STATE, escaped(&text));
            parts
        }
    }
}

fn escaped(text: &str) -> String {
    askama::filters::escape(text, askama::filters::Html)
        .map(|safe| safe.to_string())
        .unwrap_or_default()
}

/// The parts that changed, message by message.
fn sent(
    changes: watch::Receiver<Arc<Parts>>,
    permit: OwnedSemaphorePermit,
    stopping: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    struct Following {
        changes: watch::Receiver<Arc<Parts>>,
        shown: Arc<Parts>,
        until: Instant,
        stopping: CancellationToken,
        _permit: OwnedSemaphorePermit,
    }
    let until = Instant::now() + STREAM_TIME;
    let following = Following { changes, shown: Arc::default(), until, stopping, _permit: permit };
    stream::unfold(following, |mut following| async move {
        tokio::select! {
            biased;
            () = following.stopping.cancelled() => return None,
            () = tokio::time::sleep_until(following.until) => return None,
            changed = following.changes.changed() => changed.ok()?,
        }
        let parts = Arc::clone(&following.changes.borrow_and_update());
        let message = message(&parts, &following.shown);
        following.shown = parts;
        Some((Ok(Event::default().data(message)), following))
    })
}

/// htmx puts each part into the element with its id, and does not touch what has not changed in it.
fn message(parts: &Parts, shown: &Parts) -> String {
    let mut message = String::new();
    for (id, html) in parts.iter().filter(|(id, html)| shown.get(*id) != Some(html)) {
        message +=
            &format!(r##"<hx-partial hx-target="#{id}" hx-swap="innerMorph">{html}</hx-partial>"##);
    }
    // A message is lines of text, and a return ends a line there.
    message.replace('\r', "&#13;")
}
