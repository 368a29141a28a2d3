/** The likeliest next tokens, found where the scores are: a few numbers a text are read back instead of a vocabulary. */
import { type Node, type Output, ops, type SizedAxis } from "../../compiler/index.ts";

/** Outputs of a step that ranks. */
export const candidateOutputs = {
  /** i32 [batch, candidate]: the likeliest first, of equals the first in the vocabulary. */
  tokens: "candidates.tokens",
  /** f32 [batch, candidate] */
  scores: "candidates.scores",
  /** f32 [batch]: log Σ exp of all scores of a text. */
  total: "candidates.total",
} as const;

/** Parts that a vocabulary is searched in side by side, where it is long. */
const parts = 64;
const fewestOfPart = 64;

/** No score; far below any, and finite, as a kernel may assume that there are no infinities. */
const none = -1e30;

/** The `count` largest of scores [batch, vocab], each found after those before it are taken out. */
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

/** The largest of each part, then the largest of those: of equals it is still the first. */
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
