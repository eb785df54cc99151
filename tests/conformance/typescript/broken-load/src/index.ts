import { event, message, saga, t } from '@sagabox/sdk';

const broken = saga({
  events: { Opened: event({ id: t.string }, '/id') },
  commands: { Noted: message({ id: t.string }) },
});

export default broken.handlers({
  on: { Opened: ({ data }, ctx) => ctx.send('Noted', { id: data.id }) },
});

load();

function load(): void {
  throw new Error('broken while it loads');
}
