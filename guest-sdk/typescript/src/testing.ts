/**
 * Given, when, then: handlers tested natively, without WebAssembly and without a host, under any runner.
 *
 * `given(plugin)` begins with a plugin without any past, or an instance that does not exist yet.
 */

// @ts-ignore: the types of Node may not be installed.
import { deepStrictEqual } from 'node:assert/strict';

import type { Read, Written } from './codec.ts';
import type { AnyMessage, SentOf, TimerIn, WrittenOf } from './contract.ts';
import { CANCELLED, TIMER_FIRED, UNDELIVERABLE } from './names.ts';
import type { Plugin, PluginTypes } from './plugin.ts';
import { stringify } from './codec.ts';
import { Engine, type Attributes, type Outcome } from './simulated.ts';
import { decode, encode } from './text.ts';
import { dueMillis, formatDuration, Timestamp, type Duration } from './time.ts';
import type { WitMessage, WitTimerChange } from './wit.ts';

type MessageOf<All> = { [K in keyof All & string]: Expected<K, WrittenOf<All[K]>> }[keyof All & string];

/** A message that must be sent. What is left out is not compared. */
export type Expected<Type extends string, Data> = {
  readonly type: Type;
  readonly subject?: string;
  readonly contentType?: string;
  readonly extensions?: Readonly<Record<string, string>>;
} & ([Data] extends [void] ? { readonly data?: undefined } : { readonly data?: Data });

/** An event as it comes, for what no type describes. */
export interface RawEvent extends Attributes {
  readonly type: string;
  readonly data?: string | Uint8Array;
  readonly contentType?: string;
}

type Rest<Data> = [Data] extends [void] ? [data?: undefined] : [data: Data];

/** The beginning of a test. */
export function given<T extends PluginTypes>(plugin: Plugin<T>): Scenario<T> {
  return new Scenario(plugin);
}

/** A test: what is so, what happens, and what must follow. Each call returns the same scenario. */
export class Scenario<T extends PluginTypes> {
  private readonly engine: Engine;
  private readonly plugin: Plugin<T>;
  private outcome: Outcome | undefined;
  private what = 'nothing';

  constructor(plugin: Plugin<T>) {
    this.plugin = plugin;
    this.engine = new Engine(plugin);
  }

  // ---- what is so

  /** The correlation key of the events to come; otherwise it is found as the host does. */
  key(key: string): this {
    this.engine.key = key;
    return this;
  }

  /** The source of the events to come. */
  source(source: string): this {
    this.engine.source = source;
    return this;
  }

  /** The host's clock: `now('2026-03-01T12:00:00Z')`. No timer fires. */
  now(now: string | Timestamp): this {
    this.engine.now = moment(now).toMillis();
    return this;
  }

  /** The attribute `time` of the events to come. */
  eventTime(time: string | undefined): this {
    this.engine.time = time;
    return this;
  }

  /** The plugin's section of the host's configuration, as it is in `sagabox.toml`. */
  config(
    config: T['config'] extends undefined ? never : Written<T['config']> | Record<string, unknown>,
  ): this {
    this.engine.configuration = stringify(config);
    return this;
  }

  /** The state of an instance, instead of the events that led to it. A state of another version is migrated. */
  state(state: Written<T['state']> | object, version: number = this.plugin.parts.stateVersion): this {
    this.engine.restore(state, version);
    return this;
  }

  /** What a lookup knows. */
  answer<K extends keyof T['lookups'] & string>(name: K, key: string, value: Written<T['lookups'][K]>): this {
    this.engine.answer(name, key, value);
    return this;
  }

  /** That a lookup knows nothing of a key. */
  missing(name: keyof T['lookups'] & string, key: string): this {
    this.engine.answer(name, key, undefined);
    return this;
  }

  /** An event of the stream of a subject. */
  inStream<K extends (T['streams'] extends true ? string : keyof T['streams'] & string)>(
    subject: string,
    type: K,
    data?: T['streams'] extends true ? unknown : Written<T['streams'][K & keyof T['streams']]>,
  ): this {
    this.engine.inStream(subject, type, data);
    return this;
  }

  // ---- what happens

  /** An event that was handled before; what it sent is not looked at. */
  event<K extends keyof T['events'] & string>(
    type: K,
    data: SentOf<T['events'][K]>,
    attributes?: Attributes,
  ): this {
    this.when(type, data, attributes).decision();
    return this;
  }

  /** As {@link whenTimePasses}; what was sent meanwhile is not looked at. */
  wait(duration: Duration): this {
    this.whenTimePasses(duration).decision();
    return this;
  }

  /** An event comes. */
  when<K extends keyof T['events'] & string>(
    type: K,
    data: SentOf<T['events'][K]>,
    attributes?: Attributes,
  ): this {
    return this.happens(`\`${type}\``, () => this.engine.event(type, data, attributes));
  }

  /** An event comes as it is. */
  whenRaw({ type, data, contentType, ...attributes }: RawEvent): this {
    const bytes = typeof data === 'string' ? encode(data) : (data ?? new Uint8Array(0));
    return this.happens(`\`${type}\``, () =>
      this.engine.raw(type, bytes, contentType ?? 'application/json', attributes),
    );
  }

  /** Time passes. The timers that become due fire, one after the other, each at its time. */
  whenTimePasses(duration: Duration): this {
    return this.happens(formatDuration(duration), () => this.engine.timePasses(duration));
  }

  /** A timer fires, whether it is set or not. */
  whenTimer<K extends keyof T['timers'] & string>(name: K, ...[data]: Rest<TimerIn<T['timers'][K]>>): this {
    return this.happens(`the timer \`${name}\``, () =>
      this.engine.reserved(TIMER_FIRED, this.engine.timerData(name, data), name),
    );
  }

  /** A command that the instance sent becomes a dead letter. */
  whenUndeliverable<K extends keyof T['commands'] & string>(
    type: K,
    data: WrittenOf<T['commands'][K]>,
    reason = 'a test',
    attempts = 1,
  ): this {
    const sent = decode(this.message('commands', type).codec.write(data));
    const text = `{"id":"command","type":${JSON.stringify(type)},"reason":${JSON.stringify(reason)},"attempts":${attempts},"command":{"id":"command","type":${JSON.stringify(type)},"data":${sent}}}`;
    return this.happens(`the undeliverable \`${type}\``, () =>
      this.engine.reserved(UNDELIVERABLE, encode(text)),
    );
  }

  /** An operator asks for cancellation. */
  whenCancelled(by = 'operator', reason = 'a test'): this {
    return this.happens('the cancellation', () =>
      this.engine.reserved(CANCELLED, encode(JSON.stringify({ by, reason }))),
    );
  }

  // ---- what must follow

  /** Exactly these commands are sent, in this order. */
  sends(...expected: readonly MessageOf<T['commands']>[]): this {
    return this.messages(
      'commands',
      'sends',
      this.decision().commands,
      expected as readonly Expected<string, unknown>[],
    );
  }

  /** Exactly these events are emitted, in this order. */
  emits(...expected: readonly MessageOf<T['emits']>[]): this {
    return this.messages(
      'emits',
      'emits',
      this.decision().events,
      expected as readonly Expected<string, unknown>[],
    );
  }

  /** No command is sent, and no event is emitted. */
  sendsNothing(): this {
    const { commands, events } = this.decision();
    same(
      [...commands, ...events].map((message) => this.shown(message)),
      [],
      `after ${this.what}, nothing should be sent`,
    );
    return this;
  }

  /** The handler fails permanently, for a reason that contains this text. */
  fails(reason: string | RegExp = ''): this {
    return this.failed('permanent', reason);
  }

  /** The handler fails transiently, for a reason that contains this text. */
  failsTransiently(reason: string | RegExp = ''): this {
    return this.failed('transient', reason);
  }

  /** The host does not call the plugin, for a reason that contains this text. */
  isIgnored(reason = ''): this {
    const ignored = this.outcome?.ignored;
    if (ignored === undefined)
      throw new Error(`after ${this.what}, the host calls the plugin; expected that it ignores the event`);
    if (!ignored.includes(reason))
      throw new Error(`the host ignores ${this.what} because ${ignored}, expected: ${reason}`);
    return this;
  }

  /** The process is complete. */
  completes(): this {
    if (!this.decision().complete) throw new Error(`after ${this.what}, the process is not complete`);
    return this;
  }

  /** The process is not complete. */
  goesOn(): this {
    if (this.decision().complete) throw new Error(`after ${this.what}, the process is complete`);
    return this;
  }

  /** The instance claims exactly these keys. */
  claims(...keys: readonly string[]): this {
    return this.keys('claim', keys);
  }

  /** The instance releases exactly these keys. */
  releases(...keys: readonly string[]): this {
    return this.keys('release', keys);
  }

  /** The event sets this timer, due after a duration or at a moment. */
  setsTimer<K extends keyof T['timers'] & string>(
    name: K,
    due: Duration | Timestamp,
    ...[data]: Rest<TimerIn<T['timers'][K]>>
  ): this {
    const value =
      typeof due === 'number'
        ? ({ tag: 'after', val: dueMillis(due) } as const)
        : ({ tag: 'at', val: dueMillis(due) } as const);
    const expected = shownTimer({
      tag: 'set',
      val: { name, due: value, data: this.engine.timerData(name, data) },
    });
    const set = this.decision().timers.map(shownTimer);
    if (!set.includes(expected)) same(set, [expected], `after ${this.what}, another timer is set`);
    return this;
  }

  cancelsTimer(name: keyof T['timers'] & string): this {
    const changes = this.decision().timers.map(shownTimer);
    const expected = shownTimer({ tag: 'cancel', val: name });
    if (!changes.includes(expected))
      same(changes, [expected], `after ${this.what}, the timer \`${name}\` is not cancelled`);
    return this;
  }

  setsNoTimer(): this {
    same(this.decision().timers.map(shownTimer), [], `after ${this.what}, no timer should change`);
    return this;
  }

  /** The plugin asks exactly these questions, in this order. */
  asks(
    ...expected: readonly ({ readonly lookup: string; readonly key: string } | { readonly stream: string })[]
  ): this {
    this.decision();
    same(this.engine.asked, expected, `after ${this.what}, other questions are asked`);
    return this;
  }

  /** The state after the event is this. */
  stateIs(expected: Written<T['state']>): this {
    this.decision();
    const codec = this.plugin.parts.state!;
    same(
      this.engine.currentState(),
      codec.read(codec.write(expected)),
      `after ${this.what}, the state is another`,
    );
    return this;
  }

  /** The state after the event. */
  currentState(): Read<T['state']> {
    this.decision();
    return this.engine.currentState() as Read<T['state']>;
  }

  private happens(what: string, action: () => Outcome): this {
    this.what = what;
    this.outcome = action();
    return this;
  }

  /** What the plugin decided; fails if it did not decide. */
  private decision() {
    const { outcome } = this;
    if (outcome === undefined) throw new Error('nothing has happened yet; call when() first');
    if (outcome.ignored !== undefined) throw new Error(`the host ignores ${this.what}: ${outcome.ignored}`);
    if (outcome.failure !== undefined)
      throw new Error(`the handler of ${this.what} failed: ${outcome.failure.val}`, { cause: outcome.error });
    return outcome.decision!;
  }

  private failed(tag: 'permanent' | 'transient', reason: string | RegExp): this {
    const failure = this.outcome?.failure;
    if (failure === undefined)
      throw new Error(`after ${this.what}, the handler decided; expected the failure ${String(reason)}`);
    const matches = typeof reason === 'string' ? failure.val.includes(reason) : reason.test(failure.val);
    if (failure.tag !== tag || !matches)
      same(failure, { tag, val: String(reason) }, `after ${this.what}, the handler fails otherwise`);
    return this;
  }

  private keys(tag: 'claim' | 'release', expected: readonly string[]): this {
    const changed = this.decision()
      .keys.filter((change) => change.tag === tag)
      .map((change) => change.val);
    same(changed, [...expected], `after ${this.what}, other keys are ${tag}ed`.replace('eed', 'ed'));
    return this;
  }

  private message(kind: 'commands' | 'emits', type: string): AnyMessage {
    const message = this.plugin.parts[kind][type];
    if (message === undefined)
      throw new Error(`\`${type}\` is not in the \`${kind}\` of the plugin's definition`);
    return message;
  }

  private messages(
    kind: 'commands' | 'emits',
    verb: string,
    sent: readonly WitMessage[],
    expected: readonly Expected<string, unknown>[],
  ): this {
    const actual = sent.map((message, index) => {
      const wanted = expected[index];
      const shown = this.shown(message);
      // What the test leaves out is not compared.
      return wanted === undefined
        ? shown
        : Object.fromEntries(Object.entries(shown).filter(([name]) => name in wanted));
    });
    const wanted = expected.map((message) => {
      const { codec } = this.message(kind, message.type);
      return 'data' in message && message.data !== undefined
        ? { ...message, data: codec.read(codec.write(message.data)) }
        : message;
    });
    same(actual, wanted, `after ${this.what}, the plugin ${verb} something else`);
    return this;
  }

  private shown(message: WitMessage): Record<string, unknown> {
    const { commands, emits } = this.plugin.parts;
    const codec = (commands[message.type] ?? emits[message.type])!.codec;
    return {
      type: message.type,
      ...(message.subject !== undefined && { subject: message.subject }),
      contentType: message.datacontenttype,
      extensions: Object.fromEntries(message.extensions.map(({ name, value }) => [name, value])),
      ...(message.data.length > 0 && { data: codec.read(message.data) }),
    };
  }
}

function same(actual: unknown, expected: unknown, message: string): void {
  try {
    deepStrictEqual(actual, expected);
  } catch (error) {
    (error as Error).message = `${message}\n${(error as Error).message}`;
    throw error;
  }
}

function moment(time: string | Timestamp): Timestamp {
  return typeof time === 'string' ? Timestamp.parse(time) : time;
}

function shownTimer(change: WitTimerChange): string {
  if (change.tag === 'cancel') return `${change.val} cancelled`;
  const { name, due, data } = change.val;
  const when =
    due.tag === 'after'
      ? `after ${formatDuration(due.val)}`
      : `at ${Timestamp.fromMillis(due.val).toString()}`;
  return `${name} ${when}${data.length === 0 ? '' : ` with ${decode(data)}`}`;
}
