/** The sessions of one model: each leaves when it is disposed of, and what is left is disposed of with the model. */
import type { InferenceSession } from "../session.ts";

export interface OpenSessions {
  /** A session that runs and releases so. */
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
