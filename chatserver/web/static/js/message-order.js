/** Which messages are known, and in which order they are read. Nothing here touches the page. */

/** Every answer directly after the message it answers. @param {readonly Message[]} messages oldest first */
export function inReadingOrder(messages) {
  const known = new Set(messages.map((message) => message.id));
  /** @type {Map<string | null, Message[]>} */
  const answers = Map.groupBy(messages, ({ replyTo }) => (replyTo && known.has(replyTo) ? replyTo : null));
  return (answers.get(null) ?? []).flatMap((message) => [message, ...(answers.get(message.id) ?? [])]);
}

/**
 * Puts the newest page in the place of what was known of that stretch.
 *
 * @param {readonly Message[]} known oldest first
 * @param {readonly Message[]} page the newest ones, oldest first
 * @returns {{messages: Message[], isJoined: boolean}} `isJoined` when older ones than the page's stay; else it is the
 *   page's own cursor that leads to what came before
 */
export function mergeNewest(known, page) {
  const inPage = new Set(page.map((message) => message.id));
  const touches = known.some((message) => inPage.has(message.id));
  const older = known.filter(({ id, createdAt }) => touches && createdAt <= page[0].createdAt && !inPage.has(id));
  return { messages: [...older, ...page], isJoined: older.length > 0 };
}

/**
 * The message that an answer answers: what it says itself, or the last person's word before it.
 *
 * @param {readonly Message[]} messages in reading order
 * @param {Message} answer
 */
export function questionOf(messages, answer) {
  const before = messages.slice(0, messages.indexOf(answer));
  return messages.find(({ id }) => id === answer.replyTo) ?? before.findLast(({ role }) => role === "user");
}
