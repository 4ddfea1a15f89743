/**
 * What a user reads when the disk is full, in a real VS Code that stays usable: its storage is a file system of 20 MB.
 */
import assert from 'node:assert/strict';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { after, before } from 'node:test';
import { scene as one, Stage } from './stage';

const STORAGE = path.join('data', 'User', 'globalStorage', 'lacuna.lacuna');
const MOUNTED = 'mount -t tmpfs -o size=20m none "$0" && exec "$@"';

let stage: Stage;

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

before(async () => {
	stage = await Stage.open('httpx', {
		prepare: async (folder) => void (await fs.mkdir(path.join(folder, '..', STORAGE), { recursive: true })),
		within: (home) => ['unshare', '--map-root-user', '--mount', 'sh', '-c', MOUNTED, path.join(home, STORAGE)],
	});
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

scene('without room on the disk the user reads how much it takes, once', 4, async () => {
	await stage.says(/not set up/);
	await stage.press('Set Up');
	await stage.notice(/There is no room for Lacuna’s environment: it takes about 500 MB.*Make room/, 120_000);
	await stage.picture('trouble-no-room');
	assert.equal(await stage.page.locator('.notification-toast').count(), 1);
	await stage.says(/not set up/);
	await stage.clear();
	await stage.file('httpx/_status_codes.py');
	await stage.type('\n\nvalue = 1\n');
	assert.match(await stage.saved('httpx/_status_codes.py'), /value = 1/);
});
