/**
 * What the server's refusals and failed answers mean, in the page's language. The server's own words are English; a
 * page in English shows them, because they say more.
 */

import { isEnglish, t } from "../base/language.js";

/** @param {number} status of the response @param {unknown} error the server's words */
export function refusalText(status, error) {
	if (isEnglish() && typeof error === "string") return error;
	if (status === 401) return t("Sign in first");
	if (status === 403) return t("This is not allowed");
	if (status === 404) return t("This does not exist, or was deleted");
	if (status === 409) return t("This does not fit what has happened meanwhile");
	if (status === 413) return t("This is too long");
	if (status === 422) return t("The server does not accept this");
	if (status === 429) return t("Too much at once. Try again in a moment");
	if (status === 503) return t("The server is busy. Try again in a moment");
	return t("The server answered {status}", { status: `${status}` });
}

/** @param {{ code?: string, error: string }} failure why there is no answer; without a code the page itself says so */
export function failureText({ code, error }) {
	if (isEnglish()) return error;
	if (code === "rate_limited") return t("The model has too much to do");
	if (code === "unauthorized") return t("The model does not accept the key");
	if (code === "unavailable") return t("The model cannot be reached");
	if (code === "timeout") return t("The model took too long");
	if (code === "interrupted") return t("The answer was interrupted");
	if (code === "bad_response") return t("The model’s answer cannot be read");
	if (code === "refused") return t("The model does not accept the request");
	if (code === "prompt_too_long") return t("The conversation is too long for the model");
	if (code === "answer_too_long") return t("The answer became too long");
	if (code === "internal") return t("Something went wrong on the server");
	return error;
}
