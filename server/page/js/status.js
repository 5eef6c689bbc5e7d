// What became of an image, in words.
import { num, t } from "./i18n.js";

const KNOWN = ["reached", "already_there", "not_reached", "out_of_range", "unsupported"];

/** In two or three words. */
export const shortStatus = (image) =>
  KNOWN.includes(image?.status) ? t(`status-${image.status}`) : "";

/** In a sentence, with what CLIP makes of it. */
export function longStatus(image) {
  if (!KNOWN.includes(image?.status)) return "";
  const words = t(`status-${image.status}-long`);
  if (image.probability?.length !== 1) return words; // of several edits there is no one number
  const [[before], [after]] = [image.before, image.probability];
  return `${words} ${t("certainty", { before: num(before), after: num(after) })}`;
}
