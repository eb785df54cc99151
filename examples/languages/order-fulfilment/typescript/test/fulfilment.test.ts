import { test } from 'node:test';

import { given } from '@sagabox/sdk/testing';
import fulfilment from '../src/index.ts';

/** An order with two items, of which `i-1` leads package `p-1`. */
const packed = () =>
  given(fulfilment)
    .when('place order', { orders: ['o'], items: ['i-1', 'i-2'] })
    .claims('i-1', 'i-2')
    .when('create package', { items: ['i-1', 'x-9'], packages: ['p-1'] })
    .claims('p-1')
    .when('create package', { items: ['x-8', 'i-2'], packages: ['p-2'] })
    .claims('p-2');
const close = {
  type: 'CloseOrder',
  subject: 'o',
  data: { orderId: 'o', reminders: 1, failedDeliveries: 0 },
} as const;

test('an order is closed when it is paid and every item delivered', () => {
  packed()
    .event('package delivered', { packages: ['p-1'] })
    .event('payment reminder', { orders: ['o'] })
    .when('package delivered', { packages: ['p-2'] })
    .sendsNothing()
    .goesOn()
    .when('pay order', { orders: ['o'] })
    .sends(close)
    .completes();
  packed()
    .event('payment reminder', { orders: ['o'] })
    .event('pay order', { orders: ['o'] })
    .event('package delivered', { packages: ['p-2'] })
    .when('package delivered', { packages: ['p-1'] })
    .sends(close)
    .completes();
});

test('a failed delivery is retried by the order that leads the package', () => {
  packed()
    .when('failed delivery', { packages: ['p-1'] })
    .sends({ type: 'RetryDelivery', subject: 'p-1', data: { packageId: 'p-1', orderId: 'o' } })
    .when('failed delivery', { packages: ['p-2'] })
    .sendsNothing();
});

test('what is not 0 about an item is written, and nothing else', () => {
  given(fulfilment)
    .event('place order', { orders: ['o'], items: ['i-1', 'i-2'] })
    .event('item out of stock', { items: ['i-1', 'x'] })
    .event('reorder item', { items: ['i-1'] })
    .event('item out of stock', { items: ['i-1'] })
    .when('pick item', { items: ['i-1'] })
    .stateIs({
      orderId: 'o',
      confirmed: false,
      paid: false,
      reminders: 0,
      failedDeliveries: 0,
      items: { 'i-1': { picked: true, outOfStock: 2, reordered: 1 }, 'i-2': { picked: false } },
      packages: {},
    });
});
