/** Plain JavaScript: the types come from JSDoc, and from shapes. */
import { days, event, message, processManager, starts, t, timer, type } from '@sagabox/sdk';

/** @typedef {{ orderId: string, paid: boolean }} Order */

const orders = processManager({
  state: /** @type {import('@sagabox/sdk').Type<Order>} */ (type()),
  events: {
    Placed: starts({ orderId: t.string }, '/orderId'),
    Paid: event(
      /** @type {import('@sagabox/sdk').Type<{ orderId: string, amount: number }>} */ (type()),
      '/orderId',
    ),
  },
  commands: { Ship: message({ orderId: t.string }, { subject: 'orderId' }) },
  timers: { deadline: timer() },
});

/** @typedef {import('@sagabox/sdk').ContextOf<typeof orders>} Context */

export default orders.handlers({
  on: {
    Placed({ data }, ctx) {
      ctx.setTimer('deadline', days(1));
      // @ts-expect-error A timer that is mistyped.
      ctx.setTimer('deadlin', days(1));
      return { orderId: data.orderId, paid: false };
    },
    Paid(order, { data }, ctx) {
      order.paid = data.amount > 0;
      // @ts-expect-error A member that the event does not have.
      data.amonut;
      ship(order, ctx);
    },
  },
  onTimer: { deadline: (_order, _data, ctx) => ctx.complete() },
});

/**
 * @param {Order} order
 * @param {Context} ctx
 */
function ship(order, ctx) {
  ctx.complete();
  ctx.send('Ship', { orderId: order.orderId });
  // @ts-expect-error A command that is not declared.
  ctx.send('Shipp', { orderId: order.orderId });
}
