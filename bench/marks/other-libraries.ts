/** A block's forward pass and a training step, compared with other WebGPU libraries. */
import { type Case, type ContenderName, cases } from "../cases.ts";
import { installPeers } from "../peers/install.ts";
import { reportCase } from "../report.ts";
import { runCase } from "../run-case.ts";
import type { Asked, MarkContext, MarkGroup, Outcome } from "./mark.ts";

const groups = [
  { name: "block forward of the bench", case: "block", asked: { unit: "x", first: 3, goal: 3 } },
  { name: "training step of the bench", case: "train-vit", asked: { unit: "x", first: 10, goal: 10 } },
] as const satisfies readonly { name: string; case: string; asked: Asked }[];

export const otherLibraries: MarkGroup = {
  name: "libraries",
  marks: () => Object.fromEntries(groups.map((g) => [g.name, g.asked])),
  measure: async (context, record) => {
    const missing = await installPeers(context.note);
    const absent = new Map<ContenderName, string>(missing === undefined ? [] : [["jax-js", missing]]);
    for (const { name, case: wanted } of groups) {
      record(name, await times(cases.find((c) => c.name === wanted)!, absent, context));
    }
  },
};

/** How many times longer than heddle the fastest other library takes, after comparing outputs. */
async function times(c: Case, absent: ReadonlyMap<ContenderName, string>, { note }: MarkContext): Promise<Outcome> {
  const { contenders } = reportCase(c, await runCase({ ...c, patience: 1 }, { rounds: 1, absent, note }));
  const said = contenders.map((r) =>
    "failure" in r ? `${r.contender}: ${r.failure}` : `${r.contender} ${r.wallMs.median.toFixed(2)} ms`,
  );
  const ratios = contenders.flatMap((r) => ("failure" in r || r.contender === "heddle" ? [] : [r.timesHeddle.median]));
  if (ratios.length === 0) return { skipped: said.join("; ") };
  return { value: Math.min(...ratios), note: said.join("; ") };
}
