// What became of an image, in words: of one edit whether it shows, or whether it is gone; of several
// whether all is as asked.
import { num, t } from "./i18n.js";
import { doc, edits } from "./state.js";

const KNOWN = ["reached", "already_there", "not_reached", "out_of_range", "unsupported"];

function key(image) {
  if (!KNOWN.includes(image?.status)) return null;
  const on = edits(doc.value);
  const kind = on.length > 1 ? "many" : on[0]?.alpha < 0 ? "off" : "";
  return kind && KNOWN.indexOf(image.status) < 3 ? `${image.status}-${kind}` : image.status;
}

/** In two or three words. */
export function shortStatus(image) {
  const found = key(image);
  return found ? t(`status-${found}`) : "";
}

/** In a sentence, with what CLIP makes of it. */
export function longStatus(image) {
  const found = key(image);
  if (!found) return "";
  const words = t(`status-${found}-long`);
  if (image.probability?.length !== 1) return words; // of several edits there is no one number
  const [[before], [after]] = [image.before, image.probability];
  return `${words} ${t("certainty", { before: num(before), after: num(after) })}`;
}
