import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  event,
  hold,
  hours,
  message,
  minutes,
  PermanentError,
  processManager,
  starts,
  startsOrHandles,
  t,
  timer,
  Timestamp,
} from '../src/index.ts';
import { given } from '../src/testing.ts';
import { decode, encode } from '../src/text.ts';

const id = { id: t.string };

const orders = processManager({
  state: { ...id, count: t.bigint, names: t.array(t.string) },
  stateVersion: 2,
  otherStates: { 1: { ...id, total: t.bigint } },
  lookups: { customers: { name: t.string } },
  events: {
    Placed: starts(id, '/id'),
    Picked: startsOrHandles({ ...id, serial: t.bigint }, '/id'),
    Paid: event(id, '/id', { absent: hold(minutes(10)) }),
    Named: event(id, '/id'),
    Closed: event(id, '/id', { absent: 'fail' }),
  },
  commands: {
    Ship: message({ ...id, serial: t.bigint }, { subject: 'id' }),
    Remind: message({ times: t.integer }),
  },
  emits: { Done: message(id, { subject: 'id' }) },
  timers: { reminder: timer({ times: t.integer }), deadline: timer() },
}).handlers({
  on: {
    Placed({ data: { id } }, ctx) {
      ctx.setTimer('reminder', hours(1), { times: 1 });
      ctx.setTimer('deadline', ctx.now.plus(hours(5)));
      ctx.claim(`item-${id}`);
      return { id, count: 0n, names: [] };
    },
    Picked: (state, { data: { id, serial } }) => ({
      id,
      names: [],
      ...state,
      count: (state?.count ?? 0n) + serial,
    }),
    Paid(state) {
      state.count += 1n;
    },
    Named(state, { data }, ctx) {
      state.count += 1n;
      state.names.push(ctx.lookup('customers', data.id)?.name ?? 'unknown');
      if (state.names.length > 1) throw new PermanentError('too many names');
    },
    Closed({ id, count }, _, ctx) {
      ctx.complete();
      ctx.release(`item-${id}`);
      ctx.cancelTimer('reminder');
      ctx.send('Ship', { id, serial: count });
      ctx.emit('Done', { id });
    },
  },
  onTimer: {
    reminder(_, { times }, ctx) {
      ctx.send('Remind', { times });
      ctx.setTimer('reminder', hours(1), { times: times + 1 });
    },
    deadline: (_state, _data, ctx) => ctx.complete(),
  },
  onUndeliverable(state, undeliverable, ctx) {
    if (undeliverable.type === 'Ship')
      return {
        ...state,
        count: undeliverable.data.serial,
        names: [`${undeliverable.reason} ${undeliverable.attempts}`],
      };
    ctx.complete();
    return undefined;
  },
  onCancel: (state, { by, reason }) => ({ ...state, names: [by, reason] }),
  migrate(state, from, to) {
    if (from === 1 && to === 2) return { id: state.id, count: state.total, names: [] };
    if (from === 2 && to === 1) return { id: state.id, total: state.count };
    throw new PermanentError(`the versions ${from} and ${to} are not known`);
  },
});

test('an instance starts, goes on and completes', () => {
  given(orders)
    .now('2026-03-01T12:00:00Z')
    .when('Placed', { id: 'o' })
    .stateIs({ id: 'o', count: 0n, names: [] })
    .setsTimer('reminder', hours(1), { times: 1 })
    .claims('item-o')
    .sendsNothing()
    .goesOn()
    .when('Placed', { id: 'o' })
    .isIgnored('started already')
    .event('Paid', { id: 'o' })
    .whenTimePasses(minutes(150))
    .sends({ type: 'Remind', data: { times: 1 } }, { type: 'Remind', data: { times: 2 } })
    .when('Closed', { id: 'o' })
    .sends({ type: 'Ship', subject: 'o', data: { id: 'o', serial: 1n } })
    .emits({ type: 'Done', subject: 'o' })
    .releases('item-o')
    .cancelsTimer('reminder')
    .completes()
    .when('Paid', { id: 'o' })
    .isIgnored('complete')
    .whenTimePasses(hours(100))
    .sendsNothing();
});

test('a timer fires when it is due, and not before', () => {
  given(orders).event('Placed', { id: 'o' }).whenTimer('deadline').completes();
  given(orders)
    .event('Placed', { id: 'o' })
    .wait(minutes(59))
    .whenTimePasses(minutes(1))
    .sends({ type: 'Remind' });
  given(orders)
    .event('Placed', { id: 'o' })
    .whenRaw({ type: 'sagabox.timer.fired', subject: 'older', data: '' })
    .fails('no handler for the timer `older`');
});

test('without an instance an event is held, ignored or fails', () => {
  given(orders).when('Paid', { id: 'o' }).isIgnored('held');
  given(orders).when('Named', { id: 'o' }).isIgnored('there is no instance');
  given(orders).when('Closed', { id: 'o' }).isIgnored('dead letter');
});

test('start-or-handle does either, and keeps integers beyond 2^53', () => {
  given(orders)
    .when('Picked', { id: 'o', serial: 9007199254740992n })
    .stateIs({ id: 'o', count: 9007199254740992n, names: [] })
    .when('Picked', { id: 'o', serial: 1n })
    .stateIs({ id: 'o', count: 9007199254740993n, names: [] });
});

test('what a handler changed before its question, or before it failed, has no effect', () => {
  given(orders)
    .answer('customers', 'o', { name: 'Ada' })
    .event('Placed', { id: 'o' })
    .when('Named', { id: 'o' })
    .stateIs({ id: 'o', count: 1n, names: ['Ada'] })
    .when('Named', { id: 'o' })
    .fails('too many names')
    .event('Paid', { id: 'o' })
    .when('Paid', { id: 'o' })
    .stateIs({ id: 'o', count: 3n, names: ['Ada'] });
});

test('an undeliverable command and a cancellation reach the instance', () => {
  given(orders)
    .event('Placed', { id: 'o' })
    .whenUndeliverable('Ship', { id: 'o', serial: 9007199254740993n }, 'gone', 3)
    .stateIs({ id: 'o', count: 9007199254740993n, names: ['gone 3'] })
    .whenCancelled('ada', 'a test')
    .stateIs({ id: 'o', count: 9007199254740993n, names: ['ada', 'a test'] })
    .whenUndeliverable('Remind', { times: 1 })
    .completes();
});

test('a state is migrated in both directions, and one of its own version is read and written again', () => {
  const migrated = (version: number, text: string, to: number) =>
    decode(orders.migrate({ version, data: encode(text) }, to));
  assert.equal(
    migrated(1, '{"id":"o","total":9007199254740993}', 2),
    '{"id":"o","count":9007199254740993,"names":[]}',
  );
  assert.equal(
    migrated(2, '{"id":"o","count":9007199254740993,"names":["a"]}', 1),
    '{"id":"o","total":9007199254740993}',
  );
  assert.equal(migrated(2, '{"names":[],"count":1,"id":"o"}', 2), '{"id":"o","count":1,"names":[]}');
  assert.throws(
    () => migrated(2, '{"id":"o","total":1,"names":[]}', 2),
    /the stored state does not fit: `\/count` is missing/,
  );
  assert.throws(
    () => migrated(2, '{"id":"o","count":1,"names":[],"colour":"red"}', 2),
    /`\/colour` would be dropped/,
  );
  assert.throws(
    () => migrated(1, '{"id":"o"}', 2),
    /the stored state of version 1 does not fit: `\/total` is missing/,
  );
  assert.throws(
    () => migrated(2, '{"id":"o","count":1,"names":[]}', 7),
    /the versions 2 and 7 are not known/,
  );
  given(orders)
    .state({ id: 'o', total: 3 }, 1)
    .when('Paid', { id: 'o' })
    .stateIs({ id: 'o', count: 4n, names: [] });
  const without = processManager({ state: id, events: { A: starts(id, '/id') } }).handlers({
    on: { A: ({ data }) => data },
  });
  assert.throws(
    () => without.migrate({ version: 2, data: encode('{}') }, 1),
    /no migration from version 2 to 1/,
  );
});

test('a handler that starts an instance must return its state', () => {
  const empty = processManager({ state: id, events: { A: starts(id, '/id') } }).handlers({
    on: { A: () => undefined as never },
  });
  given(empty).when('A', { id: 'a' }).fails('the handler of `A` starts an instance, and returned no state');
});

test('a timer is never early, and never due before 1970', () => {
  const due = (at: number | Timestamp | Date) =>
    given(
      processManager({
        state: id,
        events: { A: starts(id, '/id') },
        timers: { deadline: timer() },
      }).handlers({
        on: {
          A: ({ data }, ctx) => {
            ctx.setTimer('deadline', at);
            return data;
          },
        },
        onTimer: { deadline: () => {} },
      }),
    ).when('A', { id: 'a' });
  const refused = 'the timer `deadline` cannot be set: ';
  due(-1).fails(refused);
  due(NaN).fails(refused);
  due('1h' as any).fails('the timer `deadline` cannot be set: 1h is no time after 1970, and no duration');
  due(new Date(-1)).fails(refused);
  due(Timestamp.parse('1969-12-31T23:59:59.9999Z')).fails(refused);
  due(1.001).setsTimer('deadline', 2).setsTimer('deadline', 1.001);
  const at = Timestamp.parse('2026-03-01T12:00:00.000001Z');
  due(at).setsTimer('deadline', at).setsTimer('deadline', Timestamp.parse('2026-03-01T12:00:00.001Z'));
});

test('timers without a handler can be ignored', () => {
  const ignoring = processManager({
    state: id,
    unhandled: 'ignore',
    events: { A: starts(id, '/id') },
  }).handlers({ on: { A: ({ data }) => data } });
  given(ignoring)
    .event('A', { id: 'a' })
    .whenRaw({ type: 'sagabox.timer.fired', subject: 'older' })
    .sendsNothing()
    .goesOn();
});

test('the harness says what is otherwise than expected', () => {
  const started = () => given(orders).event('Placed', { id: 'o' });
  const refused = (action: () => unknown, expected: RegExp) =>
    assert.throws(action, (error: Error) => expected.test(error.message) || assert.fail(error.message));
  refused(
    () => started().when('Closed', { id: 'o' }).sendsNothing(),
    /after `Closed`, nothing should be sent/,
  );
  refused(
    () => started().when('Closed', { id: 'o' }).sends(),
    /after `Closed`, the plugin sends something else/,
  );
  refused(
    () =>
      started()
        .when('Closed', { id: 'o' })
        .sends({ type: 'Ship', data: { id: 'o', serial: 7n } }),
    /sends something else/,
  );
  refused(
    () => started().when('Closed', { id: 'o' }).sends({ type: 'Ship', subject: 'x' }),
    /sends something else/,
  );
  refused(() => started().when('Closed', { id: 'o' }).emits(), /emits something else/);
  refused(() => started().when('Closed', { id: 'o' }).goesOn(), /the process is complete/);
  refused(() => started().completes(), /the process is not complete/);
  refused(() => started().setsTimer('deadline', hours(1)), /another timer is set/);
  refused(() => started().cancelsTimer('deadline'), /is not cancelled/);
  refused(() => started().setsNoTimer(), /no timer should change/);
  refused(() => started().claims('item-x'), /other keys are claimed/);
  refused(() => started().releases('item-o'), /other keys are released/);
  refused(() => started().stateIs({ id: 'o', count: 1n, names: [] }), /the state is another/);
  refused(() => started().fails('x'), /the handler decided; expected the failure x/);
  refused(() => started().isIgnored(), /the host calls the plugin/);
  refused(() => started().asks({ stream: 'o' }), /other questions are asked/);
  refused(() => given(orders).event('Paid', { id: 'o' }), /the host ignores `Paid`: there is no instance/);
  refused(() => given(orders).sendsNothing(), /nothing has happened yet/);
  refused(
    () => started().event('Named', { id: 'o' }).event('Named', { id: 'o' }),
    /the handler of `Named` failed: too many names/,
  );
  refused(() => given(orders).when('Placed', {} as never), /`\/id` is missing/);
});
