//! A batch that the store rejects is split in halves until the unit that the store cannot write is
//! alone. All other units are written. If that unit is an offer, its sender gets an error;
//! otherwise the stage that handed it over makes a dead letter of the event or message that the
//! unit is about.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::units::{Gathered, Owner, Rows};
use super::{Committer, Ended, Queue, REFUSED_DELAY_MAX};
use crate::changes::receipt::OfferError;
use crate::changes::rejection::{DeadLettersDropped, Rejection, TimerRejection};
use crate::model::{DeadLetterStatus, Event, TimerRef, Trace};
use crate::pure::identity::undeliverable_event_id;
use crate::seams::store::{Append, Batch, Closing, TimerRow};

impl Committer {
    /// Finds the units that the store cannot write, and writes all the others.
    pub(super) async fn isolate(
        &mut self,
        rejected: Gathered,
        reason: String,
        queue: &mut Queue,
    ) -> Result<(), Ended> {
        tracing::warn!(%reason, "the store rejects a batch; its parts are written one by one");
        // The parts that are left; the last element is the next to be tried.
        let mut groups = Vec::new();
        let mut failed = Some((rejected, reason));
        loop {
            if let Some((group, reason)) = failed.take() {
                match group.halve() {
                    Ok((first, second)) => groups.extend([second, first]),
                    Err(unit) => self.reject(*unit, reason, queue).await?,
                }
            }
            let Some(mut group) = groups.pop() else { return Ok(()) };
            self.renumber(&mut group);
            match self.write(&mut group, &mut groups, queue).await? {
                Ok(committed) => self.publish(group, &committed),
                Err(reason) => failed = Some((group, reason)),
            }
        }
    }

    /// Assigns positions that follow the last commit to the events, and new sequences to the
    /// messages: the earlier ones remain as gaps.
    fn renumber(&mut self, group: &mut Gathered) {
        self.position = self.committed;
        let Self { position, outboxes, .. } = self;
        let next = || {
            *position = position.next();
            *position
        };
        group.renumber(next, |sink| outboxes.assign(sink));
    }

    /// Notifies the stage, or the sender, that its unit will never be written.
    async fn reject(
        &mut self,
        gathered: Gathered,
        reason: String,
        queue: &mut Queue,
    ) -> Result<(), Ended> {
        self.position = self.committed;
        let Gathered { mut batch, mut units } = gathered;
        let Some(unit) = units.pop() else { return Ok(()) };
        match unit.owner {
            Owner::Offer(offer) => {
                let _ = offer.reply.send(Err(OfferError::Rejected(reason)));
            }
            Owner::Plugin { plugin, rejections, .. } => {
                let rejection = Rejection::Changes { reason, batch: Box::new(batch) };
                let _ = rejections.send(rejection);
                // Everything that the dispatcher has handed over since then depends on this unit.
                self.stale.insert(plugin, rejections);
            }
            Owner::Timers => {
                let Some((append, timer)) =
                    batch.appends.pop().and_then(|append| Some((append.clone(), append.fires?)))
                else {
                    return Ok(());
                };
                let Append { event, hops, .. } = append;
                let trace = Trace::of(&event).map(Box::new);
                let row = TimerRow { timer, data: event.data.clone(), hops, trace };
                self.dead_letter_timer(row, event, reason);
            }
            // The caller gets an error when its reply is dropped.
            Owner::Control { .. } => tracing::error!(%reason, "a control cannot be written"),
            Owner::Sink { replies, dropped } => {
                self.write_dead_letters_plainly(batch, replies, &dropped, reason, queue).await?;
            }
        }
        Ok(())
    }

    fn dead_letter_timer(&self, row: TimerRow, event: Arc<Event>, reason: String) {
        let TimerRef { plugin, instance, name, .. } = &row.timer;
        tracing::error!(%plugin, %instance, %name, %reason, "the event of a timer that is due cannot be appended to the log");
        // The timer of a plugin that is not served stays in the store. It fires after the next
        // start of the host.
        let Some(dispatcher) = self.rejections.of(plugin) else { return };
        let rejection = TimerRejection { row: row.clone(), event, reason };
        if dispatcher.send(Rejection::Timer(rejection)).is_err() {
            // The dispatcher is about to restart: the timer becomes due again.
            self.timers.update(vec![row], &[]);
        }
    }

    /// Writes a sink's unit that has a dead letter, or the event that notifies an instance of it,
    /// which cannot be written. The message is dead in any case: its dead letter is written with
    /// the store's reason in the place of its own, or the message is discarded.
    async fn write_dead_letters_plainly(
        &mut self,
        batch: Batch,
        replies: Vec<oneshot::Sender<()>>,
        dropped: &mpsc::UnboundedSender<DeadLettersDropped>,
        reason: String,
        queue: &mut Queue,
    ) -> Result<(), Ended> {
        for (plain, drop) in plain_dead_letters(&batch, &reason) {
            let mut group = Gathered::default();
            let before = Rows::of(&group.batch);
            group.batch = plain;
            group.add(before, Owner::Sink { replies: Vec::new(), dropped: dropped.clone() });
            self.renumber(&mut group);
            if let Ok(committed) = self.write(&mut group, &mut [], queue).await? {
                self.publish(group, &committed);
                let dead_letters: Vec<_> =
                    drop.iter().map(|index| Arc::clone(&batch.dead_letters[*index])).collect();
                for dead_letter in &dead_letters {
                    tracing::error!(id = %dead_letter.event.id, %reason, "the message is discarded: the store cannot write its dead letter");
                }
                if !dead_letters.is_empty() {
                    let _ = dropped.send(DeadLettersDropped(dead_letters));
                }
                replies.into_iter().for_each(|reply| _ = reply.send(()));
                return Ok(());
            }
        }
        tokio::time::sleep(REFUSED_DELAY_MAX).await;
        Err(Ended::Restart(format!("the progress of a sink cannot be written: {reason}")))
    }
}

/// Who resolves a dead letter if no person and no plugin does.
const HOST: &str = "sagabox";

/// How a dead letter is written that cannot be written in its full form.
#[derive(Clone, Copy)]
enum Plainer {
    /// The store's reason replaces its own.
    Reason,
    /// The store's reason replaces its own, and the event that notifies the instance is left out.
    WithoutEvent,
    /// Neither the dead letter nor the event that notifies the instance is written. If the store
    /// has the dead letter from before, because it was redriven, it is discarded there.
    Dropped,
}

/// Returns a sink's rows with plainer dead letters, and the indexes of the dead letters that are
/// dropped. Each of the first variants changes one dead letter, because most likely only one cannot
/// be written; the last one changes all of them.
fn plain_dead_letters(batch: &Batch, reason: &str) -> Vec<(Batch, Vec<usize>)> {
    /// If a unit has more dead letters, they are not tried one by one.
    const SINGLE_MAX: usize = 64;
    let open = open_dead_letters(batch);
    let single = open.iter().take(SINGLE_MAX).map(|index| vec![*index]);
    let choices: Vec<Vec<usize>> = single.chain([open.clone()]).collect();
    let mut plain = Vec::new();
    for plainer in [Plainer::Reason, Plainer::WithoutEvent, Plainer::Dropped] {
        for chosen in &choices {
            let dropped = match plainer {
                Plainer::Reason | Plainer::WithoutEvent => Vec::new(),
                Plainer::Dropped => chosen.clone(),
            };
            plain.push((with_plain_dead_letters(batch, chosen, plainer, reason), dropped));
        }
    }
    plain
}

fn with_plain_dead_letters(
    batch: &Batch,
    chosen: &[usize],
    plainer: Plainer,
    reason: &str,
) -> Batch {
    let mut plain = batch.clone();
    if !matches!(plainer, Plainer::Reason) {
        for index in chosen {
            let undeliverable = undeliverable_event_id(&batch.dead_letters[*index].event);
            plain.appends.retain(|append| append.event.id != undeliverable);
        }
    }
    if matches!(plainer, Plainer::Dropped) {
        plain.dead_letters_closed.extend(chosen.iter().map(|index| Closing {
            id: batch.dead_letters[*index].id,
            status: DeadLetterStatus::Discarded,
            by: HOST.to_owned(),
            reason: format!("the store cannot write the dead letter again: {reason}"),
        }));
    }
    let mut index = 0;
    plain.dead_letters.retain_mut(|dead_letter| {
        let is_chosen = chosen.contains(&index);
        index += 1;
        if is_chosen {
            let dead_letter = Arc::make_mut(dead_letter);
            dead_letter.reason =
                format!("the store cannot write the dead letter as it was: {reason}");
            dead_letter.log = None;
        }
        !is_chosen || !matches!(plainer, Plainer::Dropped)
    });
    plain
}

/// The indexes of the unresolved dead letters in a batch.
fn open_dead_letters(batch: &Batch) -> Vec<usize> {
    let dead_letters = batch.dead_letters.iter().enumerate();
    let open = dead_letters.filter(|(_, dead_letter)| dead_letter.status == DeadLetterStatus::Open);
    open.map(|(index, _)| index).collect()
}
