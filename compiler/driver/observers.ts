/** Observers of passes: dump, trace and time as the switches say, and keep before and after for whoever inspects. */

import { locationOf, printLocation } from "../diagnostics/source-location.ts";
import { type Switches, selects } from "../diagnostics/switches.ts";
import { nodesOf } from "../ir/graph.ts";
import { printGraph } from "../ir/print.ts";
import type { PassObserver, PassReport } from "./driver.ts";

/** The observers that the switches ask for; each line of what they see goes to `write`. */
export function switchObservers(switches: Switches, write: (line: string) => void): PassObserver[] {
  return [dumpObserver(switches, write), traceObserver(switches, write), timeObserver(switches, write)];
}

const dumpObserver = ({ dump }: Switches, write: (line: string) => void): PassObserver => ({
  onPass: ({ pass, after, changed }) => {
    if (!selects(dump, "ir", pass)) return;
    write(`// after ${pass}${changed ? "" : " (unchanged)"}`);
    if (changed) write(printGraph(after));
  },
});

/** Each rule that fired, and each near miss with its reason. */
const traceObserver = ({ trace }: Switches, write: (line: string) => void): PassObserver =>
  trace.length === 0
    ? {}
    : {
        onRule: ({ rule, node, result, refused }, pass) => {
          if (!selects(trace, "rules", pass)) return;
          const where = `${node.op}${node.path === "" ? "" : ` of ${node.path}`}, ${printLocation(locationOf(node.birth))}`;
          write(`${pass}/${rule}: ${result ? `makes ${result.op}` : `refuses: ${refused}`} at ${where}`);
        },
      };

const timeObserver = ({ time }: Switches, write: (line: string) => void): PassObserver => ({
  onPass: ({ pass, after, changed, milliseconds }) => {
    if (!selects(time, "passes", pass)) return;
    const size = `${nodesOf(after).length} nodes${changed ? "" : " (unchanged)"}`;
    write(`${pass.padEnd(20)} ${milliseconds.toFixed(1).padStart(8)} ms   ${size}`);
  },
});

/** Keeps every report; `beforeAndAfter` prints one of them. */
export function recordingObserver(): PassObserver & { readonly reports: readonly PassReport[] } {
  const reports: PassReport[] = [];
  return { reports, onPass: (report) => reports.push(report) };
}

/** A pass as text: the graph before it and after it, or that it changed nothing. */
export function beforeAndAfter({ pass, before, after, changed }: PassReport): string {
  if (!changed) return `// ${pass} (unchanged)\n${printGraph(after)}`;
  return `// before ${pass}\n${printGraph(before)}\n// after ${pass}\n${printGraph(after)}`;
}
