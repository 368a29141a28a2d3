/** The open sessions of a model; those still open are disposed of with the model. */
import type { InferenceSession } from "../session.ts";

export interface OpenSessions {
  /** A session with this run function, and what to do when it is disposed of. */
  add(run: InferenceSession["run"], release: () => void): InferenceSession;
  dispose(): void;
}

export function openSessions(): OpenSessions {
  const open = new Set<InferenceSession>();
  return {
    add(run, release) {
      const session: InferenceSession = {
        run,
        dispose: () => {
          if (open.delete(session)) release();
        },
      };
      open.add(session);
      return session;
    },
    dispose: () => {
      for (const session of [...open]) session.dispose();
    },
  };
}
