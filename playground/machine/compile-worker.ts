/** The page's compile worker: a module that never terminates, or a large compilation, blocks nothing else. */
import { faultOf, serve } from "../shell/rpc.ts";
import { Compilations, type NumberedAbout } from "./compilations.ts";
import { type CompileOptions, compiled } from "./compiled.ts";
import { aboutModel, loadModel, type ModelAbout, type Subject } from "./model.ts";
import type { Code } from "./user-module.ts";

let model: Awaited<ReturnType<typeof loadModel>> | undefined;
const compilations = new Compilations();

const service = {
  /** Runs the module and describes its model. */
  load: async (code: Code): Promise<ModelAbout> => {
    model = await loadModel(code);
    return aboutModel(model);
  },
  compile: (subject: Subject, options: CompileOptions): NumberedAbout =>
    compilations.add(compiled(model!, subject, options)),
  /** The page shows this compilation from now on. */
  show: (number: number) => compilations.show(number),
  graph: (number: number) => compilations.of(number).graph(),
  stage: (number: number, index: number) => compilations.of(number).stage(index),
  kernel: (number: number, index: number) => compilations.of(number).kernel(index),
};

export type CompileService = typeof service;

serve(service);
globalThis.addEventListener("unhandledrejection", ({ reason }) => console.error(faultOf(reason).message));
