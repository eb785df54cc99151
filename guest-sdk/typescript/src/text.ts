/**
 * UTF-8 in both directions, without an engine's `TextEncoder`: QuickJS has none.
 *
 * QuickJS runs loops over bytes slowly, so bytes and text are exchanged through base64, which is
 * native code there. Under Node the platform's own classes are used.
 */

declare const TextDecoder:
  undefined | (new (label: string, options: object) => { decode(bytes: Uint8Array): string });
declare const TextEncoder: undefined | (new () => { encode(text: string): Uint8Array });
declare function btoa(text: string): string;
declare function atob(text: string): string;
/** Annex B of ECMAScript: together with `encodeURIComponent` they convert UTF-8 natively. */
declare function escape(text: string): string;
declare function unescape(text: string): string;

interface Base64Array {
  toBase64(): string;
}
interface Base64Constructor {
  fromBase64(text: string): Uint8Array;
}

const NOT_ASCII = /[^\x00-\x7f]/;
const EMPTY = new Uint8Array(0);

export class EncodingError extends Error {
  override name = 'EncodingError';
}

function decodeNatively(bytes: Uint8Array): string {
  if (bytes.length === 0) return '';
  const latin1 = atob((bytes as unknown as Base64Array).toBase64());
  if (!NOT_ASCII.test(latin1)) return latin1;
  try {
    return decodeURIComponent(escape(latin1));
  } catch {
    throw new EncodingError('the bytes are not UTF-8');
  }
}

function encodeNatively(text: string): Uint8Array {
  if (text === '') return EMPTY;
  const latin1 = NOT_ASCII.test(text) ? unescape(encodeURIComponent(text.toWellFormed())) : text;
  return (Uint8Array as unknown as Base64Constructor).fromBase64(btoa(latin1));
}

function platform(): [(bytes: Uint8Array) => string, (text: string) => Uint8Array] {
  if (typeof TextDecoder === 'undefined' || typeof TextEncoder === 'undefined')
    return [decodeNatively, encodeNatively];
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  const encoder = new TextEncoder();
  const decode = (bytes: Uint8Array) => {
    try {
      return decoder.decode(bytes);
    } catch {
      throw new EncodingError('the bytes are not UTF-8');
    }
  };
  return [decode, (text) => encoder.encode(text)];
}

/**
 * `decode` throws an {@link EncodingError} for bytes that are not UTF-8. `encode` writes U+FFFD for
 * half of a surrogate pair, as `TextEncoder` does.
 */
export const [decode, encode] = platform();

/** The two functions that QuickJS runs, for the tests of this package. */
export const natively = { decode: decodeNatively, encode: encodeNatively };
