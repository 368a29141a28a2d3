/** All supported operators by name; names outside ONNX's own domain are prefixed with theirs. */
import type { Records } from "../record.ts";
import { affineGridRecords } from "./affine-grid.ts";
import { attentionRecords } from "./attention.ts";
import { attentionForms } from "./attention-forms.ts";
import { bitwiseRecords } from "./bitwise.ts";
import { col2imRecords } from "./col2im.ts";
import { controlRecords } from "./control.ts";
import { convolutionRecords } from "./convolutions.ts";
import { elementwiseRecords } from "./elementwise.ts";
import { fusedRecords } from "./fused-convolution.ts";
import { gridSampleRecords } from "./grid-sample.ts";
import { groupedQueryRecords } from "./grouped-query.ts";
import { indexingRecords } from "./indexing.ts";
import { lossRecords } from "./losses.ts";
import { normRecords } from "./norms.ts";
import { blocksRecord, packedRecords } from "./packed-blocks.ts";
import { paddingRecords } from "./padding.ts";
import { poolingRecords } from "./pooling.ts";
import { productRecords } from "./products.ts";
import { quantizedRecords } from "./quantized.ts";
import { quantizedForms } from "./quantized-forms.ts";
import { rangeRecords } from "./ranges.ts";
import { recurrentRecords } from "./recurrent.ts";
import { reductionRecords } from "./reductions.ts";
import { resizeRecords } from "./resize.ts";
import { roiAlignRecords } from "./roi-align.ts";
import { scatteringRecords } from "./scattering.ts";
import { sequenceRecords } from "./sequences.ts";
import { shapeRecords } from "./shapes.ts";
import { signalRecords } from "./signal.ts";

/** How each operator is imported, by its name; those of other domains as "domain.name". */
export const records: Records = {
  // The importer handles constants itself: one may be a weight.
  Constant: { build: (n) => n.in(0) },
  ...bitwiseRecords,
  ...elementwiseRecords,
  ...shapeRecords,
  ...rangeRecords,
  ...reductionRecords,
  ...productRecords,
  ...normRecords,
  ...convolutionRecords,
  ...poolingRecords,
  ...fusedRecords,
  ...indexingRecords,
  ...scatteringRecords,
  ...paddingRecords,
  ...quantizedRecords,
  ...packedRecords,
  ...quantizedForms,
  ...resizeRecords,
  ...attentionRecords,
  ...attentionForms,
  ...groupedQueryRecords,
  ...lossRecords,
  ...controlRecords,
  ...sequenceRecords,
  ...recurrentRecords,
  ...gridSampleRecords,
  ...roiAlignRecords,
  ...affineGridRecords,
  ...col2imRecords,
  ...signalRecords,
};

/** Records of internal operators that import rewrites create; they may not occur in a file. */
export const ownRecords: Records = { "heddle.BlocksAsFloats": blocksRecord };
