/**
 * What a user reads when the disk is full, in a real VS Code that stays usable: its storage is a file system of 20 MB.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { after, before, test } from 'node:test';
import { scene, Stage } from './stage';

const STORAGE = path.join('data', 'User', 'globalStorage', 'lacuna.lacuna');
const MOUNTED = 'mount -t tmpfs -o size=20m none "$0" && exec "$@"';

/** Not every container lets its users mount anything. */
const able = spawnSync('unshare', ['--map-root-user', '--mount', 'sh', '-c', 'mount -t tmpfs none /mnt']).status === 0;

let stage: Stage;

before(async () => {
	if (!able) {
		return;
	}
	stage = await Stage.open('httpx', {
		prepare: async (folder) => void (await fs.mkdir(path.join(folder, '..', STORAGE), { recursive: true })),
		within: (home) => ['unshare', '--map-root-user', '--mount', 'sh', '-c', MOUNTED, path.join(home, STORAGE)],
	});
}, { timeout: 600_000 });

after(() => (able ? stage.close() : undefined), { timeout: 60_000 });

const reads = async (): Promise<void> => {
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
};

const claim = 'without room on the disk the user reads how much it takes, once';
if (able) {
	scene(() => stage, claim, 4, reads);
} else {
	test(claim, { skip: 'nothing can be mounted here' });
}
