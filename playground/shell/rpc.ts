/** Typed calls into workers, and events from them, over `postMessage`. */

/** The functions of a worker, by name. */
// biome-ignore lint/suspicious/noExplicitAny: each service has functions of its own types
export type Service = Readonly<Record<string, (...given: any[]) => unknown>>;

type Asked = { readonly id: number; readonly name: string; readonly given: readonly unknown[] };
type Answered = { readonly id: number; readonly result?: unknown; readonly fault?: Fault };
type Told = { readonly told: unknown };

/** An error in the form in which it is sent between threads. */
export interface Fault {
  readonly name: string;
  readonly message: string;
}

export const faultOf = (error: unknown): Fault =>
  error instanceof Error
    ? { name: error.name, message: error.message }
    : { name: "Error", message: typeof error === "string" ? error : JSON.stringify(error) };

/** An error thrown in a worker. */
class WorkerError extends Error {
  constructor({ name, message }: Fault) {
    super(message);
    this.name = name;
  }
}

interface Port {
  postMessage(message: unknown, transfer?: Transferable[]): void;
  addEventListener(type: "message", listener: (event: MessageEvent) => void): void;
}

/**
 * In a worker: answers calls. Returns a function that emits events. `reworded` replaces what a call of the given name
 * throws.
 */
export function serve<Event>(
  service: Service,
  reworded: (error: unknown, name: string) => unknown = (error) => error,
): (event: Event) => void {
  const port = globalThis as unknown as Port;
  port.addEventListener("message", async ({ data }: MessageEvent<Asked>) => {
    const { id, name, given } = data;
    try {
      port.postMessage({ id, result: await service[name]!(...given) });
    } catch (error) {
      port.postMessage({ id, fault: faultOf(reworded(error, name)) });
    }
  });
  return (told) => port.postMessage({ told });
}

type Called<S extends Service> = {
  readonly [K in keyof S]: (...given: Parameters<S[K]>) => Promise<Awaited<ReturnType<S[K]>>>;
};

/** A worker, seen from the page. */
export interface Client<S extends Service> {
  readonly call: Called<S>;
  /** Terminates the worker; pending and later calls are rejected. */
  dispose(): void;
}

/** In the page: starts a worker. Its events go to `onTold`. */
export function client<S extends Service, Event = never>(url: string, onTold?: (event: Event) => void): Client<S> {
  const worker = startWorker(url);
  const waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  let next = 0;
  let isDisposed = false;
  const failAll = (message: string) => {
    for (const { reject } of waiting.values()) reject(new WorkerError({ name: "WorkerError", message }));
    waiting.clear();
  };
  worker.addEventListener("message", ({ data }: MessageEvent<Answered | Told>) => {
    if ("told" in data) return onTold?.(data.told as Event);
    const { resolve, reject } = waiting.get(data.id)!;
    waiting.delete(data.id);
    if (data.fault) reject(new WorkerError(data.fault));
    else resolve(data.result as never);
  });
  worker.addEventListener("error", (event) => failAll(event.message || "a worker could not be started"));
  const ask = (name: string, given: readonly unknown[]) =>
    new Promise((resolve, reject) => {
      if (isDisposed) return reject(new WorkerError({ name: "WorkerError", message: "stopped" }));
      waiting.set(next, { resolve, reject });
      worker.postMessage({ id: next++, name, given });
    });
  const call = new Proxy({} as Called<S>, {
    // With a function `then` it would be a promise to whatever awaits it.
    get: (_, name: string) => (name === "then" ? undefined : (...given: unknown[]) => ask(name, given)),
  });
  return {
    call,
    dispose: () => {
      isDisposed = true;
      worker.terminate();
      failAll("stopped");
    },
  };
}

/**
 * Starts a module worker from a blob, so that it inherits the page's content security policy; a worker loaded from its
 * own URL has one only if the server sends it as a header.
 */
function startWorker(url: string): Worker {
  const code = `import ${JSON.stringify(new URL(url, document.baseURI).href)};`;
  const blob = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
  return new Worker(blob, { type: "module" });
}
