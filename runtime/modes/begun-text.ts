/** How a text begins on a session: with ids alone, a prefill that reads them with an image, or an encoded source. */
import type { Graph, HostTensor } from "../../compiler/index.ts";
import type { CachedSession } from "../generation/cached-session.ts";
import { isEncoder } from "../generation/decoder-shape.ts";
import type { Prompt } from "../generation/generate.ts";
import { idRow } from "./token-ids.ts";

/**
 * Begins one text with `ids` on a cleared session. A prefill is fed them beside `feeds` (an image, say); an encoder is
 * fed `feeds` alone, and the decoder reads the ids. See `CachedSession.begin` and `encode`.
 */
export async function begunText(
  session: CachedSession,
  beginning: Graph | undefined,
  feeds: Readonly<Record<string, HostTensor>>,
  ids: readonly number[],
): Promise<Prompt> {
  session.clear();
  if (!beginning) return { ids: [ids] };
  if (!isEncoder(beginning))
    return { scores: await session.begin(beginning, { ...feeds, input_ids: idRow(ids) }), held: [ids] };
  await session.encode(beginning, feeds);
  return { ids: [ids], source: [Array.from(feeds.input_ids?.data ?? [], Number)] };
}
