/** Positions of another grid: what a checkpoint made for pictures of another size has. */
import { fitGridPositions } from "../../dsl/index.ts";

/**
 * Interpolates the positions of patches once, bicubic and without antialiasing, as transformers does; that of the class token
 * stays. Nothing else can have another shape.
 */
export const fitPositions = fitGridPositions((parameter) => parameter === "vision.positions");
