/** Image classification and semantic segmentation. */
import { axisOf, defineModel, type SegmentMode, transpose } from "../../../dsl/index.ts";
import { features, ofVision, paper, preprocessing, type Stages, states } from "../common-records.ts";
import { familyCheckpoints } from "../inheritance.ts";
import { pixelsInput } from "../internvit.ts";
import { probeMacs, segmentationMacs } from "../macs.ts";
import { probeTuning, segmentationTuning } from "../perception-stages.ts";
import { linearProbe, type ProbeConfig, probe } from "../probes.ts";
import { type SegmentationConfig, segment, segmentationLinear, segmentationUperNet } from "../segmentation.ts";
import { probeSettings, segmentationSettings } from "../setting-rules.ts";
import { tiny } from "../tiny.ts";
import { probeRules, segmentationRules } from "../weights.ts";

export const probeModel = defineModel<ProbeConfig>({
  name: "internvit-6b-probe",
  summary: "InternViT-6B with a linear probe for 1000 classes; features=pooling for attention pooling",
  config: linearProbe,
  configs: { tiny: tiny.probe },
  rules: probeSettings,
  stages: { probe: probeTuning },
  checkpoints: familyCheckpoints("internvit-6b-probe", probeRules),
  paper: paper(probeMacs),
  preprocessing,
  modes: { features },
  graphs: { states: states("vision_model", ofVision) },
  build: (p, c) => ({ scores: probe(p, pixelsInput(c.vision), c).scores }),
});

/**
 * Evaluation on ADE20K: windows of 504 pixels with a stride of 322; classes count from 1. Section 4.2 and the released
 * configs.
 */
const segmentMode: SegmentMode<SegmentationConfig> = {
  output: "scores",
  stride: 322 / 504,
  multiple: ({ vision }) => vision.patch,
  firstClass: 1,
};

const segmenter = (name: string, summary: string, config: SegmentationConfig, stages: Stages<SegmentationConfig>) =>
  defineModel<SegmentationConfig>({
    name,
    summary,
    config,
    configs: { tiny: config.channels === 0 ? tiny.segmentation : tiny.uperNet },
    rules: segmentationSettings,
    stages,
    checkpoints: familyCheckpoints(name, segmentationRules),
    paper: paper(segmentationMacs),
    preprocessing,
    modes: { features, segment: segmentMode },
    graphs: { states: states("vision_model", ofVision) },
    build: (p, c) => {
      const { scores } = segment(p, pixelsInput(c.vision), c);
      const axes = ["batch", "class", "row", "column"] as const;
      return {
        scores: transpose(
          scores,
          axes.map((a) => axisOf(scores, a)),
        ),
      };
    },
  });

export const segmenters = [
  segmenter(
    "internvit-6b-segmentation",
    "InternViT-6B's 45th block with a linear head for the 150 classes of ADE20K",
    segmentationLinear,
    {
      linear: (c, given) => segmentationTuning("linear", c, given),
      "few-shot": (c, given) => segmentationTuning("few-shot", c, given),
    },
  ),
  segmenter(
    "internvit-6b-upernet",
    "InternViT-6B's blocks 12, 24, 36 and 48 with UperNet for the 150 classes of ADE20K",
    segmentationUperNet,
    {
      head: (c, given) => segmentationTuning("head", c, given),
      full: (c, given) => segmentationTuning("full", c, given),
    },
  ),
];
