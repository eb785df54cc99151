/** The part of a host that the test harness needs: keys, the clock, timers, questions and one instance. */

import { stringify } from './codec.ts';
import { atTime } from './clock.ts';
import type { AnyEvent } from './contract.ts';
import { failureOf } from './failure.ts';
import { TIMER_FIRED } from './names.ts';
import type { Plugin } from './plugin.ts';
import type { Seed } from './random.ts';
import { decode, encode } from './text.ts';
import type { Duration } from './time.ts';
import type {
  WitAnswerValue,
  WitContext,
  WitDecision,
  WitEvent,
  WitFailure,
  WitQuestion,
  WitState,
} from './wit.ts';

/** A handler that asks this often in one call asks for ever. */
const ROUNDS_MAX = 16;
/** A plugin whose timers set each other anew without end is stopped after so many. */
const TIMERS_MAX = 10_000;
/** 2027-01-15T08:00:00Z. */
const START = 1_800_000_000_000;
const EMPTY = new Uint8Array(0);

/** What an event can have beside its type and data. */
export interface Attributes {
  readonly id?: string;
  readonly source?: string;
  readonly subject?: string;
  readonly time?: string;
  readonly dataSchema?: string;
  readonly extensions?: Readonly<Record<string, string>>;
  /** The attempt at which the handler is called. */
  readonly attempt?: number;
}

export interface Outcome {
  readonly decision?: WitDecision;
  readonly failure?: WitFailure;
  readonly error?: unknown;
  /** Why the host does not call the plugin. */
  readonly ignored?: string;
}

export class Engine {
  now = START;
  time: string | undefined;
  source = 'test';
  key: string | undefined;
  configuration = '{}';
  /** The questions of the last event, in order. */
  asked: unknown[] = [];
  private instanceKey: string | undefined;
  private state: WitState | undefined;
  private isComplete = false;
  private events = 0;
  private readonly timers = new Map<string, { due: number; data: Uint8Array }>();
  private readonly answers = new Map<string, WitAnswerValue>();

  constructor(private readonly plugin: Plugin) {}

  restore(value: unknown, version: number): void {
    const { state, stateVersion } = this.plugin.parts;
    if (state === undefined) throw new Error(`a ${this.plugin.role} has no state`);
    const data = version === stateVersion ? state.write(value) : encode(stringify(value));
    this.state = { version, data };
  }

  currentState(): unknown {
    if (this.state === undefined) throw new Error('there is no instance');
    return this.plugin.parts.state!.read(this.state.data);
  }

  answer(name: string, key: string, value: unknown): void {
    const codec = this.plugin.parts.lookups[name];
    if (codec === undefined)
      throw new Error(`\`${name}\` is not in the \`lookups\` of the plugin's definition`);
    const found: WitAnswerValue =
      value === undefined
        ? { tag: 'missing' }
        : { tag: 'found', val: { contentType: 'application/json', data: codec.write(value) } };
    this.answers.set(nameOf({ tag: 'lookup', val: { name, key } }), found);
  }

  inStream(subject: string, type: string, data: unknown): void {
    const { streams } = this.plugin.parts;
    const codec = streams === true || streams === undefined ? undefined : streams[type];
    const written = data === undefined ? EMPTY : (codec?.write(data) ?? encode(stringify(data)));
    const name = nameOf({ tag: 'stream', val: subject });
    const known = this.answers.get(name);
    const event = this.wit(type, written, 'application/json', { subject });
    if (known?.tag === 'events') known.val.push(event);
    else this.answers.set(name, { tag: 'events', val: [event] });
  }

  timerData(name: string, data: unknown): Uint8Array {
    const timer = this.plugin.parts.timers[name];
    if (timer === undefined)
      throw new Error(`\`${name}\` is not in the \`timers\` of the plugin's definition`);
    return data === undefined ? EMPTY : timer.codec.write(data);
  }

  event(type: string, data: unknown, attributes: Attributes = {}): Outcome {
    const taken = this.plugin.parts.events[type];
    if (taken === undefined)
      throw new Error(`\`${type}\` is not in the \`events\` of the plugin's definition`);
    return this.raw(
      type,
      data === undefined ? EMPTY : taken.codec.write(data),
      'application/json',
      attributes,
    );
  }

  raw(type: string, data: Uint8Array, contentType: string, attributes: Attributes): Outcome {
    const event = this.wit(type, data, contentType, attributes);
    const taken = this.plugin.parts.events[type];
    if (taken === undefined) return this.handle(event, this.key ?? 'key', attributes.attempt);
    const key = this.key ?? keyOf(event, taken);
    const ignored = this.ignored(event, taken);
    if (ignored !== undefined) return { ignored };
    if (this.plugin.role === 'process-manager') this.instanceKey ??= key;
    return this.handle(event, this.instanceKey ?? key, attributes.attempt);
  }

  /** An event that the host makes for the instance. */
  reserved(type: string, data: Uint8Array, subject?: string): Outcome {
    if (type === TIMER_FIRED) this.timers.delete(subject!);
    if (this.isComplete) return { ignored: 'the instance is complete' };
    const event = { ...this.wit(type, data, 'application/json', {}), source: '/sagabox/test', subject };
    return this.handle(event, this.key ?? this.instanceKey ?? 'key');
  }

  timePasses(duration: Duration): Outcome {
    const until = this.now + duration;
    const all: WitDecision = {
      state: undefined,
      commands: [],
      events: [],
      timers: [],
      keys: [],
      complete: this.isComplete,
    };
    for (let count = 0; count < TIMERS_MAX; count += 1) {
      const [next] = [...this.timers].sort(([a, one], [b, other]) => one.due - other.due || (a < b ? -1 : 1));
      if (next === undefined || next[1].due > until) {
        this.now = until;
        return { decision: all };
      }
      const [name, { due, data }] = next;
      this.now = Math.max(this.now, due);
      const outcome = this.reserved(TIMER_FIRED, data, name);
      if (outcome.decision === undefined) return outcome;
      all.state = outcome.decision.state ?? all.state;
      for (const part of ['commands', 'events', 'timers', 'keys'] as const)
        (all[part] as unknown[]).push(...outcome.decision[part]);
      all.complete = outcome.decision.complete;
    }
    throw new Error(`more than ${TIMERS_MAX} timers fire in this time`);
  }

  private ignored({ source, type }: WitEvent, { options, effect }: AnyEvent): string | undefined {
    const wanted = options.source;
    const isFrom =
      wanted === undefined ||
      (typeof wanted === 'string' ? source === wanted : source.startsWith(wanted.prefix));
    if (!isFrom)
      return `its source is ${source}, and the plugin takes \`${type}\` from ${typeof wanted === 'string' ? wanted : `${wanted.prefix}…`}`;
    if (this.plugin.role !== 'process-manager') return undefined;
    if (this.isComplete) return 'the instance is complete';
    if (effect === 'start' && this.state !== undefined) return 'the instance has started already';
    if (effect !== 'handle' || this.state !== undefined) return undefined;
    const { absent = 'ignore' } = options;
    return typeof absent === 'object'
      ? 'there is no instance: it is held'
      : absent === 'fail'
        ? 'there is no instance: it becomes a dead letter'
        : 'there is no instance';
  }

  private handle(event: WitEvent, key: string, attempt = 1): Outcome {
    const seed: Seed = [this.events, 2, 3, 4];
    try {
      const decision = atTime(this.now, () =>
        this.decide(event, {
          now: this.now,
          attempt,
          key,
          answers: [],
          configuration: this.configuration,
          seed: [...seed],
        }),
      );
      this.apply(decision);
      return { decision };
    } catch (error) {
      return { failure: failureOf(error), error };
    }
  }

  /** Asks the plugin as the host does: again and again, until it has all answers. */
  private decide(event: WitEvent, context: WitContext): WitDecision {
    this.asked = [];
    this.migrate();
    for (let round = 0; round < ROUNDS_MAX; round += 1) {
      const reply = this.plugin.handle(event, this.state, context);
      if ('decided' in reply) return reply.decided;
      for (const question of reply.need) {
        const { tag, val } = question;
        this.asked.push(tag === 'stream' ? { stream: val } : { lookup: val.name, key: val.key });
        const nothing: WitAnswerValue = tag === 'stream' ? { tag: 'events', val: [] } : { tag: 'missing' };
        context.answers.push({ question, value: this.answers.get(nameOf(question)) ?? nothing });
      }
    }
    throw new Error('the handler asked too often');
  }

  private migrate(): void {
    const version = this.plugin.parts.stateVersion;
    if (this.state !== undefined && this.state.version !== version)
      this.state = { version, data: this.plugin.migrate(this.state, version) };
  }

  private apply({ state, timers, complete }: WitDecision): void {
    if (state !== undefined) this.state = { version: this.plugin.parts.stateVersion, data: state };
    for (const change of timers) {
      if (change.tag === 'cancel') this.timers.delete(change.val);
      else
        this.timers.set(change.val.name, {
          due: change.val.due.val + (change.val.due.tag === 'after' ? this.now : 0),
          data: change.val.data,
        });
    }
    this.isComplete = complete;
    if (complete) this.timers.clear();
  }

  private wit(type: string, data: Uint8Array, contentType: string, attributes: Attributes): WitEvent {
    this.events += 1;
    const extensions = Object.entries(attributes.extensions ?? {}).map(([name, value]) => ({ name, value }));
    return {
      id: attributes.id ?? `event-${this.events}`,
      source: attributes.source ?? this.source,
      type,
      subject: attributes.subject,
      time: attributes.time ?? this.time,
      datacontenttype: contentType,
      dataschema: attributes.dataSchema,
      extensions,
      data,
    };
  }
}

function nameOf(question: WitQuestion): string {
  return JSON.stringify(question.tag === 'stream' ? [question.val] : [question.val.name, question.val.key]);
}

/** The correlation key, as the host finds it; the first one, if there are several. */
function keyOf(event: WitEvent, { key }: AnyEvent): string {
  const found =
    typeof key !== 'string'
      ? attribute(event, key.attribute)
      : key === 'subject'
        ? event.subject
        : pointed(event, key);
  if (found === undefined || found === null)
    throw new Error(
      `the event \`${event.type}\` has no ${typeof key === 'string' ? key : key.attribute}, by which its key is found`,
    );
  return found;
}

function attribute(event: WitEvent, name: string): string | null | undefined {
  if (name === 'id' || name === 'source' || name === 'type' || name === 'subject' || name === 'time')
    return event[name];
  return event.extensions.find((extension) => extension.name === name)?.value;
}

function pointed(event: WitEvent, pointer: string): string | undefined {
  let value: unknown = JSON.parse(decode(event.data));
  for (const step of pointer.slice(1).split('/')) {
    const name = step.replaceAll('~1', '/').replaceAll('~0', '~');
    value =
      typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
  }
  const key = Array.isArray(value) ? value[0] : value;
  return typeof key === 'string' || Number.isInteger(key) ? String(key) : undefined;
}
