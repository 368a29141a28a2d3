/** Tensors of a checkpoint that the model has no place for, which whoever gave them is told. */
import { existsSync } from "node:fs";
import { UsageError } from "../compiler/index.ts";
import { type Config, type Model, trace } from "../dsl/index.ts";
import { collapseNames, escapeControls, openSafetensors, ownLayout } from "../runtime/index.ts";
import { layoutsOf } from "./parameters.ts";

/** Patterns that the line shows. */
const mostShown = 5;

/**
 * Says on stderr how many tensors no graph of the model reads, and which: blocks beyond those that config.json counts, other heads,
 * buffers. Copies of what is read are no such tensors.
 */
export async function tellUnread(model: Model, config: Config, weights: string): Promise<void> {
  if (!existsSync(weights)) return; // who opens them says so
  await using reader = await openSafetensors(weights);
  const names = [...reader.tensors.keys()];
  const copies = new Set(model.checkpoints?.copies?.(config).map(({ name }) => name));
  let unread = names.filter((name) => !copies.has(name));
  for (const graph of [undefined, ...Object.keys(model.graphs ?? {})]) {
    if (unread.length === 0) return;
    const known = placesOf(model, config, graph);
    unread = unread.filter((name) => !known.has(name));
  }
  // Of a file that is no checkpoint of the model, who opens it says what is missing.
  if (unread.length === 0 || unread.length === names.length) return;
  const patterns = collapseNames(unread, names);
  const rest = patterns.length > mostShown ? ` and ${patterns.length - mostShown} more` : "";
  const which = `${patterns.slice(0, mostShown).join(", ")}${rest}`;
  const line = `${weights}: ${unread.length} of ${names.length} tensors have no place in ${model.name} and are not read: ${which}`;
  process.stderr.write(`${escapeControls(line)}\n`);
}

/** Where a graph's parameters lie; nowhere for one that cannot be built or stored, which is told where it is asked for. */
function placesOf(model: Model, config: Config, graph: string | undefined): ReadonlySet<string> {
  try {
    const traced = trace(model, config, graph === undefined ? {} : { graph });
    return new Set([ownLayout(traced), ...layoutsOf(traced, model)].flat().map(({ name }) => name));
  } catch (error) {
    if (error instanceof UsageError) return new Set();
    throw error;
  }
}
