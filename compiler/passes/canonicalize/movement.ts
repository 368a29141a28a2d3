/** Movement ops that cancel, merge or commute with each other. */
import type { Rule } from "../../rewrite/index.ts";
import { broadcastRules } from "./broadcasts.ts";
import { padAndConcatenationRules } from "./pads-and-concatenations.ts";
import { renameRules } from "./renames.ts";
import { sliceRules } from "./slices.ts";
import { splitAndMergeRules } from "./splits-and-merges.ts";
import { windowRules } from "./windows.ts";

export const movementRules: readonly Rule[] = [
  ...renameRules,
  ...splitAndMergeRules,
  ...sliceRules,
  ...padAndConcatenationRules,
  ...broadcastRules,
  ...windowRules,
];
