/** Which parameters of a stage are trained, and which are frozen. */
import {
  coreOf,
  inputName,
  isBuffer,
  isFloat,
  isParameter,
  type Node,
  operandsAs,
  opRecord,
  topological,
  UsageError,
} from "../compiler/index.ts";
import type { Adapter } from "./lora.ts";
import { settingsOf } from "./optim/settings.ts";
import { chosenBy, unmatched } from "./path-patterns.ts";
import type { Stage } from "./stage.ts";

/**
 * Splits the parameters of a step's results, of which the loss is the first, into trained and frozen ones. Parameters
 * that only other results depend on, such as metrics and losses of weight 0, or that the loss reads through
 * `stopGradient`, `floor` or integers alone, have no gradient and are frozen: they do not decay either. Trained ones
 * are grouped by their optimizer settings, so that per-element settings are few contiguous runs.
 */
export function partition(
  stage: Stage,
  results: readonly [Node, ...Node[]],
  adapters: readonly Adapter[],
): { trained: Node[]; frozen: Node[] } {
  const [loss] = results;
  const all = topological(results).filter(isParameter);
  const minimized = withGradient(loss).filter(isParameter);
  const updates = new Set(adapters.flatMap(({ down, up }) => [down, up]));
  const adapted = new Set(adapters.map(({ weight }) => weight));
  const patterns = stage.trainable ?? (stage.lora ? [] : ["**"]);
  const given = all.map(inputName).filter((name) => !updates.has(name));
  const wrongPattern = unmatched(patterns, given);
  if (wrongPattern !== undefined) throw new UsageError(`stage "${stage.name}": ${wrongPattern}`);
  const isChosen = chosenBy(patterns);
  const isLearned = (name: string) => updates.has(name) || (isChosen(name) && !adapted.has(name));
  const trained = minimized.filter((n) => !isBuffer(n) && isLearned(inputName(n)));
  if (trained.length === 0) {
    const listed = patterns.join(", ") || "an empty list";
    const chosen = all.filter((n) => isLearned(inputName(n)));
    const why =
      minimized.length === 0
        ? "its loss depends on no parameter, except through stopGradient, rounding or integers"
        : chosen.length > 0 && chosen.every(isBuffer)
          ? `${listed} selects only buffers, such as "${inputName(chosen[0]!)}", which no stage trains`
          : `${listed} selects no parameter that its loss depends on`;
    throw new UsageError(`stage "${stage.name}" trains nothing: ${why}`);
  }
  const wrong = trained.find((n) => n.type.dtype !== "f32");
  if (wrong)
    throw new UsageError(`parameter "${inputName(wrong)}" is ${wrong.type.dtype}: trained parameters must be f32`);
  const weights = contractedParameters(loss);
  const key = (n: Node) => settingsOf(stage, n, weights).join();
  const groups = new Map<string, Node[]>();
  for (const n of trained) groups.set(key(n), [...(groups.get(key(n)) ?? []), n]);
  const kept = new Set(trained);
  return { trained: [...groups.values()].flat(), frozen: all.filter((n) => !kept.has(n)) };
}

/** The nodes whose values the gradient of a loss reaches, in topological order. */
function withGradient(loss: Node): Node[] {
  const reached = new Set([loss]);
  for (const node of topological([loss]).reverse())
    if (reached.has(node) && !opRecord(node.op).flat)
      for (const operand of node.operands) if (isFloat(operand.type.dtype)) reached.add(operand);
  return topological([loss]).filter((node) => reached.has(node));
}

/** Parameters that are operands of a contraction or lookup tables, directly or through movement ops. */
export function contractedParameters(loss: Node): Set<Node> {
  const found = new Set<Node>();
  const source = (node: Node): Node => (opRecord(node.op).kind === "movement" ? source(node.operands[0]!) : node);
  for (const node of topological([loss])) {
    const read = coreOf(node)?.kind === "contraction" ? node.operands : operandsAs(node, "table");
    for (const operand of read.map(source)) if (isParameter(operand)) found.add(operand);
  }
  return found;
}
