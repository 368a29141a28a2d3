/**
 * Fuses attention written out as single ops into one node, so the [query, key] logits never reach memory.
 * Dao et al. 2022 (FlashAttention), section 3.1. Needs canonicalize, which merges the scalings of the logits.
 *
 *     before  contract(softmax(contract(q, k, [dot]) · scale, key), v, [key])
 *     after   attention(q, k, v) dot, over key, scale
 *
 *     before  contract(softmax(cap · tanh(contract(q, k, [dot]) · scale / cap), key), v, [key])
 *     after   attention(q, k, v) dot, over key, scale, softcap cap
 */

import type { Pass } from "../driver/index.ts";
import type { Node } from "../ir/node.ts";
import { hasAxis, axisNames as namesOf } from "../ir/type.ts";
import { attention, contract, div, mul, softmax, tanh } from "../ops/index.ts";
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

/** Logits are capped as cap · tanh(logits / by); where `by` is not the cap, the rest is part of their scale. */
const capping = { ...given, by: number(4), cap: number(2) };

interface Capped extends Parts {
  readonly v: Node;
  readonly cap: number;
}

const isCapped = (found: Capped): true | string =>
  found.cap > 0 ? isAttention(found) : `the cap of the logits is ${found.cap}, which is not above 0`;

const cappedAttention = ({ q, k, v, dot, key, cap }: Capped, slope: number): Node =>
  attention(q, k, v, { dot, over: key, scale: slope * cap, softcap: cap });

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
  rule("softmax-of-capped-logits", {
    given: capping,
    match: ({ q, k, v, dot, key, by, cap }) =>
      contract(softmax(mul(tanh(div(contract(q, k, [dot]), by)), cap), key), v, [key]),
    when: isCapped,
    replace: (found) => cappedAttention(found, 1 / found.by),
  }),
  rule("softmax-of-capped-scaled-logits", {
    given: { ...capping, scale: number(0.375) },
    match: ({ q, k, v, dot, key, scale, by, cap }) =>
      contract(softmax(mul(tanh(div(mul(contract(q, k, [dot]), scale), by)), cap), key), v, [key]),
    when: isCapped,
    replace: (found) => cappedAttention(found, found.scale / found.by),
  }),
  rule("softmax-of-capped-products", {
    given: { ...given, slope: number(0.1875), cap: number(2) },
    match: ({ q, k, v, dot, key, slope, cap }) =>
      contract(softmax(mul(tanh(mul(contract(q, k, [dot]), slope)), cap), key), v, [key]),
    when: isCapped,
    replace: (found) => cappedAttention(found, found.slope),
  }),
]);

export const fuseAttention = { ...rules, needs: ["canonicalize"] } satisfies Pass;
