/** Stage observers: dump, trace and time as the switches ask, and record stages for inspection. */

import { locationOf, printLocation } from "../diagnostics/source-location.ts";
import { type Switches, selects } from "../diagnostics/switches.ts";
import type { StageObserver, StageReport } from "./driver.ts";
import type { Form } from "./stage.ts";

/** The observers that the switches ask for; each line of their output goes to `write`. */
export function switchObservers(switches: Switches, write: (line: string) => void): StageObserver[] {
  return [dumpObserver(switches, write), traceObserver(switches, write), timeObserver(switches, write)];
}

const dumpObserver = ({ dump }: Switches, write: (line: string) => void): StageObserver => ({
  onStage: ({ stage, to, after, changed }) => {
    if (!selects(dump, "ir", stage)) return;
    write(`// after ${stage}${changed ? "" : " (unchanged)"}`);
    if (changed) write(to.print(after));
  },
});

/** Logs each rewrite rule that fired, and each one that nearly did with the reason why not. */
const traceObserver = ({ trace }: Switches, write: (line: string) => void): StageObserver =>
  trace.length === 0
    ? {}
    : {
        onRule: ({ rule, node, result, refused }, stage) => {
          if (!selects(trace, "rules", stage)) return;
          const where = `${node.op}${node.path === "" ? "" : ` of ${node.path}`}, ${printLocation(locationOf(node.birth))}`;
          write(`${stage}/${rule}: ${result ? `makes ${result.op}` : `refuses: ${refused}`} at ${where}`);
        },
      };

const timeObserver = ({ time }: Switches, write: (line: string) => void): StageObserver =>
  time.length === 0
    ? {}
    : {
        onStage: ({ stage, to, after, changed, milliseconds }) => {
          if (!selects(time, "passes", stage)) return;
          const size = `${to.size(after)}${changed ? "" : " (unchanged)"}`;
          write(`${stage.padEnd(20)} ${milliseconds.toFixed(1).padStart(8)} ms   ${size}`);
        },
      };

/** Records every report; `beforeAndAfter` prints one. */
export function recordingObserver(): StageObserver & { readonly reports: readonly StageReport[] } {
  const reports: StageReport[] = [];
  return { reports, onStage: (report) => reports.push(report) };
}

/**
 * A stage as text: its input and output, or a note that it changed nothing; only the output if the stage changes the
 * form. For forms with named parts, `names` is a pattern that selects the parts to print.
 */
export function beforeAndAfter({ stage, from, to, before, after, changed }: StageReport, names?: string): string {
  const made = text(to, after, names);
  if (from !== to) return `// ${stage}: ${from.name} to ${to.name}\n${made}`;
  if (!changed) return `// ${stage} (unchanged)\n${made}`;
  return `// before ${stage}\n${text(from, before, names)}\n// after ${stage}\n${made}`;
}

const text = <T>(form: Form<T>, value: T, names: string | undefined): string => {
  const printed = form.print(value, names);
  return printed.trim() === "" ? `// nothing is named ${names}` : printed;
};
