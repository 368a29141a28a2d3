/** A backend that calls back when a run is submitted, since batches are read ahead of it and metrics behind. */
import type { Backend, Executable } from "../../backends/backend.ts";

export const watchingRuns = (backend: Backend, submitted: (executable: Executable) => void): Backend => ({
  ...backend,
  compile: async (graph, options) => {
    const executable = await backend.compile(graph, options);
    return {
      graph,
      run: (...args) => {
        submitted(executable);
        return executable.run(...args);
      },
      dispose: () => executable.dispose(),
    };
  },
});
