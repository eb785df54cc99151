import { enricher, event, message, t } from '@sagabox/sdk';

const id = { id: t.string };

const conformance = enricher({
  lookups: { customers: { name: t.string } },
  streams: { ItemAdded: { sku: t.string } },
  events: {
    Confirmed: event({ ...id, customer: t.string }, '/id'),
    Hidden: event(id, '/id'),
  },
  emits: {
    Published: message({ ...id, name: t.string.optional(), items: t.array(t.string) }, { subject: 'id' }),
  },
});

export default conformance.handlers({
  on: {
    Confirmed({ data: { id, customer } }, ctx) {
      const [events, known] = ctx.together(
        (ask) => [ask.stream(id), ask.lookup('customers', customer)] as const,
      );
      ctx.emit('Published', { id, name: known?.name, items: events.map(({ data }) => data.sku) });
    },

    Hidden() {},
  },
});
