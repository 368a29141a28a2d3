/**
 * Zero-shot classification of videos: by the mean of the embeddings of a few frames. Chen et al. 2023,
 * arXiv:2312.14238, section 4.3, with 1 and 8 frames.
 */
import { imageName, readVideos, skipCounts, spreadFrames, unitRows, type Video } from "../../../data/index.ts";
import { mapWithProgress } from "../../map-with-progress.ts";
import { counted } from "../data.ts";
import { towersGraph } from "../run/comparing.ts";
import type { NamedModel } from "../run/opened-model.ts";
import type { Album } from "../run/pictures.ts";
import { embedPictures } from "../run/towers.ts";
import type { EvaluateOptions, Outcome, Protocol } from "./options.ts";
import { judgeClasses } from "./zero-shot.ts";

export const usualFrames = 8;

export const zeroShotVideo: Protocol = {
  summary: "like zero-shot, for videos stored as folders of frames",
  takes: ["labels", "templates", "language", "prefix", "frames"],
  run: evaluateVideos,
};

async function evaluateVideos(named: NamedModel, options: EvaluateOptions): Promise<Outcome> {
  const { frames = usualFrames } = options;
  const read = (album: Album) => readable(options, frames, album);
  const outcome = await judgeClasses(named, options, read, async (videos, model, album) => {
    const pictures = videos.flatMap((video) => video.frames);
    const { data, width } = await embedPictures(model, towersGraph(named), pictures, album, options);
    const sums = new Float32Array(videos.length * width);
    for (let i = 0; i < data.length; i += 1) sums[Math.floor(i / (frames * width)) * width + (i % width)]! += data[i]!;
    return unitRows({ data: sums, width });
  });
  return { ...outcome, asked: { ...outcome.asked, frames } };
}

/** The sampled frames of videos whose sampled frames can all be read. */
async function readable({ data }: EvaluateOptions, count: number, { store }: Album) {
  const skips = skipCounts();
  const all = (await Promise.all(data.map((folder) => readVideos(folder, skips.add)))).flat();
  const videos = all.map((video): Video => ({ ...video, frames: spreadFrames(video.frames, count) }));
  const samples = await mapWithProgress(videos, { description: "reading", unit: "videos" }, async (video) => {
    const frames = [...new Set(video.frames)];
    const good = await store.preload(frames, { onSkip: ({ reason }) => skips.add({ name: video.name, reason }) });
    const image = video.frames[video.frames.length >> 1]!; // shown on the page
    return frames.every((frame) => good.has(imageName(frame))) ? { ...video, image } : undefined;
  });
  return { samples: samples.filter((sample) => sample !== undefined), skipped: counted(skips.counts()) };
}
