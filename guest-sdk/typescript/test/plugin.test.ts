import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  bytes,
  days,
  event,
  hold,
  hours,
  message,
  PermanentError,
  processManager,
  reactor,
  saga,
  starts,
  startsOrHandles,
  t,
  timer,
  TransientError,
  type,
} from '../src/index.ts';
import { given } from '../src/testing.ts';
import { encode } from '../src/text.ts';

const id = { id: t.string };

test('a manifest says what the declaration says', () => {
  const plugin = processManager({
    name: 'orders',
    version: '1.2.3',
    description: 'Orders',
    state: { id: t.string, total: t.decimal, paid: t.boolean.optional(), items: t.array(t.string) },
    stateVersion: 3,
    config: { patience: t.duration.optional() },
    lookups: { stock: type<number>() },
    streams: { Added: id },
    events: {
      Placed: starts({ orderId: t.string }, '/orderId', { source: '/shop' }),
      Picked: startsOrHandles(id, 'subject', { source: { prefix: '/shop/' } }),
      Paid: event(id, { attribute: 'tenant' }, { absent: hold(hours(1)) }),
      Sent: event('/id', { absent: 'fail' }),
    },
    commands: { Pay: message(id), Ship: message() },
    emits: { Done: message(id) },
    timers: { deadline: timer() },
  }).handlers({
    on: {
      Placed: () => ({ id: '', total: undefined as never, items: [] }),
      Picked: () => undefined as never,
      Paid() {},
      Sent() {},
    },
    onTimer: { deadline() {} },
    onCancel() {},
  });
  const { schemas, configurationSchema, ...manifest } = plugin.manifest();
  const reserved = {
    source: { tag: 'any' },
    key: { tag: 'instance' },
    effect: 'handle',
    absent: { tag: 'ignore' },
  };
  assert.deepEqual(manifest, {
    name: 'orders',
    version: '1.2.3',
    description: 'Orders',
    subscriptions: [
      {
        type: 'Placed',
        source: { tag: 'exactly', val: '/shop' },
        key: { tag: 'pointer', val: '/orderId' },
        effect: 'start',
        absent: { tag: 'ignore' },
      },
      {
        type: 'Picked',
        source: { tag: 'prefix', val: '/shop/' },
        key: { tag: 'subject' },
        effect: 'start-or-handle',
        absent: { tag: 'ignore' },
      },
      {
        type: 'Paid',
        source: { tag: 'any' },
        key: { tag: 'attribute', val: 'tenant' },
        effect: 'handle',
        absent: { tag: 'hold', val: 3_600_000 },
      },
      {
        type: 'Sent',
        source: { tag: 'any' },
        key: { tag: 'pointer', val: '/id' },
        effect: 'handle',
        absent: { tag: 'fail' },
      },
      { type: 'sagabox.timer.fired', ...reserved },
      { type: 'sagabox.instance.cancelled', ...reserved },
    ],
    commands: ['Pay', 'Ship'],
    events: ['Done'],
    lookups: ['stock'],
    streams: true,
    stateVersion: 3,
    fields: [
      { name: 'id', pointer: '/id' },
      { name: 'total', pointer: '/total' },
      { name: 'paid', pointer: '/paid' },
    ],
    summary: 'id {id}, total {total}, paid {paid}',
  });
  assert.deepEqual(
    schemas.map(({ type }) => type),
    ['Placed', 'Picked', 'Paid', 'Pay', 'Done'],
  );
  assert.equal(JSON.parse(configurationSchema!).additionalProperties, false);
});

test('a declaration that a host would refuse is refused with what to do', () => {
  assert.throws(() => event('orderId' as never), /no JSON Pointer such as "\/orderId"/);
  assert.throws(() => event(id, '/a~2' as never), /no JSON Pointer/);
  const of = (definition: object) =>
    saga({ events: { A: event('/id') }, ...definition }).handlers({ on: { A() {} } });
  assert.throws(() => of({ name: 'Orders' }).manifest(), /name `Orders` is invalid/);
  assert.throws(
    () =>
      saga({ events: { 'sagabox.timer.fired': event('/id') } })
        .handlers({ on: { 'sagabox.timer.fired'() {} } })
        .manifest(),
    /use onTimer/,
  );
  assert.throws(
    () => saga({ events: { A: event('/id') } }).handlers({ on: {} as never }),
    /`A` is declared and has no handler in `on`/,
  );
  assert.throws(
    () => saga({ events: {} }).handlers({ on: { B() {} } as never }),
    /`on` has a handler for `B`, which is not declared/,
  );
  assert.throws(
    () => processManager({ state: type<{}>(), stateVersion: 0, events: {} }).handlers({ on: {} }),
    /versions count from 1/,
  );
});

const plain = (handler: (event: any, ctx: any) => any) =>
  saga({
    events: { A: event('/id') },
    commands: { B: message<object>(), C: message(id, { subject: 'id' }), Raw: message(bytes) },
    lookups: { stock: type<number>(), price: id },
  }).handlers({ on: { A: handler } });

test('what a handler does by mistake is a failure that says so', () => {
  const fails = (handler: (event: any, ctx: any) => any, reason: string | RegExp) =>
    given(plain(handler)).when('A', { id: 'a' }).fails(reason);
  fails(async () => {}, 'the handler of `A` is asynchronous');
  fails(() => ({ type: 'B' }), 'the handler of `A` returned an object');
  fails(
    (_, ctx) => ctx.send('X'),
    "`X` is not in the `commands` of the plugin's definition; it has B, C, Raw",
  );
  fails((_, ctx) => ctx.emit('X'), "`X` is not in the `emits` of the plugin's definition; it has none");
  fails(
    (_, ctx) => ctx.send('B', { a: NaN }),
    '`B` cannot be sent: its data does not fit: `/a` is NaN, which JSON cannot express',
  );
  fails((_, ctx) => ctx.send('C', { id: 'cut \ud83d' }), 'the subject of `C` has half of a surrogate pair');
  fails((_, ctx) => ctx.stream('s'), 'its definition has no `streams`');
  fails((_, ctx) => ctx.setTimer('t', 1), '`t` is not in the `timers`');
  fails(() => {
    throw new TypeError('boom');
  }, /^TypeError: boom/);
  fails(() => {
    throw 'a string';
  }, /^a string$/);
  fails(() => {
    throw { code: 7 };
  }, '{"code":7}');
  fails(() => {
    throw new PermanentError('refused');
  }, /^refused$/);
  given(
    plain(() => {
      throw new TransientError('later');
    }),
  )
    .when('A', { id: 'a' })
    .failsTransiently(/^later$/);
});

test('data that is no JSON fails when it is used, and bytes are there for all data', () => {
  const text = saga({
    events: { A: event('subject') },
    commands: { Raw: message(bytes, { contentType: 'text/plain' }) },
  }).handlers({
    on: { A: (event, ctx) => ctx.send('Raw', event.subject === 'bytes' ? event.bytes : String(event.data)) },
  });
  given(text)
    .whenRaw({ type: 'A', subject: 'data', data: '{' })
    .fails('the data of `A` does not fit: is no JSON');
  given(text)
    .whenRaw({ type: 'A', subject: 'bytes', data: '{', contentType: 'text/plain' })
    .sends({ type: 'Raw', contentType: 'text/plain', data: '{' });
  const typed = saga({ events: { A: event(id, '/id') } }).handlers({ on: { A() {} } });
  given(typed)
    .whenRaw({ type: 'A', data: '{"id":"a"}', contentType: 'text/plain' })
    .fails('its content type is text/plain, which is no JSON');
  given(typed)
    .whenRaw({ type: 'A', data: '{"id":"a"}', contentType: 'application/vnd.shop+json; charset=utf-8' })
    .sendsNothing();
});

test('questions leave the handler, also one that catches everything', () => {
  const swallowing = plain((_, ctx) => {
    let known = -1;
    try {
      known = ctx.lookup('stock', 'a');
    } catch {
      ctx.send('B', {});
    }
    ctx.send('B', { known });
  });
  given(swallowing)
    .answer('stock', 'a', 3)
    .when('A', { id: 'a' })
    .asks({ lookup: 'stock', key: 'a' })
    .sends({ type: 'B', data: { known: 3 } });
});

test('different questions are asked at once, and each one once', () => {
  const together = plain((_, ctx) => {
    const [a, again, none] = ctx.together((ask: any) => [
      ask.lookup('stock', 'a'),
      ask.lookups('stock', ['a', 'b']),
      ask.lookup('price', 7),
    ]);
    ctx.send('B', { a, again, none });
  });
  given(together)
    .answer('stock', 'a', 3)
    .when('A', { id: 'a' })
    .asks({ lookup: 'stock', key: 'a' }, { lookup: 'stock', key: 'b' }, { lookup: 'price', key: '7' })
    .sends({ type: 'B', data: { a: 3, again: [3, null] } });
});

test('an answer that does not fit names its lookup', () => {
  const answers = [
    {
      question: { tag: 'lookup', val: { name: 'price', key: '7' } },
      value: { tag: 'found', val: { contentType: 'application/json', data: encode('{"id":1}') } },
    },
  ] as const;
  const wit = {
    id: 'e',
    source: '/',
    type: 'A',
    subject: null,
    time: null,
    datacontenttype: 'application/json',
    dataschema: null,
    extensions: [],
    data: encode('{"id":"a"}'),
  };
  const asking = plain((_, ctx) => void ctx.lookup('price', 7));
  const call = () =>
    asking.handle(wit, undefined, {
      now: 0,
      attempt: 1,
      key: 'a',
      answers: [...answers],
      configuration: '{}',
      seed: [1, 2, 3, 4],
    });
  assert.throws(call, /the answer of lookup `price` does not fit: `\/id` is the number 1/);
});

test('a stream has the events of the types that the declaration names', () => {
  const streams = { Added: { n: t.integer } };
  const counter = reactor({
    events: { A: event(id, '/id') },
    emits: { Sum: message({ n: t.integer }) },
    streams,
  }).handlers({
    on: {
      A: ({ data }, ctx) =>
        ctx.emit('Sum', { n: ctx.stream(data.id).reduce((sum, { data }) => sum + data.n, 0) }),
    },
  });
  given(counter)
    .inStream('a', 'Added', { n: 2 })
    .inStream('a', 'Other' as 'Added')
    .inStream('a', 'Added', { n: 3 })
    .when('A', { id: 'a' })
    .emits({ type: 'Sum', data: { n: 5 } });
});

test('a configuration is checked, and what it does not know is refused', () => {
  const patient = saga({
    config: { patience: t.duration.default(days(2)), name: t.string.optional() },
    events: { A: event('/id') },
    commands: { B: message<object>() },
  }).handlers({
    on: {
      A: (_, ctx) => ctx.send('B', { patience: ctx.config.patience, isFrozen: Object.isFrozen(ctx.config) }),
    },
  });
  given(patient)
    .when('A', { id: 'a' })
    .sends({ type: 'B', data: { patience: days(2), isFrozen: true } });
  given(patient)
    .config({ patience: hours(1) })
    .when('A', { id: 'a' })
    .fails("the plugin's configuration does not fit: `/patience` is the number 3600000");
  given(patient)
    .config({ patience: '1h' })
    .when('A', { id: 'a' })
    .sends({ type: 'B', data: { patience: hours(1), isFrozen: true } });
  given(patient)
    .config({ patienc: '1h' })
    .when('A', { id: 'a' })
    .fails("the plugin's configuration has an unknown member `patienc`; known are patience, name");
});

test('what looks random is the same in every retry', () => {
  const lucky = plain((_, ctx) =>
    ctx.send('B', {
      own: ctx.random(),
      math: Math.random(),
      id: ctx.uuid(),
      now: Date.now(),
      date: new Date().toISOString(),
      host: ctx.now,
    }),
  );
  const sent = (now: string) => {
    const scenario = given(lucky).now(now).when('A', { id: 'a' });
    return JSON.stringify(
      (scenario as any).outcome.decision.commands.map((command: any) => Buffer.from(command.data).toString()),
    );
  };
  assert.equal(sent('2026-03-01T12:00:00Z'), sent('2026-03-01T12:00:00Z'));
  const { id, own, math, now, date, host } = JSON.parse(JSON.parse(sent('2026-03-01T12:00:00Z'))[0]);
  assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(own >= 0 && own < 1 && own !== math);
  assert.deepEqual(
    [now, date, host],
    [Date.parse('2026-03-01T12:00:00Z'), '2026-03-01T12:00:00.000Z', '2026-03-01T12:00:00Z'],
  );
  assert.ok(Date.now() > now && Math.random() !== own);
});
