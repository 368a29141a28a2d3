/** Which published checkpoint layout a graph's parameters fit. */
import { type Graph, inputName } from "../compiler/index.ts";
import {
  causalRules,
  chatRules,
  generativeRules,
  publishedTensors,
  type TensorRule,
  visionRules,
} from "../models/index.ts";
import type { StoredParameter } from "../runtime/index.ts";

const layouts: readonly (readonly TensorRule[])[] = [visionRules, causalRules, generativeRules, chatRules];

/** The published layout that has a place for every parameter of a graph, or undefined where none has. */
export function publishedLayout(graph: Graph): readonly StoredParameter[] | undefined {
  const paths = graph.inputs
    .filter((n) => n.op === "parameter")
    .map((n) => inputName(n).replace(/(^|\.)\d+(?=\.|$)/g, "$1{}"));
  const rules = layouts.find((l) => paths.every((path) => l.some((rule) => rule.path === path)));
  return rules && publishedTensors(graph, rules);
}
