/** The order saga: each step of an order leads to the command for the next. */
import { event, message, saga, t } from '@sagabox/sdk';

const order = { orderId: t.string };
const priced = { totalPrice: t.decimal };
const packed = { productItems: t.array(t.object({ productId: t.string, quantity: t.integer })) };
const cart = { cartId: t.string, clientId: t.string, ...packed, ...priced };

const orders = saga({
  events: {
    CartFinalized: event(cart, '/cartId'),
    OrderInitialized: event({ ...order, ...priced }, '/orderId'),
    PaymentCompleted: event({ ...order, ...packed }, '/orderId'),
    PaymentFailed: event(order, '/orderId'),
  },
  commands: {
    InitializeOrder: message(cart, { subject: 'cartId' }),
    RequestPayment: message({ ...order, ...priced }, { subject: 'orderId' }),
    SendPackage: message({ ...order, ...packed }, { subject: 'orderId' }),
    CancelOrder: message({ ...order, reason: t.string }, { subject: 'orderId' }),
  },
});

export default orders.handlers({
  on: {
    CartFinalized: ({ data }, ctx) => ctx.send('InitializeOrder', data),

    OrderInitialized: ({ data }, ctx) => ctx.send('RequestPayment', data),

    PaymentCompleted: ({ data }, ctx) => ctx.send('SendPackage', data),

    PaymentFailed: ({ data }, ctx) => ctx.send('CancelOrder', { ...data, reason: 'payment failed' }),
  },
});
