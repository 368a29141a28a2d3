/**
 * Top-k selection of the next tokens on the device: a few numbers per text are read back instead of a whole vocabulary.
 */
import { type Node, type Output, ops, type SizedAxis } from "../../compiler/index.ts";

/** Outputs of a ranking step. */
export const candidateOutputs = {
  /** i32 [batch, candidate]: likeliest first; ties in vocabulary order. */
  tokens: "candidates.tokens",
  /** f32 [batch, candidate] */
  scores: "candidates.scores",
  /** f32 [batch]: log Σ exp of all scores of a text. */
  total: "candidates.total",
} as const;

/** Number of parts into which a long vocabulary is split, to be searched in parallel. */
const parts = 64;
const fewestOfPart = 64;

/**
 * The score of an absent token: far below any real score, yet finite, since kernels may assume that there are no
 * infinities.
 */
const none = -1e30;

/** The `count` largest of scores [batch, vocab], found one at a time, each masked out before the next. */
export function candidatesOf(logits: Node, count: number): Output[] {
  const scores = ops.cast(logits, "f32");
  const vocabulary = (scores.type.axes as readonly SizedAxis[]).find((a) => a.name === "vocab")!.size;
  const size = Math.ceil(vocabulary / parts);
  const isLong = size >= fewestOfPart;
  const padded = isLong ? ops.pad(scores, "vocab", 0, size * parts - vocabulary, none) : scores;
  const search = isLong ? inParts(size) : whole;
  const tokens: Node[] = [];
  const values: Node[] = [];
  let rest = padded;
  for (let i = 0; i < count; i++) {
    const { token, value } = search(rest);
    tokens.push(token);
    values.push(value);
    const places = ops.iota(padded.type.axes.find((a) => a.name === "vocab")!, "i32");
    rest = ops.select(ops.eq(places, token), none, rest);
  }
  const { tokens: tokensName, scores: scoresName, total } = candidateOutputs;
  return [
    { name: tokensName, node: sideBySide(tokens) },
    { name: scoresName, node: sideBySide(values) },
    { name: total, node: isLong ? totalOfParts(padded, size) : ops.logsumexp(scores, "vocab") },
  ];
}

interface Found {
  readonly token: Node;
  readonly value: Node;
}

const whole = (rest: Node): Found => ({
  token: ops.argmax(rest, "vocab"),
  value: ops.reduceMax(rest, ["vocab"]),
});

const split = (x: Node, size: number): Node =>
  ops.split(x, "vocab", [
    { name: "part", size: parts },
    { name: "in_part", size },
  ]);

/** The argmax of each part, then the argmax over parts: of ties it is still the first. */
const inParts =
  (size: number) =>
  (rest: Node): Found => {
    const apart = split(rest, size);
    const values = ops.reduceMax(apart, ["in_part"]);
    const part = ops.argmax(values, "part");
    const place = ops.gather(ops.argmax(apart, "in_part"), part, "part");
    return { token: ops.add(ops.mul(part, size), place), value: ops.reduceMax(values, ["part"]) };
  };

const totalOfParts = (padded: Node, size: number): Node =>
  ops.logsumexp(ops.logsumexp(split(padded, size), "in_part"), "part");

/** [batch] each -> [batch, candidate] */
function sideBySide(nodes: readonly Node[]): Node {
  const each = nodes.map((n) =>
    ops.transpose(ops.broadcast(n, [{ name: "candidate", size: 1 }]), ["batch", "candidate"]),
  );
  return ops.concat(each, "candidate");
}
