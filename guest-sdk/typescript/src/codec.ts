/** From bytes to values and back, for each of the ways in which an author can say what a type is. */

import { engine, parseWithDigits } from './digits.ts';
import { DataError, textOf } from './errors.ts';
import { Scanner } from './scan.ts';
import { ObjectShape, type Members, type MembersIn, type MembersOut } from './composites.ts';
import { Json } from './scalars.ts';
import { Shape, type Direction, type JsonSchema } from './shape.ts';
import { decode, encode } from './text.ts';
import { Decimal } from './decimal.ts';

/** The part of the Standard Schema and Standard JSON Schema interfaces that the SDK uses. */
export interface StandardSchema<In = unknown, Out = In> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly types?: { readonly input: In; readonly output: Out } | undefined;
    readonly validate?: (value: unknown) => StandardResult<Out> | Promise<StandardResult<Out>>;
    readonly jsonSchema?: {
      readonly input: (options: { target: 'draft-2020-12' }) => Record<string, unknown>;
      readonly output: (options: { target: 'draft-2020-12' }) => Record<string, unknown>;
    };
  };
}

interface StandardResult<Out> {
  readonly value?: Out;
  readonly issues?:
    readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] | undefined;
}

declare const TYPE: unique symbol;

/** A TypeScript type alone: {@link type} makes it. Nothing is checked while the plugin runs. */
export interface Type<T> {
  readonly [TYPE]?: T;
  readonly jsonSchema: JsonSchema | undefined;
}

/** A schema of another library that data is checked with: {@link checked} makes it. */
export interface Checked<In, Out> {
  readonly schema: StandardSchema<In, Out>;
}

/** Data that is no JSON, or is passed on as it is: a `Uint8Array`. A message can also be written as a string. */
export const bytes: { readonly bytes: true } = { bytes: true };
export type Bytes = typeof bytes;

/** All that says what data looks like. */
export type Source =
  Shape<any, any> | Members | StandardSchema<any, any> | Checked<any, any> | Type<any> | Bytes;

/** What a handler gets. */
export type Read<S> =
  S extends Shape<infer Out, any>
    ? Out
    : S extends Checked<any, infer Out>
      ? Out
      : S extends StandardSchema<infer In, any>
        ? In
        : S extends Bytes
          ? Uint8Array
          : S extends Type<infer T>
            ? T
            : S extends Members
              ? MembersOut<S>
              : never;

/** What an author writes. */
export type Written<S> =
  S extends Shape<any, infer In>
    ? In
    : S extends Checked<infer In, any>
      ? In
      : S extends StandardSchema<infer In, any>
        ? In
        : S extends Bytes
          ? Uint8Array | string
          : S extends Type<infer T>
            ? T
            : S extends Members
              ? MembersIn<S>
              : never;

/**
 * A TypeScript type, for data that is not checked while the plugin runs: `type<OrderPaid>()`. Its
 * JSON Schema, if you give one, becomes part of the manifest.
 */
export function type<T>(jsonSchema?: JsonSchema): Type<T> {
  return { jsonSchema };
}

/**
 * Checks data with a schema of zod, valibot or another Standard Schema library, in each call. Without it,
 * such a schema gives the types and the manifest, and costs nothing while the plugin runs.
 */
export function checked<In, Out>(schema: StandardSchema<In, Out>): Checked<In, Out> {
  return { schema };
}

export interface Codec {
  read(data: Uint8Array): unknown;
  write(value: unknown): Uint8Array;
  /** The JSON Schema, if one is known. */
  schema(direction: Direction): JsonSchema | undefined;
  /** Whether its values come as JSON. */
  readonly isJson: boolean;
  /** Whether `read` checks the data. An event of such a type is read before its handler is called. */
  readonly isChecked: boolean;
  /**
   * As `read`; throws if the data does not fit or would lose a member. For codecs that know no more
   * than that the data is JSON, nothing does.
   */
  readWhole(data: Uint8Array): unknown;
}

export function codecOf(source: Source | undefined): Codec {
  if (source === undefined) return new PlainCodec(undefined);
  if (source === bytes) return BYTES;
  if (source instanceof Shape) return new ShapeCodec(source);
  if ('~standard' in source) return new StandardCodec(source as StandardSchema, false);
  if ('schema' in source && isStandard(source.schema)) return new StandardCodec(source.schema, true);
  const members = Object.values(source);
  if (members.every((member) => member instanceof Shape))
    return new ShapeCodec(new ObjectShape(source as Members));
  return new PlainCodec((source as Type<unknown>).jsonSchema);
}

function isStandard(value: unknown): value is StandardSchema {
  return (typeof value === 'object' || typeof value === 'function') && value !== null && '~standard' in value;
}

const BYTES: Codec = {
  isJson: false,
  isChecked: false,
  read: (data) => data,
  write(value) {
    if (value instanceof Uint8Array) return value;
    if (typeof value === 'string') return encode(value);
    throw new DataError('', 'is neither a Uint8Array nor a string');
  },
  schema: () => undefined,
  readWhole: (data) => data,
};

class ShapeCodec implements Codec {
  readonly isJson = true;
  readonly isChecked = true;

  private readonly exactNames = new Set<string>();

  constructor(private readonly shape: Shape<unknown, unknown>) {
    shape.exactNames('', this.exactNames);
  }

  read(data: Uint8Array): unknown {
    return this.ofText(textOfJson(data));
  }

  write(value: unknown): Uint8Array {
    return encode(this.shape.write(value));
  }

  schema(direction: Direction): JsonSchema {
    return this.shape.schema(direction);
  }

  readWhole(data: Uint8Array): unknown {
    const text = textOfJson(data);
    const value = this.ofText(text);
    refuseDropped(JSON.parse(text), JSON.parse(this.shape.write(value)));
    return value;
  }

  private ofText(text: string): unknown {
    const { shape } = this;
    if (!shape.isExact) return shape.read(parse(text));
    if (shape.needsText || !engine.hasSources) return shape.readExactly(new Scanner(text), parse(text));
    return shape.read(parse(text, this.exactNames));
  }
}

class PlainCodec implements Codec {
  readonly isJson = true;
  readonly isChecked = false;

  constructor(private readonly jsonSchema: JsonSchema | undefined) {}

  read(data: Uint8Array): unknown {
    return parse(textOfJson(data));
  }

  write(value: unknown): Uint8Array {
    return encode(stringify(value));
  }

  schema(): JsonSchema | undefined {
    return this.jsonSchema;
  }

  readWhole(data: Uint8Array): unknown {
    return this.read(data);
  }
}

class StandardCodec implements Codec {
  readonly isJson = true;

  constructor(
    private readonly standard: StandardSchema,
    readonly isChecked: boolean,
  ) {}

  read(data: Uint8Array): unknown {
    const json = parse(textOfJson(data));
    return this.isChecked ? this.validate(json) : json;
  }

  write(value: unknown): Uint8Array {
    return encode(stringify(value));
  }

  schema(direction: Direction): JsonSchema | undefined {
    const converter = this.standard['~standard'].jsonSchema;
    if (converter === undefined) return undefined;
    const options = { target: 'draft-2020-12' } as const;
    return direction === 'read' ? converter.input(options) : converter.output(options);
  }

  readWhole(data: Uint8Array): unknown {
    const json = parse(textOfJson(data));
    const value = this.validate(json);
    refuseDropped(json, value);
    return this.isChecked ? value : json;
  }

  private validate(json: unknown): unknown {
    const { validate, vendor } = this.standard['~standard'];
    const result = validate?.(json) ?? { value: json };
    if (result instanceof Promise)
      throw new DataError('', `is checked asynchronously by ${vendor}, and a plugin cannot wait`);
    const [issue] = result.issues ?? [];
    if (issue === undefined) return result.value;
    const keys = (issue.path ?? []).map((part) =>
      typeof part === 'object' && part !== null ? (part as { key: unknown }).key : part,
    );
    throw new DataError(keys.map((key) => `/${String(key)}`).join(''), `does not fit: ${issue.message}`);
  }
}

function textOfJson(data: Uint8Array): string {
  try {
    return decode(data);
  } catch (error) {
    throw new DataError('', `is no JSON: ${textOf(error)}`);
  }
}

function parse(text: string, exactNames?: ReadonlySet<string>): unknown {
  try {
    return exactNames === undefined ? JSON.parse(text) : parseWithDigits(text, exactNames);
  } catch (error) {
    throw new DataError('', `is no JSON: ${text === '' ? 'it is empty' : textOf(error)}`);
  }
}

/** `JSON.stringify`, but exact for `bigint` and {@link Decimal}, and without silent `null`s for NaN. */
export function stringify(value: unknown): string {
  let text: string | undefined;
  try {
    text = hasRawJson ? JSON.stringify(value) : undefined;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  if (text !== undefined && !text.includes('null')) return text;
  // A bigint, a null that may have been NaN, or an engine that cannot write a Decimal.
  const own = written(value, new Set());
  if (own === undefined) throw new DataError('', 'is nothing that JSON can express');
  return own;
}

const hasRawJson = 'rawJSON' in JSON;

function written(value: unknown, above: Set<object>): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return JSON.stringify(value);
    case 'bigint':
      return value.toString();
    case 'number':
      if (Number.isFinite(value)) return JSON.stringify(value);
      throw new DataError('', `is ${value}, which JSON cannot express`);
    case 'object':
      return value === null ? 'null' : writtenObject(value, above);
    default:
      return undefined;
  }
}

function writtenObject(value: object, above: Set<object>): string | undefined {
  if (value instanceof Decimal) return value.toString();
  if (value instanceof Json) return value.text;
  if ('toJSON' in value && typeof value.toJSON === 'function') return written(value.toJSON(), above);
  if (value instanceof Number || value instanceof String || value instanceof Boolean)
    return written(value.valueOf(), above);
  if (above.has(value)) throw new DataError('', 'refers to itself');
  above.add(value);
  const parts: string[] = [];
  const isArray = Array.isArray(value);
  for (const [key, member] of Object.entries(isArray ? [...value] : value)) {
    const text = writtenMember(key, member, above);
    if (isArray) parts.push(text ?? 'null');
    else if (text !== undefined) parts.push(`${JSON.stringify(key)}:${text}`);
  }
  above.delete(value);
  return isArray ? `[${parts.join(',')}]` : `{${parts.join(',')}}`;
}

function writtenMember(key: string, member: unknown, above: Set<object>): string | undefined {
  try {
    return written(member, above);
  } catch (error) {
    throw error instanceof DataError ? new DataError(`/${key}${error.path}`, error.problem) : error;
  }
}

/** Throws for a member of `before` that is not in `after`, unless it says nothing: null, false, 0, empty. */
function refuseDropped(before: unknown, after: unknown, path = ''): void {
  if (typeof before !== 'object' || before === null || typeof after !== 'object' || after === null) return;
  if (Array.isArray(before) !== Array.isArray(after)) return;
  for (const [name, value] of Object.entries(before)) {
    const place = `${path}/${name}`;
    if (Object.hasOwn(after, name)) refuseDropped(value, (after as Record<string, unknown>)[name], place);
    else if (!saysNothing(value))
      throw new DataError(place, 'would be dropped: this version of the plugin does not know it');
  }
}

function saysNothing(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.keys(value).length === 0;
  return value === null || value === false || value === 0 || value === '';
}
