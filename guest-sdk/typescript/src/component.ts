/**
 * The border to the host. The builder bundles it before the author's modules, so that `console` and
 * `Math.random` are there when these load.
 */

// Provided by the world `logging` of the component; the builder leaves the import as it is.
// @ts-expect-error It is no file.
import { log as hostLog } from 'sagabox:plugin/logging@0.1.0';
import { consoleOf, type Level } from './console.ts';
import { cryptoOf, encodings } from './globals.ts';
import { failureOf, reasonOf, traceOf } from './failure.ts';
import type { Plugin } from './plugin.ts';
import { beginPromises, refusePromises, SeenPromise } from './promises.ts';
import { beginCall, callRandom } from './random.ts';
import type { WitContext, WitEvent, WitState } from './wit.ts';

/** Modules load while the component is built: there is no host yet that could take a line. */
let isLoading = true;
const early: [Level, string][] = [];

function log(level: Level, text: string): void {
  if (isLoading) early.push([level, text]);
  else hostLog(level, text);
}

const globals = {
  console: consoleOf(log),
  ...encodings,
  crypto: cryptoOf(callRandom),
  Promise: SeenPromise,
};
for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true, enumerable: false });
}
// Each instance would begin with the same state of the engine's generator, and go on differently.
Math.random = () => callRandom().number();

function begin(): void {
  isLoading = false;
  beginCall();
  beginPromises();
}

/** Calls a part of the plugin; what it throws is logged with its place, and becomes what `refusal` makes. */
function guarded<T>(action: () => T, refusal: (thrown: unknown) => unknown): T {
  try {
    return action();
  } catch (thrown) {
    const trace = traceOf(thrown);
    if (trace !== undefined) log('error', trace);
    throw refusal(thrown);
  }
}

/** The exports of the component, by the plugin's role. */
export function exportsOf(plugin: Plugin) {
  const describe = () => {
    begin();
    for (const [level, text] of early.splice(0)) hostLog(level, text);
    return guarded(
      () => plugin.manifest(),
      (thrown) => new Error(reasonOf(thrown)),
    );
  };
  const reply = (event: WitEvent, state: WitState | null | undefined, context: WitContext) => {
    begin();
    return guarded(() => {
      const answer = plugin.handle(event, state ?? undefined, context);
      refusePromises();
      return answer;
    }, failureOf);
  };
  const decide = (event: WitEvent, context: WitContext) => {
    const answer = reply(event, undefined, context);
    if ('need' in answer) return { tag: 'need', val: answer.need };
    return { tag: 'decided', val: answer.decided };
  };
  const enrich = (event: WitEvent, context: WitContext) => {
    const answer = reply(event, undefined, context);
    if ('need' in answer) return { tag: 'need', val: answer.need };
    return { tag: 'publish', val: answer.decided.events };
  };
  const transit = (event: WitEvent, state: WitState | null | undefined, context: WitContext) => {
    const answer = reply(event, state, context);
    if ('need' in answer) return { tag: 'need', val: answer.need };
    return { tag: 'transit', val: answer.decided };
  };
  const migrate = (state: WitState, to: number) => {
    begin();
    return guarded(() => plugin.migrate(state, to), reasonOf);
  };
  return {
    decider: { describe, handle: decide },
    enricher: { describe, enrich },
    process: { describe, handle: transit, migrate },
  };
}
