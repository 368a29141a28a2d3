/** The model in the page's URL: compressed, in the fragment, which browsers do not send to servers. */

const mark = "#model=";

/** The page's URL with a text in it. */
export async function addressWith(text: string): Promise<string> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  return `${location.href.split("#")[0]}${mark}${bytes.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

/** The text in the page's URL; undefined if there is none. Throws when it cannot be decoded. */
export async function textOfAddress(hash = location.hash): Promise<string | undefined> {
  if (!hash.startsWith(mark)) return undefined;
  const bytes = Uint8Array.fromBase64(hash.slice(mark.length), { alphabet: "base64url" });
  return await inflated(bytes);
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
      throw new RangeError(`the model in the link has more than ${mostBytes} bytes`);
    }
    text += decoder.decode(next.value, { stream: true });
  }
  return text + decoder.decode();
}
