/** The run worker with the shown model, which is loaded into it when something first needs it. */
import type { ModelAbout } from "../machine/model.ts";
import type { RunService } from "../machine/run-worker.ts";
import type { Code } from "../machine/user-module.ts";
import type { Client } from "../shell/rpc.ts";

export interface ShownModel {
  readonly code: Code;
  readonly model: ModelAbout;
}

export interface ModelWorker {
  readonly shown: () => ShownModel | undefined;
  readonly show: (next: ShownModel) => void;
  /**
   * The worker's functions, once the shown model is loaded. Throws if no model has compiled yet, and the module's
   * errors.
   */
  readonly ready: () => Promise<Client<RunService>["call"]>;
  /** Removes all runs and weights. */
  readonly reset: () => Promise<void>;
}

export function modelWorker({ call }: Client<RunService>): ModelWorker {
  let shown: ShownModel | undefined;
  let loaded: { readonly code: Code; readonly done: Promise<void> } | undefined;
  /** Loads a model once, however many wait for it; one that failed is loaded again. */
  const load = async (code: Code): Promise<void> => {
    if (loaded?.code !== code) loaded = { code, done: call.load(code) };
    const own = loaded;
    try {
      await own.done;
    } catch (error) {
      if (loaded === own) loaded = undefined;
      throw error;
    }
  };
  return {
    shown: () => shown,
    show: (next) => void (shown = next),
    ready: async () => {
      if (!shown) throw new Error("the model does not compile yet");
      await load(shown.code);
      return call;
    },
    reset: async () => {
      await call.reset();
      loaded = undefined;
    },
  };
}
