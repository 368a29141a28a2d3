/** Reports tensors of a checkpoint that the model does not use. */
import { existsSync } from "node:fs";
import { type Config, knownPlaces, type Model } from "../dsl/index.ts";
import { collapseNames, escapeControls, isReadableAs, openSafetensors, ownLayout } from "../runtime/index.ts";
import { declaredParameters, graphsOf } from "./declared-parameters.ts";

/** Maximum patterns shown. */
const mostShown = 5;

/**
 * Reports on stderr how many tensors are no parameters of the model, and which: blocks beyond those that config.json
 * counts, other heads, buffers. Copies of tensors that are read do not count, nor do integers, which are no weights:
 * PyTorch's counters of batches (`num_batches_tracked`), indices.
 */
export async function tellUnread(model: Model, config: Config, weights: string): Promise<void> {
  if (!existsSync(weights)) return; // reported when they are opened
  await using reader = await openSafetensors(weights);
  const names = [...reader.tensors.values()].filter(({ dtype }) => isReadableAs(dtype, "f32")).map(({ name }) => name);
  const copies = new Set(model.checkpoints?.copies?.(config).map(({ name }) => name));
  let unread = names.filter((name) => !copies.has(name));
  for (const graph of graphsOf(model)) {
    if (unread.length === 0) return;
    const known = placesOf(model, config, graph);
    unread = unread.filter((name) => !known.has(name));
  }
  // A file that is not a checkpoint of the model fails elsewhere, with what is missing.
  if (unread.length === 0 || unread.length === names.length) return;
  const patterns = collapseNames(unread, names);
  const rest = patterns.length > mostShown ? ` and ${patterns.length - mostShown} more` : "";
  const which = `${patterns.slice(0, mostShown).join(", ")}${rest}`;
  const line = `${weights}: ${unread.length} of ${names.length} tensors are not part of ${model.name} and are not loaded: ${which}`;
  process.stderr.write(`${escapeControls(line)}\n`);
}

/** The names of all tensors that hold the parameters of a graph, in any layout. */
function placesOf(model: Model, config: Config, graph: string | undefined): ReadonlySet<string> {
  const inputs = declaredParameters(model, config, graph);
  const layouts = (model.checkpoints?.layouts ?? []).flatMap((rules) => knownPlaces(inputs, rules));
  return new Set([ownLayout({ inputs }), ...layouts].flat().map(({ name }) => name));
}
