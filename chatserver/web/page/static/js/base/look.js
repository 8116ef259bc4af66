/**
 * How the page looks in this browser: its colours, the size of its type, and its language. A person chooses it in the
 * settings; without a choice the browser decides.
 *
 * This is a classic script in the page's head, because only such a script runs before the first paint in all browsers:
 * a page in other colours never flashes up. Modules use the global `look`.
 *
 * @typedef {"theme" | "size" | "language"} LookName
 */

/** The page's languages by their tags: the name in the language itself, and the direction of writing. */
const LANGUAGES = {
	en: { name: "English", dir: "ltr" },
	de: { name: "Deutsch", dir: "ltr" },
	ar: { name: "العربية", dir: "rtl" },
};

// eslint-disable-next-line no-unused-vars -- modules use it
const look = (() => {
	const KEY = "chatserver-look";
	const page = document.documentElement;
	/** Pages without it are written in English only. */
	const isTranslated = page.hasAttribute("data-translated");
	const own = document.currentScript instanceof HTMLScriptElement ? document.currentScript.src : location.href;

	/** @returns {Partial<Record<LookName, string>>} */
	const read = () => {
		try {
			return JSON.parse(localStorage.getItem(KEY) ?? "{}") ?? {};
		} catch {
			return {}; // Storage is turned off, or holds something else.
		}
	};
	let chosen = read();

	/** @param {string} tag @returns {keyof typeof LANGUAGES | undefined} */
	const known = (tag) => {
		const language = /** @type {keyof typeof LANGUAGES} */ (tag.split("-")[0].toLowerCase());
		return Object.hasOwn(LANGUAGES, language) ? language : undefined;
	};

	/** The tag of the language in which the page should be, with the region if the browser names one. */
	const wanted = () => {
		const tags = navigator.languages ?? [];
		if (!isTranslated) return tags.find((tag) => known(tag) === "en") ?? "en";
		const choice = known(chosen.language ?? "");
		return tags.find((tag) => (choice ? known(tag) === choice : known(tag))) ?? choice ?? "en";
	};

	const paint = () => {
		page.dataset.theme = chosen.theme ?? "";
		page.dataset.size = chosen.size ?? "";
	};

	/** @param {string} tag */
	const speak = (tag) => {
		page.lang = tag;
		page.dir = LANGUAGES[known(tag) ?? "en"].dir;
	};

	/** The address of the texts of a language. @param {string} language */
	const catalogue = (language) => new URL(`../languages/${language}.js`, own).href;

	let tag = wanted();
	paint();
	speak(tag);
	const language = known(tag) ?? "en";
	if (language !== "en") {
		// Texts are shown once they are translated. The modules that do so are loaded at the same time.
		page.dataset.untranslated = "";
		const link = Object.assign(document.createElement("link"), { rel: "modulepreload", href: catalogue(language) });
		document.head.append(link);
	}

	addEventListener("storage", ({ key }) => {
		if (key !== KEY && key !== null) return;
		chosen = read();
		paint();
		if (wanted() === tag) return;
		tag = wanted();
		// What somebody is writing in a dialog or an editor would be lost. Then the next visit is in the new language.
		if (!document.querySelector("dialog[open], .edit")) location.reload();
	});

	return {
		languages: LANGUAGES,
		/** Where the page's texts are; null: they are in the page itself. */
		catalogue: language === "en" ? null : catalogue(language),
		/** What was chosen; "": nothing. @param {LookName} name */
		get: (name) => chosen[name] ?? "",
		/**
		 * Returns whether the page has to be loaded again, because it is in another language.
		 *
		 * @param {LookName} name
		 * @param {string} value "": the browser decides
		 */
		set(name, value) {
			chosen = { ...chosen, [name]: value };
			paint();
			try {
				localStorage.setItem(KEY, JSON.stringify(chosen));
			} catch {
				return false; // Storage is turned off: a choice lasts until the page is left.
			}
			return wanted() !== tag;
		},
		/** The texts of the language could not be loaded. */
		speakEnglish: () => speak("en"),
	};
})();
