"""Joined modules in a browser: they do what they do one by one."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route

from chatserver.web.page.bundles import joined

pytestmark = pytest.mark.browser

FILES = {
    "index.html": '<!doctype html><title>modules</title><script type="module" src="/static/js/main.js"></script>',
    "js/main.js": """import {
add,
said as heard,
} from "./log/log.js";
import "./side/effect.js";
import { Counter, later } from "./things.js";
add("main");
async function start() {
const { answer, anew } = await later();
add(answer(new Counter().next()));
add(`${await anew()}`);
add(`${(await later()).answer === answer}`);
add(import.meta.resolve("../icon.svg"));
add(import.meta.resolve("./main.css"));
window.said = heard;
}
void start();
""",
    "js/log/log.js": """export const said = [];
export function add(text) {
said.push(text.replace(location.origin, ""));
}
""",
    "js/side/effect.js": 'import { add } from "../log/log.js";\nadd("effect"); // no line follows',
    "js/things.js": """import { add } from "./log/log.js";
add("things");
export class Counter {
count = 40;
next() {
return this.count += 2;
}
}
export const later = () => import("./more/later.js");
""",
    "js/more/later.js": """import { add } from "../log/log.js";
import { whole } from "./whole.js";
export const answer = (number) => `${whole} ${number}`;
export async function anew() {
return (await import("../latest.js")).latest;
}
add("later");
const name = "name";
add(import.meta.resolve(`../../img/${name}.svg`));
""",
    "js/more/whole.js": 'import { add } from "../log/log.js";\nadd("whole");\nexport const whole = "is";\n',
    "js/latest.js": 'import { whole } from "./more/whole.js";\nexport const latest = `at last it ${whole}`;\n',
}
SAID = [
    "effect",
    "things",
    "main",
    "whole",
    "later",
    "/static/img/name.svg",
    "is 42",
    "at last it is",
    "true",
    "/static/icon.svg",
    "/static/js/main.css",
]


@pytest.mark.parametrize("are_joined", [False, True], ids=["one by one", "joined"])
def test_modules_do_the_same_one_by_one_and_joined(page: Page, *, are_joined: bool) -> None:
    files = {name: text.encode() for name, text in FILES.items()}
    if are_joined:
        files, _ = joined(files, ["index.html"])
    asked = []

    def serve(route: Route) -> None:
        name = route.request.url.partition("/static/")[2] or "index.html"
        asked.append(name)
        route.fulfill(body=files[name], content_type="text/javascript" if name.endswith(".js") else "text/html")

    page.route("http://modules.test/**", serve)
    page.goto("http://modules.test/")
    page.wait_for_function("() => window.said?.length === 11")
    assert page.evaluate("window.said") == SAID
    assert len(asked) == (3 if are_joined else 8)
