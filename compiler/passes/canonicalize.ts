/**
 * Canonicalization, for the patterns of later passes: algebra simplified, movements composed, broadcasts as late as
 * possible. Rules preserve semantics, except that merged scalings may change the last bit. Needs no earlier pass.
 */
import { rewritePass } from "../rewrite/index.ts";
import { arithmeticRules } from "./canonicalize/arithmetic.ts";
import { movementRules } from "./canonicalize/movement.ts";
import { reductionRules } from "./canonicalize/reductions.ts";

export const canonicalize = rewritePass("canonicalize", [...arithmeticRules, ...movementRules, ...reductionRules]);
