/** The page that measures: one subject at each opening, so that none finds what another has loaded. */
import type { Open } from "./subject.ts";

const subjects = {
  "heddle, bundle": () => import("./subjects/bundle.ts"),
  "heddle, session": () => import("./subjects/session.ts"),
  "onnxruntime-web": () => import("./subjects/onnxruntime-web.ts"),
  "transformers.js": () => import("./subjects/transformers.ts"),
} satisfies Record<string, () => Promise<{ readonly open: Open }>>;

export type SubjectName = keyof typeof subjects;

/** Milliseconds. */
export interface Figures {
  /** Library, model and weights, until a picture can be given. */
  readonly load: number;
  /** The first result after it. */
  readonly first: number;
  /** Each of the results after those that warm up, from pixels in memory to logits in memory. */
  readonly steady: readonly number[];
  readonly logits: readonly number[];
}

export async function measure(name: SubjectName, base: string, size: number, runs: number): Promise<Figures> {
  const pixels = Float32Array.from({ length: 3 * size * size }, (_, i) => Math.sin(i * 0.37) * 1.5);
  const begun = performance.now();
  const { open } = await subjects[name]();
  const subject = await open(base, size);
  const loaded = performance.now();
  const logits = Array.from(await subject.run(pixels));
  const first = performance.now();
  for (let i = 0; i < 2; i++) await subject.run(pixels);
  const steady: number[] = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    await subject.run(pixels);
    steady.push(performance.now() - start);
  }
  return { load: loaded - begun, first: first - loaded, steady, logits };
}

export const names = (): SubjectName[] => Object.keys(subjects) as SubjectName[];

/** What the browser says of its adapter. */
export async function adapter(): Promise<string> {
  const { info } = (await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }))!;
  return [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");
}
