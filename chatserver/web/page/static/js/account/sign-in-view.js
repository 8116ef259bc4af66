/**
 * What is shown instead of the page until somebody signs in.
 *
 * @import { ApiClient } from "../server/api.js"
 * @import { Refusal } from "./sign-in.js"
 */

import { language, t } from "../base/language.js";
import { ApiError } from "../server/api.js";
import { button, element } from "../ui/dom.js";
import { describe, problem, sentence } from "../ui/feedback.js";

/** Longer waits are told in minutes. */
const MOST_SECONDS = 120;

/** @param {number} seconds */
function inWords(seconds) {
	const isLong = seconds > MOST_SECONDS;
	const unit = isLong ? "minute" : "second";
	const format = new Intl.NumberFormat(language(), { style: "unit", unit, unitDisplay: "long" });
	return format.format(isLong ? Math.ceil(seconds / 60) : seconds);
}

/** @param {string} title @param {...(Node | string)} content */
function show(title, ...content) {
	const brand = element("p", { class: "brand", translate: "no" }, "chatserver");
	const head = element("h1", {}, title);
	document.body.replaceChildren(element("main", { class: "sign-in" }, brand, head, ...content));
}

const ended = () => element("p", {}, t("Your session has ended. What you were writing is kept."));

/** @param {ApiClient} api */
function createForm(api) {
	const hint = element("p", { class: "hint", id: "token-hint" }, t("The person who runs this server gave it to you."));
	const input = element("input", {
		id: "token",
		type: "password",
		autocomplete: "current-password",
		"aria-describedby": hint.id,
		required: true,
		dir: "ltr",
	});
	const submit = element("button", { class: "button primary" }, t("Sign in"));
	const trouble = element("div");
	const label = element("label", { for: input.id }, t("Access token"));

	/** Says how long it takes until the server looks at a token again. @param {number} seconds */
	const wait = (seconds) => {
		const until = Date.now() + seconds * 1000;
		const text = () =>
			t("Too many attempts. Try again in {time}", { time: inWords(Math.ceil((until - Date.now()) / 1000)) });
		const box = problem(text());
		trouble.replaceChildren(box);
		const timer = setInterval(() => {
			// Screen readers have read it; the seconds are only for the eye.
			box.removeAttribute("role");
			if (Date.now() < until) return box.firstElementChild?.replaceChildren(sentence(text()));
			clearInterval(timer);
			trouble.replaceChildren();
			submit.disabled = false;
		}, 1000);
	};

	/** @param {unknown} error */
	const refuse = (error) => {
		const { status, retryAfterSeconds } = error instanceof ApiError ? error : { status: 0, retryAfterSeconds: 0 };
		input.focus();
		input.select();
		if (status === 429 && retryAfterSeconds) return wait(retryAfterSeconds);
		const text = t("This token is not accepted. It may be mistyped, expired or revoked");
		trouble.replaceChildren(problem(status === 401 ? text : describe(error)));
		submit.disabled = false;
	};

	return element(
		"form",
		{
			/** @param {SubmitEvent} event */
			async submit(event) {
				event.preventDefault();
				const token = input.value.trim();
				if (submit.disabled || !token) return;
				submit.disabled = true;
				trouble.replaceChildren();
				try {
					await api.signIn(token);
					input.value = "";
					location.reload();
				} catch (error) {
					refuse(error);
				}
			},
		},
		label,
		input,
		hint,
		trouble,
		submit,
	);
}

/** @param {ApiClient} api @param {Refusal} refusal */
export function showSignIn(api, { mode, name, hasEnded }) {
	const again = () => location.reload();
	if (name !== null) {
		const leave = () => api.signOut(false).finally(again);
		const text = t("{name}, you belong to no company here. The person who runs this server can change that.", { name });
		const action = mode === "authenticated" ? button(t("Sign out"), leave) : button(t("Retry"), again);
		show(t("No access"), element("p", { dir: "auto" }, text), action);
	} else if (mode === "authenticated") {
		show(t("Sign in"), ...(hasEnded ? [ended()] : []), createForm(api));
		document.getElementById("token")?.focus();
	} else {
		const elsewhere = element("p", {}, t("This server has you sign in elsewhere, before you come here."));
		const action = button(t("Sign in again"), again, "button primary");
		show(t("Sign in"), hasEnded ? ended() : elsewhere, action);
		action.focus();
	}
}
