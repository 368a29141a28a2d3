/** The name of the user's file in messages. */
export const modelFile = "model.ts";
