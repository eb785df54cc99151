//! The contract of [`Transport`], clause by clause, as tests for every implementation. An
//! implementation's own test calls [`all`] with a way to open receivers.
//!
//! Like the relay, it delivers what failed again, from the first failed message of a key on. So
//! it also runs on transports that inject faults.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;

use super::{DeliveryError, Transport};
use crate::model::{
    Event, Hops, Key, Message, MessageKind, PluginName, Position, Sequence, SinkName,
};

/// A test fails after this many deliveries without success.
const TRIES_MAX: usize = 1_000;
/// A larger batch would test nothing else.
const BATCH_MAX: usize = 50;
const IN_FLIGHT_MAX: usize = 16;

/// The other side of a transport under test.
#[async_trait]
pub trait Receiver: Send + Sync {
    /// A transport that delivers to this receiver.
    fn transport(&self) -> Arc<dyn Transport>;

    /// What has arrived, in order, repetitions included.
    async fn arrived(&self) -> Vec<Event>;

    /// Makes the receiver unreachable.
    async fn leave(&self);

    /// Makes the receiver reachable again.
    async fn come_back(&self);
}

/// Opens receivers for the tests.
#[async_trait]
pub trait Receivers: Sync {
    /// A receiver at which nothing has arrived.
    async fn open(&self) -> Box<dyn Receiver>;
}

/// Tests every clause, each on a new receiver.
pub async fn all(receivers: &dyn Receivers) {
    what_is_delivered_has_arrived_whole(&*receivers.open().await).await;
    each_message_has_its_result(&*receivers.open().await).await;
    the_order_of_a_key_is_kept(&*receivers.open().await).await;
    a_sequential_batch_ends_at_its_first_failure(&*receivers.open().await).await;
    a_repetition_is_recognised_by_its_id(&*receivers.open().await).await;
    a_receiver_that_is_away_is_no_fault_of_the_message(&*receivers.open().await).await;
    deliveries_do_not_disturb_each_other(&*receivers.open().await).await;
    a_dropped_delivery_does_no_harm(&*receivers.open().await).await;
}

/// A message of one of three keys.
fn message(number: u64) -> Arc<Message> {
    with_data(number, Bytes::from(format!("{{\"number\" : {number}}}")), None)
}

fn with_data(number: u64, data: Bytes, datacontenttype: Option<&str>) -> Arc<Message> {
    let key = format!("key-{}", number % 3);
    let event = Event {
        id: format!("m-{number}"),
        source: "/sagabox/contract".to_owned(),
        event_type: "Do".to_owned(),
        subject: Some("Käse \"1\" % ,;".to_owned()),
        time: Some("2026-01-31T12:00:00Z".to_owned()),
        datacontenttype: datacontenttype.map(str::to_owned),
        dataschema: None,
        extensions: vec![
            ("partitionkey".to_owned(), key.clone()),
            ("tenant".to_owned(), "ä € 😀".to_owned()),
        ],
        data,
    };
    Arc::new(Message {
        sink: SinkName::from("sink"),
        sequence: Sequence(number),
        kind: MessageKind::Command,
        plugin: PluginName::from("contract"),
        key: Key::from(key),
        cause: Position(number),
        instance: None,
        event: Arc::new(event),
        hops: Hops::FIRST,
    })
}

/// What two bindings of the same event agree on.
fn content(event: &Event) -> (Vec<String>, Vec<(String, String)>, Bytes) {
    let attributes = ["id", "source", "type", "subject", "time"];
    let text = |name: &str| event.attribute(name).unwrap_or_default().to_owned();
    let mut texts: Vec<String> = attributes.into_iter().map(text).collect();
    texts.push(event.content_type().to_owned());
    let mut extensions = event.extensions.clone();
    extensions.sort();
    (texts, extensions, event.data.clone())
}

/// Delivers all, as the relay does: in batches, and again what was not delivered.
async fn insist(transport: &dyn Transport, messages: &[Arc<Message>]) {
    let size = transport.batch_max().min(BATCH_MAX);
    let mut left = messages.to_vec();
    for _ in 0..TRIES_MAX {
        let batch: Vec<_> = left.iter().take(size).cloned().collect();
        if batch.is_empty() {
            return;
        }
        let results = transport.deliver(&batch).await;
        assert_eq!(results.len(), batch.len(), "each message has a result");
        let mut results = results.into_iter();
        left.retain(|_| !matches!(results.next(), Some(Ok(()))));
    }
    panic!("the transport never delivers {left:?}");
}

async fn what_is_delivered_has_arrived_whole(receiver: &dyn Receiver) {
    let large = "x".repeat(1 << 20);
    let samples = [
        (Bytes::from_static(b"{\"price\":9007199254740993.10,\"price\":1e400}"), None),
        (Bytes::from_static(b"{\n  \"a\": \"\\u00e4\\ud83d\"\n}"), Some("application/json")),
        (Bytes::from_static(b"\x00\x01\xff\n\r\n"), Some("application/octet-stream")),
        (Bytes::from_static("ä €\n😀".as_bytes()), Some("text/plain; charset=utf-8")),
        (Bytes::new(), None),
        (Bytes::from(format!("\"{large}\"")), Some("application/json")),
    ];
    let samples = samples.into_iter().zip(0..);
    let messages: Vec<_> = samples.map(|((data, kind), n)| with_data(n, data, kind)).collect();
    insist(&*receiver.transport(), &messages).await;
    let arrived = receiver.arrived().await;
    for message in &messages {
        let found = arrived.iter().find(|event| event.id == message.event.id);
        let found = found.unwrap_or_else(|| panic!("{} has not arrived", message.event.id));
        let (attributes, extensions, data) = content(&message.event);
        let (found_attributes, found_extensions, found_data) = content(found);
        assert_eq!((found_attributes, found_extensions), (attributes, extensions));
        assert!(without_line_breaks(found_data) == without_line_breaks(data), "{}", found.id);
    }
}

/// Where each message is a line, line breaks between the tokens of JSON become spaces.
fn without_line_breaks(data: Bytes) -> Vec<u8> {
    let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(&data).is_ok();
    let plain = |byte: u8| if is_json && matches!(byte, b'\n' | b'\r') { b' ' } else { byte };
    data.into_iter().map(plain).collect()
}

async fn each_message_has_its_result(receiver: &dyn Receiver) {
    let transport = receiver.transport();
    assert!(transport.batch_max() > 0 && transport.in_flight() > 0);
    assert_eq!(transport.deliver(&[]).await, []);
    let size = transport.batch_max().min(BATCH_MAX);
    let mut next = 0;
    for size in 1..=size {
        let batch: Vec<_> = (next..next + size as u64).map(message).collect();
        next += size as u64;
        let results = transport.deliver(&batch).await;
        assert_eq!(results.len(), size);
        let arrived = receiver.arrived().await;
        for (message, result) in batch.iter().zip(results) {
            let has_arrived = arrived.iter().any(|event| event.id == message.event.id);
            assert!(result.is_err() || has_arrived, "{} was reported", message.event.id);
        }
    }
}

async fn the_order_of_a_key_is_kept(receiver: &dyn Receiver) {
    let transport = receiver.transport();
    let size = transport.batch_max().min(BATCH_MAX);
    let mut left: Vec<_> = (0..200).map(message).collect();
    for _ in 0..TRIES_MAX {
        // As in a relay's batch: for each key either its next messages or none.
        let batch: Vec<_> = left.iter().take(size).cloned().collect();
        let results = transport.deliver(&batch).await;
        let mut failed: BTreeMap<&Key, &str> = BTreeMap::new();
        for (message, result) in batch.iter().zip(&results) {
            let id = message.event.id.as_str();
            match result {
                Ok(()) => assert!(
                    !failed.contains_key(&message.key),
                    "{id} was delivered though {failed:?} was not"
                ),
                Err(_) => _ = failed.entry(&message.key).or_insert(id),
            }
        }
        let mut results = results.into_iter();
        left.retain(|_| !matches!(results.next(), Some(Ok(()))));
    }
    assert!(left.is_empty(), "the transport never delivers {left:?}");
    let mut newest: BTreeMap<String, u64> = BTreeMap::new();
    for event in receiver.arrived().await {
        let number: u64 = event.id.trim_start_matches("m-").parse().expect("our own id");
        let key = event.extension("partitionkey").unwrap_or_default().to_owned();
        let before = newest.entry(key).or_default();
        // A repetition may come later than its place; a new message may not.
        assert!(number <= *before + 3, "{number} came after {before}");
        *before = number.max(*before);
    }
}

/// A sink with [`super::Order::Whole`] relies on this.
async fn a_sequential_batch_ends_at_its_first_failure(receiver: &dyn Receiver) {
    let transport = receiver.transport();
    if !transport.is_sequential() {
        return;
    }
    let size = transport.batch_max().min(BATCH_MAX);
    let mut left: Vec<_> = (0..200).map(message).collect();
    for _ in 0..TRIES_MAX {
        let batch: Vec<_> = left.iter().take(size).cloned().collect();
        let results = transport.deliver(&batch).await;
        let delivered = results.iter().take_while(|result| result.is_ok()).count();
        assert!(results[delivered..].iter().all(Result::is_err), "{results:?}");
        left.drain(..delivered);
    }
    assert!(left.is_empty(), "the transport never delivers {left:?}");
    let mut newest = 0;
    for event in receiver.arrived().await {
        let number: u64 = event.id.trim_start_matches("m-").parse().expect("our own id");
        assert!(number <= newest + 1, "{number} came after {newest}");
        newest = number.max(newest);
    }
}

async fn a_repetition_is_recognised_by_its_id(receiver: &dyn Receiver) {
    let transport = receiver.transport();
    for _ in 0..2 {
        insist(&*transport, &[message(7)]).await;
    }
    let arrived = receiver.arrived().await;
    assert!(arrived.len() >= 2, "{arrived:?}");
    for event in &arrived {
        assert_eq!(content(event), content(&message(7).event));
    }
}

async fn a_receiver_that_is_away_is_no_fault_of_the_message(receiver: &dyn Receiver) {
    let transport = receiver.transport();
    insist(&*transport, &[message(0)]).await;
    let before = receiver.arrived().await.len();
    receiver.leave().await;
    for number in 1..10 {
        let results = transport.deliver(&[message(number)]).await;
        assert!(
            matches!(
                results[..],
                [Err(DeliveryError::Unavailable { .. } | DeliveryError::Transient { .. })]
            ),
            "{results:?}"
        );
    }
    receiver.come_back().await;
    assert_eq!(receiver.arrived().await.len(), before);
    insist(&*transport, &[message(10)]).await;
    let arrived = receiver.arrived().await;
    assert!(arrived.iter().any(|event| event.id == "m-10"), "{arrived:?}");
}

async fn deliveries_do_not_disturb_each_other(receiver: &dyn Receiver) {
    let transport = receiver.transport();
    let count = transport.in_flight().min(IN_FLIGHT_MAX) as u64;
    for round in 0..20 {
        let messages: Vec<_> = (0..count).map(|n| message(round * count + n)).collect();
        let deliveries = messages.iter().map(|one| transport.deliver(std::slice::from_ref(one)));
        let results = join_all(deliveries).await;
        let arrived = receiver.arrived().await;
        for (message, result) in messages.iter().zip(results) {
            assert_eq!(result.len(), 1);
            let has_arrived = arrived.iter().any(|event| event.id == message.event.id);
            assert!(result[0].is_err() || has_arrived, "{} was reported", message.event.id);
        }
    }
}

async fn a_dropped_delivery_does_no_harm(receiver: &dyn Receiver) {
    let transport = receiver.transport();
    for number in 0..10 {
        let one = [message(number)];
        let mut delivery = transport.deliver(&one);
        // The delivery has begun, and may be complete.
        let _ = futures::poll!(&mut delivery);
        drop(delivery);
    }
    let messages: Vec<_> = (10..20).map(message).collect();
    insist(&*transport, &messages).await;
    let arrived = receiver.arrived().await;
    for message in &messages {
        assert!(arrived.iter().any(|event| event.id == message.event.id));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::faulty::{DeliveryFaultRates, DrawnDeliveryFaults, FaultyTransport};
    use super::super::memory::MemoryTransport;
    use super::*;

    struct InMemory {
        batch_max: usize,
        in_flight: usize,
        faults: Option<(DeliveryFaultRates, u64)>,
        is_sequential: bool,
    }

    struct Here(MemoryTransport, Arc<dyn Transport>);

    #[async_trait]
    impl Receivers for InMemory {
        async fn open(&self) -> Box<dyn Receiver> {
            let inner = MemoryTransport::new(self.batch_max, self.in_flight);
            let transport: Arc<dyn Transport> = match self.faults {
                None => Arc::new(inner.clone()),
                Some((rates, seed)) => {
                    let faults = DrawnDeliveryFaults::new(rates, seed);
                    Arc::new(match self.is_sequential {
                        true => FaultyTransport::sequential(inner.clone(), faults),
                        false => FaultyTransport::new(inner.clone(), faults),
                    })
                }
            };
            Box::new(Here(inner, transport))
        }
    }

    #[async_trait]
    impl Receiver for Here {
        fn transport(&self) -> Arc<dyn Transport> {
            Arc::clone(&self.1)
        }

        async fn arrived(&self) -> Vec<Event> {
            self.0.arrived().iter().map(|message| Event::clone(&message.event)).collect()
        }

        async fn leave(&self) {
            self.0.set_away(true);
        }

        async fn come_back(&self) {
            self.0.set_away(false);
        }
    }

    #[tokio::test]
    async fn the_transport_in_memory_keeps_the_contract() {
        for (batch_max, in_flight) in [(1, 1), (1, 8), (5, 3)] {
            all(&InMemory { batch_max, in_flight, faults: None, is_sequential: true }).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_transport_that_fails_keeps_the_contract_too() {
        for seed in 0..20 {
            // The first never fails: the decorator itself changes nothing.
            let rate = if seed == 0 { 0 } else { 15 };
            let delay_max = Duration::from_millis(5);
            let rates =
                DeliveryFaultRates { lost: rate, misreported: rate, unavailable: rate, delay_max };
            let (faults, is_sequential) = (Some((rates, seed)), seed % 2 == 1);
            all(&InMemory { batch_max: 5, in_flight: 3, faults, is_sequential }).await;
        }
    }
}
