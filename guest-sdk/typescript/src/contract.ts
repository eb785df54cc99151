/** What a plugin takes and sends: the declarations of which its manifest and its types are made. */

import { codecOf, type Bytes, type Codec, type Read, type Source, type Written } from './codec.ts';
import { MALFORMED_POINTER } from './names.ts';
import type { Duration } from './time.ts';
import type { WitEffect } from './wit.ts';

declare const DATA: unique symbol;
declare const EFFECT: unique symbol;
declare const WRITTEN: unique symbol;

type PointerTo<T> = unknown extends T
  ? `/${string}`
  : T extends Uint8Array | readonly unknown[]
    ? `/${string}`
    : T extends object
      ? `/${keyof T & string}` | `/${keyof T & string}/${string}`
      : `/${string}`;

/**
 * Where the correlation key of an event is: a JSON Pointer into its data (`/orderId`; an array there names
 * every key in it), its subject, or another attribute or extension.
 */
export type Key<T> = PointerTo<T> | 'subject' | { readonly attribute: string };

export type Absent = 'ignore' | 'fail' | { readonly hold: Duration };

/** Keeps an event for this time, in case an instance starts or claims its key. */
export function hold(duration: Duration): Absent {
  return { hold: duration };
}

export interface EventOptions {
  /** Takes the events of this sender alone, or of those whose `source` begins so. */
  readonly source?: string | { readonly prefix: string };
}

export interface HandledOptions extends EventOptions {
  /** What becomes of the event when there is no instance; `ignore` is the default. */
  readonly absent?: Absent;
}

/** An event that the plugin takes. It has no type parameter, from which `event()` would infer its own. */
export interface AnyEvent {
  readonly codec: Codec;
  readonly key: Key<unknown>;
  readonly effect: WitEffect;
  readonly options: HandledOptions;
}

export interface EventType<Data, Effect extends WitEffect, In = Data> extends AnyEvent {
  readonly [DATA]?: Data;
  readonly [WRITTEN]?: (data: In) => void;
  readonly [EFFECT]?: Effect;
}
export type DataOf<E> = E extends EventType<infer Data, any, any> ? Data : never;
export type EffectOf<E> = E extends EventType<any, infer Effect, any> ? Effect : never;

function eventType(effect: WitEffect, args: readonly unknown[]): EventType<any, any> {
  const isKeyFirst =
    typeof args[0] === 'string' ||
    (typeof args[0] === 'object' &&
      args[0] !== null &&
      'attribute' in args[0] &&
      typeof args[0].attribute === 'string');
  const [source, key, options] = isKeyFirst ? [undefined, ...args] : args;
  if (typeof key === 'string' && key !== 'subject' && MALFORMED_POINTER.test(key)) {
    throw new TypeError(
      `the key ${JSON.stringify(key)} is no JSON Pointer such as "/orderId"; other keys are "subject" and { attribute: "…" }`,
    );
  }
  return {
    codec: codecOf(source as Source | undefined),
    key: key as Key<unknown>,
    effect,
    options: (options ?? {}) as HandledOptions,
  };
}

/** An event that goes on with an instance; in the roles without instances, any event. */
export function event<S extends Source>(
  source: S,
  key: Key<Read<S>>,
  options?: HandledOptions,
): EventType<Read<S>, 'handle', Written<S>>;
export function event<T = unknown>(key: Key<NoInfer<T>>, options?: HandledOptions): EventType<T, 'handle'>;
export function event(...args: readonly unknown[]): EventType<any, any> {
  return eventType('handle', args);
}

/** An event that starts an instance. An instance that is there already ignores it. */
export function starts<S extends Source>(
  source: S,
  key: Key<Read<S>>,
  options?: EventOptions,
): EventType<Read<S>, 'start', Written<S>>;
export function starts<T = unknown>(key: Key<NoInfer<T>>, options?: EventOptions): EventType<T, 'start'>;
export function starts(...args: readonly unknown[]): EventType<any, any> {
  return eventType('start', args);
}

/** An event that starts an instance, or goes on with the one that is there. */
export function startsOrHandles<S extends Source>(
  source: S,
  key: Key<Read<S>>,
  options?: EventOptions,
): EventType<Read<S>, 'start-or-handle', Written<S>>;
export function startsOrHandles<T = unknown>(
  key: Key<NoInfer<T>>,
  options?: EventOptions,
): EventType<T, 'start-or-handle'>;
export function startsOrHandles(...args: readonly unknown[]): EventType<any, any> {
  return eventType('start-or-handle', args);
}

type SubjectMember<T> = { [K in keyof T]-?: T[K] extends string | number | bigint ? K : never }[keyof T] &
  string;

export interface MessageOptions<T> {
  /** The CloudEvents subject: the name of a member, or a function of the data. */
  readonly subject?: SubjectMember<T> | ((data: T) => string);
  /** The media type; `application/json` is the default. */
  readonly contentType?: string;
}

/** A command that the plugin sends, or an event that it emits. */
export interface AnyMessage {
  readonly codec: Codec;
  readonly subject: string | ((data: never) => string) | undefined;
  readonly contentType: string;
}

export interface MessageType<In> extends AnyMessage {
  readonly [WRITTEN]?: (data: In) => void;
}
export type WrittenOf<M> = M extends MessageType<infer In> ? In : never;
/** The data of an event as its sender writes it. */
export type SentOf<E> = E extends EventType<any, any, infer In> ? In : never;

export function message<S extends Source>(
  source: S,
  options?: MessageOptions<Written<S>>,
): MessageType<Written<S>>;
export function message<T = void>(options?: MessageOptions<T>): MessageType<T>;
export function message(...args: readonly unknown[]): MessageType<any> {
  const first = args[0] as Source | MessageOptions<unknown> | undefined;
  const isSource = args.length > 1 || (first !== undefined && !isOptions(first));
  const source = isSource ? (first as Source) : undefined;
  const options = ((isSource ? args[1] : first) ?? {}) as MessageOptions<never>;
  const codec = codecOf(source);
  const contentType = options.contentType ?? (codec.isJson ? 'application/json' : 'application/octet-stream');
  return { codec, subject: options.subject, contentType };
}

function isOptions(first: object): boolean {
  return Object.entries(first).every(
    ([name, value]) =>
      (name === 'subject' || name === 'contentType') &&
      (typeof value === 'string' || typeof value === 'function'),
  );
}

/** A deadline of an instance, and the data that comes back when it is due. */
export interface AnyTimer {
  readonly codec: Codec;
}

export interface TimerType<Out, In = Out> extends AnyTimer {
  readonly [DATA]?: Out;
  readonly [WRITTEN]?: (data: In) => void;
}
export type TimerOut<T> = T extends TimerType<infer Out, any> ? Out : never;
export type TimerIn<T> = T extends TimerType<any, infer In> ? In : never;

export function timer<S extends Exclude<Source, Bytes>>(source: S): TimerType<Read<S>, Written<S>>;
export function timer<T = void>(): TimerType<T>;
export function timer(source?: Source): TimerType<any, any> {
  return { codec: codecOf(source) };
}

/** What the roles have in common. */
export interface CommonDefinition<Config extends Source | undefined> {
  /** The plugin's name: a-z, 0-9 and -. The default is that of package.json. */
  readonly name?: string;
  /** The plugin's version. The default is that of package.json. */
  readonly version?: string;
  /** One line for people. The default is that of package.json. */
  readonly description?: string;
  /** The plugin's section in `sagabox.toml`. */
  readonly config?: Config;
}

/** What the roles that take events and ask questions have in common. */
export interface QuestionDefinition<Lookups, Streams> {
  /** What the lookups answer, by their names. */
  readonly lookups?: Lookups;
  /** The types of events that the plugin reads from streams, or `true` for all of them. */
  readonly streams?: Streams;
}

export type Named<T> = { readonly [name: string]: T };
export type StreamsDefinition = true | Named<Source>;
