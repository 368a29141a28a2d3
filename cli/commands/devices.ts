/** `heddle devices`: what is here, and which one auto takes. */
import { listAdapters } from "../../backends/webgpu/node-index.ts";
import { json, table } from "../output.ts";

export async function devicesCommand(args: { readonly json: boolean }): Promise<number> {
  const adapters = await listAdapters();
  const hardware = adapters.find((a) => !a.software);
  const auto = hardware ? "webgpu" : "cpu";
  if (args.json) {
    process.stdout.write(`${json({ auto, adapters })}\n`);
    return 0;
  }
  const rows = adapters.map(
    (a) => [a.software ? "webgpu (software)" : "webgpu", `${a.description} [${a.backend}]`] as const,
  );
  process.stdout.write(
    `${table([...rows, ["cpu", "onnxruntime"]])}\n\n--device auto takes ${auto}: ${
      hardware ? hardware.description : "there is no hardware GPU, and software GPUs are taken only when asked for"
    }\n`,
  );
  return 0;
}
