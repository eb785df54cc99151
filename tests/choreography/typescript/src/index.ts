import { event, message, reactor, t } from '@sagabox/sdk';

const pricing = reactor({
  events: {
    OrderPlaced: event({ orderId: t.string, quantity: t.integer }, '/orderId'),
  },
  emits: {
    OrderPriced: message(
      { orderId: t.string, total: t.integer, priority: t.oneOf('normal', 'express') },
      { subject: 'orderId' },
    ),
  },
});

export default pricing.handlers({
  on: {
    OrderPlaced({ data: { orderId, quantity } }, ctx) {
      const priority = quantity > 10 ? 'express' : 'normal';
      ctx.emit('OrderPriced', { orderId, total: quantity * 5, priority });
    },
  },
});
