/** Where things lie while the playground is built. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const repository = fileURLToPath(new URL("../../", import.meta.url));

/** What is made for the page and not committed: the packed emoji, the declarations. */
export const generatedFolder = join(repository, "node_modules", ".cache", "heddle", "playground");
