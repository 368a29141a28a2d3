/**
 * Sockets by which the ranks of a machine find each other before MPI has joined them. Their names are Linux's abstract
 * ones, which leave no file behind; elsewhere nothing listens, and nothing answers.
 */
import { createHash } from "node:crypto";
import { connect, createServer } from "node:net";
import { userInfo } from "node:os";
import type { LaunchedProcess } from "./node-launched-processes.ts";

/**
 * "watcher" is answered once rank 0 has started the watcher, "report" once a rank reports why the ranks cannot start.
 */
export type StartSocket = "watcher" | "report";

const nameOf = (purpose: StartSocket, { job }: LaunchedProcess): string =>
  `\0heddle-${purpose}-${userInfo().uid}-${createHash("sha256").update(job).digest("hex").slice(0, 32)}`;

export interface Listening {
  close(): void;
}

/** Undefined if another process of the launch already listens. */
export async function listenAtStart(purpose: StartSocket, own: LaunchedProcess): Promise<Listening | undefined> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.end();
  });
  const isOpen = await new Promise<boolean>((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(nameOf(purpose, own), () => resolve(true));
  });
  return isOpen ? { close: () => void server.close() } : undefined;
}

/** Whether a process of the same launch on this machine listens. */
export async function answersAtStart(purpose: StartSocket, own: LaunchedProcess): Promise<boolean> {
  const socket = connect(nameOf(purpose, own));
  const answers = await new Promise<boolean>((resolve) => {
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
  });
  socket.destroy();
  return answers;
}
