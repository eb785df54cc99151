/** Shapes of single values. */

import { Decimal } from './decimal.ts';
import { Digits } from './digits.ts';
import { DataError } from './errors.ts';
import type { Scanner } from './scan.ts';
import { attempt, Kind, kindOf, Shape, type Direction, type JsonSchema } from './shape.ts';

const hasRawJson = 'rawJSON' in JSON;
const rawJson = (text: string): unknown =>
  (JSON as unknown as { rawJSON(text: string): unknown }).rawJSON(text);

export class Simple<T> extends Shape<T> {
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
export class Text<T> extends Shape<T> {
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

export class BigInteger extends Shape<bigint> {
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

export class ExactDecimal extends Shape<Decimal, Decimal> {
  override readonly isExact = true;
  override readonly isRaw = !hasRawJson;

  read(json: unknown): Decimal {
    if (json instanceof Digits) return attempt(() => Decimal.of(json.text));
    if (typeof json !== 'number' && typeof json !== 'string')
      throw new DataError('', `is ${kindOf(json)}, expected a decimal number`);
    return attempt(() => Decimal.of(json));
  }

  override readExactly(scanner: Scanner): Decimal {
    const raw = scanner.raw();
    return raw[0] === '"'
      ? this.read(JSON.parse(raw))
      : /^[-\d]/.test(raw)
        ? attempt(() => Decimal.of(raw))
        : this.read(JSON.parse(raw));
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

export class RawJson extends Shape<Json> {
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

/** One of these values. */
export class Choice<T> extends Simple<T> {
  constructor(values: readonly T[]) {
    const expected = `one of ${values.map((value) => JSON.stringify(value)).join(', ')}`;
    super(expected, (value): value is T => values.includes(value as T), { enum: [...values] });
  }
}
