/** The manifest: what the plugin says of itself. */

import type { Codec } from './codec.ts';
import type { AnyEvent, AnyMessage, Named } from './contract.ts';
import {
  CANCELLED,
  FIELD_NAME,
  MALFORMED_POINTER,
  NAME,
  RESERVED,
  TIMER_FIRED,
  UNDELIVERABLE,
} from './names.ts';
import type { Direction, JsonSchema } from './shape.ts';
import type { WitManifest, WitSubscription } from './wit.ts';

/** A state with more scalars than this shows the first ones; the rest would only cost space. */
const FIELDS_MAX = 12;
const SUMMARY_FIELDS_MAX = 3;

/** Names with JSON Pointers into the state. */
export type Fields = Readonly<Record<string, string>>;

/** All that a manifest is made of. */
export interface Described {
  readonly name: string | undefined;
  readonly version: string | undefined;
  readonly description: string | undefined;
  readonly events: Named<AnyEvent>;
  readonly commands: Named<AnyMessage>;
  readonly emits: Named<AnyMessage>;
  readonly lookups: Named<unknown>;
  readonly hasStreams: boolean;
  readonly configurationSchema: JsonSchema | undefined;
  /** For process managers alone. */
  readonly process?: {
    readonly version: number;
    readonly state: Codec;
    readonly fields: Fields | 'none' | undefined;
    readonly summary: string | undefined;
    readonly takes: {
      readonly timers: boolean;
      readonly undeliverable: boolean;
      readonly cancelled: boolean;
    };
  };
}

/** What the builder knows from package.json. */
interface PackageGlobal {
  __sagaboxPackage?: { name?: string; version?: string; description?: string };
}

export function manifestOf(plugin: Described): WitManifest {
  const fromPackage = (globalThis as PackageGlobal).__sagaboxPackage ?? {};
  const { process } = plugin;
  const name = plugin.name ?? fromPackage.name?.replace(/^@[^/]*\//, '') ?? 'plugin';
  if (!NAME.test(name))
    throw new TypeError(`the plugin's name \`${name}\` is invalid: use up to 64 characters a-z, 0-9 and -`);
  const fields = process === undefined ? [] : fieldsOf(process.fields, process.state);
  return {
    name,
    version: plugin.version ?? fromPackage.version ?? '0.0.0',
    description: plugin.description ?? fromPackage.description ?? '',
    subscriptions: [
      ...Object.entries(plugin.events).map(([type, event]) => subscription(type, event)),
      ...reserved(process?.takes),
    ],
    commands: Object.keys(plugin.commands),
    events: Object.keys(plugin.emits),
    lookups: Object.keys(plugin.lookups),
    streams: plugin.hasStreams,
    stateVersion: process?.version ?? 0,
    schemas: schemasOf(plugin),
    configurationSchema:
      plugin.configurationSchema === undefined ? undefined : JSON.stringify(plugin.configurationSchema),
    fields,
    summary: process?.summary ?? summaryOf(fields),
  };
}

function subscription(type: string, { key, effect, options }: AnyEvent): WitSubscription {
  if (type.startsWith(RESERVED))
    throw new TypeError(`\`${type}\` is reserved; use onTimer, onUndeliverable or onCancel`);
  const { source, absent = 'ignore' } = options;
  return {
    type,
    source:
      source === undefined
        ? { tag: 'any' }
        : typeof source === 'string'
          ? { tag: 'exactly', val: source }
          : { tag: 'prefix', val: source.prefix },
    key:
      typeof key !== 'string'
        ? { tag: 'attribute', val: key.attribute }
        : key === 'subject'
          ? { tag: 'subject' }
          : { tag: 'pointer', val: key },
    effect,
    absent: typeof absent === 'string' ? { tag: absent } : { tag: 'hold', val: absent.hold },
  };
}

function reserved(takes: NonNullable<Described['process']>['takes'] | undefined): WitSubscription[] {
  const types = [
    takes?.timers && TIMER_FIRED,
    takes?.undeliverable && UNDELIVERABLE,
    takes?.cancelled && CANCELLED,
  ];
  const present = types.filter((type) => typeof type === 'string');
  return present.map((type) => ({
    type,
    source: { tag: 'any' },
    key: { tag: 'instance' },
    effect: 'handle',
    absent: { tag: 'ignore' },
  }));
}

/** One for each type; a type that is taken and emitted has that of the event that is taken. */
function schemasOf({ events, commands, emits }: Described): { type: string; schema: string }[] {
  const schemas = new Map<string, string>();
  const collect = (all: Named<{ codec: Codec }>, direction: Direction) => {
    for (const [type, { codec }] of Object.entries(all)) {
      const schema = schemas.has(type) ? undefined : codec.schema(direction);
      if (schema !== undefined) schemas.set(type, JSON.stringify(schema));
    }
  };
  collect(events, 'read');
  collect(commands, 'write');
  collect(emits, 'write');
  return [...schemas].map(([type, schema]) => ({ type, schema }));
}

/** Members that the schema does not name are refused: a setting with a typing error is found. */
export function closed(schema: JsonSchema | undefined): JsonSchema | undefined {
  const isOpen = schema !== undefined && isObject(schema.properties) && !('additionalProperties' in schema);
  return isOpen ? { ...schema, additionalProperties: false } : schema;
}

function fieldsOf(fields: Fields | 'none' | undefined, state: Codec): { name: string; pointer: string }[] {
  if (fields === 'none') return [];
  const entries = Object.entries(fields ?? scalarsOf(state.schema('write')));
  for (const [name, pointer] of entries) {
    if (!FIELD_NAME.test(name))
      throw new TypeError(`the field \`${name}\` is invalid: use a letter or _, then letters, digits and _`);
    if (MALFORMED_POINTER.test(pointer))
      throw new TypeError(
        `the field \`${name}\` has ${JSON.stringify(pointer)}, which is no JSON Pointer such as "/total"`,
      );
  }
  return entries.map(([name, pointer]) => ({ name, pointer }));
}

/** The members of a state that are one value: strings, numbers and booleans. */
function scalarsOf(schema: JsonSchema | undefined): Fields {
  const properties = isObject(schema?.properties) ? schema.properties : {};
  const names = Object.keys(properties).filter((name) => FIELD_NAME.test(name) && isScalar(properties[name]));
  return Object.fromEntries(names.slice(0, FIELDS_MAX).map((name) => [name, `/${name}`]));
}

const SCALARS = ['string', 'integer', 'number', 'boolean'];

function isScalar(schema: unknown): boolean {
  if (!isObject(schema)) return false;
  const any = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(any)) {
    const others = any.filter((other) => !(isObject(other) && other.type === 'null'));
    return others.length > 0 && others.every(isScalar);
  }
  if (Array.isArray(schema.enum))
    return schema.enum.every((value) => value === null || typeof value !== 'object');
  const types = Array.isArray(schema.type) ? schema.type : [schema.type];
  return (
    types.every((name) => name === 'null' || SCALARS.includes(name as string)) &&
    types.some((name) => name !== 'null')
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function summaryOf(fields: { name: string }[]): string | undefined {
  const parts = fields.slice(0, SUMMARY_FIELDS_MAX).map(({ name }) => `${name} {${name}}`);
  return parts.length === 0 ? undefined : parts.join(', ');
}
