/**
 * What all types that exist while the plugin runs have in common: they check data, keep what JavaScript
 * numbers cannot hold, and give the JSON Schemas of the manifest.
 *
 * A value is read in two steps. `JSON.parse` reads the whole text; `read` checks the result, in place. The
 * numbers of exact parts (`isExact`) come as {@link Digits}, or from the text with a {@link Scanner}: raw
 * JSON comes from there in any engine (`needsText`), numbers where the engine keeps no digits. Writing goes
 * the other way: `plain` makes what `JSON.stringify` can write, unless a part is raw JSON (`isRaw`).
 *
 * All of this runs in each call, in an interpreter: hence loops with an index, and no closures for members
 * that are plain strings and numbers.
 */

import { Digits } from './digits.ts';
import { DataError } from './errors.ts';
import type { Scanner } from './scan.ts';

export type JsonSchema = { [keyword: string]: unknown };
/** What a schema describes: data that is read, or data that is written. */
export type Direction = 'read' | 'write';

declare const OUTPUT: unique symbol;
declare const INPUT: unique symbol;

/** Types that are checked without a call, and are the same in JSON and in memory. */
export enum Kind {
  Other,
  String,
  Boolean,
  Number,
  Integer,
}

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

export function isOptional(shape: Shape<unknown, unknown>): boolean {
  return shape instanceof Wrapper;
}

export function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'an array';
  if (value instanceof Digits) return `the number ${value.text}`;
  switch (typeof value) {
    case 'string':
      return `the string ${JSON.stringify(value.length > 50 ? `${value.slice(0, 50)}…` : value)}`;
    case 'number':
      return `the number ${value}`;
    case 'bigint':
      return `the bigint ${value}`;
    case 'object':
      return 'an object';
    default:
      return String(value);
  }
}

export function objectOf(value: unknown): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Digits))
    return value as Record<string, unknown>;
  throw new DataError('', `is ${kindOf(value)}, expected an object`);
}

export function arrayOf(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  throw new DataError('', `is ${kindOf(value)}, expected an array`);
}

export function isOfKind(kind: Kind, value: unknown): boolean {
  switch (kind) {
    case Kind.String:
      return typeof value === 'string';
    case Kind.Number:
      return typeof value === 'number' && value - value === 0;
    case Kind.Integer:
      return Number.isSafeInteger(value);
    case Kind.Boolean:
      return typeof value === 'boolean';
    default:
      return false;
  }
}

/** Replaces a member by what it means; one that is absent by itself stays so. */
export function set(object: Record<string, unknown>, name: string, before: unknown, after: unknown): void {
  if (after === undefined) {
    if (before !== undefined) delete object[name];
  } else if (after !== before) define(object, name, after);
}

/** Also for a member called `__proto__`. */
export function define(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
}

export function attempt<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw new DataError('', `is not right: ${(error as Error).message}`);
  }
}

export function below(name: string | number, error: unknown): unknown {
  if (!(error instanceof DataError)) return error;
  const step = String(name).replaceAll('~', '~0').replaceAll('/', '~1');
  return new DataError(`/${step}${error.path}`, error.problem);
}

export function at<T>(name: string | number, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw below(name, error);
  }
}
