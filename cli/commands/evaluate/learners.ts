/** The available classifiers: logistic regression, nearest neighbours, attentive probe. */
import { logisticRegression, neighbourScores, unitRows } from "../../../data/index.ts";
import { startProgress } from "../../../runtime/index.ts";
import { attentiveProbe, usualProbe } from "./attentive.ts";
import type { Learner } from "./learner.ts";

/**
 * The inverse regularization of CLIP's linear probe. Radford et al. 2021, arXiv:2103.00020, appendix A.3; its published
 * example.
 */
export const usualC = 0.316;

/** Wu et al. 2018, arXiv:1805.01978, section 3.4; k as DINO reports, Caron et al. 2021, arXiv:2104.14294. */
export const usualNeighbours = { k: 20, temperature: 0.07 } as const;

const mostSteps = 1000;

export const regression: Learner = {
  summary: "logistic regression on a frozen encoder's features: top-1, top-5, mean per class",
  takes: ["feature", "c"],
  asked: ({ c = usualC }) => ({ c }),
  learn: ({ train, labels, classes, options: { c = usualC } }, { data, width }) => {
    const progress = startProgress({ description: "regression", total: mostSteps, unit: "steps" });
    try {
      const onStep = (step: number, loss: number) => progress.update(step, { loss });
      const model = logisticRegression(train, labels, { classes, c, mostSteps, onStep });
      return (row) => model.scores(data.subarray(row * width, (row + 1) * width));
    } finally {
      progress.dispose();
    }
  },
};

export const neighbours: Learner = {
  summary: "k nearest neighbours of a frozen encoder's features: top-1, top-5, mean per class",
  takes: ["feature", "k", "temperature"],
  asked: ({ k = usualNeighbours.k, temperature = usualNeighbours.temperature }) => ({ k, temperature }),
  learn: ({ train, labels, classes, options }, test) => {
    const { k = usualNeighbours.k, temperature = usualNeighbours.temperature } = options;
    const [known, queries] = [unitRows(train), unitRows(test)];
    return (row) => neighbourScores(queries, row, known, labels, { classes, k, temperature });
  },
};

export const attention: Learner = {
  summary: "attention pooling of a frozen encoder's tokens, and a linear layer: top-1, top-5, mean per class",
  takes: ["epochs", "rate"],
  readsTokens: true,
  asked: ({ epochs = usualProbe.epochs, rate = usualProbe.rate }) => ({ epochs, rate }),
  learn: attentiveProbe,
};
