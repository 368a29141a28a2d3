/** The model in the page's address: compressed, behind the #, which no browser sends to a server. */

const mark = "#model=";

/** The address of the page with a text in it. */
export async function addressWith(text: string): Promise<string> {
  const bytes = await through(new TextEncoder().encode(text), new CompressionStream("deflate-raw"));
  return `${location.href.split("#")[0]}${mark}${bytes.toBase64({ alphabet: "base64url", omitPadding: true })}`;
}

/** The text of the page's address; undefined where there is none. Throws where it cannot be read. */
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
