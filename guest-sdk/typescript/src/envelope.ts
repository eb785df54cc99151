/** An event as a handler gets it. */

import type { Codec } from './codec.ts';
import { DataError, PermanentError, textOf } from './errors.ts';
import { decode } from './text.ts';
import { Timestamp } from './time.ts';
import type { WitEvent } from './wit.ts';

/** A CloudEvent. `type` distinguishes the types of `data`. */
export class Envelope<Type extends string, Data> {
  readonly type: Type;
  private value: Data | undefined;
  private isRead = false;

  constructor(
    private readonly wit: WitEvent,
    private readonly codec: Codec | undefined,
  ) {
    this.type = wit.type as Type;
  }

  /** The data, read when it is first used. Throws if it does not fit. */
  get data(): Data {
    if (!this.isRead) {
      this.value = this.read();
      this.isRead = true;
    }
    return this.value as Data;
  }

  /** The data byte for byte. */
  get bytes(): Uint8Array {
    return this.wit.data;
  }

  /** The data as text. */
  get text(): string {
    return decode(this.wit.data);
  }

  get id(): string {
    return this.wit.id;
  }

  get source(): string {
    return this.wit.source;
  }

  get subject(): string | undefined {
    return this.wit.subject ?? undefined;
  }

  /** When the event happened, as its sender wrote it; `timestamp` is the same as a moment. */
  get time(): string | undefined {
    return this.wit.time ?? undefined;
  }

  get timestamp(): Timestamp | undefined {
    return this.time === undefined ? undefined : Timestamp.parse(this.time);
  }

  get contentType(): string {
    return this.wit.datacontenttype;
  }

  get dataSchema(): string | undefined {
    return this.wit.dataschema ?? undefined;
  }

  get extensions(): Record<string, string> {
    return Object.fromEntries(this.wit.extensions.map(({ name, value }) => [name, value]));
  }

  private read(): Data {
    try {
      return (this.codec === undefined ? JSON.parse(this.text) : this.codec.read(this.wit.data)) as Data;
    } catch (error) {
      const reason = error instanceof DataError ? error.message : textOf(error);
      throw new PermanentError(`the data of \`${this.wit.type}\` does not fit: ${reason}`);
    }
  }
}
