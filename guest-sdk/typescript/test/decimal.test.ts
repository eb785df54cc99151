import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Decimal } from '../src/index.ts';

test('what is read is written digit by digit', () => {
  for (const text of [
    '10.00',
    '0.1',
    '-0.30',
    '79228162514264337593543950336',
    '12345678901234567890.10',
    '0',
    '-7',
  ]) {
    assert.equal(Decimal.of(text).toString(), text);
  }
  assert.equal(Decimal.of('1.5e3').toString(), '1500');
  assert.equal(Decimal.of('15e-3').toString(), '0.015');
  assert.equal(Decimal.of(0.1).toString(), '0.1');
  assert.equal(Decimal.of(1999n, 2).toString(), '19.99');
});

test('what is no decimal number is an error', () => {
  for (const text of ['', 'ten', '1,5', '1.', '.5', '0x10', '1e99999999', ' 1', '+1'])
    assert.throws(() => Decimal.of(text), /no decimal number/, text);
  for (const number of [NaN, Infinity]) assert.throws(() => Decimal.of(number), /no decimal number/);
});

test('it calculates exactly', () => {
  const of = Decimal.of;
  assert.equal(of('0.1').plus('0.2').toString(), '0.3');
  assert.equal(of('9.70').plus(of('0.10').times(3)).toString(), '10.00');
  assert.equal(of(1).minus('1.01').toString(), '-0.01');
  assert.equal(Decimal.sum([of('0.10'), of('0.20'), of('0.70')]).toString(), '1.00');
  assert.equal(of('10.00').dividedBy(3, 4).toString(), '3.3333');
  assert.equal(of(-10).dividedBy('0.03', 1).toString(), '-333.3');
  assert.equal(of('0.001').dividedBy(1_000, 2).toString(), '0.00');
  assert.throws(() => of(1).dividedBy(0), /division by zero/);
});

test('a half is rounded to the even neighbour', () => {
  const rounded = (text: string, places: number) => Decimal.of(text).round(places).toString();
  assert.deepEqual(
    ['2.5', '3.5', '-2.5', '2.51', '2.49'].map((text) => rounded(text, 0)),
    ['2', '4', '-2', '3', '2'],
  );
  assert.deepEqual([rounded('0.125', 2), rounded('0.135', 2), rounded('1', 2)], ['0.12', '0.14', '1.00']);
});

test('it is compared by value', () => {
  assert.ok(Decimal.of('1.0').equals('1.00'));
  assert.deepEqual(
    ['3', '-1', '2.50']
      .map((text) => Decimal.of(text))
      .sort((a, b) => a.compare(b))
      .map(String),
    ['-1', '2.50', '3'],
  );
  assert.ok(Decimal.of('-0.01').isNegative() && !Decimal.ZERO.isNegative() && Decimal.of('0.00').isZero());
});
