/**
 * Walks over JSON text that `JSON.parse` has accepted, for the values that a JavaScript number or object
 * cannot hold: it finds where each value begins and ends, and nothing else.
 */

const NUMBER_END = /[,\]}\s]/g;
const NESTING = /["{}[\]]/g;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

export class Scanner {
  position = 0;

  constructor(readonly text: string) {}

  /** The first character of the next value or sign. */
  peek(): string {
    for (;;) {
      const character = this.text[this.position]!;
      if (character !== ' ' && character !== '\n' && character !== '\r' && character !== '\t')
        return character;
      this.position += 1;
    }
  }

  /**
   * Calls `member` with the scanner before the value of each wanted member of an object. Of a member that
   * stands there twice, the last one counts, as for `JSON.parse`.
   */
  lastMembers(isWanted: (name: string) => boolean, member: (name: string) => void): void {
    const starts = new Map<string, number>();
    this.elements('}', () => {
      this.peek();
      const name = this.string();
      this.peek();
      this.position += 1;
      this.peek();
      if (isWanted(name)) starts.set(name, this.position);
      this.skip();
    });
    const end = this.position;
    for (const [name, start] of starts) {
      this.position = start;
      member(name);
    }
    this.position = end;
  }

  /** Calls `item` with the scanner before each value of an array; it must move behind the value. */
  items(item: () => void): void {
    this.elements(']', item);
  }

  /** The text of the next value as it stands there. */
  raw(): string {
    this.peek();
    const start = this.position;
    this.skip();
    return this.text.slice(start, this.position);
  }

  private elements(end: string, element: () => void): void {
    this.peek();
    this.position += 1;
    if (this.peek() === end) {
      this.position += 1;
      return;
    }
    for (;;) {
      this.peek();
      element();
      const sign = this.peek();
      this.position += 1;
      if (sign === end) return;
    }
  }

  private string(): string {
    const start = this.position;
    this.skipString();
    const inner = this.text.slice(start + 1, this.position - 1);
    return inner.includes('\\') ? (JSON.parse(`"${inner}"`) as string) : inner;
  }

  /** Moves behind the next value. */
  skip(): void {
    this.peek();
    const first = this.text.charCodeAt(this.position);
    if (first === QUOTE) return this.skipString();
    if (first !== 0x7b && first !== 0x5b) return this.skipTo(NUMBER_END, this.text.length);
    let depth = 0;
    do {
      NESTING.lastIndex = this.position;
      const at = NESTING.exec(this.text)!.index;
      this.position = at;
      const sign = this.text.charCodeAt(at);
      if (sign === QUOTE) this.skipString();
      else {
        depth += sign === 0x7b || sign === 0x5b ? 1 : -1;
        this.position += 1;
      }
    } while (depth > 0);
  }

  private skipTo(pattern: RegExp, end: number): void {
    pattern.lastIndex = this.position;
    this.position = pattern.exec(this.text)?.index ?? end;
  }

  private skipString(): void {
    let end = this.text.indexOf('"', this.position + 1);
    while (this.text.charCodeAt(end - 1) === BACKSLASH && this.isEscaped(end))
      end = this.text.indexOf('"', end + 1);
    this.position = end + 1;
  }

  /** Whether an odd number of backslashes stands before `at`. */
  private isEscaped(at: number): boolean {
    let before = at;
    while (this.text.charCodeAt(before - 1) === BACKSLASH) before -= 1;
    return (at - before) % 2 === 1;
  }
}
