/** The model in the page's URL: compressed, in the fragment, which browsers do not send to servers. */

const mark = "#model=";

/** The page's URL with a text in it. */
export async function addressWith(text: string): Promise<string> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return `${location.href.split("#")[0]}${mark}${toBase64(bytes)}`;
}

/**
 * Base 64 for URLs without padding; `Uint8Array.fromBase64` is missing in browsers that have WebGPU. RFC 4648, section
 * 5.
 */
const toBase64 = (bytes: Uint8Array): string =>
  btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "");

const fromBase64 = (text: string): Uint8Array<ArrayBuffer> =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

/** What the page's URL holds: a text, or why it cannot be read; neither if it has no model. */
export interface FromAddress {
  readonly text?: string;
  readonly fault?: string;
}

/** Reads the text in the page's URL. */
export async function fromAddress(hash = location.hash): Promise<FromAddress> {
  if (!hash.startsWith(mark)) return {};
  try {
    return { text: await inflated(fromBase64(hash.slice(mark.length))) };
  } catch (error) {
    const why = error instanceof RangeError ? error.message : "it is incomplete or damaged";
    return {
      fault: `The model in this link cannot be read: ${why}. Open the complete link; the text below is not from it.`,
    };
  }
}

/** Removes the model from the page's URL, so that a reload does not put it in the place of a newer text. */
export function forgetAddress(): void {
  if (location.hash.startsWith(mark)) history.replaceState(null, "", location.href.split("#")[0]);
}

/** Bytes of the largest model in a link: a short link could hold gigabytes of repetition. */
const mostBytes = 4 * 2 ** 20;

/** The text that is compressed in `bytes`. Throws if it is not UTF-8, damaged, or too large. */
export async function inflated(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const decoder = new TextDecoder("utf-8", { fatal: true });
  const reader = stream.getReader();
  let [text, read] = ["", 0];
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    read += next.value.length;
    if (read > mostBytes) {
      await reader.cancel();
      throw new RangeError(`it has more than ${mostBytes} bytes`);
    }
    text += decoder.decode(next.value, { stream: true });
  }
  return text + decoder.decode();
}
