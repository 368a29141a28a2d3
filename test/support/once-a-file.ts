/**
 * What the support modules of tests open once a test file. Several files run in one process, one after another, so that
 * a module that they share outlives each of them: test/support/setup.ts closes at the end of a file what it opened.
 */

const closing: (() => unknown)[] = [];

/** Calls `open` at the first call of a test file, and `close` with its result at the file's end. */
export function onceAFile<T>(open: () => Promise<T>, close: (opened: T) => unknown = () => {}): () => Promise<T> {
  let opened: Promise<T> | undefined;
  return () => {
    if (opened) return opened;
    const now = open();
    opened = now;
    closing.push(async () => {
      opened = undefined;
      const result = await now.then(
        (value) => ({ value }),
        () => undefined, // told to the test that asked
      );
      if (result) await close(result.value);
    });
    return now;
  };
}

/** Closes what was opened since the last call, the last opened first. */
export async function closeWhatFileOpened(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}
