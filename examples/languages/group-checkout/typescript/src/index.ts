/**
 * The group checkout: every guest's stay is checked out; when each has an outcome, or the deadline has
 * passed, the result is reported once.
 */
import {
  days,
  event,
  hold,
  hours,
  message,
  processManager,
  seconds,
  starts,
  t,
  timer,
  type ContextOf,
  type StateOf,
} from '@sagabox/sdk';

const group = { groupCheckoutId: t.string };
const guest = { guestStayId: t.string, ...group };
const bySubject = { subject: 'groupCheckoutId' } as const;

const checkout = processManager({
  state: {
    ...group,
    /** By stay: each guest is counted once, however often its event comes. */
    stays: t.record(t.oneOf('pending', 'completed', 'failed')),
  },
  config: {
    /** How long it waits for the guests' outcomes; a day if nothing is said. */
    deadline_seconds: t.integer.optional(),
  },
  events: {
    GroupCheckoutInitiated: starts({ ...group, guestStayIds: t.array(t.string) }, '/groupCheckoutId'),
    GuestCheckoutCompleted: event(guest, '/groupCheckoutId', { absent: hold(hours(1)) }),
    GuestCheckoutFailed: event(guest, '/groupCheckoutId', { absent: hold(hours(1)) }),
  },
  commands: {
    CheckoutGuestAccount: message(guest, { subject: 'guestStayId' }),
    CompleteGroupCheckout: message(group, bySubject),
    NotifyGroupCheckoutFailure: message(
      { ...group, failedGuestIds: t.array(t.string), timedOutGuestIds: t.array(t.string) },
      bySubject,
    ),
  },
  timers: { deadline: timer() },
});

type Checkout = StateOf<typeof checkout>;
type Context = ContextOf<typeof checkout>;
type Outcome = Checkout['stays'][string];

export default checkout.handlers({
  on: {
    GroupCheckoutInitiated({ data: { groupCheckoutId, guestStayIds } }, ctx) {
      const stays: Checkout['stays'] = {};
      for (const guestStayId of [...new Set(guestStayIds)].sort()) {
        stays[guestStayId] = 'pending';
        ctx.send('CheckoutGuestAccount', { guestStayId, groupCheckoutId });
      }
      ctx.setTimer('deadline', seconds(ctx.config.deadline_seconds ?? 0) || days(1));
      const state = { groupCheckoutId, stays };
      concludeIfAllHaveAnOutcome(state, ctx);
      return state;
    },

    GuestCheckoutCompleted: (state, { data }, ctx) => record(state, data.guestStayId, 'completed', ctx),

    GuestCheckoutFailed: (state, { data }, ctx) => record(state, data.guestStayId, 'failed', ctx),
  },

  onTimer: {
    deadline: (state, _, ctx) => conclude(state, ctx),
  },

  onCancel: (state, _, ctx) => conclude(state, ctx),
});

/** The first outcome of a stay counts. A stay that is not of this group is ignored. */
function record(state: Checkout, stay: string, outcome: Outcome, ctx: Context): void {
  if (state.stays[stay] !== 'pending') return;
  state.stays[stay] = outcome;
  concludeIfAllHaveAnOutcome(state, ctx);
}

function concludeIfAllHaveAnOutcome(state: Checkout, ctx: Context): void {
  if (!Object.values(state.stays).includes('pending')) conclude(state, ctx);
}

function conclude({ groupCheckoutId, stays }: Checkout, ctx: Context): void {
  const having = (wanted: Outcome) =>
    Object.keys(stays)
      .sort()
      .filter((stay) => stays[stay] === wanted);
  const [failedGuestIds, timedOutGuestIds] = [having('failed'), having('pending')];
  ctx.complete();
  if (failedGuestIds.length === 0 && timedOutGuestIds.length === 0)
    ctx.send('CompleteGroupCheckout', { groupCheckoutId });
  else ctx.send('NotifyGroupCheckoutFailure', { groupCheckoutId, failedGuestIds, timedOutGuestIds });
}
