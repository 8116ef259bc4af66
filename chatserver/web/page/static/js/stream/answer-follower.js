/**
 * Follows one answer while it is generated, whichever tab of the browser reads it from the server.
 *
 * @import { BrowserTabs, News, Progress } from "../base/browser-tabs.js"
 * @import { ApiClient } from "../server/api.js"
 * @import { EndEvent, StreamHandlers } from "./answer-stream.js"
 *
 * @typedef {Omit<StreamHandlers, "onEvent"> & {
 *   onProgress: (progress: Progress) => void,
 *   onEnd: (end: EndEvent, progress: Progress) => void,
 * }} FollowerHandlers
 */

import { ApiError } from "../server/api.js";
import { isEnd, openStream } from "./answer-stream.js";

/**
 * Follows the answer until its end or until `close`. No handler is called after that.
 *
 * @param {{ api: ApiClient, tabs: BrowserTabs }} page
 * @param {object} answer
 * @param {string} answer.conversationId
 * @param {string | null} answer.trigger the message that is answered
 * @param {boolean} answer.starts whether asking may start the answer; otherwise it must be under way already
 * @param {Progress | null} answer.progress where to resume
 * @param {FollowerHandlers} handlers
 */
export const followAnswer = ({ api, tabs }, { conversationId, trigger, starts, progress }, handlers) => {
	const answer = `${conversationId}/${trigger ?? ""}`;
	const abort = new AbortController();
	const { signal } = abort;
	let now = progress ?? { content: "", reasoning: "", lastEventId: null };
	let isSynced = progress !== null;
	/** Whether other tabs follow this answer, too: telling them of each event costs as much as showing it. */
	let isHeard = false;
	/** @type {{close(): void} | null} */
	let stream = null;
	/** @type {(value?: unknown) => void} */
	let release = () => {};

	const close = () => {
		abort.abort();
		stream?.close();
		release();
	};

	/** Stops following. @param {() => void} last calls the last handler */
	const leaveWith = (last) => {
		if (signal.aborted) return;
		close();
		last();
	};

	/** @param {News} news */
	const tell = (news) => tabs.canShare && tabs.tell(news);

	/** @param {Api.StreamEvent} event @param {string} lastEventId */
	const take = (event, lastEventId) => {
		const { content, reasoning } = now;
		if (event.type === "token") now = { content: content + event.content, reasoning, lastEventId };
		else if (event.type === "reasoning") now = { content, reasoning: reasoning + event.content, lastEventId };
		else if (event.type === "reset") now = { content: "", reasoning: "", lastEventId };
		else {
			leaveWith(() => handlers.onEnd(event, now));
			return;
		}
		handlers.onProgress(now);
	};

	/** @param {News} news */
	const hear = (news) => {
		if (!("answer" in news) || news.answer !== answer) return;
		if (news.kind === "asked") {
			isHeard = true;
			// The tab that reads the answer knows more than the others.
			if (stream) tell({ kind: "progress", answer, progress: now });
		} else if (stream) return;
		else if (news.kind === "answering") tell({ kind: "asked", answer });
		else if (news.kind === "progress") {
			isSynced = true;
			now = news.progress;
			handlers.onProgress(now);
		} else if (news.kind === "event" && (isSynced || isEnd(news.event))) take(news.event, news.id);
	};

	/**
	 * A request without a last event id generates an answer anew that was stopped or failed. Only the tab in which
	 * somebody wants that may send it. The other tabs look first whether the answer is still being generated.
	 */
	const mayAsk = async () => {
		if (starts || now.lastEventId) return true;
		try {
			const { activeRun } = await api.getConversation(conversationId, signal);
			if (activeRun && activeRun.triggerMessageId === trigger) return true;
			leaveWith(handlers.onGone);
		} catch (error) {
			if (error instanceof ApiError) leaveWith(handlers.onGone);
		}
		return false;
	};

	const lead = async () => {
		if (!(await mayAsk()) || signal.aborted) return;
		tell({ kind: "answering", answer, conversationId, trigger });
		await new Promise((resolve) => {
			release = resolve;
			stream = openStream(api, { conversationId, trigger }, now.lastEventId, {
				onConnection: handlers.onConnection,
				onGone: () => leaveWith(handlers.onGone),
				onRefused: (error) => leaveWith(() => handlers.onRefused(error)),
				onEvent: (event, id) => {
					if (isHeard || isEnd(event)) tell({ kind: "event", answer, event, id });
					take(event, id);
				},
			});
		});
	};

	if (tabs.canShare) tabs.listen(hear, signal);
	tell({ kind: "asked", answer });
	void tabs.whenLeading(answer, signal, lead);
	return { close, progress: () => now };
};
