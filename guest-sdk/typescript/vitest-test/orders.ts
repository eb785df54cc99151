import { event, message, minutes, processManager, starts, t, timer } from '@sagabox/sdk';

const orders = processManager({
  state: { orderId: t.string, total: t.decimal, paid: t.boolean },
  events: {
    OrderPlaced: starts({ orderId: t.string, total: t.decimal }, '/orderId'),
    OrderPaid: event({ orderId: t.string, amount: t.decimal }, '/orderId'),
  },
  commands: {
    ShipOrder: message({ orderId: t.string }, { subject: 'orderId' }),
    CancelOrder: message({ orderId: t.string }, { subject: 'orderId' }),
  },
  timers: { unpaid: timer() },
});

export default orders.handlers({
  on: {
    OrderPlaced({ data: { orderId, total } }, ctx) {
      ctx.setTimer('unpaid', minutes(30));
      return { orderId, total, paid: false };
    },

    OrderPaid(order, { data }, ctx) {
      if (!data.amount.equals(order.total)) throw new Error(`${data.amount} is not ${order.total}`);
      order.paid = true;
      ctx.send('ShipOrder', { orderId: order.orderId });
      ctx.complete();
    },
  },

  onTimer: {
    unpaid(order, _, ctx) {
      ctx.send('CancelOrder', { orderId: order.orderId });
      ctx.complete();
    },
  },
});
