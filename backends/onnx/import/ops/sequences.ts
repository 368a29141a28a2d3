/** Sequences of tensors, whose lengths are known while importing: no node is made for them. */
import { addDims, type Dim } from "../../../../compiler/index.ts";
import { int64 } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { known, type Sequence, sequence, type Value } from "../values.ts";
import { stacked } from "./control.ts";
import { concatAlong, rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

/** Limit on the elements of a sequence. */
const mostElements = 1024;

/** A position in a sequence of `count` elements: negative ones count from the end; without one, `otherwise`. */
function position(n: NodeView, i: number, count: number, otherwise: number): number {
  const [given = otherwise] = n.numbers(i, "the position") ?? [];
  const at = given < 0 ? given + count : given;
  if (Number.isInteger(at) && at >= 0 && at < count) return at;
  throw n.fail(`position ${given} is out of range for ${count}`);
}

function insert(n: NodeView): Sequence {
  const items = n.sequence(0);
  if (items.length === mostElements) throw n.fail(`a sequence of more than ${mostElements} tensors is not supported`);
  // There is one place more than there are elements, and -1 is the one before the last element.
  const [given = items.length] = n.numbers(2, "the position") ?? [];
  const at = given < 0 ? given + items.length : given;
  if (!(Number.isInteger(at) && at >= 0 && at <= items.length))
    throw n.fail(`position ${given} is out of range for a sequence of ${items.length}`);
  return sequence(items.toSpliced(at, 0, n.in(1)));
}

function erase(n: NodeView): Sequence {
  const items = n.sequence(0);
  return sequence(items.toSpliced(position(n, 1, items.length, items.length - 1), 1));
}

/** The lengths of the parts: a list as it is; a number repeated, the last part being what is left. */
function lengthsOf(n: NodeView, size: Dim): Dim[] {
  const given = n.sizes(1, "split");
  if (given && n.in(1).shape.length === 1) return given;
  const [each = 1] = given ?? [];
  if (typeof size !== "number" || typeof each !== "number")
    throw n.fail(`the number of parts of ${each} in ${size} elements is not known: ${n.toGive(size, each)}`);
  const count = Math.ceil(size / each);
  if (!(each >= 1 && count <= mostElements)) throw n.fail(`${size} elements cannot be split into parts of ${each}`);
  return Array.from({ length: count }, (_, i) => Math.min(each, size - i * each));
}

function split(n: NodeView): Sequence {
  const x = n.in(0);
  const at = n.dim(n.int("axis", 0), x.shape.length);
  const size = x.shape[at]!;
  const lengths = lengthsOf(n, size);
  const total = lengths.reduce(addDims, 0);
  if (total !== size) throw n.fail(`parts of ${lengths.join(", ")} do not add up to ${size} elements`);
  let start: Dim = 0;
  const parts = lengths.map((length) => {
    const part = rangeOf(n, x, at, start, length);
    start = addDims(start, length);
    return part;
  });
  if (n.inputs[1] || n.flag("keepdims", true)) return sequence(parts);
  return sequence(parts.map((part) => reshapeTo(n, part, x.shape.toSpliced(at, 1))));
}

function concat(n: NodeView): Value {
  const items = n.sequence(0);
  const [first] = items;
  if (!first) throw n.fail("the sequence has no tensors");
  const isNew = n.flag("new_axis");
  const at = n.dim(n.int("axis"), first.shape.length + Number(isNew));
  return isNew ? stacked(n, items, at) : concatAlong(n, items, at);
}

/** Applies the body to each element; an input that is a tensor is the same for all. */
function mapped(n: NodeView): readonly Sequence[] {
  const { length } = n.sequence(0);
  const results = Array.from({ length }, (_, i) =>
    n.around.subgraph(
      n.graph("body"),
      n.operands.map((_, k) => {
        const { kind } = n.operand(k);
        if (kind !== "sequence") return n.in(k);
        const item = n.sequence(k)[i];
        if (item) return item;
        throw n.fail(`input ${k} is a sequence of ${n.sequence(k).length}, and the first of ${length}`);
      }),
    ),
  );
  return n.message.output.map((_, o) =>
    sequence(
      results.map((result) => {
        const value = result[o];
        if (value && value.kind !== "sequence") return value;
        throw n.fail(`its body does not return a tensor for output ${o}`);
      }),
    ),
  );
}

export const sequenceRecords: Records = {
  SequenceEmpty: { build: () => sequence([]), sequences: true },
  SequenceConstruct: { build: (n) => sequence(n.operands.map((_, i) => n.in(i))), unfolded: true },
  SequenceInsert: { build: insert, sequences: true },
  SequenceErase: { build: erase, sequences: true },
  SequenceAt: { build: (n) => n.sequence(0)[position(n, 1, n.sequence(0).length, 0)]!, sequences: true },
  SequenceLength: { build: (n) => known(int64, [], [n.sequence(0).length]), sequences: true },
  SplitToSequence: { build: split, unfolded: true },
  ConcatFromSequence: { build: concat, sequences: true },
  SequenceMap: { build: mapped, sequences: true },
};
