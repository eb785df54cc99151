import assert from 'node:assert/strict';
import { test } from 'node:test';

import { toStandardJsonSchema } from '@valibot/to-json-schema';
import * as v from 'valibot';
import { z } from 'zod';

import { bytes, codecOf, stringify, type Source } from '../src/codec.ts';
import { checked, DataError, Decimal, Json, t, Timestamp, type } from '../src/index.ts';
import { decode, encode } from '../src/text.ts';

const read = (source: Source | undefined, text: string) => codecOf(source).read(encode(text));

test('a plain type is JSON as JavaScript reads and writes it', () => {
  const codec = codecOf(type<{ a: number }>());
  assert.deepEqual(codec.read(encode('{"a":1.5,"b":null}')), { a: 1.5, b: null });
  assert.equal(
    decode(codec.write({ a: [undefined, null], b: undefined, c: new Date(0) })),
    '{"a":[null,null],"c":"1970-01-01T00:00:00.000Z"}',
  );
  assert.equal(codec.schema('read'), undefined);
  assert.deepEqual(codecOf(type({ type: 'object' })).schema('write'), { type: 'object' });
});

test('values that JSON.stringify would change silently are exact or refused', () => {
  const at = Timestamp.parse('2026-03-01T12:00:00Z');
  assert.equal(
    stringify({ n: 9007199254740993n, d: Decimal.of('10.00'), at, j: new Json('[1e400]'), o: [null] }),
    '{"n":9007199254740993,"d":10.00,"at":"2026-03-01T12:00:00Z","j":[1e400],"o":[null]}',
  );
  assert.equal(stringify([new Number(1), new String('a'), new Boolean(false), null]), '[1,"a",false,null]');
  for (const number of [NaN, Infinity, -Infinity]) {
    assert.throws(
      () => stringify({ a: [{ b: number }] }),
      (error: DataError) => error.path === '/a/0/b' && error.problem.includes(String(number)),
    );
  }
  const circle: Record<string, unknown> = { n: null };
  circle.self = { circle };
  assert.throws(() => stringify(circle), /`\/self\/circle` refers to itself/);
  assert.throws(() => stringify(undefined), /nothing that JSON can express/);
  const twice = { a: null };
  assert.equal(stringify([twice, twice]), '[{"a":null},{"a":null}]');
});

test('bytes are passed on as they are', () => {
  const data = Uint8Array.of(0, 0xff);
  assert.equal(codecOf(bytes).read(data), data);
  assert.equal(codecOf(bytes).write(data), data);
  assert.deepEqual(codecOf(bytes).write('ä'), encode('ä'));
  assert.throws(() => codecOf(bytes).write({}), /neither a Uint8Array nor a string/);
});

const zod = z.object({ id: z.string(), total: z.number().min(0), note: z.string().default('none') });
const valibot = toStandardJsonSchema(
  v.object({
    id: v.string(),
    total: v.pipe(v.number(), v.minValue(0)),
    note: v.optional(v.string(), 'none'),
  }),
);

for (const [library, schema] of [
  ['zod', zod],
  ['valibot', valibot],
] as const) {
  test(`a schema of ${library} gives the manifest its JSON Schema, and checks nothing in a call`, () => {
    const codec = codecOf(schema);
    const properties = { ...(codec.schema('read')!.properties as Record<string, { type: string }>) };
    assert.deepEqual(
      Object.entries(properties).map(([name, { type }]) => [name, type]),
      [
        ['id', 'string'],
        ['total', 'number'],
        ['note', 'string'],
      ],
    );
    assert.deepEqual(codec.schema('read')!.required, ['id', 'total']);
    assert.deepEqual(read(schema, '{"id":1}'), { id: 1 });
    assert.equal(codec.isChecked, false);
  });

  test(`a checked schema of ${library} checks, and gives what it made of the data`, () => {
    assert.deepEqual(read(checked<any, any>(schema), '{"id":"a","total":1,"extra":true}'), {
      id: 'a',
      total: 1,
      note: 'none',
    });
    assert.throws(
      () => read(checked<any, any>(schema), '{"id":"a","total":-1}'),
      (error: DataError) => error.path === '/total',
    );
    assert.throws(
      () => read(checked<any, any>(schema), '{"total":1}'),
      (error: DataError) => error.path === '/id',
    );
  });

  test(`a state with a schema of ${library} is checked when it is migrated`, () => {
    const whole = (text: string) => codecOf(schema).readWhole(encode(text));
    assert.deepEqual(whole('{"id":"a","total":1,"note":"n"}'), { id: 'a', total: 1, note: 'n' });
    assert.throws(() => whole('{"id":"a"}'), /`\/total` does not fit/);
    assert.throws(() => whole('{"id":"a","total":1,"colour":"red"}'), /`\/colour` would be dropped/);
  });
}

test('a schema that checks asynchronously is refused', () => {
  const slow = checked(z.string().refine(async () => true));
  assert.throws(() => read(slow, '"a"'), /asynchronous/i);
});

test('members of shapes are a type without t.object', () => {
  assert.deepEqual(read({ id: t.string }, '{"id":"a"}'), { id: 'a' });
  assert.equal(decode(codecOf({ id: t.string }).write({ id: 'a', b: 1 })), '{"id":"a"}');
});
