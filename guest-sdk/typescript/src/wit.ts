/** The values that cross the border to the host, as componentize-qjs passes them: see `wit/0.1`. */

export type Variant<Tag extends string, Value = undefined> = Value extends undefined
  ? { tag: Tag }
  : { tag: Tag; val: Value };

export interface WitExtension {
  name: string;
  value: string;
}

export interface WitEvent {
  id: string;
  source: string;
  type: string;
  subject: string | null | undefined;
  time: string | null | undefined;
  datacontenttype: string;
  dataschema: string | null | undefined;
  extensions: WitExtension[];
  data: Uint8Array;
}

export interface WitMessage {
  type: string;
  subject: string | undefined;
  datacontenttype: string;
  extensions: WitExtension[];
  data: Uint8Array;
}

export type WitQuestion = Variant<'lookup', { name: string; key: string }> | Variant<'stream', string>;
export type WitAnswerValue =
  | Variant<'found', { contentType: string; data: Uint8Array }>
  | Variant<'missing'>
  | Variant<'events', WitEvent[]>;

export interface WitContext {
  now: number;
  attempt: number;
  key: string;
  answers: { question: WitQuestion; value: WitAnswerValue }[];
  configuration: string;
  seed: [number, number, number, number];
}

export interface WitState {
  version: number;
  data: Uint8Array;
}

export type WitTimerChange =
  | Variant<'set', { name: string; due: Variant<'after', number> | Variant<'at', number>; data: Uint8Array }>
  | Variant<'cancel', string>;
export type WitKeyChange = Variant<'claim', string> | Variant<'release', string>;

export interface WitDecision {
  state: Uint8Array | undefined;
  commands: WitMessage[];
  events: WitMessage[];
  timers: WitTimerChange[];
  keys: WitKeyChange[];
  complete: boolean;
}

export type WitFailure = Variant<'permanent', string> | Variant<'transient', string>;
export type WitCorrelation =
  Variant<'subject'> | Variant<'attribute', string> | Variant<'pointer', string> | Variant<'instance'>;
export type WitEffect = 'start' | 'start-or-handle' | 'handle';

export interface WitSubscription {
  type: string;
  source: Variant<'any'> | Variant<'exactly', string> | Variant<'prefix', string>;
  key: WitCorrelation;
  effect: WitEffect;
  absent: Variant<'ignore'> | Variant<'hold', number> | Variant<'fail'>;
}

export interface WitManifest {
  name: string;
  version: string;
  description: string;
  subscriptions: WitSubscription[];
  commands: string[];
  events: string[];
  lookups: string[];
  streams: boolean;
  stateVersion: number;
  schemas: { type: string; schema: string }[];
  configurationSchema: string | undefined;
  fields: { name: string; pointer: string }[];
  summary: string | undefined;
}
