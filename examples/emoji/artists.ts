/** The openly licensed artists of the emoji, the npm packages of their images, and how to credit them. */
import { join } from "node:path";

export type ArtistId = "twemoji" | "openmoji" | "fluent" | "noto";

/** Credits for showing the images. */
export interface Credit {
  readonly name: string;
  readonly author: string;
  readonly link: string;
  /** SPDX identifier. */
  readonly license: string;
  readonly licenseLink: string;
}

/** One artist's set: `folder` in its package, and the file of an emoji by its code points. */
export interface Artist extends Credit {
  readonly id: ArtistId;
  readonly package: string;
  readonly folder: string;
  /** File names are compared without the variation selector FE0F, which artists include inconsistently. */
  readonly extension: string;
}

export const artists: Readonly<Record<ArtistId, Artist>> = {
  twemoji: {
    id: "twemoji",
    name: "Twemoji",
    author: "Twitter, Inc. and other contributors",
    link: "https://github.com/jdecked/twemoji",
    license: "CC-BY-4.0",
    licenseLink: "https://creativecommons.org/licenses/by/4.0/",
    package: "emoji-datasource-twitter",
    folder: join("img", "twitter", "64"),
    extension: ".png",
  },
  openmoji: {
    id: "openmoji",
    name: "OpenMoji",
    author: "Benedikt Groß, Daniel Utz and the OpenMoji contributors, HfG Schwäbisch Gmünd",
    link: "https://openmoji.org/",
    license: "CC-BY-SA-4.0",
    licenseLink: "https://creativecommons.org/licenses/by-sa/4.0/",
    package: "openmoji",
    folder: join("color", "svg"),
    extension: ".svg",
  },
  fluent: {
    id: "fluent",
    name: "Fluent Emoji 3D",
    author: "Microsoft",
    link: "https://github.com/microsoft/fluentui-emoji",
    license: "MIT",
    licenseLink: "https://github.com/microsoft/fluentui-emoji/blob/main/LICENSE",
    package: "@lobehub/fluent-emoji-3d",
    folder: "assets",
    extension: ".webp",
  },
  noto: {
    id: "noto",
    name: "Noto Emoji",
    author: "Google",
    link: "https://github.com/googlefonts/noto-emoji",
    license: "Apache-2.0",
    licenseLink: "https://www.apache.org/licenses/LICENSE-2.0",
    package: "emoji-datasource-google",
    folder: join("img", "google", "64"),
    extension: ".png",
  },
};

/** Credit for the names. */
export const namesCredit: Credit = {
  name: "Unicode CLDR annotations",
  author: "Unicode, Inc.",
  link: "https://cldr.unicode.org/",
  license: "Unicode-3.0",
  licenseLink: "https://www.unicode.org/license.txt",
};
