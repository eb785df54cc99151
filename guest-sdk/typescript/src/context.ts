/** What a handler has in hand: the call, and what shall happen. */

import type { Codec, Read, Source } from './codec.ts';
import type { AnyMessage, AnyTimer, Named, StreamsDefinition, TimerIn, WrittenOf } from './contract.ts';
import { Envelope } from './envelope.ts';
import { DataError, PermanentError, Suspended } from './errors.ts';
import { beginCall, callRandom, seedAsBigInt } from './random.ts';
import { dueMillis, Timestamp, type Duration } from './time.ts';
import type {
  WitAnswerValue,
  WitContext,
  WitDecision,
  WitExtension,
  WitMessage,
  WitQuestion,
} from './wit.ts';

/** What belongs to one message alone. */
export interface SendOptions {
  readonly subject?: string;
  readonly contentType?: string;
  /** Extension attributes; their names are lower-case letters and digits. */
  readonly extensions?: Readonly<Record<string, string>>;
}

type Arguments<Data, Options> = [Data] extends [void]
  ? [data?: undefined, options?: Options]
  : [data: Data, options?: Options];

export interface Call<Config> {
  /** The correlation key; the instance's own, for a process manager. */
  readonly key: string;
  /** The host's clock at the first call for this event: the same in every retry. */
  readonly now: Timestamp;
  /** 1 for the first attempt. */
  readonly attempt: number;
  /** The plugin's section of the host's configuration. */
  readonly config: Config;
  /** 128 bits that differ from event to event, and are the same in every retry of one event. */
  readonly seed: bigint;
  /** From 0 to below 1, from the seed, as `Math.random` in a component. */
  random(): number;
  /** A UUID from the seed. */
  uuid(): string;
}

export interface Sends<Commands> {
  /** Sends a command. */
  send<K extends keyof Commands & string>(
    type: K,
    ...args: Arguments<WrittenOf<Commands[K]>, SendOptions>
  ): void;
}

export interface Emits<Events> {
  /** Emits an event. */
  emit<K extends keyof Events & string>(type: K, ...args: Arguments<WrittenOf<Events[K]>, SendOptions>): void;
}

/** An event of a stream: one of those that the definition names, or any. */
export type Past<Streams> = Streams extends true
  ? Envelope<string, unknown>
  : { [K in keyof Streams & string]: Envelope<K, Read<Streams[K]>> }[keyof Streams & string];

/**
 * Questions leave the handler until the host has the answers, then the host calls it again from its
 * beginning. What it decided until then does not count.
 */
export interface Asks<Lookups, Streams> {
  /** What a lookup knows under a key; `undefined` if it knows nothing. */
  lookup<K extends keyof Lookups & string>(
    name: K,
    key: string | number | bigint,
  ): Read<Lookups[K]> | undefined;
  /** Several keys of one lookup, asked at once, answered in their order. */
  lookups<K extends keyof Lookups & string>(
    name: K,
    keys: Iterable<string | number | bigint>,
  ): (Read<Lookups[K]> | undefined)[];
  /** The earlier events of a subject in the order of the log, of the types in `streams`. */
  stream(subject: string): Past<Streams>[];
  /** Asks different questions at once: `ctx.together((ask) => [ask.lookup('stock', sku), ask.stream(id)])`. */
  together<T>(questions: (ask: Omit<Asks<Lookups, Streams>, 'together'>) => T): T;
}

export interface Instance<Timers> {
  /**
   * Sets a timer, or sets it anew: after a duration, or at a moment. It fires not before it is due, once.
   */
  setTimer<K extends keyof Timers & string>(
    name: K,
    due: Duration | Timestamp | Date,
    ...args: Arguments<TimerIn<Timers[K]>, never>
  ): void;
  /** The timer does not fire, if it is set. */
  cancelTimer(name: keyof Timers & string): void;
  /** From now on, events with this key reach the instance too. */
  claim(key: string): void;
  /** Events with this key no longer reach the instance. */
  release(key: string): void;
  /** The process is complete: its timers are cancelled, and what still comes for it is ignored. */
  complete(): void;
}

/** What the context needs to know of the plugin. */
export interface Declared {
  readonly commands: Named<AnyMessage>;
  readonly emits: Named<AnyMessage>;
  readonly timers: Named<AnyTimer>;
  readonly lookups: Named<Codec>;
  readonly streams: true | Named<Codec> | undefined;
  readonly config: (text: string) => unknown;
}

export type AnyContext = Call<unknown> &
  Sends<Named<AnyMessage>> &
  Emits<Named<AnyMessage>> &
  Instance<Named<AnyTimer>> &
  Asks<Named<Source>, StreamsDefinition>;

const EMPTY = new Uint8Array(0);
const JSON_TYPE = 'application/json';

export class Context implements AnyContext {
  /** Questions without an answer. */
  readonly open: WitQuestion[] = [];
  readonly decision: WitDecision = {
    state: undefined,
    commands: [],
    events: [],
    timers: [],
    keys: [],
    complete: false,
  };
  /** Above zero, an open question does not leave the handler at once. */
  private gathering = 0;

  constructor(
    private readonly declared: Declared,
    private readonly wit: WitContext,
  ) {
    beginCall(wit.seed);
  }

  get key(): string {
    return this.wit.key;
  }

  get now(): Timestamp {
    return Timestamp.fromMillis(this.wit.now);
  }

  get attempt(): number {
    return this.wit.attempt;
  }

  get config(): unknown {
    return this.declared.config(this.wit.configuration);
  }

  get seed(): bigint {
    return seedAsBigInt(this.wit.seed);
  }

  random(): number {
    return callRandom().number();
  }

  uuid(): string {
    return callRandom().uuid();
  }

  send(type: string, data?: unknown, options?: SendOptions): void {
    this.decision.commands.push(
      outgoing(type, declared(this.declared.commands, type, 'commands'), data, options),
    );
  }

  emit(type: string, data?: unknown, options?: SendOptions): void {
    this.decision.events.push(outgoing(type, declared(this.declared.emits, type, 'emits'), data, options));
  }

  setTimer(name: string, due: Duration | Timestamp | Date, data?: unknown): void {
    const { codec } = declared(this.declared.timers, name, 'timers');
    const written =
      data === undefined
        ? EMPTY
        : attempt(`the timer \`${name}\` cannot be set: its data`, () => codec.write(data));
    const isAfter = typeof due === 'number';
    const millis = dueMillis(due);
    if (!Number.isSafeInteger(millis) || millis < 0)
      throw new PermanentError(
        `the timer \`${name}\` cannot be set: ${String(due)} is no time after 1970, and no duration`,
      );
    this.decision.timers.push({
      tag: 'set',
      val: { name, due: { tag: isAfter ? 'after' : 'at', val: millis }, data: written },
    });
  }

  cancelTimer(name: string): void {
    declared(this.declared.timers, name, 'timers');
    this.decision.timers.push({ tag: 'cancel', val: name });
  }

  claim(key: string): void {
    this.decision.keys.push({ tag: 'claim', val: wellFormed('the key', key) });
  }

  release(key: string): void {
    this.decision.keys.push({ tag: 'release', val: wellFormed('the key', key) });
  }

  complete(): void {
    this.decision.complete = true;
  }

  lookup(name: string, key: string | number | bigint): never {
    return this.lookups(name, [key])[0] as never;
  }

  lookups(name: string, keys: Iterable<string | number | bigint>): never[] {
    const codec = declared(this.declared.lookups, name, 'lookups');
    const found: unknown[] = [];
    for (const key of keys) {
      const answer = this.answer({
        tag: 'lookup',
        val: { name, key: wellFormed('the key of a lookup', String(key)) },
      });
      found.push(
        answer?.tag === 'found'
          ? attempt(`the answer of lookup \`${name}\``, () => codec.read(answer.val.data))
          : undefined,
      );
    }
    this.leaveIfOpen();
    return found as never[];
  }

  stream(subject: string): never[] {
    const { streams } = this.declared;
    if (streams === undefined)
      throw new PermanentError('the plugin asks for a stream, and its definition has no `streams`');
    const answer = this.answer({ tag: 'stream', val: wellFormed('the subject of a stream', subject) });
    this.leaveIfOpen();
    const events = answer?.tag === 'events' ? answer.val : [];
    const known = streams === true ? events : events.filter((event) => Object.hasOwn(streams, event.type));
    return known.map(
      (event) => new Envelope(event, streams === true ? undefined : streams[event.type]),
    ) as never[];
  }

  together<T>(questions: (ask: Context) => T): T {
    this.gathering += 1;
    let result: T;
    try {
      result = questions(this);
    } finally {
      this.gathering -= 1;
    }
    this.leaveIfOpen();
    return result;
  }

  private answer(question: WitQuestion): WitAnswerValue | undefined {
    const known = this.wit.answers.find((answer) => isSame(answer.question, question));
    if (known === undefined && !this.open.some((open) => isSame(open, question))) this.open.push(question);
    return known?.value;
  }

  private leaveIfOpen(): void {
    if (this.open.length > 0 && this.gathering === 0) throw new Suspended();
  }
}

function isSame(one: WitQuestion, other: WitQuestion): boolean {
  if (one.tag === 'stream' || other.tag === 'stream') return one.tag === other.tag && one.val === other.val;
  return one.val.name === other.val.name && one.val.key === other.val.key;
}

function declared<T>(all: Named<T>, name: string, where: string): T {
  if (Object.hasOwn(all, name)) return all[name]!;
  const known = Object.keys(all);
  const list = known.length === 0 ? 'it has none' : `it has ${known.join(', ')}`;
  throw new PermanentError(`\`${name}\` is not in the \`${where}\` of the plugin's definition; ${list}`);
}

function outgoing(
  type: string,
  { codec, subject, contentType }: AnyMessage,
  data: unknown,
  options: SendOptions | undefined,
): WitMessage {
  const written =
    data === undefined ? EMPTY : attempt(`\`${type}\` cannot be sent: its data`, () => codec.write(data));
  const own =
    options?.subject ??
    (typeof subject === 'function'
      ? subject(data as never)
      : subject === undefined
        ? undefined
        : (data as Record<string, unknown> | undefined)?.[subject]);
  return {
    type,
    subject:
      own === undefined || own === null ? undefined : wellFormed(`the subject of \`${type}\``, String(own)),
    datacontenttype: options?.contentType ?? contentType,
    extensions: options?.extensions === undefined ? [] : extensions(options.extensions),
    data: written,
  };
}

function extensions(from: Readonly<Record<string, string>>): WitExtension[] {
  return Object.entries(from).map(([name, value]) => ({
    name,
    value: wellFormed(`the extension \`${name}\``, String(value)),
  }));
}

/** The host's strings are UTF-8. */
function wellFormed(what: string, text: string): string {
  if (text.isWellFormed()) return text;
  throw new PermanentError(`${what} has half of a surrogate pair: ${JSON.stringify(text)}`);
}

/** Adds to a {@link DataError} what the data belongs to. */
export function attempt<T>(what: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw error instanceof DataError ? new PermanentError(`${what} does not fit: ${error.message}`) : error;
  }
}

export function isJsonType(contentType: string): boolean {
  const essence = contentType.split(';', 1)[0]!.trim().toLowerCase();
  return essence === JSON_TYPE || essence.endsWith('+json') || essence === 'text/json';
}
