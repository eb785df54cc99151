/** The roles without state: sagas, reactors and enrichers. */

import type { Source } from './codec.ts';
import type {
  AnyEvent,
  AnyMessage,
  CommonDefinition,
  DataOf,
  Named,
  QuestionDefinition,
  StreamsDefinition,
} from './contract.ts';
import type { Asks, Call, Emits, Sends } from './context.ts';
import type { Envelope } from './envelope.ts';
import { stateless, type Handler, type Plugin, type PluginTypes, type Role } from './plugin.ts';
import type { ConfigOf } from './process.ts';

declare const CONTEXT: unique symbol;
declare const EVENTS: unique symbol;

/** A declaration to which `handlers` adds the code. */
export interface Declaration<Context, Events> {
  readonly [CONTEXT]?: Context;
  readonly [EVENTS]?: Events;
}

/** The context of a plugin's handlers: `type Ctx = ContextOf<typeof orders>`. */
export type ContextOf<D> = D extends Declaration<infer Context, any> ? Context : never;

/** The events of these types, distinguished by `type`: `EventOf<typeof orders, 'Paid' | 'Sent'>`. */
export type EventOf<D, Types extends string = string> =
  D extends Declaration<any, infer Events>
    ? { [K in keyof Events & Types]: Envelope<K, DataOf<Events[K]>> }[keyof Events & Types]
    : never;

/** Not `void` alone, which would accept an asynchronous function. */
export type Nothing = void | undefined;

export interface StatelessHandlers<Events, Context> {
  readonly on: {
    readonly [K in keyof Events & string]: (event: Envelope<K, DataOf<Events[K]>>, ctx: Context) => Nothing;
  };
}

/** A declaration of a role without state. */
export interface Stateless<Events, Context, Types extends PluginTypes> extends Declaration<Context, Events> {
  /** The plugin: one handler for each event that the declaration takes. */
  handlers(handlers: StatelessHandlers<Events, Context>): Plugin<Types>;
}

type StatelessTypes<Events, Commands, Emitted, Lookups, Streams, Config> = {
  events: Events;
  commands: Commands;
  emits: Emitted;
  timers: {};
  lookups: Lookups;
  streams: Streams;
  state: undefined;
  config: Config;
};

function declaration(role: Role, definition: object): Stateless<any, any, any> {
  return { handlers: ({ on }) => stateless(role, definition as never, on as Named<Handler>) };
}

export type SagaContext<Commands, Lookups, Streams, Config> = Call<ConfigOf<Config>> &
  Sends<Commands> &
  Asks<Lookups, Streams>;

export interface SagaDefinition<Events, Commands, Lookups, Streams, Config extends Source | undefined>
  extends CommonDefinition<Config>, QuestionDefinition<Lookups, Streams> {
  /** What it takes, by event type. */
  readonly events: Events;
  /** What it may send, by command type. */
  readonly commands?: Commands;
}

/** A coordinator without state: an event comes in, commands go out. */
export function saga<
  Events extends Named<AnyEvent>,
  Commands extends Named<AnyMessage> = {},
  Lookups extends Named<Source> = {},
  Streams extends StreamsDefinition = {},
  Config extends Source | undefined = undefined,
>(
  definition: SagaDefinition<Events, Commands, Lookups, Streams, Config>,
): Stateless<
  Events,
  SagaContext<Commands, Lookups, Streams, Config>,
  StatelessTypes<Events, Commands, {}, Lookups, Streams, Config>
> {
  return declaration('saga', definition);
}

export type ReactorContext<Commands, Emitted, Lookups, Streams, Config> = SagaContext<
  Commands,
  Lookups,
  Streams,
  Config
> &
  Emits<Emitted>;

export interface ReactorDefinition<
  Events,
  Commands,
  Emitted,
  Lookups,
  Streams,
  Config extends Source | undefined,
> extends SagaDefinition<Events, Commands, Lookups, Streams, Config> {
  /** What it may emit, by event type. */
  readonly emits?: Emitted;
}

/** A participant in a choreography: it reacts to events with commands and events of its own. */
export function reactor<
  Events extends Named<AnyEvent>,
  Commands extends Named<AnyMessage> = {},
  Emitted extends Named<AnyMessage> = {},
  Lookups extends Named<Source> = {},
  Streams extends StreamsDefinition = {},
  Config extends Source | undefined = undefined,
>(
  definition: ReactorDefinition<Events, Commands, Emitted, Lookups, Streams, Config>,
): Stateless<
  Events,
  ReactorContext<Commands, Emitted, Lookups, Streams, Config>,
  StatelessTypes<Events, Commands, Emitted, Lookups, Streams, Config>
> {
  return declaration('reactor', definition);
}

export type EnricherContext<Emitted, Lookups, Streams, Config> = Call<ConfigOf<Config>> &
  Emits<Emitted> &
  Asks<Lookups, Streams>;

export interface EnricherDefinition<Events, Emitted, Lookups, Streams, Config extends Source | undefined>
  extends CommonDefinition<Config>, QuestionDefinition<Lookups, Streams> {
  /** What it takes, by event type. */
  readonly events: Events;
  /** What it publishes, by event type. */
  readonly emits?: Emitted;
}

/** Turns internal events into external ones. */
export function enricher<
  Events extends Named<AnyEvent>,
  Emitted extends Named<AnyMessage> = {},
  Lookups extends Named<Source> = {},
  Streams extends StreamsDefinition = {},
  Config extends Source | undefined = undefined,
>(
  definition: EnricherDefinition<Events, Emitted, Lookups, Streams, Config>,
): Stateless<
  Events,
  EnricherContext<Emitted, Lookups, Streams, Config>,
  StatelessTypes<Events, {}, Emitted, Lookups, Streams, Config>
> {
  return declaration('enricher', definition);
}
