/** Vulkan on this machine: finding the loader and the installed drivers, and selecting a driver. */

import { readdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { isMainThread } from "node:worker_threads";

/** Loaded libraries; never unloaded, because Dawn finds the loader among them by name. */
const loaded: unknown[] = [];

/** Environment variables that select a Vulkan loader's drivers; loaders that know both prefer the newer (first) one. */
const driverVariables = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] as const;

/**
 * Loads a shared library so that later lookups by name find it; returns whether it succeeded.
 * `process.dlopen` does not keep a library loaded, hence koffi.
 */
export async function loadGlobally(path: string): Promise<boolean> {
  const { default: koffi } = await import("koffi");
  try {
    loaded.push(koffi.load(path, { global: true }));
    return true;
  } catch {
    return false;
  }
}

let systemLoader: Promise<boolean> | undefined;

/**
 * Loads the machine's Vulkan loader; false if there is none. Asking Dawn instead would print its warning.
 * The first result is cached: once another loader is in the process, a lookup by name finds that one.
 */
export function loadSystemLoader(): Promise<boolean> {
  systemLoader ??= loadGlobally("libvulkan.so.1");
  return systemLoader;
}

/** Paths of the driver manifests a Vulkan loader would find: those from the environment, else the installed ones. */
export function installedDrivers(): readonly string[] {
  for (const variable of driverVariables) {
    const value = process.env[variable];
    if (value) return value.split(delimiter).filter(Boolean);
  }
  return manifestFolders().flatMap(manifestsIn);
}

/** What a thread needs where no driver is found: drivers read the process's environment, of which it has a copy. */
export const threadHint = isMainThread
  ? ""
  : "; in a worker thread, a software adapter needs new Worker(file, { env: SHARE_ENV })";

/**
 * Runs a call with the loader restricted to the given drivers, then restores the environment.
 * The call must enumerate drivers before it first yields, as Dawn's `requestAdapter` does.
 */
export function withDrivers<T>(manifests: readonly string[], call: () => T): T {
  const before = driverVariables.map((name) => process.env[name]);
  for (const name of driverVariables) process.env[name] = manifests.join(delimiter);
  try {
    return call();
  } finally {
    for (const [at, name] of driverVariables.entries()) restore(name, before[at]);
  }
}

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

/** The loader's search path. Vulkan-Loader, docs/LoaderDriverInterface.md, "Driver Discovery on Linux". */
function manifestFolders(): readonly string[] {
  const { XDG_CONFIG_HOME, XDG_CONFIG_DIRS, XDG_DATA_HOME, XDG_DATA_DIRS } = process.env;
  const roots = [
    XDG_CONFIG_HOME || join(homedir(), ".config"),
    ...(XDG_CONFIG_DIRS || "/etc/xdg").split(delimiter),
    "/etc",
    XDG_DATA_HOME || join(homedir(), ".local/share"),
    ...(XDG_DATA_DIRS || "/usr/local/share:/usr/share").split(delimiter),
  ];
  return roots.filter(Boolean).map((root) => join(root, "vulkan", "icd.d"));
}

function manifestsIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith(".json"))
      .map((name) => join(folder, name));
  } catch {
    return []; // most folders do not exist on most machines
  }
}
