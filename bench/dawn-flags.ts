/**
 * Records the flags with which Dawn is created, by intercepting the loading of its addon, so that reports state the
 * actual flags.
 */

interface DawnAddon {
  create(flags: readonly string[]): unknown;
}

const isDawn = (exports: unknown): exports is DawnAddon =>
  typeof exports === "object" && exports !== null && "create" in exports && "globals" in exports;

/** Starts watching; call it before the first device is opened. The set is filled when Dawn is created. */
export function watchDawnFlags(): ReadonlySet<string> {
  const seen = new Set<string>();
  const load = process.dlopen;
  process.dlopen = (module, ...rest) => {
    load.call(process, module, ...rest);
    const { exports } = module as { exports: unknown };
    if (!isDawn(exports)) return;
    const { create } = exports;
    exports.create = (flags) => {
      for (const flag of flags) seen.add(flag);
      return create(flags);
    };
  };
  return seen;
}
