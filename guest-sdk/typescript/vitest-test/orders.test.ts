import { Decimal, minutes } from '@sagabox/sdk';
import { given } from '@sagabox/sdk/testing';
import { describe, expect, test } from 'vitest';

import orders from './orders.ts';

const placed = { orderId: 'o-1', total: Decimal.of('9.90') };

describe('an order', () => {
  test('is shipped when it is paid', () => {
    given(orders)
      .when('OrderPlaced', placed)
      .setsTimer('unpaid', minutes(30))
      .stateIs({ orderId: 'o-1', total: Decimal.of('9.90'), paid: false })
      .when('OrderPaid', { orderId: 'o-1', amount: Decimal.of('9.9') })
      .sends({ type: 'ShipOrder', subject: 'o-1', data: { orderId: 'o-1' } })
      .completes();
  });

  test('is cancelled when time passes', () => {
    given(orders)
      .event('OrderPlaced', placed)
      .whenTimePasses(minutes(31))
      .sends({ type: 'CancelOrder', data: { orderId: 'o-1' } })
      .completes();
  });

  test('fails with the reason of the handler', () => {
    given(orders)
      .event('OrderPlaced', placed)
      .when('OrderPaid', { orderId: 'o-1', amount: Decimal.of('1') })
      .fails('1 is not 9.90');
  });
});

test('an expectation that does not hold fails the test, and says what was decided', () => {
  const step = given(orders).when('OrderPlaced', placed);
  expect(() => step.sends({ type: 'ShipOrder' })).toThrow(/ShipOrder/);
});
