/** Shapes of arrays and objects. */

import { ANY_NAME } from './digits.ts';
import { DataError } from './errors.ts';
import { Choice } from './scalars.ts';
import type { Scanner } from './scan.ts';
import {
  arrayOf,
  at,
  below,
  define,
  isOfKind,
  isOptional,
  objectOf,
  set,
  Shape,
  type Default,
  type Direction,
  type JsonSchema,
  type Optional,
} from './shape.ts';

export class ArrayShape<Out, In> extends Shape<Out[], readonly In[]> {
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

export class RecordShape<Out, In> extends Shape<Record<string, Out>, Readonly<Record<string, In>>> {
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
      if (!isOfKind(this.item.kind, value))
        define(
          object,
          name,
          at(name, () => this.item.read(value)),
        );
    }
    return object as Record<string, Out>;
  }

  override readExactly(scanner: Scanner, json: unknown): Record<string, Out> {
    const object = objectOf(json);
    scanner.lastMembers(
      () => true,
      (name) =>
        define(
          object,
          name,
          at(name, () => this.item.readExactly(scanner, object[name])),
        ),
    );
    return object as Record<string, Out>;
  }

  override plain(value: unknown): unknown {
    const object = objectOf(value);
    const plain: Record<string, unknown> = {};
    for (const name of Object.keys(object)) {
      if (object[name] !== undefined)
        define(
          plain,
          name,
          at(name, () => this.item.plain(object[name])),
        );
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
type OptionalIn<M> = {
  [K in keyof M]: M[K] extends Optional<any, any> | Default<any, any> ? K : never;
}[keyof M];
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
      (name) =>
        set(
          object,
          name,
          object[name],
          at(name, () => members[name]!.readExactly(scanner, object[name])),
        ),
    );
    for (let index = 0; index < names.length; index += 1) {
      const name = names[index]!;
      const shape = shapes[index]!;
      const isThere = Object.hasOwn(object, name);
      if (shape.isExact && isThere) continue;
      set(
        object,
        name,
        object[name],
        at(name, () => shape.read(isThere ? object[name] : undefined)),
      );
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
        else if ((member !== undefined && member !== null) || !isOptional(shape))
          plain[name] = shape.plain(member);
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

/** One of several objects, distinguished by a member. */
export class Variants<Out, In> extends Shape<Out, In> {
  override readonly isExact: boolean;
  override readonly needsText: boolean;
  override readonly isRaw: boolean;
  private readonly shapes: Map<unknown, Shape<unknown, unknown>>;

  constructor(
    private readonly tag: string,
    cases: Readonly<Record<string, Members>>,
  ) {
    super();
    const shape = (name: string, members: Members) =>
      new ObjectShape({ [tag]: new Choice([name]), ...members });
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
    throw new DataError(
      `/${this.tag}`,
      `is ${name === undefined ? 'missing' : JSON.stringify(name)}, expected one of ${[...this.shapes.keys()].join(', ')}`,
    );
  }
}

export type VariantsOut<Tag extends string, C extends Record<string, Members>> = {
  [K in keyof C]: Flat<{ [T in Tag]: K } & MembersOut<C[K]>>;
}[keyof C];
export type VariantsIn<Tag extends string, C extends Record<string, Members>> = {
  [K in keyof C]: Flat<{ [T in Tag]: K } & MembersIn<C[K]>>;
}[keyof C];
