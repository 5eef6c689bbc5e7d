// Texts, a file a language. `t("key", {name: value})` reads the signal, so what shows it follows.
import { computed, effect, signal } from "./lib.js";
import { settings } from "./memory.js";
import en from "../text/en.js";
import de from "../text/de.js";

/** By their codes, each under its own name. */
export const LANGUAGES = { en: "English", de: "Deutsch" };
const TEXTS = { en, de };

const wished = signal((navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2)));
addEventListener("languagechange", () => (wished.value = navigator.languages.map((l) => l.slice(0, 2))));

export const language = computed(() => {
  const asked = settings.value.language;
  if (asked in TEXTS) return asked;
  return wished.value.find((tag) => tag in TEXTS) ?? "en";
});

effect(() => {
  document.documentElement.lang = language.value;
});

/** A text with its values filled in; a key that is missing shows itself.
 * @param {string} key @param {Record<string, string | number>} [values] */
export function t(key, values = {}) {
  const text = TEXTS[language.value][key] ?? en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** A number as the language writes it. */
export const num = (value, digits = 2) =>
  new Intl.NumberFormat(language.value, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    signDisplay: "negative",
  }).format(value);

export const percent = (share) =>
  new Intl.NumberFormat(language.value, {
    style: "percent",
    maximumSignificantDigits: share < 0.1 ? 1 : 2,
  }).format(share);
