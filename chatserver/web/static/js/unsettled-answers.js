/**
 * The answers of one conversation that are in the making, or did not come; each by the message it answers (null where
 * there is none).
 */

import { followAnswer } from "./answer-follower.js";
import { button, element } from "./dom.js";
import { problem } from "./feedback.js";

/**
 * `follower` is null while the tab is hidden: hidden tabs hold no connection.
 *
 * @typedef {{view: MessageView, follower: ReturnType<FollowAnswer> | null, progress: Progress | null}} Run
 */

/** @type {CreateUnsettledAnswers} */
export const createUnsettledAnswers = (surroundings, handlers) => {
  const { api, setConnection } = surroundings;
  /** @type {Map<string | null, Run>} */
  const runs = new Map();
  /** What stands in the place of an answer that is not there. @type {Map<string | null, HTMLElement>} */
  const missing = new Map();

  /** @param {string | null} trigger */
  const settle = (trigger) => {
    const run = runs.get(trigger);
    if (!run) return undefined;
    run.follower?.close();
    runs.delete(trigger);
    setConnection("stream", true);
    return run.view;
  };

  /** @type {UnsettledAnswers["noteUnanswered"]} */
  const noteUnanswered = (conversationId, trigger, text) => {
    if (missing.has(trigger)) return;
    const retry = button("Retry", () => follow(conversationId, trigger, { starts: true }));
    missing.set(trigger, element("div", { class: "box unanswered" }, element("p", {}, text), retry));
  };

  /** @param {string} conversationId @param {string | null} trigger @param {Run} run @param {boolean} starts */
  const open = (conversationId, trigger, { view, progress }, starts) => {
    /** @param {string} text */
    const fail = (text) => {
      missing.set(trigger, problem(text, () => follow(conversationId, trigger, { starts: true })));
      handlers.onChange();
    };
    return followAnswer(surroundings, { conversationId, trigger, starts, progress }, {
      onProgress: view.showProgress,
      onConnection: (connected) => setConnection("stream", connected),
      onGone() {
        settle(trigger);
        handlers.onStale();
      },
      onRefused(error) {
        settle(trigger);
        if (error.status !== 404) fail(error.message);
        handlers.onStale();
      },
      onEnd(end, { content }) {
        settle(trigger);
        if (end.type === "error") fail(end.error);
        else if (end.messageId) {
          const status = end.type === "done" ? "completed" : "stopped";
          handlers.onAnswer({ id: end.messageId, replyTo: trigger, content, status }, view);
        } else {
          noteUnanswered(conversationId, trigger, "Stopped before there was an answer.");
          handlers.onChange();
        }
        handlers.onStale();
      },
    });
  };

  /** @type {UnsettledAnswers["follow"]} */
  const follow = (conversationId, trigger, { starts }) => {
    let run = runs.get(trigger);
    if (!run) {
      run = { view: handlers.createView(trigger), follower: null, progress: null };
      run.view.showProgress({ content: "", reasoning: "", lastEventId: null });
      runs.set(trigger, run);
      missing.delete(trigger);
      handlers.onChange();
    }
    if (run.follower) return;
    if (!document.hidden) run.follower = open(conversationId, trigger, run, starts);
    else if (starts) api.probeStream(api.streamUrl(conversationId, trigger, null)).catch(() => {});
  };

  /** @type {UnsettledAnswers["elementFor"]} */
  const elementFor = (trigger) => runs.get(trigger)?.view.element ?? missing.get(trigger);

  return {
    follow,
    settle,
    elementFor,
    noteUnanswered,
    isAnswering: () => runs.size > 0,
    isFollowing: (trigger) => runs.has(trigger),
    suspend() {
      for (const run of runs.values()) {
        const progress = run.follower?.progress();
        run.follower?.close();
        run.follower = null;
        run.progress = progress?.lastEventId ? progress : null;
      }
    },
    resume(conversationId) {
      for (const trigger of [...runs.keys()]) follow(conversationId, trigger, { starts: false });
    },
    forget() {
      for (const trigger of [...runs.keys()]) settle(trigger);
    },
    keepMissing(trigger) {
      for (const key of missing.keys()) if (key !== trigger) missing.delete(key);
    },
    elementsBut: (known) =>
      [...runs.keys(), ...missing.keys()].flatMap((trigger) => (!known.has(trigger) && elementFor(trigger)) || []),
  };
};
