/** Position embeddings of another grid, from a checkpoint at another resolution. */
import { fitGridPositions } from "../../dsl/index.ts";

/**
 * Interpolates the positions of patches once, bicubic without antialiasing, as transformers does; the class token's is
 * kept. No other parameter may change shape.
 */
export const fitPositions = fitGridPositions((parameter) => parameter === "vision.positions");
