//! Any headers and body as a request with events. Each event that is accepted goes all ways
//! out of the host and back: the store, a page of dead letters, the command line, an edited
//! redrive, a lease, a file, the modes of HTTP. It is the same everywhere, byte for byte.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use sagabox::io::cloudevents;
use sagabox::round_trip;
use sagabox_fuzz::request;

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some((headers, body)) = request(data) else { return Corpus::Reject };
    let Ok(events) = cloudevents::parse(&headers, &body, 100) else { return Corpus::Keep };
    for event in events {
        if let Err(change) = round_trip::check(&event) {
            panic!("{change}");
        }
    }
    Corpus::Keep
});
