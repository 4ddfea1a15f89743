/**
 * What can be held to its word without an editor: which Python and server are chosen, what a state shows, how a server
 * that ends is started again. Real processes and files; no VS Code.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { after, before, test } from 'node:test';
import type { LanguageClient } from 'vscode-languageclient/node';
import { build, bundled, explanation, hasPredecessor, isWhole, locate, SetUpError, tidy } from '../src/environment';
import { reasonNot, type Switches } from '../src/here';
import { run } from '../src/process';
import { candidates, choose, onPath, probe } from '../src/python';
import { ask, find, isOlder, type Server } from '../src/server';
import { complaint } from '../src/address';
import { silence, state } from '../src/state';
import { Supervisor } from '../src/supervisor';

const ON: Switches = { enabled: true, languages: { markdown: false }, inlineSuggest: true };
const LAUNCH = { server: null, url: null, interpreter: null, model: null, threads: null, completion: null };
const quiet = (): void => undefined;
let folder = '';

before(async () => {
	folder = await fs.mkdtemp(path.join(os.tmpdir(), 'lacuna-units-'));
});
after(() => fs.rm(folder, { recursive: true, force: true }));

async function program(name: string, text: string): Promise<string> {
	const file = path.join(folder, name);
	await fs.mkdir(path.dirname(file), { recursive: true });
	await fs.writeFile(file, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
	return file;
}

function python(): string {
	for (const name of ['python3.13', 'python3.12', 'python3.11', 'python3']) {
		for (const file of onPath(name, process.env, process.platform)) {
			try {
				execFileSync(file, ['-c', 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))'], { stdio: 'ignore' });
				return file;
			} catch {
				continue;
			}
		}
	}
	throw new Error('these tests need a Python 3.11 or later with venv');
}

test('suggestions belong in files and untitled documents, and every other place has its reason', () => {
	const now = new Date(2026, 0, 1, 14, 0);
	const why = (scheme: string, languageId = 'python', switches = ON, until: Date | null = null): string | null =>
		reasonNot({ scheme, languageId }, switches, until, now);
	assert.equal(why('file'), null);
	assert.equal(why('untitled'), null);
	assert.equal(why('vscode-notebook-cell'), 'not in notebooks');
	assert.equal(why('git'), 'not in an old version of a file');
	assert.equal(why('vscode-scm'), 'not in commit messages');
	assert.match(why('vscode-vfs') ?? '', /files on disk/);
	assert.equal(why('file', 'markdown'), 'off for markdown');
	assert.equal(why('file', 'python', { ...ON, enabled: false }), 'switched off');
	assert.match(why('file', 'python', { ...ON, inlineSuggest: false }) ?? '', /editor\.inlineSuggest\.enabled/);
	assert.equal(why('file', 'python', ON, new Date(2026, 0, 1, 14, 5)), 'snoozed until 14:05');
	assert.equal(why('file', 'python', ON, new Date(2026, 0, 1, 13, 55)), null);
});

test('the status bar tells what is the matter, worst first', () => {
	const running = { kind: 'running' } as const;
	const kind = (...given: Parameters<typeof state>): string => state(...given).kind;
	assert.equal(kind({ kind: 'absent', reason: 'x' }, null, null, null), 'absent');
	assert.equal(kind({ kind: 'starting' }, null, null, null), 'busy');
	assert.equal(kind(running, null, null, null), 'ready');
	assert.equal(kind(running, { state: 'thinking', reason: null }, null, null), 'thinking');
	assert.equal(kind(running, { state: 'starting', reason: null }, null, null), 'busy');
	assert.equal(kind(running, { state: 'thinking', reason: null }, 'off for markdown', null), 'off');
	assert.equal(kind(running, { state: 'error', reason: 'no model' }, 'off for markdown', null), 'error');
	assert.equal(state(running, { state: 'error', reason: 'no model' }, null, null).detail, 'no model');
	assert.match(state(running, null, null, 'inside a word').detail, /Nothing shown just now: inside a word\./);
	assert.match(state(running, { state: 'indexing', reason: null, percent: 41.6 }, null, null).text, /42 %/);
});

test('a superseded request is no reason for showing nothing', () => {
	const timing = { total_ms: 1, source: 'skip', shown: false };
	assert.equal(silence({ ...timing, reason: 'superseded' }), undefined);
	assert.equal(silence({ ...timing, reason: 'inside a word' }), 'inside a word');
	assert.equal(silence({ ...timing, shown: true, reason: null }), null);
});

test('a python is looked for in the order that is promised, and no stub is', async () => {
	for (const name of ['python3.13', 'python3.11', 'python3']) {
		await program(`bin/${name}`, 'exit 1');
	}
	const environment = { PATH: [path.join(folder, 'bin'), 'relative', ''].join(':') };
	const found = candidates('/set/python', '/extension/python', environment, 'linux').map((one) => one.path);
	const names = ['python3.13', 'python3.11', 'python3'].map((name) => path.join(folder, 'bin', name));
	assert.deepEqual(found, ['/set/python', '/extension/python', ...names]);
	assert.deepEqual(candidates(null, '/usr/bin/python3', { PATH: '' }, 'darwin'), []);
	const store = 'C:\\Users\\you\\AppData\\Local\\Microsoft\\WindowsApps\\python3.exe';
	assert.deepEqual(candidates(null, store, { PATH: '' }, 'win32'), []);
});

test('a shim that only complains is passed over, and what it said is kept', async () => {
	const shim = await program('shim', 'echo "pyenv: python3.13: command not found" >&2; exit 127');
	const real = python();
	const list = [shim, real].map((file) => ({ path: file, prefix: [], source: 'the path' }));
	const { interpreter, refusals } = await choose(list, null);
	assert.match(interpreter?.version ?? '', /^3\.1[1-9]\./);
	assert.equal(refusals[0]?.reason, 'pyenv: python3.13: command not found');
});

test('an old python, one without venv and something else are told apart', async () => {
	const say = (more: object): string => `echo '${JSON.stringify({ version: [3, 11, 2], implementation: 'CPython', bits: 64, threaded: false, missing: [], base: '/x', ...more })}'`;
	const why = async (name: string, text: string): Promise<unknown> =>
		probe({ path: await program(name, text), prefix: [], source: '' });
	assert.match(String(await why('old', say({ version: [3, 9, 6] }))), /is Python 3\.9\.6; Lacuna needs 3\.11/);
	assert.match(String(await why('bare', say({ missing: ['ensurepip'] }))), /apt install python3\.11-venv/);
	assert.match(String(await why('pypy', say({ implementation: 'PyPy' }))), /PyPy; Lacuna needs an ordinary/);
	assert.equal(await why('cat', 'echo hello'), 'is no Python');
	assert.match(String(await why('missing/../none', 'exit 3')), /code 3/);
});

test('an extension with its packages inside takes the one Python they are for', async () => {
	const at = await smallBundle('offline');
	await fs.mkdir(path.join(at, 'packages-3.11'));
	assert.deepEqual((await bundled(at)).packages, { folder: path.join(at, 'packages-3.11'), python: '3.11' });
	assert.equal((await bundled(await smallBundle('online'))).packages, null);
	const list = [{ path: python(), prefix: [], source: '' }];
	const { interpreter, refusals } = await choose(list, null, '3.8');
	assert.equal(interpreter, null);
	assert.match(refusals[0]?.reason ?? '', /the packages in this extension are for 3\.8/);
});

test('a python that a setting names is not passed over', async () => {
	const bad = await program('bad', 'exit 1');
	const list = [bad, python()].map((file) => ({ path: file, prefix: [], source: '' }));
	assert.equal((await choose(list, bad)).interpreter, null);
	assert.equal((await choose(list.slice(1), '/usr/bin/python3-stub')).interpreter, null);
});

test('a server is asked for its version before it is believed', async () => {
	const good = await program('servers/lacuna', 'echo "lacuna 0.1.0"');
	const foreign = await program('foreign', 'echo "Lacuna Lander"');
	assert.equal((await ask({ path: good, prefix: [] }, 'a test', '0.1.0') as Server).version, '0.1.0');
	assert.match(String(await ask({ path: good, prefix: [] }, 'a test', '0.2.0')), /is version 0\.1\.0.*needs 0\.2\.0/);
	assert.equal(await ask({ path: foreign, prefix: [] }, 'a test', '0.1.0'), 'is something else than Lacuna');
	await assert.rejects(find({ ...LAUNCH, server: foreign }, null, '0.1.0', quiet), /lacuna\.server\.path names cannot be used/);
	const before = process.env['PATH'];
	process.env['PATH'] = path.dirname(good);
	try {
		assert.equal((await find(LAUNCH, null, '0.1.0', quiet))?.path, good);
	} finally {
		process.env['PATH'] = before;
	}
	assert.deepEqual(['0.1.0', '0.10.0', '1.0.0.dev1'].map((one) => isOlder(one, '0.2.0')), [true, false, false]);
});

test('an address that would carry a token in the clear is refused', () => {
	for (const good of ['', 'https://', 'https://completion.example.org:8443', 'http://127.0.0.1:8080', ' http://localhost ']) {
		assert.equal(complaint(good), null, good);
	}
	assert.match(complaint('http://completion.example.org') ?? '', /must begin with https/);
	assert.match(complaint('https://anna:secret@example.org') ?? '', /Leave name and password out/);
	assert.match(complaint('example.org') ?? '', /no address/);
});

test('pip’s complaints become something to do', () => {
	assert.match(explanation('ERROR: [Errno 28] No space left on device', '', '/store'), /no room.*\/store/);
	const lost = "Retrying after connection broken by 'NewConnectionError(…)'\nERROR: No matching distribution found for httpx==1";
	assert.match(explanation(lost, '', '/store'), /index cannot be reached/);
	assert.match(explanation('ERROR: No matching distribution found for faiss-cpu==1', '', '/store'), /faiss-cpu is not to be had/);
	assert.match(explanation('ERROR: THESE PACKAGES DO NOT MATCH THE HASHES', '', '/store'), /not the one that Lacuna was tested with/);
	assert.match(explanation('one\nthe last word\n', '', '/store'), /the last word/);
});

/** A bundle whose wheel is a real, tiny `lacuna` without any dependency. */
async function smallBundle(name: string): Promise<string> {
	const at = path.join(folder, name);
	await fs.mkdir(at, { recursive: true });
	await fs.writeFile(path.join(at, 'requirements.txt'), '');
	execFileSync(python(), ['-I', '-c', `
import sys, zipfile
info = "lacuna_completion-0.1.0.dist-info/"
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    wheel.writestr("lacuna/__init__.py", "")
    wheel.writestr("lacuna/__main__.py", "print('lacuna 0.1.0')")
    wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: lacuna-completion\\nVersion: 0.1.0\\n")
    wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(info + "RECORD", "")
`, path.join(at, 'lacuna_completion-0.1.0-py3-none-any.whl')]);
	return at;
}

test('an environment is made once, by one of several windows, and its server answers', { timeout: 180_000 }, async () => {
	await assert.rejects(bundled(folder), SetUpError);
	const bundle = await bundled(await smallBundle('bundle'));
	const storage = path.join(folder, 'storage');
	const environment = await locate(bundle, storage);
	const interpreter = await probe({ path: python(), prefix: [], source: 'a test' });
	assert.ok(typeof interpreter !== 'string');
	assert.equal(await isWhole(environment), false);
	const lines: string[] = [];
	const never = new AbortController().signal;
	const make = (): Promise<void> => build(environment, bundle, interpreter, quiet, (line) => lines.push(line), never);
	await Promise.all([make(), make()]);
	assert.equal(lines.filter((line) => line.includes('-m venv')).length, 1);
	assert.equal(await isWhole(environment), true);
	assert.equal((await ask(environment.server, 'a test', '0.1.0') as Server).version, '0.1.0');

	await fs.mkdir(path.join(storage, 'environment-older'));
	assert.equal(await hasPredecessor(storage), true);
	await tidy(environment);
	assert.deepEqual((await fs.readdir(storage)).sort(), [path.basename(environment.directory)]);
});

test('what was begun is taken away when it is cancelled', { timeout: 60_000 }, async () => {
	const bundle = await bundled(await smallBundle('cancelled'));
	const environment = await locate(bundle, path.join(folder, 'other storage'));
	const interpreter = await probe({ path: python(), prefix: [], source: 'a test' });
	assert.ok(typeof interpreter !== 'string');
	const stop = new AbortController();
	const making = build(environment, bundle, interpreter, () => setTimeout(() => stop.abort(), 200), quiet, stop.signal);
	await assert.rejects(making, /cancelled/);
	assert.deepEqual(await fs.readdir(path.join(folder, 'other storage')), []);
});

test('a program that hangs is ended, and a missing one is no exception', async () => {
	const slow = await program('slow', 'sleep 60');
	assert.match((await run({ path: slow, prefix: [] }, [], { limit: 200 })).failure ?? '', /longer than/);
	assert.match((await run({ path: path.join(folder, 'nowhere'), prefix: [] }, [], { limit: 200 })).failure ?? '', /ENOENT/);
});

/** As much of a language client as the supervisor knows; `behave` says what becomes of its start. */
function scripted(behave: () => Promise<void>): LanguageClient {
	return { start: behave, dispose: () => Promise.resolve(), isRunning: () => true } as unknown as LanguageClient;
}

test('a server that ends is started again with growing pauses, and given up at last', { timeout: 20_000 }, async () => {
	const server: Server = { path: 'x', prefix: [], source: 'a test', version: '0.1.0' };
	let starts = 0;
	const reason = await new Promise<string>((resolve) => {
		const supervisor = new Supervisor({
			make: (_, ended) =>
				Promise.resolve(
					scripted(() => {
						starts += 1;
						ended('no such model');
						ended('twice');
						return Promise.reject(new Error('closed'));
					}),
				),
			starting: quiet,
			running: () => assert.fail('it never ran'),
			failed: resolve,
			log: quiet,
			pauses: [5, 10, 15],
		});
		void supervisor.start(server);
	});
	assert.equal(starts, 4);
	assert.match(reason, /4 times in a row: no such model/);
});

test('a server that was stopped is not started again', { timeout: 20_000 }, async () => {
	const server: Server = { path: 'x', prefix: [], source: 'a test', version: '0.1.0' };
	let last: ((words: string) => void) | null = null;
	let starts = 0;
	const supervisor = new Supervisor({
		make: (_, ended) => {
			last = ended;
			return Promise.resolve(scripted(() => Promise.resolve(void (starts += 1))));
		},
		starting: quiet,
		running: quiet,
		failed: () => assert.fail('nothing failed'),
		log: quiet,
		pauses: [1, 1],
	});
	await supervisor.start(server);
	await supervisor.stop();
	(last as ((words: string) => void) | null)?.('on its way out');
	await new Promise((resolve) => setTimeout(resolve, 50));
	assert.equal(starts, 1);
});
