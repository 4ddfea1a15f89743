/**
 * A folder that brings settings of its own and is not trusted: it chooses no program, and everything else works.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { after, before } from 'node:test';
import { scriptedServer } from './scripted';
import { scene as one, Stage } from './stage';

let stage: Stage;

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

before(async () => {
	stage = await Stage.open('httpx', {
		untrusted: true,
		settings: async (home) => ({
			'lacuna.server.path': await scriptedServer(home, [{ before: '', items: [{ insertText: 'first = 1' }] }]),
		}),
		prepare: async (folder) => {
			const trap = path.join(folder, 'trap');
			await fs.writeFile(trap, `#!/bin/sh\ntouch '${folder}/sprung'\necho 'lacuna 99.0.0'\n`, { mode: 0o755 });
			await fs.mkdir(path.join(folder, '.vscode'));
			await fs.writeFile(path.join(folder, '.vscode', 'settings.json'), JSON.stringify({ 'lacuna.server.path': trap }));
		},
	});
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

scene('a folder that is not trusted gets suggestions from the user’s own server', 4, async () => {
	await stage.page.locator('.statusbar-item', { hasText: 'Restricted Mode' }).waitFor();
	await stage.says(/^Lacuna, ready/);
	await stage.file('httpx/_status_codes.py');
	await stage.provoke('x', 'y');
	await stage.picture('not-trusted');
	assert.ok(!existsSync(path.join(stage.folder, 'sprung')), 'the folder chose the program');
});

scene('and the trap works: once it is trusted, its program is asked', 3, async () => {
	await stage.command('Workspaces: Manage Workspace Trust');
	await stage.page.locator('.workspace-trust-editor .monaco-button', { hasText: 'Trust' }).first().click();
	for (let turns = 0; turns < 100 && !existsSync(path.join(stage.folder, 'sprung')); turns += 1) {
		await stage.page.waitForTimeout(300);
	}
	assert.ok(existsSync(path.join(stage.folder, 'sprung')));
});
