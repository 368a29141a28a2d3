/**
 * Every family that heddle exports, in every dtype, out and in again: `node test/onnx/import/all-round-trips.ts
 * [SEEDS]`. It takes minutes, and the suite runs a few of them.
 */
import { families, randomModel } from "../../models/random-models.ts";
import { roundTrip } from "./round-trip.ts";

const seeds = Number(process.argv[2] ?? 1);
const opsets = [17, 18, 20, 21, 23, 24, 26];
const most = { f32: 1e-6, f16: 5e-3, int8: 1e-6, int4: 1e-6 } as const;
let worse = 0;
for (const family of Object.keys(families))
  for (const [i, dtype] of (["f32", "f16", "int8", "int4"] as const).entries())
    for (let seed = 1; seed <= seeds; seed++) {
      const opset = Math.max(opsets[(seed + i + family.length) % opsets.length]!, dtype === "int4" ? 21 : 17);
      const { graph, feeds, weights } = randomModel(family, seed);
      const { read, written } = await roundTrip(graph, new Map([...Object.entries(feeds), ...weights]), {
        dtype,
        opset,
      });
      const isFine = read < most[dtype] && written < (dtype === "f16" ? 1e-2 : 1e-3);
      if (!isFine) worse += 1;
      const said = `read ${read.toExponential(1)}, written ${written.toExponential(1)}`;
      process.stdout.write(
        `${isFine ? "fine" : "WORSE"}  ${family}, seed ${seed}, ${dtype}, opset ${opset}: ${said}\n`,
      );
    }
process.stdout.write(`${worse} worse\n`);
process.exitCode = worse === 0 ? 0 : 1;
