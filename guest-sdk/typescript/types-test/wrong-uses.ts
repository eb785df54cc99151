/** Each line that the compiler must refuse. A line that it accepts fails this test as well. */
import * as v from 'valibot';
import { z } from 'zod';

import {
  bytes, checked, days, Decimal, event, hold, hours, message, processManager, reactor, saga, starts, startsOrHandles, t, timer, Timestamp, type, type ContextOf, type EventOf, type StateOf,
} from '@sagabox/sdk';
import { given } from '@sagabox/sdk/testing';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Equal<A, B>): void => {};

interface OrderPlaced {
  orderId: string;
  total: number;
}

const orders = processManager({
  state: { orderId: t.string, total: t.decimal, paid: t.boolean.optional() },
  config: { patience: t.duration.default(days(1)), currency: t.oneOf('EUR', 'CHF').optional() },
  lookups: { stock: { available: t.integer } },
  streams: { Added: { sku: t.string }, Removed: { sku: t.string, why: t.string } },
  events: {
    Placed: starts({ orderId: t.string, total: t.decimal, at: t.timestamp }, '/orderId'),
    Paid: event<OrderPlaced>('/orderId', { absent: hold(hours(1)) }),
    Sent: startsOrHandles(z.object({ orderId: z.string(), parcels: z.number().default(1) }), '/orderId'),
    Lost: event(checked(z.object({ orderId: z.string(), parcels: z.number().default(1) })), '/orderId'),
    Seen: event(v.object({ orderId: v.string() }), 'subject'),
    Raw: event(bytes, { attribute: 'tenant' }),
  },
  commands: {
    Ship: message({ orderId: t.string, total: t.decimal }, { subject: 'orderId' }),
    Cancel: message<{ orderId: string; reason?: string }>({ subject: ({ orderId }) => orderId }),
    Ping: message(),
  },
  emits: { Done: message(type<{ orderId: string }>(), { subject: 'orderId' }) },
  timers: { deadline: timer(), reminder: timer<{ times: number }>(), later: timer({ at: t.timestamp }) },
});

type Ctx = ContextOf<typeof orders>;
type Order = StateOf<typeof orders>;
same<Order, { orderId: string; total: Decimal; paid?: boolean | undefined }>(true);
same<EventOf<typeof orders, 'Placed'>['data'], { orderId: string; total: Decimal; at: Timestamp }>(true);
same<EventOf<typeof orders, 'Sent'>['data'], { orderId: string; parcels?: number | undefined }>(true);
same<EventOf<typeof orders, 'Lost'>['data'], { orderId: string; parcels: number }>(true);
same<EventOf<typeof orders, 'Raw'>['data'], Uint8Array>(true);

function narrows(some: EventOf<typeof orders, 'Placed' | 'Paid'>): string {
  if (some.type === 'Paid') same<typeof some.data, OrderPlaced>(true);
  else same<typeof some.data.at, Timestamp>(true);
  // @ts-expect-error An event of another type is none of the two.
  return some.type === 'Lost' ? '' : some.data.orderId;
}

export const plugin = orders.handlers({
  on: {
    Placed({ data }, ctx) {
      same<typeof ctx, Ctx>(true);
      ctx.setTimer('deadline', ctx.config.patience);
      ctx.setTimer('reminder', ctx.now.plus(hours(1)), { times: 1 });
      ctx.setTimer('later', new Date(), { at: new Date() });
      same<typeof ctx.config.currency, 'EUR' | 'CHF' | undefined>(true);
      // @ts-expect-error A timer that is mistyped.
      ctx.setTimer('deadlin', hours(1));
      // @ts-expect-error A timer without its data.
      ctx.setTimer('reminder', hours(1));
      // @ts-expect-error A timer with other data.
      ctx.setTimer('reminder', hours(1), { time: 1 });
      // @ts-expect-error A timer that has no data.
      ctx.setTimer('deadline', hours(1), { times: 1 });
      // @ts-expect-error A duration is a number or a moment.
      ctx.setTimer('deadline', '1h');
      // @ts-expect-error A timer that is mistyped.
      ctx.cancelTimer('reminders');
      // @ts-expect-error A member that the configuration does not have.
      ctx.config.patienc;
      // @ts-expect-error A member that the event does not have.
      data.orderID;
      // @ts-expect-error A Decimal is no number.
      data.total + 1;
      return { orderId: data.orderId, total: data.total };
    },
    Paid(state, { data, type }, ctx) {
      same<typeof state, Order>(true);
      same<typeof type, 'Paid'>(true);
      ctx.send('Ship', { orderId: data.orderId, total: Decimal.of(data.total) });
      ctx.send('Cancel', { orderId: data.orderId }, { subject: 'x', extensions: { tenant: 'acme' } });
      ctx.send('Ping');
      ctx.emit('Done', { orderId: 'o' });
      // @ts-expect-error A command that is not declared.
      ctx.send('Shipp', { orderId: 'o', total: Decimal.ZERO });
      // @ts-expect-error An event is emitted, not sent.
      ctx.send('Done', { orderId: 'o' });
      // @ts-expect-error A command without a member.
      ctx.send('Ship', { orderId: 'o' });
      // @ts-expect-error A member that the command does not have.
      ctx.send('Ship', { orderId: 'o', total: Decimal.ZERO, extra: 1 });
      // @ts-expect-error A member of another type.
      ctx.send('Ship', { orderId: 1, total: Decimal.ZERO });
      // @ts-expect-error A command without its data.
      ctx.send('Ship');
      // @ts-expect-error A command that has no data.
      ctx.send('Ping', {});
      // @ts-expect-error An event that is not declared.
      ctx.emit('Gone', {});
    },
    Sent(state, { data }, ctx) {
      const stock = ctx.lookup('stock', data.orderId);
      same<typeof stock, { available: number } | undefined>(true);
      // @ts-expect-error A lookup that is not declared.
      ctx.lookup('stocks', 'a');
      for (const past of ctx.stream('s')) {
        same<typeof past.type, 'Added' | 'Removed'>(true);
        if (past.type === 'Removed') same<typeof past.data, { sku: string; why: string }>(true);
      }
      const [one, other] = ctx.together((ask) => [ask.lookups('stock', ['a']), ask.stream('s')] as const);
      same<typeof one, ({ available: number } | undefined)[]>(true);
      same<(typeof other)[0]['type'], 'Added' | 'Removed'>(true);
      // @ts-expect-error The instance may not exist yet.
      state.orderId;
      return state ?? { orderId: data.orderId, total: Decimal.ZERO };
    },
    Lost() {},
    Seen: (state) => ({ ...state, paid: true }),
    Raw: (_, { data }) => void data.length,
  },
  onTimer: {
    deadline: (state, _, ctx) => conclude(state, ctx),
    reminder(_, { times }) {
      same<typeof times, number>(true);
    },
    later(_, { at }) {
      same<typeof at, Timestamp>(true);
    },
  },
  onUndeliverable(_, undeliverable) {
    if (undeliverable.type === 'Ship') same<typeof undeliverable.data, { orderId: string; total: Decimal }>(true);
    // @ts-expect-error A command that is not declared.
    undeliverable.type === 'Shipp';
  },
});

function conclude(state: Order, ctx: Ctx): void {
  ctx.complete();
  ctx.send('Ship', state);
}

void narrows;

// ---- declarations

// @ts-expect-error The key leads to no member.
event<OrderPlaced>('/orderID');
// @ts-expect-error The key leads to no member.
event({ orderId: t.string }, '/order');
// @ts-expect-error A key is a pointer, the subject or an attribute.
event<OrderPlaced>('orderId');
// @ts-expect-error What starts an instance needs none.
starts<OrderPlaced>('/orderId', { absent: 'fail' });
// @ts-expect-error There is no such member for the subject.
message({ orderId: t.string }, { subject: 'order' });
// @ts-expect-error A subject is a text or an integer.
message<{ orderId: string; lines: string[] }>({ subject: 'lines' });
// @ts-expect-error A default of another type.
t.string.default(1);

const small = saga({ events: { A: event<{ id: string }>('/id'), B: event('/id') }, commands: { C: message<{ id: string }>() } });

// @ts-expect-error An event without a handler.
small.handlers({ on: { A() {} } });
// @ts-expect-error A handler for an event that is not declared.
small.handlers({ on: { A() {}, B() {}, D() {} } });
// @ts-expect-error An asynchronous handler.
small.handlers({ on: { A: async () => {}, B() {} } });
// @ts-expect-error A handler that returns something.
small.handlers({ on: { A: () => 1, B() {} } });
// @ts-expect-error A saga has no instances.
small.handlers({ on: { A: (_, ctx) => ctx.complete(), B() {} } });
// @ts-expect-error A saga emits nothing.
small.handlers({ on: { A: (_, ctx) => ctx.emit('C', { id: '' }), B() {} } });
// @ts-expect-error What is not described is not known.
small.handlers({ on: { A() {}, B: ({ data }) => void data.id } });
// @ts-expect-error A saga has no state.
saga({ events: {}, state: {} });
// @ts-expect-error A reactor sends commands and emits events.
reactor({ events: {}, sends: {} });

const two = processManager({ state: { id: t.string }, events: { A: starts({ id: t.string }, '/id') }, timers: { deadline: timer() } });
// @ts-expect-error A timer without a handler.
two.handlers({ on: { A: ({ data }) => data } });
// @ts-expect-error A handler for a timer that is not declared.
two.handlers({ on: { A: ({ data }) => data }, onTimer: { deadline() {}, reminder() {} } });
// @ts-expect-error What starts an instance returns its state.
two.handlers({ on: { A() {} }, onTimer: { deadline() {} } });
// @ts-expect-error A state without a member.
two.handlers({ on: { A: () => ({}) }, onTimer: { deadline() {} } });
// @ts-expect-error An asynchronous handler of a timer.
two.handlers({ on: { A: ({ data }) => data }, onTimer: { deadline: async () => {} } });

// ---- tests

given(plugin)
  .when('Placed', { orderId: 'o', total: Decimal.ZERO, at: new Date() })
  .sends({ type: 'Ship', data: { orderId: 'o', total: Decimal.ZERO } }, { type: 'Ping' })
  .setsTimer('reminder', days(1), { times: 1 })
  .stateIs({ orderId: 'o', total: Decimal.ZERO });
// @ts-expect-error An event that is not declared.
given(plugin).when('Place', { orderId: 'o' });
// @ts-expect-error An event with other data.
given(plugin).when('Paid', { orderId: 'o' });
// @ts-expect-error A command that is not declared.
given(plugin).when('Raw', new Uint8Array(0)).sends({ type: 'Shipp' });
// @ts-expect-error A command with other data.
given(plugin).when('Raw', new Uint8Array(0)).sends({ type: 'Ship', data: { orderId: 1 } });
// @ts-expect-error A timer that is not declared.
given(plugin).whenTimer('deadlin');
// @ts-expect-error Another state.
given(plugin).when('Raw', new Uint8Array(0)).stateIs({ orderId: 'o' });
// @ts-expect-error An answer of another type.
given(plugin).answer('stock', 'a', { available: 'many' });
