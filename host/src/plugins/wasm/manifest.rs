//! Pure: the rules for a manifest.

use std::collections::BTreeSet;
use std::time::Duration;

use sagabox_engine::model::{
    Absent, Correlation, Effect, Manifest, PluginName, Source, Subscription, attribute, reserved,
};
use sagabox_engine::pure::pointer;

/// The largest integer that every language represents exactly.
pub(super) const MILLIS_MAX: u64 = (1 << 53) - 1;
const HOLD_MAX: Duration = Duration::from_millis(MILLIS_MAX);

/// # Errors
/// Says which part is at fault, and why.
pub(crate) fn check(manifest: &Manifest) -> Result<(), String> {
    let name = manifest.name.as_str();
    if !PluginName::is_valid(name) {
        let max = PluginName::CHARACTERS_MAX;
        return Err(format!("name `{name}`: 1 to {max} of the characters a-z, 0-9 and -"));
    }
    if !is_version(&manifest.version) {
        return Err(format!(
            "version `{}`: not a semantic version such as 1.2.3",
            manifest.version
        ));
    }
    if manifest.subscriptions.is_empty() {
        return Err("it subscribes to nothing: nothing would ever happen".to_owned());
    }
    match (manifest.role.has_instances(), manifest.state_version) {
        (true, 0) => return Err("state-version: a process manager counts from 1".to_owned()),
        (false, 1..) => {
            return Err(format!("state-version: a {} has no state: 0", manifest.role.as_str()));
        }
        _ => {}
    }
    for (what, types) in [("commands", &manifest.commands), ("events", &manifest.events)] {
        if let Some(name) = types.iter().find(|name| name.starts_with(reserved::PREFIX)) {
            return Err(format!("{what}: `{name}` is reserved for the host"));
        }
        for name in types {
            let checked =
                if name.is_empty() { Err("is empty".to_owned()) } else { attribute::text(name) };
            checked
                .map_err(|reason| format!("{what}: the type `{}` {reason}", name.escape_debug()))?;
        }
    }
    let mut types = BTreeSet::new();
    for subscription in &manifest.subscriptions {
        let event_type = &subscription.event_type;
        if !types.insert(event_type) {
            return Err(format!("two subscriptions to `{event_type}`; one event has one handler"));
        }
        check_subscription(manifest, subscription)
            .map_err(|reason| format!("subscription to `{event_type}`: {reason}"))?;
    }
    super::optional::check(manifest)
}

fn check_subscription(manifest: &Manifest, subscription: &Subscription) -> Result<(), String> {
    let is_reserved = subscription.event_type.starts_with(reserved::PREFIX);
    let by_instance = subscription.key == Correlation::Instance;
    if subscription.event_type.is_empty() {
        return Err("the type is empty".to_owned());
    }
    if is_reserved != by_instance {
        return Err("the correlation `instance` is for events of the host (`sagabox.…`), \
                    and these need it"
            .to_owned());
    }
    if is_reserved && !subscription.source.is_any() {
        return Err("its source must be `any`: the host makes these events".to_owned());
    }
    if let Source::Exactly(source) | Source::Prefix(source) = &subscription.source {
        if source.is_empty() {
            return Err("its source is empty; use `any` for all sources".to_owned());
        }
        attribute::text(source).map_err(|reason| format!("its source {reason}"))?;
    }
    if let Absent::Hold(time) = subscription.absent
        && time > HOLD_MAX
    {
        return Err(format!(
            "it holds events for {time:?}; at most 2^53 milliseconds are possible"
        ));
    }
    if let Correlation::Pointer(pointer) = &subscription.key
        && !pointer::is_valid(pointer)
    {
        return Err(format!("`{pointer}` is not a JSON Pointer such as /order/id (RFC 6901)"));
    }
    if !manifest.role.has_instances() {
        if by_instance {
            return Err(format!("a {} has no instances", manifest.role.as_str()));
        }
        if subscription.effect != Effect::Handle || subscription.absent != Absent::Ignore {
            return Err(format!(
                "a {} has no instances: effect `handle`, absent `ignore`",
                manifest.role.as_str()
            ));
        }
    }
    Ok(())
}

/// Source: Semantic Versioning 2.0.0, section 2 and its grammar, without the rule on leading zeros of
/// pre-release numbers.
fn is_version(text: &str) -> bool {
    let core = text.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part.len() == 1 || !part.starts_with('0'))
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
    numbers.len() == 3 && numbers.iter().all(is_number) && text.bytes().all(plain)
}

#[cfg(test)]
pub(super) mod samples {
    use sagabox_engine::model::{OptionalPart, Role};

    use super::*;

    pub(in crate::plugins::wasm) fn process_manager() -> Manifest {
        let commands = BTreeSet::from(["Pay".to_owned()]);
        Manifest { role: Role::ProcessManager, state_version: 1, commands, ..saga() }
    }

    pub(in crate::plugins::wasm) fn saga() -> Manifest {
        Manifest {
            name: "order-saga".into(),
            role: Role::Saga,
            version: "1.2.3".into(),
            description: String::new(),
            subscriptions: vec![Subscription {
                event_type: "placed".to_owned(),
                source: Source::Any,
                key: Correlation::Pointer("/orderId".to_owned()),
                effect: Effect::Handle,
                absent: Absent::Ignore,
            }],
            commands: BTreeSet::new(),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version: 0,
            optional: OptionalPart::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::samples::saga;
    use super::*;

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Manifest), expected: &str) {
        let mut manifest = saga();
        change(&mut manifest);
        assert_eq!(check(&manifest), Err(expected.to_owned()));
    }

    #[test]
    fn a_plain_manifest_is_accepted() {
        assert_eq!(check(&saga()), Ok(()));
    }

    #[test]
    fn what_is_at_fault_is_named() {
        refused(
            |m| m.name = "Order".into(),
            "name `Order`: 1 to 64 of the characters a-z, 0-9 and -",
        );
        refused(
            |m| m.version = "1.2".into(),
            "version `1.2`: not a semantic version such as 1.2.3",
        );
        refused(
            |m| m.subscriptions.push(m.subscriptions[0].clone()),
            "two subscriptions to `placed`; one event has one handler",
        );
        refused(
            |m| m.subscriptions[0].key = Correlation::Pointer("orderId".to_owned()),
            "subscription to `placed`: `orderId` is not a JSON Pointer such as /order/id (RFC 6901)",
        );
        refused(
            |m| m.subscriptions[0].effect = Effect::Start,
            "subscription to `placed`: a saga has no instances: effect `handle`, absent `ignore`",
        );
        refused(
            |m| m.subscriptions[0].source = Source::Prefix(String::new()),
            "subscription to `placed`: its source is empty; use `any` for all sources",
        );
        refused(
            |m| {
                m.subscriptions[0].event_type = "sagabox.timer.fired".to_owned();
                m.subscriptions[0].key = Correlation::Instance;
                m.subscriptions[0].source = Source::Exactly("/shop".to_owned());
            },
            "subscription to `sagabox.timer.fired`: its source must be `any`: the host makes these events",
        );
        refused(
            |m| m.subscriptions[0].absent = Absent::Hold(Duration::from_millis(1 << 53)),
            "subscription to `placed`: it holds events for 9007199254740.992s; at most 2^53 \
             milliseconds are possible",
        );
        refused(|m| m.state_version = 1, "state-version: a saga has no state: 0");
        refused(|m| m.subscriptions.clear(), "it subscribes to nothing: nothing would ever happen");
    }
}
