//! Pure: checks a reply against the manifest and the limits (guarantees 6 and 10).

use std::collections::BTreeSet;

use sagabox_engine::model::{
    Decision, Due, Failure, Key, KeyChange, Manifest, MessageKind, Outgoing, Question, TimerChange,
    Timestamp, attribute, reserved,
};
use sagabox_engine::seams::handler::Reply;

use super::limits::{Limits, Measured};
use super::manifest::MILLIS_MAX;

/// The same limit as for the attributes of incoming events.
const ATTRIBUTE_BYTES_MAX: usize = 4096;
const EXTENSIONS_MAX: usize = 64;
/// Of the reason of a failure. It is in the dead letter, in lists of them, in logs and in alerts, and a
/// plugin can quote a whole event in it.
const REASON_BYTES_MAX: usize = 16 << 10;

/// A failure with as much of its reason as people read.
pub(crate) fn shortened(failure: Failure) -> Failure {
    let shorten = |mut reason: String| {
        let bytes = reason.len();
        if bytes > REASON_BYTES_MAX {
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
            reason.push_str(&format!("… ({bytes} bytes in all)"));
        }
        reason
    };
    match failure {
        Failure::Permanent(reason) => Failure::Permanent(shorten(reason)),
        Failure::Transient(reason) => Failure::Transient(shorten(reason)),
    }
}

/// # Errors
/// Says which limit the reply breaks, or what the manifest does not declare.
pub(crate) fn check(
    reply: &Reply,
    now: Timestamp,
    manifest: &Manifest,
    limits: &Limits,
) -> Result<(), String> {
    match reply {
        Reply::Need(questions) if questions.is_empty() => {
            Err("the handler needs answers, but asks no question".to_owned())
        }
        Reply::Need(questions) => {
            check_limits(reply, limits)?;
            questions.iter().try_for_each(|question| check_question(question, manifest))
        }
        Reply::Decided(decision) => {
            check_limits(reply, limits)?;
            check_decision(decision, now, manifest)
        }
    }
}

/// Numbers are checked before bytes, which are declared first: a reason with a number says more.
fn check_limits(reply: &Reply, limits: &Limits) -> Result<(), String> {
    for (limit, allowed, measure) in limits.measures().into_iter().rev() {
        if let Some(Measured { count, has, what }) = measure.of(reply)
            && count as u64 > allowed
        {
            return Err(format!(
                "{has} {count} {what}; at most {allowed} are accepted (limit {limit})"
            ));
        }
    }
    Ok(())
}

fn check_decision(decision: &Decision, now: Timestamp, manifest: &Manifest) -> Result<(), String> {
    decision.timers.iter().try_for_each(|change| {
        let (TimerChange::Set { name, .. } | TimerChange::Cancel(name)) = change;
        bounded("a timer's name", name.as_str(), Key::BYTES_MAX)?;
        if let TimerChange::Set { due, .. } = change {
            check_due(*due, now).map_err(|reason| format!("the timer `{name}` {reason}"))?;
        }
        attribute::text(name.as_str()).map_err(|reason| format!("a timer's name {reason}"))
    })?;
    decision.keys.iter().try_for_each(|change| {
        let (KeyChange::Claim(key) | KeyChange::Release(key)) = change;
        bounded("an additional key", key.as_str(), Key::BYTES_MAX)
    })?;
    decision.messages.iter().try_for_each(|message| {
        check_declared(message, manifest)?;
        check_message(message)
            .map_err(|reason| format!("the message `{}`: {reason}", message.event_type))
    })
}

/// The handler gets the date back, also in languages whose only number is a double.
fn check_due(due: Due, now: Timestamp) -> Result<(), String> {
    match due {
        Due::At(Timestamp(at)) if at > MILLIS_MAX => {
            Err(format!("is due at {at} ms; at most {MILLIS_MAX} are accepted"))
        }
        Due::After(after) if now.0.saturating_add(after) > MILLIS_MAX => Err(format!(
            "is due {after} ms after {now}; the sum must be at most {MILLIS_MAX}",
            now = now.0
        )),
        Due::At(_) | Due::After(_) => Ok(()),
    }
}

fn check_question(question: &Question, manifest: &Manifest) -> Result<(), String> {
    match question {
        Question::Lookup { name, .. } if !manifest.lookups.contains(name) => Err(format!(
            "the handler asks the lookup `{name}`, which is not in the manifest's list `lookups` {}",
            known(&manifest.lookups)
        )),
        Question::Stream(_) if !manifest.streams => {
            Err("the handler asks for a stream, but the manifest does not contain `streams: true`"
                .to_owned())
        }
        Question::Lookup { key, .. } => bounded("the key of a lookup", key, ATTRIBUTE_BYTES_MAX),
        Question::Stream(subject) => bounded("a stream's subject", subject, ATTRIBUTE_BYTES_MAX),
    }
}

fn check_declared(message: &Outgoing, manifest: &Manifest) -> Result<(), String> {
    let (what, list, declared, other, others) = match message.kind {
        MessageKind::Command => {
            ("command", "commands", &manifest.commands, "events", &manifest.events)
        }
        MessageKind::Event => ("event", "events", &manifest.events, "commands", &manifest.commands),
    };
    let name = &message.event_type;
    if declared.contains(name) {
        return Ok(());
    }
    let hint = match others.contains(name) {
        true => format!("; it is in the list `{other}`"),
        false => String::new(),
    };
    Err(format!(
        "the decision sends the {what} `{name}`, which is not in the manifest's list `{list}` {}{hint}",
        known(declared)
    ))
}

fn known(names: &BTreeSet<String>) -> String {
    if names.is_empty() {
        return "(which is empty)".to_owned();
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    format!("({})", names.join(", "))
}

/// The requirements of CloudEvents 1.0, checked before the message leaves: no sink would take it
/// otherwise.
fn check_message(message: &Outgoing) -> Result<(), String> {
    if let Some(subject) = &message.subject {
        bounded("its subject", subject, ATTRIBUTE_BYTES_MAX)?;
        attribute::text(subject).map_err(|reason| format!("its subject {reason}"))?;
    }
    bounded("its datacontenttype", &message.datacontenttype, ATTRIBUTE_BYTES_MAX)?;
    attribute::media_type(&message.datacontenttype)
        .map_err(|reason| format!("its datacontenttype {reason}"))?;
    if message.extensions.len() > EXTENSIONS_MAX {
        return Err(format!(
            "it has {} extension attributes; at most {EXTENSIONS_MAX} are accepted",
            message.extensions.len()
        ));
    }
    let mut names = BTreeSet::new();
    for (name, value) in &message.extensions {
        check_extension(name, value)
            .map_err(|reason| format!("its extension `{}`: {reason}", attribute::clip(name)))?;
        if !names.insert(name) {
            return Err(format!("it has the extension `{name}` twice"));
        }
    }
    Ok(())
}

fn check_extension(name: &str, value: &str) -> Result<(), String> {
    if attribute::is_core(name) {
        return Err("the name is an attribute's".to_owned());
    }
    if attribute::extension_name(name).is_err() {
        let max = attribute::EXTENSION_NAME_BYTES_MAX;
        return Err(format!("a name has 1 to {max} of the characters a-z and 0-9"));
    }
    if name.starts_with(reserved::EXTENSIONS) {
        return Err(format!("names that begin with `{}` are the host's", reserved::EXTENSIONS));
    }
    if value.len() > ATTRIBUTE_BYTES_MAX || value.chars().any(char::is_control) {
        return Err(format!(
            "a value has at most {ATTRIBUTE_BYTES_MAX} bytes and no control characters"
        ));
    }
    attribute::text(value).map_err(|reason| format!("its value {reason}"))
}

fn bounded(what: &str, text: &str, bytes_max: usize) -> Result<(), String> {
    match text.len() {
        0 => Err(format!("{what} is empty")),
        bytes if bytes > bytes_max => {
            Err(format!("{what} has {bytes} bytes; at most {bytes_max} are accepted"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sagabox_engine::model::{OptionalPart, Role};

    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    #[test]
    fn a_long_reason_is_shortened_and_says_how_long_it_was() {
        let short = Failure::Permanent("é".repeat(10));
        assert_eq!(shortened(short.clone()), short);
        let Failure::Transient(reason) = shortened(Failure::Transient("é".repeat(1 << 20))) else {
            panic!("it may be retried")
        };
        assert!(reason.len() < REASON_BYTES_MAX + 50, "{}", reason.len());
        assert!(reason.ends_with("é… (2097152 bytes in all)"));
    }

    fn limits() -> Limits {
        Limits {
            decision_bytes: 1_000,
            state_bytes: 100,
            messages: 2,
            timers: 2,
            keys: 2,
            questions: 2,
            ..Limits::default()
        }
    }

    fn manifest() -> Manifest {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Manifest {
            name: "p".into(),
            role: Role::ProcessManager,
            version: "1.0.0".into(),
            description: String::new(),
            subscriptions: Vec::new(),
            commands: set(&["Pay"]),
            events: set(&["Paid"]),
            lookups: set(&["stock"]),
            streams: false,
            state_version: 1,
            optional: OptionalPart::default(),
        }
    }

    fn message() -> Outgoing {
        Outgoing {
            kind: MessageKind::Command,
            event_type: "Pay".to_owned(),
            subject: None,
            datacontenttype: "application/json".to_owned(),
            extensions: Vec::new(),
            data: Bytes::new(),
        }
    }

    #[track_caller]
    fn decided(change: impl FnOnce(&mut Decision), expected: &str) {
        let mut decision = Decision { messages: vec![message()], ..Decision::default() };
        change(&mut decision);
        assert_eq!(
            check(&Reply::Decided(decision), NOW, &manifest(), &limits()),
            Err(expected.to_owned())
        );
    }

    #[track_caller]
    fn sent(change: impl FnOnce(&mut Outgoing), expected: &str) {
        decided(|decision| change(&mut decision.messages[0]), expected);
    }

    #[track_caller]
    fn asked(questions: Vec<Question>, expected: &str) {
        assert_eq!(
            check(&Reply::Need(questions), NOW, &manifest(), &limits()),
            Err(expected.to_owned())
        );
    }

    fn lookup(name: &str) -> Question {
        Question::Lookup { name: name.to_owned(), key: "k".to_owned() }
    }

    #[test]
    fn a_reply_within_all_limits_is_accepted() {
        let decision = Decision {
            state: Some(vec![0; 100].into()),
            messages: vec![
                message(),
                Outgoing { datacontenttype: "text/plain; charset=utf-8".to_owned(), ..message() },
            ],
            timers: vec![
                TimerChange::Set {
                    name: "t".into(),
                    due: Due::After(1),
                    data: Bytes::new()
                };
                2
            ],
            keys: vec![KeyChange::Claim("k".into()); 2],
            complete: false,
        };
        assert_eq!(check(&Reply::Decided(decision), NOW, &manifest(), &limits()), Ok(()));
        let need = Reply::Need(vec![lookup("stock"), lookup("stock")]);
        assert_eq!(check(&need, NOW, &manifest(), &limits()), Ok(()));
    }

    #[test]
    fn a_number_over_its_limit_is_named() {
        decided(
            |d| d.messages = vec![message(); 3],
            "the decision has 3 messages; at most 2 are accepted (limit messages)",
        );
        decided(
            |d| d.timers = vec![TimerChange::Cancel("t".into()); 3],
            "the decision has 3 timers; at most 2 are accepted (limit timers)",
        );
        decided(
            |d| d.keys = vec![KeyChange::Claim("k".into()); 3],
            "the decision has 3 keys; at most 2 are accepted (limit keys)",
        );
        decided(
            |d| d.state = Some(vec![0; 101].into()),
            "the decision has 101 bytes of state; at most 100 are accepted (limit state_bytes)",
        );
        // The type and the media type count as well.
        decided(
            |d| d.messages[0].data = vec![0; 1_000].into(),
            "the decision has 1019 bytes; at most 1000 are accepted (limit decision_bytes)",
        );
        asked(
            vec![lookup("stock"); 3],
            "the handler asks 3 questions at once; at most 2 are accepted (limit questions)",
        );
    }

    #[test]
    fn a_key_or_name_that_no_index_takes_is_refused() {
        decided(
            |d| d.keys.push(KeyChange::Claim("k".repeat(513).into())),
            "an additional key has 513 bytes; at most 512 are accepted",
        );
        decided(|d| d.timers.push(TimerChange::Cancel("".into())), "a timer's name is empty");
    }

    #[test]
    fn a_timer_is_due_at_a_number_that_every_language_has() {
        const LAST: u64 = (1 << 53) - 1;
        let set = |due| TimerChange::Set { name: "t".into(), due, data: Bytes::new() };
        decided(
            |d| d.timers.push(set(Due::At(Timestamp(LAST + 1)))),
            "the timer `t` is due at 9007199254740992 ms; at most 9007199254740991 are accepted",
        );
        for (after, said) in
            [(LAST - NOW.0 + 1, "9007199254739992"), (u64::MAX, "18446744073709551615")]
        {
            decided(
                |d| d.timers.push(set(Due::After(after))),
                &format!(
                    "the timer `t` is due {said} ms after 1000; the sum must be at most 9007199254740991"
                ),
            );
        }
        for due in [Due::At(Timestamp(LAST)), Due::After(LAST - NOW.0)] {
            let decision = Decision { timers: vec![set(due)], ..Decision::default() };
            assert_eq!(check(&Reply::Decided(decision), NOW, &manifest(), &limits()), Ok(()));
        }
    }

    #[test]
    fn an_empty_list_of_needs_is_refused() {
        asked(Vec::new(), "the handler needs answers, but asks no question");
    }

    #[test]
    fn what_the_manifest_does_not_declare_is_refused_with_the_list_that_lacks_it() {
        sent(
            |m| m.event_type = "Refund".to_owned(),
            "the decision sends the command `Refund`, which is not in the manifest's list `commands` (Pay)",
        );
        sent(
            |m| m.event_type = "Paid".to_owned(),
            "the decision sends the command `Paid`, which is not in the manifest's list `commands` \
             (Pay); it is in the list `events`",
        );
        asked(
            vec![lookup("price")],
            "the handler asks the lookup `price`, which is not in the manifest's list `lookups` (stock)",
        );
        asked(
            vec![Question::Stream("s".to_owned())],
            "the handler asks for a stream, but the manifest does not contain `streams: true`",
        );
    }

    #[test]
    fn a_message_that_is_no_cloud_event_is_refused() {
        sent(
            |m| m.datacontenttype = "json".to_owned(),
            "the message `Pay`: its datacontenttype `json` is not a media type such as application/json",
        );
        sent(|m| m.subject = Some(String::new()), "the message `Pay`: its subject is empty");
        let extension = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        sent(
            |m| m.extensions = extension("Trace-Id", ""),
            "the message `Pay`: its extension `Trace-Id`: a name has 1 to 64 of the characters a-z and 0-9",
        );
        sent(
            |m| m.extensions = extension("source", "x"),
            "the message `Pay`: its extension `source`: the name is an attribute's",
        );
        sent(
            |m| m.extensions = [extension("a", "1"), extension("a", "2")].concat(),
            "the message `Pay`: it has the extension `a` twice",
        );
        sent(
            |m| m.extensions = extension("a", "x\r\ny"),
            "the message `Pay`: its extension `a`: a value has at most 4096 bytes and no control characters",
        );
        sent(
            |m| m.extensions = extension("sagaboxplugin", "other"),
            "the message `Pay`: its extension `sagaboxplugin`: names that begin with `sagabox` are the host's",
        );
        let reason =
            "has the character U+0000; control characters and noncharacters are not allowed";
        sent(
            |m| m.subject = Some("a\0".to_owned()),
            &format!("the message `Pay`: its subject {reason}"),
        );
        decided(
            |d| d.timers.push(TimerChange::Cancel("\0".into())),
            &format!("a timer's name {reason}"),
        );
    }
}
