import { event, message, saga, t, Shape } from '@sagabox/sdk';

/** A type of the author's own, whose JSON Schema cannot be made. */
class Broken extends Shape<string> {
  read(json: unknown): string {
    return String(json);
  }
  write(value: unknown): string {
    return JSON.stringify(value);
  }
  schema(): never {
    throw new Error('broken while it describes itself');
  }
}

const broken = saga({
  events: { Opened: event({ id: t.string, note: new Broken() }, '/id') },
  commands: { Noted: message({ id: t.string }) },
});

export default broken.handlers({
  on: { Opened: ({ data }, ctx) => ctx.send('Noted', { id: data.id }) },
});
