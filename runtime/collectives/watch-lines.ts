/** What ranks and the process that watches them say to each other: lines of JSON. */

/** `lost` is told to ranks. */
export type Line =
  | { readonly hello: { readonly rank: number; readonly token: string } }
  | { readonly failed: string }
  | { readonly lost: true }
  | { readonly bye: true };

/** What the process is told first: how many ranks, what they prove to be ranks with, and what they are called. */
export interface Watched {
  readonly size: number;
  readonly token: string;
  readonly names: readonly string[];
}

export const send = (socket: { write(text: string): unknown }, line: Line): void =>
  void socket.write(`${JSON.stringify(line)}\n`);

/** Undefined for whoever else comes to this port. */
export function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}

export const ended = (name: string): string =>
  `${name} has ended without a word, and all ranks end with it: go on from the newest checkpoint with --resume`;
