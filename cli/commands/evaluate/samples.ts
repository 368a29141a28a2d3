/** The samples of an evaluation. */
import { FileError } from "../../../compiler/index.ts";
import { type RawSample, type SampleKind, survey } from "../../../data/index.ts";
import { startProgress } from "../../../runtime/index.ts";
import { counted, type Reason } from "../data.ts";
import type { EvaluateOptions } from "./options.ts";

export interface Samples {
  /** Readable samples. Samples of shards hold their images' bytes. */
  readonly samples: readonly RawSample[];
  readonly skipped: readonly Reason[];
}

/** Reads and decodes every sample once, skipping broken ones. Throws FileError if none is left. */
export async function readSamples(
  kind: SampleKind,
  { data, images, language }: Pick<EvaluateOptions, "data" | "images" | "language">,
): Promise<Samples> {
  const given = { ...(images !== undefined && { images }), ...(language !== undefined && { language }) };
  const found = await survey(data, kind, { decode: true, ...given });
  const progress = startProgress({ description: "reading", total: found.parts, unit: "parts" });
  const samples: RawSample[] = [];
  let parts = 0;
  const onPart = (done: number) => {
    parts = done;
  };
  try {
    for await (const raw of found.kept(onPart)) {
      samples.push(raw);
      if (samples.length % 100 === 0) progress.update(parts, { samples: samples.length });
    }
    progress.update(parts, { samples: samples.length });
  } finally {
    progress.dispose();
  }
  const skipped = counted(found.broken());
  if (samples.length > 0) return { samples, skipped };
  const why = skipped.slice(0, 3).map(({ reason, example }) => `\n  ${example}: ${reason}`);
  throw new FileError(`${data.join(" and ")} ${data.length === 1 ? "has" : "have"} no usable sample${why.join("")}`);
}
