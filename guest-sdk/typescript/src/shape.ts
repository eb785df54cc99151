/**
 * Types that exist while the plugin runs: they check data, keep what JavaScript numbers cannot hold, and
 * give the JSON Schemas of the manifest.
 *
 * A value is read in two steps. `JSON.parse` reads the whole text; `read` checks the result, in place. The
 * numbers of exact parts (`isExact`) come as {@link Digits}, or from the text with a {@link Scanner}: so raw
 * JSON comes in any engine (`needsText`), and numbers do where the engine keeps no digits. Writing goes the other way: `plain` makes what `JSON.stringify` can write, unless a part is raw JSON (`isRaw`).
 *
 * All of this runs in each call, in an interpreter: hence loops with an index, and no closures for members
 * that are plain strings and numbers.
 */

import { Decimal } from './decimal.ts';
import { ANY_NAME, Digits } from './digits.ts';
import { DataError } from './errors.ts';
import { Scanner } from './scan.ts';
import { formatDuration, parseDuration, Timestamp, type Duration } from './time.ts';

export type JsonSchema = { [keyword: string]: unknown };
/** What a schema describes: data that is read, or data that is written. */
export type Direction = 'read' | 'write';

declare const OUTPUT: unique symbol;
declare const INPUT: unique symbol;

/** Types that are checked without a call, and are the same in JSON and in memory. */
enum Kind {
  Other,
  String,
  Boolean,
  Number,
  Integer,
}

const hasRawJson = 'rawJSON' in JSON;
const rawJson = (text: string): unknown => (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(text);

export abstract class Shape<Out, In = Out> {
  declare readonly [OUTPUT]: Out;
  declare readonly [INPUT]: In;
  /** Whether reading needs the text of the JSON. */
  readonly isExact: boolean = false;
  /** Whether a part of it is only found in the text. */
  readonly needsText: boolean = false;
  /** Whether `plain` cannot express the value, so that `write` is used. */
  readonly isRaw: boolean = true;
  readonly kind: Kind = Kind.Other;

  /** The value for what `JSON.parse` gave, which it can change; throws a {@link DataError}. */
  abstract read(json: unknown): Out;
  /** JSON text; throws a {@link DataError}. */
  abstract write(value: unknown): string;
  abstract schema(direction: Direction): JsonSchema;

  /** What `JSON.stringify` writes as the value; throws a {@link DataError}. */
  plain(value: unknown): unknown {
    return JSON.parse(this.write(value));
  }

  /** Adds the names of members whose numbers must keep their digits; `own` is this one's. */
  exactNames(own: string, names: Set<string>): void {
    if (this.isExact) names.add(own);
  }

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
  override readonly isRaw = false;

  constructor(
    private readonly expected: string,
    private readonly fits: (value: unknown) => value is T,
    private readonly description: JsonSchema,
    override readonly kind: Kind = Kind.Other,
  ) {
    super();
  }

  read(json: unknown): T {
    // Another member of this name is exact.
    const value = json instanceof Digits ? Number(json.text) : json;
    if (this.fits(value)) return value;
    throw new DataError('', `is ${kindOf(json)}, expected ${this.expected}`);
  }

  override plain(value: unknown): T {
    return this.read(value);
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
  override readonly isRaw = false;

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

  override plain(value: unknown): string {
    const text = attempt(() => this.format(value));
    if (text === undefined) throw new DataError('', `is ${kindOf(value)}, expected ${this.expected}`);
    return text;
  }

  write(value: unknown): string {
    return JSON.stringify(this.plain(value));
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
  override readonly isRaw = !hasRawJson;

  read(json: unknown): bigint {
    if (json instanceof Digits) return this.ofText(json.text);
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

  override plain(value: unknown): unknown {
    return rawJson(this.write(value));
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
  override readonly isRaw = !hasRawJson;

  read(json: unknown): Decimal {
    if (json instanceof Digits) return attempt(() => Decimal.of(json.text));
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

  override plain(value: unknown): unknown {
    return rawJson(this.write(value));
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
  override readonly needsText = true;

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
  override readonly needsText: boolean;
  override readonly isRaw: boolean;

  constructor(private readonly item: Shape<Out, In>) {
    super();
    this.isExact = item.isExact;
    this.needsText = item.needsText;
    this.isRaw = item.isRaw;
  }

  override exactNames(_own: string, names: Set<string>): void {
    this.item.exactNames(ANY_NAME, names);
  }

  read(json: unknown): Out[] {
    const array = arrayOf(json);
    let index = 0;
    try {
      for (; index < array.length; index += 1) {
        if (!isOfKind(this.item.kind, array[index])) array[index] = this.item.read(array[index]);
      }
    } catch (error) {
      throw below(index, error);
    }
    return array as Out[];
  }

  override readExactly(scanner: Scanner, json: unknown): Out[] {
    const array = arrayOf(json);
    let index = 0;
    try {
      scanner.items(() => {
        array[index] = this.item.readExactly(scanner, array[index]);
        index += 1;
      });
    } catch (error) {
      throw below(index, error);
    }
    return array as Out[];
  }

  override plain(value: unknown): unknown {
    const array = arrayOf(value);
    const plain: unknown[] = [];
    try {
      for (let index = 0; index < array.length; index += 1) plain.push(this.item.plain(array[index]));
    } catch (error) {
      throw below(plain.length, error);
    }
    return plain;
  }

  write(value: unknown): string {
    if (!this.isRaw) return JSON.stringify(this.plain(value));
    const items: string[] = [];
    try {
      for (const item of arrayOf(value)) items.push(this.item.write(item));
    } catch (error) {
      throw below(items.length, error);
    }
    return `[${items.join(',')}]`;
  }

  schema(direction: Direction): JsonSchema {
    return { type: 'array', items: this.item.schema(direction) };
  }
}

class RecordShape<Out, In> extends Shape<Record<string, Out>, Readonly<Record<string, In>>> {
  override readonly isExact: boolean;
  override readonly needsText: boolean;
  override readonly isRaw: boolean;

  constructor(private readonly item: Shape<Out, In>) {
    super();
    this.isExact = item.isExact;
    this.needsText = item.needsText;
    this.isRaw = item.isRaw;
  }

  override exactNames(_own: string, names: Set<string>): void {
    this.item.exactNames(ANY_NAME, names);
  }

  read(json: unknown): Record<string, Out> {
    const object = objectOf(json);
    for (const name of Object.keys(object)) {
      const value = object[name];
      if (!isOfKind(this.item.kind, value)) define(object, name, at(name, () => this.item.read(value)));
    }
    return object as Record<string, Out>;
  }

  override readExactly(scanner: Scanner, json: unknown): Record<string, Out> {
    const object = objectOf(json);
    scanner.lastMembers(
      () => true,
      (name) => define(object, name, at(name, () => this.item.readExactly(scanner, object[name]))),
    );
    return object as Record<string, Out>;
  }

  override plain(value: unknown): unknown {
    const object = objectOf(value);
    const plain: Record<string, unknown> = {};
    for (const name of Object.keys(object)) {
      if (object[name] !== undefined) define(plain, name, at(name, () => this.item.plain(object[name])));
    }
    return plain;
  }

  write(value: unknown): string {
    if (!this.isRaw) return JSON.stringify(this.plain(value));
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
  override readonly needsText: boolean;
  override readonly isRaw: boolean;
  private readonly names: readonly string[];
  private readonly shapes: readonly Shape<unknown, unknown>[];

  constructor(readonly members: M) {
    super();
    this.names = Object.keys(members);
    this.shapes = Object.values(members);
    this.isExact = this.shapes.some((shape) => shape.isExact);
    this.needsText = this.shapes.some((shape) => shape.needsText);
    this.isRaw = this.shapes.some((shape) => shape.isRaw);
  }

  override exactNames(_own: string, names: Set<string>): void {
    this.shapes.forEach((shape, index) => shape.exactNames(this.names[index]!, names));
  }

  read(json: unknown): MembersOut<M> {
    const object = objectOf(json);
    const { names, shapes } = this;
    let index = 0;
    try {
      for (; index < names.length; index += 1) {
        const name = names[index]!;
        const shape = shapes[index]!;
        const value = object[name];
        if (isOfKind(shape.kind, value)) continue;
        set(object, name, value, shape.read(Object.hasOwn(object, name) ? value : undefined));
      }
    } catch (error) {
      throw below(names[index]!, error);
    }
    return object as MembersOut<M>;
  }

  override readExactly(scanner: Scanner, json: unknown): MembersOut<M> {
    const object = objectOf(json);
    const { members, names, shapes } = this;
    scanner.lastMembers(
      (name) => Object.hasOwn(members, name) && members[name]!.isExact,
      (name) => set(object, name, object[name], at(name, () => members[name]!.readExactly(scanner, object[name]))),
    );
    for (let index = 0; index < names.length; index += 1) {
      const name = names[index]!;
      const shape = shapes[index]!;
      const isThere = Object.hasOwn(object, name);
      if (shape.isExact && isThere) continue;
      set(object, name, object[name], at(name, () => shape.read(isThere ? object[name] : undefined)));
    }
    return object as MembersOut<M>;
  }

  override plain(value: unknown): unknown {
    const object = objectOf(value);
    const { names, shapes } = this;
    const plain: Record<string, unknown> = {};
    let index = 0;
    try {
      for (; index < names.length; index += 1) {
        const name = names[index]!;
        const shape = shapes[index]!;
        const member = object[name];
        if (isOfKind(shape.kind, member)) plain[name] = member;
        else if ((member !== undefined && member !== null) || !isOptional(shape)) plain[name] = shape.plain(member);
      }
    } catch (error) {
      throw below(names[index]!, error);
    }
    return plain;
  }

  write(value: unknown): string {
    return this.isRaw ? this.text(objectOf(value)) : JSON.stringify(this.plain(value));
  }

  schema(direction: Direction): JsonSchema {
    const properties: JsonSchema = {};
    this.names.forEach((name, index) => (properties[name] = this.shapes[index]!.schema(direction)));
    const required = this.names.filter((_, index) => !isOptional(this.shapes[index]!));
    return { type: 'object', properties, ...(required.length > 0 && { required }) };
  }

  private text(object: Record<string, unknown>): string {
    const members: string[] = [];
    this.names.forEach((name, index) => {
      const shape = this.shapes[index]!;
      const member = object[name];
      if ((member === undefined || member === null) && isOptional(shape)) return;
      members.push(`${JSON.stringify(name)}:${at(name, () => shape.write(member))}`);
    });
    return `{${members.join(',')}}`;
  }
}

class Wrapper<Out, In> extends Shape<Out, In> {
  override readonly isExact: boolean;
  override readonly needsText: boolean;
  override readonly isRaw: boolean;
  override readonly kind: Kind;

  constructor(
    readonly inner: Shape<unknown, unknown>,
    private readonly absent: Out,
  ) {
    super();
    this.isExact = inner.isExact;
    this.needsText = inner.needsText;
    this.isRaw = inner.isRaw;
    this.kind = inner.kind;
  }

  override exactNames(own: string, names: Set<string>): void {
    this.inner.exactNames(own, names);
  }

  override plain(value: unknown): unknown {
    return value === undefined || value === null ? null : this.inner.plain(value);
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
  override readonly needsText: boolean;
  override readonly isRaw: boolean;
  private readonly shapes: Map<unknown, Shape<unknown, unknown>>;

  constructor(
    private readonly tag: string,
    cases: Readonly<Record<string, Members>>,
  ) {
    super();
    const shape = (name: string, members: Members) => new ObjectShape({ [tag]: new Choice([name]), ...members });
    this.shapes = new Map(Object.entries(cases).map(([name, members]) => [name, shape(name, members)]));
    this.isExact = [...this.shapes.values()].some((inner) => inner.isExact);
    this.needsText = [...this.shapes.values()].some((inner) => inner.needsText);
    this.isRaw = [...this.shapes.values()].some((inner) => inner.isRaw);
  }

  read(json: unknown): Out {
    return this.of(json).read(json) as Out;
  }

  override readExactly(scanner: Scanner, json: unknown): Out {
    return this.of(json).readExactly(scanner, json) as Out;
  }

  override exactNames(own: string, names: Set<string>): void {
    for (const shape of this.shapes.values()) shape.exactNames(own, names);
  }

  override plain(value: unknown): unknown {
    return this.of(value).plain(value);
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

const simple = <T>(expected: string, fits: (value: unknown) => value is T, schema: JsonSchema, kind: Kind): Shape<T> => new Simple(expected, fits, schema, kind);

/** The types of members: `{ orderId: t.string, total: t.decimal, items: t.array(t.object({ … })) }`. */
export const t = {
  string: simple('a string', (value): value is string => typeof value === 'string', { type: 'string' }, Kind.String),
  boolean: simple('true or false', (value): value is boolean => typeof value === 'boolean', { type: 'boolean' }, Kind.Boolean),
  /** A JavaScript number. NaN and the infinities are refused. */
  number: simple('a finite number', (value): value is number => typeof value === 'number' && Number.isFinite(value), { type: 'number' }, Kind.Number),
  /** A JavaScript number without a fraction, below 2^53. */
  integer: simple('an integer below 2^53', (value): value is number => Number.isSafeInteger(value), { type: 'integer' }, Kind.Integer),
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
  if (value instanceof Digits) return `the number ${value.text}`;
  switch (typeof value) {
    case 'string': return `the string ${JSON.stringify(value.length > 50 ? `${value.slice(0, 50)}…` : value)}`;
    case 'number': return `the number ${value}`;
    case 'bigint': return `the bigint ${value}`;
    case 'object': return 'an object';
    default: return String(value);
  }
}

function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Digits)) return value as Record<string, unknown>;
  throw new DataError('', `is ${kindOf(value)}, expected an object`);
}

function arrayOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw new DataError('', `is ${kindOf(value)}, expected an array`);
}

function isOfKind(kind: Kind, value: unknown): boolean {
  switch (kind) {
    case Kind.String: return typeof value === 'string';
    case Kind.Number: return typeof value === 'number' && value - value === 0;
    case Kind.Integer: return Number.isSafeInteger(value);
    case Kind.Boolean: return typeof value === 'boolean';
    default: return false;
  }
}

/** Replaces a member by what it means; one that is absent by itself stays so. */
function set(object: Record<string, unknown>, name: string, before: unknown, after: unknown): void {
  if (after === undefined) {
    if (before !== undefined) delete object[name];
  } else if (after !== before) define(object, name, after);
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
