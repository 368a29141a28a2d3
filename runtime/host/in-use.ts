/** A run's folder that somebody else works in. */
import { UsageError } from "../../compiler/index.ts";

/** Its name stays that of a mistake in use; whoever has words of its own for it knows it by its class. */
export class FolderInUseError extends UsageError {}
