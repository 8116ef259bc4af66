/**
 * What happens outside of this tab: in other tabs, and when this one is hidden or shown again.
 *
 * @import { BrowserTabs } from "../base/browser-tabs.js"
 */

/**
 * @param {BrowserTabs} tabs
 * @param {AbortSignal} signal the thread was left
 * @param {object} thread
 * @param {() => string | null} thread.id
 * @param {() => Promise<void>} thread.refresh never fails
 * @param {(trigger: string | null) => void} thread.onAnswering another tab asks for an answer
 * @param {() => void} thread.onHidden
 * @param {() => void} thread.onLeaving the page is being left
 * @param {() => void} thread.onShown
 */
export const watchElsewhere = (tabs, signal, thread) => {
	tabs.listen(async (news) => {
		const id = thread.id();
		if (document.hidden || !id || !("conversationId" in news) || news.conversationId !== id) return;
		await thread.refresh();
		if (news.kind === "answering" && !signal.aborted) thread.onAnswering(news.trigger);
	}, signal);

	const onVisibilityChange = async () => {
		if (document.hidden) return thread.onHidden();
		await thread.refresh();
		if (!signal.aborted) thread.onShown();
	};
	document.addEventListener("visibilitychange", onVisibilityChange, { signal });
	addEventListener("pagehide", thread.onLeaving, { signal });
};
