import {
  bytes,
  event,
  hours,
  message,
  minutes,
  PermanentError,
  saga,
  t,
  TransientError,
  type ContextOf,
  type EventOf,
} from '@sagabox/sdk';

const echo = {
  id: t.string,
  text: t.string,
  count: t.bigint,
  weight: t.number,
  price: t.decimal,
  at: t.timestamp,
  wait: t.duration.optional(),
  note: t.string.optional(),
  any: t.json.optional(),
};
const id = { id: t.string };
const ofId = { subject: 'id' } as const;

const conformance = saga({
  config: {
    greeting: t.string.default('hello'),
    limit: t.bigint.optional(),
    patience: t.duration.default(hours(1)),
  },
  events: {
    Echo: event(echo, '/id'),
    Pass: event(bytes, 'subject'),
    Tell: event(bytes, { attribute: 'id' }),
    KeyedBySubject: event(bytes, 'subject'),
    KeyedByTenant: event(bytes, { attribute: 'tenant' }),
    KeyedBySource: event(bytes, { attribute: 'source' }),
    KeyedByPointer: event(bytes, '/orders'),
    FromShop: event(id, '/id', { source: '/shop' }),
    FromShops: event(id, '/id', { source: { prefix: '/shops/' } }),
    First: event(id, '/id'),
    Second: event({ ...id, count: t.bigint }, '/id'),
    Greet: event(id, '/id'),
    Count: event({ ...id, to: t.integer }, '/id'),
    Seed: event(id, '/id'),
    When: event(id, '/id'),
    Log: event(id, '/id'),
    Fail: event({ ...id, how: t.string }, '/id'),
  },
  commands: {
    Echoed: message(echo, ofId),
    Passed: message(bytes),
    Told: message({
      id: t.string,
      source: t.string,
      type: t.string,
      subject: t.string.optional(),
      time: t.string.optional(),
      contentType: t.string,
      dataSchema: t.string.optional(),
      extensions: t.record(t.string),
      key: t.string,
      attempt: t.integer,
      now: t.timestamp,
    }),
    Keyed: message({ type: t.string, key: t.string }),
    Greeted: message({ ...id, greeting: t.string, limit: t.bigint.optional(), patience: t.duration }, ofId),
    Numbered: message({ number: t.integer }),
    Seeded: message({ seed: t.string }),
    Timed: message({ now: t.timestamp, event: t.timestamp.optional() }),
    Weighed: message({ weights: t.array(t.number) }),
  },
});

type Context = ContextOf<typeof conformance>;
type Keyed = EventOf<
  typeof conformance,
  | 'KeyedBySubject'
  | 'KeyedByTenant'
  | 'KeyedBySource'
  | 'KeyedByPointer'
  | 'FromShop'
  | 'FromShops'
  | 'First'
  | 'Second'
>;

export default conformance.handlers({
  on: {
    Echo({ data }, ctx) {
      ctx.send('Echoed', {
        ...data,
        text: `${data.text}!`,
        count: data.count + 1n,
        price: data.price.plus('0.10'),
        at: data.at.plus(hours(24)),
        ...(data.wait !== undefined && { wait: data.wait + minutes(1) }),
      });
    },

    Pass({ data, subject, contentType, extensions }, ctx) {
      ctx.send('Passed', data, {
        contentType,
        extensions: { ...extensions, passed: 'yes' },
        ...(subject !== undefined && { subject }),
      });
    },

    Tell(event, ctx) {
      const { source, type, subject, time, contentType, dataSchema, extensions } = event;
      ctx.send('Told', {
        id: event.id,
        source,
        type,
        subject,
        time,
        contentType,
        dataSchema,
        extensions,
        key: ctx.key,
        attempt: ctx.attempt,
        now: ctx.now,
      });
    },

    KeyedBySubject: keyed,
    KeyedByTenant: keyed,
    KeyedBySource: keyed,
    KeyedByPointer: keyed,
    FromShop: keyed,
    FromShops: keyed,
    First: keyed,
    Second: keyed,

    Greet({ data }, ctx) {
      ctx.send('Greeted', { id: data.id, ...ctx.config });
    },

    Count({ data }, ctx) {
      for (let number = 1; number <= data.to; number += 1) ctx.send('Numbered', { number });
    },

    Seed(_, ctx) {
      ctx.send('Seeded', { seed: ctx.seed.toString(16).padStart(32, '0') });
    },

    When({ timestamp }, ctx) {
      ctx.send('Timed', { now: ctx.now, event: timestamp });
    },

    Log({ data }) {
      console.trace(`trace ${data.id}`);
      console.debug(`debug ${data.id}`);
      console.info(`info ${data.id}`);
      console.warn(`warn ${data.id}`);
      console.error(`error ${data.id}`);
      console.log(`printed ${data.id}`);
    },

    Fail({ data: { id, how } }, ctx) {
      switch (how) {
        case 'permanent':
          throw new PermanentError(`refused ${id}`);
        case 'transient':
          if (ctx.attempt === 1) throw new TransientError(`later ${id}`);
          return ctx.send('Numbered', { number: ctx.attempt });
        case 'returned':
          throw new Refusal(`returned ${id}`);
        case 'thrown':
          console.log(`before ${id}`);
          return broken(id);
        case 'after':
          ctx.send('Numbered', { number: 1 });
          throw new PermanentError(`after ${id}`);
        case 'nan':
          return ctx.send('Weighed', { weights: [1, NaN] });
      }
    },
  },
});

/** An error of the author's own type. */
class Refusal extends Error {}

function keyed({ type }: Keyed, ctx: Context): void {
  ctx.send('Keyed', { type, key: ctx.key });
}

function broken(id: string): void {
  throw new Error(`thrown ${id}`);
}
