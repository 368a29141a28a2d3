/**
 * Brings a graph into the form that later passes look for: algebra done, movement composed, nothing spread out before it
 * has to be. Every rule keeps meaning; scalings that merge may change the last bit. Needs nothing before it.
 */
import { rewritePass } from "../rewrite/index.ts";
import { arithmeticRules } from "./canonicalize/arithmetic.ts";
import { movementRules } from "./canonicalize/movement.ts";
import { reductionRules } from "./canonicalize/reductions.ts";

export const canonicalize = rewritePass("canonicalize", [...arithmeticRules, ...movementRules, ...reductionRules]);
