/** `console` for QuickJS, which has none: each call is a line in the host's log. */

import { stringify } from './codec.ts';
import { Decimal } from './decimal.ts';
import { textOf } from './errors.ts';
import { Json } from './scalars.ts';
import { Timestamp } from './time.ts';

export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error';
export type Log = (level: Level, text: string) => void;

const DEPTH_MAX = 4;
const FORMAT = /%[sdifjoOc%]/g;

/** The methods of `console` that a plugin has a use for. */
export function consoleOf(log: Log): Record<string, (...values: unknown[]) => void> {
  const at =
    (level: Level) =>
    (...values: unknown[]) =>
      log(level, lineOf(values).toWellFormed());
  const counts = new Map<string, number>();
  return {
    trace: at('trace'),
    debug: at('debug'),
    log: at('info'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    dir: (value) => at('info')(value),
    table: (value) => at('info')(value),
    assert: (holds, ...values) => {
      if (!holds) at('error')('assertion failed:', ...values);
    },
    count: (label = 'default') => {
      const count = (counts.get(String(label)) ?? 0) + 1;
      counts.set(String(label), count);
      at('info')(`${String(label)}: ${count}`);
    },
    group: at('info'),
    groupEnd: () => {},
    time: () => {},
    timeEnd: () => {},
  };
}

/** The values as one text, with the usual `%s`, `%d` and `%j` of a first string. */
export function lineOf(values: readonly unknown[]): string {
  const [format, ...rest] = values;
  if (typeof format !== 'string' || !format.includes('%'))
    return values.map((value) => shown(value)).join(' ');
  const left = [...rest];
  const text = format.replace(FORMAT, (sign) => {
    if (sign === '%%') return '%';
    if (left.length === 0) return sign;
    const value = left.shift();
    if (sign === '%c') return '';
    if (sign === '%d' || sign === '%i')
      return String(sign === '%i' ? Math.trunc(Number(value)) : Number(value));
    return sign === '%j' ? stringify(value) : shown(value);
  });
  return [text, ...left.map((value) => shown(value))].join(' ');
}

function shown(value: unknown): string {
  return typeof value === 'string' ? value : inspected(value, 0, new Set());
}

function inspected(value: unknown, depth: number, above: Set<object>): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `[function ${value.name || 'anonymous'}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Error) return `${value.name}: ${textOf(value)}`;
  if (value instanceof Decimal || value instanceof Timestamp || value instanceof Json)
    return value.toString();
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString();
  if (above.has(value)) return '[circular]';
  if (depth >= DEPTH_MAX) return '…';
  above.add(value);
  const inner = (item: unknown) => inspected(item, depth + 1, above);
  const text = inspectedObject(value, inner);
  above.delete(value);
  return text;
}

function inspectedObject(value: object, inner: (item: unknown) => string): string {
  if (Array.isArray(value)) return `[${value.map(inner).join(', ')}]`;
  if (value instanceof Uint8Array) return `Uint8Array(${value.length})`;
  if (value instanceof Map)
    return `Map {${[...value].map(([key, item]) => `${inner(key)} => ${inner(item)}`).join(', ')}}`;
  if (value instanceof Set) return `Set {${[...value].map(inner).join(', ')}}`;
  return `{${Object.entries(value)
    .map(([key, item]) => `${key}: ${inner(item)}`)
    .join(', ')}}`;
}
