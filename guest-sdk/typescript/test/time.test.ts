import assert from 'node:assert/strict';
import { test } from 'node:test';

import { days, formatDuration, hours, minutes, parseDuration, seconds, Timestamp } from '../src/index.ts';

const written = (text: string) => Timestamp.parse(text).toString();

test('a moment is read with any offset and written in UTC', () => {
  assert.equal(written('2026-01-01T00:30:00+01:00'), '2025-12-31T23:30:00Z');
  assert.equal(written('1969-12-31T23:59:59.999Z'), '1969-12-31T23:59:59.999Z');
  assert.equal(written('2026-03-01t12:00:00.250000z'), '2026-03-01T12:00:00.25Z');
  assert.equal(written('2026-03-01T12:00:00.123456789-05:30'), '2026-03-01T17:30:00.123456789Z');
  assert.equal(written('0000-01-01T00:00:00Z'), '0000-01-01T00:00:00Z');
  assert.equal(written('2016-12-31T23:59:60Z'), '2016-12-31T23:59:59Z');
  assert.equal(written('2028-02-29T00:00:00Z'), '2028-02-29T00:00:00Z');
});

test('what is no moment is refused', () => {
  for (const text of [
    '2026-01-01',
    '2026-01-01T00:00:00',
    'yesterday',
    '',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T24:00:00Z',
    '2026-01-01T00:00:00+24:00',
    '0000-01-01T00:00:00+00:01',
  ]) {
    assert.throws(() => Timestamp.parse(text), RangeError, text);
  }
});

test('time is added and taken away exactly', () => {
  const at = Timestamp.parse('2026-03-01T11:00:00.25Z');
  assert.equal(at.plus(hours(24)).toString(), '2026-03-02T11:00:00.25Z');
  assert.equal(at.minus(750).toString(), '2026-03-01T10:59:59.5Z');
  assert.equal(at.plus(800).toString(), '2026-03-01T11:00:01.05Z');
  assert.equal(at.plus(days(1)).since(at), days(1));
  assert.ok(at < at.plus(1) && at.equals(Timestamp.fromMillis(at.toMillis())));
  assert.equal(Timestamp.fromMillis(-1).toString(), '1969-12-31T23:59:59.999Z');
  assert.equal(Timestamp.fromDate(new Date(1_500)).toString(), '1970-01-01T00:00:01.5Z');
  assert.equal(JSON.stringify({ at }), '{"at":"2026-03-01T11:00:00.25Z"}');
  assert.throws(() => Timestamp.parse('9999-12-31T23:59:59Z').plus(seconds(1)), /years 0000 to 9999/);
});

test('a duration is read as it is written', () => {
  for (const millis of [0, 1, 999, 1_000, 61_000, 90_061_001, days(30)])
    assert.equal(parseDuration(formatDuration(millis)), millis);
  assert.equal(parseDuration(' 1h30m '), minutes(90));
  assert.equal(formatDuration(minutes(90)), '1h 30m');
  for (const text of ['', '5', 'h', '-1s', '1.5h', '1 h', '99999999999999999999d', '1w'])
    assert.throws(() => parseDuration(text), RangeError, text);
  assert.throws(() => formatDuration(-1), RangeError);
  assert.throws(() => formatDuration(NaN), RangeError);
});
