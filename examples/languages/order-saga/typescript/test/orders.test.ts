import { test } from 'node:test';

import { Decimal } from '@sagabox/sdk';
import { given } from '@sagabox/sdk/testing';
import orders from '../src/index.ts';

const totalPrice = Decimal.of('99.5');
const productItems = [{ productId: 'shoes', quantity: 2 }];

test('a finalized cart becomes an order', () => {
  const cart = { cartId: 'c-1', clientId: 'ann', productItems, totalPrice };
  given(orders).when('CartFinalized', cart).sends({ type: 'InitializeOrder', subject: 'c-1', data: cart });
});

test('an order is paid before it is sent', () => {
  given(orders)
    .when('OrderInitialized', { orderId: 'o-1', totalPrice })
    .sends({ type: 'RequestPayment', data: { orderId: 'o-1', totalPrice } })
    .when('PaymentCompleted', { orderId: 'o-1', productItems })
    .sends({ type: 'SendPackage', data: { orderId: 'o-1', productItems } });
});

test('a failed payment is compensated by cancelling', () => {
  given(orders)
    .when('PaymentFailed', { orderId: 'o-1' })
    .sends({ type: 'CancelOrder', data: { orderId: 'o-1', reason: 'payment failed' } });
});
