import { test } from 'node:test';

import { days, seconds } from '@sagabox/sdk';
import { given } from '@sagabox/sdk/testing';
import checkout from '../src/index.ts';

const initiated = (...guestStayIds: string[]) => ({ groupCheckoutId: 'g', guestStayIds });
const guest = (guestStayId: string) => ({ guestStayId, groupCheckoutId: 'g' });
const started = (...stays: string[]) => given(checkout).event('GroupCheckoutInitiated', initiated(...stays));
const account = (stay: string) =>
  ({ type: 'CheckoutGuestAccount', subject: stay, data: guest(stay) }) as const;
const success = { type: 'CompleteGroupCheckout', data: { groupCheckoutId: 'g' } } as const;
const failure = (failedGuestIds: string[], timedOutGuestIds: string[]) =>
  ({
    type: 'NotifyGroupCheckoutFailure',
    data: { groupCheckoutId: 'g', failedGuestIds, timedOutGuestIds },
  }) as const;

test('every guest is checked out once, and a deadline is set', () => {
  given(checkout)
    .when('GroupCheckoutInitiated', initiated('a', 'b', 'a'))
    .sends(account('a'), account('b'))
    .setsTimer('deadline', days(1))
    .goesOn();
  given(checkout)
    .config({ deadline_seconds: 90 })
    .when('GroupCheckoutInitiated', initiated('a'))
    .setsTimer('deadline', seconds(90));
});

test('it completes when every guest has an outcome', () => {
  started('a', 'b')
    .when('GuestCheckoutCompleted', guest('b'))
    .sendsNothing()
    .goesOn()
    .when('GuestCheckoutCompleted', guest('a'))
    .sends(success)
    .completes();
});

test('a guest counts once, however often its event comes', () => {
  started('a', 'b')
    .event('GuestCheckoutCompleted', guest('a'))
    .when('GuestCheckoutCompleted', guest('a'))
    .sendsNothing()
    .goesOn()
    .when('GuestCheckoutFailed', guest('a'))
    .sendsNothing()
    .goesOn();
});

test('failures are reported once, with all failed guests', () => {
  started('a', 'b', 'c')
    .when('GuestCheckoutFailed', guest('c'))
    .sendsNothing()
    .event('GuestCheckoutCompleted', guest('b'))
    .when('GuestCheckoutFailed', guest('a'))
    .sends(failure(['a', 'c'], []))
    .completes();
});

test('stays without an outcome time out', () => {
  started('a', 'b', 'c')
    .event('GuestCheckoutCompleted', guest('a'))
    .event('GuestCheckoutFailed', guest('b'))
    .whenTimePasses(days(1))
    .sends(failure(['b'], ['c']))
    .completes();
});

test('a cancelled group is concluded with what is known', () => {
  started('a')
    .whenCancelled()
    .sends(failure([], ['a']))
    .completes();
});

test('a group without guests is complete at once', () => {
  given(checkout).when('GroupCheckoutInitiated', initiated()).sends(success).completes();
});

test('a stay of another group changes nothing', () => {
  started('a').when('GuestCheckoutCompleted', guest('x')).sendsNothing().goesOn();
});
