/**
 * A script of answers in, a program to name in `lacuna.server.path` out: real LSP, no model. For what a model is in the
 * way of: many keys, several candidates, what the server was started with.
 */
import { existsSync, readFileSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { PYTHON, ROOT } from './stage';

/** An answer as tests/editors/scripted_server.py has it; `before` ends the text left of the cursor. */
export interface Answer {
	readonly before: string;
	readonly items: readonly { readonly insertText: string }[];
}

/** Puts the program into a folder and gives its path. */
export async function scriptedServer(folder: string, answers: readonly Answer[]): Promise<string> {
	const at = path.join(folder, 'scripted');
	await fs.mkdir(at, { recursive: true });
	const [script, program] = [path.join(at, 'script.json'), path.join(at, 'lacuna')];
	await fs.writeFile(script, JSON.stringify({ encoding: 'utf-16', answers }));
	const server = path.join(ROOT, 'tests', 'editors', 'scripted_server.py');
	const text = `#!/bin/sh
if [ "$1" = --version ]; then echo "lacuna 99.0.0"; exit; fi
printf '%s\\n%s\\n' "$LACUNA_SERVER" "$LACUNA_TOKEN" >'${at}/environment'
exec '${PYTHON}' -I '${server}' '${script}' '${at}/log'
`;
	await fs.writeFile(program, text, { mode: 0o755 });
	return program;
}

/** What LACUNA_SERVER and LACUNA_TOKEN were when it was started last. */
export function startedWith(folder: string): readonly string[] {
	const file = path.join(folder, 'scripted', 'environment');
	return existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, 2) : [];
}

/** Takes the note of that away, so that the next start is seen. */
export function forget(folder: string): Promise<void> {
	return fs.rm(path.join(folder, 'scripted', 'environment'));
}

/** The messages with this method that the editor has sent. */
export async function messages(folder: string, method: string): Promise<unknown[]> {
	const lines = (await fs.readFile(path.join(folder, 'scripted', 'log'), 'utf8')).split('\n').filter((line) => line !== '');
	return lines.map((line) => JSON.parse(line) as { method?: string }).filter((message) => message.method === method);
}
