/**
 * The extension that brings everything, on a machine without a network: one question, and there is ghost text.
 *
 * `without-network` runs this in a network namespace of its own, in which there is nothing but the loopback interface.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import * as os from 'node:os';
import { after, before } from 'node:test';
import { PYTHON, scene as one, Stage } from './stage';

/** pip with nothing left to fall back on. */
const NOTHING = { PIP_CONFIG_FILE: '/dev/null', PIP_EXTRA_INDEX_URL: '', PIP_FIND_LINKS: '', PIP_NO_CACHE_DIR: '1' };

let stage: Stage;

const scene = (name: string, minutes: number, play: () => Promise<void>): void => one(() => stage, name, minutes, play);

before(async () => {
	const interfaces = Object.values(os.networkInterfaces()).flat();
	assert.ok(interfaces.every((one) => one?.internal === true), 'there is a network: run npm run test-offline');
	const series = execFileSync(PYTHON, ['-c', 'import sys; print("cp%d%d" % sys.version_info[:2])'], { encoding: 'utf8' });
	stage = await Stage.open('httpx', { vsix: `lacuna-offline-linux-x64-${series.trim()}`, variables: NOTHING });
}, { timeout: 600_000 });

after(() => stage.close(), { timeout: 60_000 });

scene('one question sets the server up without a network', 12, async () => {
	await stage.says(/not set up/);
	await stage.notice(/nothing is downloaded/);
	await stage.press('Set Up');
	await stage.says(/^Lacuna, (ready|thinking)/, 600_000);
	await stage.picture('offline-set-up');
});

scene('and the model writes', 3, async () => {
	await stage.clear();
	await stage.file('httpx/_status_codes.py');
	await stage.page.keyboard.press('Enter');
	await stage.provoke('\n\nclass Exchange:\ndef __init__(self, request, response):\nself.request = request\nself.response = ', 'response\nself.url = ', 'request.url\n');
	await stage.picture('offline-ghost-text');
});
