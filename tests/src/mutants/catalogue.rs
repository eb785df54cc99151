//! The mistakes, in the order of an event's way. Each is one that an engine of this kind
//! has been seen to make, or that breaks a guarantee in a way that small tests do not show.

use super::{Edit, Mutation};

pub const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "receipts are sent before the commit",
        edits: &[Edit {
            file: "stages/commit.rs",
            find: "        let mut delay = REFUSED_DELAY_MIN;",
            replace: "        let mut delay = REFUSED_DELAY_MIN;
        let mut first = 0;
        for unit in &mut gathered.units {
            let appends = first..first + unit.appends();
            first = appends.end;
            if let Owner::Offer(offer) = &mut unit.owner {
                let accepted = gathered.batch.appends[appends].iter();
                let accepted = accepted.map(|append| Receipt::Accepted(append.position));
                let reply = std::mem::replace(&mut offer.reply, oneshot::channel().0);
                let _ = reply.send(Ok((accepted.collect(), offer.events.clone())));
            }
        }",
        }],
    },
    Mutation {
        name: "an unknown commit is tried again as if it had failed",
        edits: &[
            Edit {
                file: "stages/commit.rs",
                find: "Err(CommitError::Unknown(reason)) => {",
                replace: "Err(CommitError::Unknown(reason)) if reason.is_empty() => {",
            },
            Edit {
                file: "stages/commit.rs",
                find: "Err(CommitError::NotCommitted(reason)) => {",
                replace: "Err(CommitError::NotCommitted(reason) | CommitError::Unknown(reason)) => {",
            },
        ],
    },
    Mutation {
        name: "a state of a newer version is handed on as it is after a rollback",
        edits: &[Edit {
            file: "seams/handler.rs",
            find: "    if state.version == version {",
            replace: "    if state.version >= version {",
        }],
    },
    Mutation {
        name: "deduplication is skipped",
        edits: &[Edit {
            file: "seams/store/memory.rs",
            find: "|| self.is_new(identity, append.position) {",
            replace: "|| self.is_new(identity, append.position) || append.fires.is_none() {",
        }],
    },
    Mutation {
        name: "an event of a sender is taken for one of the host's own",
        edits: &[Edit {
            file: "seams/store/memory.rs",
            find: "let identity = (append.hops.origin(), ",
            replace: "let identity = (Origin::Host, ",
        }],
    },
    Mutation {
        name: "a decision's messages have the ids of those about the host's own event",
        edits: &[Edit {
            file: "pure/identity.rs",
            find: "Origin::Outside => Domain::OutsideEvent,",
            replace: "Origin::Outside => Domain::HostEvent,",
        }],
    },
    Mutation {
        name: "parts of an identity are joined without their lengths",
        edits: &[Edit {
            file: "pure/identity.rs",
            find: "        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);",
            replace: "        hasher.update(part);
        hasher.update([0]);",
        }],
    },
    Mutation {
        name: "hops are not limited",
        edits: &[Edit {
            file: "stages/dispatch/hops.rs",
            find: "if made == 0 || hops.0 <= hops_max {",
            replace: "if made == 0 || hops.0 <= hops_max.saturating_mul(50) {",
        }],
    },
    Mutation {
        name: "hops begin anew with a dead letter",
        edits: &[Edit {
            file: "stages/dispatch/routing.rs",
            find: "hops: entry.hops,",
            replace: "hops: crate::model::Hops::OUTSIDE,",
        }],
    },
    Mutation {
        name: "what is in the log does not count at the door",
        edits: &[Edit {
            file: "stages/commit.rs",
            find: "self.backlog.update(settled, self.position.0);",
            replace: "self.backlog.update(settled, 0);",
        }],
    },
    Mutation {
        name: "a duplicate is handed on to the plugins",
        edits: &[Edit {
            file: "stages/commit.rs",
            find: "|position| committed.duplicates.binary_search(&position).is_ok();",
            replace: "|position: Position| position.0 == 0 && committed.duplicates.is_empty();",
        }],
    },
    Mutation {
        name: "the cursor is committed before the decisions",
        edits: &[Edit {
            file: "stages/dispatch/hand_over.rs",
            find: "let mut changes = std::mem::take(&mut self.changes);",
            replace: "let early = PluginProgress {
            plugin: self.plugin.clone(),
            cursor: cursor.clone(),
            counters: self.counters,
        };
        let early = PluginChanges { progress: Some(early), ..PluginChanges::default() };
        let _ = self.work.send(Work::Plugin(Box::new(early)));
        let mut changes = std::mem::take(&mut self.changes);",
        }],
    },
    Mutation {
        name: "a plugin's cursor jumps over events that are not settled",
        edits: &[Edit {
            file: "stages/dispatch/flights.rs",
            find: "self.watermark.cursor()",
            replace: "let mut cursor = self.watermark.cursor();
        cursor.settled = cursor.highest();
        cursor.ahead.clear();
        cursor",
        }],
    },
    Mutation {
        name: "who has decided an event is forgotten at restart",
        edits: &[Edit {
            file: "stages/dispatch/mod.rs",
            find: "rows.partly_decided = decided;",
            replace: "drop(decided);",
        }],
    },
    Mutation {
        name: "who has decided an event stays on record when all have",
        edits: &[Edit {
            file: "stages/dispatch/flights.rs",
            find: "self.settled.push(position);",
            replace: "",
        }],
    },
    Mutation {
        name: "the counters are not committed with the cursor",
        edits: &[Edit {
            file: "stages/dispatch/hand_over.rs",
            find: "cursor, counters: self.counters });",
            replace: "cursor, counters: Counters { handled: self.counters.handled / 2 * 2, ..self.counters } });",
        }],
    },
    Mutation {
        name: "state is written from a stale instance",
        edits: &[Edit {
            file: "stages/dispatch/deciding.rs",
            find: "let before = self.instance_cache.write(instance, self.output.next_commit());",
            replace: "let before = match instance.version % 2 {
            1 => self.instance_cache.write(instance, self.output.next_commit()),
            _ => None,
        };",
        }],
    },
    Mutation {
        name: "a claim is not written",
        edits: &[Edit {
            file: "stages/dispatch/deciding.rs",
            find: "self.output.rows().claims.insert((key.clone(), instance.clone()), true);",
            replace: "",
        }],
    },
    Mutation {
        name: "a claim does not reach the events that are under way",
        edits: &[Edit {
            file: "stages/dispatch/deciding.rs",
            find: "            self.on_claim(claimed_key, key, accepted_at);",
            replace: "            self.claim_held(claimed_key, key, accepted_at);",
        }],
    },
    Mutation {
        name: "claims are forgotten when an instance is read again",
        edits: &[Edit {
            file: "stages/dispatch/instance_cache.rs",
            find: "        for claimed in claims {
            self.claim(&key, claimed);",
            replace: "        for claimed in claims.into_iter().take(0) {
            self.claim(&key, claimed);",
        }],
    },
    Mutation {
        name: "a claimed key is taken for one without an instance",
        edits: &[Edit {
            file: "stages/dispatch/instance_cache.rs",
            find: "            self.stored_keys.insert(&claimed);",
            replace: "            self.stored_keys.insert(instance);",
        }],
    },
    Mutation {
        name: "keys count as absent before the store's keys are read",
        edits: &[Edit {
            file: "stages/dispatch/instance_cache/stored_keys.rs",
            find: "if !self.is_complete || self.is_overfull {",
            replace: "if self.is_overfull {",
        }],
    },
    Mutation {
        name: "the keys of swept instances are taken for ones without an instance",
        edits: &[Edit {
            file: "stages/dispatch/instance_cache.rs",
            find: "keys.for_each(|key| self.stored_keys.insert(key));",
            replace: "keys.take(1).for_each(|key| self.stored_keys.insert(key));",
        }],
    },
    Mutation {
        name: "the mark of a removal goes with that of the one before",
        edits: &[Edit {
            file: "stages/dispatch/instance_cache.rs",
            find: "cached.instance.is_none() && cached.commit <= durable;",
            replace: "cached.instance.is_none();",
        }],
    },
    Mutation {
        name: "an instance that is removed stays finished in memory",
        edits: &[Edit {
            file: "stages/dispatch/instance_cache.rs",
            find: "        *cached = CachedInstance {
            bytes: known_bytes(key),
            used: self.time,
            commit,
            ..CachedInstance::default()
        };
        self.bytes += cached.bytes;
        self.removed",
            replace: "        (cached.used, cached.commit) = (self.time, commit);
        self.bytes += cached.bytes;
        self.removed",
        }],
    },
    Mutation {
        name: "a held event is forgotten at restart",
        edits: &[Edit {
            file: "stages/dispatch/holds.rs",
            find: "(event.entry.position, Arc::clone(&event.keys));
        self.holds.insert(event);",
            replace: "(event.entry.position, Arc::clone(&event.keys));
        drop(event);",
        }],
    },
    Mutation {
        name: "a hold ends when the wall clock says so",
        edits: &[Edit {
            file: "stages/dispatch/holds.rs",
            find: "            && end <= undecided
",
            replace: "",
        }],
    },
    Mutation {
        name: "a claim counts however late it is",
        edits: &[Edit {
            file: "stages/dispatch/holds.rs",
            find: "claimed_at.is_none_or(|date| date < until)",
            replace: "claimed_at.is_none_or(|date| date < until || until > Timestamp(0))",
        }],
    },
    Mutation {
        name: "what an instance has decided reaches no later claimer of its key",
        edits: &[Edit {
            file: "stages/dispatch/look_back.rs",
            find: "self.versions.hold_max().filter(|_| !decision.keys.is_empty())",
            replace: "self.versions.hold_max().filter(|_| decision.keys.len() > 1_000)",
        }],
    },
    Mutation {
        name: "retention measures age by the wall clock",
        edits: &[Edit {
            file: "pure/age.rs",
            find: "(self.at, self.read, self.wall) = (self.at.after(elapsed), now, wall);",
            replace: "(self.at, self.read, self.wall) = (AgeTime(wall.0), now, wall);",
        }],
    },
    Mutation {
        name: "a parked event is dropped",
        edits: &[Edit {
            file: "stages/dispatch/routing.rs",
            find: "self.output.rows().parked.insert((position, key.clone()), Some(parked));",
            replace: "drop(parked);",
        }],
    },
    Mutation {
        name: "a parked key goes on after a restart",
        edits: &[Edit {
            file: "stages/dispatch/mod.rs",
            find: "dispatcher.restore_parked(&recovered.parked);",
            replace: "let _ = &recovered.parked;",
        }],
    },
    Mutation {
        name: "what comes while a key resumes overtakes what waited",
        edits: &[Edit {
            file: "stages/dispatch/routing.rs",
            find: "Admission::Buffer => self.dead_letters.buffer(key, delivery),",
            replace: "Admission::Buffer => self.push(key, delivery),",
        }],
    },
    Mutation {
        name: "a redriven dead letter that fails again cannot be redriven once more",
        edits: &[Edit {
            file: "pure/dead_letters.rs",
            find: "        dead_letter.status = DeadLetterStatus::Open;",
            replace: "        dead_letter.status = DeadLetterStatus::Redriving;",
        }],
    },
    Mutation {
        name: "what is discarded with a dead letter stays in the store",
        edits: &[Edit {
            file: "pure/dead_letters.rs",
            find: "        rows.count_discarded(places.len() as u64);
        rows.dropped(key, places);",
            replace: "        rows.count_discarded(places.len() as u64);",
        }],
    },
    Mutation {
        name: "an edited event is decided by the instance of the key that it had",
        edits: &[Edit {
            file: "stages/dispatch/edits.rs",
            find: "if of_host || stays || keys.before == keys.after {",
            replace: "if of_host || stays || !keys.before.is_empty() {",
        }],
    },
    Mutation {
        name: "events that are addressed to one plugin are in the stream of their subject",
        edits: &[Edit {
            file: "model/event.rs",
            find: "        self.subject.as_deref().filter(|_| !addressed)",
            replace: "        self.subject.as_deref().filter(|_| !addressed || !self.id.is_empty())",
        }],
    },
    Mutation {
        name: "a stream of which retention removed the beginning is taken for a whole one",
        edits: &[Edit {
            file: "seams/store/memory.rs",
            find: "        let is_shortened = tables.removed.log.values().any(|entry| is_of(&entry));",
            replace: "        let is_shortened = false;",
        }],
    },
    Mutation {
        name: "what is discarded with a dead letter is not counted",
        edits: &[Edit {
            file: "pure/dead_letters.rs",
            find: "        rows.count_discarded(places.len() as u64);",
            replace: "",
        }],
    },
    Mutation {
        name: "a parked event that was taken back keeps its row",
        edits: &[Edit {
            file: "stages/dispatch/dead_letters.rs",
            find: "self.rows().parked.insert((Position(place), key.clone()), None);",
            replace: "let _ = (key, place);",
        }],
    },
    Mutation {
        name: "a dead letter is not written",
        edits: &[Edit {
            file: "stages/commit/gathering.rs",
            find: "batch.dead_letters.extend(changes.dead_letters.into_iter().map(Arc::new));",
            replace: "drop(changes.dead_letters);",
        }],
    },
    Mutation {
        name: "the order is broken by a retry",
        edits: &[Edit {
            file: "pure/lanes.rs",
            find: "        let until = lane.wait_until.map_or(until, |earlier| earlier.max(until));",
            replace: "        if let Some(item) = lane.items.remove(lane.taken) {
            lane.items.push_back(item);
        }
        let until = lane.wait_until.map_or(until, |earlier| earlier.max(until));",
        }],
    },
    Mutation {
        name: "a lane goes on while its first item waits for a retry",
        edits: &[Edit {
            file: "stages/dispatch/waiting.rs",
            find: "            return self.lanes.put_back(key, position.0, until);",
            replace: "            let Some(again) = self.lanes.finish(key, position.0) else { return };
            self.lanes.push(key, position.0 + 1_000_000, again);
            return;",
        }],
    },
    Mutation {
        name: "a message's id depends on the attempt",
        edits: &[Edit {
            file: "stages/dispatch/deciding.rs",
            find: "id: identity.message_id(index),",
            replace: "id: identity.message_id(
                    index + 8 * self.lanes.get_mut(key, entry.position.0).map_or(0, |d| d.attempt as usize),
                ),",
        }],
    },
    Mutation {
        name: "an outbox row is lost",
        edits: &[Edit {
            file: "stages/commit/gathering.rs",
            find: "if let Some(sink) = outgoing.sink {
                let sequence = self.outboxes.assign(&sink);",
            replace: "if let Some(sink) = outgoing.sink {
                let sequence = self.outboxes.assign(&sink);
                if sequence.0 % 7 == 0 {
                    continue;
                }",
        }],
    },
    Mutation {
        name: "messages are delivered before the commit",
        edits: &[
            Edit {
                file: "stages/commit.rs",
                find: "        let mut delay = REFUSED_DELAY_MIN;",
                replace: "        let mut delay = REFUSED_DELAY_MIN;
        self.outboxes.publish(gathered.batch.messages.clone());",
            },
            Edit {
                file: "stages/commit.rs",
                find: "        self.outboxes.publish(batch.messages);",
                replace: "        drop(batch.messages);",
            },
        ],
    },
    Mutation {
        name: "the outbox's cursor is beyond a message that is not delivered",
        edits: &[Edit {
            file: "stages/sinks/lanes/hand_over.rs",
            find: "cursor: self.watermark.cursor(),",
            replace: "cursor: crate::model::Cursor { settled: self.watermark.cursor().highest(), ..Default::default() },",
        }],
    },
    Mutation {
        name: "a message that cannot be delivered is dropped",
        edits: &[Edit {
            file: "stages/sinks/relay.rs",
            find: "self.lanes.dead_letter(&lane, sequence, &reason, today);",
            replace: "self.lanes.delivered(&lane, sequence);",
        }],
    },
    Mutation {
        name: "a slow message holds back its whole sink",
        edits: &[Edit {
            file: "stages/sinks/relay.rs",
            find: "while under_way.len() < self.transport.in_flight() {",
            replace: "while under_way.is_empty() {",
        }],
    },
    Mutation {
        name: "a sink's trouble uses up the attempts of its messages",
        edits: &[Edit {
            file: "stages/sinks/relay.rs",
            find: "DeliveryError::Unavailable { retry_after, .. } => (*retry_after, true),",
            replace: "DeliveryError::Unavailable { retry_after, .. } => (*retry_after, false),",
        }],
    },
    Mutation {
        name: "one message that always fails pauses its whole sink",
        edits: &[Edit {
            file: "pure/breaker.rs",
            find: "Trouble::Message(message) if row.messages.contains(&message) => {}",
            replace: "Trouble::Message(u64::MAX) => {}",
        }],
    },
    Mutation {
        name: "a message that always fails costs no attempt",
        edits: &[Edit {
            file: "stages/sinks/relay.rs",
            find: "DeliveryError::Transient { retry_after, .. } => (*retry_after, was_down),",
            replace: "DeliveryError::Transient { retry_after, .. } => (*retry_after, true | was_down),",
        }],
    },
    Mutation {
        name: "a key in a long retry stays in memory",
        edits: &[Edit {
            file: "stages/dispatch/waiting.rs",
            find: "if until <= after(Instant::now(), self.context.wait_in_memory_max) {",
            replace: "if until <= after(Instant::now(), std::time::Duration::MAX) {",
        }],
    },
    Mutation {
        name: "a message in a long retry stays in memory",
        edits: &[Edit {
            file: "stages/sinks/lanes/mod.rs",
            find: "let is_soon = until <= after(Instant::now(), self.wait_in_memory_max);",
            replace: "let is_soon = until <= after(Instant::now(), Duration::MAX);",
        }],
    },
    Mutation {
        name: "the attempts of a key that waits are forgotten",
        edits: &[Edit {
            file: "stages/dispatch/waiting.rs",
            find: "delivery.attempt = attempt;",
            replace: "let _ = attempt;",
        }],
    },
    Mutation {
        name: "a key whose questions take long stays in memory",
        edits: &[Edit {
            file: "stages/dispatch/waiting.rs",
            find: "let is_slow = self.slow_asks < SLOW_ASKS_MAX;",
            replace: "let is_slow = self.slow_asks > SLOW_ASKS_MAX;",
        }],
    },
    Mutation {
        name: "a key that waits goes on when the host starts",
        edits: &[Edit {
            file: "pure/waits.rs",
            find: "let left = wait.until.since(today).min(wait.until.since(wait.since));",
            replace: "let left = wait.until.since(today).min(wait.until.since(wait.until));",
        }],
    },
    Mutation {
        name: "a wall clock that was set back prolongs a wait",
        edits: &[Edit {
            file: "pure/waits.rs",
            find: "let left = wait.until.since(today).min(wait.until.since(wait.since));",
            replace: "let left = wait.until.since(today);",
        }],
    },
    Mutation {
        name: "what comes for a key that waits overtakes it",
        edits: &[Edit {
            file: "pure/parking.rs",
            find: "self.limit_of_dead_letters().min(self.retry_place.unwrap_or(u64::MAX))",
            replace: "self.limit_of_dead_letters()",
        }],
    },
    Mutation {
        name: "a wait that is over keeps its row",
        edits: &[Edit {
            file: "stages/dispatch/dead_letters.rs",
            find: "        self.rows().waits.insert(key.clone(), None);",
            replace: "        let _ = key;",
        }],
    },
    Mutation {
        name: "a lookup's trouble uses up the attempts of the events that ask it",
        edits: &[Edit {
            file: "changes/asking.rs",
            find: "let charge = match is_of_lookup && !others_work {",
            replace: "let charge = match is_of_lookup && !others_work && name.is_empty() {",
        }],
    },
    Mutation {
        name: "a lookup that is down is asked by every event",
        edits: &[Edit {
            file: "changes/asking.rs",
            find: "Admits::None => return Ok(Err(None)),",
            replace: "Admits::None | Admits::NoneUntil(_) => false,",
        }],
    },
    Mutation {
        name: "a question that is given up keeps its place",
        edits: &[Edit {
            file: "changes/asking.rs",
            find: "lock(&self.gate.state).breaker.abandon(self.is_probe);",
            replace: "let _ = self.is_probe;",
        }],
    },
    Mutation {
        name: "the same event asks a lookup that is down each time",
        edits: &[Edit {
            file: "stages/dispatch/deciding.rs",
            find: "let turn = mix(seed ^ u64::from(troubles.failures)) % PROBE_TURNS_MS;",
            replace: "let turn = mix(seed) % PROBE_TURNS_MS;",
        }],
    },
    Mutation {
        name: "all attempts may be used up within seconds",
        edits: &[Edit {
            file: "pure/retry.rs",
            find: "Duration::from_millis(half + random % (millis - half + 1));",
            replace: "Duration::from_millis(random % (half + 1));",
        }],
    },
    Mutation {
        name: "a lease that expires costs each of its messages an attempt",
        edits: &[Edit {
            file: "stages/sinks/queue.rs",
            find: "                several => self.halve(several, now),",
            replace: "                several => {
                    self.halve(&[], now);
                    for (lane, sequence) in several {
                        self.failed(lane, *sequence, Duration::ZERO, \"it expired\", now);
                    }
                }",
        }],
    },
    Mutation {
        name: "an instance that is complete does not get its undeliverable command",
        edits: &[Edit {
            file: "stages/dispatch/routing.rs",
            find: "        if !instance.status.is_running() && !is_for_completed(&instance, delivery) {",
            replace: "        if !instance.status.is_running() {
            let _ = is_for_completed(&instance, delivery);",
        }],
    },
    Mutation {
        name: "no instance is notified of a command that cannot be delivered",
        edits: &[Edit {
            file: "stages/sinks/lanes/mod.rs",
            find: "self.output.append_event(event, message.hops.after(1));",
            replace: "let _ = event;",
        }],
    },
    Mutation {
        name: "a message behind a dead letter is dropped",
        edits: &[Edit {
            file: "stages/sinks/lanes/hand_over.rs",
            find: "        self.changes.parked.push((self.lane(plugin, key), sequence));",
            replace: "        let _ = self.lane(plugin, key);",
        }],
    },
    Mutation {
        name: "a timer that fired stays set",
        edits: &[Edit {
            file: "stages/commit/gathering.rs",
            find: "fires: fires.map(|row| row.timer),",
            replace: "fires: fires.and(None),",
        }],
    },
    Mutation {
        name: "a timer fires twice",
        edits: &[
            Edit {
                file: "stages/commit/gathering.rs",
                find: "fires: fires.map(|row| row.timer),",
                replace: "fires: fires.and(None),",
            },
            Edit {
                file: "stages/timers.rs",
                find: "id: identity::timer_event_id(&row.timer),",
                replace: "id: format!(\"{}-{now:?}\", identity::timer_event_id(&row.timer)),",
            },
        ],
    },
    Mutation {
        name: "a timer fires before it is due",
        edits: &[Edit {
            file: "changes/timer_index.rs",
            find: "            && place.due <= now",
            replace: "            && place.due.0 <= now.0 + 30",
        }],
    },
    Mutation {
        name: "a page of timers begins after the time at which the last one ended",
        edits: &[Edit {
            file: "changes/timer_index.rs",
            find: "Horizon::To(place) => Next::Read { after: Some(place.clone()) },",
            replace: "Horizon::To(place) => {
                let plugin = \"\\u{10ffff}\".into();
                Next::Read { after: Some(TimerPlace { plugin, ..place.clone() }) }
            }",
        }],
    },
    Mutation {
        name: "a superseded timer is not ignored",
        edits: &[Edit {
            file: "stages/dispatch/routing.rs",
            find: "is_superseded(&self.instance_cache, key, delivery).then_some(Ignored::Superseded)",
            replace: "(is_superseded(&self.instance_cache, key, delivery) && delivery.keys.is_empty())
                    .then_some(Ignored::Superseded)",
        }],
    },
    Mutation {
        name: "an instance leaves memory before it is stored",
        edits: &[Edit {
            file: "stages/dispatch/reading.rs",
            find: "self.instance_cache.sweep(durable, is_used);",
            replace: "self.instance_cache.sweep(self.output.next_commit(), is_used);",
        }],
    },
    Mutation {
        name: "an instance leaves memory while an event waits for it",
        edits: &[Edit {
            file: "stages/dispatch/reading.rs",
            find: "self.instance_cache.sweep(durable, is_used);",
            replace: "self.instance_cache.sweep(durable, |key| is_used(key) && key.as_str().is_empty());",
        }],
    },
    Mutation {
        name: "what is loaded replaces what is newer in memory",
        edits: &[Edit {
            file: "stages/dispatch/instance_cache.rs",
            find: "if self.instances.contains_key(&key) {
            return;",
            replace: "if self.bytes_max == usize::MAX {
            return;",
        }],
    },
    Mutation {
        name: "events go that a plugin has not read",
        edits: &[Edit {
            file: "seams/store/memory.rs",
            find: "if !plugins.iter().all(|plugin| self.plugins.contains_key(plugin)) {",
            replace: "if plugins.is_empty() {",
        }],
    },
    Mutation {
        name: "identities are forgotten with the history",
        edits: &[Edit {
            file: "stages/housekeeping.rs",
            find: "ages.older_than(self.retention.duplicates);",
            replace: "ages.older_than(self.retention.history);",
        }],
    },
    Mutation {
        name: "running instances are removed as if they were finished",
        edits: &[Edit {
            file: "seams/store/memory.rs",
            find: ".filter(|(_, i)| !i.status.is_running())
            .filter(|(_, i)| i.place <= place",
            replace: ".filter(|(_, i)| i.place <= place",
        }],
    },
    Mutation {
        name: "a decision of the version before is recorded as the next one's",
        edits: &[Edit {
            file: "stages/dispatch/deciding.rs",
            find: "let made_by = self.versions.version(generation).clone();",
            replace: "let made_by = self.versions.version(self.versions.serving_generation()).clone();",
        }],
    },
    Mutation {
        name: "an answer to the version before reaches the next one",
        edits: &[Edit {
            file: "stages/dispatch/asking.rs",
            find: "            return self.start_over(&key, position);",
            replace: "            tracing::trace!(\"another version asked\");",
        }],
    },
    Mutation {
        name: "a plugin that is put back begins with the log",
        edits: &[Edit {
            file: "engine/plugins.rs",
            find: "true => self.context.store.read_plugin(&name).await?,",
            replace: "true => None,",
        }],
    },
    Mutation {
        name: "a plugin that is taken out is put back before its decisions are durable",
        edits: &[Edit {
            file: "stages/dispatch/hand_over.rs",
            find: "        for durable in self.becoming_durable {",
            replace: "        for mut durable in self.becoming_durable.into_iter().take(0) {
            durable.close();",
        }],
    },
    Mutation {
        name: "what was read for the version before is not read again",
        edits: &[Edit {
            file: "stages/dispatch/intake.rs",
            find: "        self.read_to = self.place;",
            replace: "        self.place = self.read_to;",
        }],
    },
    Mutation {
        name: "a canary serves every key",
        edits: &[Edit {
            file: "stages/dispatch/versions.rs",
            find: "Some((version, share)) if share.has(&self.plugin, key) => version.generation,",
            replace: "Some((version, _)) => version.generation,",
        }],
    },
    Mutation {
        name: "the fields of an instance are those of the serving version, also if a canary decides",
        edits: &[Edit {
            file: "stages/dispatch/deciding.rs",
            find: "            && let Some(values) = self.versions.field_values(made_by, state)",
            replace: "            && let Some(values) = self.versions.field_values(
                self.versions.version(self.versions.serving_generation()),
                state,
            )",
        }],
    },
    Mutation {
        name: "the fields of one instance of a commit are not written",
        edits: &[Edit {
            file: "stages/commit/gathering.rs",
            find: "batch.fields.extend(fields.map(|(key, values)| FieldsRow { plugin: name(), key, values }));",
            replace: "batch.fields.extend(fields.map(|(key, values)| FieldsRow { plugin: name(), key, values }).skip(1));",
        }],
    },
    Mutation {
        name: "a canary that is withdrawn goes on",
        edits: &[Edit {
            file: "changes/desired_state.rs",
            find: "        if let Some(entry) = wanted.plugins.get_mut(plugin) {
            entry.canary = None;",
            replace: "        if let Some(entry) = wanted.plugins.get_mut(plugin) {
            entry.missed = entry.missed;",
        }],
    },
    Mutation {
        name: "what a refused command carried is parsed on its way back",
        edits: &[Edit {
            file: "stages/sinks/lanes/undeliverable.rs",
            find: "    data.push_str(&command.to_json());",
            replace: "    let parsed = serde_json::from_str::<serde_json::Value>(&command.to_json());
    data.push_str(&parsed.expect(\"JSON\").to_string());",
        }],
    },
    Mutation {
        name: "data that few parsers read is not taken for JSON",
        edits: &[Edit {
            file: "model/json/mod.rs",
            find: "        false => check(bytes).ok(),",
            replace: "        false => check(bytes).ok().filter(|_| {
            serde_json::from_slice::<serde_json::Value>(bytes).is_ok()
        }),",
        }],
    },
    Mutation {
        name: "a batch with a row that cannot be written is tried for ever",
        edits: &[
            Edit {
                file: "stages/commit.rs",
                find: "Err(CommitError::Rejected(reason)) => {",
                replace: "Err(CommitError::Rejected(reason)) if reason.is_empty() => {",
            },
            Edit {
                file: "stages/commit.rs",
                find: "Err(CommitError::NotCommitted(reason)) => {",
                replace: "Err(CommitError::NotCommitted(reason) | CommitError::Rejected(reason)) => {",
            },
        ],
    },
    Mutation {
        name: "the event of which nothing can be written is not looked for",
        edits: &[Edit {
            file: "stages/dispatch/unwritable.rs",
            find: "self.careful_commits = suspects.len() + CAREFUL_COMMITS;",
            replace: "self.careful_commits = 0;",
        }],
    },
    Mutation {
        name: "what follows upon rejected changes is written",
        edits: &[Edit {
            file: "stages/commit/gathering.rs",
            find: "is_some_and(|stale| stale.same_channel(&rejections))",
            replace: "is_some_and(|stale| stale.strong_count() == 0)",
        }],
    },
    Mutation {
        name: "a dead letter that cannot be written is tried for ever",
        edits: &[Edit {
            file: "stages/dispatch/unwritable.rs",
            find: "(Some(_), Remedy::Discard) => Remedy::Discard,",
            replace: "(Some(_), Remedy::Discard) => Remedy::DeadLetter,",
        }],
    },
    Mutation {
        name: "a removal that fails takes all stages with it",
        edits: &[Edit {
            file: "stages/commit.rs",
            find: "            Err(CommitError::NotCommitted(reason) | CommitError::Rejected(reason)) => {
                tracing",
            replace: "            Err(CommitError::NotCommitted(reason) | CommitError::Rejected(reason)) => {
                return Err(Ended::Restart(reason.clone()));
                #[allow(unreachable_code)]
                tracing",
        }],
    },
    Mutation {
        name: "the engine recovers while the committer writes",
        edits: &[Edit {
            file: "engine/stages.rs",
            find: "self.committer.shutdown().await;",
            replace: "self.committer.abort_all();",
        }],
    },
    Mutation {
        name: "a timer that cannot fire is forgotten with the dispatcher that was to make it a dead letter",
        edits: &[Edit {
            file: "stages/dispatch/unwritable.rs",
            find: "self.caution.timers.push((self.output.next_commit(), timer.clone()));",
            replace: "",
        }],
    },
    Mutation {
        name: "draining waits for what never ends",
        edits: &[Edit {
            file: "engine/ending.rs",
            find: "self.shared.cut_off.cancel();",
            replace: "",
        }],
    },
    Mutation {
        name: "an engine goes on when another host owns its store",
        edits: &[Edit {
            file: "engine/stages.rs",
            find: "        if fenced {",
            replace: "        if fenced && reason.is_empty() {",
        }],
    },
    Mutation {
        name: "a rejected decision ends the hold of its event",
        edits: &[Edit {
            file: "stages/dispatch/unwritable.rs",
            find: "        if !others.keys().all(is_known) {\n            return others;\n        }\n",
            replace: "        if !others.keys().all(is_known) {\n            return others.into_iter().chain(held).collect();\n        }\n",
        }],
    },
    Mutation {
        name: "a sink that is down has all of its messages in memory",
        edits: &[Edit {
            file: "stages/sinks/lanes/mod.rs",
            find: "self.len() < WINDOW && self.reader.bytes.now() < WINDOW_BYTES && !stands",
            replace: "self.len() < WINDOW && !stands",
        }],
    },
    Mutation {
        name: "a slow key fills the memory of its sink",
        edits: &[Edit {
            file: "stages/sinks/lanes/mod.rs",
            find: "        self.reader.bytes.now() > CROWDED_BYTES",
            replace: "        self.reader.bytes.now() == usize::MAX",
        }],
    },
    Mutation {
        name: "a message that waits in the store is overtaken",
        edits: &[Edit {
            file: "stages/sinks/lanes/mod.rs",
            find: "match self.deferred.contains(&lane) || self.must_defer(&lane) {",
            replace: "match self.must_defer(&lane) {",
        }],
    },
    Mutation {
        name: "a sink's whole order is that of its keys",
        edits: &[Edit {
            file: "stages/sinks/lanes/parcel.rs",
            find: "            Order::Whole => Self::Whole,",
            replace: "            Order::Whole => Self::Key(plugin.clone(), key.clone()),",
        }],
    },
    Mutation {
        name: "a batch of a whole order goes on after a failure",
        edits: &[Edit {
            file: "stages/sinks/relay.rs",
            find: "self.lanes.order == Order::Key || self.transport.is_sequential()",
            replace: "self.lanes.order == Order::Key || self.transport.batch_max() > 0",
        }],
    },
    Mutation {
        name: "messages without an order wait for those of their key",
        edits: &[Edit {
            file: "stages/sinks/lanes/parcel.rs",
            find: "            Order::None => Self::Message(sequence),",
            replace: "            Order::None if sequence > 0 => Self::Key(plugin.clone(), key.clone()),
            Order::None => Self::Message(sequence),",
        }],
    },
    Mutation {
        name: "a handled refusal leaves the dead letter open",
        edits: &[Edit {
            file: "stages/dispatch/compensating.rs",
            find: "            status: DeadLetterStatus::Compensated,",
            replace: "            status: DeadLetterStatus::Open,",
        }],
    },
    Mutation {
        name: "the lanes are not notified of a compensated dead letter",
        edits: &[Edit {
            file: "stages/commit.rs",
            find: "compensations.into_iter().for_each(Compensation::settle);",
            replace: "drop(compensations);",
        }],
    },
    Mutation {
        name: "a dead letter is compensated and resolved by an operator as well",
        edits: &[Edit {
            file: "stages/sinks/lanes/dead_letters.rs",
            find: "        if !self.output.take(dead_letter.id) {",
            replace: "        if !self.output.take(dead_letter.id) && dead_letter.id.0 == 0 {",
        }],
    },
    Mutation {
        name: "compensated dead letters do not count in their sink's sums",
        edits: &[Edit {
            file: "seams/store/memory.rs",
            find: "*self.compensated.entry(sink.clone()).or_default() += 1;",
            replace: "self.compensated.entry(sink.clone()).or_default();",
        }],
    },
    Mutation {
        name: "what is for a removed instance reaches the next one of its key",
        edits: &[Edit {
            file: "stages/dispatch/compensating.rs",
            find: "    started.is_some_and(|started| started.parse() != Ok(instance.started.0))",
            replace: "    started.is_some_and(|started| started.parse() > Ok(instance.started.0))",
        }],
    },
    Mutation {
        name: "the end of a removed instance gives up what waits for the next one of its key",
        edits: &[Edit {
            file: "stages/dispatch/routing.rs",
            find: "                .is_some_and(|instance| !is_for_another(&delivery.entry.event, instance));",
            replace: "                .is_some_and(|instance| instance.status.is_running());",
        }],
    },
    Mutation {
        name: "a dispatcher that waits for the log's end does not survive the committer",
        edits: &[Edit {
            file: "stages/dispatch/holds.rs",
            find: "Some(check) if !check.head.is_terminated() =>",
            replace: "Some(check) if check.date.0 > 0 =>",
        }],
    },
    Mutation {
        name: "duplicates count as events that no plugin takes",
        edits: &[Edit {
            file: "seams/store/memory.rs",
            find: "untaken(batch, |position| committed.duplicates.contains(&position))",
            replace: "untaken(batch, |position| position.0 == 0)",
        }],
    },
    Mutation {
        name: "a duplicate with other content is one like any other",
        edits: &[Edit {
            file: "changes/comparison.rs",
            find: "(&a.event_type, &a.subject, &a.data) != (&b.event_type, &b.subject, &b.data)",
            replace: "(&a.source, &a.id) != (&b.source, &b.id)",
        }],
    },
    Mutation {
        name: "decisions that wait for a commit are bounded by their number alone",
        edits: &[Edit {
            file: "stages/dispatch/mod.rs",
            find: "            && self.calls.has_room(jobs.len() + of_canary.len())",
            replace: "            && self.calls.has_room(jobs.len() + of_canary.len()).max(true)",
        }],
    },
    Mutation {
        name: "all timers that are due fire in one commit, whatever their data",
        edits: &[Edit {
            file: "changes/timer_index.rs",
            find: "            && (bytes < page.bytes || due.is_empty())",
            replace: "            && (bytes < usize::MAX || page.bytes > 0)",
        }],
    },
    Mutation {
        name: "a second dead letter that is redriven is overtaken",
        edits: &[Edit {
            file: "pure/parking.rs",
            find: "dead_letter.step != Step::Taken && Some(**place) != next",
            replace: "dead_letter.step == Step::Open && Some(**place) != next",
        }],
    },
    Mutation {
        name: "whatever a claim looks through is kept",
        edits: &[Edit {
            file: "stages/dispatch/look_back.rs",
            find: "event.decided_at > since && may_be_held(event)",
            replace: "event.decided_at > since && may_be_held(event).max(true)",
        }],
    },
    Mutation {
        name: "what has begun to be tried goes on although its key is paused",
        edits: &[Edit {
            file: "stages/dispatch/pausing.rs",
            find: "        if !self.is_key_paused(key) {
            return false;",
            replace: "        if !self.is_key_paused(key) || self.dead_letters.waits_before(key, position.0 + 1) {
            return false;",
        }],
    },
    Mutation {
        name: "a pause that ends takes along the one that replaced it",
        edits: &[Edit {
            file: "engine/controls.rs",
            find: "if only == Only::IfOver && !shared.is_over(&target) {",
            replace: "if only == Only::IfOver && target == Target::Ingest && !shared.is_over(&target) {",
        }],
    },
    Mutation {
        name: "an event is ignored although what starts its instance waits",
        edits: &[Edit {
            file: "stages/dispatch/routing.rs",
            find: "            if self.dead_letters.waits_before(key, position.0) {",
            replace: "            if self.dead_letters.waits_before(key, position.0.min(1)) {",
        }],
    },
    Mutation {
        name: "a message of a paused type leaves in a batch with others",
        edits: &[Edit {
            file: "stages/sinks/lanes/controls.rs",
            find: "            if paused.contains(&message.event.event_type)
                || self",
            replace: "            if paused.contains(\"\")
                || self",
        }],
    },
    Mutation {
        name: "all pauses end with a restart",
        edits: &[Edit {
            file: "engine/stages.rs",
            find: "shared.controls.restore(recovered.controls, (shared.parts.clock)());",
            replace: "shared.controls.restore(Vec::new(), (shared.parts.clock)());",
        }],
    },
    Mutation {
        name: "a paused plugin decides what it has in memory",
        edits: &[Edit {
            file: "stages/dispatch/mod.rs",
            find: "            && !self.controls.is_paused
            && (!self.is_careful()",
            replace: "            && (!self.is_careful()",
        }],
    },
    Mutation {
        name: "what waits behind a paused key stays when the key is resumed",
        edits: &[Edit {
            file: "stages/dispatch/pausing.rs",
            find: "            self.dead_letters.resume(key);",
            replace: "            let _ = key;",
        }],
    },
    Mutation {
        name: "what waits behind a paused message type stays when the type is resumed",
        edits: &[Edit {
            file: "stages/sinks/lanes/controls.rs",
            find: "            self.dead_letters.resume(&lane);",
            replace: "            drop(lane);",
        }],
    },
    Mutation {
        name: "what operators hold back does not count at the door",
        edits: &[Edit {
            file: "changes/backlog.rs",
            find: "held_back.fold(0, u64::saturating_add) > self.max;",
            replace: "held_back.fold(0, u64::max) > self.max;",
        }],
    },
    Mutation {
        name: "a batch takes up nothing that an earlier run has begun",
        edits: &[Edit {
            file: "engine/batches.rs",
            find: "let (mut after, in_progress) = (0, ItemOutcome::InProgress);",
            replace: "let (mut after, in_progress) = (0, ItemOutcome::Changed);",
        }],
    },
    Mutation {
        name: "a dead letter that failed again is an item once more",
        edits: &[Edit {
            file: "engine/operators.rs",
            find: ".batch == Some(*batch)",
            replace: ".batch > Some(*batch)",
        }],
    },
    Mutation {
        name: "a batch asks the instance that took the place of the selected one",
        edits: &[Edit {
            file: "engine/operators.rs",
            find: "of.started != instance.started",
            replace: "of.started > instance.started",
        }],
    },
    Mutation {
        name: "a request to an instance is committed without the outcome of its item",
        edits: &[Edit {
            file: "stages/commit/gathering.rs",
            find: "batch.items_done.extend(offer.item);",
            replace: "let _ = offer.item;",
        }],
    },
    Mutation {
        name: "a batch does not stop when its first items fail again",
        edits: &[Edit {
            file: "pure/pace.rs",
            find: "(2 * failed > of).then_some(TooMany { failed, of })",
            replace: "(failed > of).then_some(TooMany { failed, of })",
        }],
    },
    Mutation {
        name: "a batch begins more items than its rate allows",
        edits: &[Edit {
            file: "pure/pace.rs",
            find: "self.next = self.next.max(now) + self.gap;",
            replace: "self.next = now + self.gap;",
        }],
    },
];
