/** Renders pictures, on the main thread or on others. */
import { type ImageOptions, type Rendered, type RenderJob, render } from "./render.ts";

export interface Renderer {
  /** How many pictures are worth having under way at once. */
  readonly concurrency: number;
  /** FileError where the picture is broken. */
  render(job: RenderJob): Promise<Rendered>;
  dispose(): Promise<void>;
}

/** On this thread. */
export function localRenderer(options: ImageOptions): Renderer {
  return { concurrency: 4, render: (job) => render(job, options), dispose: async () => {} };
}
