/** The protocols of `heddle evaluate`. */
import { didYouMean, UsageError } from "../../../compiler/index.ts";
import { captions } from "./captions.ts";
import { attentive, knn, linearProbe } from "./frozen.ts";
import type { Protocol } from "./options.ts";
import { perplexity } from "./perplexity.ts";
import { mme, pope, vqa } from "./questions.ts";
import { retrieval } from "./retrieval.ts";
import { segmentation } from "./segmentation.ts";
import { zeroShot } from "./zero-shot.ts";
import { zeroShotVideo } from "./zero-shot-video.ts";

export const protocols: Readonly<Record<string, Protocol>> = {
  "zero-shot": zeroShot,
  "zero-shot-video": zeroShotVideo,
  retrieval,
  pope,
  vqa,
  mme,
  "linear-probe": linearProbe,
  "attentive-probe": attentive,
  knn,
  segmentation,
  captions,
  perplexity,
};

/** The protocol of a name. Throws UsageError for an unknown one. */
export function protocolNamed(name: string): Protocol {
  if (Object.hasOwn(protocols, name)) return protocols[name]!;
  const known = Object.keys(protocols);
  throw new UsageError(`--protocol must be one of ${known.join(", ")}; got "${name}"${didYouMean(name, known)}`);
}
