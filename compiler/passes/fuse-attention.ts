/**
 * Fuses attention written out as single ops into one node, so the [query, key] logits never reach memory.
 * Dao et al. 2022 (FlashAttention), section 3.1. Needs canonicalize, which merges the scalings of the logits.
 *
 *     before  contract(softmax(contract(q, k, [dot]) · scale, key), v, [key])
 *     after   attention(q, k, v) dot, over key, scale
 */

import type { Pass } from "../driver/index.ts";
import type { Node } from "../ir/node.ts";
import { hasAxis, axisNames as namesOf } from "../ir/type.ts";
import { attention, contract, mul, softmax } from "../ops/index.ts";
import { axisName, number, rewritePass, rule, tensor } from "../rewrite/index.ts";

const given = {
  q: tensor({ heads: 2, patch: 5, d: 4 }),
  k: tensor({ heads: 2, key_patch: 3, d: 4 }),
  v: tensor({ heads: 2, key_patch: 3, d: 4 }),
  dot: axisName("d"),
  key: axisName("key_patch"),
};

interface Parts {
  readonly q: Node;
  readonly k: Node;
  readonly dot: string;
  readonly key: string;
}

/** Every row of logits must belong to one query: q lacks the key axis, and k has no other axes of its own. */
function isAttention({ q, k, dot, key }: Parts): true | string {
  if (hasAxis(q.type, key)) return "the query already carries the key axis";
  const own = namesOf(k.type).find((n) => n !== dot && n !== key && !hasAxis(q.type, n));
  return own === undefined || `the keys carry the axis "${own}", which the queries lack`;
}

const rules = rewritePass("fuse-attention", [
  rule("softmax-between-contractions", {
    given,
    match: ({ q, k, v, dot, key }) => contract(softmax(contract(q, k, [dot]), key), v, [key]),
    when: isAttention,
    replace: ({ q, k, v, dot, key }) => attention(q, k, v, { dot, over: key, scale: 1 }),
  }),
  rule("softmax-of-scaled-logits", {
    given: { ...given, scale: number(0.375) },
    match: ({ q, k, v, dot, key, scale }) => contract(softmax(mul(contract(q, k, [dot]), scale), key), v, [key]),
    when: isAttention,
    replace: ({ q, k, v, dot, key, scale }) => attention(q, k, v, { dot, over: key, scale }),
  }),
  rule("softmax-of-scaled-queries", {
    given: { ...given, scale: number(0.375) },
    match: ({ q, k, v, dot, key, scale }) => contract(softmax(contract(mul(q, scale), k, [dot]), key), v, [key]),
    when: isAttention,
    replace: ({ q, k, v, dot, key, scale }) => attention(q, k, v, { dot, over: key, scale }),
  }),
]);

export const fuseAttention = { ...rules, needs: ["canonicalize"] } satisfies Pass;
