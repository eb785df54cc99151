/**
 * Order fulfilment: one process per order of a real event log, in which most events do not name the
 * order. The process claims its items, and later the packages that they travel in, as additional keys.
 *
 * The events of an order may come in any order: what comes before its order is placed is held until then.
 */
import {
  event,
  hold,
  message,
  minutes,
  processManager,
  starts,
  t,
  type ContextOf,
  type StateOf,
} from '@sagabox/sdk';

/** An event of the log; each names some objects. */
const objects = {
  orders: t.array(t.string).default([]),
  items: t.array(t.string).default([]),
  packages: t.array(t.string).default([]),
};
const held = { absent: hold(minutes(10)) };

const fulfilment = processManager({
  state: {
    orderId: t.string,
    confirmed: t.boolean,
    paid: t.boolean,
    reminders: t.integer,
    failedDeliveries: t.integer,
    items: t.record(
      t.object({
        picked: t.boolean,
        outOfStock: t.integer.optional(),
        reordered: t.integer.optional(),
        package: t.string.optional(),
      }),
    ),
    packages: t.record(
      t.object({
        /** Whether this order speaks for the package. */
        leads: t.boolean,
        sent: t.boolean,
        delivered: t.boolean,
      }),
    ),
  },
  events: {
    'place order': starts(objects, '/orders'),
    'confirm order': event(objects, '/orders', held),
    'pay order': event(objects, '/orders', held),
    'payment reminder': event(objects, '/orders', held),
    'pick item': event(objects, '/items', held),
    'item out of stock': event(objects, '/items', held),
    'reorder item': event(objects, '/items', held),
    'create package': event(objects, '/items', held),
    'send package': event(objects, '/packages', held),
    'failed delivery': event(objects, '/packages', held),
    'package delivered': event(objects, '/packages', held),
  },
  commands: {
    /** Asks for another attempt. Of the orders in a package, the one with its first item asks. */
    RetryDelivery: message({ packageId: t.string, orderId: t.string }, { subject: 'packageId' }),
    CloseOrder: message(
      { orderId: t.string, reminders: t.integer, failedDeliveries: t.integer },
      { subject: 'orderId' },
    ),
  },
});

type Order = StateOf<typeof fulfilment>;
type Context = ContextOf<typeof fulfilment>;

export default fulfilment.handlers({
  on: {
    'place order'({ data }, ctx) {
      const items: Order['items'] = {};
      for (const item of data.items) {
        ctx.claim(item);
        items[item] = { picked: false };
      }
      return {
        orderId: ctx.key,
        confirmed: false,
        paid: false,
        reminders: 0,
        failedDeliveries: 0,
        items,
        packages: {},
      };
    },

    'confirm order'(order) {
      order.confirmed = true;
    },

    'pay order'(order, _, ctx) {
      order.paid = true;
      closeIfDone(order, ctx);
    },

    'payment reminder'(order) {
      order.reminders += 1;
    },

    'pick item'(order, { data }) {
      for (const item of itemsOf(order, data.items)) item.picked = true;
    },

    'item out of stock'(order, { data }) {
      for (const item of itemsOf(order, data.items)) item.outOfStock = (item.outOfStock ?? 0) + 1;
    },

    'reorder item'(order, { data }) {
      for (const item of itemsOf(order, data.items)) item.reordered = (item.reordered ?? 0) + 1;
    },

    'create package'(order, { data }, ctx) {
      const [first] = data.items;
      const leads = first !== undefined && first in order.items;
      for (const id of data.packages) {
        ctx.claim(id);
        packageOf(order, id).leads = leads;
        for (const item of itemsOf(order, data.items)) item.package = id;
      }
    },

    'send package'(order, { data }) {
      for (const id of data.packages) packageOf(order, id).sent = true;
    },

    'failed delivery'(order, { data }, ctx) {
      order.failedDeliveries += 1;
      for (const packageId of data.packages) {
        const { leads, delivered } = order.packages[packageId] ?? {};
        if (leads && !delivered) ctx.send('RetryDelivery', { packageId, orderId: order.orderId });
      }
    },

    'package delivered'(order, { data }, ctx) {
      for (const id of data.packages) packageOf(order, id).delivered = true;
      closeIfDone(order, ctx);
    },
  },
});

/** The items that are of this order. */
function itemsOf(order: Order, ids: string[]) {
  return ids.flatMap((id) => order.items[id] ?? []);
}

function packageOf(order: Order, id: string) {
  return (order.packages[id] ??= { leads: false, sent: false, delivered: false });
}

function closeIfDone(
  { orderId, paid, items, packages, reminders, failedDeliveries }: Order,
  ctx: Context,
): void {
  const isDelivered = (item: Order['items'][string]) =>
    item.package !== undefined && packages[item.package]?.delivered === true;
  if (!paid || !Object.values(items).every(isDelivered)) return;
  ctx.complete();
  ctx.send('CloseOrder', { orderId, reminders, failedDeliveries });
}
