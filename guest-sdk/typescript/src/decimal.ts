/** Exact decimal numbers, for money. */

/** `1e999999999` would take all memory when it is written out. */
const EXPONENT_MAX = 1_000;
const TEXT = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

interface RawJson {
  rawJSON?(text: string): unknown;
}

/**
 * An exact decimal number: `0.1 + 0.2` is `0.3`, and `10.00` stays `10.00`.
 *
 * In JSON it is a number with all its digits; `t.decimal` reads it from a number or from a string.
 */
export class Decimal {
  static readonly ZERO = new Decimal(0n, 0);

  private constructor(
    /** The digits without the point. */
    private readonly units: bigint,
    /** How many of them stand behind the point. */
    readonly places: number,
  ) {}

  /**
   * `Decimal.of('19.99')`, `Decimal.of(3)`, `Decimal.of(1999n, 2)`. A number with a fraction is read as
   * JavaScript prints it.
   */
  static of(value: string | number | bigint | Decimal, places = 0): Decimal {
    if (value instanceof Decimal) return value;
    if (typeof value === 'bigint') return new Decimal(value, places);
    const match = TEXT.exec(String(value));
    const exponent = Number(match?.[4] ?? 0);
    if (match === null || Math.abs(exponent) > EXPONENT_MAX)
      throw new RangeError(`\`${String(value).slice(0, 50)}\` is no decimal number`);
    const fraction = match[3] ?? '';
    let units = BigInt(match[2] + fraction);
    if (match[1] === '-') units = -units;
    const scale = fraction.length - exponent;
    return scale >= 0 ? new Decimal(units, scale) : new Decimal(units * 10n ** BigInt(-scale), 0);
  }

  static is(value: unknown): value is Decimal {
    return value instanceof Decimal;
  }

  static sum(values: Iterable<Decimal>): Decimal {
    let total = Decimal.ZERO;
    for (const value of values) total = total.plus(value);
    return total;
  }

  plus(other: Decimal | number | bigint | string): Decimal {
    const [a, b, places] = this.aligned(Decimal.of(other));
    return new Decimal(a + b, places);
  }

  minus(other: Decimal | number | bigint | string): Decimal {
    return this.plus(Decimal.of(other).negated());
  }

  times(other: Decimal | number | bigint | string): Decimal {
    const by = Decimal.of(other);
    return new Decimal(this.units * by.units, this.places + by.places);
  }

  /** The quotient with so many places; a half goes to the even neighbour. */
  dividedBy(other: Decimal | number | bigint | string, places = 20): Decimal {
    const by = Decimal.of(other);
    if (by.units === 0n) throw new RangeError('division by zero');
    const shift = places + by.places - this.places;
    const up = shift > 0 ? 10n ** BigInt(shift) : 1n;
    const down = shift < 0 ? 10n ** BigInt(-shift) : 1n;
    return new Decimal(rounded(this.units * up, by.units * down), places);
  }

  negated(): Decimal {
    return new Decimal(-this.units, this.places);
  }

  /** With so many places; a half goes to the even neighbour. Zeros are added where places are missing. */
  round(places = 0): Decimal {
    const more = places - this.places;
    if (more >= 0) return new Decimal(this.units * 10n ** BigInt(more), places);
    return new Decimal(rounded(this.units, 10n ** BigInt(-more)), places);
  }

  /** Below zero, zero or above zero, as `Array.prototype.sort` takes it. */
  compare(other: Decimal | number | bigint | string): number {
    const [a, b] = this.aligned(Decimal.of(other));
    return a < b ? -1 : a > b ? 1 : 0;
  }

  /** Whether the values are equal: `1.0` equals `1.00`. */
  equals(other: Decimal | number | bigint | string): boolean {
    return this.compare(other) === 0;
  }

  isNegative(): boolean {
    return this.units < 0n;
  }

  isZero(): boolean {
    return this.units === 0n;
  }

  toNumber(): number {
    return Number(this.toString());
  }

  toString(): string {
    if (this.places === 0) return this.units.toString();
    const digits = (this.units < 0n ? -this.units : this.units).toString().padStart(this.places + 1, '0');
    const point = digits.length - this.places;
    return `${this.units < 0n ? '-' : ''}${digits.slice(0, point)}.${digits.slice(point)}`;
  }

  /** A JSON number with all digits; a string where the engine's `JSON.stringify` cannot write one. */
  toJSON(): unknown {
    const json = JSON as RawJson;
    return json.rawJSON === undefined ? this.toString() : json.rawJSON(this.toString());
  }

  private aligned(other: Decimal): [bigint, bigint, number] {
    const places = Math.max(this.places, other.places);
    const widened = (value: Decimal) => value.units * 10n ** BigInt(places - value.places);
    return [widened(this), widened(other), places];
  }
}

function rounded(dividend: bigint, divisor: bigint): bigint {
  const isNegative = dividend < 0n !== divisor < 0n;
  const a = dividend < 0n ? -dividend : dividend;
  const b = divisor < 0n ? -divisor : divisor;
  let quotient = a / b;
  const twice = (a % b) * 2n;
  if (twice > b || (twice === b && quotient % 2n === 1n)) quotient += 1n;
  return isNegative ? -quotient : quotient;
}
