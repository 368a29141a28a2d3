/** Renders images, on the main thread or on workers. */
import { type ImageOptions, type Rendered, type RenderJob, render } from "./render.ts";

export interface Renderer {
  /** How many images are worth rendering concurrently. */
  readonly concurrency: number;
  /** FileError when the image is broken. */
  render(job: RenderJob): Promise<Rendered>;
  dispose(): Promise<void>;
}

/** Renders on the calling thread. */
export function localRenderer(options: ImageOptions): Renderer {
  return { concurrency: 4, render: (job) => render(job, options), dispose: async () => {} };
}
