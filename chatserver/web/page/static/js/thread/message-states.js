/**
 * What the messages of a conversation are to each other: who answers what, which is the newest, which have versions.
 *
 * @import { Version } from "../message/version-pager.js"
 * @import { Message } from "../server/resources.js"
 * @import { MessageStore } from "./message-store.js"
 *
 * @typedef {object} PlacedMessage
 * @property {Message} message
 * @property {boolean} isLast of those that do not wait
 * @property {boolean} isUnanswered a user message that no answer follows, and that does not wait for its turn
 * @property {boolean} canRegenerate
 * @property {Version | null} version
 */

/**
 * @param {readonly Api.FormerAnswer[]} former the superseded answers to one message, oldest first
 * @param {Message | null} answer the one that is shown; null: there is none, which is the newest version
 * @param {boolean} canLeaf
 * @returns {Version}
 */
function versionAmong(former, answer, canLeaf) {
	const before = answer ? former.filter(({ createdAt }) => createdAt < answer.createdAt) : former;
	return {
		number: before.length + 1,
		count: former.length + 1,
		previous: before.at(-1)?.id ?? null,
		next: former[before.length]?.id ?? null,
		canLeaf,
	};
}

/**
 * Returns the messages in reading order.
 *
 * @param {MessageStore} known
 * @param {object} now
 * @param {boolean} now.isQuiet whether no answer is being generated, and no message sent
 * @param {(message: Message) => boolean} now.isWaiting whether its answer is generated after others
 * @returns {PlacedMessage[]}
 */
export function placeMessages(known, { isQuiet, isWaiting }) {
	const ordered = known.inReadingOrder();
	const waiting = new Set(ordered.filter(isWaiting));
	const last = ordered.findLast((message) => !waiting.has(message));
	/** The user message before. @type {Message | null} */
	let question = null;
	return ordered.map((message, index) => {
		const isAnswer = message.role === "assistant";
		if (message.role === "user") question = message;
		const next = ordered[index + 1];
		const answer = isAnswer ? message : next?.role === "assistant" ? next : null;
		const isUnanswered = message.role === "user" && !answer && !waiting.has(message);
		const isNewest = message === last && isQuiet && !waiting.size;
		const canRegenerate = isNewest && isAnswer && Boolean(known.questionOf(message));
		// A question whose new answer failed has no other place for it.
		const isLeafed = isAnswer || (isUnanswered && isQuiet);
		// Messages that were imported do not say what they answer.
		const isAnsweredHere = !message.replyTo || message.replyTo === question?.id;
		const former = (isLeafed && isAnsweredHere && question?.formerAnswers) || [];
		const version = former.length ? versionAmong(former, answer, isQuiet && !waiting.size) : null;
		return { message, isLast: message === last, isUnanswered, canRegenerate, version };
	});
}
