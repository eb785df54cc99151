import { bytes, event, message, PermanentError, reactor, t } from '@sagabox/sdk';

const id = { id: t.string };
const ofId = { subject: 'id' } as const;

const conformance = reactor({
  lookups: { stock: { available: t.bigint, substitute: t.string.optional() } },
  streams: true,
  events: {
    Check: event({ ...id, skus: t.array(t.string) }, '/id'),
    Substitute: event({ ...id, sku: t.string }, '/id'),
    History: event(id, '/id'),
    Announce: event({ ...id, text: t.string }, '/id'),
  },
  commands: {
    Reserve: message({ ...id, sku: t.string, available: t.bigint }, ofId),
  },
  emits: {
    OutOfStock: message({ ...id, sku: t.string }, ofId),
    Counted: message({ ...id, types: t.array(t.string), sum: t.integer }, ofId),
    Announced: message(bytes, { contentType: 'text/plain' }),
  },
});

export default conformance.handlers({
  on: {
    Check({ data: { id, skus } }, ctx) {
      const stocks = ctx.lookups('stock', skus);
      skus.forEach((sku, index) => {
        const stock = stocks[index];
        if (stock === undefined) ctx.emit('OutOfStock', { id, sku });
        else ctx.send('Reserve', { id, sku, available: stock.available });
      });
    },

    Substitute({ data: { id, sku: first } }, ctx) {
      let sku = first;
      for (;;) {
        const stock = ctx.lookup('stock', sku);
        if (stock === undefined) throw new PermanentError(`no stock of ${sku}`);
        if (stock.substitute === undefined)
          return ctx.send('Reserve', { id, sku, available: stock.available });
        sku = stock.substitute;
      }
    },

    History({ data: { id } }, ctx) {
      const events = ctx.stream(id);
      const added = events.filter(({ type }) => type === 'Added');
      const sum = added.reduce((total, { data }) => total + (data as { count: number }).count, 0);
      ctx.emit('Counted', { id, types: events.map(({ type }) => type), sum });
    },

    Announce({ data: { id, text } }, ctx) {
      ctx.emit('Announced', text, { subject: id, extensions: { language: 'en' } });
    },
  },
});
