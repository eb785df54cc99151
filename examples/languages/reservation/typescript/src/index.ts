/**
 * The reservation of an order: the stock is reserved when the order is placed, shipped when it is paid,
 * and released when it is not paid in time.
 */
import {
  event,
  hold,
  hours,
  message,
  minutes,
  PermanentError,
  processManager,
  starts,
  t,
  timer,
  TransientError,
  type ContextOf,
  type StateOf,
} from '@sagabox/sdk';

const id = { orderId: t.string };
const item = { sku: t.string, quantity: t.integer };
const ofOrder = { subject: 'orderId' } as const;
const lapsed = { customerId: t.string, ...id };

const reservation = processManager({
  /** The state of a process: one for each order. */
  state: { ...id, customerId: t.string, ...item, status: t.oneOf('reserved', 'paid') },
  stateVersion: 2,
  otherStates: { 1: { ...id, customerId: t.string, ...item, paid: t.boolean } },
  events: {
    OrderPlaced: starts({ ...id, customerId: t.string, ...item }, '/orderId'),
    OrderPaid: event(id, '/orderId', { absent: hold(minutes(10)) }),
    OrderShipped: event(id, '/orderId'),
  },
  commands: {
    ReserveStock: message({ ...id, ...item }, ofOrder),
    ReleaseStock: message({ ...id, ...item }, ofOrder),
    ShipOrder: message(id, ofOrder),
    RejectOrder: message({ ...id, reason: t.string }, ofOrder),
  },
  emits: { ReservationLapsed: message(lapsed, { subject: 'customerId' }) },
  timers: { deadline: timer() },
  /** While the stock is counted, the number is not reliable. */
  lookups: { stock: { available: t.integer, counting: t.boolean } },
  streams: { ReservationLapsed: lapsed },
});

type Order = StateOf<typeof reservation>;
type Context = ContextOf<typeof reservation>;

export default reservation.handlers({
  on: {
    OrderPlaced({ data }, ctx) {
      const { orderId, customerId, sku, quantity } = data;
      if (quantity === 0) throw new PermanentError(`order ${orderId} has no quantity`);
      const stock = ctx.lookup('stock', sku);
      if (stock?.counting) throw new TransientError(`the stock of ${sku} is being counted`);
      const order: Order = { ...data, status: 'reserved' };
      if ((stock?.available ?? 0) < quantity) {
        reject(order, 'sold out', ctx);
        return order;
      }
      ctx.send('ReserveStock', { orderId, sku, quantity });
      ctx.setTimer('deadline', timeToPay(customerId, ctx));
      return order;
    },

    OrderPaid(order, _, ctx) {
      order.status = 'paid';
      ctx.cancelTimer('deadline');
      ctx.send('ShipOrder', { orderId: order.orderId });
    },

    OrderShipped: (_order, _event, ctx) => ctx.complete(),
  },

  onTimer: {
    deadline(order, _, ctx) {
      const { customerId, orderId } = order;
      ctx.emit('ReservationLapsed', { customerId, orderId });
      release(order, ctx);
    },
  },

  onUndeliverable(order, { type, reason }, ctx) {
    if (type === 'ReserveStock') reject(order, reason, ctx);
  },

  onCancel: (order, _, ctx) => release(order, ctx),

  /** Version 1 had `paid` (true or false) in place of `status`. */
  migrate(state, from, to) {
    if (from === 1 && to === 2) {
      const { paid, ...order } = state;
      return { ...order, status: paid ? 'paid' : 'reserved' };
    }
    if (from === 2 && to === 1) {
      const { status, ...order } = state;
      return { ...order, paid: status === 'paid' };
    }
    throw new PermanentError(`no migration from version ${from} to ${to}`);
  },
});

/** A customer who let a reservation lapse before has an hour, others have a day. */
function timeToPay(customerId: string, ctx: Context) {
  const past = ctx.stream(customerId);
  return past.some(({ type }) => type === 'ReservationLapsed') ? hours(1) : hours(24);
}

function reject({ orderId }: Order, reason: string, ctx: Context): void {
  ctx.complete();
  ctx.send('RejectOrder', { orderId, reason });
}

function release({ orderId, sku, quantity }: Order, ctx: Context): void {
  ctx.complete();
  ctx.send('ReleaseStock', { orderId, sku, quantity });
}
