import assert from 'node:assert/strict';
import { test } from 'node:test';

import { codecOf } from '../src/codec.ts';
import { engine } from '../src/digits.ts';
import { DataError, Decimal, Json, Shape, t, Timestamp } from '../src/index.ts';
import { Random } from '../src/random.ts';
import { decode, encode } from '../src/text.ts';

const read = (shape: Shape<any, any>, text: string) => codecOf(shape).read(encode(text)) as any;
const write = (shape: Shape<any, any>, value: unknown) => decode(codecOf(shape).write(value));
const problem = (action: () => unknown) => {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof DataError, String(error));
    return error.message;
  }
  return assert.fail('it is accepted');
};

const order = t.object({
  id: t.string,
  serial: t.bigint,
  price: t.decimal,
  weight: t.number,
  at: t.timestamp,
  wait: t.duration.optional(),
  any: t.json.optional(),
  items: t.array(t.object({ price: t.decimal })),
  by: t.record(t.bigint),
});
const TEXT =
  '{"id":"e","serial":9007199254740993,"price":12345678901234567890.10,"weight":0.5,"at":"2026-03-01T12:00:00Z","wait":"1h 30m","any":[1e400, 10.00,"\\ud83d",{"a\\"}":"]"}],"items":[{"price":10.00},{"price":"0.1"}],"by":{"x\\n":9223372036854775807,"__proto__":-1}}';

const NUMBERS = /("(?:[^"\\]|\\.)*")|(-?\d[\d.eE+-]*)/g;

/** `JSON.parse` as QuickJS and later versions of Node have it: it gives a reviver the source of each value. */
function parseWithSources(
  text: string,
  reviver?: (key: string, value: unknown, context?: object) => unknown,
): unknown {
  const plain = parseWithSources.original;
  plain(text);
  if (reviver === undefined) return plain(text);
  const marked = text.replace(NUMBERS, (_, string, number) => string ?? `{"number":"${number}"}`);
  return plain(marked, function (this: unknown, key, value) {
    const isNumber = typeof value === 'object' && value !== null && Object.keys(value).join() === 'number';
    return isNumber
      ? reviver.call(this, key, Number(value.number), { source: value.number })
      : reviver.call(this, key, value, {});
  });
}
parseWithSources.original = JSON.parse;

test('numbers keep their digits in an engine that gives their sources', () => {
  const shape = t.object({
    n: t.bigint,
    list: t.array(t.decimal),
    optional: t.bigint.optional(),
    other: t.object({ n: t.number, text: t.object({ n: t.string }).optional() }),
    by: t.record(t.bigint),
    kind: t.variants('kind', { card: { cents: t.bigint } }),
  });
  const text =
    '{"n":9007199254740993,"list":[10.00,"0.1"],"optional":null,"other":{"n":1.5},"by":{"a":9007199254740993},"kind":{"kind":"card","cents":9007199254740993}}';
  const [hasSources, original] = [engine.hasSources, JSON.parse];
  Object.assign(engine, { hasSources: true });
  JSON.parse = parseWithSources as typeof JSON.parse;
  try {
    assert.equal(
      write(shape, read(shape, text)),
      text.replace('"optional":null,', '').replace('"0.1"', '0.1'),
    );
    assert.match(
      problem(() => read(shape, text.replace('1.5}', '1.5,"text":{"n":7}}'))),
      /^`\/other\/text\/n` is the number 7, expected a string$/,
    );
    assert.match(
      problem(() => read(shape, text.replace('{"n":1.5}', '2'))),
      /^`\/other` is the number 2, expected an object$/,
    );
    assert.match(
      problem(() => read(shape, text.replace('9007199254740993', '1.0'))),
      /^`\/n` is 1.0, expected an integer$/,
    );
    assert.match(
      problem(() => read(shape, text.replace('10.00', 'true'))),
      /^`\/list\/0` is true, expected a decimal number$/,
    );
    assert.equal(read(t.bigint, '9007199254740993'), 9007199254740993n);
  } finally {
    Object.assign(engine, { hasSources });
    JSON.parse = original;
  }
});

test('what JavaScript numbers cannot hold is read and written with every digit', () => {
  const value = read(order, TEXT);
  assert.equal(value.serial, 9007199254740993n);
  assert.equal(value.price.toString(), '12345678901234567890.10');
  assert.equal(value.any.text, '[1e400, 10.00,"\\ud83d",{"a\\"}":"]"}]');
  assert.deepEqual(
    value.items.map((item: { price: Decimal }) => item.price.toString()),
    ['10.00', '0.1'],
  );
  assert.deepEqual(Object.entries(value.by), [
    ['x\n', 9223372036854775807n],
    ['__proto__', -1n],
  ]);
  assert.equal(value.wait, 5_400_000);
  assert.ok(value.at.equals(Timestamp.parse('2026-03-01T12:00:00Z')));
  assert.equal(write(order, value), TEXT.replace('"0.1"', '0.1'));
});

test('of a member that stands twice, the last one counts, also within exact values', () => {
  const shape = t.object({
    items: t.array(t.object({ n: t.bigint.optional() })),
    n: t.bigint,
    by: t.record(t.bigint),
  });
  const value = read(
    shape,
    '{"n":true,"items":[{"n":1},{"n":2},{"n":3}],"by":{"a":"x","a":1},"items":[{"n":null},{"n":"x","n":9007199254740993}],"n":7}',
  );
  assert.deepEqual(value, { items: [{}, { n: 9007199254740993n }], n: 7n, by: { a: 1n } });
});

test('members are written in the order of the declaration, and absent ones are left out', () => {
  const shape = t.object({
    a: t.string,
    b: t.number.optional(),
    c: t.integer.default(3),
    d: t.oneOf('x', 'y'),
  });
  assert.equal(write(shape, { d: 'x', c: 1, extra: true, a: 'ä\ud83d' }), '{"a":"ä\\ud83d","c":1,"d":"x"}');
  assert.deepEqual(read(shape, '{"d":"y","b":null,"a":"first","a":"last"}'), { a: 'last', c: 3, d: 'y' });
  assert.equal(write(t.object({ a: t.string.optional() }), {}), '{}');
});

test('what does not fit is named with its place', () => {
  const cases: [Shape<any, any>, string, RegExp][] = [
    [t.object({ a: t.string }), '{}', /^`\/a` is missing, expected a string$/],
    [t.object({ a: t.string }), '{"a":null}', /^`\/a` is null, expected a string$/],
    [t.object({ a: t.string }), '[]', /^is an array, expected an object$/],
    [
      t.object({ 'a/b': t.array(t.integer) }),
      '{"a/b":[1,1.5]}',
      /^`\/a~1b\/1` is the number 1.5, expected an integer below 2\^53$/,
    ],
    [t.array(t.integer), '[9007199254740993]', /expected an integer below/],
    [order, TEXT.replace('9007199254740993', '1.5'), /^`\/serial` is 1.5, expected an integer$/],
    [order, TEXT.replace('9007199254740993', '"7"'), /^`\/serial` is "7", expected an integer$/],
    [
      order,
      TEXT.replace('9223372036854775807', '9223372036854775808'),
      /^`\/by\/x\n` is outside of the range of 64 bits$/,
    ],
    [
      order,
      TEXT.replace('"price":10.00', '"price":true'),
      /^`\/items\/0\/price` is true, expected a decimal number$/,
    ],
    [order, TEXT.replace('"items"', '"things"'), /^`\/items` is missing/],
    [order, TEXT.replace('2026-03-01T12:00:00Z', '2026-03-01'), /^`\/at` is not right: .*RFC 3339/],
    [
      t.variants('kind', { card: { number: t.string }, cash: {} }),
      '{"kind":"coin"}',
      /^`\/kind` is "coin", expected one of card, cash$/,
    ],
    [t.variants('kind', { card: { number: t.string } }), '{"kind":"card"}', /^`\/number` is missing/],
    [t.string, '{"a":', /^is no JSON/],
    [t.string, '', /^is no JSON: it is empty$/],
  ];
  for (const [shape, text, expected] of cases)
    assert.match(
      problem(() => read(shape, text)),
      expected,
    );
  assert.match(
    problem(() => codecOf(t.string).read(Uint8Array.of(0x22, 0xff, 0x22))),
    /no JSON: the bytes are not UTF-8/,
  );
});

test('what cannot be written is named with its place', () => {
  const shape = t.object({
    weights: t.array(t.number),
    price: t.decimal.optional(),
    at: t.timestamp.optional(),
    any: t.json.optional(),
  });
  assert.match(
    problem(() => write(shape, { weights: [1, NaN] })),
    /^`\/weights\/1` is the number NaN, expected a finite number$/,
  );
  assert.match(
    problem(() => write(shape, { weights: [], price: 1.5 })),
    /^`\/price` is the number 1.5, expected a Decimal$/,
  );
  assert.match(
    problem(() => write(shape, { weights: [], at: 'now' })),
    /^`\/at` is the string "now", expected an RFC 3339 time$/,
  );
  assert.match(
    problem(() => write(shape, { weights: [], any: {} })),
    /^`\/any` is an object, expected a Json$/,
  );
  assert.match(
    problem(() => write(shape, {})),
    /^`\/weights` is missing, expected an array$/,
  );
});

test('a state is refused if a member of it would be dropped', () => {
  const codec = codecOf({
    id: t.string,
    items: t.array(t.object({ n: t.integer })),
    serial: t.bigint.optional(),
  });
  const whole = (text: string) => codec.readWhole(encode(text));
  const nothing = whole(
    '{"id":"a","items":[{"n":1}],"was":null,"flag":false,"count":0,"list":[],"object":{}}',
  );
  assert.equal(decode(codec.write(nothing)), '{"id":"a","items":[{"n":1}]}');
  assert.match(
    problem(() => whole('{"id":"a","items":[],"colour":"red"}')),
    /^`\/colour` would be dropped/,
  );
  assert.match(
    problem(() => whole('{"id":"a","items":[{"n":1},{"n":2,"m":3}]}')),
    /^`\/items\/1\/m` would be dropped/,
  );
});

test('schemas say what is read and what is written', () => {
  const shape = t.object({
    price: t.decimal,
    count: t.integer.default(1),
    note: t.string.optional(),
    kind: t.oneOf('a', 'b').optional(),
    any: t.json.optional(),
  });
  assert.deepEqual(shape.schema('read'), {
    type: 'object',
    properties: {
      price: { type: ['number', 'string'] },
      count: { type: ['integer', 'null'] },
      note: { type: ['string', 'null'] },
      kind: { anyOf: [{ enum: ['a', 'b'] }, { type: 'null' }] },
      any: {},
    },
    required: ['price'],
  });
  assert.deepEqual(shape.schema('write').properties, {
    price: { type: 'number' },
    count: { type: 'integer' },
    note: { type: 'string' },
    kind: { enum: ['a', 'b'] },
    any: {},
  });
});

/** Random JSON text with blanks, escapes and nested values. */
function randomJson(random: Random, depth: number): string {
  const pick = <T>(...choices: T[]) => choices[Math.floor(random.number() * choices.length)]!;
  const blank = () => pick('', '', ' ', '\n\t');
  const string = () =>
    pick('""', '"a"', '"\\""', '"\\\\"', '"a\\\\\\"]}"', '"[{,:"', '"\\u00e4\\ud83d"', '"ä😀"');
  const scalar = () => pick('0', '-1.50', '1e400', '12345678901234567890', 'true', 'null', string());
  const list = (item: () => string) =>
    Array.from({ length: Math.floor(random.number() * 4) }, () => `${blank()}${item()}${blank()}`).join(',');
  if (depth === 0) return scalar();
  return pick(
    scalar,
    () => `[${list(() => randomJson(random, depth - 1))}${blank()}]`,
    () => `{${list(() => `${string()}${blank()}:${blank()}${randomJson(random, depth - 1)}`)}${blank()}}`,
  )();
}

test('JSON that is passed on is found wherever it begins and ends', () => {
  for (let seed = 0; seed < 500; seed += 1) {
    const random = new Random([seed, 2, 3, 4]);
    const [a, b] = [randomJson(random, 3), randomJson(random, 3)];
    const text = `{ "skipped" :${b},\n"a": ${a} ,"list":[ ${b} , ${a}],"n" : 1 }`;
    const value = read(t.object({ a: t.json, list: t.array(t.json), n: t.bigint }), text);
    assert.deepEqual(
      [value.a.text, ...value.list.map((json: Json) => json.text), value.n],
      [a, b, a, 1n],
      text,
    );
    assert.deepEqual(value.a.parse(), JSON.parse(a));
  }
});
