/**
 * Lets Node run TypeScript tests: `node --import @sagabox/sdk/register --test test/*.test.ts`. Types are
 * removed, not checked.
 */
import { register } from 'node:module';

process.setSourceMapsEnabled(true);
register('./builder/hooks.mjs', import.meta.url);
