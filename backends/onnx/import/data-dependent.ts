/** The error for a node whose result, or its size, only the data tell. */
import { UnsupportedError } from "../../../compiler/index.ts";

/** What is before such a node can be imported, and the error of the import names it. */
export class DataDependentError extends UnsupportedError {}
