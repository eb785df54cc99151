/** Numbers as they are written, from engines whose `JSON.parse` gives a reviver the source of each value. */

/** A number with all its digits. */
export class Digits {
  constructor(readonly text: string) {}
}

type Reviver = (key: string, value: unknown, context?: { readonly source?: string }) => unknown;
const parse = (text: string, reviver: Reviver): unknown =>
  JSON.parse(text, reviver as (key: string, value: unknown) => unknown);

function hasSources(): boolean {
  let source: string | undefined;
  parse('1.0', (_, value, context) => {
    source = context?.source;
    return value;
  });
  return source === '1.0';
}

/** Can be set by tests: Node 20 has no sources, QuickJS and later versions of Node have them. */
export const engine = { hasSources: hasSources() };

/** All names, in the set of those whose numbers keep their digits. */
export const ANY_NAME = '*';

/** As `JSON.parse`, but with {@link Digits} in place of the numbers of members with these names. */
export function parseWithDigits(text: string, names: ReadonlySet<string>): unknown {
  const isAny = names.has(ANY_NAME);
  return parse(text, (key, value, context) =>
    typeof value === 'number' && (isAny || names.has(key)) ? new Digits(context!.source!) : value,
  );
}
