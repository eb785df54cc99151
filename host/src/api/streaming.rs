//! Ends a stream of events, and a request that waits for messages, when the caller may not ask any more:
//! its token was revoked or has expired, or its session has ended. Every other request has its answer
//! within moments.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use futures::StreamExt as _;
use futures::stream;

use super::access::Access;
use super::caller::Caller;
use super::problem::Problem;

/// The response, which ends with the caller's permission if it is a stream.
pub(super) fn while_admitted(response: Response, access: Arc<Access>, caller: Caller) -> Response {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let is_stream = content_type.is_some_and(|found| found.as_bytes() == b"text/event-stream");
    if !is_stream {
        return response;
    }
    response.map(|body| {
        let state = (body.into_data_stream(), access, caller);
        Body::from_stream(stream::unfold(state, |mut state| async move {
            let (data, access, caller) = &mut state;
            loop {
                let next = tokio::select! {
                    biased;
                    () = access.next_look() => None,
                    next = data.next() => Some(next?),
                };
                if !access.admits(caller) {
                    return None;
                }
                if let Some(next) = next {
                    return Some((next, state));
                }
            }
        }))
    })
}

/// What the caller waits for.
///
/// # Errors
/// If the caller may not ask any more. Then nothing waits any longer.
pub(super) async fn admitted<T>(
    access: &Access,
    caller: &Caller,
    waiting: impl Future<Output = T>,
) -> Result<T, Problem> {
    let mut waiting = std::pin::pin!(waiting);
    loop {
        tokio::select! {
            biased;
            answer = &mut waiting => return Ok(answer),
            () = access.next_look() => {}
        }
        if !access.admits(caller) {
            let detail = "the token was revoked or has expired while the request waited";
            return Err(Problem::unauthorized(detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::IpAddr;
    use std::time::Duration;

    use axum::response::IntoResponse as _;
    use sagabox_engine::model::Timestamp;

    use super::*;
    use crate::access::{Holder, Role, Secret, Session, Token};
    use crate::api::access::AccessSettings;
    use crate::store::connect::connect;

    fn token(name: &str) -> Token {
        Token {
            id: 0,
            name: name.to_owned(),
            roles: BTreeSet::from([Role::Reader]),
            payloads: false,
            plugins: BTreeSet::new(),
            types: BTreeSet::new(),
            rate: None,
            certificates: BTreeSet::new(),
            created_at: Timestamp(0),
            created_by: "a".to_owned(),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// A stream with one event, on which nothing more comes.
    fn endless() -> Response {
        let one = stream::once(async { Ok::<_, std::io::Error>("data: 1\n\n") });
        let headers = [(header::CONTENT_TYPE, "text/event-stream")];
        (headers, Body::from_stream(one.chain(stream::pending()))).into_response()
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_token_or_the_session_of_its_reader() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("a.db").display());
        let records = connect(&url).await.unwrap().access_records;
        let clock = Arc::new(|| Timestamp(1));
        let access = Access::open(records, AccessSettings::default(), clock).await.unwrap();
        let origin = IpAddr::from([127, 0, 0, 1]);
        let mut callers = Vec::new();
        for name in ["revoked", "kept", "signed in"] {
            let secret = Secret::generate().unwrap();
            access.add(&secret, token(name)).await.unwrap();
            callers.push(Caller::with(access.token(&secret).unwrap(), origin));
        }
        let session = Session {
            id: 0,
            holder: Holder::Token(3),
            origin: origin.to_string(),
            created_at: Timestamp(1),
            expires_at: Timestamp(1_000),
            last_used_at: Timestamp(1),
        };
        let secret = access.begin_session(session).await.unwrap();
        let id = access.session(&secret).unwrap().session.id;
        let of_token = callers.pop().unwrap();
        callers.push(of_token.within(id));
        let streams = callers.iter().map(|caller| {
            let response = while_admitted(endless(), Arc::clone(&access), caller.clone());
            Box::pin(response.into_body().into_data_stream())
        });
        let mut streams: Vec<_> = streams.collect();
        for stream in &mut streams {
            assert!(stream.next().await.is_some(), "each begins");
        }
        access.revoke(1).await.unwrap();
        access.end_session(id).await.unwrap();
        tokio::time::pause();
        let looking = Arc::clone(&access);
        tokio::spawn(async move { looking.look_again().await });
        assert!(streams[0].next().await.is_none(), "its token is revoked");
        assert!(streams[2].next().await.is_none(), "its session has ended");
        let open = tokio::time::timeout(Duration::from_secs(60), streams[1].next());
        assert!(open.await.is_err(), "nothing has happened to its reader");
        let other = while_admitted("text".into_response(), Arc::clone(&access), callers[1].clone());
        assert!(other.headers().get(header::CONTENT_TYPE).is_some());

        let refused = admitted(&access, &callers[0], std::future::pending::<()>()).await;
        assert_eq!(refused.unwrap_err().status, 401, "a request that waits ends, too");
        assert_eq!(admitted(&access, &callers[1], std::future::ready(7)).await.unwrap(), 7);
    }
}
