/** `heddle devices`: what is here, what each computes f16 in, and which one auto takes. */
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { type OpenedAdapter, openAdapters } from "../../backends/webgpu/node-index.ts";
import type { PrecisionPath } from "../../compiler/index.ts";
import { json, table } from "../output.ts";
import { precisionText } from "../precision.ts";

export async function devicesCommand(args: { readonly json: boolean }): Promise<number> {
  const adapters = (await openAdapters()).map(reported);
  const hardware = adapters.find((a) => !a.software);
  const auto = hardware ? "webgpu" : "cpu";
  if (args.json) {
    process.stdout.write(`${json({ auto, adapters })}\n`);
    return 0;
  }
  const rows = adapters.flatMap((a) => [
    [a.software ? "webgpu (software)" : "webgpu", `${a.description} [${a.backend}]`] as const,
    ["  with --dtype f16", "failure" in a ? `not opened: ${a.failure}` : precisionText(a.f16)] as const,
  ]);
  process.stdout.write(
    `${table([...rows, ["cpu", "onnxruntime"]])}\n\n--device auto takes ${auto}: ${
      hardware ? hardware.description : "there is no hardware GPU, and software GPUs are taken only when asked for"
    }\n`,
  );
  return 0;
}

/** What an adapter is and computes in when f16 is asked for; its device is closed again. */
function reported({ opened, ...info }: OpenedAdapter) {
  if (opened instanceof Error) return { ...info, failure: opened.message };
  const backend = webgpuBackend(opened);
  const f16: PrecisionPath = backend.precision({ precision: "f16" });
  backend.dispose();
  return { ...info, f16 };
}
