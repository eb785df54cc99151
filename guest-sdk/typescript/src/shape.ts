/**
 * Types that exist while the plugin runs: they check data, keep what JavaScript numbers cannot hold, and
 * give the JSON Schemas of the manifest.
 *
 * A value is read in two steps. `JSON.parse` reads the whole text; `read` checks the result. A shape that
 * has exact parts (`isExact`) reads those from the text, with a {@link Scanner}.
 */

import { Decimal } from './decimal.ts';
import { DataError } from './errors.ts';
import { Scanner } from './scan.ts';
import { formatDuration, parseDuration, Timestamp, type Duration } from './time.ts';

export type JsonSchema = { [keyword: string]: unknown };
/** What a schema describes: data that is read, or data that is written. */
export type Direction = 'read' | 'write';

declare const OUTPUT: unique symbol;
declare const INPUT: unique symbol;

export abstract class Shape<Out, In = Out> {
  declare readonly [OUTPUT]: Out;
  declare readonly [INPUT]: In;
  /** Whether it needs the text of the JSON. */
  readonly isExact: boolean = false;

  /** The value for what `JSON.parse` gave; throws a {@link DataError}. */
  abstract read(json: unknown): Out;
  /** JSON text; throws a {@link DataError}. */
  abstract write(value: unknown): string;
  abstract schema(direction: Direction): JsonSchema;

  /** As `read`, from the text at the scanner's position, behind which it moves the scanner. */
  readExactly(scanner: Scanner, _json: unknown): Out {
    return this.read(JSON.parse(scanner.raw()));
  }

  /** The member can be absent or `null`; it is not written then. */
  optional(): Optional<Out, In> {
    return new Optional(this);
  }

  /** The member can be absent or `null`, and has this value then. */
  default(value: Out): Default<Out, In> {
    return new Default(this, value);
  }
}

class Simple<T> extends Shape<T> {
  constructor(
    private readonly expected: string,
    private readonly fits: (value: unknown) => value is T,
    private readonly description: JsonSchema,
  ) {
    super();
  }

  read(json: unknown): T {
    if (this.fits(json)) return json;
    throw new DataError('', `is ${kindOf(json)}, expected ${this.expected}`);
  }

  write(value: unknown): string {
    return JSON.stringify(this.read(value));
  }

  schema(): JsonSchema {
    return this.description;
  }
}

/** What is written as a string, and is something else in memory. */
class Text<T> extends Shape<T> {
  constructor(
    private readonly expected: string,
    private readonly parse: (text: string) => T,
    private readonly format: (value: unknown) => string | undefined,
    private readonly description: JsonSchema,
  ) {
    super();
  }

  read(json: unknown): T {
    if (typeof json !== 'string') throw new DataError('', `is ${kindOf(json)}, expected ${this.expected}`);
    return attempt(() => this.parse(json));
  }

  write(value: unknown): string {
    const text = attempt(() => this.format(value));
    if (text === undefined) throw new DataError('', `is ${kindOf(value)}, expected ${this.expected}`);
    return JSON.stringify(text);
  }

  schema(): JsonSchema {
    return this.description;
  }
}

const INTEGER = /^-?\d+$/;
const INT64_MAX = 2n ** 63n - 1n;
const INT64_MIN = -(2n ** 63n);

class BigInteger extends Shape<bigint> {
  override readonly isExact = true;

  read(json: unknown): bigint {
    if (typeof json !== 'number') throw new DataError('', `is ${kindOf(json)}, expected an integer`);
    return this.ofText(String(json));
  }

  override readExactly(scanner: Scanner): bigint {
    return this.ofText(scanner.raw());
  }

  write(value: unknown): string {
    const integer = typeof value === 'number' && Number.isSafeInteger(value) ? BigInt(value) : value;
    if (typeof integer !== 'bigint') throw new DataError('', `is ${kindOf(value)}, expected a bigint`);
    return this.checked(integer).toString();
  }

  schema(): JsonSchema {
    return { type: 'integer' };
  }

  private ofText(text: string): bigint {
    if (!INTEGER.test(text)) throw new DataError('', `is ${text.slice(0, 50)}, expected an integer`);
    return this.checked(BigInt(text));
  }

  private checked(integer: bigint): bigint {
    if (integer >= INT64_MIN && integer <= INT64_MAX) return integer;
    throw new DataError('', 'is outside of the range of 64 bits');
  }
}

class ExactDecimal extends Shape<Decimal, Decimal> {
  override readonly isExact = true;

  read(json: unknown): Decimal {
    if (typeof json !== 'number' && typeof json !== 'string') throw new DataError('', `is ${kindOf(json)}, expected a decimal number`);
    return attempt(() => Decimal.of(json));
  }

  override readExactly(scanner: Scanner): Decimal {
    const raw = scanner.raw();
    return raw[0] === '"' ? this.read(JSON.parse(raw)) : /^[-\d]/.test(raw) ? attempt(() => Decimal.of(raw)) : this.read(JSON.parse(raw));
  }

  write(value: unknown): string {
    if (!(value instanceof Decimal)) throw new DataError('', `is ${kindOf(value)}, expected a Decimal`);
    return value.toString();
  }

  schema(direction: Direction): JsonSchema {
    return { type: direction === 'read' ? ['number', 'string'] : 'number' };
  }
}

/** JSON that is passed on byte for byte. */
export class Json {
  constructor(readonly text: string) {}

  static of(value: unknown): Json {
    return new Json(JSON.stringify(value) ?? 'null');
  }

  /** What it says, with the exactness of `JSON.parse`. */
  parse(): unknown {
    return JSON.parse(this.text);
  }

  toString(): string {
    return this.text;
  }

  toJSON(): unknown {
    const json = JSON as { rawJSON?(text: string): unknown };
    const isScalar = !/^[{[]/.test(this.text);
    return isScalar && json.rawJSON !== undefined ? json.rawJSON(this.text) : this.parse();
  }
}

class RawJson extends Shape<Json> {
  override readonly isExact = true;

  read(json: unknown): Json {
    return Json.of(json);
  }

  override readExactly(scanner: Scanner): Json {
    return new Json(scanner.raw());
  }

  write(value: unknown): string {
    if (!(value instanceof Json)) throw new DataError('', `is ${kindOf(value)}, expected a Json`);
    return value.text;
  }

  schema(): JsonSchema {
    return {};
  }
}

class ArrayShape<Out, In> extends Shape<Out[], readonly In[]> {
  override readonly isExact: boolean;

  constructor(private readonly item: Shape<Out, In>) {
    super();
    this.isExact = item.isExact;
  }

  read(json: unknown): Out[] {
    if (!Array.isArray(json)) throw new DataError('', `is ${kindOf(json)}, expected an array`);
    return each(json, (element) => this.item.read(element));
  }

  override readExactly(scanner: Scanner, json: unknown): Out[] {
    if (!Array.isArray(json)) return this.read(json);
    const items: Out[] = [];
    scanner.items(() => items.push(at(items.length, () => this.item.readExactly(scanner, json[items.length]))));
    return items;
  }

  write(value: unknown): string {
    if (!Array.isArray(value)) throw new DataError('', `is ${kindOf(value)}, expected an array`);
    return `[${each(value, (element) => this.item.write(element)).join(',')}]`;
  }

  schema(direction: Direction): JsonSchema {
    return { type: 'array', items: this.item.schema(direction) };
  }
}

class RecordShape<Out, In> extends Shape<Record<string, Out>, Readonly<Record<string, In>>> {
  override readonly isExact: boolean;

  constructor(private readonly item: Shape<Out, In>) {
    super();
    this.isExact = item.isExact;
  }

  read(json: unknown): Record<string, Out> {
    const read: Record<string, Out> = {};
    for (const [name, value] of Object.entries(objectOf(json))) define(read, name, at(name, () => this.item.read(value)));
    return read;
  }

  override readExactly(scanner: Scanner, json: unknown): Record<string, Out> {
    const object = objectOf(json);
    const read: Record<string, Out> = {};
    scanner.members((name) => define(read, name, at(name, () => this.item.readExactly(scanner, object[name]))));
    return read;
  }

  write(value: unknown): string {
    const members = Object.entries(objectOf(value)).filter(([, member]) => member !== undefined);
    return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${at(name, () => this.item.write(member))}`).join(',')}}`;
  }

  schema(direction: Direction): JsonSchema {
    return { type: 'object', additionalProperties: this.item.schema(direction) };
  }
}

/** The names and types of an object's members. */
export type Members = { readonly [name: string]: Shape<any, any> };

type Flat<T> = { [K in keyof T]: T[K] } & {};
type OptionalOut<M> = { [K in keyof M]: M[K] extends Optional<any, any> ? K : never }[keyof M];
type OptionalIn<M> = { [K in keyof M]: M[K] extends Optional<any, any> | Default<any, any> ? K : never }[keyof M];
export type OutOf<S> = S extends Shape<infer Out, any> ? Out : never;
export type InOf<S> = S extends Shape<any, infer In> ? In : never;
export type MembersOut<M extends Members> = Flat<
  { [K in Exclude<keyof M, OptionalOut<M>>]: OutOf<M[K]> } & { [K in OptionalOut<M>]?: OutOf<M[K]> }
>;
export type MembersIn<M extends Members> = Flat<
  { [K in Exclude<keyof M, OptionalIn<M>>]: InOf<M[K]> } & { [K in OptionalIn<M>]?: InOf<M[K]> }
>;

export class ObjectShape<M extends Members> extends Shape<MembersOut<M>, MembersIn<M>> {
  override readonly isExact: boolean;
  private readonly list: readonly (readonly [name: string, shape: Shape<unknown>, prefix: string])[];

  constructor(readonly members: M) {
    super();
    this.list = Object.entries(members).map(([name, shape]) => [name, shape, `${JSON.stringify(name)}:`]);
    this.isExact = this.list.some(([, shape]) => shape.isExact);
  }

  read(json: unknown): MembersOut<M> {
    const object = objectOf(json);
    const read: Record<string, unknown> = {};
    let current = '';
    try {
      for (const [name, shape] of this.list) {
        current = name;
        const value = shape.read(Object.hasOwn(object, name) ? object[name] : undefined);
        if (value !== undefined) read[name] = value;
      }
    } catch (error) {
      throw below(current, error);
    }
    return read as MembersOut<M>;
  }

  override readExactly(scanner: Scanner, json: unknown): MembersOut<M> {
    const object = objectOf(json);
    const exact: Record<string, unknown> = {};
    scanner.members((name) => {
      const shape = Object.hasOwn(this.members, name) ? this.members[name] : undefined;
      if (shape?.isExact) exact[name] = at(name, () => shape.readExactly(scanner, object[name]));
      else scanner.raw();
    });
    const read: Record<string, unknown> = {};
    for (const [name, shape] of this.list) {
      const isThere = Object.hasOwn(object, name);
      const value = shape.isExact && isThere ? exact[name] : at(name, () => shape.read(isThere ? object[name] : undefined));
      if (value !== undefined) read[name] = value;
    }
    return read as MembersOut<M>;
  }

  write(value: unknown): string {
    const object = objectOf(value);
    let text = '';
    let current = '';
    try {
      for (const [name, shape, prefix] of this.list) {
        current = name;
        const member = object[name];
        if ((member === undefined || member === null) && isOptional(shape)) continue;
        text += (text === '' ? '{' : ',') + prefix + shape.write(member);
      }
    } catch (error) {
      throw below(current, error);
    }
    return text === '' ? '{}' : `${text}}`;
  }

  schema(direction: Direction): JsonSchema {
    const properties: JsonSchema = {};
    for (const [name, shape] of this.list) properties[name] = shape.schema(direction);
    const required = this.list.filter(([, shape]) => !isOptional(shape)).map(([name]) => name);
    return { type: 'object', properties, ...(required.length > 0 && { required }) };
  }
}

class Wrapper<Out, In> extends Shape<Out, In> {
  override readonly isExact: boolean;

  constructor(
    readonly inner: Shape<unknown, unknown>,
    private readonly absent: Out,
  ) {
    super();
    this.isExact = inner.isExact;
  }

  read(json: unknown): Out {
    return json === undefined || json === null ? this.absent : (this.inner.read(json) as Out);
  }

  override readExactly(scanner: Scanner, json: unknown): Out {
    if (json !== null) return this.inner.readExactly(scanner, json) as Out;
    scanner.raw();
    return this.absent;
  }

  write(value: unknown): string {
    return value === undefined || value === null ? 'null' : this.inner.write(value);
  }

  schema(direction: Direction): JsonSchema {
    const schema = this.inner.schema(direction);
    if (direction === 'write' || Object.keys(schema).length === 0) return schema;
    const { type } = schema;
    if (schema.enum !== undefined || type === undefined) return { anyOf: [schema, { type: 'null' }] };
    return { ...schema, type: [...(Array.isArray(type) ? type : [type]), 'null'] };
  }
}

export class Optional<Out, In> extends Wrapper<Out | undefined, In | undefined> {
  declare private readonly isOptionalMember: true;

  constructor(inner: Shape<Out, In>) {
    super(inner, undefined);
  }
}

export class Default<Out, In> extends Wrapper<Out, In | undefined> {
  declare private readonly isDefaultMember: true;

  constructor(inner: Shape<Out, In>, value: Out) {
    super(inner, value);
  }
}

class Choice<T> extends Simple<T> {
  constructor(values: readonly T[]) {
    const expected = `one of ${values.map((value) => JSON.stringify(value)).join(', ')}`;
    super(expected, (value): value is T => values.includes(value as T), { enum: [...values] });
  }
}

/** One of several objects, told apart by a member. */
class Variants<Out, In> extends Shape<Out, In> {
  override readonly isExact: boolean;
  private readonly shapes: Map<unknown, Shape<unknown, unknown>>;

  constructor(
    private readonly tag: string,
    cases: Readonly<Record<string, Members>>,
  ) {
    super();
    const shape = (name: string, members: Members) => new ObjectShape({ [tag]: new Choice([name]), ...members });
    this.shapes = new Map(Object.entries(cases).map(([name, members]) => [name, shape(name, members)]));
    this.isExact = [...this.shapes.values()].some((inner) => inner.isExact);
  }

  read(json: unknown): Out {
    return this.of(json).read(json) as Out;
  }

  override readExactly(scanner: Scanner, json: unknown): Out {
    return this.of(json).readExactly(scanner, json) as Out;
  }

  write(value: unknown): string {
    return this.of(value).write(value);
  }

  schema(direction: Direction): JsonSchema {
    return { oneOf: [...this.shapes.values()].map((shape) => shape.schema(direction)) };
  }

  private of(value: unknown): Shape<unknown, unknown> {
    const name = objectOf(value)[this.tag];
    const shape = this.shapes.get(name);
    if (shape !== undefined) return shape;
    throw new DataError(`/${this.tag}`, `is ${name === undefined ? 'missing' : JSON.stringify(name)}, expected one of ${[...this.shapes.keys()].join(', ')}`);
  }
}

type VariantsOut<Tag extends string, C extends Record<string, Members>> = { [K in keyof C]: Flat<{ [T in Tag]: K } & MembersOut<C[K]>> }[keyof C];
type VariantsIn<Tag extends string, C extends Record<string, Members>> = { [K in keyof C]: Flat<{ [T in Tag]: K } & MembersIn<C[K]>> }[keyof C];

const simple = <T>(expected: string, fits: (value: unknown) => value is T, schema: JsonSchema): Shape<T> => new Simple(expected, fits, schema);

/** The types of members: `{ orderId: t.string, total: t.decimal, items: t.array(t.object({ … })) }`. */
export const t = {
  string: simple('a string', (value): value is string => typeof value === 'string', { type: 'string' }),
  boolean: simple('true or false', (value): value is boolean => typeof value === 'boolean', { type: 'boolean' }),
  /** A JavaScript number. NaN and the infinities are refused. */
  number: simple('a finite number', (value): value is number => typeof value === 'number' && Number.isFinite(value), { type: 'number' }),
  /** A JavaScript number without a fraction, below 2^53. */
  integer: simple('an integer below 2^53', (value): value is number => Number.isSafeInteger(value), { type: 'integer' }),
  /** An integer of 64 bits, as a `bigint`. */
  bigint: new BigInteger() as Shape<bigint>,
  /** An exact decimal number. */
  decimal: new ExactDecimal() as Shape<Decimal>,
  /** A moment in RFC 3339. */
  timestamp: new Text<Timestamp>(
    'an RFC 3339 time',
    Timestamp.parse,
    (value) => (value instanceof Timestamp || value instanceof Date ? (value instanceof Date ? Timestamp.fromDate(value) : value).toString() : undefined),
    { type: 'string', format: 'date-time' },
  ) as Shape<Timestamp, Timestamp | Date>,
  /** A duration such as `1h 30m`: a string in JSON, milliseconds in JavaScript. */
  duration: new Text<Duration>('a duration such as 1h 30m', parseDuration, (value) => (typeof value === 'number' ? formatDuration(value) : undefined), {
    type: 'string',
    pattern: '^\\s*([0-9]+(ms|s|m|h|d)\\s*)+$',
  }) as Shape<Duration>,
  /** JSON that is passed on byte for byte. */
  json: new RawJson() as Shape<Json>,
  /** One of these values. */
  oneOf: <const T extends string | number | boolean>(...values: readonly T[]): Shape<T> => new Choice(values),
  array: <Out, In>(item: Shape<Out, In>): Shape<Out[], readonly In[]> => new ArrayShape(item),
  /** An object whose members have any names. */
  record: <Out, In>(item: Shape<Out, In>): Shape<Record<string, Out>, Readonly<Record<string, In>>> => new RecordShape(item),
  object: <M extends Members>(members: M): ObjectShape<M> => new ObjectShape(members),
  /** A discriminated union: `t.variants('kind', { card: { number: t.string }, cash: {} })`. */
  variants: <const Tag extends string, C extends Record<string, Members>>(tag: Tag, cases: C): Shape<VariantsOut<Tag, C>, VariantsIn<Tag, C>> => new Variants(tag, cases),
};

function isOptional(shape: Shape<unknown, unknown>): boolean {
  return shape instanceof Wrapper;
}

export function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  switch (typeof value) {
    case 'string': return `the string ${JSON.stringify(value.length > 50 ? `${value.slice(0, 50)}…` : value)}`;
    case 'number': return `the number ${value}`;
    case 'bigint': return `the bigint ${value}`;
    case 'object': return 'an object';
    default: return String(value);
  }
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new DataError('', `is ${kindOf(value)}, expected an object`);
}

/** Also for a member called `__proto__`. */
function define(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
}

function attempt<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new DataError('', `is not right: ${(error as Error).message}`);
  }
}

function below(name: string | number, error: unknown): unknown {
  if (!(error instanceof DataError)) return error;
  const step = String(name).replaceAll('~', '~0').replaceAll('/', '~1');
  return new DataError(`/${step}${error.path}`, error.problem);
}

function at<T>(name: string | number, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw below(name, error);
  }
}

function each<T, U>(array: readonly T[], change: (element: T) => U): U[] {
  const changed: U[] = [];
  try {
    for (const element of array) changed.push(change(element));
  } catch (error) {
    throw below(changed.length, error);
  }
  return changed;
}
