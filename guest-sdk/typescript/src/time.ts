/** Moments and durations as events and configurations write them. */

/** Milliseconds. `hours(24)` and the others make them. */
export type Duration = number;

export const seconds = (count: number): Duration => count * 1_000;
export const minutes = (count: number): Duration => count * 60_000;
export const hours = (count: number): Duration => count * 3_600_000;
/** Days of 24 hours. */
export const days = (count: number): Duration => count * 86_400_000;

const UNITS: readonly (readonly [string, number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
  ['ms', 1],
];
const SPAN = /^\s*(?:\d+(?:ms|s|m|h|d)\s*)+$/;
const PART = /(\d+)(ms|s|m|h|d)/g;

/** Reads `24h`, `90s` or `1h 30m`. */
export function parseDuration(text: string): Duration {
  if (!SPAN.test(text))
    throw new RangeError(`\`${text}\` is no duration such as 24h, 90s or 1h 30m (ms, s, m, h, d)`);
  let total = 0;
  for (const [, count, unit] of text.matchAll(PART))
    total += Number(count) * UNITS.find(([name]) => name === unit)![1];
  if (total > Number.MAX_SAFE_INTEGER) throw new RangeError(`\`${text}\` is too long for a duration`);
  return total;
}

/** Writes a duration as `1h 30m`. Parts of a millisecond are dropped. */
export function formatDuration(duration: Duration): string {
  let rest = Math.floor(duration);
  if (!(rest >= 0)) throw new RangeError(`${duration} is no duration`);
  if (rest === 0) return '0s';
  const parts: string[] = [];
  for (const [unit, millis] of UNITS) {
    const count = Math.floor(rest / millis);
    rest -= count * millis;
    if (count > 0) parts.push(`${count}${unit}`);
  }
  return parts.join(' ');
}

/** The first whole millisecond that is not before it: a timer is never early. */
export function dueMillis(due: Duration | Timestamp | Date): number {
  if (typeof due === 'number') return Math.ceil(due);
  // Not every caller is checked by TypeScript.
  if (typeof due !== 'object' || due === null) return NaN;
  if ('getTime' in due) return due.getTime();
  const millis = due.toMillis();
  return millis < 0 || Timestamp.fromMillis(millis).equals(due) ? millis : millis + 1;
}

const RFC_3339 = /^(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;
/** The years 0000 to 9999, which RFC 3339 can write. */
const EARLIEST = -62_167_219_200;
const LATEST = 253_402_300_799;

/**
 * A moment, written as RFC 3339: `2026-03-01T12:00:00Z`. It does not change.
 *
 * It is read with any offset, and written in UTC with as many digits of a second as it has, up to nine.
 * `<` and `>` compare moments to the millisecond.
 */
export class Timestamp {
  private constructor(
    private readonly secs: number,
    private readonly nanos: number,
  ) {}

  static parse(text: string): Timestamp {
    const match = RFC_3339.exec(text);
    const fail = () => new RangeError(`\`${text}\` is no RFC 3339 time such as 2026-03-01T12:00:00Z`);
    if (match === null) throw fail();
    const [year, month, day, hour, minute, second] = match.slice(1, 7).map(Number) as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const [offsetHours, offsetMinutes] = [Number(match[9] ?? 0), Number(match[10] ?? 0)];
    const date = new Date(0);
    date.setUTCFullYear(year, month - 1, day);
    const isDate = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
    if (!isDate || hour > 23 || minute > 59 || second > 60 || offsetHours > 23 || offsetMinutes > 59)
      throw fail();
    const offset = (offsetHours * 60 + offsetMinutes) * 60 * (match[8] === '-' ? -1 : 1);
    // A leap second counts as the last second before it, as most clocks do.
    const inDay = hour * 3_600 + minute * 60 + Math.min(second, 59);
    return Timestamp.checked(
      date.getTime() / 1_000 + inDay - offset,
      Number((match[7] ?? '').slice(0, 9).padEnd(9, '0')),
    );
  }

  /** Milliseconds since 1970-01-01T00:00:00Z. */
  static fromMillis(millis: number): Timestamp {
    const secs = Math.floor(millis / 1_000);
    return Timestamp.checked(secs, Math.round((millis - secs * 1_000) * 1_000_000));
  }

  static fromDate(date: Date): Timestamp {
    return Timestamp.fromMillis(date.getTime());
  }

  private static checked(secs: number, nanos: number): Timestamp {
    if (!(secs >= EARLIEST && secs <= LATEST))
      throw new RangeError('the moment is outside of the years 0000 to 9999');
    return new Timestamp(secs, nanos);
  }

  /** Whole milliseconds since 1970-01-01T00:00:00Z. */
  toMillis(): number {
    return this.secs * 1_000 + Math.floor(this.nanos / 1_000_000);
  }

  toDate(): Date {
    return new Date(this.toMillis());
  }

  plus(duration: Duration): Timestamp {
    const millis = Math.floor(duration);
    const total = this.nanos / 1_000_000 + (millis % 1_000);
    const carry = Math.floor(total / 1_000);
    const nanos = this.nanos + (millis % 1_000) * 1_000_000 - carry * 1_000_000_000;
    return Timestamp.checked(this.secs + Math.trunc(millis / 1_000) + carry, nanos);
  }

  minus(duration: Duration): Timestamp {
    return this.plus(-duration);
  }

  /** The time from `earlier` to this, in milliseconds; negative if `earlier` is later. */
  since(earlier: Timestamp): Duration {
    return (this.secs - earlier.secs) * 1_000 + (this.nanos - earlier.nanos) / 1_000_000;
  }

  equals(other: Timestamp): boolean {
    return this.secs === other.secs && this.nanos === other.nanos;
  }

  valueOf(): number {
    return this.toMillis();
  }

  toString(): string {
    const whole = new Date(this.secs * 1_000).toISOString().slice(0, 19);
    const fraction = this.nanos === 0 ? '' : `.${String(this.nanos).padStart(9, '0').replace(/0+$/, '')}`;
    return `${whole}${fraction}Z`;
  }

  toJSON(): string {
    return this.toString();
  }
}
