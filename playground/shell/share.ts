/** The model in the page's URL: compressed, in the fragment, which browsers do not send to servers. */

const mark = "#model=";

/** The page's URL with a text in it. */
export async function addressWith(text: string): Promise<string> {
  const bytes = await through(new TextEncoder().encode(text), new CompressionStream("deflate-raw"));
  return `${location.href.split("#")[0]}${mark}${bytes.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

/** The text in the page's URL; undefined if there is none. Throws when it cannot be decoded. */
export async function textOfAddress(hash = location.hash): Promise<string | undefined> {
  if (!hash.startsWith(mark)) return undefined;
  const bytes = Uint8Array.fromBase64(hash.slice(mark.length), { alphabet: "base64url" });
  return new TextDecoder().decode(await through(bytes, new DecompressionStream("deflate-raw")));
}

async function through(
  bytes: Uint8Array<ArrayBuffer>,
  stream: CompressionStream | DecompressionStream,
): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}
