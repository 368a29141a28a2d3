/** The page's compile worker: a module that never terminates, or a large compilation, blocks nothing else. */
import { faultOf, serve } from "../shell/rpc.ts";
import { type Compiled, type CompiledAbout, type CompileOptions, compiled } from "./compiled.ts";
import { aboutModel, loadModel, type ModelAbout, type Subject } from "./model.ts";
import type { Code } from "./user-module.ts";

let model: Awaited<ReturnType<typeof loadModel>> | undefined;
let last: Compiled | undefined;

const service = {
  /** Runs the module and describes its model. */
  load: async (code: Code): Promise<ModelAbout> => {
    model = await loadModel(code);
    return aboutModel(model);
  },
  compile: (subject: Subject, options: CompileOptions): CompiledAbout => {
    last = compiled(model!, subject, options);
    return last.about;
  },
  graph: () => last!.graph(),
  stage: (index: number) => last!.stage(index),
  kernel: (index: number) => last!.kernel(index),
};

export type CompileService = typeof service;

serve(service);
globalThis.addEventListener("unhandledrejection", ({ reason }) => console.error(faultOf(reason).message));
