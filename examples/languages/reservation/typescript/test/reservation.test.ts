import { test } from 'node:test';

import { hours } from '@sagabox/sdk';
import { given } from '@sagabox/sdk/testing';
import reservation from '../src/index.ts';

const placed = (quantity: number) => ({ orderId: 'o-1', customerId: 'ann', sku: 'mug', quantity });
const reserved = { orderId: 'o-1', sku: 'mug', quantity: 2 };
const released = { type: 'ReleaseStock', data: reserved } as const;
const lapsed = { customerId: 'ann', orderId: 'o-1' };
const rejected = (reason: string) => ({ type: 'RejectOrder', data: { orderId: 'o-1', reason } }) as const;
const givenStock = (available: number, counting = false) => given(reservation).answer('stock', 'mug', { available, counting });

test('an order that is paid in time is shipped', () => {
  givenStock(5)
    .when('OrderPlaced', placed(2))
    .sends({ type: 'ReserveStock', subject: 'o-1', data: reserved })
    .setsTimer('deadline', hours(24))
    .when('OrderPaid', { orderId: 'o-1' })
    .sends({ type: 'ShipOrder', data: { orderId: 'o-1' } })
    .cancelsTimer('deadline')
    .when('OrderShipped', { orderId: 'o-1' })
    .sendsNothing()
    .completes();
});

test('the stock is released when the time is over', () => {
  givenStock(5)
    .event('OrderPlaced', placed(2))
    .whenTimePasses(hours(23))
    .sendsNothing()
    .whenTimePasses(hours(1))
    .sends(released)
    .emits({ type: 'ReservationLapsed', subject: 'ann', data: lapsed })
    .completes();
});

test('a customer who let a reservation lapse has an hour', () => {
  givenStock(5)
    .inStream('ann', 'ReservationLapsed', lapsed)
    .when('OrderPlaced', placed(2))
    .setsTimer('deadline', hours(1));
});

test('what is not in stock is rejected', () => {
  givenStock(1).when('OrderPlaced', placed(2)).sends(rejected('sold out')).completes();
  given(reservation).missing('stock', 'mug').when('OrderPlaced', placed(2)).sends(rejected('sold out')).completes();
});

test('a reservation that the warehouse does not take is rejected', () => {
  givenStock(5)
    .event('OrderPlaced', placed(2))
    .whenUndeliverable('ReserveStock', reserved, 'the warehouse is closed')
    .sends(rejected('the warehouse is closed'))
    .completes();
});

test('a cancelled order is released', () => {
  givenStock(5).event('OrderPlaced', placed(2)).whenCancelled().sends(released).completes();
});

test('an order without a quantity fails, and a count is waited for', () => {
  given(reservation).when('OrderPlaced', placed(0)).fails('order o-1 has no quantity');
  givenStock(5, true).when('OrderPlaced', placed(2)).failsTransiently('the stock of mug is being counted');
});

test('a process of version 1 goes on', () => {
  given(reservation)
    .key('o-1')
    .state({ ...placed(2), paid: false }, 1)
    .when('OrderPaid', { orderId: 'o-1' })
    .stateIs({ ...placed(2), status: 'paid' });
});
