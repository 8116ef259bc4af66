/**
 * A light reading of Markdown, for the end of an answer that grows: near enough to the server's that its HTML takes the
 * place of this without a jump. It makes no markup and no addresses: what it gives is built of elements and texts.
 *
 * @typedef {{ tag: string, attributes?: Record<string, string>, children: Part[] }} Box
 * @typedef {Box | string} Part
 * @typedef {{ start: number, part: Box }} Block `start`: where it begins in the text
 */

/** Longer paragraphs, and deeper ones, are shown without their inner marks. */
const INLINE_CHARACTERS = 10_000;
const DEEPEST = 8;

const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})(.*)$/;
const HEADING = /^ {0,3}(#{1,6})(?=[ \t]|$)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +|\t|$)/;
const QUOTE = /^ {0,3}> ?/;
const FORMULA = /^ {0,3}(\$\$|\\\[)/;
const DELIMITERS = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*(\|[ \t]*)?$/;
/** A last line that may still become anything: it is shown once more of it is there. */
const UNDECIDED = /^[ \t]*(?:[-*+_=#>`~|$\\:]{1,3}|\d{1,3}[.)])[ \t]*$/;

/** @param {string} line */
const isBlank = (line) => !line.trim();
/** @param {string} line */
const indentOf = (line) => line.length - line.trimStart().length;

/** Patterns that end with `$` look at a long end again and again. @param {string} text @param {string} marks */
const trimMarks = (text, marks) => {
	let end = text.length;
	while (end && marks.includes(text[end - 1])) end -= 1;
	return text.slice(0, end);
};

/** @param {string} tag @param {Part[]} children @param {Record<string, string>} [attributes] @returns {Box} */
const box = (tag, children, attributes) => ({ tag, children, attributes });

/** Whether a line ends the paragraph before it. @param {string} line */
const interrupts = (line) => {
	const item = ITEM.exec(line);
	if (item) return item[0].length < line.length && !/^\d/.test(item[2].replace(/^1[.)]$/, ""));
	return [FENCE, HEADING, RULE, QUOTE, FORMULA].some((pattern) => pattern.test(line));
};

/**
 * The blocks of a text that grows at its end.
 *
 * @param {string} text
 * @param {readonly number[]} headings the levels, as written, of the headings above the text
 * @returns {Block[]}
 */
export function outline(text, headings) {
	const above = [...headings];
	const lines = text.split("\n");
	const last = lines.at(-1) ?? "";
	if (lines.length > 1 && (UNDECIDED.test(last) || /^\d{1,3}$/.test(last))) lines[lines.length - 1] = "";
	else if (UNDECIDED.test(last)) return [];
	return blocksOf(lines, above, 0);
}

/** @param {string[]} lines @param {number[]} above @param {number} depth @returns {Block[]} */
function blocksOf(lines, above, depth) {
	/** @type {Block[]} */
	const blocks = [];
	let place = 0;
	let at = 0;
	while (at < lines.length) {
		if (isBlank(lines[at])) {
			place += lines[at].length + 1;
			at += 1;
			continue;
		}
		const [end, part] = readBlock(lines, at, above, depth);
		if (part) blocks.push({ start: place, part });
		for (; at < Math.min(end, lines.length); at += 1) place += lines[at].length + 1;
	}
	return blocks;
}

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number[]} above
 * @param {number} depth
 * @returns {[end: number, part: Box | null]}
 */
function readBlock(lines, at, above, depth) {
	const line = lines[at];
	const isEnd = (/** @type {number} */ end) => end >= lines.length;
	if (indentOf(line) >= 4) {
		let end = at + 1;
		while (end < lines.length && (isBlank(lines[end]) || indentOf(lines[end]) >= 4)) end += 1;
		while (isBlank(lines[end - 1])) end -= 1;
		return [end, code("", lines.slice(at, end).map((each) => each.slice(4)))];
	}
	const fence = FENCE.exec(line);
	if (fence && isEnd(at + 1)) return [at + 1, null]; // Its language is not complete.
	if (fence) {
		const [, mark, info] = fence;
		const isClosing = (/** @type {string} */ each) =>
			indentOf(each) < 4 && each.trim().length >= mark.length && !each.trim().replaceAll(mark[0], "");
		let end = at + 1;
		while (!isEnd(end) && !isClosing(lines[end])) end += 1;
		const indent = indentOf(line);
		const inside = lines.slice(at + 1, end).map((each) => each.slice(Math.min(indent, indentOf(each))));
		if (isEnd(end) && /^(`+|~+)?$/.test(inside.at(-1) ?? "x")) inside.pop();
		return [end + 1, code(/[\w+#.-]+/.exec(info)?.[0] ?? "", inside)];
	}
	const heading = HEADING.exec(line);
	if (heading) {
		const text = line.slice(heading[0].length).trim();
		const open = trimMarks(text, "#");
		const words = /[^ \t]$/.test(open) ? text : open.trimEnd(); // Marks may close it, too, after a space.
		return [at + 1, title(heading[1].length, words, above, isEnd(at + 1))];
	}
	if (RULE.test(line)) return [at + 1, box("hr", [])];
	if (QUOTE.test(line) && depth < DEEPEST) {
		let end = at + 1;
		while (!isEnd(end) && !isBlank(lines[end]) && (QUOTE.test(lines[end]) || !interrupts(lines[end]))) end += 1;
		const inside = lines.slice(at, end).map((each) => each.replace(QUOTE, ""));
		return [end, box("blockquote", blocksOf(inside, above, depth + 1).map(({ part }) => part))];
	}
	if (ITEM.test(line) && depth < DEEPEST) return readList(lines, at, above, depth);
	const isTable = /^ {0,3}\|/.test(line) || (line.includes("|") && DELIMITERS.test(lines[at + 1] ?? ""));
	if (isTable) return readTable(lines, at);
	const formula = FORMULA.exec(line);
	if (formula) {
		const closing = formula[1] === "$$" ? "$$" : "\\]";
		let end = at;
		let rest = line.slice(formula[0].length);
		while (!rest.trimEnd().endsWith(closing) && end + 1 < lines.length) rest = lines[(end += 1)];
		if (rest.trimEnd().endsWith(closing) || end - at < 40) return [end + 1, box("p", broken(lines.slice(at, end + 1)))];
	}
	let end = at + 1;
	while (!isEnd(end) && !isBlank(lines[end]) && !interrupts(lines[end]) && !UNDERLINE.test(lines[end])) end += 1;
	const written = lines.slice(at, end).map((each) => each.trim()).join("\n");
	const underline = UNDERLINE.exec(lines[end] ?? "");
	if (underline) return [end + 1, title(underline[1][0] === "=" ? 1 : 2, written, above, false)];
	return [end, box("p", inline(written, isEnd(end), 0))];
}

/** @param {string} language @param {string[]} lines */
const code = (language, lines) => {
	const text = lines.map((line) => `${line}\n`).join("");
	const inside = box("code", text ? [text] : [], language ? { class: `language-${language}` } : undefined);
	return box("pre", [inside]);
};

/**
 * A heading, numbered as the server does.
 *
 * @param {number} level
 * @param {string} text
 * @param {number[]} above
 * @param {boolean} grows
 */
const title = (level, text, above, grows) => {
	while (above.length && above[above.length - 1] >= level) above.pop();
	above.push(level);
	return box(`h${Math.min(6, 1 + above.length)}`, inline(text, grows, 0));
};

/** @param {string[]} lines @returns {Part[]} */
const broken = (lines) => lines.flatMap((line, index) => (index ? [box("br", []), line.trim()] : [line.trim()]));

/**
 * @param {string[]} lines
 * @param {number} at
 * @param {number[]} above
 * @param {number} depth
 * @returns {[number, Box]}
 */
function readList(lines, at, above, depth) {
	const kindOf = (/** @type {string} */ marker) => marker[marker.length - 1];
	const first = /** @type {RegExpExecArray} */ (ITEM.exec(lines[at]));
	/** @type {Block[][]} */
	const items = [];
	let isLoose = false;
	let end = at;
	for (;;) {
		const item = ITEM.exec(lines[end] ?? "");
		if (!item || kindOf(item[2]) !== kindOf(first[2]) || (end > at && RULE.test(lines[end]))) break;
		const space = item[3].length > 4 || !item[3] ? 1 : item[3].length;
		const width = item[1].length + item[2].length + space;
		const inside = [lines[end].slice(Math.min(width, lines[end].length))];
		let next = end + 1;
		for (; next < lines.length; next += 1) {
			const line = lines[next];
			const isInside = isBlank(line) || indentOf(line) >= width;
			// A line that only goes on with the paragraph above it.
			const isLazy = !isInside && !isBlank(lines[next - 1]) && !ITEM.test(line) && !interrupts(line);
			if (!isInside && !isLazy) break;
			inside.push(isInside ? line.slice(Math.min(width, line.length)) : line.trimStart());
		}
		const isSpaced = isBlank(inside[inside.length - 1]) && next < lines.length && indentOf(lines[next]) < width;
		const children = blocksOf(inside, above, depth + 1);
		const starts = new Set(children.slice(1).map(({ start }) => start));
		let place = 0;
		inside.forEach((line, index) => {
			if (index && starts.has(place) && isBlank(inside[index - 1])) isLoose = true;
			place += line.length + 1;
		});
		items.push(children);
		end = next;
		const following = ITEM.exec(lines[end] ?? "");
		if (isSpaced && following && kindOf(following[2]) === kindOf(first[2])) isLoose = true;
	}
	while (end > at + 1 && isBlank(lines[end - 1])) end -= 1;
	const parts = items.map((children) =>
		box("li", marked(children).flatMap((part) => (!isLoose && part.tag === "p" ? part.children : part))));
	const start = parseInt(first[2], 10);
	if (Number.isNaN(start)) return [end, box("ul", parts)];
	return [end, box("ol", parts, start === 1 ? undefined : { start: `${start}` })];
}

/** The blocks of an item, with the box of a task. @param {Block[]} blocks @returns {Box[]} */
const marked = (blocks) =>
	blocks.map(({ part }, index) => {
		const [words] = part.children;
		const task = !index && part.tag === "p" && typeof words === "string" && /^\[([ xX])\](?=\s)/.exec(words);
		if (!task) return part;
		/** @type {Record<string, string>} */
		const attributes = { type: "checkbox", disabled: "", ...(task[1] === " " ? {} : { checked: "" }) };
		return box("p", [box("input", [], attributes), words.slice(task[0].length), ...part.children.slice(1)]);
	});

/** @param {string} line */
const cellsOf = (line) =>
	line.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));

/** @param {string[]} lines @param {number} at @returns {[number, Box]} */
function readTable(lines, at) {
	let end = at + 1;
	while (end < lines.length && !isBlank(lines[end]) && !interrupts(lines[end])) end += 1;
	const [head, delimiters = "", ...rows] = lines.slice(at, end);
	const alignments = cellsOf(delimiters).map((cell) => ({
		align: cell.endsWith(":") ? (cell.startsWith(":") ? "center" : "right") : cell.startsWith(":") ? "left" : "",
	}));
	const columns = cellsOf(head).length;
	/** @param {string} tag @param {string} line */
	const row = (tag, line) => {
		const cells = cellsOf(line);
		return box("tr", Array.from({ length: columns }, (_, index) => {
			const { align } = alignments[index] ?? { align: "" };
			return box(tag, inline(cells[index] ?? "", false, 0), align ? { align } : undefined);
		}));
	};
	const body = rows.map((line) => row("td", line));
	return [end, box("table", [box("thead", [row("th", head)]), ...(body.length ? [box("tbody", body)] : [])])];
}

/** Where marks of several characters end. The first of each pair opens, the second closes. */
const MARKS = /** @type {const} */ ([["**", "strong"], ["__", "strong"], ["~~", "s"], ["*", "em"], ["_", "em"]]);
const TOKEN = /\\[\s\S]|`+|\*\*|__|~~|\*|_|!?\[|https?:\/\/[^\s<>"`|\\*]+|&(?:amp|lt|gt|quot|nbsp);|\n/g;
const LINK = /!?\[((?:[^\[\]\\\n]|\\.){1,1000})\]\(([^()\s]*(?:\([^()\s]*\)[^()\s]*)*)(?:\s+["'][^"'\n]*["'])?(\)|$)/y;
const ENTITIES = /** @type {Record<string, string>} */ ({ amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0" });

/**
 * What stands in a paragraph.
 *
 * @param {string} text
 * @param {boolean} grows marks that are open at the end may be closed by what comes
 * @param {number} depth
 * @returns {Part[]}
 */
function inline(text, grows, depth) {
	if (text.length > INLINE_CHARACTERS || depth > DEEPEST) return broken(text.split("\n"));
	/** @type {Part[]} */
	const parts = [];
	let words = "";
	const put = (/** @type {Part} */ part) => {
		if (words) parts.push(words);
		words = "";
		parts.push(part);
	};
	/** Marks that are not in the rest of the text. @type {Set<string>} */
	const missing = new Set();
	const find = (/** @type {string} */ mark, /** @type {number} */ from) => {
		if (missing.has(mark)) return -1;
		const found = text.indexOf(mark, from);
		if (found < 0) missing.add(mark);
		return found;
	};
	let at = 0;
	for (;;) {
		TOKEN.lastIndex = at;
		const found = TOKEN.exec(text);
		words += text.slice(at, found?.index);
		if (!found) break;
		const [token] = found;
		const start = found.index;
		at = start + token.length;
		if (token === "\n") put(box("br", []));
		else if (token[0] === "\\") words += /[!-/:-@[-`{-~]/.test(token[1]) && !"([)]".includes(token[1]) ? token[1] : token;
		else if (token[0] === "&") words += ENTITIES[token.slice(1, -1)];
		else if (token[0] === "h") {
			const address = trimMarks(token, ".,:;!?'_~)]");
			put(box("a", [address]));
			words = token.slice(address.length);
		} else if (token[0] === "`") {
			let end = find(token, at);
			while (end >= 0 && text[end + token.length] === "`") {
				while (text[end] === "`") end += 1;
				end = find(token, end);
			}
			const inside = text.slice(at, end < 0 ? undefined : end);
			if (end < 0 && !(grows && inside)) words += token;
			else {
				put(box("code", [inside.replaceAll("\n", " ").replace(/^ (?=.*\S)(.*) $/, "$1")]));
				at = end < 0 ? text.length : end + token.length;
			}
		} else if (token.endsWith("[")) {
			LINK.lastIndex = start;
			const link = LINK.exec(text);
			if (link && (link[3] || grows)) {
				put(box("a", inline(link[1], false, depth + 1)));
				at = LINK.lastIndex;
			} else words += token;
		} else {
			const [mark, tag] = MARKS.find(([each]) => each === token) ?? ["", ""];
			const isInWord = /\w/.test(text[start - 1] ?? "");
			let end = find(mark, at + 1);
			// A single mark is not one half of a double one, and a closing one has no space before it.
			while (end >= 0 && (/\s/.test(text[end - 1]) || (mark.length === 1 && text[end + 1] === mark))) {
				end = find(mark, end + (text[end + 1] === mark ? 2 : 1));
			}
			const opens = at < text.length && !/\s/.test(text[at]) && !(mark[0] === "_" && isInWord);
			if (!opens || (end < 0 && (!grows || isInWord))) words += grows && at === text.length ? "" : token;
			else {
				put(box(tag, inline(text.slice(at, end < 0 ? undefined : end), grows && end < 0, depth + 1)));
				at = end < 0 ? text.length : end + mark.length;
			}
		}
	}
	if (words) parts.push(words);
	return parts;
}
