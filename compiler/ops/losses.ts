/** Losses as composites over named axes. */
import { build } from "../ir/build.ts";
import type { Node } from "../ir/node.ts";
import { OpViolation } from "../ir/op.ts";
import { findAxis, hasAxis, tensorType } from "../ir/type.ts";
import { cast, eq, log, mul, sub } from "./elementwise.ts";
import { clampedIndex, gather } from "./indexing.ts";
import { record, requireAxes, tabulate } from "./kinds.ts";
import { softmax, softmaxParts } from "./reductions.ts";
import { broadcastStrides, offsetAt, strideOf } from "./reference-tools.ts";
import { iota } from "./sources.ts";

const row = [
  { name: "b", size: 3 },
  { name: "t", size: 2 },
];

record({
  name: "cross_entropy",
  kind: "composite",
  doc: {
    summary:
      "log Σ exp(logits) − logits[label] of each row, in nats. Not averaged: the caller weights and reduces the rows. Out-of-range labels are clamped, as in gather; their gradient is that of the class they are clamped to.",
  },
  operands: ["logits", "label"],
  roles: { label: "index" },
  attrs: { axis: { kind: "axis" } },
  constraints: {
    C1: "the class axis is an axis of the logits and not of the label",
    C2: "the label has exactly the other axes of the logits",
    C3: "the label is i32 or u32",
  },
  infer: ([logits, label], attrs) => {
    const axis = attrs.axis as string;
    requireAxes(logits!, [axis], "C1", "logits");
    const rows = logits!.axes.filter((a) => a.name !== axis);
    const wrong =
      rows.find((a) => findAxis(label!, a.name)?.size !== a.size) ??
      label!.axes.find((a) => !hasAxis({ ...logits!, axes: rows }, a.name));
    if (wrong)
      throw new OpViolation("C2", `axis "${wrong.name}" of size ${wrong.size} is not in both the logits and the label`);
    if (label!.dtype !== "i32" && label!.dtype !== "u32")
      throw new OpViolation("C3", `the label is ${label!.dtype}`, 'convert it with cast(label, "i32")');
    return tensorType(logits!.dtype, rows);
  },
  reference: ([logits, label], attrs, type) => {
    const axis = attrs.axis as string;
    const [ls, is, along] = [
      broadcastStrides(logits!.type, type),
      broadcastStrides(label!.type, type),
      strideOf(logits!.type, axis),
    ];
    const classes = findAxis(logits!.type, axis)!.size as number;
    return tabulate(type, (i) => {
      const base = offsetAt(i, ls);
      const values = Array.from({ length: classes }, (_, c) => logits!.data[base + c * along]!);
      const top = Math.max(...values);
      const chosen = Math.min(Math.max(label!.data[offsetAt(i, is)]!, 0), classes - 1);
      return Math.log(values.reduce((n, v) => n + Math.exp(v - top), 0)) + (top - values[chosen]!);
    });
  },
  gradient: (node, dy) => {
    const [logits, label] = node.operands as [Node, Node];
    const axis = findAxis(logits.type, node.attrs.axis as string)!;
    const predicted = softmax(logits, axis.name);
    const wanted = cast(eq(iota(axis, label.type.dtype), clampedIndex(label, axis)), logits.type.dtype);
    return [mul(dy, sub(predicted, wanted)), undefined]; // softmax − one-hot
  },
  // log Σ exp(x − max x) − (x[label] − max x): no cancellation, as the subtrahend is small when the result is.
  decompose: ([logits, label], attrs) => {
    const axis = attrs.axis as string;
    const { top, total } = softmaxParts(logits!, axis);
    return sub(log(total), sub(gather(logits!, label!, axis), top));
  },
  samples: [
    { low: -4, high: 4 },
    { low: 0, high: 4, integer: true },
  ],
  cases: [
    { operands: [tensorType("f32", [...row, { name: "v", size: 5 }]), tensorType("i32", row)], attrs: { axis: "v" } },
  ],
  tolerance: { f32: { absolute: 1e-5, relative: 1e-5 } },
});

/** Cross-entropy of each row of logits along the class axis. */
export const crossEntropy = (logits: Node, label: Node, axis: string): Node =>
  build("cross_entropy", [logits, label], { axis });
