//! Pure: a batch, and the units of which it consists. A unit is what one stage handed over at once:
//! it is written as a whole, or not at all. If the store rejects a batch, the committer splits it
//! into its units, so that one unit that cannot be written does not stop the others.

use std::collections::BTreeSet;
use std::ops::Sub;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::changes::Offer;
use crate::changes::compensation::Compensation;
use crate::changes::receipt::OfferError;
use crate::changes::rejection::{DeadLettersDropped, Rejection};
use crate::model::{PluginName, Position, Sequence, SinkName};
use crate::seams::store::Batch;

/// A batch, and its units in the order of their rows.
#[derive(Default)]
pub(crate) struct Gathered {
    pub batch: Batch,
    pub units: Vec<Unit>,
}

pub(crate) struct Unit {
    pub owner: Owner,
    rows: Rows,
}

/// The stage or sender that handed a unit over, and the channel for its outcome.
pub(crate) enum Owner {
    Offer(Offer),
    Plugin {
        plugin: PluginName,
        replies: Vec<oneshot::Sender<()>>,
        /// Dead letters of sinks that its decisions resolve. If this is dropped, they are open
        /// again.
        compensations: Vec<Compensation>,
        rejections: mpsc::UnboundedSender<Rejection>,
    },
    Sink {
        replies: Vec<oneshot::Sender<()>>,
        dropped: mpsc::UnboundedSender<DeadLettersDropped>,
    },
    Timers,
    Control {
        reply: oneshot::Sender<()>,
    },
}

/// Names the tables of a batch in one place, so that a forgotten table does not compile.
macro_rules! tables {
    ($($table:ident),* $(,)?) => {
        /// The number of rows of each table.
        #[derive(Clone, Copy, Default)]
        pub(crate) struct Rows {
            $($table: usize,)*
        }

        impl Rows {
            pub(crate) fn of(batch: &Batch) -> Self {
                let Batch { $($table,)* untaken: _, expire: _ } = batch;
                Self { $($table: $table.len(),)* }
            }
        }

        impl Sub for Rows {
            type Output = Self;

            fn sub(self, before: Self) -> Self {
                Self { $($table: self.$table - before.$table,)* }
            }
        }

        /// Splits the first rows of each table off.
        fn split_off(batch: &mut Batch, rows: Rows) -> Batch {
            Batch {
                $($table: batch.$table.drain(..rows.$table).collect(),)*
                // The fields that depend on the appends are computed again before they are written.
                untaken: BTreeSet::new(),
                expire: None,
            }
        }

        fn append(batch: &mut Batch, more: Batch) {
            $(batch.$table.extend(more.$table);)*
        }
    };
}

tables! {
    appends, instances, instances_removed, fields, claims, timers_set, timers_fired, timers_cleared,
    decisions, messages,
    held, held_removed, parked, parked_removed, parked_messages, parked_messages_removed,
    waits, waits_removed, message_waits, message_waits_removed,
    dead_letters, dead_letters_closed, dead_letters_noted, items_done, plugins, partly_decided,
    partly_decided_removed, sinks, controls, controls_removed,
}

impl Gathered {
    /// Adds the unit of the rows that were appended to the batch since `before`.
    pub(crate) fn add(&mut self, before: Rows, owner: Owner) {
        let rows = Rows::of(&self.batch) - before;
        self.units.push(Unit { owner, rows });
    }

    /// The number of rows that cost time.
    pub(crate) fn size(&self) -> usize {
        self.batch.appends.len() + self.batch.decisions.len() + self.batch.messages.len()
    }

    /// Splits it in two, each with about half of the units. A single unit of timers becomes two
    /// with half of the timers each.
    ///
    /// # Errors
    /// Returns itself if it is one unit that must be written as a whole.
    pub(crate) fn halve(mut self) -> Result<(Self, Self), Box<Self>> {
        if let [Unit { owner: Owner::Timers, rows }] = &self.units[..]
            && rows.appends > 1
        {
            let appends = rows.appends / 2;
            let first = Rows { appends, ..Rows::default() };
            let second = Rows { appends: rows.appends - appends, ..Rows::default() };
            let unit = |rows| vec![Unit { owner: Owner::Timers, rows }];
            let batch = split_off(&mut self.batch, first);
            let first = Self { batch, units: unit(first) };
            return Ok((first, Self { batch: self.batch, units: unit(second) }));
        }
        if self.units.len() < 2 {
            return Err(Box::new(self));
        }
        let second = self.units.split_off(self.units.len() / 2);
        let mut batch = Batch::default();
        for unit in &self.units {
            append(&mut batch, split_off(&mut self.batch, unit.rows));
        }
        Ok((Self { batch, units: self.units }, Self { batch: self.batch, units: second }))
    }

    /// Assigns new places to the events and messages, because others have been written meanwhile.
    pub(crate) fn renumber(
        &mut self,
        mut position: impl FnMut() -> Position,
        mut sequence: impl FnMut(&SinkName) -> Sequence,
    ) {
        for append in &mut self.batch.appends {
            append.position = position();
        }
        for message in &mut self.batch.messages {
            let sequence = sequence(&message.sink);
            Arc::make_mut(message).sequence = sequence;
        }
    }

    /// Removes the senders' units, and answers each sender with this error.
    pub(crate) fn refuse_offers(&mut self, error: &OfferError) {
        if !self.units.iter().any(|unit| matches!(unit.owner, Owner::Offer(_))) {
            return;
        }
        let mut batch = Batch::default();
        let mut units = Vec::with_capacity(self.units.len());
        for unit in self.units.drain(..) {
            let of_unit = split_off(&mut self.batch, unit.rows);
            if let Owner::Offer(offer) = unit.owner {
                let _ = offer.reply.send(Err(error.clone()));
            } else {
                append(&mut batch, of_unit);
                units.push(unit);
            }
        }
        *self = Self { batch, units };
    }
}

impl Unit {
    /// The number of the batch's appends that belong to this unit.
    pub(crate) fn appends(&self) -> usize {
        self.rows.appends
    }
}
