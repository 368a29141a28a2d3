/** `heddle report`: rebuilds the page of a run from the files in its folder. */
import { writeRunReport } from "../../runtime/index.ts";
import { json } from "../output.ts";

export async function reportCommand(folder: string, args: { readonly json: boolean }): Promise<number> {
  const report = await writeRunReport(folder);
  process.stdout.write(args.json ? `${json({ report })}\n` : `report: ${report}\n`);
  return 0;
}
