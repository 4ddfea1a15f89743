"""JavaScript and TypeScript: definitions and imports."""

from __future__ import annotations

from retrieval import languages
from retrieval.syntax import outlines
from tests.retrieval.checking import check

SOURCE = """
/** The box. And more. */
export default class Box<T> extends Base implements Lid {
  private size: number = 3;
  constructor(readonly label: string) { super() }
  async open(how: string): Promise<void> {}
}
// Adds up.
export const add = async (a: number): Promise<number> => { return a };
export interface Shape extends Thing { area: number; scale(by: number): void }
type Point = { x: number };
enum Colour { Red, Green = 2 }
export namespace Deep { export function dive() {} }
const LIMIT = 3;
"""


def test_signatures_docs_and_parents_are_read() -> None:
    outline = outlines.read(SOURCE, languages.LANGUAGES["typescript"])
    assert [(d.path, d.kind, d.signature, d.doc) for d in outline.definitions] == [
        ("Box", "class", "class Box<T> extends Base implements Lid", "The box."),
        ("Box.size", "field", "private size: number", None),
        ("Box.constructor", "method", "constructor(readonly label: string)", None),
        ("Box.open", "method", "async open(how: string): Promise<void>", None),
        ("add", "function", "add = async (a: number): Promise<number> =>", "Adds up."),
        ("Shape", "interface", "interface Shape extends Thing", None),
        ("Shape.area", "field", "area: number", None),
        ("Shape.scale", "method", "scale(by: number): void", None),
        ("Point", "type", "type Point = { x: number }", None),
        ("Colour", "enum", "enum Colour", None),
        ("Colour.Red", "field", "Red", None),
        ("Colour.Green", "field", "Green = 2", None),
        ("Deep", "namespace", "namespace Deep", None),
        ("Deep.dive", "function", "function dive()", None),
        ("LIMIT", "constant", "LIMIT = 3", None),
    ]


def test_named_default_and_namespace_imports_resolve() -> None:
    check(
        """
        === src/a.ts
        export default class Main {}
        export const one = () => 1;
        === src/b/index.js
        export function two() {}
        === src/c.tsx
        import Start, { one as uno } from "./a.js";
        import * as b from "./b";
        Start; uno();
        b.two▮
        """,
        "src/b/index.js::two",
        "src/a.ts::one",
        "src/a.ts::Main",
    )


def test_re_exports_are_followed() -> None:
    check(
        """
        === lib/index.ts
        export { inner as outer } from "./inner";
        export * from "./star";
        === lib/inner.ts
        export function inner() {}
        === lib/star.ts
        export class Star {}
        === main.ts
        import { outer, Star } from "./lib";
        Star; outer▮
        """,
        "lib/inner.ts::inner",
        "lib/star.ts::Star",
    )


def test_require_resolves_whole_and_in_parts() -> None:
    check(
        """
        === a.js
        exports.start = function (x) {};
        function part() {}
        === b.js
        const a = require("./a");
        const { part: p } = require("./a");
        p();
        a.start▮
        """,
        "a.js::start",
        "a.js::part",
    )
