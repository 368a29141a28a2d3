/** Starts the bundled Chromium, headless, with WebGPU on SwiftShader. */
import { type Browser, chromium } from "playwright-core";
import { NoChromium, type UnpackedChromium, unpackChromium } from "./unpack-chromium.ts";

export { NoChromium } from "./unpack-chromium.ts";

/** WebGPU on CPU threads, on any machine; without a sandbox, which containers and root lack. */
const flags = [
  "--no-sandbox",
  "--enable-unsafe-webgpu",
  "--enable-unsafe-swiftshader",
  "--use-webgpu-adapter=swiftshader",
  "--ignore-gpu-blocklist",
];

/**
 * Starts a browser; the caller closes it. `args` are further switches of Chromium's. `executable` is another Chrome,
 * which takes the adapter that it finds. Throws NoChromium where there is none or the machine cannot start it.
 */
export async function startChromium(args: readonly string[] = [], executable?: string): Promise<Browser> {
  if (executable !== undefined)
    return await chromium.launch({ executablePath: executable, args: ["--enable-unsafe-webgpu", ...args] });
  const unpacked = await unpackChromium();
  try {
    return await launch(unpacked, args, {}).catch((cause: unknown) => {
      // The package's libraries were made for another Linux, so they are taken only where the machine has none.
      if (!String(cause).includes(missingLibrary)) throw cause;
      return launch(unpacked, args, { LD_LIBRARY_PATH: unpacked.libraries });
    });
  } catch (cause) {
    throw new NoChromium(`the bundled Chromium does not start here: ${why(cause)}`, { cause });
  }
}

const missingLibrary = "error while loading shared libraries";

const launch = ({ executable, fonts }: UnpackedChromium, args: readonly string[], env: Record<string, string>) =>
  chromium.launch({
    executablePath: executable,
    args: [...flags, ...args],
    env: { ...process.env, FONTCONFIG_FILE: fonts, ...env },
  });

/** The linker's line of a long report, or the report's first. */
const why = (cause: unknown): string =>
  new RegExp(`${missingLibrary}[^\\n]*`).exec(String(cause))?.[0] ?? String(cause).split("\n")[0]!;
