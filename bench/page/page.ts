/** The page that measures: one subject per opening, so that none benefits from what another has loaded. */
import type { Open, Subject, SubjectName } from "./subject.ts";

const subjects = {
  "heddle, bundle": () => import("./subjects/bundle.ts"),
  "heddle, session": () => import("./subjects/session.ts"),
  "onnxruntime-web": () => import("./subjects/onnxruntime-web.ts"),
  "transformers.js": () => import("./subjects/transformers.ts"),
} satisfies Record<SubjectName, () => Promise<{ readonly open: Open }>>;

/** Milliseconds. */
export interface Opened {
  /** Library, model and weights, until it is ready for an image. */
  readonly load: number;
  /** The first result after loading. */
  readonly first: number;
  readonly logits: readonly number[];
}

let subject: Subject | undefined;
let pixels = new Float32Array();

/** Opens a subject and warms it up. */
export async function open(name: SubjectName, base: string, size: number): Promise<Opened> {
  pixels = Float32Array.from({ length: 3 * size * size }, (_, i) => Math.sin(i * 0.37) * 1.5);
  const begun = performance.now();
  const { open: openSubject } = await subjects[name]();
  subject = await openSubject(base, size);
  const loaded = performance.now();
  const logits = Array.from(await subject.run(pixels));
  const first = performance.now();
  for (let i = 0; i < 2; i++) await subject.run(pixels);
  return { load: loaded - begun, first: first - loaded, logits };
}

/** Milliseconds per result, from pixels in memory to logits in memory. */
export async function steady(runs: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    await subject!.run(pixels);
    times.push(performance.now() - start);
  }
  return times;
}

/** The browser's description of its adapter. */
export async function adapter(): Promise<string> {
  const { info } = (await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }))!;
  return [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" ");
}
