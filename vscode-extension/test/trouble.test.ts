/**
 * What a user reads when there is no Python, and when there is no network, in a real VS Code that stays usable.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { after, before } from 'node:test';
import { candidates, choose } from '../src/python';
import { scene as one, Stage, until } from './stage';

/** Nothing on the path, and a package index that nobody listens at. */
const NOTHING = {
	PATH: '/nonexistent',
	VSCODE_CLI: '1', // else the workbench takes the path from a login shell
	PIP_CONFIG_FILE: '/dev/null',
	PIP_INDEX_URL: 'http://127.0.0.1:9/none',
	PIP_EXTRA_INDEX_URL: '',
	PIP_FIND_LINKS: '',
	PIP_NO_CACHE_DIR: '1',
};

let stage: Stage;

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

before(async () => {
	stage = await Stage.open('httpx', { variables: NOTHING });
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

scene('without a Python the user reads what to install, once', 3, async () => {
	await stage.says(/not set up/);
	await stage.press('Set Up');
	await stage.notice(/needs Python 3\.11 or later, and there is none on this machine.*apt install/);
	await stage.picture('trouble-no-python');
	assert.equal(await stage.page.locator('.notification-toast').count(), 1);
	await stage.says(/not set up/);
	await stage.clear();
});

scene('with an old Python the user reads how old it may be', 3, async () => {
	const said = { version: [3, 9, 6], implementation: 'CPython', bits: 64, threaded: false, missing: [], base: '/x' };
	const old = path.join(stage.home, 'python3.9');
	await fs.writeFile(old, `#!/bin/sh\necho '${JSON.stringify(said)}'\n`, { mode: 0o755 });
	await stage.set('lacuna.interpreter', old);
	await stage.command('Lacuna: Set Up');
	await stage.notice(/python3\.9 is Python 3\.9\.6; Lacuna needs 3\.11 or later/);
	await stage.picture('trouble-old-python');
	await stage.clear();
});

scene('without a network the user reads where to look', 5, async () => {
	const { interpreter } = await choose(candidates(null, null), null);
	assert.ok(interpreter !== null, 'this test needs a Python');
	await stage.set('lacuna.interpreter', interpreter.path);
	await stage.command('Lacuna: Set Up');
	await stage.notice(/package index cannot be reached/, 240_000);
	await stage.picture('trouble-no-network');
	await stage.clear();
});

scene('the editor goes on without it', 2, async () => {
	await stage.file('httpx/_status_codes.py');
	await stage.type('\n\nvalue = 1\n');
	assert.match(await stage.saved('httpx/_status_codes.py'), /value = 1/);
	await until(async () => (await stage.page.locator('.notification-toast').count()) === 0, 10_000, () => Promise.resolve('a notification came by itself'));
});
