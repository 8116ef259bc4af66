/**
 * What people can do with one message of a conversation.
 *
 * @import { Bookmarks } from "../company/bookmarks.js"
 * @import { MessageActions } from "../message/message-view.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 * @import { Announce } from "../ui/feedback.js"
 * @import { Composer } from "./composer.js"
 * @import { MessageStore } from "./message-store.js"
 * @import { Transcript } from "./transcript.js"
 */

import { onDemand } from "../ui/on-demand.js";

const loadEditor = onDemand(() => import("../message/message-editor.js"));

/**
 * @param {object} context
 * @param {ApiClient} context.api
 * @param {string} context.companyId
 * @param {Transcript} context.transcript
 * @param {Composer} context.composer
 * @param {Bookmarks} context.bookmarks
 * @param {Announce} context.announce
 * @param {MessageStore} known
 * @param {object} thread
 * @param {(name: string, task: (conversationId: string) => Promise<void>) => Promise<void>} thread.attempt runs a task,
 *   unless one of that name is under way, and shows its error
 * @param {() => boolean} thread.isAnswering
 * @param {(message: Message) => void} thread.askAnew everything after the message was superseded
 * @param {(text: string) => void} thread.onLost edited text could not be saved
 * @param {(branch: Api.Conversation) => void} thread.onBranched
 * @returns {MessageActions}
 */
export const createMessageActions = ({ api, companyId, transcript, composer, bookmarks, announce }, known, thread) => ({
	announce,
	render: async (text, headings, signal) => (await api.render(companyId, { text, headings }, signal)).blocks,
	onEdit: (message, open) =>
		thread.attempt(`edit ${message.id}`, async () => open((await loadEditor()).editMessage)),
	async onSave({ id, conversationId }, text) {
		transcript.goToEnd();
		if (thread.isAnswering()) await api.stop(conversationId);
		const edited = await api.editMessage(conversationId, id, text);
		await api.rewind(conversationId, id);
		thread.askAnew(edited);
	},
	onLost: thread.onLost,
	onRegenerate: (answer) =>
		thread.attempt(`regenerate ${answer.id}`, async (id) => {
			const question = known.questionOf(answer);
			if (!question) return;
			transcript.goToEnd();
			composer.focus();
			await api.rewind(id, question.id);
			thread.askAnew(question);
		}),
	onBranch: (message) =>
		thread.attempt(`branch ${message.id}`, async (id) => thread.onBranched(await api.branch(id, message.id))),
	onBookmark: (message) => thread.attempt(`bookmark ${message.id}`, () => bookmarks.toggle(message)),
});
