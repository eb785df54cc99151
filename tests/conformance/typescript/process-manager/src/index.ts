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
  TransientError,
} from '@sagabox/sdk';

const id = { id: t.string };
const ofId = { subject: 'id' } as const;
const keys = { ...id, keys: t.array(t.string) };

const conformance = processManager({
  state: { ...id, count: t.bigint, notes: t.array(t.string), last: t.timestamp.optional() },
  stateVersion: 2,
  otherStates: { 1: { ...id, total: t.bigint } },
  fields: { id: '/id', count: '/count' },
  summary: 'process {id}: {count}',
  lookups: { customers: { name: t.string } },
  events: {
    Started: starts({ ...id, notes: t.array(t.string).default([]) }, '/id'),
    Added: startsOrHandles({ ...id, note: t.string }, '/id'),
    Linked: event(keys, '/id', { absent: 'fail' }),
    Unlinked: event(keys, '/id'),
    Touched: event({ key: t.string }, '/key', { absent: hold(minutes(10)) }),
    Paused: event(id, '/id'),
    Asked: event(id, '/id'),
    Broken: event({ ...id, how: t.string }, '/id'),
    Closed: event(id, '/id'),
  },
  commands: {
    Welcome: message(id, ofId),
    Remind: message({ ...id, times: t.integer }, ofId),
    Goodbye: message({ ...id, count: t.bigint }, ofId),
    Apologize: message({ ...id, reason: t.string, attempts: t.integer }, ofId),
  },
  emits: { ProcessClosed: message(id, ofId) },
  timers: { reminder: timer({ times: t.integer }), deadline: timer() },
});

export default conformance.handlers({
  on: {
    Started({ data: { id, notes } }, ctx) {
      ctx.send('Welcome', { id });
      ctx.setTimer('reminder', hours(1), { times: 1 });
      ctx.setTimer('deadline', ctx.now.plus(hours(24)));
      return { id, count: 0n, notes };
    },

    Added(state, { data: { id, note } }, ctx) {
      const { count, notes } = state ?? { count: 0n, notes: [] };
      return { id, count: count + 1n, notes: [...notes, note], last: ctx.now };
    },

    Linked(_, { data }, ctx) {
      for (const key of data.keys) ctx.claim(key);
    },

    Unlinked(_, { data }, ctx) {
      for (const key of data.keys) ctx.release(key);
    },

    Touched(state) {
      state.count += 1n;
    },

    Paused(_state, _event, ctx) {
      ctx.cancelTimer('reminder');
    },

    Asked(state, { data }, ctx) {
      state.count += 1n;
      state.notes.push(ctx.lookup('customers', data.id)?.name ?? 'unknown');
    },

    Broken(state, { data: { id, how } }, ctx) {
      state.count += 1n;
      ctx.send('Welcome', { id });
      if (how === 'permanent') throw new PermanentError(`broken ${id}`);
      if (how === 'transient') throw new TransientError(`broken ${id}`);
      throw new Error(`broken ${id}`);
    },

    Closed({ id, count }, _, ctx) {
      ctx.complete();
      ctx.send('Goodbye', { id, count });
      ctx.emit('ProcessClosed', { id });
    },
  },

  onTimer: {
    reminder({ id }, { times }, ctx) {
      ctx.send('Remind', { id, times });
      ctx.setTimer('reminder', hours(1), { times: times + 1 });
    },

    deadline({ id, count }, _, ctx) {
      ctx.complete();
      ctx.send('Goodbye', { id, count });
    },
  },

  onUndeliverable({ id }, { type, reason, attempts }, ctx) {
    if (type !== 'Welcome') return;
    ctx.complete();
    ctx.send('Apologize', { id, reason, attempts });
  },

  onCancel({ id }, { by, reason }, ctx) {
    ctx.complete();
    ctx.send('Apologize', { id, reason: `${by}: ${reason}`, attempts: 0 });
  },

  migrate(state, from, to) {
    if (from === 1 && to === 2) {
      if (state.total < 0n) throw new Error(`negative ${state.total}`);
      return { id: state.id, count: state.total, notes: [] };
    }
    if (from === 2 && to === 1) return { id: state.id, total: state.count };
    throw new PermanentError(`the versions ${from} and ${to} are not known`);
  },
});
