/** A plugin while it runs: it finds the handler of an event, calls it, and collects what it decided. */

import { codecOf, type Codec, type Source } from './codec.ts';
import type {
  AnyEvent,
  AnyMessage,
  AnyTimer,
  CommonDefinition,
  Named,
  QuestionDefinition,
  StreamsDefinition,
} from './contract.ts';
import { attempt, Context, isJsonType, type Declared } from './context.ts';
import { Envelope } from './envelope.ts';
import { PermanentError, Suspended } from './errors.ts';
import { closed, manifestOf, type Described } from './manifest.ts';
import { kindOf } from './shape.ts';
import { encode } from './text.ts';
import type { WitContext, WitDecision, WitEvent, WitManifest, WitQuestion, WitState } from './wit.ts';

export type Role = 'saga' | 'reactor' | 'enricher' | 'process-manager';
export type Reply = { readonly need: WitQuestion[] } | { readonly decided: WitDecision };

declare const TYPES: unique symbol;

/** The types of a plugin's parts, for its tests. */
export interface PluginTypes {
  readonly events: unknown;
  readonly commands: unknown;
  readonly emits: unknown;
  readonly timers: unknown;
  readonly lookups: unknown;
  readonly streams: unknown;
  readonly state: unknown;
  readonly config: unknown;
}

/** How a plugin's data is read and written. */
export interface Parts extends Declared {
  readonly events: Named<AnyEvent>;
  readonly state: Codec | undefined;
  readonly stateVersion: number;
}

/** What `handlers` makes, and a module exports by default. */
export interface Plugin<Types extends PluginTypes = any> {
  readonly [TYPES]?: Types;
  readonly role: Role;
  readonly parts: Parts;
  manifest(): WitManifest;
  /** Throws what the author's handler throws. */
  handle(event: WitEvent, state: WitState | undefined, context: WitContext): Reply;
  migrate(state: WitState, to: number): Uint8Array;
}

export type AnyDefinition = CommonDefinition<Source | undefined> &
  QuestionDefinition<Named<Source>, StreamsDefinition> & {
    readonly events: Named<AnyEvent>;
    readonly commands?: Named<AnyMessage>;
    readonly emits?: Named<AnyMessage>;
    readonly timers?: Named<AnyTimer>;
  };

/** A handler as it is called: all arguments that any handler takes. */
export type Handler = (...args: unknown[]) => unknown;

export function encoded<T extends Source>(sources: Named<T> | undefined): Named<Codec> {
  return Object.fromEntries(Object.entries(sources ?? {}).map(([name, source]) => [name, codecOf(source)]));
}

export function declaredOf(
  definition: AnyDefinition,
): Declared & { readonly configurationSchema: Described['configurationSchema'] } {
  const { streams, config } = definition;
  const codec =
    config === undefined ? undefined : codecOf('~standard' in config ? { schema: config as never } : config);
  const schema = closed(codec?.schema('read'));
  return {
    commands: definition.commands ?? {},
    emits: definition.emits ?? {},
    timers: definition.timers ?? {},
    lookups: encoded(definition.lookups),
    streams: streams === true || streams === undefined ? streams : encoded(streams),
    config: configReader(codec, schema),
    configurationSchema: schema,
  };
}

/** Every call has the same configuration, which is read once. */
function configReader(
  codec: Codec | undefined,
  schema: Described['configurationSchema'],
): (text: string) => unknown {
  let last: { text: string; value: unknown } | undefined;
  return (text) => {
    if (codec === undefined) return undefined;
    if (last?.text !== text) last = { text, value: readConfig(codec, schema, text) };
    return last.value;
  };
}

function readConfig(codec: Codec, schema: Described['configurationSchema'], text: string): unknown {
  if (schema?.additionalProperties === false) {
    const known = Object.keys(schema.properties as object);
    const unknown = Object.keys(JSON.parse(text) as object).find((name) => !known.includes(name));
    if (unknown !== undefined)
      throw new PermanentError(
        `the plugin's configuration has an unknown member \`${unknown}\`; known are ${known.join(', ')}`,
      );
  }
  const value = attempt("the plugin's configuration", () => codec.read(encode(text)));
  return typeof value === 'object' && value !== null ? Object.freeze(value) : value;
}

export function described(
  definition: AnyDefinition,
  declared: ReturnType<typeof declaredOf>,
  process?: Described['process'],
): Described {
  return {
    name: definition.name,
    version: definition.version,
    description: definition.description,
    events: definition.events,
    commands: declared.commands,
    emits: declared.emits,
    lookups: declared.lookups,
    hasStreams: declared.streams !== undefined,
    configurationSchema: declared.configurationSchema,
    ...(process !== undefined && { process }),
  };
}

/** A plugin of a role without state. */
export function stateless(role: Role, definition: AnyDefinition, handlers: Named<Handler>): Plugin {
  const declared = declaredOf(definition);
  requireHandlers(definition.events, handlers, 'on');
  return {
    role,
    parts: { ...declared, events: definition.events, state: undefined, stateVersion: 0 },
    manifest: () => manifestOf(described(definition, declared)),
    handle(wit, _state, witContext) {
      const context = new Context(declared, witContext);
      const event = envelope(wit, definition.events);
      return call(context, () => refuseResult(wit.type, own(handlers, wit.type)!(event, context)));
    },
    migrate() {
      throw new PermanentError('the role has no state');
    },
  };
}

/** Calls a handler; its state, if it has one, is written into the decision. */
export function call(context: Context, handler: () => Uint8Array | undefined): Reply {
  let state: Uint8Array | undefined;
  try {
    state = handler();
  } catch (error) {
    // An open question comes first, whatever became of the error that left the handler.
    if (context.open.length > 0) return { need: context.open };
    if (error instanceof Suspended)
      throw new PermanentError('the handler waits for an answer without a question');
    throw error;
  }
  if (context.open.length > 0) return { need: context.open };
  context.decision.state = state;
  return { decided: context.decision };
}

/** The event for a handler. Data that the plugin checks is read now. */
export function envelope(wit: WitEvent, events: Named<AnyEvent>): Envelope<string, unknown> {
  const codec = own(events, wit.type)?.codec;
  if (codec === undefined) throw noHandler(wit);
  if (codec.isJson && codec.isChecked && !isJsonType(wit.datacontenttype)) {
    throw new PermanentError(
      `the data of \`${wit.type}\` does not fit: its content type is ${wit.datacontenttype}, which is no JSON`,
    );
  }
  const event = new Envelope<string, unknown>(wit, codec);
  if (codec.isChecked) void event.data;
  return event;
}

export function noHandler(wit: WitEvent): PermanentError {
  const what = wit.type === 'sagabox.timer.fired' ? `the timer \`${wit.subject ?? ''}\`` : `\`${wit.type}\``;
  return new PermanentError(`the plugin has no handler for ${what}`);
}

export function own<T>(all: Named<T>, name: string): T | undefined {
  return Object.hasOwn(all, name) ? all[name] : undefined;
}

/** TypeScript checks it as well; JavaScript does not. */
export function requireHandlers(
  declared: Named<unknown>,
  handlers: Named<unknown> | undefined,
  where: string,
): void {
  for (const name of Object.keys(declared)) {
    if (typeof handlers?.[name] !== 'function')
      throw new TypeError(`\`${name}\` is declared and has no handler in \`${where}\``);
  }
  for (const name of Object.keys(handlers ?? {})) {
    if (!Object.hasOwn(declared, name))
      throw new TypeError(`\`${where}\` has a handler for \`${name}\`, which is not declared`);
  }
}

/** What a handler returned by mistake would be lost silently. */
export function refuseResult(type: string, result: unknown): undefined {
  if (result === undefined) return undefined;
  refusePromise(type, result);
  throw new PermanentError(
    `the handler of \`${type}\` returned ${kindOf(result)}; send what it decides with the context`,
  );
}

export function refusePromise(type: string, result: unknown): void {
  if (
    typeof result === 'object' &&
    result !== null &&
    'then' in result &&
    typeof result.then === 'function'
  ) {
    throw new PermanentError(
      `the handler of \`${type}\` is asynchronous; a handler decides at once, and asks with ctx.lookup and ctx.stream, without await`,
    );
  }
}
