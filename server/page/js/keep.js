// Taking something away from the page: pictures, films, the same by hand, a link.
import { file, post, remove } from "./api.js";
import { linkOf } from "./link.js";
import { t } from "./i18n.js";
import { say } from "./notices.js";
import { body, doc, focused } from "./state.js";
import { atlas } from "./studio.js";
import { work } from "./work.js";

/** The images that a job is of: the one on the stage, or the whole row. */
const seedsOf = (whole) => (whole ? doc.value.seeds : [doc.value.seeds[focused.value]]);

const nameOf = (ending) => {
  const words = doc.value.edits.filter((edit) => edit.on).map((edit) => edit.target);
  const plain = words.join(" ").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "");
  return `${plain.slice(0, 60) || "styleatlas"}.${ending}`;
};

/** The picture on the stage as a PNG that holds its recipe. */
export async function downloadPicture() {
  const job = await work(t("ofPicture"), "edits", body(doc.value, seedsOf(false)));
  if (job) await fetchAs(job.result.pictures.find((one) => one.role === "picture").url, "png");
}

/** A film of the edit, there and back. @param {"webp" | "gif" | "mp4"} format */
export async function downloadFilm(format) {
  const asked = { ...body(doc.value, seedsOf(false)), seconds: 3, format };
  const job = await work(t("ofFilm"), "films", asked);
  if (job) await fetchAs(job.result.pictures.find((one) => one.role === "film").url, format);
}

// By its Accept: a picture's link alone would bring the smaller WebP, which holds no recipe.
async function fetchAs(url, ending) {
  const type = ending === "mp4" ? "video/mp4" : `image/${ending}`;
  save(await file(url, type), nameOf(ending));
}

/** What the photo was found to be, by the name that commands and Python call it. */
export const downloadLatents = async () =>
  save(await file(`pictures/${doc.value.photo.latents}.npz`), "latents.npz");

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** The same by hand. @param {"command" | "python"} kind */
export async function copyRecipe(kind) {
  const job = await post("edits", body(doc.value, seedsOf(true)));
  remove(`jobs/${job.id}`).catch(() => {}); // the recipe alone is wanted
  await copy(job.recipe[kind], t(kind === "command" ? "copiedCommand" : "copiedPython"));
}

export const copyLink = () => copy(linkOf(doc.value, atlas.value?.name), t("copiedLink"));

async function copy(text, told) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea"); // where the page is not of a secure origin
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  say(told);
}
