/** `t`: the types of members. */

import {
  ArrayShape,
  ObjectShape,
  RecordShape,
  Variants,
  type Members,
  type VariantsIn,
  type VariantsOut,
} from './composites.ts';
import type { Decimal } from './decimal.ts';
import { BigInteger, Choice, ExactDecimal, RawJson, Simple, Text, type Json } from './scalars.ts';
import { Kind, type JsonSchema, type Shape } from './shape.ts';
import { formatDuration, parseDuration, Timestamp, type Duration } from './time.ts';

const simple = <T>(
  expected: string,
  fits: (value: unknown) => value is T,
  schema: JsonSchema,
  kind: Kind,
): Shape<T> => new Simple(expected, fits, schema, kind);

/** The types of members: `{ orderId: t.string, total: t.decimal, items: t.array(t.object({ … })) }`. */
export const t = {
  string: simple(
    'a string',
    (value): value is string => typeof value === 'string',
    { type: 'string' },
    Kind.String,
  ),
  boolean: simple(
    'true or false',
    (value): value is boolean => typeof value === 'boolean',
    { type: 'boolean' },
    Kind.Boolean,
  ),
  /** A JavaScript number. NaN and the infinities are refused. */
  number: simple(
    'a finite number',
    (value): value is number => typeof value === 'number' && Number.isFinite(value),
    { type: 'number' },
    Kind.Number,
  ),
  /** A JavaScript number without a fraction, below 2^53. */
  integer: simple(
    'an integer below 2^53',
    (value): value is number => Number.isSafeInteger(value),
    { type: 'integer' },
    Kind.Integer,
  ),
  /** An integer of 64 bits, as a `bigint`. */
  bigint: new BigInteger() as Shape<bigint>,
  /** An exact decimal number. */
  decimal: new ExactDecimal() as Shape<Decimal>,
  /** A moment in RFC 3339. */
  timestamp: new Text<Timestamp>(
    'an RFC 3339 time',
    Timestamp.parse,
    (value) =>
      value instanceof Timestamp || value instanceof Date
        ? (value instanceof Date ? Timestamp.fromDate(value) : value).toString()
        : undefined,
    { type: 'string', format: 'date-time' },
  ) as Shape<Timestamp, Timestamp | Date>,
  /** A duration such as `1h 30m`: a string in JSON, milliseconds in JavaScript. */
  duration: new Text<Duration>(
    'a duration such as 1h 30m',
    parseDuration,
    (value) => (typeof value === 'number' ? formatDuration(value) : undefined),
    {
      type: 'string',
      pattern: '^\\s*([0-9]+(ms|s|m|h|d)\\s*)+$',
    },
  ) as Shape<Duration>,
  /** JSON that is passed on byte for byte. */
  json: new RawJson() as Shape<Json>,
  /** One of these values. */
  oneOf: <const T extends string | number | boolean>(...values: readonly T[]): Shape<T> => new Choice(values),
  array: <Out, In>(item: Shape<Out, In>): Shape<Out[], readonly In[]> => new ArrayShape(item),
  /** An object whose members have any names. */
  record: <Out, In>(item: Shape<Out, In>): Shape<Record<string, Out>, Readonly<Record<string, In>>> =>
    new RecordShape(item),
  object: <M extends Members>(members: M): ObjectShape<M> => new ObjectShape(members),
  /** A discriminated union: `t.variants('kind', { card: { number: t.string }, cash: {} })`. */
  variants: <const Tag extends string, C extends Record<string, Members>>(
    tag: Tag,
    cases: C,
  ): Shape<VariantsOut<Tag, C>, VariantsIn<Tag, C>> => new Variants(tag, cases),
};
