/** A process that saves checkpoints until it is killed: node saving-forever.ts <folder> <last step>. */
import { saveCheckpoint } from "../../runtime/index.ts";

const [folder, lastStep] = process.argv.slice(2);
for (let step = Number(lastStep) + 1; ; step++) {
  const data = () => [new Float32Array(200_000).fill(step)];
  const weight = { name: "weight", dtype: "F32" as const, shape: [200_000], data };
  await saveCheckpoint(folder!, { step, state: null, groups: { model: [weight] } }, { keep: 2 });
  process.stdout.write(`${step}\n`);
}
