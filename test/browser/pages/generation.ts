/** Texts written in a page, with the package as a page has it. */
import { openDevice } from "../../../api/browser.ts";
import { written } from "../generation.ts";

export async function tokens(): Promise<number[][]> {
  const device = await openDevice();
  try {
    return await written(device);
  } finally {
    device.dispose();
  }
}
