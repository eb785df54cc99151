//! Any headers and body as a request with events. They are accepted or refused, and what
//! is accepted is written and read again as the same event, in both modes.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use sagabox::io::cloudevents;
use sagabox_engine::model::Event;
use sagabox_fuzz::request;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((headers, body)) = request(data) else { return Corpus::Reject };
    let Ok(events) = cloudevents::parse(&headers, &body, 100) else { return Corpus::Keep };
    for event in events {
        let again = Event::from_json(event.to_json().as_bytes()).expect("what was accepted");
        assert_eq!(named(&again), named(&event));
        let headers = cloudevents::binary_headers(&event);
        let again = cloudevents::parse(&headers, &event.data, 1).expect("what was accepted");
        assert_eq!(named(&again[0]), named(&event));
        assert_eq!(again[0].data, event.data);
    }
    Corpus::Keep
});

/// All but the data, whose form may differ from mode to mode, and the order of the extensions, which
/// headers do not have.
fn named(event: &Event) -> impl PartialEq + std::fmt::Debug + use<> {
    let Event { id, source, event_type, subject, time, mut extensions, .. } = event.clone();
    extensions.sort_unstable();
    (id, source, event_type, subject, time, extensions)
}
