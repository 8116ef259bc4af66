/**
 * Shows the messages of a conversation, and below them what belongs to each: nothing here changes what is known.
 *
 * @import { Me } from "../account/me.js"
 * @import { Composer } from "./composer.js"
 * @import { createMessageActions } from "./message-actions.js"
 * @import { PlacedMessage } from "./message-states.js"
 * @import { MessageStore } from "./message-store.js"
 * @import { createMessageViews } from "./message-views.js"
 * @import { createOutbox } from "./outbox.js"
 * @import { createPendingAnswers } from "./pending-answers.js"
 * @import { Transcript } from "./transcript.js"
 * @import { createWaitingMessages } from "./waiting-messages.js"
 */

import { createEchoNote } from "./echo-note.js";

/**
 * @param {Parameters<typeof createEchoNote>[0] & { me: Me, transcript: Transcript, composer: Composer }} context
 * @param {MessageStore} known
 * @param {object} thread
 * @param {ReturnType<typeof createMessageActions>} thread.actions
 * @param {ReturnType<typeof createMessageViews>} thread.views
 * @param {ReturnType<typeof createWaitingMessages>} thread.waiting
 * @param {ReturnType<typeof createPendingAnswers>} thread.answers
 * @param {ReturnType<typeof createOutbox>} thread.outbox
 */
export const createPainting = (context, known, { actions, views, waiting, answers, outbox }) => {
	const { me, transcript, composer } = context;
	const echoNote = createEchoNote(context);

	/** @param {readonly PlacedMessage[]} placed @param {boolean} isQuiet whether nothing is under way */
	return (placed, isQuiet) => {
		const ids = new Set(placed.map(({ message }) => message.id));
		const firstAnswer = known.olderCursor() ? null : placed.find(({ message }) => message.role === "assistant")?.message;
		const gap = known.gap();
		const shown = gap ? placed.slice(0, placed.findIndex(({ message }) => message.id === gap) + 1) : placed;
		const elements = shown.flatMap(({ message, isLast, ...placed }) => {
			const canRegenerate = placed.canRegenerate && me.canWrite;
			// Leafing changes what everybody sees.
			const version = me.canWrite ? placed.version : null;
			const hasOtherAgents = canRegenerate && actions.hasOthersThan(message.agentId);
			const state = { isNewest: isLast && isQuiet, canRegenerate, hasOtherAgents, version };
			const below = waiting.elementFor(message) ?? answers.elementsFor(message.id);
			const note = message === firstAnswer && me.canWrite ? echoNote.under(message) : [];
			return [views.update(message, state), ...note, below].flat();
		});
		transcript.show([...elements, ...(gap ? [transcript.gap] : [...outbox.elements(), ...answers.elementsBut(ids)])]);
		composer.setAnswering(answers.isAnswering() || waiting.isGoingOn());
		views.keepOnly(ids);
	};
};
