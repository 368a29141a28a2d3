/** A run's folder is locked by someone else. */
import { UsageError } from "../../compiler/index.ts";

/** Keeps the name of UsageError; callers with a message of their own recognize it by its class. */
export class FolderInUseError extends UsageError {}
