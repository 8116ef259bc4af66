/**
 * What people can do with one message of a conversation.
 *
 * @import { Agents } from "../company/agents.js"
 * @import { Bookmarks } from "../company/bookmarks.js"
 * @import { MessageActions } from "../message/message-view.js"
 * @import { VersionPager } from "../message/version-pager.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { Message } from "../server/resources.js"
 * @import { Announce } from "../ui/feedback.js"
 * @import { Composer } from "./composer.js"
 * @import { MessageStore } from "./message-store.js"
 * @import { Transcript } from "./transcript.js"
 */

import { t } from "../base/language.js";
import { ApiError } from "../server/api.js";
import { effectiveContent } from "../server/resources.js";
import { onDemand } from "../ui/on-demand.js";

const loadEditor = onDemand(() => import("../message/message-editor.js"));
const loadAgentMenu = onDemand(() => import("../message/agent-menu.js"));

/** Another tab can have been quicker: then the message is not superseded any more. @param {unknown} error */
const unlessDone = (error) => {
	if (!(error instanceof ApiError && error.status === 404)) throw error;
};

/**
 * @param {object} context
 * @param {ApiClient} context.api
 * @param {string} context.companyId
 * @param {Transcript} context.transcript
 * @param {Composer} context.composer
 * @param {Agents} context.agents
 * @param {Bookmarks} context.bookmarks
 * @param {Announce} context.announce
 * @param {MessageStore} known
 * @param {object} thread
 * @param {(name: string, task: (conversationId: string) => Promise<void>) => Promise<void>} thread.attempt runs a task,
 *   unless one of that name is under way, and shows its error
 * @param {() => boolean} thread.isAnswering
 * @param {(message: Message) => void} thread.askAnew everything after the message was superseded
 * @param {(trigger: string) => string | null} thread.agentFor the agent that answers this message
 * @param {(agentId: string | null) => Promise<void>} thread.setAgent of the conversation
 * @param {(content: string, agentId: string | null) => void} thread.send
 * @param {() => Promise<void>} thread.refresh shows what this tab has changed at the server, and tells others
 * @param {(messageId: string) => Promise<Message | undefined>} thread.loadBackTo
 * @param {(message: Message) => VersionPager} thread.pagerOf
 * @param {(text: string) => void} thread.onLost edited text could not be saved
 * @param {(branch: Api.Conversation) => void} thread.onBranched
 */
export const createMessageActions = (context, known, thread) => {
	const { api, companyId, transcript, composer, agents, bookmarks, announce } = context;

	/** For what comes next. Before anything is awaited: after that, another conversation can be open. */
	const goOn = () => {
		transcript.goToEnd();
		composer.focus();
	};

	/** Has a question answered anew. @param {string} conversationId @param {Message} question */
	const answerAnew = async (conversationId, question) => {
		await api.rewind(conversationId, question.id);
		thread.askAnew(question);
	};

	/** Who can answer a message instead; null: nobody, who stands for the default. @param {string | null} agentId */
	const othersThan = (agentId) => [null, ...agents.all().map(([id]) => id)].filter((id) => id !== agentId);

	/** @param {Message} question @param {string | null} agentId */
	const answerWith = (question, agentId) =>
		thread.attempt(`regenerate ${question.id}`, async (id) => {
			goOn();
			// A message that names its agent is answered by no other one: so it is asked once more.
			if (question.agentId) return void thread.send(effectiveContent(question), agentId);
			await thread.setAgent(agentId);
			await answerAnew(id, question);
		});

	/** @param {Message} question @param {string | null} agentId who has answered @param {HTMLElement} opener */
	const chooseAgent = (question, agentId, opener) =>
		thread.attempt(`agents ${question.id}`, async () => {
			const { openAgentMenu } = await loadAgentMenu();
			if (!opener.isConnected) return;
			// A message that names its agent cannot be asked again without one.
			const ids = othersThan(agentId).filter((id) => id !== null || !question.agentId);
			const choice = { ids, isOnce: question.agentId !== null };
			openAgentMenu(opener, agents, choice, {
				onChoose: (id) => answerWith(question, id),
				onOrphaned: composer.focus,
			});
		});

	return {
		announce,
		/** @type {MessageActions["render"]} */
		render: async (text, headings, signal) => (await api.render(companyId, { text, headings }, signal)).blocks,
		/** @type {MessageActions["onEdit"]} */
		onEdit: (message, open) =>
			thread.attempt(`edit ${message.id}`, async () => open((await loadEditor()).editMessage)),
		/** @type {MessageActions["onSave"]} */
		async onSave({ id, conversationId }, text) {
			if (thread.isAnswering()) await api.stop(conversationId);
			const edited = await api.editMessage(conversationId, id, text);
			await api.rewind(conversationId, id);
			thread.askAnew(edited);
		},
		onLost: thread.onLost,
		/** @type {MessageActions["onRegenerate"]} */
		onRegenerate: (answer) =>
			thread.attempt(`regenerate ${answer.id}`, async (id) => {
				const question = known.questionOf(answer);
				if (!question) return;
				goOn();
				await answerAnew(id, question);
			}),
		/** @param {string | null} agentId who has answered */
		hasOthersThan: (agentId) => othersThan(agentId).length > 0,
		/** @type {MessageActions["onOtherAgent"]} */
		onOtherAgent(answer, opener) {
			const question = known.questionOf(answer);
			if (question) void chooseAgent(question, answer.agentId, opener);
		},
		/** There is no answer to the message. @param {string} id @param {HTMLElement} opener */
		onOtherAgentFor(id, opener) {
			const question = known.find(id);
			if (question) void chooseAgent(question, thread.agentFor(id), opener);
		},
		onContinue() {
			composer.focus();
			thread.send(t("Continue."), null);
		},
		/** @type {MessageActions["onLeaf"]} */
		onLeaf: (_, { answerId, direction, pager }) =>
			thread.attempt("leaf", async (id) => {
				const hold = transcript.hold(pager.element);
				const restored = await api.restore(id, answerId).catch(unlessDone).finally(thread.refresh);
				// What follows it can be longer than what was loaded anew.
				const answer = restored ? await thread.loadBackTo(answerId) : known.find(answerId);
				if (!answer) return;
				const shown = thread.pagerOf(answer);
				if (!shown.element.isConnected) return; // Another conversation is open by now.
				hold(shown.element);
				shown.focus(direction);
				announce(shown.element.ariaLabel ?? "");
			}),
		/** @type {MessageActions["onBranch"]} */
		onBranch: (message) =>
			thread.attempt(`branch ${message.id}`, async (id) => thread.onBranched(await api.branch(id, message.id))),
		/** @type {MessageActions["onBookmark"]} */
		onBookmark: (message) => thread.attempt(`bookmark ${message.id}`, () => bookmarks.toggle(message)),
	};
};
