/** Process managers: state machines over many events, one instance for each correlation key. */

import {
  codecOf,
  type Checked,
  type Codec,
  type Read,
  type Source,
  type StandardSchema,
  type Written,
} from './codec.ts';
import type {
  AnyEvent,
  AnyMessage,
  AnyTimer,
  CommonDefinition,
  DataOf,
  EffectOf,
  Named,
  QuestionDefinition,
  StreamsDefinition,
  TimerOut,
  WrittenOf,
} from './contract.ts';
import { attempt, Context, type Asks, type Call, type Emits, type Instance, type Sends } from './context.ts';
import type { Envelope } from './envelope.ts';
import { PermanentError } from './errors.ts';
import { manifestOf, type Fields } from './manifest.ts';
import { CANCELLED, TIMER_FIRED, UNDELIVERABLE } from './names.ts';
import {
  call,
  declaredOf,
  described,
  encoded,
  envelope,
  noHandler,
  own,
  refusePromise,
  requireHandlers,
  type AnyDefinition,
  type Handler,
  type Parts,
  type Plugin,
  type PluginTypes,
} from './plugin.ts';
import type { Declaration, Nothing } from './roles.ts';
import type { Json } from './scalars.ts';
import { t } from './t.ts';
import { encode } from './text.ts';
import type { WitEvent, WitState } from './wit.ts';

/** A configuration is always checked, because it is read once. */
export type ConfigOf<C> =
  C extends Checked<any, infer Out>
    ? Out
    : C extends StandardSchema<any, infer Out>
      ? Out
      : C extends undefined
        ? undefined
        : Read<C>;

export interface ProcessManagerDefinition<
  State,
  Events,
  Commands,
  Emitted,
  Timers,
  Lookups,
  Streams,
  Config extends Source | undefined,
>
  extends CommonDefinition<Config>, QuestionDefinition<Lookups, Streams> {
  /** What the state of an instance looks like. */
  readonly state: State;
  /** Counts from 1. A state whose shape changed needs a new one, and `migrate` among the handlers. */
  readonly stateVersion?: number;
  /** What the states of other versions look like, by version, for `migrate`; plain JSON if it is not said. */
  readonly otherStates?: Readonly<Record<number, Source>>;
  /** By which parts of the state instances are listed: names with JSON Pointers, or `none`. The default is each single value of the state, if its JSON Schema is known. */
  readonly fields?: Fields | 'none';
  /** How an instance is shown: `order {id}: {packages} packages`, with the names of fields. */
  readonly summary?: string;
  /** What it takes, by event type. */
  readonly events: Events;
  /** What it may send, by command type. */
  readonly commands?: Commands;
  /** What it may emit, by event type. */
  readonly emits?: Emitted;
  /** Its deadlines, by name. */
  readonly timers?: Timers;
  /** What becomes of a timer that has no handler, such as one of an older version: `fail` makes a dead letter. */
  readonly unhandled?: 'fail' | 'ignore';
}

export type ProcessContext<Commands, Emitted, Timers, Lookups, Streams, Config> = Call<ConfigOf<Config>> &
  Sends<Commands> &
  Emits<Emitted> &
  Instance<Timers> &
  Asks<Lookups, Streams>;

/** A command of the instance that became a dead letter. `type` distinguishes the types of `data`. */
export type Undeliverable<Commands> = {
  [K in keyof Commands & string]: {
    readonly id: string;
    readonly type: K;
    readonly reason: string;
    readonly attempts: number;
    readonly data: WrittenOf<Commands[K]>;
  };
}[keyof Commands & string];

/** Who asks an instance to end, and why. */
export interface Cancelled {
  readonly by: string;
  readonly reason: string;
}

type EventHandler<Effect, E, In, Out, Ctx> = Effect extends 'start'
  ? (event: E, ctx: Ctx) => In
  : Effect extends 'start-or-handle'
    ? (state: Out | undefined, event: E, ctx: Ctx) => In
    : (state: Out, event: E, ctx: Ctx) => In | Nothing;

interface Other<In, Out, Commands, Ctx> {
  readonly onUndeliverable?: (state: Out, undeliverable: Undeliverable<Commands>, ctx: Ctx) => In | Nothing;
  readonly onCancel?: (state: Out, cancelled: Cancelled, ctx: Ctx) => In | Nothing;
  /**
   * Converts a state from any version that the plugin knows to any other: upgrades, and rollbacks.
   * Throw an error for a version that it does not know.
   */
  readonly migrate?: (state: any, from: number, to: number) => unknown;
}

type TimerHandlers<In, Out, Timers, Ctx> = {
  readonly [K in keyof Timers & string]: (state: Out, data: TimerOut<Timers[K]>, ctx: Ctx) => In | Nothing;
};

/**
 * A handler that goes on gets the state, and can change it in place or return another one. A handler
 * that starts an instance returns its state.
 */
export type ProcessHandlers<In, Out, Events, Commands, Timers, Ctx> = Other<In, Out, Commands, Ctx> & {
  readonly on: {
    readonly [K in keyof Events & string]: EventHandler<
      EffectOf<Events[K]>,
      Envelope<K, DataOf<Events[K]>>,
      In,
      Out,
      Ctx
    >;
  };
} & ([keyof Timers] extends [never]
    ? { readonly onTimer?: {} }
    : { readonly onTimer: TimerHandlers<In, Out, Timers, Ctx> });

export interface ProcessManager<
  State,
  Events,
  Commands,
  Timers,
  Ctx,
  Types extends PluginTypes,
> extends Declaration<Ctx, Events> {
  readonly state?: State;
  /** The plugin: one handler for each event and timer that the declaration has. */
  handlers(
    handlers: ProcessHandlers<Written<State>, Read<State>, Events, Commands, Timers, Ctx>,
  ): Plugin<Types>;
}

/** The state of a process manager's instances: `type Order = StateOf<typeof orders>`. */
export type StateOf<D> = D extends ProcessManager<infer State, any, any, any, any, any> ? Read<State> : never;

export function processManager<
  State extends Source,
  Events extends Named<AnyEvent>,
  Commands extends Named<AnyMessage> = {},
  Emitted extends Named<AnyMessage> = {},
  Timers extends Named<AnyTimer> = {},
  Lookups extends Named<Source> = {},
  Streams extends StreamsDefinition = {},
  Config extends Source | undefined = undefined,
>(
  definition: ProcessManagerDefinition<State, Events, Commands, Emitted, Timers, Lookups, Streams, Config>,
): ProcessManager<
  State,
  Events,
  Commands,
  Timers,
  ProcessContext<Commands, Emitted, Timers, Lookups, Streams, Config>,
  {
    events: Events;
    commands: Commands;
    emits: Emitted;
    timers: Timers;
    lookups: Lookups;
    streams: Streams;
    state: State;
    config: Config;
  }
> {
  return { handlers: (handlers) => new Process(definition as never, handlers as never) };
}

interface AnyHandlers {
  readonly on: Named<Handler>;
  readonly onTimer?: Named<Handler>;
  readonly onUndeliverable?: Handler;
  readonly onCancel?: Handler;
  readonly migrate?: (state: unknown, from: number, to: number) => unknown;
}

type AnyProcess = AnyDefinition &
  ProcessManagerDefinition<
    Source,
    Named<AnyEvent>,
    Named<AnyMessage>,
    Named<AnyMessage>,
    Named<AnyTimer>,
    Named<Source>,
    StreamsDefinition,
    Source | undefined
  >;

const UNDELIVERABLE_DATA = codecOf({
  id: t.string,
  type: t.string,
  reason: t.string,
  attempts: t.integer,
  command: t.object({ data: t.json.optional() }),
});
const CANCELLED_DATA = codecOf({ by: t.string.default(''), reason: t.string.default('') });

interface UndeliverableData {
  readonly type: string;
  readonly command: { readonly data?: Json };
}

class Process implements Plugin {
  readonly role = 'process-manager';
  readonly parts: Parts;
  private readonly declared: ReturnType<typeof declaredOf>;
  private readonly state: Codec;
  private readonly version: number;
  private readonly otherStates: Named<Codec>;

  constructor(
    private readonly definition: AnyProcess,
    private readonly handlers: AnyHandlers,
  ) {
    this.declared = declaredOf(definition);
    this.state = codecOf(definition.state);
    this.version = definition.stateVersion ?? 1;
    if (!Number.isInteger(this.version) || this.version < 1)
      throw new TypeError(`stateVersion is ${this.version}; versions count from 1`);
    this.otherStates = encoded(definition.otherStates as Named<Source> | undefined);
    this.parts = {
      ...this.declared,
      events: definition.events,
      state: this.state,
      stateVersion: this.version,
    };
    requireHandlers(definition.events, handlers.on, 'on');
    requireHandlers(this.declared.timers, handlers.onTimer, 'onTimer');
  }

  manifest() {
    const { fields, summary } = this.definition;
    const { onUndeliverable, onCancel } = this.handlers;
    const takes = {
      timers: Object.keys(this.declared.timers).length > 0,
      undeliverable: onUndeliverable !== undefined,
      cancelled: onCancel !== undefined,
    };
    return manifestOf(
      described(this.definition, this.declared, {
        version: this.version,
        state: this.state,
        fields,
        summary,
        takes,
      }),
    );
  }

  handle(wit: WitEvent, witState: WitState | undefined, witContext: Parameters<Plugin['handle']>[2]) {
    const context = new Context(this.declared, witContext);
    return call(context, () => this.transit(wit, witState, context));
  }

  migrate(from: WitState, to: number): Uint8Array {
    if (from.version === to && to === this.version) return this.state.write(this.readWhole(from.data));
    const { migrate } = this.handlers;
    if (migrate === undefined)
      throw new PermanentError(`the plugin has no migration from version ${from.version} to ${to}`);
    const before = attempt(`the stored state of version ${from.version}`, () =>
      this.codecOf(from.version).read(from.data),
    );
    const after = migrate(before, from.version, to);
    refusePromise('migrate', after);
    if (after === undefined)
      throw new PermanentError(`migrate returned nothing for the versions ${from.version} and ${to}`);
    const written = attempt(`the state of version ${to} that migrate returned`, () =>
      this.codecOf(to).write(after),
    );
    if (to === this.version) this.readWhole(written);
    return written;
  }

  private readWhole(data: Uint8Array): unknown {
    return attempt('the stored state', () => this.state.readWhole(data));
  }

  private codecOf(version: number): Codec {
    return version === this.version
      ? this.state
      : (own(this.otherStates, String(version)) ?? codecOf(undefined));
  }

  /** The next state, as it is stored. */
  private transit(wit: WitEvent, witState: WitState | undefined, context: Context): Uint8Array | undefined {
    const handler = this.handlerOf(wit);
    if (handler === undefined) {
      if (this.definition.unhandled === 'ignore') return undefined;
      throw noHandler(wit);
    }
    const effect = own(this.definition.events, wit.type)?.effect ?? 'handle';
    const input = this.inputOf(wit);
    const state = witState && attempt('the stored state', () => this.state.read(witState.data));
    if (state === undefined && effect === 'handle') throw new PermanentError('the host gave no state');
    const returned = effect === 'start' ? handler(input, context) : handler(state, input, context);
    refusePromise(wit.type, returned);
    const next = returned ?? state;
    if (next === undefined) {
      // A question that is open comes first, and starts the handler again.
      if (context.open.length > 0) return undefined;
      throw new PermanentError(`the handler of \`${wit.type}\` starts an instance, and returned no state`);
    }
    return attempt('the state cannot be stored: it', () => this.state.write(next));
  }

  private handlerOf(wit: WitEvent): Handler | undefined {
    const { on, onTimer, onUndeliverable, onCancel } = this.handlers;
    switch (wit.type) {
      case TIMER_FIRED:
        return onTimer && own(onTimer, wit.subject ?? '');
      case UNDELIVERABLE:
        return onUndeliverable;
      case CANCELLED:
        return onCancel;
      default:
        return own(on, wit.type);
    }
  }

  private inputOf(wit: WitEvent): unknown {
    switch (wit.type) {
      case TIMER_FIRED: {
        const name = wit.subject ?? '';
        return wit.data.length === 0
          ? undefined
          : attempt(`the data of the timer \`${name}\``, () =>
              own(this.declared.timers, name)!.codec.read(wit.data),
            );
      }
      case UNDELIVERABLE:
        return this.undeliverable(wit.data);
      case CANCELLED:
        return attempt(`the data of \`${CANCELLED}\``, () => CANCELLED_DATA.read(wit.data));
      default:
        return envelope(wit, this.definition.events);
    }
  }

  private undeliverable(data: Uint8Array): unknown {
    const { command, ...known } = attempt(
      `the data of \`${UNDELIVERABLE}\``,
      () => UNDELIVERABLE_DATA.read(data) as UndeliverableData,
    );
    const codec = own(this.declared.commands, known.type)?.codec;
    if (command.data === undefined || codec?.isJson === false) return { ...known, data: undefined };
    const sent = encode(command.data.text);
    return {
      ...known,
      data: attempt(`the data of \`${known.type}\``, () => (codec ?? codecOf(undefined)).read(sent)),
    };
  }
}
