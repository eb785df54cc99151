/** The SDK for plugins in TypeScript and JavaScript. */

import './globals.ts';

export {
  bytes,
  checked,
  type,
  type Bytes,
  type Checked,
  type Read,
  type Source,
  type StandardSchema,
  type Type,
  type Written,
} from './codec.ts';
export { event, hold, message, starts, startsOrHandles, timer, type Absent, type Key } from './contract.ts';
export type { SendOptions } from './context.ts';
export { Decimal } from './decimal.ts';
export { Envelope } from './envelope.ts';
export { DataError, PermanentError, TransientError } from './errors.ts';
export type { Plugin, Role } from './plugin.ts';
export { processManager, type Cancelled, type StateOf, type Undeliverable } from './process.ts';
export { enricher, reactor, saga, type ContextOf, type EventOf } from './roles.ts';
export { Json } from './scalars.ts';
export { Shape, type JsonSchema } from './shape.ts';
export { t } from './t.ts';
export {
  days,
  formatDuration,
  hours,
  minutes,
  parseDuration,
  seconds,
  Timestamp,
  type Duration,
} from './time.ts';
