/**
 * Who is here, and what they may do in the company that is shown: all other parts of the page ask here. The server
 * decides; this only keeps the page from offering what would be refused.
 *
 * @typedef {ReturnType<typeof createMe>} Me
 */

/** @param {Api.Session} session @param {string} companyId shown now */
export const createMe = ({ mode, actor, companies }, companyId) => {
	/** The server tells none where everyone may all. */
	const role = companies.find(({ id }) => id === companyId)?.role ?? "manager";
	const name = mode === "local_trusted" ? null : (actor?.name ?? null);
	const canWrite = role !== "reader";
	const canManage = role === "manager";

	/** @param {Pick<Api.ChatMessage, "role" | "author">} message */
	const isMine = ({ role, author }) => role === "user" && (author?.name ?? null) === name;

	return {
		role,
		/** Null: nobody is signed in. */
		name,
		/** Write, ask, stop, and change conversations. Without it, somebody can read all, and follow answers. */
		canWrite,
		/** Make and change agents. */
		canManage,
		isMine,
		/** Whether a message can be edited or erased. @param {Api.ChatMessage} message */
		canChange: (message) => message.role === "user" && canWrite && (canManage || (name !== null && isMine(message))),
		/**
		 * The name of another person who wrote a message; "": it is one's own, or nobody knows.
		 *
		 * @param {Api.ChatMessage} message
		 */
		otherName: (message) => (message.role === "user" && !isMine(message) && message.author?.name) || "",
	};
};
