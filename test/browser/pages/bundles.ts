/** Compiled bundles in a page, loaded as their users load them: by the run.js that lies beside them. */
type Inputs = Readonly<Record<string, readonly number[] | { readonly halves: readonly number[] }>>;

/** What a bundle computes, as plain numbers with the kind of array that they came in. */
export async function run(url: string, inputs: Inputs): Promise<Record<string, { kind: string; values: number[] }>> {
  const { loadBundle } = await import(/* @vite-ignore */ `${url}run.js`);
  const model = await loadBundle(url);
  const typed = Object.entries(inputs).map(([name, x]) => [name, "halves" in x ? new Float16Array(x.halves) : x]);
  const results: Record<string, ArrayLike<number>> = await model.run(Object.fromEntries(typed));
  model.dispose();
  return Object.fromEntries(
    Object.entries(results).map(([name, data]) => [name, { kind: data.constructor.name, values: Array.from(data) }]),
  );
}

/** The error of loading a bundle. */
export async function refusal(url: string): Promise<string> {
  const { loadBundle } = await import(/* @vite-ignore */ `${url}run.js`);
  return await loadBundle(url).then(
    () => "none",
    (error: Error) => error.message,
  );
}

/** From here on this page is one of a browser that has no Float16Array. */
export function forgetHalves(): void {
  // biome-ignore lint/suspicious/noExplicitAny: what a browser may lack, the types have
  delete (globalThis as any).Float16Array;
}
